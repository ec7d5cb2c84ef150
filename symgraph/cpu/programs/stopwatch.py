"""The clocks of a profiled program: a counter of cycles and one of calls for every statement.

The counters lie in the global `profile`. Those of statements inside a loop are kept on the stack of
the loop's function, which means in registers, and are added to it when the function returns: a step
is one look at the clock per statement dearer, and no memory is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from symgraph.core.record import dataclass
from symgraph.loops.statements import Check, Statement

# As a call that reads no memory of ours: values stay in registers around it, as without a profile.
CLOCK = "call i64 @llvm.readcyclecounter() memory(inaccessiblemem: readwrite)"
_CLOCK_DECLARED = "declare i64 @llvm.readcyclecounter()"


@dataclass(frozen=True, slots=True)
class Timed:
    """A profiled statement: the nodes it computes, or checks the positions of; its loop's place."""

    origin: tuple[Any, ...]
    checks: bool
    loop: int | None = None


def _timed(statement: Statement, loop: int | None = None) -> Timed:
    return Timed(statement.origin, isinstance(statement, Check), loop)


class Stopwatch:
    """The statements that are timed; a statement's place says where its two counters are."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        """`statements` are those of the program, which have the first places."""
        self.timed = [_timed(s) for s in statements]

    def enter(self, statement: Statement, loop: int) -> int:
        """Return the place of a new statement inside of a loop."""
        self.timed.append(_timed(statement, loop))
        return len(self.timed) - 1

    def declarations(self) -> set[str]:
        size = 2 * len(self.timed)
        return {_CLOCK_DECLARED, f"@profile = global [{size} x i64] zeroinitializer, align 64"}


class Laps:
    """The counters of one loop function while it runs."""

    def __init__(self, watch: Stopwatch, loop: int) -> None:
        """`loop` is the place of the loop itself."""
        self.watch, self.loop = watch, loop
        self._places: list[int] = []

    def enter(self, statement: Statement, loop: int) -> int:
        """Return the place of a new statement, which counts on the stack of this function."""
        self._places.append(self.watch.enter(statement, loop))
        return self._places[-1]

    def stack(self) -> list[str]:
        """Return the text that makes the counters."""
        lines = []
        for name in self._names():
            lines += [f"  {name} = alloca i64, align 8", f"  store i64 0, ptr {name}, align 8"]
        return lines

    def flush(self) -> list[str]:
        """Return the text that adds the counters to those of the program."""
        lines = []
        for k, name in enumerate(self._names()):
            place = 2 * self._places[k // 2] + k % 2
            value = f"{name}.now"
            lines.append(f"  {value} = load i64, ptr {name}, align 8")
            lines.append(f"  {name}.all = {in_profile(place)}")
            lines += added(f"{name}.sum", f"{name}.all", value)
        return lines

    def _names(self) -> list[str]:
        return [name for place in self._places for name in counters(place)]


def counters(place: int) -> tuple[str, str]:
    """Return the names of a statement's counters on the stack: cycles, calls."""
    return f"%cycles{place}", f"%calls{place}"


def in_profile(place: int) -> str:
    """Return the instruction for the address of a counter of the program."""
    return f"getelementptr i64, ptr @profile, i64 {place}"


def added(name: str, pointer: str, amount: str) -> Sequence[str]:
    """Return the text that adds an amount to a number in memory; `name` begins its registers."""
    return (
        f"  {name}.old = load i64, ptr {pointer}, align 8",
        f"  {name}.new = add i64 {name}.old, {amount}",
        f"  store i64 {name}.new, ptr {pointer}, align 8",
    )
