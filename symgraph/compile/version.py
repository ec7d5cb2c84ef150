"""One native version of a function: for exact sizes, or for a class of sizes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.compile import phase
from symgraph.compile.classes import SizeClass
from symgraph.compile.plans import Plan
from symgraph.compile.policy import Choice
from symgraph.compile.specialise import bind_sizes
from symgraph.core import collector
from symgraph.core.config import config
from symgraph.core.errors import ShapeError
from symgraph.core.lazy import lazy
from symgraph.core.node import Node, describe
from symgraph.cpu.abi import Ctx
from symgraph.cpu.entry.call import Entry, entry_names
from symgraph.cpu.native import jit, memory, pool
from symgraph.cpu.native.jit import Loaded
from symgraph.cpu.programs.product import PRODUCTS
from symgraph.dims.dim import Atom, evaluate

if TYPE_CHECKING:
    from symgraph.compile.build import Built
    from symgraph.compile.function import Compiled
    from symgraph.compile.pipeline import Stages
    from symgraph.cpu.programs.module import Module

# A version whose plan is on disk needs none of the compiler.
builder: Any = lazy("symgraph.compile.build")
detached: Any = lazy("symgraph.cpu.native.detached")
explain: Any = lazy("symgraph.compile.explain")
gather: Any = lazy("symgraph.ops.gather")
gemm: Any = lazy("symgraph.cpu.gemm.compiled")
lapack: Any = lazy("symgraph.cpu.kernels.lapack")
slow: Any = lazy("symgraph.compile.slow")
ONCE = ("run", "run.parts", "run.body")  # straight-line code around the kernels
SLOW_COMPILE = 2.0  # seconds after which a compilation says what it was doing


class Version:
    """Native code, its entry, and what is needed to explain and check it."""

    def __init__(
        self,
        compiled: Compiled,
        choice: Choice,
        shapes: list[tuple[Any, ...]],
        plan: Plan,
        loaded: Loaded,
        built: Built | None,
    ) -> None:
        """`built` is None where the plan came from disk; it is then made when it is asked for."""
        self.name = f"{compiled.name}.{len(compiled.made)}"
        self.choice, self.shapes, self.plan = choice, shapes, plan
        self.seconds = 0.0
        self._compiled, self._built = compiled, built
        self._table = lapack.table() if plan.needs_lapack else None
        self.entry = self._connect(loaded)

    def _connect(self, loaded: Loaded) -> Entry:
        """Connect the machine code to Python."""
        compiled, plan = self._compiled, self.plan
        user = [gemm.address(name) if name in plan.products else 0 for name in PRODUCTS]
        user.append(0 if self._table is None else self._table.ctypes.data)
        user += [array.ctypes.data for array in plan.constants]

        def on_error(code: int) -> None:
            raise self._run_time_error(code)

        cells = [n.data.cell for n in compiled.definition.shared]
        entry = Entry(
            loaded,
            plan.spec,
            cells,
            compiled.slow,
            on_error,
            user=user,
            slow_into=compiled.slow_into,
            name=compiled.name,
            threads=plan.parallel,
            detached=plan.detached,
            numbers=[not p.strict and p.downcast is not False for p in compiled.definition.params],
        )
        if plan.parallel:
            assert entry.words[Ctx.PARALLEL_FOR]
        return entry

    @property
    def sizes(self) -> SizeClass:
        """The class of sizes that the version is for."""
        return self.plan.sizes

    @property
    def symbols(self) -> list[Atom]:
        """The run-time sizes."""
        return self.plan.sizes.symbols

    @property
    def parallel(self) -> bool:
        """Whether loops are shared among threads."""
        return self.plan.parallel

    @property
    def is_compiled(self) -> bool:
        """Whether the passes have run in this process."""
        return self._built is not None

    @property
    def built(self) -> Built:
        """What the passes made; they run now if the plan came from disk."""
        if self._built is None:
            start = time.perf_counter()
            built: Built = builder.build(self._compiled, self.plan.sizes)
            built.stages.seconds = {"plan from disk": self.seconds}
            built.stages.seconds["passes, for this report"] = time.perf_counter() - start
            self._built = built
        return self._built

    @property
    def stages(self) -> Stages:
        """What each pass made."""
        return self.built.stages

    @property
    def module(self) -> Module:
        """The module of native code, as text, and its kernels."""
        return self.built.module

    @property
    def graph(self) -> list[Node]:
        """Outputs and updates as they were lowered."""
        return self.built.graph

    @property
    def leaf_map(self) -> dict[Node, Node]:
        """The leaves of `graph` by the function's own."""
        return self.built.leaf_map

    @property
    def kind(self) -> str:
        """ "exact", "class" (some sizes vary) or "generic" (all do)."""
        return self.sizes.kind

    def accepts(self, arrays: Sequence[np.ndarray], shared: Sequence[np.ndarray]) -> bool:
        """Tell whether the native entry would take these arrays."""
        return self.bind(arrays, shared) is not None

    def bind(
        self, arrays: Sequence[np.ndarray], shared: Sequence[np.ndarray]
    ) -> dict[int, int] | None:
        """Return the run-time sizes by their numbers; None where the arrays do not fit."""
        spec = self.entry.spec
        sizes: dict[int, int] = {}
        for array, want in zip((*arrays, *shared), (*spec.args, *spec.shared), strict=True):
            wanted = list(zip(want.shape, array.shape, strict=True))
            if want.value is not None:
                wanted.append((want.value, int(array)))
            for size, n in wanted:
                if isinstance(size, int):
                    if size != n:
                        return None
                elif sizes.setdefault(size.index, n) != n or n < size.minimum:
                    return None
        known = {atom: sizes[k] for k, atom in enumerate(self.symbols)}
        return sizes if all(fact.holds(known) for fact in self.sizes.facts) else None

    def output_shapes(
        self, arrays: Sequence[np.ndarray], shared: Sequence[np.ndarray]
    ) -> list[tuple[int, ...]]:
        """Return the shapes of the results for these arguments, which must fit."""
        sizes = self.bind(arrays, shared) or {}
        values = {atom: sizes[k] for k, atom in enumerate(self.symbols)}
        return [tuple(evaluate(n, values) for n in shape) for shape in self.plan.output_sizes]

    def report(self) -> dict[str, Any]:
        """Return what `f.versions()` lists."""
        arena = self.plan.spec.arena
        return {
            "kind": self.kind,
            "why": self.choice.why,
            "shapes": self.shapes,
            "facts": self.sizes.describe() if self.symbols else [],
            "seconds": self.seconds,
            "calls": self.entry.calls,
            "kernels": self.plan.kernels,
            "arena_bytes": arena if isinstance(arena, int) else None,
            "from_cache": self.entry.loaded.times.cached,
        }

    def explain(self, stage: str | None) -> str:
        """Return a report of this version, or the text of one stage."""
        report: str = (
            explain.report_version(self) if stage is None else explain.report_stage(self, stage)
        )
        return report

    def _run_time_error(self, code: int) -> Exception:
        built = self.built
        if jit.cache_key(built.text, jit.target()) != self.plan.code:  # codes may be others
            return IndexError("an index is out of bounds; clear the cache to see which")
        node = built.stages.error_nodes[code - 1]
        return _error_of(node, self._table)


