"""Sizes as values: one form for what is computed from them, and numbers once they are known.

A size that becomes a floating-point number rounds, and so does what is computed with it. A version
for known sizes must round as one for run-time sizes does; merging such a number with other
constants (`0.3 * (2 / n)`) would not. So it stays a node, `dim_value` in a floating dtype, while
rules run, and `with_numbers` folds it, operation by operation, when they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.body import some_node, with_bodies
from symgraph.core.dtype import FLOAT32, FLOAT64, INT64
from symgraph.core.node import CONSTANT, Node, constant, new_input
from symgraph.core.op import o, ops
from symgraph.core.pattern import rewrite_rule
from symgraph.core.walk import inherit, toposort, with_inputs
from symgraph.dims.dim import provably_le

# What every machine rounds alike: of these, folded and computed values have the same bits.
_ROUNDED_ALIKE = {
    "add", "sub", "mul", "div", "neg", "abs", "square", "sqrt", "reciprocal", "maximum", "minimum",
    "cast", "expand_dims", "reshape",
}  # fmt: skip


def _size(n: Any, dtype: Any = INT64) -> Node:
    return ops["dim_value"](dim=n, dtype=dtype)


def size_of(x: Node) -> Any:
    """Return the size, a number or a symbolic one, that an int64 scalar is; None for others."""
    if x.op is CONSTANT and x.data.size == 1 and x.dtype is INT64:
        return int(x.data.item())
    return x.params.dim if x.op.name == "dim_value" else None


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("add", "sub", "mul"), children=("dim_value",),
    example=lambda: [_size(7) * 2, _size(9) - _size(3)],
)  # fmt: skip
def size_arithmetic(node: Node) -> Node | None:
    """Sums and products of sizes -> a size."""
    sizes = [size_of(i) for i in node.inputs]
    if node.dtype is not INT64 or None in sizes:
        return None
    a, b = sizes
    return _size(a + b if node.op.name == "add" else a - b if node.op.name == "sub" else a * b)


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("cast",), children=("dim_value",),
    example=lambda: [o.cast(_size(7), "float32"), o.cast(_size(9), "float64")],
)  # fmt: skip
def size_as_float(node: Node) -> Node | None:
    """A size cast to a floating dtype -> a size of that dtype."""
    size = node.inputs[0]
    if size.dtype is not INT64 or node.dtype not in (FLOAT32, FLOAT64):
        return None
    return _size(size.params.dim, node.dtype)


@rewrite_rule(
    phase="shape", numeric="exact", roots=("dim_value",), example=lambda: [_size(7)]
)  # fmt: skip
def known_size(node: Node) -> Node | None:
    """The value of a size that is a number -> a constant; not yet if it is a floating one."""
    n = node.params.dim
    return constant(n, node.dtype) if isinstance(n, int) and not node.dtype.is_float else None


def with_numbers(outputs: Sequence[Node]) -> list[Node]:
    """Put constants for the known sizes that are left, and for what is computed from them alone."""
    if not some_node(outputs, _is_known):
        return list(outputs)
    new: dict[Node, Node] = {}
    for node in toposort(outputs):
        result = with_inputs(node, tuple(new[i] for i in node.inputs))
        result = inherit(with_bodies(result, with_numbers), node)
        if _is_known(result) or (result is not node and _is_folded(result)):
            with np.errstate(all="ignore"):
                value = result.op.numpy(result, *(i.data for i in result.inputs))
            result = constant(value, node.dtype)
        new[node] = result
    return [new[n] for n in outputs]


def _is_known(node: Node) -> bool:
    return node.op.name == "dim_value" and isinstance(node.params.dim, int)


def _is_folded(node: Node) -> bool:
    constant_inputs = all(i.op is CONSTANT and i.data.size == 1 for i in node.inputs)
    return node.op.name in _ROUNDED_ALIKE and node.type.is_static and constant_inputs


@rewrite_rule(
    phase="shape", numeric="exact", roots=("iota",),
    example=lambda: [ops["iota"](shape=(1,), axis=0, dtype=INT64)],
)  # fmt: skip
def iota_of_one(node: Node) -> Node | None:
    """The positions along an axis of length 1 -> zeros."""
    n = node.type.shape[node.params.axis]
    if not isinstance(n, int) or n != 1 or not node.type.is_static:
        return None
    return ops["broadcast_to"](constant(0, node.dtype), shape=node.type.shape)


def _last_state_example() -> list[Node]:
    x = new_input("float32", (3, 4), "x")
    return [ops["last_state"](x, steps=1)]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("last_state",), example=_last_state_example
)
def last_of_some_steps(node: Node) -> Node | None:
    """last_state(x) -> x where there is a step: nothing is left to check."""
    return node.inputs[0] if provably_le(1, node.params.steps) else None


def _fits_example() -> list[Node]:
    return [ops["fits"](new_input("float32", (3, 4), "x"), size=2, what="a window")]


@rewrite_rule(phase="canonical", numeric="exact", roots=("fits",), example=_fits_example)
def what_fits(node: Node) -> Node | None:
    """fits(x) -> x where the size is at least 1: nothing is left to check."""
    return node.inputs[0] if provably_le(1, node.params.size) else None
