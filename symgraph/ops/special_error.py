"""Inverses of the error function and the normal distribution: algorithms on float64 values."""

from __future__ import annotations

import math
from typing import Any

from symgraph.ops import special_tables as table
from symgraph.ops.array_builder import fitted

INF, NAN = math.inf, math.nan
SQRT_HALF = (0.7071067811865476, -4.833646656726457e-17)
TWO_OVER_SQRT_PI = 1.1283791670955126


def _inverse(s: Any, w: Any, x: Any) -> Any:
    """Return |erfinv(x)| from w = -log(1 - x**2) and x >= 0."""
    root = s.sqrt(w)
    near = fitted(s, s.fmin(s.const(6.25, w.dtype), w), table.ERFINV) * x
    middle = fitted(s, root, table.ERFINV_MIDDLE)
    far = fitted(s, root, table.ERFINV_FAR)
    last = fitted(s, 1.0 / s.fmax(s.const(9.0, w.dtype), root), table.ERFINV_LAST) * root
    tail = s.select(root < 4.0, middle, s.select(root < 9.0, far, last))
    return s.select(w < 6.25, near, tail)


def erfinv(s: Any, x: Any) -> Any:
    """Return y with erf(y) = x; +-inf at +-1, NaN outside."""
    a = s.abs(x)
    w = s.select(a < 0.5, -s.log1p(-(x * x)), -s.log((1.0 - a) * (1.0 + a)))
    value = s.copysign(_inverse(s, w, a), x)
    value = s.select(s.eq(a, 1.0), x * INF, value)
    return s.select(a <= 1.0, value, NAN)


def erfcinv(s: Any, y: Any) -> Any:
    """Return x with erfc(x) = y, accurate for small y; inf at 0, -inf at 2, NaN outside."""
    distance = 1.0 - y
    a = s.abs(distance)
    side = s.min(y, 2.0 - y)
    middle = a < 0.5
    w = s.select(middle, -s.log1p(-(distance * distance)), -s.log(side * (1.0 + a)))
    value = s.copysign(_inverse(s, w, a), distance)
    value = s.select(s.eq(side, 0.0), s.copysign(s.abs(distance) * INF, distance), value)
    return s.select(side >= 0.0, value, NAN)


def erfcx_positive(s: Any, a: Any) -> Any:
    """Return exp(a**2) erfc(a) for a >= 1/2."""
    near = s.fmin(s.const(12.0, a.dtype), a)
    t = (near - 3.0) / (near + 3.0)
    small = fitted(s, t, table.ERFCX) / s.fma(near, s.const(2.0, a.dtype), 1.0)
    inverse = 1.0 / s.fmax(s.const(12.0, a.dtype), a)
    large = fitted(s, inverse * inverse, table.ERFCX_LARGE) * inverse
    return s.select(a < 12.0, small, large)


def _exp_square(s: Any, x: Any) -> Any:
    """Return exp(x**2) with the rounding of the square made good."""
    square = x * x
    lost = s.fma(x, x, -square)
    value = s.exp(square)
    return s.select(square < 800.0, s.fma(value, lost, value), value)


def erfcx(s: Any, x: Any) -> Any:
    """Return exp(x**2) erfc(x), finite for every x > -26.6."""
    a = s.fmax(s.const(0.5, x.dtype), s.abs(x))
    tail = erfcx_positive(s, a)
    grown = _exp_square(s, s.fmax(s.const(-30.0, x.dtype), s.fmin(s.const(0.5, x.dtype), x)))
    centre = grown * (1.0 - _erf_small(s, x))
    value = s.select(x < 0.0, 2.0 * grown - tail, tail)
    value = s.select(s.abs(x) < 0.5, centre, value)
    return s.select(s.isnan(x), x, value)


def _erf_small(s: Any, x: Any) -> Any:
    """Return erf(x) for |x| <= 1/2 by its Taylor series."""
    z = x * x
    value = s.const(0.0, x.dtype)
    for k in reversed(range(14)):
        value = s.fma(value, z, (-1.0) ** k / (math.factorial(k) * (2 * k + 1)))
    return x * value * TWO_OVER_SQRT_PI


def _scaled(s: Any, x: Any) -> tuple[Any, Any]:
    """Return x / sqrt(2) as the sum of two numbers."""
    high = x * SQRT_HALF[0]
    low = s.fma(x, s.const(SQRT_HALF[0], x.dtype), -high)
    return high, s.fma(x, s.const(SQRT_HALF[1], x.dtype), low)


def ndtr(s: Any, x: Any) -> Any:
    """Return the probability that a standard normal number is at most x."""
    bounded = s.fmax(s.const(-40.0, x.dtype), s.fmin(s.const(40.0, x.dtype), x))
    h, low = _scaled(s, bounded)
    a = s.abs(h)
    square = h * h
    lost = s.fma(h, h, -square) + 2.0 * h * low
    # erfc(|h|) = exp(-square - lost) erfcx(|h| + low)
    scaled = erfcx_positive(s, s.fmax(s.const(0.5, x.dtype), a))
    small = s.exp(-square) * (0.5 * scaled)
    small = s.fma(-small, lost, small)
    tail = s.select(x < 0.0, small, 1.0 - small)
    value = s.select(a < 0.5, s.fma(_erf_small(s, h), s.const(0.5, x.dtype), 0.5), tail)
    return s.select(s.isnan(x), x, value)


def log_ndtr(s: Any, x: Any) -> Any:
    """Return log(ndtr(x)), accurate in both tails."""
    a = s.fmax(s.const(0.5, x.dtype), s.abs(x) * SQRT_HALF[0])
    left = s.log(0.5 * erfcx_positive(s, a)) - 0.5 * x * x
    inside = s.fma(_erf_small(s, x * SQRT_HALF[0]), s.const(0.5, x.dtype), -0.5)
    upper = s.fmin(s.const(40.0, x.dtype), s.abs(x))
    square = upper * upper
    lost = s.fma(upper, upper, -square) * 0.5
    power = s.exp(-0.5 * square)
    right = -0.5 * s.fma(-power, lost, power) * erfcx_positive(s, a)
    value = s.log1p(s.select(s.abs(x) * SQRT_HALF[0] < 0.5, inside, right))
    value = s.select(x < -SQRT_HALF[0], left, value)
    return s.select(s.isnan(x), x, value)


def ndtri(s: Any, p: Any) -> Any:
    """Return the x at which ndtr is p."""
    return -math.sqrt(2.0) * erfcinv(s, 2.0 * p)
