"""tanh, sinh, cosh and their inverses."""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.cpu.vecmath import coefficients as c
from symgraph.cpu.vecmath.exponential import (
    EXP_RANGE,
    LN2,
    LOG2_E,
    exp_parts,
    power_of_two,
)
from symgraph.cpu.vecmath.floats import FORMATS, INF, pairs, polynomial, to_bits, with_sign
from symgraph.cpu.vecmath.logarithm import (
    guard_domain,
    log1p_reduced,
    log1p_split,
)
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

# From here on tanh rounds to 1.
TANH_ONE = {FLOAT32: 9.1, FLOAT64: 19.2}
TANH_POLYNOMIAL = 0.55


def tanh(s: Builder, x: Expr) -> Expr:
    """Return tanh: a polynomial for |x| < 0.55, else 1 - 2 / (e**2|x| + 1).

    With e**2|x| = 2**n (1 + r q(r)) the divisor is (2**n + 1) + 2**n r q(r), of which recurrences
    wait less than of the exponential.
    """
    form = FORMATS[x.dtype]
    a = s.abs(x)
    # The smaller one by its bits: they are in order for positive numbers. NaN takes the other way.
    bound = to_bits(s, s.const(TANH_ONE[x.dtype], x.dtype))
    bits = to_bits(s, a)
    t = s.bitcast(s.select(bits < bound, bits, bound), x.dtype)
    shifted = s.fma(t, 2 * LOG2_E, form.magic + form.bias)
    n = shifted - (form.magic + form.bias)
    # The weight of an error of e**2t is below 0.4 and falls fast: log 2 in one part will do.
    r = s.fma(n, -sum(LN2[x.dtype]), t + t)
    scale = power_of_two(s, shifted)
    first, rest, z = s.fma(r, c.EXP_HALF[x.dtype][1], 1.0), c.EXP_HALF[x.dtype][2:], r * r
    part = scale * r
    divisor = s.fma(part * z, pairs(s, r, rest), s.fma(part, first, scale + 1.0))
    large = 1.0 - 2.0 / divisor
    z = a * a
    small = s.fma(a * z, polynomial(s, z, c.TANH[x.dtype]), a)
    return with_sign(s, s.select(a >= TANH_POLYNOMIAL, large, small), x)


def half_exp(s: Builder, a: Expr) -> Expr:
    """Return e**a / 2 for a >= 0, finite for as long as the half is."""
    apart = FORMATS[a.dtype].apart
    most = s.const(EXP_RANGE[a.dtype][1] + 2.0, a.dtype)
    value, scale = exp_parts(s, s.fmin(most, a), -apart - 1)
    return value * 2.0**apart * scale


def sinh(s: Builder, x: Expr) -> Expr:
    """Return (e**x - e**-x) / 2; a polynomial for |x| < 1."""
    a = s.abs(x)
    half = half_exp(s, a)
    large = half - 0.25 / half
    z = x * x
    small = s.fma(a * z, polynomial(s, z, c.SINH[x.dtype]), a)
    return with_sign(s, s.select(a < 1.0, small, large), x)


def cosh(s: Builder, x: Expr) -> Expr:
    """Return (e**x + e**-x) / 2."""
    half = half_exp(s, s.abs(x))
    return half + 0.25 / half


def odd_series(s: Builder, a: Expr, table: c.Table) -> Expr:
    """Return a + a z p(z), z = a**2."""
    z = a * a
    return s.fma(a * z, polynomial(s, z, table[a.dtype]), a)


def asinh(s: Builder, x: Expr) -> Expr:
    """Return log(x + sqrt(x**2 + 1)): a polynomial below 0.5, log(2 |x|) for huge ones."""
    form = FORMATS[x.dtype]
    a = s.abs(x)
    huge = a >= 2.0 ** (form.fraction + 3)
    square = a * a
    t = a + square / (s.sqrt(square + 1.0) + 1.0)
    k, f = log1p_split(s, s.select(huge, a, t))
    value = log1p_reduced(s, k + s.select(huge, s.const(1.0, x.dtype), 0.0), f)
    value = s.select(a < 0.5, odd_series(s, a, c.ASINH), value)
    return with_sign(s, s.select(a < INF, value, a), x)


def acosh(s: Builder, x: Expr) -> Expr:
    """Return log(x + sqrt(x**2 - 1)) for x >= 1, NaN below."""
    form = FORMATS[x.dtype]
    huge = x >= 2.0 ** (form.fraction + 3)
    t = x - 1.0
    root = t + s.sqrt(s.fma(t, t, t + t))
    k, f = log1p_split(s, s.select(huge, x, root))
    value = log1p_reduced(s, k + s.select(huge, s.const(1.0, x.dtype), 0.0), f)
    # sqrt has given NaN below 1 already; the guard adds infinity.
    return s.select(x < 1.0, float("nan"), s.select(x < INF, value, x))


def atanh(s: Builder, x: Expr) -> Expr:
    """Return log((1 + x) / (1 - x)) / 2: a polynomial below 0.5."""
    a = s.abs(x)
    k, f = log1p_split(s, (a + a) / (1.0 - a))
    value = guard_domain(s, 1.0 - a, 0.0, log1p_reduced(s, k, f) * 0.5)
    value = s.select(s.eq(a, 1.0), INF, value)
    value = s.select(a < 0.5, odd_series(s, a, c.ATANH), value)
    signed: Expr = s.copysign(value, x)
    return signed
