"""pow and cbrt.

float32 pow works in float64 lanes; float64 pow keeps log2(x) as an unevaluated sum of two numbers.
"""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.cpu.vecmath import coefficients as c
from symgraph.cpu.vecmath.exponential import clamp
from symgraph.cpu.vecmath.floats import (
    FORMATS,
    INF,
    NAN,
    fast_two_sum,
    pairs,
    polynomial,
    to_bits,
    two_product,
    with_sign,
)
from symgraph.cpu.vecmath.logarithm import LOG2_OF_E, normalised, split_exponent
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
# Every y above has the same power as infinity, except for x = 1, where both give 1.
LARGEST_EXPONENT = 1e30
SMALL_EXPONENT = 6.0  # no power of a float32 needs more than float64's range


def exp2_narrow(s: Builder, y: Expr) -> Expr:
    """Return 2**y in float64 with 28 correct bits; y within about +-1000."""
    form = FORMATS[FLOAT64]
    magic = form.magic + form.bias
    shifted = y + magic
    r = y - (shifted - magic)
    scale = s.bitcast(to_bits(s, shifted) << form.fraction, FLOAT64)
    return s.fma(scale * r, pairs(s, r, c.EXP2_NARROW[FLOAT64]), scale)


def log2_narrow(s: Builder, a: Expr) -> Expr:
    """Return log2(a) in float64 with 35 correct bits, a > 0 a normal float64."""
    k, m, _ = split_exponent(s, a)
    ratio = (m - 1.0) / (m + 1.0)
    return s.fma(ratio, pairs(s, ratio * ratio, c.LOG2_NARROW[FLOAT64]), k)


def log2_double(s: Builder, a: Expr) -> tuple[Expr, Expr]:
    """Return log2(a) of a float64 a > 0 as (high, low), good to about 2**-66 relative."""
    k, f = normalised(s, a)
    # ratio = f / (2 + f), with the remainder of the division in `ratio_low`.
    divisor, divisor_low = fast_two_sum(s, s.const(2.0, FLOAT64), f)
    inverse = 1.0 / divisor
    ratio = f * inverse
    remainder = s.fma(-ratio, divisor_low, s.fma(-ratio, divisor, f))
    ratio_low = remainder * inverse
    z, z_low = two_product(s, ratio, ratio)
    z_low = s.fma(ratio + ratio, ratio_low, z_low)
    # log(1 + f) = 2 ratio + ratio z (2/3 + z q(z)); all but q in two parts.
    inner, inner_low = fast_two_sum(
        s, s.const(TWO_THIRDS[0], FLOAT64), z * polynomial(s, z, c.LOG_RATIO_TAIL[FLOAT64])
    )
    inner_low = inner_low + TWO_THIRDS[1]
    cube, cube_low = two_product(s, ratio, z)
    cube_low = cube_low + s.fma(ratio, z_low, ratio_low * z)
    tail, tail_low = two_product(s, cube, inner)
    tail_low = tail_low + s.fma(cube, inner_low, cube_low * inner)
    high, low = fast_two_sum(s, ratio + ratio, tail)
    low = low + (tail_low + (ratio_low + ratio_low))
    scale, scale_low = LOG2_OF_E[FLOAT64]
    product, product_low = two_product(s, high, s.const(scale, FLOAT64))
    product_low = product_low + s.fma(high, scale_low, low * scale)
    high, low = fast_two_sum(s, k, product)
    return high, low + product_low


def exp2_double(s: Builder, high: Expr, low: Expr) -> Expr:
    """Return 2**(high + low) for |low| far below 1; 0 and inf out of range."""
    form = FORMATS[FLOAT64]
    high = clamp(s, high, -1100.0, 1100.0)
    # Where `high` was cut, `low` may be anything; it must not undo the cut.
    low = clamp(s, low, -1.0, 1.0)
    magic = form.magic + 2 * form.bias
    shifted = high + magic
    r = (high - (shifted - magic)) + low
    both = to_bits(s, shifted)
    half = s.lshr(both, s.const(1, form.integer))
    first = s.bitcast(half << form.fraction, FLOAT64)
    second = s.bitcast((both - half) << form.fraction, FLOAT64)
    return s.fma(r, polynomial(s, r, c.EXP2_HALF[FLOAT64]), 1.0) * first * second


