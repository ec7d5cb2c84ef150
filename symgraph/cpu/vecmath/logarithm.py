"""log, log1p and softplus; x = 2**k * (1 + f) with 1 + f between sqrt(1/2) and sqrt(2)."""

from __future__ import annotations

import math

from symgraph.core.dtype import FLOAT32, FLOAT64, DType
from symgraph.cpu.vecmath import coefficients as c
from symgraph.cpu.vecmath.exponential import LN2, exp_of_minus_abs
from symgraph.cpu.vecmath.floats import FORMATS, INF, NAN, fast_two_sum, polynomial, to_bits
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

SQRT_HALF = {FLOAT32: 0x3F3504F3, FLOAT64: 0x3FE6A09E667F3BCD}

# High and low parts. k times the high part of log10(2) is exact.
LOG2_OF_E = {
    FLOAT32: (1.4426950216293335, 1.9259629911266175e-08),
    FLOAT64: (1.4426950408889634, 2.0355273740931033e-17),
}
LOG10_OF_E = {
    FLOAT32: (0.4342944920063019, -1.0103050052231683e-08),
    FLOAT64: (0.4342944819032518, 1.098319650216765e-17),
}
LOG10_OF_2 = {
    FLOAT32: (0.301025390625, 4.605038981195214e-06),
    FLOAT64: (0.3010299956640665, -8.532344317057107e-14),
}


def split_exponent(s: Builder, x: Expr) -> tuple[Expr, Expr, Expr]:
    """Return (k, m, shifted): x = 2**k * m for normal x > 0, m in [sqrt(1/2), sqrt(2)).

    `shifted` holds k + bias in its exponent bits, for callers that need powers of two.
    """
    form = FORMATS[x.dtype]
    offset = SQRT_HALF[x.dtype]
    shifted = to_bits(s, x) + ((form.bias << form.fraction) - offset)
    m = s.bitcast((shifted & ((1 << form.fraction) - 1)) + offset, x.dtype)
    if x.dtype is FLOAT32:
        k = s.cast(shifted >> form.fraction, FLOAT32) - float(form.bias)
    else:
        # No AVX2 instruction converts 64-bit integers: place k in the fraction of 2**52 instead.
        field = s.lshr(shifted, s.const(form.fraction, form.integer))
        wide = field | to_bits(s, s.const(2.0**52, FLOAT64))
        k = s.bitcast(wide, FLOAT64) - (2.0**52 + form.bias)
    return k, m, shifted


def normalised(s: Builder, x: Expr) -> tuple[Expr, Expr]:
    """Return (k, f) with x = 2**k * (1 + f) for x > 0, subnormal ones included."""
    form = FORMATS[x.dtype]
    subnormal = x < form.tiny
    k, m, _ = split_exponent(s, s.select(subnormal, x * 2.0**form.fraction, x))
    k = k - s.select(subnormal, s.const(float(form.fraction), x.dtype), 0.0)
    return k, m - 1.0


def log1p_reduced(s: Builder, k: Expr, f: Expr) -> Expr:
    """Return k log 2 + log(1 + f) for sqrt(1/2) - 1 <= f <= sqrt(2) - 1."""
    high, low = LN2[f.dtype]
    half_square = f * f * 0.5
    if f.dtype is FLOAT32:
        tail = s.fma(k, low, (f * f) * f * polynomial(s, f, c.LOG[FLOAT32]))
    else:
        ratio = f / (f + 2.0)
        z = ratio * ratio
        tail = s.fma(ratio, s.fma(z, polynomial(s, z, c.LOG_RATIO[FLOAT64]), half_square), k * low)
    return s.fma(k, high, f - (half_square - tail))


def guard_domain(s: Builder, x: Expr, pole: float, value: Expr) -> Expr:
    """Put in the special values of a logarithm: -inf at the pole, NaN below, inf and NaN kept."""
    below = s.select(s.eq(x, pole), s.const(-INF, x.dtype), NAN)
    return s.select(x < INF, s.select(x > pole, value, below), x)


