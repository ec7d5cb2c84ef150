"""Arithmetic and elementary functions of complex numbers, on pairs of real nodes.

A part that is None is zero everywhere: products with it are left out. The formulas are those of
the C99 standard's Annex G and of Kahan, "Branch Cuts for Complex Elementary Functions" (1987):
signed zeros choose the side of a branch cut, and nothing overflows that the result does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.core.node import Node, as_node
from symgraph.core.op import o

Pair = tuple[Node | None, Node | None]
LN2, LN10 = math.log(2), math.log(10)


def filled(z: Pair) -> tuple[Node, Node]:
    """Return both parts as nodes."""
    re, im = z
    if re is None:
        assert im is not None
        return o.zeros_like(im), im
    return re, o.zeros_like(re) if im is None else im


def number(value: float, like: Node) -> Node:
    """Return a constant in the dtype of `like`; two Python numbers alone would be floatX."""
    return as_node(value, (like.dtype,))


# -- arithmetic ----------------------------------------------------------------------------------
def _product(x: Node | None, y: Node | None) -> Node | None:
    return None if x is None or y is None else o.mul(x, y)


def _sum(x: Node | None, y: Node | None) -> Node | None:
    if x is None or y is None:
        return y if x is None else x
    return o.add(x, y)


def _difference(x: Node | None, y: Node | None) -> Node | None:
    if y is None:
        return x
    return o.neg(y) if x is None else o.sub(x, y)


def _minus(x: Node | None) -> Node | None:
    return None if x is None else o.neg(x)


def add(x: Pair, y: Pair) -> Pair:
    return _sum(x[0], y[0]), _sum(x[1], y[1])


def sub(x: Pair, y: Pair) -> Pair:
    return _difference(x[0], y[0]), _difference(x[1], y[1])


def mul(x: Pair, y: Pair) -> Pair:
    (a, b), (c, d) = x, y
    return (
        _difference(_product(a, c), _product(b, d)),
        _sum(_product(a, d), _product(b, c)),
    )


def neg(z: Pair) -> Pair:
    return _minus(z[0]), _minus(z[1])


def conj(z: Pair) -> Pair:
    return z[0], _minus(z[1])


def times_i(z: Pair) -> Pair:
    """Return i z."""
    return _minus(z[1]), z[0]


def over_i(z: Pair) -> Pair:
    """Return z / i."""
    return z[1], _minus(z[0])


def div(x: Pair, y: Pair) -> Pair:
    """Return x / y by Smith's method: the smaller part of y is divided by the larger one first."""
    c, d = y
    if d is None:
        assert c is not None
        return tuple(None if p is None else o.div(p, c) for p in x)  # type: ignore[return-value]
    if c is None:
        return div(over_i(x), (d, None))
    a, b = filled(x)
    flat = o.logical_not(o.abs(c) < o.abs(d))
    big, small = o.where(flat, c, d), o.where(flat, d, c)
    zero = o.logical_and(o.eq(big, 0), o.eq(small, 0))
    ratio = small / o.where(zero, 1, big)
    scale = 1 / o.where(zero, o.abs(big), big + small * ratio)
    p, q = o.where(flat, a, b), o.where(flat, b, -a)
    re, im = p + o.where(flat, b, a) * ratio, q - o.where(flat, a, -b) * ratio
    return o.where(zero, a, re) * scale, o.where(zero, b, im) * scale


def square(z: Pair) -> Pair:
    a, b = z
    if a is None or b is None:
        return mul(z, z)
    cross = a * b
    return (a - b) * (a + b), cross + cross


def reciprocal(z: Pair) -> Pair:
    re, im = z
    like = im if re is None else re
    return div((o.ones_like(like), None), z)


def magnitude(z: Pair) -> Node:
    a, b = z
    if a is None or b is None:
        return o.abs(b if a is None else a)
    return o.hypot(a, b)


def angle(z: Pair) -> Node:
    a, b = filled(z)
    return o.atan2(b, a)


def unit(z: Pair) -> Pair:
    """Return z / |z|, 0 at 0; along an axis at infinity, NaN where both parts are infinite."""
    a, b = filled(z)
    ends = o.isinf(a), o.isinf(b)
    endless = o.logical_or(*ends)
    a, b = (
        o.where(endless, o.where(end, o.copysign(1.0, part), 0), part)
        for end, part in zip(ends, (a, b), strict=True)
    )
    size = o.where(o.logical_and(*ends), math.nan, magnitude((a, b)))
    zero = o.eq(size, 0)
    safe = o.where(zero, 1, size)
    return o.where(zero, 0, a / safe), o.where(zero, 0, b / safe)


