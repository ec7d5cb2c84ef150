"""Run the passes by hand, up to the loop program or the native module, for vectors of any width."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.compile import pipeline
from symgraph.compile.pipeline import Stages
from symgraph.core.config import config
from symgraph.core.node import INPUT, SHARED, Node
from symgraph.core.walk import toposort
from symgraph.cpu.programs.module import Module
from symgraph.cpu.programs.program import ProgramEmitter
from symgraph.dims.dim import Dim

Updates = Sequence[tuple[Node, Node]]


def leaves_of(outputs: Sequence[Node], updates: Updates = ()) -> list[Node]:
    """Return inputs, then shared variables, each in the order in which the graph meets them."""
    nodes = toposort([*outputs, *(v for _, v in updates)])
    shared = [n for n in nodes if n.op is SHARED]
    shared += [p for p, _ in updates if p not in shared]
    return [n for n in nodes if n.op is INPUT] + shared


def lowered(
    outputs: Sequence[Node], updates: Updates = (), numerics: str = "default"
) -> tuple[Stages, list[Node]]:
    """Return the verified loop program of a graph, and the rewritten results that it computes."""
    leaves = leaves_of(outputs, updates)
    with config.override(verify=True):
        values = [*outputs, *(v for _, v in updates)]
        values = pipeline.complete(pipeline.prepare(values, numerics))
        count = len(outputs)
        pairs = [(p, v) for (p, _), v in zip(updates, values[count:], strict=True)]
        args = [n for n in leaves if n.op is INPUT]
        shared = [n for n in leaves if n.op is SHARED]
        return pipeline.lower(values[:count], pairs, args, shared), values[:count]


def emitted(
    outputs: Sequence[Node],
    updates: Updates = (),
    sizes: Sequence[Dim] = (),
    vector_bytes: int = 32,
    numerics: str = "default",
) -> Module:
    """Return the native module of a graph; `sizes` are its run-time sizes."""
    stages, results = lowered(outputs, updates, numerics)
    assert stages.program is not None
    pipeline.copy_operands(stages, vector_bytes)
    symbols = [n.terms[0][0][0] for n in sizes]
    wanted = [n for x in results for n in x.type.shape]
    return ProgramEmitter(stages.program, vector_bytes, symbols, wanted, stages.aliases).emit()