def power_of_magnitude(s: Builder, a: Expr, y: Expr) -> Expr:
    """Return a**y for finite a > 0 and y within +-LARGEST_EXPONENT or NaN."""
    if a.dtype is FLOAT32:
        t = s.cast(y, FLOAT64) * log2_narrow(s, s.cast(a, FLOAT64))
        if y.op != "const" or abs(y.data) > SMALL_EXPONENT:
            t = clamp(s, t, -200.0, 200.0)
        return s.cast(exp2_narrow(s, t), FLOAT32)
    log_high, log_low = log2_double(s, a)
    high, low = two_product(s, y, log_high)
    return exp2_double(s, high, s.fma(y, log_low, low))


def power(s: Builder, x: Expr, y: Expr) -> Expr:
    """Return x**y with the special cases of C99 (and NumPy)."""
    if y.op == "const" and 0.0 < abs(y.data) < LARGEST_EXPONENT and y.data % 1.0:
        return power_of_fraction(s, x, y)
    a = s.abs(x)
    value = power_of_magnitude(s, a, clamp(s, y, -LARGEST_EXPONENT, LARGEST_EXPONENT))
    # 0 and infinity: the result is the one or the other.
    to_infinity = s.binary("xor", a > 1.0, y < 0.0)
    edge = s.select(to_infinity, s.const(INF, x.dtype), 0.0)
    value = s.select(s.eq(a, 0.0) | s.eq(a, INF), edge, value)
    whole = s.eq(s.rint(y), y)
    half = y * 0.5
    odd = whole & s.ne(s.rint(half), half)
    value = s.select(odd, with_sign(s, value, x), value)
    undefined = (x < 0.0) & s.ne(a, INF) & ~whole
    value = s.select(undefined, NAN, value)
    value = s.select(s.isnan(x) | s.isnan(y), x + y, value)
    return s.select(s.eq(x, 1.0) | s.eq(y, 0.0), 1.0, value)


def power_of_fraction(s: Builder, x: Expr, y: Expr) -> Expr:
    """Return x**y for a constant y that is no whole number: NaN for x < 0, where |x| is finite."""
    a = s.abs(x)
    value = s.select(x >= 0.0, power_of_magnitude(s, a, y), NAN)
    # -inf and -0 have the powers of inf and 0
    edge = a if y.data > 0.0 else 1.0 / a
    return s.select(s.eq(a, 0.0) | s.eq(a, INF), edge, value)


def cbrt(s: Builder, x: Expr) -> Expr:
    """Return the real cube root: a polynomial start and one step of Halley's method."""
    form = FORMATS[x.dtype]
    a = s.abs(x)
    k, f = normalised(s, a)
    m = f + 1.0
    third = s.rint(k * (1.0 / 3.0))
    rest = s.fma(third, -3.0, k)
    up, down = rest > 0.5, rest < -0.5
    one = s.const(1.0, x.dtype)
    root = s.select(up, s.const(2.0 ** (1 / 3), x.dtype), s.select(down, 0.5 ** (1 / 3), one))
    scaled = m * s.select(up, s.const(2.0, x.dtype), s.select(down, 0.5, one))
    start = polynomial(s, m, c.CBRT[x.dtype]) * root
    square, square_low = two_product(s, start, start)
    residual = s.fma(-square, start, scaled)
    residual = s.fma(-square_low, start, residual)
    cube = square * start
    y = s.fma(start, residual / s.fma(cube, 2.0, scaled), start)
    scale = s.bitcast(to_bits(s, third + (form.magic + form.bias)) << form.fraction, x.dtype)
    value = with_sign(s, y * scale, x)
    return s.select((a < INF) & s.ne(a, 0.0), value, x)
