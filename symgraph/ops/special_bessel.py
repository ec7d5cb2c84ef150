"""Bessel functions of orders 0 and 1: algorithms on float64 values.

I and K: series, or a polynomial in 1/x behind the exponential. J and Y: below 8 a polynomial with
the zeros of J divided out, beyond Hankel's formula with polynomials for its two amplitudes.
"""

from __future__ import annotations

import math
from typing import Any

from symgraph.ops import special_tables as table
from symgraph.ops.array_builder import even_odd, fitted

INF, NAN = math.inf, math.nan
TERMS = 25
SERIES = {
    0: tuple(1.0 / math.factorial(k) ** 2 for k in range(TERMS)),
    1: tuple(0.5 / (math.factorial(k) * math.factorial(k + 1)) for k in range(TERMS)),
}
I_LARGE = {0: table.I0_LARGE, 1: table.I1_LARGE}
K_SMALL = {0: table.K0, 1: table.K1}
K_LARGE = {0: table.K0_LARGE, 1: table.K1_LARGE}
J_SMALL = {0: table.J0, 1: table.J1}
Y_SMALL = {0: table.Y0, 1: table.Y1}
ZEROS = {0: table.J0_ZEROS_SQUARED, 1: table.J1_ZEROS_SQUARED}
AMPLITUDES = {0: (table.P0, table.Q0), 1: (table.P1, table.Q1)}
SWITCH = 8.0
SQRT_TWO_OVER_PI = 0.7978845608028654


def _series(s: Any, order: int, x: Any) -> Any:
    """Return I(x) for |x| <= 8; every term is positive."""
    half = x * 0.5
    value = even_odd(s, half * half, SERIES[order])
    return value * x if order else value


def i_scaled(s: Any, order: int, x: Any) -> Any:
    """Return exp(-|x|) I_order(x)."""
    a = s.abs(x)
    near = s.fmin(s.const(SWITCH, x.dtype), a)
    small = _series(s, order, near) * s.exp(-near)
    far = s.fmax(s.const(SWITCH, x.dtype), a)
    large = fitted(s, 1.0 / far, I_LARGE[order]) / s.sqrt(far)
    value = s.select(a < SWITCH, small, large)
    value = s.copysign(value, x) if order else value
    return s.select(s.isnan(x), x, value)


def i_plain(s: Any, order: int, x: Any) -> Any:
    """Return I_order(x), +-inf beyond 713.9."""
    a = s.abs(x)
    near = s.fmin(s.const(SWITCH, x.dtype), a)
    far = s.fmin(s.const(800.0, x.dtype), s.fmax(s.const(SWITCH, x.dtype), a))
    # the exponential in two halves: it overflows before the result does
    half = s.exp(far * 0.5)
    large = half * (fitted(s, 1.0 / far, I_LARGE[order]) / s.sqrt(far)) * half
    value = s.select(a < SWITCH, _series(s, order, near), large)
    value = s.copysign(value, x) if order else value
    return s.select(s.isnan(x), x, value)


def _k(s: Any, order: int, x: Any, scaled: bool) -> Any:
    near = s.fmin(s.const(2.0, x.dtype), x)
    logarithm = s.log(near * 0.5)
    rest = fitted(s, near * near, K_SMALL[order])
    series = logarithm * _series(s, order, near)
    small = rest / near + series if order else rest - series
    far = s.fmax(s.const(2.0, x.dtype), x)
    large = fitted(s, 1.0 / far, K_LARGE[order]) / s.sqrt(far)
    if scaled:
        small = small * s.exp(near)
    else:
        half = s.exp(far * -0.5)
        large = half * large * half
    value = s.select(x <= 2.0, small, large)
    value = s.select(s.eq(x, 0.0), s.const(INF, x.dtype), s.select(x < 0.0, NAN, value))
    return s.select(s.isnan(x), x, value)


def k_scaled(s: Any, order: int, x: Any) -> Any:
    """Return exp(x) K_order(x): inf at 0, NaN below."""
    return _k(s, order, x, True)


def k_plain(s: Any, order: int, x: Any) -> Any:
    """Return K_order(x): inf at 0, NaN below."""
    return _k(s, order, x, False)


def _j_small(s: Any, order: int, a: Any) -> Any:
    square = a * a
    lost = s.fma(a, a, -square)
    value = fitted(s, square, J_SMALL[order])
    for high, low in ZEROS[order]:
        value = value * ((square - high) + (lost - low))
    return value * a if order else value


def _hankel(s: Any, order: int, a: Any) -> tuple[Any, Any]:
    """Return (J, Y) at a >= 8 by sqrt(2 / (pi a)) (P cos - Q sin, P sin + Q cos)."""
    r = SWITCH / a
    u = r * r
    p, q = (fitted(s, u, t) for t in AMPLITUDES[order])
    q = q * r
    sine, cosine = s.sin(a), s.cos(a)
    # the angle a - pi / 4 (order 0) or a - 3 pi / 4, without rounding it
    if order:
        cos_angle, sin_angle = sine - cosine, -(sine + cosine)
    else:
        cos_angle, sin_angle = sine + cosine, sine - cosine
    scale = s.sqrt(1.0 / (math.pi * a))
    return scale * (p * cos_angle - q * sin_angle), scale * (p * sin_angle + q * cos_angle)


def j(s: Any, order: int, x: Any) -> Any:
    """Return J_order(x), 0 at +-inf."""
    a = s.abs(x)
    near = s.fmin(s.const(SWITCH, x.dtype), a)
    large, _ = _hankel(s, order, s.fmax(s.const(SWITCH, x.dtype), a))
    value = s.select(a < SWITCH, _j_small(s, order, near), s.select(a < INF, large, 0.0))
    if order:
        value = value * s.copysign(s.const(1.0, x.dtype), x)
    return s.select(s.isnan(x), x, value)


def y(s: Any, order: int, x: Any) -> Any:
    """Return Y_order(x): -inf at 0, NaN below, 0 at inf."""
    near = s.fmin(s.const(SWITCH, x.dtype), x)
    rest = fitted(s, near * near, Y_SMALL[order])
    small = s.log(near) * _j_small(s, order, near)
    if order:
        small = (small - 1.0 / near) * (2.0 / math.pi) + rest * near
    else:
        small = small * (2.0 / math.pi) + rest
    _, large = _hankel(s, order, s.fmax(s.const(SWITCH, x.dtype), x))
    value = s.select(x < SWITCH, small, s.select(x < INF, large, 0.0))
    value = s.select(s.eq(x, 0.0), s.const(-INF, x.dtype), s.select(x < 0.0, NAN, value))
    return s.select(s.isnan(x), x, value)