def log(s: Builder, x: Expr) -> Expr:
    """Return the natural logarithm."""
    return guard_domain(s, x, 0.0, log1p_reduced(s, *normalised(s, x)))


def log_in_base(s: Builder, x: Expr, exact_unit: bool) -> Expr:
    """Return log2 (`exact_unit`) or log10: k * unit + log(1 + f) * scale, the last in two parts."""
    scale_high, scale_low = LOG2_OF_E[x.dtype] if exact_unit else LOG10_OF_E[x.dtype]
    k, f = normalised(s, x)
    half_square = f * f * 0.5
    if x.dtype is FLOAT32:
        rest = (f * f) * f * polynomial(s, f, c.LOG[FLOAT32])
    else:
        ratio = f / (f + 2.0)
        z = ratio * ratio
        rest = ratio * s.fma(z, polynomial(s, z, c.LOG_RATIO[FLOAT64]), half_square)
    main, lost = fast_two_sum(s, f, -half_square)
    rest = rest + lost
    tail = s.fma(main, scale_low, rest * scale_high)
    if exact_unit:
        high, low = fast_two_sum(s, k, main * scale_high)
        # The product was rounded; its error joins the tail.
        error = s.fma(main, scale_high, -(main * scale_high))
    else:
        unit_high, unit_low = LOG10_OF_2[x.dtype]
        high, low = fast_two_sum(s, k * unit_high, main * scale_high)
        error = s.fma(k, unit_low, s.fma(main, scale_high, -(main * scale_high)))
    return guard_domain(s, x, 0.0, high + (low + (error + tail)))


def log2(s: Builder, x: Expr) -> Expr:
    """Return the logarithm of base 2; exact for powers of two."""
    return log_in_base(s, x, exact_unit=True)


def log10(s: Builder, x: Expr) -> Expr:
    """Return the logarithm of base 10."""
    return log_in_base(s, x, exact_unit=False)


def log1p_split(s: Builder, x: Expr) -> tuple[Expr, Expr]:
    """Return (k, f) with 1 + x = 2**k * (1 + f), never through the rounded 1 + x."""
    form = FORMATS[x.dtype]
    k, _, shifted = split_exponent(s, x + 1.0)
    # 4 * 2**-k: the factor 4 keeps it normal for the largest x.
    top = (2 * form.bias + 2) << form.fraction
    mask = ((1 << (form.dtype.bits - form.fraction)) - 1) << form.fraction
    inverse = s.bitcast(_wrap(top, form.dtype) - (shifted & _wrap(mask, form.dtype)), x.dtype)
    return k, s.fma(x * 0.25, inverse, s.fma(inverse, 0.25, -1.0))


def log1p(s: Builder, x: Expr) -> Expr:
    """Return log(1 + x) for any x > -1, accurate near 0."""
    value = guard_domain(s, x, -1.0, log1p_reduced(s, *log1p_split(s, x)))
    return s.select(s.abs(x) < FORMATS[x.dtype].epsilon, x, value)


def _wrap(value: int, dtype: DType) -> int:
    """Return an unsigned bit pattern as the signed integer that holds it."""
    value &= (1 << dtype.bits) - 1
    return value - (1 << dtype.bits) if value >> (dtype.bits - 1) else value


def softplus(s: Builder, x: Expr) -> Expr:
    """Return log(1 + e**x) = max(x, 0) + log1p(e**-|x|)."""
    z = exp_of_minus_abs(s, x)
    upper = z > math.sqrt(2.0) - 1.0
    f = s.select(upper, s.fma(z, 0.5, -0.5), z)
    k = s.select(upper, s.const(1.0, x.dtype), 0.0)
    value: Expr = s.fmax(s.const(0.0, x.dtype), x) + log1p_reduced(s, k, f)
    return value
