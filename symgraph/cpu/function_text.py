"""Write one LLVM function: named instructions, counted loops, conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Carried = Sequence[tuple[str, str]]  # (type, start) of values that a loop hands on
Body = Callable[[str, list[str]], Sequence[str] | None]
Part = Callable[[str, str, list[str]], Sequence[str] | None]


class FunctionText:
    """The text of one function being written, in order."""

    def __init__(self, head: str) -> None:
        """`head` is all up to the opening brace, e.g. `define void @f(ptr %a) nounwind`."""
        self.lines = [f"{head} {{", "entry:"]
        self.label = "entry"
        self._count = 0

    def text(self) -> str:
        return "\n".join([*self.lines, "  ret void", "}", ""])

    def name(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def new(self, instruction: str) -> str:
        """Add an instruction with a result; its register is returned."""
        name = self.name()
        self.lines.append(f"  {name} = {instruction}")
        return name

    def do(self, instruction: str) -> None:
        """Add an instruction without a result."""
        self.lines.append(f"  {instruction}")

    def block(self, label: str) -> None:
        """Begin a basic block; the one before must have ended."""
        self.lines.append(f"{label}:")
        self.label = label

    def labels(self, *names: str) -> list[str]:
        self._count += 1
        return [f"{n}{self._count}" for n in names]

    # -- integers and addresses ------------------------------------------------------------------
    def add(self, a: str, b: str | int) -> str:
        return self.new(f"add nsw i64 {a}, {b}")

    def sub(self, a: str, b: str | int) -> str:
        return self.new(f"sub nsw i64 {a}, {b}")

    def mul(self, a: str, b: str | int) -> str:
        return self.new(f"mul nsw i64 {a}, {b}")

    def ceil_div(self, a: str, b: str | int) -> str:
        """Return ceil(a / b) of positive integers."""
        less = self.sub(b if isinstance(b, str) else self.new(f"add i64 0, {b}"), 1)
        return self.new(f"udiv i64 {self.add(a, less)}, {b}")

    def least(self, a: str, b: str | int) -> str:
        test = self.new(f"icmp slt i64 {a}, {b}")
        return self.new(f"select i1 {test}, i64 {a}, i64 {b}")

    def most(self, a: str, b: str | int) -> str:
        test = self.new(f"icmp sgt i64 {a}, {b}")
        return self.new(f"select i1 {test}, i64 {a}, i64 {b}")

    def at(self, base: str, *offsets: str | int) -> str:
        """Return the address so many bytes behind `base`."""
        for offset in offsets:
            base = self.new(f"getelementptr i8, ptr {base}, i64 {offset}")
        return base

    def load(self, kind: str, at: str, align: int) -> str:
        return self.new(f"load {kind}, ptr {at}, align {align}")

    def store(self, kind: str, value: str, at: str, align: int) -> None:
        self.do(f"store {kind} {value}, ptr {at}, align {align}")

    def opaque(self, value: str) -> str:
        """Return an integer that stays in a register of its own: addresses are not chained."""
        return self.new(f'call i64 asm "", "=r,0"(i64 {value})')

    # -- control ---------------------------------------------------------------------------------
    def loop(
        self, start: str | int, end: str | int, step: int | str, body: Body, carried: Carried = ()
    ) -> list[str]:
        """Count from `start` while below `end`; `body(index, values)` returns the next values."""
        head, exit_ = self.labels("loop", "done")
        index, before = self.name(), self.label
        names = [self.name() for _ in carried]
        enter = self.new(f"icmp slt i64 {start}, {end}")
        self.do(f"br i1 {enter}, label %{head}, label %{exit_}")
        self.block(head)
        place = len(self.lines)
        after = list(body(index, names) or ())
        following = self.new(f"add nsw i64 {index}, {step}")
        more = self.new(f"icmp slt i64 {following}, {end}")
        self.do(f"br i1 {more}, label %{head}, label %{exit_}")
        back = self.label
        phis = [f"  {index} = phi i64 [ {start}, %{before} ], [ {following}, %{back} ]"]
        for name, (kind, first), value in zip(names, carried, after, strict=True):
            phis.append(f"  {name} = phi {kind} [ {first}, %{before} ], [ {value}, %{back} ]")
        self.lines[place:place] = phis
        self.block(exit_)
        results = []
        for (kind, first), value in zip(carried, after, strict=True):
            results.append(self.new(f"phi {kind} [ {first}, %{before} ], [ {value}, %{back} ]"))
        return results

    def parts(self, total: str, most: str | int, body: Part, carried: Carried = ()) -> list[str]:
        """Go through `total` by at most `most`; `body(start, length, values)` is as in `loop`."""

        def part(start: str, values: list[str]) -> Sequence[str] | None:
            return body(start, self.least(self.sub(total, start), most), values)

        return self.loop(0, total, most, part, carried)

    def repeat(
        self,
        carried: Carried,
        condition: Callable[[list[str]], str],
        body: Callable[[list[str]], Sequence[str]],
    ) -> list[str]:
        """Repeat while `condition(values)` holds; `body(values)` returns the next values."""
        head, inside, exit_ = self.labels("while", "do", "end")
        before = self.label
        names = [self.name() for _ in carried]
        self.do(f"br label %{head}")
        self.block(head)
        place = len(self.lines)
        self.do(f"br i1 {condition(names)}, label %{inside}, label %{exit_}")
        self.block(inside)
        after = list(body(names))
        self.do(f"br label %{head}")
        self.lines[place:place] = [
            f"  {name} = phi {kind} [ {first}, %{before} ], [ {value}, %{self.label} ]"
            for name, (kind, first), value in zip(names, carried, after, strict=True)
        ]
        self.block(exit_)
        return names

    def when(
        self,
        condition: str,
        then: Callable[[], None],
        otherwise: Callable[[], None] | None = None,
    ) -> None:
        """Do one thing or the other."""
        yes, no, after = self.labels("then", "else", "after")
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")
        self.block(yes)
        then()
        self.do(f"br label %{after}")
        self.block(no)
        if otherwise is not None:
            otherwise()
        self.do(f"br label %{after}")
        self.block(after)
