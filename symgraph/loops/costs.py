"""What values cost: operations of an element, bytes of an array."""

from __future__ import annotations

import math

from symgraph.core.node import Node

# simple operations that an elementwise op is worth; 1 where it is not listed
SCALAR_COST = dict.fromkeys(
    ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sigmoid", "tanh", "erf"), 14
) | dict.fromkeys(
    ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"), 24
) | {
    "erfc": 24, "cbrt": 24, "softplus": 28, "power": 40, "atan2": 30, "logaddexp": 30, "div": 4,
    "gammaln": 40, "digamma": 40, "gamma": 60, "polygamma": 60, "betaln": 60, "erfinv": 30,
    "erfcinv": 40, "erfcx": 30, "ndtr": 30, "log_ndtr": 40, "ndtri": 40, "beta_weight": 60,
    "poisson_weight": 60, "i0": 30, "i1": 30, "i0e": 30, "i1e": 30, "k0": 30, "k1": 30, "k0e": 30,
    "k1e": 30, "j0": 40, "j1": 40, "y0": 40, "y1": 40,
    "sqrt": 4, "reciprocal": 4, "mod": 16, "floordiv": 16, "fmod": 16, "hypot": 10,
}  # fmt: skip


def array_bytes(node: Node) -> int:
    """Return the bytes of an array, 0 where its size is not known."""
    shape = node.type.shape
    known = all(isinstance(n, int) for n in shape)
    return math.prod(n for n in shape if isinstance(n, int)) * node.dtype.itemsize if known else 0
