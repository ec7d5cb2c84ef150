"""Special functions: gamma family, inverse error functions, Bessel functions, x log y and friends.

Each is one algorithm on float64 values (special_gamma, special_error, special_bessel), the
lowering and the NumPy reference at once. Errors are stated in ulp per dtype, measured against
mpmath by tests/special; where a function has zeros they hold for max(|f|, the size stated there).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.core.errors import DTypeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import alias, function, o, register
from symgraph.ops import special_bessel as bessel
from symgraph.ops import special_error as error
from symgraph.ops import special_gamma as gamma
from symgraph.ops.array_builder import Algorithm, in_double
from symgraph.ops.base import elementwise, to_float
from symgraph.ops.rows import as_float
from symgraph.ops.special_order import OfOrder

POSITIVE = (0.3, 9.5)
UNIT = (0.05, 0.95)
LINE = (-3.2, 3.2)
SQRT_PI = math.sqrt(math.pi)


def _special(
    name: str,
    doc: str,
    algorithm: Algorithm,
    partials: Callable[..., Any],
    *domain: tuple[float, float],
    ulp: tuple[float, float],
    commutative: bool = False,
    complex_form: Callable[..., Node] | None = None,
) -> None:
    """Define an elementwise op from its algorithm; `ulp` is for float32 and float64."""
    scalar, reference = in_double(algorithm)
    elementwise(
        name,
        doc=doc,
        types=to_float,
        numpy=reference,
        scalar=scalar,
        partials=partials,
        domain=domain,
        ulp={"float32": ulp[0], "float64": ulp[1]},
        commutative=commutative,
        complex_form=complex_form,
    )


# -- gamma ----------------------------------------------------------------------------------------
_special(
    "gammaln", "log |Gamma(x)|; inf at 0, at negative integers and at -inf.", gamma.log_gamma,
    lambda o, n: (o.digamma(n.inputs[0]),), POSITIVE, ulp=(1, 8),
)  # fmt: skip
_special(
    "gamma", "Gamma(x); +-inf at +-0, NaN at negative integers.", gamma.gamma,
    lambda o, n: (n * o.digamma(n.inputs[0]),), POSITIVE, ulp=(1, 12),
)  # fmt: skip
_special(
    "digamma", "The derivative of log Gamma(x); NaN at negative integers.", gamma.digamma,
    lambda o, n: (o.polygamma(1, n.inputs[0]),), POSITIVE, ulp=(1, 6),
)  # fmt: skip


@register
class Polygamma(OfOrder):
    name = "polygamma"
    doc = "The n-th derivative of digamma, n >= 1 an integer known when the graph is made."
    ulp = {"float32": 1.0, "float64": 16.0}
    orders = (1, 2, 5, 1, 3)
    span = (0.4, 9.0)
    algorithm = staticmethod(gamma.polygamma)

    @staticmethod
    def partials(o: Namespace, node: Node) -> tuple[Any, ...]:
        return (Polygamma.instance(node.inputs[0], n=node.params.n + 1),)


@function
def polygamma(n: int, x: Any) -> Node:
    """Return the n-th derivative of digamma at x; n = 0 is digamma itself.

    Raises DTypeError for an `n` that is no whole number >= 0.
    """
    if not isinstance(n, (int, np.integer)) or n < 0:
        raise DTypeError(f"polygamma needs a whole number n >= 0 known in advance, got {n!r}")
    return Polygamma.instance(as_float(x), n=int(n)) if n else o.digamma(x)


@function
def trigamma(x: Any) -> Node:
    """Return the second derivative of log Gamma(x)."""
    return o.polygamma(1, x)


def _d_betaln(o: Namespace, n: Node) -> tuple[Node, Node]:
    a, b = n.inputs
    both = o.digamma(a + b)
    return o.digamma(a) - both, o.digamma(b) - both


def _d_beta(o: Namespace, n: Node) -> tuple[Node, ...]:
    return tuple(n * d for d in _d_betaln(o, n))


_special(
    "betaln", "log |B(a, b)| for a, b > 0, without cancellation for large arguments.",
    gamma.log_beta, _d_betaln, (1.6, 9.5), (1.6, 9.5), ulp=(2, 64), commutative=True,
)  # fmt: skip
_special(
    "beta", "B(a, b) = Gamma(a) Gamma(b) / Gamma(a + b).", gamma.beta, _d_beta,
    POSITIVE, POSITIVE, ulp=(2, 64), commutative=True,
)  # fmt: skip


def _d_poisson_weight(o: Namespace, n: Node) -> tuple[Node, Node]:
    a, x = n.inputs
    return n * (o.log(x) - o.digamma(a + 1)), n * (a / x - 1)


def _d_beta_weight(o: Namespace, n: Node) -> tuple[Node, Node, Node]:
    a, b, x = n.inputs
    both = o.digamma(a + b)
    return (
        n * (o.log(x) - o.digamma(a) + both),
        n * (o.log1p(-x) - o.digamma(b) + both),
        n * (a / x - b / (1 - x)),
    )


_special(
    "poisson_weight", "x**a exp(-x) / Gamma(a + 1), also for a that is no whole number.",
    gamma.poisson_weight, _d_poisson_weight, POSITIVE, POSITIVE, ulp=(1, 64),
)  # fmt: skip
_special(
    "beta_weight", "x**a (1 - x)**b / B(a, b) for 0 <= x <= 1.", gamma.beta_weight,
    _d_beta_weight, POSITIVE, POSITIVE, UNIT, ulp=(1, 128),
)  # fmt: skip


# -- error function and normal distribution -------------------------------------------------------
def _normal(o: Namespace, x: Node) -> Node:
    """Return the density of the standard normal distribution."""
    return o.exp(-0.5 * o.square(x)) * (1.0 / math.sqrt(2.0 * math.pi))


_special(
    "erfinv", "The inverse of erf; +-inf at +-1, NaN outside.", error.erfinv,
    lambda o, n: (SQRT_PI / 2 * o.exp(o.square(n)),), (-0.9, 0.9), ulp=(1, 6),
)  # fmt: skip
_special(
    "erfcinv", "The inverse of erfc, accurate for small values; inf at 0, -inf at 2.",
    error.erfcinv, lambda o, n: (-SQRT_PI / 2 * o.exp(o.square(n)),), (0.1, 1.9), ulp=(1, 6),
)  # fmt: skip
_special(
    "erfcx", "exp(x**2) erfc(x) without overflow for large x.", error.erfcx,
    lambda o, n: (2.0 * n.inputs[0] * n - 2.0 / SQRT_PI,), LINE, ulp=(1, 6),
)  # fmt: skip
_special(
    "ndtr", "The normal distribution function: probability of a value up to x.", error.ndtr,
    lambda o, n: (_normal(o, n.inputs[0]),), LINE, ulp=(1, 6),
)  # fmt: skip
_special(
    "log_ndtr", "log(ndtr(x)), accurate in both tails.", error.log_ndtr,
    lambda o, n: (o.exp(-0.5 * o.square(n.inputs[0]) - n) * (1.0 / math.sqrt(2.0 * math.pi)),),
    LINE, ulp=(1, 8),
)  # fmt: skip
_special(
    "ndtri", "The inverse of ndtr; -inf at 0, inf at 1, NaN outside.", error.ndtri,
    lambda o, n: (math.sqrt(2.0 * math.pi) * o.exp(0.5 * o.square(n)),), UNIT, ulp=(1, 6),
)  # fmt: skip


# -- logarithms -----------------------------------------------------------------------------------
def _times_log(logarithm: str) -> Algorithm:
    def algorithm(s: Any, x: Any, y: Any) -> Any:
        value = x * getattr(s, logarithm)(y)
        return s.select(s.eq(x, 0.0) & s.eq(y, y), 0.0 * x, value)

    return algorithm


def _over(o: Namespace, x: Node, y: Node) -> Node:
    return o.where(o.eq(x, 0), o.zeros((), x.dtype), x / y)


_special(
    "xlogy", "x log(y), 0 where x is 0.", _times_log("log"),
    lambda o, n: (o.log(n.inputs[1]), _over(o, n.inputs[0], n.inputs[1])),
    (0.3, 3.0), (0.3, 3.0), ulp=(1, 3),
)  # fmt: skip
_special(
    "xlog1py", "x log(1 + y), 0 where x is 0.", _times_log("log1p"),
    lambda o, n: (o.log1p(n.inputs[1]), _over(o, n.inputs[0], 1 + n.inputs[1])),
    (0.3, 3.0), (-0.5, 3.0), ulp=(1, 4),
)  # fmt: skip


def _logit(s: Any, p: Any) -> Any:
    """Near 1/2 the quotient would round: log1p of (2 p - 1) / (1 - p)."""
    middle = (p > 0.25) & (p < 0.75)
    q = 1.0 - p
    near = s.log1p(s.select(middle, (2.0 * p - 1.0) / q, 0.0 * q))
    return s.select(middle, near, s.log(p / q))


_special(
    "logit", "log(p / (1 - p)), the inverse of sigmoid.", _logit,
    lambda o, n: (1 / (n.inputs[0] * (1 - n.inputs[0])),), UNIT, ulp=(1, 6),
)  # fmt: skip


@function
def log_sigmoid(x: Any) -> Node:
    """Return log(sigmoid(x)) = -softplus(-x)."""
    return -o.softplus(-as_float(x))


# -- sin(pi x) / (pi x) ---------------------------------------------------------------------------
def _sinc(s: Any, x: Any) -> Any:
    value = gamma.sin_pi(s, x) / (x * math.pi)
    return s.select(s.eq(x, 0.0), 1.0, value)  # NaN at infinity, as in NumPy


def _d_sinc(o: Namespace, n: Node) -> tuple[Node]:
    """(cos(pi x) - sinc(x)) / x, near 0 its Taylor series, which later derivatives need too."""
    x = n.inputs[0]
    near = o.lt(o.abs(x), 0.5)
    z = o.square(x)
    series = o.zeros((), x.dtype)
    for k in range(13, 0, -1):
        c = (-1.0) ** k * math.pi ** (2 * k) * 2 * k / math.factorial(2 * k + 1)
        series = series * z + c
    safe = o.where(near, o.ones((), x.dtype), x)
    return (o.where(near, series * x, (o.cos(math.pi * safe) - n) / safe),)


def _complex_sinc(o: Namespace, z: Node) -> Node:
    """Return the quotient, near 0 the Taylor series, whose derivatives hold at 0 too."""
    near = o.lt(o.abs(z), 0.5)
    w = o.square(math.pi * z)
    series = o.zeros((), z.dtype)
    for k in range(13, -1, -1):
        series = series * w + (-1.0) ** k / math.factorial(2 * k + 1)
    safe = math.pi * o.where(near, 1, z)
    return o.where(near, series, o.sin(safe) / safe)


_special(
    "sinc", "sin(pi x) / (pi x), 1 at 0.", _sinc, _d_sinc, (-2.7, 2.7), ulp=(1, 4),
    complex_form=_complex_sinc,
)  # fmt: skip


# -- Bessel functions -----------------------------------------------------------------------------
def _order(f: Callable[..., Any], order: int) -> Algorithm:
    return lambda s, x: f(s, order, x)


def _quotient(o: Namespace, value: Node, x: Node, at_zero: float) -> Node:
    """Return value / x, its limit at 0."""
    zero = o.eq(x, 0)
    safe = o.where(zero, o.ones((), x.dtype), x)
    return o.where(zero, o.full((), at_zero, x.dtype), value / safe)


def _d_i1(o: Namespace, n: Node) -> tuple[Node]:
    x = n.inputs[0]
    return (o.i0(x) - _quotient(o, n, x, 0.5),)


def _d_i1e(o: Namespace, n: Node) -> tuple[Node]:
    x = n.inputs[0]
    return (o.i0e(x) - _quotient(o, n, x, 0.5) - o.sign(x) * n,)


def _d_j1(o: Namespace, n: Node) -> tuple[Node]:
    x = n.inputs[0]
    return (o.j0(x) - _quotient(o, n, x, 0.5),)


_special(
    "i0", "Modified Bessel function of the first kind, order 0.", _order(bessel.i_plain, 0),
    lambda o, n: (o.i1(n.inputs[0]),), LINE, ulp=(1, 8),
)  # fmt: skip
_special(
    "i1", "Modified Bessel function of the first kind, order 1.", _order(bessel.i_plain, 1),
    _d_i1, LINE, ulp=(1, 8),
)  # fmt: skip
_special(
    "i0e", "exp(-|x|) I0(x).", _order(bessel.i_scaled, 0),
    lambda o, n: (o.i1e(n.inputs[0]) - o.sign(n.inputs[0]) * n,), LINE, ulp=(1, 8),
)  # fmt: skip
_special("i1e", "exp(-|x|) I1(x).", _order(bessel.i_scaled, 1), _d_i1e, LINE, ulp=(1, 8))
_special(
    "k0", "Modified Bessel function of the second kind, order 0; inf at 0, NaN below.",
    _order(bessel.k_plain, 0), lambda o, n: (-o.k1(n.inputs[0]),), POSITIVE, ulp=(1, 8),
)  # fmt: skip
_special(
    "k1", "Modified Bessel function of the second kind, order 1; inf at 0, NaN below.",
    _order(bessel.k_plain, 1), lambda o, n: (-o.k0(n.inputs[0]) - n / n.inputs[0],),
    POSITIVE, ulp=(1, 8),
)  # fmt: skip
_special(
    "k0e", "exp(x) K0(x).", _order(bessel.k_scaled, 0),
    lambda o, n: (n - o.k1e(n.inputs[0]),), POSITIVE, ulp=(1, 12),
)  # fmt: skip
_special(
    "k1e", "exp(x) K1(x).", _order(bessel.k_scaled, 1),
    lambda o, n: (n - o.k0e(n.inputs[0]) - n / n.inputs[0],), POSITIVE, ulp=(1, 8),
)  # fmt: skip
_special(
    "j0", "Bessel function of the first kind, order 0.", _order(bessel.j, 0),
    lambda o, n: (-o.j1(n.inputs[0]),), (-2.2, 2.2), ulp=(1, 24),
)  # fmt: skip
_special(
    "j1", "Bessel function of the first kind, order 1.", _order(bessel.j, 1), _d_j1, LINE,
    ulp=(1, 24),
)  # fmt: skip
_special(
    "y0", "Bessel function of the second kind, order 0; -inf at 0, NaN below.",
    _order(bessel.y, 0), lambda o, n: (-o.y1(n.inputs[0]),), (1.2, 3.4), ulp=(1, 24),
)  # fmt: skip
_special(
    "y1", "Bessel function of the second kind, order 1; -inf at 0, NaN below.",
    _order(bessel.y, 1), lambda o, n: (o.y0(n.inputs[0]) - n / n.inputs[0],),
    (2.6, 5.0), ulp=(1, 24),
)  # fmt: skip

alias(o.gammaln, "lgamma")
