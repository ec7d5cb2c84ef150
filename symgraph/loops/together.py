"""Store several arrays as parts of one: the parts of complex numbers, the legs of a butterfly."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from symgraph.core.node import Node
from symgraph.loops.expr import Buffer, View, walk
from symgraph.loops.statements import Nest


def lower_stacked(
    low: Any, node: Node, out: Buffer | View, placed: Callable[..., Any]
) -> None:
    """Append one nest that stores all inputs of `node`, or one for each if any is a reduction.

    placed(old, axes, new): a shape or an index with more entries, see `ops/together`.
    One nest computes what they share once. A reduction has a nest of its own, so that a long one
    can be cut into chunks.
    """
    s = low.s
    places, counts, _ = node.params
    whole = placed(node.inputs[0].type.shape, places, counts)
    axes = low.nest_axes(node.inputs[0])
    index = [s.at(a) for a in axes]
    values = [low.value(x, index) for x in node.inputs]
    stores = []
    for value, at in zip(values, product(*map(range, counts)), strict=True):
        full = placed(index, places, at)
        stores.append(low.store(out, low.flat(full, whole), value))
    if any(e.op == "reduce" for e in walk(values)):
        for store in stores:
            low.add(Nest(axes, (store,), origin=(node,)))
    else:
        low.add(Nest(axes, tuple(stores), origin=(node,)))
