"""Gamma, its logarithm and derivatives, beta: algorithms on float64 values.

Between 1.5 and 2.5 a polynomial gives the function, up to 8 the recurrence leads there, beyond 8
stands Stirling's series, and negative arguments are reflected. Everything is computed for every
argument and chosen by selects.
"""

from __future__ import annotations

import math
from typing import Any

from symgraph.ops import special_tables as table
from symgraph.ops.array_builder import even_odd, fitted

INF, NAN = math.inf, math.nan
LARGE = 8.0  # from here on Stirling's series
HALF_LOG_TWO_PI = 0.9189385332046728
SQRT_TWO_PI = 2.5066282746310002


def sin_pi(s: Any, x: Any) -> Any:
    """Return sin(pi x), exactly 0 at integers."""
    n = s.rint(x)
    half = n * 0.5
    value = s.sin((x - n) * math.pi)
    return s.select(s.eq(s.rint(half), half), value, -value)


def is_pole(s: Any, x: Any) -> Any:
    """Tell the negative integers (and -inf, and whole numbers by size)."""
    return (x < 0.0) & s.eq(x, s.floor(x))


def _towards_two(s: Any, x: Any) -> tuple[Any, Any, Any]:
    """Return (t, up, down) for |x| < 8: Gamma(x) = Gamma(2 + t) down / up, |t| <= 1/2."""
    one = s.const(1.0, x.dtype)
    z, down = x, one
    for _ in range(6):
        over = z > 2.5
        z = s.select(over, z - 1.0, z)
        down = s.select(over, down * z, down)
    tiny, low = x < 0.5, x < 1.5
    t = s.select(tiny, x, s.select(low, x - 1.0, z - 2.0))
    up = s.select(tiny, x * (x + 1.0), s.select(low, x, one))
    return t, up, down


def stirling_rest(s: Any, a: Any) -> Any:
    """Return log Gamma(a) - ((a - 1/2) log a - a + log(2 pi) / 2) for a >= 8."""
    inverse = 1.0 / a
    return fitted(s, inverse * inverse, table.STIRLING) * inverse


def log_gamma(s: Any, x: Any) -> Any:
    """Return log |Gamma(x)|."""
    a = s.abs(x)
    inner = a < 0.5  # no reflection needed: the recurrence holds for negative x too
    t, up, down = _towards_two(s, s.select(inner, x, s.fmin(s.const(LARGE, x.dtype), a)))
    low = a < 1.5
    near = s.log(s.select(a < LARGE, s.abs(s.select(low, up, down)), a))
    small = s.fma(t, fitted(s, t, table.LOG_GAMMA), s.select(low, -near, near))
    bounded = s.fmax(s.const(LARGE, x.dtype), a)
    large = s.fma(a - 0.5, near - 1.0, HALF_LOG_TWO_PI - 0.5 + stirling_rest(s, bounded))
    value = s.select(a < LARGE, small, s.select(a < INF, large, a))
    mirrored = s.log(math.pi / (a * s.abs(sin_pi(s, x)))) - value
    value = s.select((x < 0.0) & ~inner, mirrored, value)
    return s.select(is_pole(s, x), s.const(INF, x.dtype), value)


def gamma(s: Any, x: Any) -> Any:
    """Return Gamma(x): signed infinities at +-0, NaN at negative integers and -inf."""
    a = s.abs(x)
    inner = a < 0.5
    t, up, down = _towards_two(s, s.select(inner, x, s.fmin(s.const(LARGE, x.dtype), a)))
    small = fitted(s, t, table.GAMMA) * down / up
    bounded = s.fmax(s.const(LARGE, x.dtype), s.fmin(s.const(200.0, x.dtype), a))
    # the power in two halves: neither overflows before the result does
    half = s.pow(bounded, s.fma(bounded, s.const(0.5, x.dtype), -0.25))
    factor = half * (s.exp(-bounded) * SQRT_TWO_PI) * fitted(s, 1.0 / bounded, table.STIRLING_EXP)
    above = a < LARGE
    first, second = s.select(above, small, factor), s.select(above, 1.0, half)
    mirrored = (-math.pi / (a * sin_pi(s, a))) / first / second
    value = s.select((x < 0.0) & ~inner, mirrored, first * second)
    value = s.select(is_pole(s, x), NAN, value)
    return s.select(s.isnan(x), x, value)