def build_version(
    compiled: Compiled,
    arrays: Sequence[np.ndarray],
    shared_arrays: Sequence[np.ndarray],
    choice: Choice,
    largest: Mapping[Atom, int],
) -> Version:
    """Return a version that takes these arguments; raises ShapeError where sizes clash.

    largest: the largest value that each size ever had.

    A compilation of more than `SLOW_COMPILE` seconds says so while it runs, and at its end what
    took the time.
    """
    start = time.perf_counter()
    d = compiled.definition
    leaves = [*(p.node for p in d.params), *d.shared]
    values = dict(zip(leaves, (*arrays, *shared_arrays), strict=True))
    shapes = [a.shape for a in arrays]
    try:
        sizes = bind_sizes(leaves, values)
        version = _from_disk(compiled, sizes, choice, largest, shapes)
        if version is None:
            with _report_when_slow(compiled.name, start), collector.paused():
                version = _compile(compiled, sizes, choice, largest, shapes)
    except ShapeError as error:
        raise _with_arguments(error, leaves, values) from None
    version.seconds = time.perf_counter() - start
    if version.seconds > SLOW_COMPILE and version.is_compiled:
        slow.say_slow(version)
    return version


@contextmanager
def _report_when_slow(name: str, start: float) -> Iterator[None]:
    thread = threading.get_ident()
    phase.enter("the plan")
    report = threading.Timer(SLOW_COMPILE, lambda: slow.say_busy(name, start, thread))
    report.daemon = True
    report.start()
    try:
        yield
    finally:
        report.cancel()


