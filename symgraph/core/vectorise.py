"""Batching: compute a graph for many values of some variables at once, by each op's own rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from symgraph.core.namespace import o
from symgraph.core.node import Node
from symgraph.core.source import made_from
from symgraph.core.walk import toposort, with_inputs

IN_BATCH = " (its batch)"
Batched = tuple[Node, int | None]


def vectorise(outputs: Sequence[Node], batches: Mapping[Node, Batched]) -> list[Batched]:
    """Return each output for a whole batch: (node, axis of the batch), axis None: the same for all.

    `batches` gives, for some variables of the graph, an array of values and the axis along which
    they lie (None: another node, the same for all). What does not depend on these
    variables stays as it is, computed once.
    """
    done: dict[Node, Any] = dict(batches)
    for node in toposort(outputs, stop=batches.__contains__):
        if node in done:
            continue
        if node.op.name == "result" and node.inputs[0] in done:
            done[node] = done[node.inputs[0]][node.params.index]
            continue
        parts = [done[i] for i in node.inputs]
        if all(axis is None for _, axis in parts):
            same = with_inputs(node, tuple(n for n, _ in parts))
            done[node] = _alone(same) if node.op.compound else (same, None)
            continue
        if node.op.compound:
            with made_from(node.source, IN_BATCH):
                compound: Any = node.op
                done[node] = compound.batch_all(o, node, *_split(parts))
            continue
        with made_from(node.source, IN_BATCH):
            done[node] = node.op.batch(o, node, *_split(parts))
    return [done[n] for n in outputs]


def _alone(node: Node) -> list[Batched]:
    """Return the results of a compound node that is the same for the whole batch."""
    return [(r, None) for r in o.results_of(node)]


def _split(parts: Sequence[Batched]) -> tuple[tuple[Node, ...], tuple[int | None, ...]]:
    return tuple(n for n, _ in parts), tuple(axis for _, axis in parts)
