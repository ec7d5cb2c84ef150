"""One native version of a function: for exact sizes, or for a class of sizes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.compile import pipeline
from symgraph.compile.classes import SizeClass, size_class
from symgraph.compile.explain import report_stage, report_version
from symgraph.compile.pipeline import Stages
from symgraph.compile.policy import Choice
from symgraph.compile.signature import entry_spec, wanted_sizes
from symgraph.compile.specialise import bind_sizes, specialise
from symgraph.core.config import config
from symgraph.core.errors import ShapeError
from symgraph.core.lazy import lazy
from symgraph.core.node import Node, describe
from symgraph.core.record import dataclass
from symgraph.cpu import jit, lapack
from symgraph.cpu.abi import Ctx
from symgraph.cpu.call import Entry, EntrySpec, emit_entry, entry_names
from symgraph.cpu.gemm import compiled as gemm
from symgraph.cpu.program import Module
from symgraph.dims.dim import Atom, evaluate
from symgraph.loops.amount import program_amount

if TYPE_CHECKING:
    from symgraph.compile.function import Compiled

slow: Any = lazy("symgraph.compile.slow")
SLOW_COMPILE = 2.0  # seconds after which a compilation says what it was doing
PRODUCTS = ("float32", "float64")


@dataclass(slots=True)
class Version:
    """Native code, its entry, and what is needed to explain and check it."""

    name: str
    choice: Choice
    sizes: SizeClass
    entry: Entry
    stages: Stages
    module: Module
    shapes: list[tuple[Any, ...]]
    output_sizes: list[tuple[Any, ...]]
    symbols: list[Atom]
    graph: list[Node]
    leaf_map: dict[Node, Node]
    seconds: float
    keep: list[Any]

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
        return [tuple(evaluate(n, values) for n in shape) for shape in self.output_sizes]

    def report(self) -> dict[str, Any]:
        """Return what `f.versions()` lists."""
        return {
            "kind": self.kind,
            "why": self.choice.why,
            "shapes": self.shapes,
            "facts": self.sizes.describe() if self.symbols else [],
            "seconds": self.seconds,
            "calls": self.entry.calls,
            "kernels": len(self.module.kernels),
            "arena_bytes": self.module.arena if isinstance(self.module.arena, int) else None,
            "from_cache": self.entry.loaded.times.cached,
        }

    def explain(self, stage: str | None) -> str:
        """Return a report of this version, or the text of one stage."""
        return report_version(self) if stage is None else report_stage(self, stage)


def build_version(
    compiled: Compiled,
    arrays: Sequence[np.ndarray],
    shared_arrays: Sequence[np.ndarray],
    choice: Choice,
    largest: Mapping[Atom, int],
) -> Version:
    """Compile a version that takes these arguments; raises ShapeError where sizes clash.

    largest: the largest value that each size ever had.

    A compilation of more than `SLOW_COMPILE` seconds says so while it runs, and at its end what
    took the time.
    """
    start = time.perf_counter()
    report = threading.Timer(SLOW_COMPILE, lambda: slow.say_busy(compiled.name, start))
    report.daemon = True
    report.start()
    try:
        return _build(compiled, arrays, shared_arrays, choice, largest, start)
    finally:
        report.cancel()


def _build(
    compiled: Compiled,
    arrays: Sequence[np.ndarray],
    shared_arrays: Sequence[np.ndarray],
    choice: Choice,
    largest: Mapping[Atom, int],
    start: float,
) -> Version:
    d = compiled.definition
    leaves = [p.node for p in d.params] + list(d.shared)
    values = dict(zip(leaves, (*arrays, *shared_arrays), strict=True))
    count = len(d.outputs)
    try:
        sizes = bind_sizes(leaves, values)
        classes, special, new = _specialised(compiled, leaves, sizes, choice, largest)
    except ShapeError as error:
        raise _with_arguments(error, leaves, values) from None
    symbols = classes.symbols
    outputs = pipeline.prepare(special, compiled.numerics)
    outputs = pipeline.expand_composed(outputs)

    front = time.perf_counter() - start
    args = [new.get(p.node, p.node) for p in d.params]
    shared = [new.get(n, n) for n in d.shared]
    updates = [(new.get(p, p), v) for (p, _), v in zip(d.updates, outputs[count:], strict=True)]
    stages = pipeline.lower(outputs[:count], updates, args, shared)
    stages.seconds["graph"] = front
    assert stages.program is not None
    work = program_amount(stages.program.statements)
    wanted = wanted_sizes(outputs[:count], classes, work)
    module = pipeline.emit(stages, symbols, wanted, compiled.profiled)
    spec = entry_spec(d, classes, new, outputs[:count], module, work)
    entry, keep = _load(compiled, spec, module, stages)
    seconds = time.perf_counter() - start
    version = Version(
        f"{compiled.name}.{len(compiled.made)}",
        choice,
        classes,
        entry,
        stages,
        module,
        [a.shape for a in arrays],
        [n.type.shape for n in outputs[:count]],
        symbols,
        outputs,
        new,
        seconds,
        keep,
    )
    if seconds > SLOW_COMPILE:
        slow.say_slow(version)
    return version


def _specialised(
    compiled: Compiled,
    leaves: list[Node],
    sizes: dict[Atom, int],
    choice: Choice,
    largest: Mapping[Atom, int],
) -> tuple[SizeClass, list[Node], dict[Node, Node]]:
    """Return the class of the version, its values, and its leaves by the function's leaves.

    Raises ShapeError for sizes that clash, or an update that does not keep its variable's shape.
    """
    d = compiled.definition
    values = [*compiled.values, *leaves]
    stored = {len(d.outputs) + k: p for k, (p, _) in enumerate(d.updates)}
    classes = SizeClass(dict(sizes))
    if choice.kind != "exact":
        classes = size_class(values, sizes, choice.moving, stored, largest)
    special, new = specialise(values, classes.sizes.get)
    for k, p in stored.items():
        old, value = new.get(p, p), special[k]
        if classes.kind == "exact" and old.type.shape != value.type.shape:
            raise resizing(old, value.type.shape)
    return classes, special[: len(compiled.values)], new


def resizing(target: Node, shape: Sequence[Any]) -> ShapeError:
    """Return the error for an update of another shape than the variable's."""
    sizes = ", ".join(map(str, shape))
    return ShapeError(
        f"the update of `{describe(target)}` ({target.type}) has shape ({sizes}); an update is "
        "stored in place and keeps the shape.\n  mend:   return the new value as an output and "
        "call set_value"
    )