def digamma(s: Any, x: Any) -> Any:
    """Return the derivative of log Gamma(x); NaN at negative integers and -inf."""
    negative = x < 0.0
    a = s.select(negative, 1.0 - x, x)
    z = s.select(a < 1.0, a + 1.0, s.fmin(s.const(LARGE, x.dtype), a))
    top, bottom = s.const(0.0, x.dtype), s.const(1.0, x.dtype)
    for _ in range(6):  # top / bottom = sum of 1 / (z + k)
        over = z > 2.0
        z = s.select(over, z - 1.0, z)
        top = s.select(over, s.fma(top, z, bottom), top)
        bottom = s.select(over, bottom * z, bottom)
    below = a < 1.0
    high, low = table.DIGAMMA_ROOT
    small = fitted(s, z, table.DIGAMMA) * ((z - high) - low)
    small = small + s.select(below, -1.0, top) / s.select(below, a, bottom)
    bounded = s.fmax(s.const(LARGE, x.dtype), a)
    inverse = 1.0 / bounded
    square = inverse * inverse
    rest = s.fma(fitted(s, square, table.DIGAMMA_LARGE), square, inverse * 0.5)
    value = s.select(a < LARGE, small, s.log(bounded) - rest)
    r = (x - s.rint(x)) * math.pi
    value = s.select(negative, value - s.cos(r) * math.pi / s.sin(r), value)
    value = s.select(is_pole(s, x), NAN, value)
    return s.select(s.isnan(x), x, value)


SHIFT = 12  # terms of the sum before the Euler-Maclaurin correction


# the Bernoulli numbers B_2, B_4, ..., B_22
BERNOULLI = (
    (1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510),
    (43867, 798), (-174611, 330), (854513, 138),
)  # fmt: skip


def _power(x: Any, n: int) -> Any:
    value = x
    for bit in bin(n)[3:]:
        value = value * value
        if bit == "1":
            value = value * x
    return value


def hurwitz_zeta(s: Any, order: int, x: Any) -> Any:
    """Return sum over k >= 0 of (x + k)**-order for x > 0, order >= 2 (Euler and Maclaurin)."""
    # the largest terms last
    n = x + float(SHIFT)
    inverse = 1.0 / n
    square = inverse * inverse
    rest = s.const(0.0, x.dtype)
    rising = order
    terms = []
    for j, (over, under) in enumerate(BERNOULLI, 1):
        terms.append(over * rising / (under * math.factorial(2 * j)))  # of integers: rounded once
        rising *= (order + 2 * j - 1) * (order + 2 * j)
    for c in reversed(terms):
        rest = s.fma(rest, square, c)
    total = _power(inverse, order - 1) * (1.0 / (order - 1) + inverse * (0.5 + rest * inverse))
    for k in reversed(range(SHIFT)):
        total = total + _power(1.0 / (x + float(k) if k else x), order)
    return total


def _cotangent_derivative(n: int) -> list[int]:
    """Return the coefficients in c = cot(u) of the n-th derivative of cot(u)."""
    p = [0, 1]
    for _ in range(n):
        d = [k * c for k, c in enumerate(p)][1:]
        p = [
            -(d[k] if k < len(d) else 0) - (d[k - 2] if 2 <= k < len(d) + 2 else 0)
            for k in range(len(d) + 2)
        ]
    return p


def polygamma(s: Any, n: int, x: Any) -> Any:
    """Return the n-th derivative of digamma, n >= 1, by the zeta function and reflection."""
    negative = x < 0.0
    a = s.select(negative, 1.0 - x, x)
    sign = 1.0 if n % 2 else -1.0
    value = hurwitz_zeta(s, n + 1, a) * (sign * math.factorial(n))
    r = (x - s.rint(x)) * math.pi
    cot = s.cos(r) / s.sin(r)
    wave = s.const(0.0, x.dtype)
    for c in reversed(_cotangent_derivative(n)):
        wave = s.fma(wave, cot, float(c))
    # (-1)**n psi_n(1 - x) - psi_n(x) = pi d^n/dx^n cot(pi x)
    mirrored = -(sign * value) - wave * math.pi ** (n + 1)
    value = s.select(negative, mirrored, value)
    # pi**-2 too many at an infinite argument: every term vanishes
    return s.select(is_pole(s, x), s.const(INF if n % 2 else NAN, x.dtype), value)


