"""Faddeeva's function w(z) = exp(-z**2) erfc(-i z): an algorithm on float64 parts, its ops.

In the upper half plane w(z) = (i z / pi) int exp(-t**2) / (z**2 - t**2) dt. The trapezoidal rule of
step H converges like exp(-pi**2 / H**2) with the residue at t = z added (Matta and Reichel 1971);
the points are multiples of H or lie halfway between, whichever are farther from z (Al Azah and
Chandler-Wilde 2021), so that nothing cancels. Below, w(z) = 2 exp(-z**2) - w(-z).
"""

from __future__ import annotations

import math
from typing import Any

from symgraph.core.dtype import FLOAT64
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node
from symgraph.core.op import function, o
from symgraph.ops.array_builder import rules
from symgraph.ops.base import as_nodes, cast_to, elementwise, floatx, to_float

INF = math.inf
POINTS = 12
H = math.sqrt(math.pi / POINTS)
HALFWAY = tuple(((k + 0.5) * H, math.exp(-(((k + 0.5) * H) ** 2))) for k in range(POINTS))
WHOLE = ((0.0, 0.5), *((k * H, math.exp(-((k * H) ** 2))) for k in range(1, POINTS)))
FAR = 1e8  # from where w is i / (sqrt(pi) z) to rounding
QUIET = 28.0  # from where exp(-x**2) is 0 beside everything
SERIES_FROM = 10.0  # the terms of the series of w' fall to 1e-18 there
SERIES_TERMS = 17