def _from_disk(
    compiled: Compiled,
    sizes: Mapping[Atom, int],
    choice: Choice,
    largest: Mapping[Atom, int],
    shapes: list[tuple[Any, ...]],
) -> Version | None:
    """Return a version whose plan and object file are in the cache, None if they are not."""
    plan, cache = compiled.keys.load(sizes, choice, largest), jit.cache()
    if plan is None or cache is None:
        return None
    loaded = jit.load_cached(plan.code, entry_names(plan.spec), cache)
    return None if loaded is None else Version(compiled, choice, shapes, plan, loaded, None)


def _compile(
    compiled: Compiled,
    sizes: Mapping[Atom, int],
    choice: Choice,
    largest: Mapping[Atom, int],
    shapes: list[tuple[Any, ...]],
) -> Version:
    """Run all passes, and keep the plan."""
    start = time.perf_counter()
    built = builder.build(compiled, builder.choose_class(compiled, sizes, choice, largest))
    began = time.perf_counter()
    built.stages.seconds["graph"] += began - start - sum(built.stages.seconds.values())
    module = built.module
    names = (*entry_names(built.spec), *(("profile",) if module.timed else ()))
    phase.enter("native code")
    _begin_what_it_needs(built)
    loaded = jit.build(built.text, names, verify=config.verify, once=ONCE)
    built.stages.seconds["native code"] = time.perf_counter() - began
    plan = _plan(built)
    compiled.keys.save(plan, sizes, choice, largest)
    return Version(compiled, choice, shapes, plan, loaded, built)


def _begin_what_it_needs(built: Built) -> None:
    """Let code of the process that the entry will connect be made beside the function's own."""
    if built.module.parallel:
        pool.begin()
    if built.module.detached:
        detached.begin()
    if built.spec.needs_pool:
        memory.begin()


def _plan(built: Built) -> Plan:
    module, arrays = built.module, built.stages.constant_arrays
    return Plan(
        jit.cache_key(built.text, jit.target()),
        built.spec,
        built.sizes,
        built.output_sizes,
        tuple(module.products),
        module.needs_lapack,
        module.parallel,
        module.detached,
        len(module.kernels),
        [np.ascontiguousarray(arrays[buffer]) for buffer in module.constants],
    )


def _error_of(node: Node, lapack_table: np.ndarray | None) -> Exception:
    x = node.inputs[0]
    if lapack_table is not None and hasattr(node.op, "failure"):
        item, info = lapack_table[lapack.FAILED_ITEM], lapack_table[lapack.FAILED_INFO]
        lapack_table[lapack.FAILED_INFO] = 0  # no failure is earlier than that of another call
        return node.op.failure(node, int(item), int(info))  # type: ignore[no-any-return]
    if hasattr(node.op, "refusal"):
        return node.op.refusal(node)  # type: ignore[no-any-return]
    if node.op.name == "label":
        return IndexError(
            f"a label of `{describe(x)}` is out of bounds for {node.params.n} classes\n"
            f"  node:   made at {node.source}\n"
            "  mend:   labels are integers in [0, classes)"
        )
    return gather.out_of_bounds(node, x.type.shape)  # type: ignore[no-any-return]


def _with_arguments(
    error: ShapeError, leaves: Sequence[Node], values: dict[Node, Any]
) -> ShapeError:
    lines = [
        f"  call:   {describe(n)}  {n.dtype} {values[n].shape}, argument {k}"
        for k, n in enumerate(leaves)
        if n.op.name == "input"
    ]
    new = type(error)("\n".join([str(error), *lines]))
    for note in getattr(error, "__notes__", ()):
        new.add_note(note)
    return new
