"""Vector math: each function as an expression of primitive loop-IR operations.

`EXPANSIONS[name](s, x)` (or `(s, x, y)`) builds the expression for float32 or float64, with no
branch and no table, so that any emitter and the interpreter can run it. `ULP` states the largest
error measured, rounded up, in units in the last place of the exact result.
"""

from __future__ import annotations

from collections.abc import Callable

from symgraph.cpu.vecmath import (
    exponential,
    hyperbolic,
    inverse,
    logarithm,
    trigonometric,
)
from symgraph.loops.grammar import Expr

EXPANSIONS: dict[str, Callable[..., Expr]] = {
    name: getattr(module, name)
    for module, names in (
        (exponential, ("exp", "exp2", "expm1", "sigmoid")),
        (logarithm, ("log", "log2", "log10", "log1p", "softplus")),
        (hyperbolic, ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")),
        (trigonometric, ("sin", "cos", "tan")),
        (inverse, ("asin", "acos", "atan", "atan2")),
    )
    for name in names
}