def _exp_minus_square(s: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Return exp(-z**2), with the roundings of y**2 - x**2 and of x y made good."""
    x2, y2 = x * x, y * y
    power = y2 - x2
    back = power - y2
    lost = (y2 - (power - back)) - (x2 + back) + (s.fma(y, y, -y2) - s.fma(x, x, -x2))
    power = s.select(x2 + y2 < INF, power, (y - x) * (y + x))
    size = s.exp(power)
    size = s.select(s.abs(power) < 800.0, s.fma(size, lost, size), size)
    angle = 2.0 * x * y
    rest = s.fma(2.0 * x, y, -angle)
    real, gone = s.eq(x, 0.0) | s.eq(y, 0.0), s.eq(size, 0.0)
    cos, sin = s.cos(angle), s.sin(angle)
    turned = s.select(real, 1.0, s.fma(-sin, rest, cos))
    across = s.select(real, 0.0, -size * s.fma(cos, rest, sin))
    return s.select(gone, 0.0, size * turned), s.select(gone, 0.0, across)


def _quadrant(s: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Return w for 0 <= x, y <= FAR."""
    steps = x * (1.0 / H)
    place = steps - s.floor(steps)
    near_halfway = (s.abs(place - 0.5) <= 0.25) & (y < x)
    square = x * x + y * y
    even, odd = s.const(0.0, x.dtype), s.const(0.0, x.dtype)
    for (t, weight), (u, other) in zip(WHOLE, HALFWAY, strict=True):
        at = s.select(near_halfway, t, s.const(u, x.dtype))
        amount = s.select(near_halfway, weight, s.const(other, x.dtype))
        left, right = x - at, x + at
        amount = amount / (s.fma(left, left, y * y) * s.fma(right, right, y * y))
        even = s.fma(amount, square + at * at, even)
        odd = s.fma(amount, left * right + y * y, odd)
    return (2 * H / math.pi) * y * even, (2 * H / math.pi) * x * odd


def _residue(s: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Return 2 exp(-z**2) P / (P +- 1) with P = exp(2 pi i z / H)."""
    bounded = s.fmin(s.const(QUIET, x.dtype), x)
    steps = bounded * (1.0 / H)
    place = steps - s.floor(steps)
    sign = s.select((s.abs(place - 0.5) <= 0.25) & (y < x), s.const(-1.0, x.dtype), 1.0)
    needed = (y < x) | (y < math.pi / H)
    low = s.fmin(s.const(QUIET, x.dtype), s.select(needed, y, 0.0))
    size = s.exp(low * (-2 * math.pi / H))
    cos, sin = s.cos(place * (2 * math.pi)), s.sin(place * (2 * math.pi))
    under = size * (size + sign * 2.0 * cos) + 1.0
    p, q = size * (size + sign * cos) / under, sign * size * sin / under
    c, d = _exp_minus_square(s, bounded, low)
    return (
        s.select(needed, 2.0 * (p * c - q * d), 0.0),
        s.select(needed, 2.0 * (p * d + q * c), 0.0),
    )


def _parts(s: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Return the parts of w(x + i y)."""
    a, b = s.abs(x), s.abs(y)
    largest = s.fmax(a, b)
    far = largest > FAR
    p, q = s.select(far, 1.0, a), s.select(far, 1.0, b)
    u, v = (m + n for m, n in zip(_quadrant(s, p, q), _residue(s, p, q), strict=True))
    p, q = a / largest, b / largest
    under = math.sqrt(math.pi) * (p * p + q * q) * largest
    u, v = s.select(far, q / under, u), s.select(far, p / under, v)
    u, v = (s.select(s.eq(largest, INF), 0.0, part) for part in (u, v))
    v = s.copysign(v, x)
    c, d = _exp_minus_square(s, x, y)
    return s.select(y < 0.0, 2.0 * c - u, u), s.select(y < 0.0, 2.0 * d + v, v)


# -- derivatives ----------------------------------------------------------------------------------
def _series(o: Namespace, z: Node) -> Node:
    """Return w' for large |z| where exp(-z**2) does not count: its asymptotic series."""
    half = 0.5 / o.square(z)
    total = o.zeros((), z.dtype)
    for k in range(SERIES_TERMS, 0, -1):
        total = (total + 1.0) * half * float(2 * k - 1)
    return total * complex(0, -2 / math.sqrt(math.pi))


def _slope(o: Namespace, x: Node, y: Node) -> Node:
    """Return w' = 2 i / sqrt(pi) - 2 z w, by a series for large z, where this cancels."""
    z = o.complex(x, y)
    far = o.gt(o.hypot(x, y), SERIES_FROM)
    near = o.where(far, 0.0, z)
    w = o.complex(o.faddeeva_real(o.real(near), o.imag(near)),
                  o.faddeeva_imag(o.real(near), o.imag(near)))  # fmt: skip
    direct = complex(0, 2 / math.sqrt(math.pi)) - 2.0 * near * w
    distant = o.where(far, z, SERIES_FROM)
    below = o.logical_and(far, o.lt(y, 0.0))
    deep = o.where(below, z, 0.0)
    return o.where(far, _series(o, distant) - 4.0 * deep * o.exp(-o.square(deep)), direct)


def _wide_slope(o: Namespace, n: Node) -> Node:
    return _slope(o, *(cast_to(x, FLOAT64) for x in n.inputs))


def _real_slopes(o: Namespace, n: Node) -> tuple[Node, Node]:
    slope = _wide_slope(o, n)
    return cast_to(o.real(slope), n.dtype), cast_to(-o.imag(slope), n.dtype)


def _imag_slopes(o: Namespace, n: Node) -> tuple[Node, Node]:
    slope = _wide_slope(o, n)
    return cast_to(o.imag(slope), n.dtype), cast_to(o.real(slope), n.dtype)


# -- ops ------------------------------------------------------------------------------------------
PLANE = ((-3.2, 3.2), (-1.0, 3.2))  # where the generated tests draw
ULP = {"float32": 2.0, "float64": 64.0}

elementwise(
    "faddeeva_real", doc="Real part of Faddeeva's function of x + i y.", types=to_float,
    **rules(lambda s, x, y: _parts(s, x, y)[0]), partials=_real_slopes, domain=PLANE, ulp=ULP,
)  # fmt: skip
elementwise(
    "faddeeva_imag", doc="Imaginary part of Faddeeva's function of x + i y.", types=to_float,
    **rules(lambda s, x, y: _parts(s, x, y)[1]), partials=_imag_slopes, domain=PLANE, ulp=ULP,
)  # fmt: skip


@function
def wofz(z: Any) -> Node:
    """Return Faddeeva's function w(z) = exp(-z**2) erfc(-i z), complex.

    z: real or complex. The error is 16 units in the last place of the larger part; of real z the
    parts are exp(-x**2) and 2 / sqrt(pi) dawsn(x). Derivative w' = 2 i / sqrt(pi) - 2 z w.

    >>> z = sg.vector("z", dtype="complex128")
    >>> np.round(sg.special.wofz(z).eval({z: np.array([0j, 1j, 2 + 1j])}), 9)
    array([1.        +0.j        , 0.42758358+0.j        ,
           0.14023958+0.22221344j])
    """
    node = as_node(z)
    if not node.dtype.is_inexact:
        node = cast_to(node, floatx())
    x, y = o.real(node), o.imag(node)
    return o.complex(o.faddeeva_real(x, y), o.faddeeva_imag(x, y))


@function
def voigt_profile(x: Any, sigma: Any, gamma: Any) -> Node:
    """Return the density at x of the sum of a normal and a Cauchy number, of scales sigma, gamma.

    Both scales are not negative, broadcast with x; sigma = 0 is Cauchy's density, gamma = 0 the
    normal one. Re w((x + i gamma) / (sigma sqrt(2))) / (sigma sqrt(2 pi)).

    >>> x = sg.scalar("x", dtype="float64")
    >>> round(float(sg.special.voigt_profile(x, 1.0, 0.5).eval({x: 2.0})), 9)
    0.082424083
    """
    place, width, tail = as_nodes((x, sigma, gamma))
    place, width, tail = (v if v.dtype.is_float else cast_to(v, floatx())
                          for v in (place, width, tail))  # fmt: skip
    wide = o.gt(width, 0.0)
    scale = 1.0 / (o.where(wide, width, 1.0) * math.sqrt(2.0))
    profile = o.faddeeva_real(place * scale, tail * scale) * scale * (1 / math.sqrt(math.pi))
    square = o.where(wide, 1.0, o.square(place) + o.square(tail))
    return o.where(wide, profile, tail / (square * math.pi))
