"""asin, acos, atan, atan2."""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.cpu.vecmath import coefficients as c
from symgraph.cpu.vecmath.floats import FORMATS, polynomial, to_bits, with_sign
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

PI = {
    FLOAT32: (3.1415927410125732, -8.742277657347586e-08),
    FLOAT64: (3.141592653589793, 1.2246467991473532e-16),
}


def asin_parts(s: Builder, x: Expr) -> tuple[Expr, Expr, Expr]:
    """Return (inner, v, w) with asin(v) = v + w and v = |x| (inner) or sqrt((1 - |x|) / 2)."""
    a = s.abs(x)
    inner = a < 0.5
    z = s.select(inner, a * a, s.fma(a, -0.5, 0.5))
    v = s.select(inner, a, s.sqrt(z))
    return inner, v, v * z * polynomial(s, z, c.ASIN[x.dtype])


def asin(s: Builder, x: Expr) -> Expr:
    """Return the angle in [-pi/2, pi/2] with this sine; NaN outside [-1, 1]."""
    inner, v, w = asin_parts(s, x)
    high, low = PI[x.dtype]
    outer = s.fma(v, -2.0, 0.5 * high) + s.fma(w, -2.0, 0.5 * low)
    value: Expr = s.copysign(s.select(inner, v + w, outer), x)
    return value


def acos(s: Builder, x: Expr) -> Expr:
    """Return the angle in [0, pi] with this cosine; NaN outside [-1, 1]."""
    inner, v, w = asin_parts(s, x)
    high, low = PI[x.dtype]
    v, w = s.copysign(v, x), s.copysign(w, x)
    middle = (0.5 * high - v) + (0.5 * low - w)
    negative = x < 0.0
    base = s.select(negative, s.const(high, x.dtype), 0.0)
    rest = s.select(negative, s.const(low, x.dtype), 0.0)
    outer = s.fma(v, 2.0, base) + s.fma(w, 2.0, rest)
    return s.select(inner, middle, outer)


def atan_unit(s: Builder, t: Expr) -> tuple[Expr, Expr]:
    """Return (t, w) with atan(t) = t + w for |t| <= 1."""
    z = t * t
    return t, t * z * polynomial(s, z, c.ATAN[t.dtype])


def atan(s: Builder, x: Expr) -> Expr:
    """Return the angle in [-pi/2, pi/2] with this tangent."""
    a = s.abs(x)
    swapped = a > 1.0
    t, w = atan_unit(s, s.select(swapped, 1.0, a) / s.select(swapped, a, 1.0))
    high, low = PI[x.dtype]
    outer = (0.5 * high - t) + (0.5 * low - w)
    return with_sign(s, s.select(swapped, outer, t + w), x)


def atan2(s: Builder, y: Expr, x: Expr) -> Expr:
    """Return the angle of the point (x, y) in [-pi, pi], with the signs of zeros as in C."""
    form = FORMATS[x.dtype]
    a, b = s.abs(y), s.abs(x)
    swapped = b < a
    # Both comparisons are false for NaN, so that it stays in the numerator or denominator.
    top, bottom = s.select(swapped, b, a), s.select(swapped, a, b)
    ratio = s.select(s.eq(top, bottom), 1.0, top / bottom)
    t, w = atan_unit(s, s.select(s.eq(a + b, 0.0), 0.0, ratio))
    left = s.lt(to_bits(s, x), s.const(0, form.integer))
    high, low = PI[x.dtype]
    zero = s.const(0.0, x.dtype)
    base = s.select(swapped, s.const(0.5 * high, x.dtype), s.select(left, high, zero))
    rest = s.select(swapped, s.const(0.5 * low, x.dtype), s.select(left, low, zero))
    minus = s.ne(s.cast(swapped, form.integer), s.cast(left, form.integer))
    t, w = s.select(minus, -t, t), s.select(minus, -w, w)
    # base = 0 leaves t + w as it is.
    return with_sign(s, s.abs((base + t) + (rest + w)), y)
