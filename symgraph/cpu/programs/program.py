"""Emit a whole loop program as one LLVM module: kernels, library calls, and `run` around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from symgraph.core.dtype import BOOL
from symgraph.core.lazy import lazy
from symgraph.core.record import dataclass
from symgraph.cpu.abi import CTX_USER, RELEASE_WORK, Ctx
from symgraph.cpu.kernels import bypass
from symgraph.cpu.kernels.access import ZEROS_TEXT
from symgraph.cpu.kernels.cases import MOST_FORMS, with_cases
from symgraph.cpu.kernels.kernel import KernelEmitter
from symgraph.cpu.programs.call_site import Call
from symgraph.cpu.programs.module import KernelInfo, Module
from symgraph.cpu.programs.product import (
    PRODUCT_NAMES,
    PRODUCTS,
    STEP_STRIPS,
    contraction_words,
    product_name,
    product_shares,
    product_words,
    scattered_strips,
)
from symgraph.cpu.programs.size_text import SizeText
from symgraph.cpu.programs.stopwatch import CLOCK, Laps, Stopwatch, added, in_profile
from symgraph.cpu.programs.under_way import under_way
from symgraph.dims.dim import Atom, Dim, maximum
from symgraph.loops.alike import free_axes, repeated_loops
from symgraph.loops.amount import nest_amount, statement_amount
from symgraph.loops.apart import columns_apart
from symgraph.loops.expr import Axis, Buffer, Expr, Size
from symgraph.loops.likeness import Likeness, likeness
from symgraph.loops.rebase import rebased
from symgraph.loops.schedule import NEVER_SHARED, SIGNAL_WORK, Schedule, choose_schedule, work
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Program, Statement, Store
from symgraph.loops.storage import ALIGNMENT, Uses, plan_storage, reads, writes

# What most programs do not have in them.
dft: Any = lazy("symgraph.cpu.kernels.dft")
loop_forms: Any = lazy("symgraph.cpu.programs.loop_forms")
lapack: Any = lazy("symgraph.cpu.kernels.lapack")
repeat: Any = lazy("symgraph.cpu.programs.repeat")
leading: Any = lazy("symgraph.cpu.kernels.leading")
sort: Any = lazy("symgraph.cpu.kernels.sort")
turns: Any = lazy("symgraph.cpu.programs.turns")

# addresses of cpu/gemm, by (kernel, dtype)
PRODUCT_WORDS = {name: CTX_USER + k for k, name in enumerate(PRODUCTS)}
LAPACK_WORD = CTX_USER + len(PRODUCTS)  # address of the table of LAPACK functions
CONSTANT_WORDS = LAPACK_WORD + 1  # addresses of constants, in order
CHECK_WORK = RELEASE_WORK  # operations between two looks at signals, where statements are short
# Operations of a program (some 20 us) from which threads share statements that are short as well:
# in a shorter one, to meet takes what they save. Those of a statement that they share anywhere.
LONG_PROGRAM, LONG_STATEMENT = 3_000_000, 1_000_000


@dataclass(frozen=True, slots=True)
class Kernel:
    """The text of a nest, for all nests that are alike; `buffers`: their places in the likeness."""

    text: str
    buffers: list[int]
    sizes: list[Dim]
    axes: tuple[Axis, ...]
    schedule: Schedule
    work: int | None
    step: Size | None  # iterations between two looks at signals


class ProgramEmitter:
    """Collects kernels (equal ones once) and writes `run`."""

    def __init__(
        self,
        program: Program,
        vector_bytes: int,
        symbols: Sequence[Atom] = (),
        sizes: Sequence[Size] = (),
        aliases: Mapping[Buffer, Buffer] | None = None,
        profile: bool = False,
    ) -> None:
        """`sizes` are the sizes of outputs, which `derive` computes where they are symbolic.

        `aliases` are temporaries whose place is another buffer (in-place updates). `profile` counts
        calls and clock cycles of every statement, in the global `profile`.
        """
        self.program, self.vector_bytes = program, vector_bytes
        self.watch = Stopwatch(program.statements) if profile else None
        self.aliases = dict(aliases or {})
        self.symbols = list(symbols)
        self.derived = list(dict.fromkeys(n for n in sizes if isinstance(n, Dim)))
        self.plan = plan_storage(program, self.aliases)
        self.declared: set[str] = set()
        self.kernel_texts: dict[str, str] = {}
        self.kernels: list[KernelInfo] = []
        self.owners: list[KernelInfo] = []  # of each statement, the kernel that it is
        self.products: dict[str, None] = {}
        self.needs_lapack = False
        self.lines: list[str] = []
        self.prologue: list[str] = []
        self._names: dict[str, str] = {}
        self._uses: Counter[str] = Counter()
        self._emitted: dict[tuple[Any, ...], Kernel] = {}
        found = {b for statement in program.statements for b in reads(statement)}
        self._read = found | {self.aliases[b] for b in found if b in self.aliases}
        self._alike: dict[tuple[Any, ...], tuple[str, list[int], list[Dim]]] = {}
        timed = profile  # the statements of every step are timed where they stand
        self._repeated = {} if timed else repeated_loops(program.statements, self.aliases)
        self._constant_places: dict[Buffer, int] = {}
        self._flag: Buffer | None = None
        self._interrupted = False
        self._size_text = SizeText(self.symbols, self.prologue)
        self._count = self._forms = 0
        self._words = 1
        self.parallel = self.detached = False
        self._shared_loops = self._pieces = 0
        self.interruptible = False
        self.total_work: int | None = 0
        self.places, self.arena = self._layout()

    def emit(self) -> Module:
        """Return the module."""
        amounts = self._estimate()
        since: int | None = 0
        for k, statement in enumerate(self.program.statements):
            if self.interruptible and (since is None or since > CHECK_WORK):
                self._interrupt()
                since = 0
            amount = amounts[k]
            since = None if since is None or amount is None else since + amount
            if any(self.aliases.get(b, b).kind == "shared" for b in writes(statement)):
                self.interruptible = False  # an in-place store: from here on, the call must finish
            if self.watch is None:
                self._statement(statement, k)
            else:
                self._timed(statement, k)
            self.owners.append(self.kernels[-1])
        run = [
            "define i32 @run(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx) nounwind {",
            "entry:",
            f"  %words = alloca [{self._words} x i64], align 16",
            "  %flag = alloca i64, align 8",
            *self.prologue,
            *self.lines,
            "  ret i32 0",
            *(["interrupted:", "  ret i32 -1"] if self._interrupted else []),
            "}",
            "",
        ]
        texts = self.kernel_texts.values()
        if self.watch is not None:
            self.declared |= self.watch.declarations()
        parts = [ZEROS_TEXT, *sorted(self.declared), "", *texts, "\n".join(run), self._derive()]
        if any(bypass.MARK in text for text in texts):
            parts.append(bypass.DEFINITION)
        text = "\n".join(parts)
        if self._shared_loops > 1:
            text = under_way(text, self._pieces)
        return Module(
            text,
            self.kernels,
            list(self._constant_places),
            tuple(self.products),
            self.needs_lapack,
            self.arena,
            self.plan,
            self.total_work,
            self.parallel,
            self.detached,
            self.symbols,
            self.derived,
            [] if self.watch is None else self.watch.timed,
            self.owners,
        )

    def _statement(self, statement: Statement, place: int) -> None:
        if isinstance(statement, Nest):
            self._nest(statement)
        elif isinstance(statement, Check):
            self._check(statement)
        elif isinstance(statement, Loop):
            self._loop(statement, place)
        else:
            self._library(statement)

    def _timed(self, statement: Statement, place: int) -> None:
        """Run a statement between two looks at the clock."""
        start = self._new(CLOCK)
        self._statement(statement, place)
        end = self._new(CLOCK)
        for k, amount in enumerate((self._new(f"sub i64 {end}, {start}"), "1")):
            pointer = self._new(in_profile(2 * place + k))
            self.lines += added(pointer, pointer, amount)

    def _layout(self) -> tuple[dict[Buffer, Size], Size]:
        """Return the place of every temporary; symbolic sizes lie behind the static part."""
        offset: Size = self.plan.static_bytes
        places: dict[Buffer, Size] = dict(self.plan.offsets)
        for buffer in self.plan.dynamic:
            places[buffer] = offset
            size = buffer.size * buffer.dtype.itemsize + (ALIGNMENT - 1)
            offset = offset + size // ALIGNMENT * ALIGNMENT
        if isinstance(offset, Dim) and offset not in self.derived:
            self.derived.append(offset)
        return places, offset

    def _estimate(self) -> list[int | None]:
        """Return the operations of the statements; they say whether to look at signals."""
        amounts = [statement_work(statement) for statement in self.program.statements]
        known = [n for n in amounts if n is not None]
        total = self.total_work = sum(known) if len(known) == len(amounts) else None
        self.interruptible = total is None or total > RELEASE_WORK
        return amounts

    # -- statements --------------------------------------------------------------------------------
    def _nest(self, nest: Nest) -> None:
        self._call(self._nest_call(nest, ()))

    def _nest_call(self, nest: Nest, around: Sequence[Axis]) -> Call:
        """Make the kernel of a nest; it is passed the steps of the loops `around` it."""
        offsets: dict[Buffer, int] = {}
        if not around:
            nest, offsets = rebased(self.program.builder, nest)
        like = likeness(nest, around)
        past = not around and self._is_last(nest)
        known = self._emitted.get((like.key, past))
        if known is None:
            known = self._emitted[like.key, past] = self._emit_kernel(nest, around, like, past)
        schedule = known.schedule.over(dict(zip(known.axes, like.axes, strict=True)))
        name = self._kernel(known.text, nest.origin, schedule, known.work)
        buffers = [like.buffers[place] for place in known.buffers]
        s = self.program.builder
        values: list[Size | Expr] = [*known.sizes, *(s.at(a) for a in around)]
        units, grain = _units(schedule) if schedule.parallel else (1, 1)
        parallel = schedule.parallel and self._shares(known.work)
        starts = [offsets.get(b, 0) for b in buffers]
        step = known.step
        return Call(name, buffers, values, None, units, grain, parallel, step, starts)

    def _shares(self, amount: int | None) -> bool:
        """Tell whether threads share a statement of so many operations, if it can be cut."""
        if amount is None or self.total_work is None:
            return True
        return amount >= LONG_STATEMENT or self.total_work >= LONG_PROGRAM

    def _is_last(self, nest: Nest) -> bool:
        """Tell whether a nest stores results only, which nothing reads."""
        return all(t.buffer.kind == "output" and t.buffer not in self._read for t in nest.stores)

    def _emit_kernel(
        self, nest: Nest, around: Sequence[Axis], like: Likeness, last: bool
    ) -> Kernel:
        nest = columns_apart(self.program.builder, nest)
        schedule = choose_schedule(nest, self.vector_bytes)
        emitter = KernelEmitter(self.program.builder, self.vector_bytes, around)
        emitter.write(nest, schedule, last and bypass.bypasses(nest, schedule))
        text, forms = with_cases(emitter, nest, schedule, MOST_FORMS - self._forms)
        self._forms += forms
        self.declared |= emitter.declared
        units = _units(schedule)[0] if schedule.parallel else 1
        alone = schedule.grain is NEVER_SHARED
        step = _serial_step(nest, schedule, units) if alone or schedule.block else None
        if schedule.block and step is not None:  # whole blocks of columns, where that is not long
            step = maximum(schedule.grain, step)
        places = {buffer: k for k, buffer in enumerate(like.buffers)}
        buffers = [places[b] for b in emitter.buffers]
        return Kernel(text, buffers, emitter.sizes, like.axes, schedule, work(nest), step)

    def _call(self, call: Call) -> None:
        starts = call.starts or [0] * len(call.buffers)
        words = [self._pointer(b, n) for b, n in zip(call.buffers, starts, strict=True)]
        if call.library is not None:
            words.append(self._word("ptr", call.library))
        kinds = ["ptr"] * len(words) + ["i64"] * len(call.values)
        words += [self._size(n) for n in call.values]  # type: ignore[arg-type]
        self._call_kernel(call, kinds, words)

    def _loop(self, loop: Loop, place: int) -> None:
        """Make the function of a loop and call it; it returns the code of a check that failed."""
        if loop.free and self.watch is None:
            self._turns(loop)
            return
        emitter, name = self._loop_function(loop, (), place)
        words = [self._pointer(b) for b in emitter.buffers]
        words += [self._size(n) for n in emitter.sizes]
        kinds = ["ptr"] * len(emitter.buffers) + ["i64"] * len(emitter.sizes)
        self._pass(kinds, words)
        status = self._new(f"call i32 {name}(ptr %words, ptr %ctx)")
        self._leave(self._new(f"icmp ne i32 {status}, 0"), status)

    def _turns(self, loop: Loop) -> None:
        """Call the kernel of a loop whose steps do not need each other."""
        calls = [self._nest_call(t, (loop.axis,)) for t in loop.body if isinstance(t, Nest)]
        uses = Uses()
        others = uses.used([t for t in self.program.statements if t is not loop])
        read = {b for t in loop.body for b in uses.reads(t)}
        own = {b for b in uses.step_values(loop) & read - others if b.kind == "temporary"}
        (places,) = {b.shape[0] for b in own}
        text, passed = turns.turns_text(calls, own, places)
        self.declared.add(turns.DECLARED)
        amount, count = statement_work(loop), loop.axis.extent
        assert isinstance(amount, int) and isinstance(count, int)
        name = self._kernel(text, loop.origin, None, amount)
        parallel, grain = turns.shares(count, amount)
        self._call(Call(name, passed, [0], None, count, grain, parallel))

    def _loop_function(self, loop: Loop, around: Sequence[Axis], place: int) -> tuple[Any, str]:
        """Write the function of a loop; return its emitter and its name."""
        emitter = self._loop_emitter(around, place)
        emitter.emit_loop(loop)
        text, forms = emitter.text("@KERNEL"), 0
        if emitter.sizes and self.watch is None:
            form = partial(self._loop_emitter, around, place)
            text, forms = loop_forms.with_short_states(
                emitter, loop, form, MOST_FORMS - self._forms
            )
        self._forms += forms
        name = self._kernel(text, loop.origin, None, statement_work(loop))
        self.declared |= emitter.declared
        self.parallel |= emitter.parallel
        self._shared_loops += 2 * emitter.parallel  # once in each step
        self.detached |= emitter.detached
        return emitter, name

    def _loop_emitter(self, around: Sequence[Axis], place: int) -> Any:
        return repeat.LoopEmitter(
            self.program.builder,
            self.vector_bytes,
            self.aliases,
            self._outside,
            self.interruptible,
            statement_work,
            None if self.watch is None else Laps(self.watch, place),
            self._apart if self._repeated else None,
            around,
        )

    def _apart(self, loop: Loop, around: Sequence[Axis]) -> Call | None:
        """Return the call of a loop in a loop that is alike another one, None for others."""
        like = self._repeated.get(loop)
        if like is None:
            return None
        needed = free_axes(loop)
        outer = [k for k, a in enumerate(like.axes) if needed & a.bit and a in around]
        axes = [like.axes[k] for k in outer]
        key = like.key, tuple(outer), self.interruptible
        known = self._alike.get(key)
        if known is None:
            emitter, name = self._loop_function(loop, axes, 0)
            places = {buffer: k for k, buffer in enumerate(like.buffers)}
            known = name, [places[b] for b in emitter.buffers], emitter.sizes
            self._alike[key] = known
        name, used, sizes = known
        values: list[Size | Expr] = [*sizes, *(self.program.builder.at(a) for a in axes)]
        return Call(name, [like.buffers[k] for k in used], values, None, 1, 1, False)

    def _outside(self, statement: Nest | LibraryCall, around: Sequence[Axis]) -> Call:
        if isinstance(statement, Nest):
            return self._nest_call(statement, around)
        return self._library_call(statement)

    def _kernel(self, text: str, origin: Any, schedule: Schedule | None, amount: int | None) -> str:
        known = self._names.get(text)
        shared = 0
        if known is None:
            known = self._names[text] = f"@k{len(self.kernel_texts)}"
            self.kernel_texts[known] = text.replace("@KERNEL", known)
        else:
            shared = self._uses[known]
        self._uses[known] += 1
        self.kernels.append(KernelInfo(known[1:], origin, schedule, amount, shared))
        return known

    def _call_kernel(self, call: Call, kinds: list[str], words: list[str]) -> None:
        self._pass(kinds, words)
        count = self._size(call.units)
        name = call.name if isinstance(call.name, str) else self._word("ptr", call.name)
        if not call.parallel:
            self.lines.append(f"  call void {name}(ptr %words, i64 0, i64 {count})")
            return
        self.parallel = True
        self._shared_loops += 1
        if isinstance(call.units, int) and isinstance(call.grain, int):
            self._pieces += call.units // max(1, call.grain)
        run = self._word("ptr", Ctx.PARALLEL_FOR)
        pool = self._word("ptr", Ctx.THREAD_POOL)
        least = self._size(call.grain)
        step = least if call.step is None else self._size(call.step)
        step = step if self.interruptible else "0"
        lengths = ""
        if call.long != 0 and self.interruptible:
            self.detached = True
            run = self._word("ptr", Ctx.DETACHED_FOR)
            lengths = f", ptr {self._lengths(call, len(words))}"
        status = self._new(
            f"call i32 {run}(ptr {pool}, ptr {name}, ptr %words, i64 {count}, i64 {least}, "
            f"i64 {step}, ptr %ctx{lengths})"
        )
        if self.interruptible:
            self._leave_interrupted(status)

    def _lengths(self, call: Call, start: int) -> str:
        """Store the lengths of what a kernel is passed; null if the call is short after all."""
        words = [self._size(n) for n in call.lengths()]
        self._pass(["i64"] * len(words), words, start)
        place = self._new(f"getelementptr i64, ptr %words, i64 {start}")
        if isinstance(call.long, int):
            return place
        short = self._new(f"icmp slt i64 {self._size(call.long)}, 1")
        return self._new(f"select i1 {short}, ptr null, ptr {place}")

    def _pass(self, kinds: list[str], words: list[str], start: int = 0) -> None:
        """Store what a kernel is passed."""
        self._words = max(self._words, start + len(words))
        for k, (kind, word) in enumerate(zip(kinds, words, strict=True), start):
            at = self._new(f"getelementptr i64, ptr %words, i64 {k}")
            self.lines.append(f"  store {kind} {word}, ptr {at}, align 8")

    def _check(self, check: Check) -> None:
        """Run the condition over all points into a flag; leave with the code where it was true."""
        s = check.condition.builder
        flag = Buffer("flag", BOOL, (), "flag")
        found = s.reduce("any", check.axes, check.condition) if check.axes else check.condition
        self._flag = flag
        self._nest(Nest((), (Store(flag, s.index(0), found),), origin=check.origin))
        value = self._new("load i8, ptr %flag, align 8")
        bad = self._new(f"icmp ne i8 {value}, 0")
        self._leave(bad, str(check.code))

    def _leave(self, condition: str, code: str) -> None:
        self._count += 1
        stop, on = f"stop{self._count}", f"on{self._count}"
        self.lines.append(f"  br i1 {condition}, label %{stop}, label %{on}")
        self.lines.extend([f"{stop}:", f"  ret i32 {code}", f"{on}:"])

    def _interrupt(self) -> None:
        self._leave_interrupted(self._new("call i32 @check_interrupt(ptr %ctx)"))

    def _leave_interrupted(self, status: str) -> None:
        """Leave if a signal handler has raised: by one way out for all, which is less code."""
        self._interrupted = True
        bad = self._new(f"icmp ne i32 {status}, 0")
        on = f"on{self._next()}"
        self.lines += [f"  br i1 {bad}, label %interrupted, label %{on}", f"{on}:"]

    # -- library calls -----------------------------------------------------------------------------
    def _library(self, call: LibraryCall) -> None:
        self._call(self._library_call(call))

    def _sort_call(self, call: LibraryCall) -> Call:
        (rows, n), start, *count = call.params
        amount = statement_work(call)
        text = (leading.leading_kernel if count else sort.argsort_kernel)(call.inputs[0].dtype)
        name = self._kernel(text, call.origin, None, amount)
        parallel = amount is None or amount > RELEASE_WORK
        long = _long(call, rows, 2 * SIGNAL_WORK) if start == 0 else 0
        return Call(
            name, call.outputs, [n, start, *count], None, rows, 1, parallel,
            long=long, reads=call.inputs, results=call.outputs[:1],
        )  # fmt: skip

    def _dft_call(self, call: LibraryCall) -> Call:
        (outer, n, inner, _), places, options = call.params
        dtype, amount = call.outputs[0].dtype, statement_work(call)
        text = dft.dft_kernel(dtype, options, self.vector_bytes)
        name = self._kernel(text, call.origin, None, amount)
        units = outer * -(-inner // dft.block(n, inner, dtype.itemsize))
        parallel = amount is None or amount > RELEASE_WORK
        long = _long(call, units, SIGNAL_WORK) if places[0] == 0 else 0
        buffers = [*call.outputs, *call.inputs]
        return Call(
            name, buffers, places, None, units, 1, parallel,
            long=long, reads=call.inputs, results=call.outputs,
        )  # fmt: skip

    def _lapack_call(self, call: LibraryCall) -> Call:
        _, count, values, options = call.params
        self.needs_lapack = True
        if options[0]:
            self.declared.add(lapack.DECLARED)
        amount = statement_work(call)
        text = lapack.lapack_kernel(call.name, call.outputs[0].dtype, options)
        name = self._kernel(text, call.origin, None, amount)
        parallel = amount is None or amount > RELEASE_WORK
        grain = 1 if call.name in lapack.REENTRANT else count
        buffers = [*call.outputs, *(b for b in call.inputs if b not in call.outputs)]
        return Call(
            name, buffers, values, LAPACK_WORD, count, grain, parallel, step=1,
            long=_long(call, count, lapack.LONG[call.name]),
            reads=call.inputs, results=call.outputs,
            library_bytes=lapack.table_bytes(),
        )  # fmt: skip

    def _library_call(self, call: LibraryCall) -> Call:
        if call.name in ("argsort", "argsort_first"):
            return self._sort_call(call)
        if call.name == "dft":
            return self._dft_call(call)
        if call.name not in PRODUCT_NAMES:
            return self._lapack_call(call)
        *batch, m, n, k = call.params[0]
        name = product_name(call)
        self.products[name] = None
        amount = statement_work(call)
        self.kernels.append(KernelInfo(name, call.origin, None, amount))
        scattered = call.name == "contract"
        values = (contraction_words if scattered else product_words)(*call.params)
        together = scattered_strips(m, n) if scattered else STEP_STRIPS
        shares = product_shares(batch, m, n, k, together)
        parallel = (amount is None or amount > RELEASE_WORK) and self._shares(amount)
        buffers = [*call.inputs, *call.outputs]
        word = PRODUCT_WORDS[name]
        return Call(word, buffers, values, None, shares.units, shares.grain, parallel, shares.step)

    # -- pointers and sizes ------------------------------------------------------------------------
    def _pointer(self, buffer: Buffer, start: int = 0) -> str:
        """Return the address of an element, computed here: kept, hundreds would be spilled."""
        pointer = self._first(buffer)
        if not start:
            return pointer
        return self._new(f"getelementptr i8, ptr {pointer}, i64 {start * buffer.dtype.itemsize}")

    def _first(self, buffer: Buffer) -> str:
        buffer = self.aliases.get(buffer, buffer)
        if buffer is self._flag:
            return "%flag"
        if buffer.kind == "constant":
            place = self._constant_places.setdefault(buffer, len(self._constant_places))
            return self._word("ptr", CONSTANT_WORDS + place)
        if buffer.kind == "temporary":
            at = self._size(self.places[buffer])
            return self._new(f"getelementptr i8, ptr %arena, i64 {at}")
        at = self._new(f"getelementptr ptr, ptr %bufs, i64 {buffer.slot}")
        return self._new(f"load ptr, ptr {at}, align 8")

    def _size(self, n: Size) -> str:
        """Return a size as text, computed once at the start of `run`."""
        return self._size_text.emit(n)

    def _derive(self) -> str:
        """`derive` stores what follows from the run-time sizes behind them."""
        if not self.symbols:
            return ""
        text = SizeText(self.symbols, [])
        for k, n in enumerate(self.derived):
            value = text.emit(n)
            text.lines.append(
                f"  %o{k} = getelementptr i64, ptr %dims, i64 {len(self.symbols) + k}"
            )
            text.lines.append(f"  store i64 {value}, ptr %o{k}, align 8")
        head = "define void @derive(ptr %dims) nounwind {\nentry:"
        return "\n".join([head, *text.lines, "  ret void", "}", ""])

    def _word(self, kind: str, word: int) -> str:
        at = self._new(f"getelementptr i64, ptr %ctx, i64 {int(word)}")
        return self._new(f"load {kind}, ptr {at}, align 8")

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _new(self, instruction: str) -> str:
        name = f"%r{self._next()}"
        self.lines.append(f"  {name} = {instruction}")
        return name


def _units(schedule: Schedule) -> tuple[Size, Size]:
    """Return the iterations of the outermost loop and how many a chunk has at least."""
    outer = schedule.order[0]
    if schedule.shared_strips and schedule.vector is not None:
        return (schedule.vector.extent + (schedule.strip - 1)) // schedule.strip, schedule.grain
    if outer is schedule.unroll:
        tiles = (outer.extent + (schedule.tile - 1)) // schedule.tile
        return tiles, maximum(1, schedule.grain // schedule.tile)
    return outer.extent, schedule.grain


def _serial_step(nest: Nest, schedule: Schedule, units: Size) -> Size:
    """Return the iterations of a serial nest between two looks at signals: whole vectors."""
    amount = maximum(1, nest_amount(nest))
    return schedule.lanes * maximum(1, SIGNAL_WORK * units // (amount * schedule.lanes))


def _long(call: LibraryCall, units: Size, bound: int) -> Size:
    """Return how many times `bound` operations one unit of a call takes."""
    amount: Any = statement_amount(call)
    whole: Size = amount // (bound * maximum(1, units))
    return whole


def statement_work(statement: Statement) -> int | None:
    """Estimate the operations of a statement; None when sizes are not known."""
    amount = statement_amount(statement)
    return amount if isinstance(amount, int) else None