def equal(x: Pair, y: Pair) -> Node:
    (a, b), (c, d) = filled(x), filled(y)
    return o.logical_and(o.eq(a, c), o.eq(b, d))


def unequal(x: Pair, y: Pair) -> Node:
    return o.logical_not(equal(x, y))


# -- exponential and logarithm -------------------------------------------------------------------
def exp(z: Pair) -> Pair:
    """Return e^x (cos y + i sin y); a finite result does not overflow on the way."""
    x, y = z
    if y is None:
        assert x is not None
        return o.exp(x), None
    if x is None:
        return o.cos(y), o.sin(y)
    size, rest = _in_two(x)
    gone = o.eq(x, -math.inf)
    re = o.where(gone, 0, size * o.cos(y) * rest)
    im = o.where(gone, 0, o.where(o.eq(y, 0), y, size * o.sin(y) * rest))
    return o.where(o.logical_and(_endless(x, y), x > 0), x, re), im


def _in_two(x: Node) -> tuple[Node, Node]:
    """Return two factors of e^x, roots of it where it overflows: what lies between may be small."""
    large = x > (88.0 if x.dtype == "float32" else 709.0)
    size = o.exp(o.where(large, 0.5 * x, x))
    return size, o.where(large, size, number(1, x))


def _scaled(z: Pair, factor: float) -> Pair:
    return tuple(None if p is None else p * factor for p in z)  # type: ignore[return-value]


def exp2(z: Pair) -> Pair:
    return exp(_scaled(z, LN2))


def expm1(z: Pair) -> Pair:
    """Return (e^x - 1) cos y - 2 sin(y / 2)^2 + i e^x sin y: no cancellation near 0."""
    x, y = filled(z)
    half = o.sin(0.5 * y)
    return o.expm1(x) * o.cos(y) - 2 * half * half, exp((x, y))[1]


def log_magnitude(a: Node, b: Node) -> Node:
    """Return log |a + ib|, accurate near |z| = 1, for all sizes."""
    p, q = o.abs(a), o.abs(b)
    big, small = o.maximum(p, q), o.minimum(p, q)
    near = o.logical_and(big > 0.5, big < 2.0)
    odd = o.logical_or(o.eq(big, 0), o.isinf(big))
    ratio = small / o.where(odd, 1, big)
    more = o.where(near, (big - 1) * (big + 1) + small * small, ratio * ratio)
    value = 0.5 * o.log1p(more) + o.where(near, 0, o.log(big))
    infinite = o.logical_or(o.isinf(p), o.isinf(q))
    return o.where(infinite, math.inf, o.where(odd, o.log(big), value))


def log(z: Pair) -> Pair:
    a, b = filled(z)
    return log_magnitude(a, b), o.atan2(b, a)


def log2(z: Pair) -> Pair:
    return _scaled(log(z), 1 / LN2)


def log10(z: Pair) -> Pair:
    return _scaled(log(z), 1 / LN10)


def log1p(z: Pair) -> Pair:
    """Return log(1 + z); near 0 the size comes from 2 x + x^2 + y^2."""
    x, y = filled(z)
    moved = 1 + x
    near = o.logical_and(o.abs(x) < 0.5, o.abs(y) < 0.5)
    size = o.where(near, 0.5 * o.log1p(x * (2 + x) + y * y), log_magnitude(moved, y))
    return size, o.atan2(y, moved)


def sqrt(z: Pair) -> Pair:
    """Return the root with a real part of at least 0; the sign of a zero imaginary part is kept."""
    a, b = filled(z)
    tiny, huge = (2.0**-100, 2.0**100) if a.dtype == "float32" else (2.0**-900, 2.0**900)
    size = o.maximum(o.abs(a), o.abs(b))
    small, large = size < tiny, size > huge
    one = number(1, a)
    scale = o.where(small, 1 / tiny, o.where(large, tiny, one))
    back = o.where(small, math.sqrt(tiny), o.where(large, math.sqrt(1 / tiny), one))
    c, d = a * scale, b * scale
    root = o.sqrt(0.5 * (o.abs(c) + o.hypot(c, d)))
    zero = o.eq(root, 0)
    other = 0.5 * d / o.where(zero, 1, root)
    right = o.ge(c, 0)
    re = o.where(right, root, o.abs(other)) * back
    im = o.where(right, other, o.copysign(root, b)) * back
    wide = o.isinf(b)
    left = o.eq(a, -math.inf)
    re = o.where(wide, math.inf, o.where(left, o.where(o.isnan(b), b, 0), re))
    kept = o.logical_or(wide, o.logical_and(right, o.eq(b, 0)))
    return re, o.where(kept, b, im)


