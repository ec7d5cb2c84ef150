"""erf and erfc."""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.cpu.vecmath import coefficients as c
from symgraph.cpu.vecmath.exponential import exp_clamped, exp_parts
from symgraph.cpu.vecmath.floats import FORMATS, pairs, polynomial, with_sign
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

# From here on erf rounds to 1.
ERF_ONE = {FLOAT32: 3.95, FLOAT64: 5.95}
ERF_TAIL = {FLOAT32: c.ERF_TAIL, FLOAT64: c.ERF_TAIL64}
# From here on erfc rounds to 0.
ERFC_ZERO = {FLOAT32: 10.1, FLOAT64: 27.3}


def erf(s: Builder, x: Expr) -> Expr:
    """Return the error function: an odd polynomial below 1, 1 - exp(-polynomial) from there."""
    evaluate = pairs if x.dtype is FLOAT32 else polynomial  # the exponential waits for it
    a = s.fmin(s.const(ERF_ONE[x.dtype], x.dtype), s.abs(x))
    small = s.fma(a, evaluate(s, a * a, c.ERF[x.dtype]), a)
    large = 1.0 - exp_clamped(s, -evaluate(s, a, ERF_TAIL[x.dtype][x.dtype]), evaluate)
    return with_sign(s, s.select(a < 1.0, small, large), x)


def erfc(s: Builder, x: Expr) -> Expr:
    """Return 1 - erf(x), accurate for large x: exp(-a**2) times a scaled tail, for a = |x|."""
    dtype, apart = x.dtype, FORMATS[x.dtype].apart
    a = s.fmin(s.const(ERFC_ZERO[dtype], dtype), s.abs(x))
    square = a * a
    lost = s.fma(a, a, -square)
    exponential, scale = exp_parts(s, -square, apart)
    scaled = (_scaled_tail_narrow if dtype is FLOAT32 else _scaled_tail)(s, a, 2.0**-apart)
    tail = exponential * s.fma(scaled, -lost, scaled) * scale
    outer = s.select(x < 0.0, 2.0 - tail, tail)
    if dtype is FLOAT32:
        return outer
    inner = (1.0 - x) - x * polynomial(s, x * x, c.ERF[dtype])
    return s.select(a < 0.5, inner, outer)


def _scaled_tail(s: Builder, a: Expr, unit: float) -> Expr:
    """Return exp(a**2) erfc(a) in units, for a >= 0.5: a polynomial over 1 + 2 a.

    Its variable is (a - 3) / (a + 3). The unit is a power of two.
    """
    value = polynomial(s, (a - 3.0) / (a + 3.0), c.ERFCX[a.dtype])
    return value * unit / s.fma(a, 2.0, 1.0)


def _scaled_tail_narrow(s: Builder, a: Expr, unit: float) -> Expr:
    """Return exp(a**2) erfc(a) in units, 1 at 0: u = 1 / (1 + a/2) times a polynomial in 1 - 2 u.

    That variable is (a - 2) / (a + 2); a second division would take as long as ten operations.
    """
    u = unit / s.fma(a, 0.5, 1.0)
    return u * polynomial(s, s.fma(u, -2.0 / unit, 1.0), c.ERFCX_NARROW[a.dtype])
