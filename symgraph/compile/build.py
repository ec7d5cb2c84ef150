"""From a function and sizes to native code's text: all that a version is made of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symgraph.compile import phase, pipeline
from symgraph.compile.classes import SizeClass, size_class
from symgraph.compile.pipeline import Stages
from symgraph.compile.policy import Choice
from symgraph.compile.signature import entry_spec, wanted_sizes
from symgraph.compile.specialise import specialise
from symgraph.core.errors import ShapeError
from symgraph.core.lazy import lazy
from symgraph.core.node import Node, describe
from symgraph.core.record import dataclass
from symgraph.cpu.entry.call import EntrySpec, emit_entry
from symgraph.cpu.programs.module import Module
from symgraph.cpu.programs.product import products_in
from symgraph.dims.dim import Atom
from symgraph.loops.amount import program_amount

gemm: Any = lazy("symgraph.cpu.gemm.compiled")

if TYPE_CHECKING:
    from symgraph.compile.function import Compiled


@dataclass(slots=True)
class Built:
    """What the passes made for one class of sizes.

    graph: outputs and new values of shared variables, rewritten. leaf_map: leaves with the sizes
    put in, by the function's leaves.
    """

    sizes: SizeClass
    stages: Stages
    module: Module
    spec: EntrySpec
    text: str
    graph: list[Node]
    leaf_map: dict[Node, Node]
    output_sizes: list[tuple[Any, ...]]


def build(compiled: Compiled, classes: SizeClass) -> Built:
    """Rewrite, lower and emit a function for a class of sizes. Raises ShapeError."""
    start = time.perf_counter()
    phase.enter("rewriting the graph")
    d = compiled.definition
    count = len(d.outputs)
    special, new = specialised(compiled, classes)
    outputs = pipeline.prepare(special, compiled.numerics)
    outputs = pipeline.complete(outputs)
    front = time.perf_counter() - start
    args = [new.get(p.node, p.node) for p in d.params]
    shared = [new.get(n, n) for n in d.shared]
    updates = [(new.get(p, p), v) for (p, _), v in zip(d.updates, outputs[count:], strict=True)]
    phase.enter("lowering to loops")
    stages = pipeline.lower(outputs[:count], updates, args, shared)
    stages.seconds["graph"] = front
    assert stages.program is not None
    for product in products_in(stages.program.statements):
        gemm.begin(product)
    work = program_amount(stages.program.statements)
    wanted = wanted_sizes(outputs[:count], classes, work)
    phase.enter("emitting LLVM")
    module = pipeline.emit(
        stages, classes.symbols, wanted, compiled.profiled, compiled.numerics
    )
    spec = entry_spec(d, classes, new, outputs[:count], module, work)
    shapes = [n.type.shape for n in outputs[:count]]
    text = module.text + emit_entry(spec)
    return Built(classes, stages, module, spec, text, outputs, new, shapes)


def choose_class(
    compiled: Compiled, sizes: Mapping[Atom, int], choice: Choice, largest: Mapping[Atom, int]
) -> SizeClass:
    """Return the class of a new version. Raises ShapeError for sizes that clash."""
    if choice.kind == "exact":
        return SizeClass(dict(sizes))
    values = [*compiled.values, *_leaves(compiled)]
    return size_class(values, sizes, choice.moving, _stored(compiled), largest)


def specialised(compiled: Compiled, classes: SizeClass) -> tuple[list[Node], dict[Node, Node]]:
    """Return the values for a class, and its leaves by the function's leaves.

    Raises ShapeError for sizes that clash, or an update that does not keep its variable's shape.
    """
    values = [*compiled.values, *_leaves(compiled)]
    special, new = specialise(values, classes.sizes.get)
    for k, p in _stored(compiled).items():
        old, value = new.get(p, p), special[k]
        if classes.kind == "exact" and old.type.shape != value.type.shape:
            raise resizing(old, value.type.shape)
    return special[: len(compiled.values)], new


def _leaves(compiled: Compiled) -> list[Node]:
    d = compiled.definition
    return [*(p.node for p in d.params), *d.shared]


def _stored(compiled: Compiled) -> dict[int, Node]:
    """Return the updated variables by the places of their new values."""
    d = compiled.definition
    return {len(d.outputs) + k: p for k, (p, _) in enumerate(d.updates)}


def resizing(target: Node, shape: Sequence[Any]) -> ShapeError:
    """Return the error for an update of another shape than the variable's."""
    sizes = ", ".join(map(str, shape))
    return ShapeError(
        f"the update of `{describe(target)}` ({target.type}) has shape ({sizes}); an update is "
        "stored in place and keeps the shape.\n  mend:   return the new value as an output and "
        "call set_value"
    )