# -- trigonometric and hyperbolic ----------------------------------------------------------------
def _guarded(zero: Node, size: Node, side: Node, x: Node, even: bool = False) -> Node:
    """Return `size * side`, and `zero` where it is 0: an infinite size does not make it NaN.

    `size` is sinh x, or cosh x which is `even`; a finite product does not overflow on the way.
    """
    far = o.abs(x)
    first, second = _in_two(far)
    first = 0.5 * first if even else o.copysign(0.5 * first, x)
    large = far > (88.0 if x.dtype == "float32" else 709.0)
    product = o.where(large, first * side * second, size * side)
    return o.where(o.eq(zero, 0), zero, product)


def sinh(z: Pair) -> Pair:
    x, y = filled(z)
    re = _guarded(x, o.sinh(x), o.cos(y), x)
    re = o.where(_endless(x, y), o.abs(x), re)
    return re, _guarded(y, o.cosh(x), o.sin(y), x, even=True)


def _endless(x: Node, y: Node) -> Node:
    """Tell where a value is infinite in an unknown direction."""
    return o.logical_and(o.isinf(x), o.logical_not(o.isfinite(y)))


def cosh(z: Pair) -> Pair:
    x, y = filled(z)
    cross = _guarded(x, o.sinh(x), o.sin(y), x)
    flat = o.logical_or(o.eq(x, 0), o.eq(y, 0))
    sign = o.copysign(1.0, x) * o.copysign(1.0, y)
    along = _guarded(number(1, x), o.cosh(x), o.cos(y), x, even=True)
    return o.where(_endless(x, y), math.inf, along), o.where(flat, 0 * sign, cross)


def tanh(z: Pair) -> Pair:
    """Return Kahan's form, with t = tan y and s = sinh x, and the limit where s overflows."""
    x, y = filled(z)
    limit = 9.0 if x.dtype == "float32" else 20.0
    far = o.abs(x) > limit
    s = o.sinh(o.where(far, 0, x))
    t = o.tan(y)
    beta, rho = 1 + t * t, o.sqrt(1 + s * s)
    below = 1 + beta * s * s
    ends = 4 * o.sin(y) * o.cos(y) * o.exp(-2 * o.abs(x))
    ends = o.where(o.isinf(x), o.copysign(0.0, o.where(o.isfinite(y), o.sin(2 * y), 1)), ends)
    limit_re = o.where(o.logical_and(o.isfinite(x), o.logical_not(o.isfinite(y))), math.nan, 1)
    return (
        o.where(far, limit_re * o.copysign(1.0, x), o.where(o.eq(x, 0), x, beta * rho * s / below)),
        o.where(far, ends, o.where(o.eq(y, 0), y, t / below)),
    )


def sin(z: Pair) -> Pair:
    return over_i(sinh(times_i(z)))


def cos(z: Pair) -> Pair:
    return cosh(times_i(z))


def tan(z: Pair) -> Pair:
    return over_i(tanh(times_i(z)))


def _far(x: Node, y: Node) -> Node:
    limit = 1e15 if x.dtype == "float32" else 1e150
    return o.logical_or(o.abs(x) > limit, o.abs(y) > limit)


def _roots(x: Node, y: Node) -> tuple[Node, Node, Node, Node]:
    """Return the parts of the roots of 1 - z and 1 + z."""
    return *filled(sqrt((1 - x, -y))), *filled(sqrt((1 + x, y)))


def asin(z: Pair) -> Pair:
    """Return Kahan's form from the roots of 1 - z and 1 + z; log 2z where these are too large."""
    x, y = filled(z)
    far = _far(x, y)
    a, b, c, d = _roots(o.where(far, 0, x), o.where(far, 0, y))
    ends = o.copysign(log_magnitude(x, y) + LN2, y)
    re = o.where(far, o.atan2(x, o.abs(y)), o.atan2(x, a * c - b * d))
    return o.where(o.eq(x, 0), x, re), o.where(far, ends, o.asinh(a * d - b * c))


