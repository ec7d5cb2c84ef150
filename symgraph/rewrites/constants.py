"""Constants: folding, and one form for uniform ones."""

from __future__ import annotations

import numpy as np

from symgraph.core.node import CONSTANT, Node, constant, new_input
from symgraph.core.op import o
from symgraph.core.pattern import ANY, rewrite_rule
from symgraph.dims.dim import has_dim

FOLDED_BYTES = 4096  # larger results are left to run time; a program must not hold them
_KEPT = {"broadcast_to"}  # a broadcast number says more than the array that it spells out


def _example() -> list[Node]:
    return [o.add(constant(1.5), constant(2.25)), o.expand_dims(constant(np.arange(3.0)), 0)]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=(ANY,), children=("constant",), example=_example
)
def fold_constants(node: Node) -> Node | None:
    """An op on constants only -> its value, computed by the NumPy reference (small results)."""
    for i in node.inputs:
        if i.op is not CONSTANT:
            return None
    if node.op.opaque or node.op.name in _KEPT or not node.type.is_static or not node.inputs:
        return None
    if has_dim(node.params):
        return None
    count = 1
    for n in node.type.shape:
        count *= n
    if count * node.dtype.itemsize > FOLDED_BYTES:
        return None
    with np.errstate(all="ignore"):
        return constant(node.op.numpy(node, *(i.data for i in node.inputs)), node.dtype)


def _uniform_example() -> list[Node]:
    x = new_input("float32", (3, 4), "x")
    return [o.mul(x, constant(np.full((3, 4), 2.0, np.float32)))]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=(ANY,), children=("constant",),
    example=_uniform_example,
)  # fmt: skip
def shrink_uniform_constant(node: Node) -> Node | None:
    """An operand that is an array of one repeated number -> that number, broadcast."""
    for k, i in enumerate(node.inputs):
        if i.op is CONSTANT and i.data.size > 1 and node.op.name != "broadcast_to":
            first = i.data.flat[0]
            if i.data.nbytes <= FOLDED_BYTES and i.data.tobytes() == first.tobytes() * i.data.size:
                new = o.broadcast_to(constant(first, i.dtype), i.type.shape)
                return node.op.rebuild(node, (*node.inputs[:k], new, *node.inputs[k + 1 :]))
    return None
