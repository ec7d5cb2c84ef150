"""Sizes that have become numbers."""

from __future__ import annotations

from symgraph.core.node import Node, constant
from symgraph.core.op import ops
from symgraph.core.pattern import rewrite_rule


@rewrite_rule(
    phase="shape", numeric="exact", roots=("dim_value",), example=lambda: [ops["dim_value"](dim=7)]
)
def known_size(node: Node) -> Node | None:
    """The value of a size that is a number -> a constant."""
    n = node.params.dim
    return constant(n, node.dtype) if isinstance(n, int) else None


@rewrite_rule(
    phase="shape", numeric="exact", roots=("iota",),
    example=lambda: [ops["iota"](shape=(1,), axis=0, dtype=ops["dim_value"](dim=1).dtype)],
)  # fmt: skip
def iota_of_one(node: Node) -> Node | None:
    """The positions along an axis of length 1 -> zeros."""
    n = node.type.shape[node.params.axis]
    if not isinstance(n, int) or n != 1 or not node.type.is_static:
        return None
    return ops["broadcast_to"](constant(0, node.dtype), shape=node.type.shape)
