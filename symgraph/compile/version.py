"""One native version of a function: for exact sizes, or for sizes known only at run time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.compile import pipeline
from symgraph.compile.explain import report_stage, report_version
from symgraph.compile.pipeline import Stages
from symgraph.compile.specialise import bind_sizes, size_symbols, specialise
from symgraph.core.config import config
from symgraph.core.errors import ShapeError
from symgraph.core.lazy import lazy
from symgraph.core.node import Node, describe
from symgraph.core.record import dataclass
from symgraph.cpu import blas, jit, lapack
from symgraph.cpu.abi import Ctx
from symgraph.cpu.call import ArraySpec, Entry, EntrySpec, Slot, emit_entry, entry_names
from symgraph.cpu.program import Module
from symgraph.dims.dim import Atom, Dim, evaluate, recorded, symbol

if TYPE_CHECKING:
    from symgraph.compile.function import Compiled

slow: Any = lazy("symgraph.compile.slow")
SLOW_COMPILE = 2.0  # seconds after which a compilation says what it was doing
LIBRARY = ("sgemm", "dgemm")


@dataclass(slots=True)
class Version:
    """Native code, its entry, and what is needed to explain and check it."""

    name: str
    generic: bool
    entry: Entry
    stages: Stages
    module: Module
    shapes: list[tuple[Any, ...]]
    arg_specs: tuple[ArraySpec, ...]
    shared_specs: tuple[ArraySpec, ...]
    output_sizes: list[tuple[Any, ...]]
    symbols: list[Atom]
    graph: list[Node]
    leaf_map: dict[Node, Node]
    seconds: float
    keep: list[Any]

    def accepts(self, arrays: Sequence[np.ndarray], shared: Sequence[np.ndarray]) -> bool:
        """Tell whether the native entry would take these arrays."""
        return self.bind(arrays, shared) is not None

    def bind(
        self, arrays: Sequence[np.ndarray], shared: Sequence[np.ndarray]
    ) -> dict[int, int] | None:
        """Return the run-time sizes by their numbers; None where the arrays do not fit."""
        sizes: dict[int, int] = {}
        pairs = zip((*arrays, *shared), (*self.arg_specs, *self.shared_specs), strict=True)
        for array, spec in pairs:
            wanted = list(zip(spec.shape, array.shape, strict=True))
            if spec.value is not None:
                wanted.append((spec.value, int(array)))
            for size, n in wanted:
                if isinstance(size, int):
                    if size != n:
                        return None
                elif sizes.setdefault(size.index, n) != n or n < size.minimum:
                    return None
        return sizes

    def output_shapes(self, arrays: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
        """Return the shapes of the results for these arguments."""
        if not self.generic:
            return list(self.output_sizes)
        sizes: dict[int, int] = {}
        for array, spec in zip(arrays, self.arg_specs, strict=True):
            for size, n in zip(spec.shape, array.shape, strict=True):
                if not isinstance(size, int):
                    sizes[size.index] = n
            if spec.value is not None and not isinstance(spec.value, int):
                sizes[spec.value.index] = int(array)
        values = {atom: sizes[k] for k, atom in enumerate(self.symbols) if k in sizes}
        return [tuple(evaluate(n, values) for n in shape) for shape in self.output_sizes]

    def report(self) -> dict[str, Any]:
        """Return what `f.versions()` lists."""
        return {
            "kind": "generic" if self.generic else "exact",
            "shapes": self.shapes,
            "seconds": self.seconds,
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
    generic: bool,
) -> Version:
    """Compile a version that takes these arguments; raises ShapeError where sizes clash.

    A compilation of more than `SLOW_COMPILE` seconds says so while it runs, and at its end what
    took the time.
    """
    start = time.perf_counter()
    report = threading.Timer(SLOW_COMPILE, lambda: slow.say_busy(compiled.name, start))
    report.daemon = True
    report.start()
    try:
        return _build(compiled, arrays, shared_arrays, generic, start)
    finally:
        report.cancel()


def _build(
    compiled: Compiled,
    arrays: Sequence[np.ndarray],
    shared_arrays: Sequence[np.ndarray],
    generic: bool,
    start: float,
) -> Version:
    d = compiled.definition
    leaves = [p.node for p in d.params] + list(d.shared)
    values = dict(zip(leaves, (*arrays, *shared_arrays), strict=True))
    sizes = bind_sizes(leaves, values)
    wanted_values = [*compiled.values, *leaves]
    try:
        classes = size_classes(wanted_values, sizes) if generic else sizes
        generic = generic and classes is not sizes
        special, new = specialise(wanted_values, classes.get)
        special = special[: len(compiled.values)]
    except ShapeError as error:
        raise _with_arguments(error, leaves, values) from None
    symbols = [c.terms[0][0][0] for c in dict.fromkeys(classes.values()) if isinstance(c, Dim)]
    outputs = pipeline.prepare(special, compiled.numerics)
    outputs = pipeline.expand_composed(outputs)

    front = time.perf_counter() - start
    count = len(d.outputs)
    args = [new.get(p.node, p.node) for p in d.params]
    shared = [new.get(n, n) for n in d.shared]
    updates = [(new.get(p, p), v) for (p, _), v in zip(d.updates, outputs[count:], strict=True)]
    stages = pipeline.lower(outputs[:count], updates, args, shared)
    stages.seconds["graph"] = front
    out_types = [n.type for n in outputs[:count]]
    wanted = [n for t in out_types for n in t.shape]
    module = pipeline.emit(stages, symbols, wanted, compiled.profiled)
    slots: dict[Any, int] = {s: k for k, s in enumerate(symbols)}
    for k, n in enumerate(module.derived):
        slots[n] = len(symbols) + k
    defined: set[Atom] = set()
    arg_specs = tuple(
        _spec(n, old, classes, slots, defined) for n, old in zip(args, leaves, strict=False)
    )
    shared_specs = tuple(_spec(n, n, classes, slots, defined) for n in shared)
    out_specs = tuple(ArraySpec(t.dtype, tuple(_out(n, slots) for n in t.shape)) for t in out_types)
    written = {p for p, _ in d.updates}
    arena = module.arena if isinstance(module.arena, int) else Slot(slots[module.arena])
    spec = EntrySpec(
        args=arg_specs,
        shared=shared_specs,
        shared_writes=tuple(n in written for n in d.shared),
        outputs=out_specs,
        single=d.single,
        none=d.none,
        n_dims=len(symbols) + len(module.derived) if symbols else 0,
        arena=arena,
        release_gil=module.release_gil,
    )
    entry, keep = _load(compiled, spec, module, stages)
    seconds = time.perf_counter() - start
    version = Version(
        f"{compiled.name}.{len(compiled.version_list)}",
        generic,
        entry,
        stages,
        module,
        [a.shape for a in arrays],
        arg_specs,
        shared_specs,
        [t.shape for t in out_types],
        symbols,
        outputs,
        new,
        seconds,
        keep,
    )
    if seconds > SLOW_COMPILE:
        slow.say_slow(version)
    return version


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
    user = [blas.address(name) for name in LIBRARY] if module.needs_library else [0, 0]
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


def size_classes(values: Sequence[Node], sizes: dict[Atom, int]) -> Any:
    """Return what each size is in a generic version: 0 and 1 are facts, the others run-time sizes.

    Sizes that the graph needs equal (operands of one sum, the summed axis of a product) become one
    run-time size, which the native entry compares. Where the graph needs more than that can say,
    `sizes` itself is returned: an exact version is always right.
    """
    specialise(values, sizes.get)  # sizes that clash raise here, with numbers in the message
    group = {atom: atom for atom, n in sizes.items() if n >= 2}  # symbol -> its representative
    while True:
        fresh = {root: symbol(root.name, low=2) for root in dict.fromkeys(group.values())}
        classes = {a: fresh[group[a]] if a in group else n for a, n in sizes.items()}
        with recorded() as found:
            specialise(values, classes.get)
        pairs = [(a, b) for a, b in found if a is not b]
        if not pairs:
            return classes
        roots = {dim: root for root, dim in fresh.items()}
        joined = [(roots[a], roots[b]) for a, b in pairs if a in roots and b in roots]
        if not joined or any(sizes[a] != sizes[b] for a, b in joined):
            return sizes
        for a, b in joined:
            keep, drop = group[a], group[b]
            group = {atom: keep if root is drop else root for atom, root in group.items()}


def _spec(
    node: Node, old: Node, classes: dict[Atom, Any], slots: dict[Any, int], defined: set[Atom]
) -> ArraySpec:
    def size(n: Any) -> Any:
        if isinstance(n, int):
            return n
        atom = n.terms[0][0][0]
        first = atom not in defined
        defined.add(atom)
        return Slot(slots[atom], first, 2 if first else 0)

    value = None
    for atom, axis in size_symbols(old):
        if axis is None and atom in classes:
            value = size(classes[atom])
    return ArraySpec(node.dtype, tuple(size(n) for n in node.type.shape), value)


def _out(n: Any, slots: dict[Any, int]) -> Any:
    if isinstance(n, int):
        return n
    if len(n.terms) == 1 and n.terms[0][1] == 1 and len(n.terms[0][0]) == 1:
        atom = n.terms[0][0][0]
        if atom in slots:
            return Slot(slots[atom])
    return Slot(slots[n])


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
