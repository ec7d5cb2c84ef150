"""erf and erfc."""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.cpu.vecmath import coefficients as c
from symgraph.cpu.vecmath.exponential import LOG2_E, exp_accurate, exp_clamped
from symgraph.cpu.vecmath.floats import horner, with_sign
from symgraph.cpu.vecmath.power import exp2_narrow
from symgraph.loops.grammar import Builder, Expr

# From here on erf rounds to 1.
ERF_ONE = {FLOAT32: 3.95, FLOAT64: 5.95}
ERF_TAIL = {FLOAT32: c.ERF_TAIL, FLOAT64: c.ERF_TAIL64}
# From here on erfc rounds to 0.
ERFC_ZERO = {FLOAT32: 10.1, FLOAT64: 27.3}


def erf(s: Builder, x: Expr) -> Expr:
    """Return the error function: an odd polynomial below 1, 1 - exp(-polynomial) from there."""
    a = s.fmin(s.const(ERF_ONE[x.dtype], x.dtype), s.abs(x))
    z = a * a
    small = s.fma(a, horner(s, z, c.ERF[x.dtype]), a)
    large = 1.0 - exp_clamped(s, -horner(s, a, ERF_TAIL[x.dtype][x.dtype]))
    return with_sign(s, s.select(a < 1.0, small, large), x)


def erfc(s: Builder, x: Expr) -> Expr:
    """Return 1 - erf(x), accurate for large x; float32 is computed in float64 lanes.

    exp(-a**2) times a polynomial in (a - 3) / (a + 3) over 1 + 2 a, for a = |x| >= 0.5.
    """
    narrow = x.dtype is FLOAT32
    wide = s.cast(x, FLOAT64)
    a = s.fmin(s.const(ERFC_ZERO[x.dtype], FLOAT64), s.abs(wide))
    t = (a - 3.0) / (a + 3.0)
    table = c.ERFCX_NARROW if narrow else c.ERFCX
    quotient = horner(s, t, table[FLOAT64]) / s.fma(a, 2.0, 1.0)
    square = a * a
    if narrow:
        tail = exp2_narrow(s, square * -LOG2_E) * quotient
    else:
        lost = s.fma(a, a, -square)
        tail = exp_accurate(s, -square) * s.fma(quotient, -lost, quotient)
    outer = s.select(wide < 0.0, 2.0 - tail, tail)
    z = wide * wide
    inner = (1.0 - wide) - wide * horner(s, z, c.ERF[FLOAT64])
    return s.cast(s.select(a < 0.5, inner, outer), x.dtype)
