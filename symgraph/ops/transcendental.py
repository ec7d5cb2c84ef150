"""Elementwise exponential, logarithmic, trigonometric, hyperbolic and error functions.

The NumPy references avoid overflow and cancellation in the same places as the native code.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import alias, o
from symgraph.ops.base import elementwise, number, to_float

ANY = ((-3.0, 3.0),)
POSITIVE = ((0.2, 4.0),)
UNIT = ((-0.9, 0.9),)
TWO = ((-3.0, 3.0), (-3.0, 3.0))


def _of(f: Any) -> Any:
    """Apply a Python float function to every element (for functions that NumPy lacks)."""
    vector = np.vectorize(f, otypes=[np.float64])
    return lambda x: vector(np.asarray(x, np.float64)) if x.size else np.asarray(x, np.float64)


def _np_sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1 / (1 + e), e / (1 + e)))


# Functions that are defined for complex numbers too.
WITH_COMPLEX = frozenset(
    {
        *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh"),
        *("cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh"),
    }
)


def _complex_sigmoid(o: Namespace, z: Node) -> Node:
    """Return the sigmoid by the exponential of the side on which it does not overflow."""
    right = o.real(z) >= 0
    e = o.exp(o.where(right, -z, z))
    return o.where(right, 1, e) / (1 + e)


def _math(
    name: str,
    doc: str,
    numpy: Any,
    partials: Any,
    domain: Any = ANY,
    complex_form: Any = None,
    ulp: int = 4,
) -> None:
    elementwise(
        name,
        doc=doc,
        types=to_float,
        numpy=numpy,
        scalar=lambda s, x: s.unary(name, x),
        partials=partials,
        domain=domain,
        ulp={"float32": ulp, "float64": ulp},
        dtypes="bool int float complex" if name in WITH_COMPLEX else "bool int float",
        complex_form=complex_form,
    )


_math("exp", "e ** x.", np.exp, lambda o, n: (n,))
_math("exp2", "2 ** x.", np.exp2, lambda o, n: (n * math.log(2),))
_math("expm1", "exp(x) - 1 without cancellation.", np.expm1, lambda o, n: (n + 1,))
_math("log", "Natural logarithm.", np.log, lambda o, n: (1 / n.inputs[0],), POSITIVE)
_math(
    "log2", "Logarithm to base 2.", np.log2,
    lambda o, n: (1 / (n.inputs[0] * math.log(2)),), POSITIVE,
)  # fmt: skip
_math(
    "log10", "Logarithm to base 10.", np.log10,
    lambda o, n: (1 / (n.inputs[0] * math.log(10)),), POSITIVE,
)  # fmt: skip
_math(
    "log1p", "log(1 + x) without cancellation.", np.log1p,
    lambda o, n: (1 / (1 + n.inputs[0]),), ((-0.5, 3.0),),
)  # fmt: skip
_math("sin", "Sine of x radians.", np.sin, lambda o, n: (o.cos(n.inputs[0]),))
_math("cos", "Cosine of x radians.", np.cos, lambda o, n: (-o.sin(n.inputs[0]),))
_math("tan", "Tangent of x radians.", np.tan, lambda o, n: (1 + n * n,), ((-1.2, 1.2),))
_math("asin", "Inverse sine.", np.arcsin, lambda o, n: (_rsqrt1m(o, n),), UNIT)
_math("acos", "Inverse cosine.", np.arccos, lambda o, n: (-_rsqrt1m(o, n),), UNIT)
_math("atan", "Inverse tangent.", np.arctan, lambda o, n: (1 / (1 + o.square(n.inputs[0])),))
_math("sinh", "Hyperbolic sine.", np.sinh, lambda o, n: (o.cosh(n.inputs[0]),))
_math("cosh", "Hyperbolic cosine.", np.cosh, lambda o, n: (o.sinh(n.inputs[0]),))
_math("tanh", "Hyperbolic tangent.", np.tanh, lambda o, n: (1 - n * n,))
_math(
    "asinh", "Inverse hyperbolic sine.", np.arcsinh,
    lambda o, n: (1 / o.sqrt(o.square(n.inputs[0]) + 1),),
)  # fmt: skip
_math(
    "acosh", "Inverse hyperbolic cosine.", np.arccosh,
    lambda o, n: (1 / (o.sqrt(n.inputs[0] - 1) * o.sqrt(n.inputs[0] + 1)),), ((1.2, 4.0),),
)  # fmt: skip
_math(
    "atanh", "Inverse hyperbolic tangent.", np.arctanh,
    lambda o, n: (1 / (1 - o.square(n.inputs[0])),), UNIT,
)  # fmt: skip
_math(
    "erf", "Error function 2/sqrt(pi) * integral of exp(-t**2) from 0 to x.", _of(math.erf),
    lambda o, n: (2 / math.sqrt(math.pi) * o.exp(-o.square(n.inputs[0])),),
)  # fmt: skip
_math(
    "erfc", "1 - erf(x) without cancellation.", _of(math.erfc),
    lambda o, n: (-2 / math.sqrt(math.pi) * o.exp(-o.square(n.inputs[0])),), ulp=7,
)  # fmt: skip
_math(
    "cbrt", "Cube root.", np.cbrt, lambda o, n: (1 / (3 * o.square(n)),), ((0.2, 4.0),)
)  # fmt: skip
_math(
    "sigmoid", "1 / (1 + exp(-x)), finite for every x.", _np_sigmoid, lambda o, n: (n * (1 - n),),
    complex_form=_complex_sigmoid,
)  # fmt: skip
_math(
    "softplus", "log(1 + exp(x)) without overflow.",
    lambda x: np.logaddexp(x, np.zeros((), x.dtype)), lambda o, n: (o.sigmoid(n.inputs[0]),),
)  # fmt: skip


def _rsqrt1m(o: Namespace, n: Node) -> Node:
    x = n.inputs[0]
    return 1 / o.sqrt((1 - x) * (1 + x))


def _d_atan2(o: Namespace, n: Node) -> tuple[Node, Node]:
    y, x = n.inputs
    r2 = o.square(x) + o.square(y)
    return x / r2, -y / r2


elementwise(
    "atan2", doc="Angle of the point (x, y), called as atan2(y, x), in (-pi, pi].",
    types=to_float, numpy=np.arctan2, domain=((0.3, 3.0), (0.3, 3.0)),
    scalar=lambda s, y, x: s.atan2(y, x), partials=_d_atan2, ulp={"float32": 4, "float64": 4},
)  # fmt: skip


def _logaddexp(s: Any, x: Any, y: Any) -> Any:
    high, low = s.max(x, y), s.min(x, y)
    # equal infinities have no difference: the larger is the result
    d = s.select(s.eq(x, y), s.const(0, x.dtype), low - high)
    return high + s.log1p(s.exp(d))


def _complex_logaddexp(o: Namespace, x: Node, y: Node) -> Node:
    """Return the one with the larger real part plus log1p(e^difference)."""
    first = o.real(x) >= o.real(y)
    high, low = o.where(first, x, y), o.where(first, y, x)
    # infinite ones have no difference; equal ones have, for the derivative
    return high + o.log1p(o.exp(o.where(o.isinf(high), 0, low - high)))


elementwise(
    "logaddexp", types=to_float,
    doc="log(exp(x) + exp(y)) without overflow; results near 0 have the error of larger ones.",
    numpy=np.logaddexp, domain=TWO, scalar=_logaddexp, commutative=True,
    partials=lambda o, n: (
        o.sigmoid(n.inputs[0] - n.inputs[1]),
        o.sigmoid(n.inputs[1] - n.inputs[0]),
    ),
    ulp={"float32": 20, "float64": 20}, complex_form=_complex_logaddexp,
)  # fmt: skip


def _d_hypot(o: Namespace, n: Node) -> tuple[Node, Node]:
    x, y = n.inputs
    return x / n, y / n


def _hypot(s: Any, x: Any, y: Any) -> Any:
    """Scaled so that squares neither overflow nor vanish; an infinity wins over a NaN."""
    a, b = s.abs(x), s.abs(y)
    high, low = s.max(a, b), s.min(a, b)
    r = low / s.select(s.eq(high, 0.0), s.const(1, x.dtype), high)
    value = high * s.sqrt(s.fma(r, r, 1.0))
    infinite = s.eq(a, float("inf")) | s.eq(b, float("inf"))
    return s.select(infinite, s.const(float("inf"), x.dtype), value)


elementwise(
    "hypot", doc="sqrt(x**2 + y**2) without overflow.", types=to_float, numpy=np.hypot,
    domain=((0.3, 3.0), (0.3, 3.0)), scalar=_hypot, partials=_d_hypot, commutative=True,
    ulp={"float32": 4, "float64": 4},
)  # fmt: skip


elementwise(
    "relu", doc="max(x, 0); NaN stays NaN, the derivative at 0 is 0.", types=number,
    numpy=lambda x: np.maximum(x, np.zeros((), x.dtype)), domain=((0.2, 3.0),),
    scalar=lambda s, x: s.max(x, s.const(0, x.dtype)) if x.dtype.is_float
    else s.select(x > 0, x, s.const(0, x.dtype)),
    partials=lambda o, n: (o.cast(o.gt(n.inputs[0], 0), n.dtype),), dtypes="int float",
)  # fmt: skip


alias(o.asin, "arcsin")
alias(o.acos, "arccos")
alias(o.atan, "arctan")
alias(o.atan2, "arctan2")
alias(o.asinh, "arcsinh")
alias(o.acosh, "arccosh")
alias(o.atanh, "arctanh")
alias(o.sigmoid, "expit")