def log_beta(s: Any, a: Any, b: Any) -> Any:
    """Return log |B(a, b)|; large arguments never through the difference of large logarithms."""
    low, high = s.min(a, b), s.max(a, b)
    big = s.fmax(s.const(LARGE, a.dtype), high)
    total = s.fmax(s.const(LARGE, a.dtype), low) + big
    both = s.fmax(s.const(LARGE, a.dtype), low)
    rests = stirling_rest(s, big) - stirling_rest(s, total)
    # low < 8 <= high: log Gamma(high) - log Gamma(low + high) by Stirling's formula
    ratio = s.log1p(low / big)
    plus = stirling_rest(s, big) - stirling_rest(s, low + big)
    drop = plus - (big - 0.5) * ratio - low * (s.log(low + big) - 1.0)
    first = log_gamma(s, low)
    mixed = first + drop
    wide = (
        s.fma(s.log(big), s.const(-0.5, a.dtype), HALF_LOG_TWO_PI)
        + (stirling_rest(s, both) + rests)
        - (both - 0.5) * s.log1p(big / both)
        - big * s.log1p(both / big)
    )
    plain = first + (log_gamma(s, high) - log_gamma(s, a + b))
    plain = s.select(s.eq(low, 0.0), s.const(INF, a.dtype), plain)
    return s.select(high < LARGE, plain, s.select(low < LARGE, mixed, wide))


def beta(s: Any, a: Any, b: Any) -> Any:
    """Return B(a, b) = Gamma(a) Gamma(b) / Gamma(a + b)."""
    low, high = s.min(a, b), s.max(a, b)
    plain = gamma(s, low) * (gamma(s, high) / gamma(s, a + b))
    plain = s.select(s.eq(low, 0.0), s.const(INF, a.dtype), plain)
    return s.select((high < LARGE) | (low < 0.0), plain, s.exp(log_beta(s, a, b)))


def log_minus(s: Any, ratio: Any, off: Any) -> Any:
    """Return log(ratio) - off without cancellation, where ratio = 1 + off and `off` is accurate.

    2 atanh(r) - off with r = off / (2 + off), while off is small.
    """
    near = (off > -0.4) & (off < 0.6)
    r = s.select(near, off / (off + 2.0), 0.0)
    z = r * r
    tail = even_odd(s, z, tuple(2.0 / (2 * k + 3) for k in range(15)))
    return s.select(near, r * s.fma(z, tail, -off), s.log(ratio) - off)


def poisson_weight(s: Any, a: Any, x: Any) -> Any:
    """Return x**a exp(-x) / Gamma(a + 1) for x >= 0; the error is that of the exponent."""
    below = s.fmin(s.const(LARGE, a.dtype), a)
    small_x = s.fmin(s.const(2000.0, a.dtype), x)
    small = s.pow(small_x, below) * s.exp(-small_x) / gamma(s, below + 1.0)
    big = s.fmax(s.const(LARGE, a.dtype), a)
    ratio = s.fmin(s.const(1e300, a.dtype), x) / big
    off = (s.fmin(s.const(1e300, a.dtype), x) - big) / big
    exponent = s.fma(big, log_minus(s, ratio, off), -stirling_rest(s, big))
    large = s.exp(exponent) / (SQRT_TWO_PI * s.sqrt(big))
    value = s.select(a < LARGE, small, large)
    return s.select(s.isnan(a) | s.isnan(x), a + x, value)


def beta_weight(s: Any, a: Any, b: Any, x: Any) -> Any:
    """Return x**a (1 - x)**b / B(a, b) for a, b > 0 and 0 <= x <= 1."""
    y = 1.0 - x
    plain = s.exp(_x_log(s, a, s.log(x)) + _x_log(s, b, s.log1p(-x)) - log_beta(s, a, b))
    p, q = s.fmax(s.const(LARGE, a.dtype), a), s.fmax(s.const(LARGE, a.dtype), b)
    off = s.fma(x, q, -(p * y))
    first = log_minus(s, x * ((p + q) / p), off / p)
    exponent = s.fma(p, first, q * log_minus(s, y * ((p + q) / q), -off / q))
    rests = stirling_rest(s, p + q) - stirling_rest(s, p) - stirling_rest(s, q)
    wide = s.exp(exponent + rests) * s.sqrt(p * q / (p + q)) / SQRT_TWO_PI
    return s.select(s.min(a, b) < LARGE, plain, wide)


def _x_log(s: Any, x: Any, logarithm: Any) -> Any:
    """Return x * log, 0 where x is 0."""
    return s.select(s.eq(x, 0.0), 0.0 * x, x * logarithm)