def acos(z: Pair) -> Pair:
    x, y = filled(z)
    far = _far(x, y)
    a, b, c, d = _roots(o.where(far, 0, x), o.where(far, 0, y))
    ends = o.copysign(log_magnitude(x, y) + LN2, -y)
    re = o.where(far, o.atan2(o.abs(y), x), 2 * o.atan2(a, c))
    re = o.where(o.logical_and(o.eq(x, 0), o.isnan(y)), math.pi / 2, re)
    return re, o.where(far, ends, o.asinh(b * c - a * d))


def asinh(z: Pair) -> Pair:
    return over_i(asin(times_i(z)))


def acosh(z: Pair) -> Pair:
    """Return i acos z or its negative: the one with a real part of at least 0."""
    re, im = filled(acos(z))
    return o.abs(im), o.copysign(re, filled(z)[1])


def atanh(z: Pair) -> Pair:
    """Return the real part log1p(4 x / ((1 - x)^2 + y^2)) / 4, and half an angle.

    Where x is 1 and y so small that its square may vanish, the real part is log(2 / y) / 2.
    """
    x, y = filled(z)
    p = o.abs(x)
    far = _far(x, y)
    u, v = o.where(far, 0, p), o.where(far, 0, y)
    size = 0.25 * o.log1p(4 * u / ((1 - u) * (1 - u) + v * v))
    beside = o.logical_and(o.eq(u, 1), o.abs(v) < 2.0**-30)
    size = o.where(beside, 0.5 * (LN2 - o.log(o.where(beside, o.abs(v), 1))), size)
    turn = 0.5 * o.atan2(2 * v, (1 - u) * (1 + u) - v * v)
    inverse = reciprocal((p, y))[0]
    re = o.where(far, o.where(o.logical_or(o.isinf(p), o.isinf(y)), 0, inverse), size)
    ends = o.where(o.isnan(y), y, o.copysign(math.pi / 2, y))
    ends = o.where(o.logical_and(o.isnan(x), o.isfinite(y)), x, ends)
    return o.where(o.eq(x, 0), x, o.copysign(re, x)), o.where(far, ends, turn)


def atan(z: Pair) -> Pair:
    return over_i(atanh(times_i(z)))


# -- powers --------------------------------------------------------------------------------------
MOST_SQUARINGS = 100  # constant whole exponents up to this are computed by multiplication


def whole_power(z: Pair, n: int) -> Pair:
    """Return z^n by repeated squaring."""
    like = z[1] if z[0] is None else z[0]
    if n == 0:
        return o.ones_like(like), None
    result: Pair | None = None
    base, left = z, abs(n)
    while left:
        if left & 1:
            result = base if result is None else mul(result, base)
        left >>= 1
        base = square(base) if left else base
    assert result is not None
    return result if n > 0 else reciprocal(result)


def power(x: Pair, y: Pair, exponent: Any = None) -> Pair:
    """Return exp(y log x); `exponent` is the value of y where it is one known number."""
    if exponent is not None:
        number = complex(exponent)
        if number.imag == 0 and abs(number) <= MOST_SQUARINGS and number.real.is_integer():
            return whole_power(x, int(number.real))
        if number == 0.5:
            return sqrt(x)
    a, b = filled(x)
    c, d = filled(y)
    re, im = filled(exp(mul(y, log(x))))
    base_zero = o.logical_and(o.eq(a, 0), o.eq(b, 0))
    zero = o.logical_and(o.eq(c, 0), o.eq(d, 0))
    at_zero = o.where(c > 0, 0.0, np.nan)
    re = o.where(zero, 1.0, o.where(base_zero, at_zero, re))
    return re, o.where(zero, 0.0, o.where(base_zero, at_zero, im))


UNARY: dict[str, Callable[[Pair], Pair]] = {
    f.__name__: f
    for f in (
        *(neg, conj, square, reciprocal, unit, exp, exp2, expm1, log, log2, log10, log1p, sqrt),
        *(sinh, cosh, tanh, sin, cos, tan, asin, acos, atan, asinh, acosh, atanh),
    )
}
BINARY: dict[str, Callable[[Pair, Pair], Pair]] = {f.__name__: f for f in (add, sub, mul, div)}
