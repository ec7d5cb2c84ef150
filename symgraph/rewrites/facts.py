"""What can be proved about the values of a node, by looking a few levels down.

The depth is bounded, so a question costs a constant time and deep graphs do not recurse deeply.
"""

from __future__ import annotations

import numpy as np

from symgraph.core.node import CONSTANT, Node

DEPTH = 6
_NON_NEGATIVE = {
    "exp", "exp2", "abs", "square", "sigmoid", "softplus", "cosh", "erfc", "hypot", "softmax",
    "iota", "dim_value", "random_bits", "acos", "acosh",
}  # fmt: skip
_CLOSED = {"add", "mul", "div", "maximum", "minimum", "prod", "sum", "sum_to", "cumsum", "cumprod"}
_KEEPS = {
    "sqrt", "reciprocal", "expm1", "log1p", "sinh", "tanh", "asinh", "atan", "erf", "cbrt", "cast",
    "reshape", "permute_dims", "expand_dims", "squeeze", "broadcast_to", "slice", "place", "max",
    "min", "gather", "stop_gradient", "grad_clip", "last_state", "floor", "ceil", "trunc", "rint",
    "relu",
}  # fmt: skip


def non_negative(x: Node, depth: int = DEPTH) -> bool:
    """Tell whether every element is proved to be +0, positive or NaN (never -0.0)."""
    if x.dtype.kind in "bu":
        return True
    if x.op is CONSTANT:
        return bool((~np.signbit(x.data)).all()) if x.dtype.is_float else bool((x.data >= 0).all())
    name = x.op.name
    if name in _NON_NEGATIVE:
        return x.dtype.is_float or name in ("iota", "dim_value")
    if depth == 0 or not x.dtype.is_float:
        return name == "cast" and x.inputs[0].dtype.kind in "bu" and x.dtype.bits > 8
    if name == "cast":
        return non_negative(x.inputs[0], depth - 1)
    if name in _KEEPS:
        return non_negative(x.inputs[0], depth - 1)
    if name == "power":
        return non_negative(x.inputs[0], depth - 1)
    if name in _CLOSED:
        return all(non_negative(i, depth - 1) for i in x.inputs)
    if name == "where":
        return non_negative(x.inputs[1], depth - 1) and non_negative(x.inputs[2], depth - 1)
    return False


def never_minus_zero(x: Node, depth: int = DEPTH) -> bool:
    """Tell whether no element can be -0.0: then x + 0.0 has the bits of x."""
    if not x.dtype.is_float or non_negative(x):
        return True
    if x.op is CONSTANT:
        return not bool((np.signbit(x.data) & (x.data == 0)).any())
    if depth == 0:
        return False
    if x.op.name == "add":  # a sum is -0.0 only when both terms are
        return any(never_minus_zero(i, depth - 1) for i in x.inputs)
    if x.op.name == "sub":
        return never_minus_zero(x.inputs[0], depth - 1)
    if x.op.name == "cast":
        return not x.inputs[0].dtype.is_float or never_minus_zero(x.inputs[0], depth - 1)
    return False


def finite(x: Node) -> bool:
    """Tell whether no element can be infinite or NaN."""
    if not x.dtype.is_float:
        return True
    if x.op is CONSTANT:
        return bool(np.isfinite(x.data).all())
    if x.op.name == "cast":
        return not x.inputs[0].dtype.is_float and x.dtype.bits > 16
    return x.op.name == "broadcast_to" and finite(x.inputs[0])


def whole(x: Node) -> bool:
    """Tell whether the elements are integers or bool."""
    return not x.dtype.is_float