def _load(
    compiled: Compiled, spec: EntrySpec, module: Module, stages: Stages
) -> tuple[Entry, list[Any]]:
    """Compile (or fetch) the machine code and connect it to Python."""
    began = time.perf_counter()
    text = module.text + emit_entry(spec)
    names = (*entry_names(spec), *(("profile",) if module.timed else ()))
    loaded = jit.build(text, names, verify=config.verify)
    stages.seconds["native code"] = time.perf_counter() - began
    keep: list[Any] = []
    user = [gemm.address(dtype) if dtype in module.products else 0 for dtype in PRODUCTS]
    lapack_table = lapack.table() if module.needs_lapack else None
    user.append(0 if lapack_table is None else lapack_table.ctypes.data)
    for buffer in module.constants:
        array = np.ascontiguousarray(stages.constant_arrays[buffer])
        keep.append(array)
        user.append(array.ctypes.data)

    if lapack_table is not None:
        keep.append(lapack_table)

    def on_error(code: int) -> None:
        raise _run_time_error(stages, code, lapack_table)

    cells = [n.data.cell for n in compiled.definition.shared]
    entry = Entry(
        loaded,
        spec,
        cells,
        compiled.slow,
        on_error,
        user=user,
        name=compiled.name,
        threads=module.parallel,
    )
    if module.parallel:
        assert entry.words[Ctx.PARALLEL_FOR]
    return entry, keep


def _run_time_error(stages: Stages, code: int, lapack_table: np.ndarray | None) -> Exception:
    node = stages.error_nodes[code - 1]
    x = node.inputs[0]
    if lapack_table is not None and hasattr(node.op, "failure"):
        item, info = lapack_table[lapack.FAILED_ITEM], lapack_table[lapack.FAILED_INFO]
        return node.op.failure(node, int(item), int(info))  # type: ignore[no-any-return]
    if node.op.name == "label":
        return IndexError(
            f"a label of `{describe(x)}` is out of bounds for {node.params.n} classes\n"
            f"  node:   made at {node.source}\n"
            "  mend:   labels are integers in [0, classes)"
        )
    return IndexError(
        f"an index of `{describe(node)}` is out of bounds for `{describe(x)}` with shape "
        f"{x.type.shape}\n  node:   {node.op.name}, made at {node.source}\n"
        "  mend:   indices must lie in [-n, n); check them with sg.min and sg.max"
    )


def _with_arguments(
    error: ShapeError, leaves: Sequence[Node], values: dict[Node, Any]
) -> ShapeError:
    lines = [
        f"  call:   {describe(n)}  {n.dtype} {values[n].shape}, argument {k}"
        for k, n in enumerate(leaves)
        if n.op.name == "input"
    ]
    new = ShapeError("\n".join([str(error), *lines]))
    for note in getattr(error, "__notes__", ()):
        new.add_note(note)
    return new
