"""Elementwise ops broadcast by themselves: repeating an operand first is never needed.

The derivatives of sums and means are full of `broadcast_to(constant)`; these rules take them out.
"""

from __future__ import annotations

from typing import Any

from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.core.pattern import ELEMENTWISE, rewrite_rule


def _definite(x: Node, shape: tuple[Any, ...]) -> bool:
    """Tell whether it is known along which axes `x` is repeated to `shape`."""
    lead = len(shape) - x.ndim
    return all(
        n is shape[lead + k] or isinstance(n, int) for k, n in enumerate(x.type.shape)
    )


def _bare(x: Node) -> Node:
    """Return what an operand repeats, without leading axes of length 1."""
    if x.op.name == "broadcast_to" and _definite(x.inputs[0], x.type.shape):
        x = x.inputs[0]
    if x.op.name == "expand_dims":
        axes = x.params.axes
        if axes == tuple(range(len(axes))):
            return x.inputs[0]
    if x.op.name == "constant" and x.ndim and x.data.size == 1:
        return o.reshape(x, ())
    return x


def _example() -> list[Node]:
    x, r = new_input("float32", (3, 4), "x"), new_input("float32", (1, 4), "r")
    s = new_input("float32", (), "s")
    return [
        o.mul(o.broadcast_to(s, (3, 4)), x),
        o.exp(o.broadcast_to(r, (3, 4))),
        o.add(o.broadcast_to(r, (3, 4)), o.broadcast_to(s, (3, 4))),
        o.where(o.gt(x, 0), o.expand_dims(s, (0, 1)), x),
    ]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=(ELEMENTWISE,),
    children=("broadcast_to", "expand_dims", "constant"), example=_example,
)  # fmt: skip
def sink_broadcast(node: Node) -> Node | None:
    """f(broadcast(x), y) -> f(x, y), broadcast behind it where no operand has the full shape."""
    bare = tuple([_bare(x) for x in node.inputs])
    if bare == node.inputs:
        return None
    new = node.op.rebuild(node, bare)
    if new.type.shape == node.type.shape:
        return new
    if not _definite(new, node.type.shape):
        return None
    return o.broadcast_to(new, node.type.shape)
