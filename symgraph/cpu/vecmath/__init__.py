"""Vector math: each function as an expression of primitive loop-IR operations.

`EXPANSIONS[name](s, x)` (or `(s, x, y)`) builds the expression for float32 or float64, with no
branch and no table, so that any emitter and the interpreter can run it; `BY_LOOKUP` has some with
small tables. `ULP` states the largest error measured, rounded up, in units in the last place of the
exact result.

sin, cos and tan end in `select(|x| <= limit, usual, huge)`, where the last operand costs 30 to 200
operations that nothing else uses. An emitter that puts these behind a branch, taken when some lane
is huge, makes them two to six times faster; the value is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgraph.core.dtype import FLOAT32
from symgraph.core.lazy import lazy
from symgraph.loops.expr import Expr

# Few programs use many of them.
error_function: Any = lazy("symgraph.cpu.vecmath.error_function")
exponential: Any = lazy("symgraph.cpu.vecmath.exponential")
hyperbolic: Any = lazy("symgraph.cpu.vecmath.hyperbolic")
inverse: Any = lazy("symgraph.cpu.vecmath.inverse")
logarithm: Any = lazy("symgraph.cpu.vecmath.logarithm")
piecewise: Any = lazy("symgraph.cpu.vecmath.piecewise")
power: Any = lazy("symgraph.cpu.vecmath.power")
trigonometric: Any = lazy("symgraph.cpu.vecmath.trigonometric")


def _expansion(module: Any, function: str) -> Callable[..., Expr]:
    def expansion(*operands: Expr) -> Expr:
        found: Expr = getattr(module, function)(*operands)
        return found

    return expansion


EXPANSIONS: dict[str, Callable[..., Expr]] = {
    name: _expansion(module, name)
    for module, names in (
        (exponential, ("exp", "exp2", "expm1", "sigmoid")),
        (logarithm, ("log", "log2", "log10", "log1p", "softplus")),
        (hyperbolic, ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")),
        (trigonometric, ("sin", "cos", "tan")),
        (inverse, ("asin", "acos", "atan", "atan2")),
        (error_function, ("erf", "erfc")),
        (power, ("cbrt",)),
    )
    for name in names
} | {"pow": _expansion(power, "power")}

# Shorter ones of float32, for machines that look numbers up in registers (AVX-512).
BY_LOOKUP: dict[str, Callable[..., Expr]] = {
    name: _expansion(piecewise, name) for name in ("exp", "erf", "erfc", "tanh")
}


def expanded(e: Expr, vector_bytes: int) -> Expr:
    """Return the expansion of a function for a machine whose vectors have so many bytes."""
    by_lookup = vector_bytes == 64 and e.dtype is FLOAT32 and e.op in BY_LOOKUP
    return (BY_LOOKUP if by_lookup else EXPANSIONS)[e.op](e.builder, *e.args)


# Largest error over the samples of tests/cpu/test_vecmath.py, with a margin; (float32, float64).
_LIMITS = {
    "exp": (1.6, 1.6), "exp2": (1.2, 1.2), "expm1": (1.6, 1.8), "sigmoid": (2.1, 2.1),
    "log": (0.9, 0.9), "log2": (0.9, 0.8), "log10": (0.8, 0.8), "log1p": (1.5, 1.5),
    "softplus": (1.9, 1.7), "sinh": (1.6, 1.7), "cosh": (1.4, 1.4), "tanh": (1.8, 1.8),
    "asinh": (1.7, 1.7), "acosh": (2.0, 2.0), "atanh": (1.2, 1.2), "sin": (1.6, 1.6),
    "cos": (1.6, 1.6), "tan": (1.8, 1.8), "asin": (2.0, 2.0), "acos": (1.3, 1.3),
    "atan": (1.3, 1.4), "atan2": (1.7, 1.7), "erf": (1.0, 1.0), "erfc": (6.0, 3.5),
    "cbrt": (0.6, 0.6), "pow": (0.6, 1.7),
}  # fmt: skip
ULP: dict[str, dict[str, float]] = {
    name: {"float32": narrow, "float64": wide} for name, (narrow, wide) in _LIMITS.items()
}
