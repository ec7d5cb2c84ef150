"""Emit a loop of statements as one function: a serial loop with the nests of its body inside.

Small nests stand in the loop itself, so that what does not change from step to step is hoisted out
of it and no call is made per step. Nests with work for several threads and matrix products are
called, as they are from `run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symgraph.core.dtype import BOOL
from symgraph.cpu.abi import Ctx
from symgraph.cpu.kernels.scope import Scope
from symgraph.cpu.programs.call_site import Call
from symgraph.cpu.programs.step_registers import StepRegisters
from symgraph.cpu.programs.stopwatch import CLOCK, Laps, added, counters
from symgraph.dims.bounds import interval
from symgraph.dims.dim import Dim
from symgraph.loops.amount import program_amount
from symgraph.loops.columns import Passes, split_columns
from symgraph.loops.expr import Axis, Buffer, Expr, Size
from symgraph.loops.interned import Builder
from symgraph.loops.points import written_out
from symgraph.loops.schedule import SIGNAL_WORK, Schedule, choose_schedule
from symgraph.loops.small_products import product_nest
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Statement, Store

MOST_PRODUCTS = 4  # of unknown sizes that a loop has as nests too: each is compiled
SMALL_PRODUCT = 30_000  # multiply-adds up to which such a nest takes less time than a call
INTERRUPT_WORK = 1_000_000  # operations between two looks at signals
SHORT_STEP = INTERRUPT_WORK >> 4  # of a step, at most, whatever its sizes turn out to be


Outside = Callable[[Any, Sequence[Axis]], Call]
Apart = Callable[[Loop, Sequence[Axis]], Call | None]


class LoopEmitter(StepRegisters):
    """Builds the text of one loop: `i32 name(ptr args, ptr ctx)`; not 0 where a check failed.

    `outside(statement, axes)` emits a statement as a kernel of its own, which is passed the step
    numbers of the loops around it.
    """

    def __init__(
        self,
        builder: Builder,
        vector_bytes: int,
        aliases: Mapping[Buffer, Buffer],
        outside: Outside,
        interruptible: bool,
        work: Callable[[Statement], int | None],
        laps: Laps | None = None,
        apart: Apart | None = None,
        around: Sequence[Axis] = (),
    ) -> None:
        """`laps` times the statements of every step, for a profile.

        `apart` returns the call of a loop that is a function of its own, None for others; `around`
        are the loops outside of this one whose steps it is passed.
        """
        super().__init__(builder, vector_bytes, around)
        self.apart = apart
        self.aliases, self.outside, self.interruptible = aliases, outside, interruptible
        self.work, self.laps = work, laps
        self.bases: dict[Buffer, str] = {}  # places that change from step to step
        self.rows = {}
        self._turned: str | None = None  # whether this step takes passes from the last one on
        self._panels: Axis | None = None  # the loop over the passes, if it isn't that over tiles
        self.words = self.products = 0
        self.parallel = self.detached = False

    def emit_loop(self, loop: Loop) -> None:
        """Write the body of the function."""
        self._repeat(self.root, loop, self.around, 0 if self.laps is None else self.laps.loop)

    def text(self, name: str) -> str:
        """Return the text of the function whose body has been written."""
        head = [f"define internal i32 {name}(ptr %args, ptr %ctx) nounwind {{", "entry:"]
        if self.words:
            head.append(f"  %words = alloca [{self.words} x i64], align 16")
        head.append("  %flag = alloca i64, align 8")
        head += [*self._arguments(), *self.stack]
        lines = self.root.lines
        if self.laps is not None:
            head += self.laps.stack()
            lines = [*lines, *self.laps.flush()]
        return "\n".join([*head, *lines, "  ret i32 0", "}", ""])

    def _base(self, buffer: Buffer) -> str:
        buffer = self.aliases.get(buffer, buffer)
        if buffer.kind == "flag":
            return "%flag"
        return self.bases.get(buffer) or super()._base(buffer)

    # -- the loop ------------------------------------------------------------------------------
    def _repeat(self, scope: Scope, loop: Loop, around: Sequence[Axis], place: int) -> None:
        """Emit a loop; the places of carried values are exchanged after each step."""
        limit = self._limit(scope, loop)
        swapped = [(now, new) for now, new in loop.carried if now is not new]
        pairs = [(self._base(now), self._base(new)) for now, new in swapped]
        head, exit_ = self._label("step"), self._label("done")
        inner = Scope(scope, head, scope.bits | loop.axis.bit, None)
        position = inner.positions[loop.axis] = self._name()
        names = [(self._name(), self._name()) for _ in pairs]
        places = {now: self._base(now) for now, _ in loop.carried}
        around_it = self._vectors, self._carried
        self._vectors = {buffer: list(parts) for buffer, parts in self._vectors.items()}
        self._carried = dict(self._carried)
        registers = self._enter(inner, loop)
        for (now, new), (a, b) in zip(swapped, names, strict=True):
            self.bases[now], self.bases[new] = a, b
        self._statements(inner, loop, [*around, loop.axis], place)
        handed_on = self._handed_on(inner, registers)
        starts = [self._read(scope, c, c.now, places[c.now]) for c, _ in handed_on]
        self._vectors, self._carried = around_it
        after = self._new(inner, f"add nsw i64 {position}, 1")
        going = None if loop.go_on is None else self.value(loop.go_on, inner)
        self._signals(inner, loop, after)
        test = self._new(inner, f"icmp slt i64 {after}, {limit}")
        if going is not None:
            test = self._new(inner, f"and i1 {test}, {going}")
        inner.lines.append(f"  br i1 {test}, label %{head}, label %{exit_}")
        some = self._new(scope, f"icmp slt i64 0, {limit}")
        if loop.start is not None:
            some = self._new(scope, f"and i1 {some}, {self.value(loop.start, scope)}")
        before = scope.label
        scope.lines.append(f"  br i1 {some}, label %{head}, label %{exit_}")
        edge = f"%{before} ], [ {{}}, %{inner.label} ]"
        scope.lines.append(f"{head}:")
        scope.lines.append(f"  {position} = phi i64 [ 0, {edge.format(after)}")
        for (first, second), (a, b) in zip(pairs, names, strict=True):
            scope.lines.append(f"  {a} = phi ptr [ {first}, {edge.format(b)}")
            scope.lines.append(f"  {b} = phi ptr [ {second}, {edge.format(a)}")
        for (c, value), first in zip(handed_on, starts, strict=True):
            scope.lines.append(f"  {c.name} = phi {c.kind} [ {first}, {edge.format(value)}")
        scope.lines += [*inner.lines, f"{exit_}:"]
        scope.label = exit_
        self._finish(scope, loop, swapped, edge, after, pairs, names)

    def _limit(self, scope: Scope, loop: Loop) -> str:
        """Return the number of steps that the loop does at most."""
        extent = self._size(loop.axis.extent)
        if loop.count is None:
            return extent
        count = self.value(loop.count, scope)
        less = self._new(scope, f"icmp slt i64 {count}, {extent}")
        return self._new(scope, f"select i1 {less}, i64 {count}, i64 {extent}")

    def _finish(
        self,
        scope: Scope,
        loop: Loop,
        swapped: Sequence[tuple[Buffer, Buffer]],
        edge: str,
        after: str,
        pairs: Sequence[tuple[str, str]],
        names: Sequence[tuple[str, str]],
    ) -> None:
        """Leave the final state where the first one was, and say how many steps were done."""
        done = self._name()
        finals = [self._name() for _ in pairs]
        scope.lines.append(f"  {done} = phi i64 [ 0, {edge.format(after)}")
        for final, (first, _), (_, b) in zip(finals, pairs, names, strict=True):
            scope.lines.append(f"  {final} = phi ptr [ {first}, {edge.format(b)}")
        if loop.steps is not None:
            scope.lines.append(f"  store i64 {done}, ptr {self._base(loop.steps)}, align 8")
        s = self.builder
        for (now, new), (first, second), final in zip(swapped, pairs, finals, strict=True):
            self.bases[now], self.bases[new] = first, second
            last = Buffer("final", now.dtype, now.shape, "temporary", axis=loop.axis)
            self.bases[last] = final
            size = s.axis("i0", now.size)
            at = s.at(size)
            copy = Nest((size,), (Store(now, s.index(at), s.load(last, at)),))
            self._inline(scope, copy, choose_schedule(copy, self.vector_bytes))

    def _signals(self, scope: Scope, loop: Loop, after: str) -> None:
        """Look at signals from time to time; leave where a handler raised."""
        if not self.interruptible:
            return
        between = self._steps_between(loop)
        call, on = self._label("signal"), self._label("on")
        rest = self._new(scope, f"and i64 {after}, {between}")
        due = self._new(scope, f"icmp eq i64 {rest}, 0")
        scope.lines += [f"  br i1 {due}, label %{call}, label %{on}", f"{call}:"]
        status = self._new(scope, "call i32 @check_interrupt(ptr %ctx)")
        self._leave_interrupted(scope, status, on)

    def _steps_between(self, loop: Loop) -> str:
        """Return the steps between two looks at signals, less one: a power of two, less one."""
        amount = program_amount(loop.body)
        if amount is None:
            return "0"
        most = interval(amount)[1]
        if most is not None and (isinstance(amount, int) or most <= SHORT_STEP):
            return str((1 << max(0, (INTERRUPT_WORK // max(1, most)).bit_length() - 1)) - 1)
        key = ("steps between", amount)
        if key not in self.root.env:
            root = self.root
            step = self._call(root, "smax", "i64", 1, [self._size(amount), "1"])
            steps = self._new(root, f"udiv i64 {INTERRUPT_WORK}, {step}")
            some = self._new(root, f"or i64 {steps}, 1")
            self.declared.add("declare i64 @llvm.ctlz.i64(i64, i1)")
            zeros = self._new(root, f"call i64 @llvm.ctlz.i64(i64 {some}, i1 true)")
            ones = self._new(root, f"lshr i64 -1, {zeros}")
            root.env[key] = self._new(root, f"lshr i64 {ones}, 1")
        return root.env[key]

    def _leave_interrupted(self, scope: Scope, status: str, on: str | None = None) -> None:
        """Leave if a signal handler has raised; else go on, at the label `on`."""
        bad = self._new(scope, f"icmp ne i32 {status}, 0")
        stop, on = self._label("stop"), on or self._label("on")
        scope.lines += [f"  br i1 {bad}, label %{stop}, label %{on}", f"{stop}:", "  ret i32 -1"]
        scope.lines.append(f"{on}:")
        scope.label = on

    # -- its statements ------------------------------------------------------------------------
    def _statements(self, scope: Scope, loop: Loop, axes: Sequence[Axis], place: int) -> None:
        """Emit the statements of a step; `place` is the loop's in a profile."""
        if self.laps is None:
            for statement in loop.body:
                self._statement(scope, statement, axes, 0)
            return
        before = self._new(scope, CLOCK)
        for statement in loop.body:
            own = self.laps.enter(statement, place)
            self._statement(scope, statement, axes, own)
            before = self._lap(scope, own, before)

    def _statement(
        self, scope: Scope, statement: Statement, axes: Sequence[Axis], place: int
    ) -> None:
        if isinstance(statement, Nest):
            statement = written_out(self.builder, statement)
        self._forget(statement)
        if isinstance(statement, Loop):
            call = None if self.apart is None else self.apart(statement, axes)
            if call is None:
                self._repeat(scope, statement, axes, place)
            else:
                self._call_apart(scope, call)
        elif isinstance(statement, Check):
            self._check(scope, statement)
        elif isinstance(statement, LibraryCall):
            found = product_nest(self.builder, statement)
            if found is None or self.products >= MOST_PRODUCTS:
                self._call_outside(scope, statement, axes)
            else:
                self._product(scope, statement, axes, *found)
        else:
            nest, passes = split_columns(statement, self.vector_bytes)
            schedule = choose_schedule(nest, self.vector_bytes)
            if schedule.parallel:
                self._call_outside(scope, nest, axes)
            elif passes is not None and schedule.unroll is not None:
                self._passes(scope, nest, schedule, passes, axes[-1])
            else:
                self._inline(scope, nest, schedule)

    def _product(
        self, scope: Scope, call: LibraryCall, axes: Sequence[Axis], nest: Nest, work: Dim
    ) -> None:
        """Emit a product of unknown sizes as a call, and as a nest that small ones take."""
        self.products += 1
        key = ("small", work)
        if key not in self.root.env:
            test = f"icmp ule i64 {self._size(work)}, {SMALL_PRODUCT}"
            self.root.env[key] = self._new(self.root, test)
        blocks = [Scope(scope, self._label(kind), scope.bits, None) for kind in ("near", "far")]
        near, far = blocks
        rows, columns = nest.axes
        lanes = self.vector_bytes // call.outputs[0].dtype.itemsize
        self._inline(near, nest, Schedule((rows, columns), columns, lanes, rows, 4))
        self._forget(call)  # what was stored in one way only
        self._call_outside(far, call, axes)
        on = self._label("on")
        scope.lines.append(
            f"  br i1 {self.root.env[key]}, label %{near.entry}, label %{far.entry}"
        )
        for block in blocks:
            scope.lines += [f"{block.entry}:", *block.lines, f"  br label %{on}"]
        scope.lines.append(f"{on}:")
        scope.label = on

    def _passes(
        self, scope: Scope, nest: Nest, schedule: Schedule, passes: Passes, step: Axis
    ) -> None:
        """Emit a nest in passes, taken from the last to the first one in every other step."""
        if passes.turned:
            self._turned = self._new(scope, f"trunc i64 {scope.positions[step]} to i1")
        self._panels = passes.panels
        self._inline(scope, nest, schedule.tiled(passes.parts, passes.tile))
        self._turned = None

    def _places(self, tile: int) -> Sequence[int]:
        """Passes are written from the end: LLVM turns the order of independent sums round.

        Lines that are asked for in order arrive a quarter sooner from the second-level cache.
        """
        return range(tile) if self._turned is None else range(tile)[::-1]

    def _taken(self, scope: Scope, axis: Axis, position: str, end: str, step: int) -> str:
        if self._turned is None or axis is not (self._panels or self._tiles):
            return position
        from_end = self._new(scope, f"sub i64 {int(end) - step}, {position}")
        return self._new(scope, f"select i1 {self._turned}, i64 {from_end}, i64 {position}")

    def _lap(self, scope: Scope, place: int, before: str) -> str:
        """Count a statement of a step; return the time, at which the next one begins."""
        now = self._new(scope, CLOCK)
        amounts = (self._new(scope, f"sub i64 {now}, {before}"), "1")
        for counter, amount in zip(counters(place), amounts, strict=True):
            scope.lines += added(self._name(), counter, amount)
        return now

    def _inline(self, scope: Scope, nest: Nest, schedule: Schedule) -> None:
        self.start(nest, schedule)
        self._within = scope
        self._all_loops(scope, self.prepared())
        if not nest.axes:
            for t in nest.stores:
                self._hold(scope, t)

    def _check(self, scope: Scope, check: Check) -> None:
        """Leave with the code where the condition holds at any point."""
        s = self.builder
        flag = Buffer("flag", BOOL, (), "flag")
        found = s.reduce("any", check.axes, check.condition) if check.axes else check.condition
        nest = Nest((), (Store(flag, s.index(0), found),))
        self._inline(scope, nest, choose_schedule(nest, self.vector_bytes))
        value = self._new(scope, "load i8, ptr %flag, align 8")
        bad = self._new(scope, f"icmp ne i8 {value}, 0")
        stop, on = self._label("stop"), self._label("on")
        scope.lines.append(f"  br i1 {bad}, label %{stop}, label %{on}")
        scope.lines += [f"{stop}:", f"  ret i32 {check.code}", f"{on}:"]
        scope.label = on

    def _call_apart(self, scope: Scope, call: Call) -> None:
        """Call a loop that is a function of its own; leave with its code if a check fails there."""
        words = [("ptr", self._base(b)) for b in call.buffers]
        words += [("i64", self._number(scope, v)) for v in call.values]
        self._pass(scope, words)
        status = self._new(scope, f"call i32 {call.name}(ptr %words, ptr %ctx)")
        bad = self._new(scope, f"icmp ne i32 {status}, 0")
        stop, on = self._label("stop"), self._label("on")
        scope.lines.append(f"  br i1 {bad}, label %{stop}, label %{on}")
        scope.lines += [f"{stop}:", f"  ret i32 {status}", f"{on}:"]
        scope.label = on

    def _call_outside(self, scope: Scope, statement: Any, axes: Sequence[Axis]) -> None:
        """Call a statement that is a kernel of its own."""
        call = self.outside(statement, axes)
        words = [("ptr", self._base(b)) for b in call.buffers]
        if call.library is not None:
            words.append(("ptr", self._context(scope, call.library)))
        words += [("i64", self._number(scope, v)) for v in call.values]
        self._pass(scope, words)
        units = self._size(call.units)
        name = call.name if isinstance(call.name, str) else self._context(scope, call.name)
        if not call.parallel:
            scope.lines.append(f"  call void {name}(ptr %words, i64 0, i64 {units})")
            return
        self.parallel = True
        amount = self.work(statement)
        looking = self.interruptible and (amount is None or amount > SIGNAL_WORK)
        grain = self._size(call.grain)
        step = grain if call.step is None else self._size(call.step)
        word, lengths = Ctx.PARALLEL_FOR, ""
        if call.long != 0 and looking:
            self.detached = True
            word, lengths = Ctx.DETACHED_FOR, f", ptr {self._lengths(scope, call, len(words))}"
        joining = self._label("on")
        if amount is None and call.long == 0:
            self._call_at_once(scope, name, units, grain, joining)
        run, pool = self._context(scope, word), self._context(scope, Ctx.THREAD_POOL)
        status = self._new(
            scope,
            f"call i32 {run}(ptr {pool}, ptr {name}, ptr %words, i64 {units}, i64 {grain}, "
            f"i64 {step if looking else 0}, ptr %ctx{lengths})",
        )
        if looking:
            self._leave_interrupted(scope, status)
        if amount is None and call.long == 0:
            scope.lines += [f"  br label %{joining}", f"{joining}:"]
            scope.label = joining

    def _call_at_once(
        self, scope: Scope, name: str, units: str, grain: str, joining: str
    ) -> None:
        """Call a kernel that turns out to be no work for two threads, without asking the pool."""
        key = ("one piece", units, grain)
        if key not in self.root.env:
            two = self._new(self.root, f"shl i64 {grain}, 1")
            self.root.env[key] = self._new(self.root, f"icmp ult i64 {units}, {two}")
        one, shared = self._label("one"), self._label("shared")
        scope.lines += [
            f"  br i1 {self.root.env[key]}, label %{one}, label %{shared}",
            f"{one}:",
            f"  call void {name}(ptr %words, i64 0, i64 {units})",
            f"  br label %{joining}",
            f"{shared}:",
        ]
        scope.label = shared

    def _lengths(self, scope: Scope, call: Call, start: int) -> str:
        """Store the lengths of what a kernel is passed; null if the call is short after all."""
        words = [("i64", self._size(n)) for n in call.lengths()]
        self._pass(scope, words, start)
        place = self._new(scope, f"getelementptr i64, ptr %words, i64 {start}")
        if isinstance(call.long, int):
            return place
        short = self._new(scope, f"icmp slt i64 {self._size(call.long)}, 1")
        return self._new(scope, f"select i1 {short}, ptr null, ptr {place}")

    def _pass(self, scope: Scope, words: Sequence[tuple[str, str]], start: int = 0) -> None:
        """Store what a kernel is passed."""
        self.words = max(self.words, start + len(words))
        for k, (kind, word) in enumerate(words, start):
            at = self._new(scope, f"getelementptr i64, ptr %words, i64 {k}")
            scope.lines.append(f"  store {kind} {word}, ptr {at}, align 8")

    def _number(self, scope: Scope, value: Size | Expr) -> str:
        return self.value(value, scope) if isinstance(value, Expr) else self._size(value)

    def _context(self, scope: Scope, word: int) -> str:
        at = self._new(scope, f"getelementptr i64, ptr %ctx, i64 {int(word)}")
        return self._new(scope, f"load ptr, ptr {at}, align 8")
