"""Integrals of sines and cosines, and Dawson's integral: algorithms on float64 values, their ops.

Near the origin each is a polynomial. Beyond, Si, Ci and Fresnel's integrals are sines and cosines
with two smooth amplitudes f and g, polynomials in powers of 1 / x:

    Si = pi / 2 - f cos x - g sin x          Ci = f sin x - g cos x
    S = 1 / 2 - f cos(pi x**2 / 2) - g sin   C = 1 / 2 + f sin(pi x**2 / 2) - g cos
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import function, o
from symgraph.ops import special_tables_integrals as table
from symgraph.ops.array_builder import beside_root, fitted, rules
from symgraph.ops.base import elementwise, to_float

INF = math.inf
EULER = 0.5772156649015329
LINE = (-3.2, 3.2)  # where the generated tests draw
LOW, NEAR, MIDDLE = 2.5, 4.0, 8.0  # ends of the polynomials of Si and Ci
FRESNEL_NEAR = 2.4
EVEN = 1e16  # of larger x the waves are below a unit of 1/2


# -- sine and cosine integral ---------------------------------------------------------------------
def _amplitudes(s: Any, a: Any) -> tuple[Any, Any]:
    """Return f and g at a >= 4."""
    v = 1.0 / s.fmax(s.const(NEAR, a.dtype), a)
    u = v * v
    far = a >= MIDDLE
    f = s.select(far, fitted(s, u, table.SICI_F_LARGE), fitted(s, u, table.SICI_F_MIDDLE))
    g = s.select(far, fitted(s, u, table.SICI_G_LARGE), fitted(s, u, table.SICI_G_MIDDLE))
    return f * v, g * u


def si(s: Any, x: Any) -> Any:
    """Return Si(x), +-pi/2 at +-inf."""
    a = s.abs(x)
    near = s.fmin(s.const(NEAR, x.dtype), a)
    small = near * fitted(s, near * near, table.SI)
    f, g = _amplitudes(s, a)
    wave = s.fma(f, s.cos(a), g * s.sin(a))
    large = math.pi / 2 - s.select(a < INF, wave, 0.0)
    return s.select(s.isnan(x), x, s.copysign(s.select(a < NEAR, small, large), x))


def ci(s: Any, x: Any) -> Any:
    """Return Ci(|x|), -inf at 0, 0 at +-inf."""
    a = s.abs(x)
    low = s.fmin(s.const(LOW, x.dtype), a)
    small = beside_root(s, low, table.CI_ROOTS[0], table.CI)
    high, rest = table.CI_ROOTS[1]
    mid = s.fmin(s.const(NEAR, x.dtype), s.fmax(s.const(LOW, x.dtype), a))
    middle = ((mid - high) - rest) * fitted(s, mid, table.CI_MIDDLE)
    small = s.select(a < LOW, small, middle)
    f, g = _amplitudes(s, a)
    wave = s.fma(f, s.sin(a), -(g * s.cos(a)))
    value = s.select(a < NEAR, small, s.select(a < INF, wave, 0.0))
    return s.select(s.isnan(x), x, value)


# -- Fresnel --------------------------------------------------------------------------------------
def _quarter_turn(s: Any, x: Any) -> tuple[Any, Any]:
    """Return cos and sin of pi x**2 / 2, with the rounding of the square made good."""
    square = x * x
    lost = s.fma(x, x, -square)
    parts = [v - 4.0 * s.rint(v * 0.25) for v in (square, lost)]
    angle = (parts[0] + parts[1]) * (math.pi / 2)
    return s.cos(angle), s.sin(angle)


def _fresnel(s: Any, x: Any, sine: bool) -> Any:
    a = s.abs(x)
    near = s.fmin(s.const(FRESNEL_NEAR, x.dtype), a)
    square = near * near
    fit = table.FRESNEL_S if sine else table.FRESNEL_C
    small = near * fitted(s, square * square, fit)
    small = small * square if sine else small
    far = s.fmin(s.const(EVEN, x.dtype), s.fmax(s.const(FRESNEL_NEAR, x.dtype), a))
    v = 1.0 / far
    v2 = v * v
    u = v2 * v2
    f = fitted(s, u, table.FRESNEL_F) * (v * (1.0 / math.pi))
    g = fitted(s, u, table.FRESNEL_G) * (v2 * v * (1.0 / math.pi**2))
    cos, sin = _quarter_turn(s, far)
    wave = s.fma(f, cos, g * sin) if sine else s.fma(g, cos, -(f * sin))
    value = s.select(a < FRESNEL_NEAR, small, s.select(a < EVEN, 0.5 - wave, 0.5))
    return s.select(s.isnan(x), x, s.copysign(value, x))


# -- Dawson ---------------------------------------------------------------------------------------
def dawson(s: Any, x: Any) -> Any:
    """Return exp(-x**2) times the integral of exp(t**2) from 0 to x."""
    a = s.abs(x)
    low = s.fmin(s.const(2.0, x.dtype), a)
    small = low * fitted(s, low * low, table.DAWSON)
    middle = s.fmin(s.const(5.0, x.dtype), s.fmax(s.const(2.0, x.dtype), a))
    v = 1.0 / s.fmax(s.const(5.0, x.dtype), a)
    far = a >= 5.0
    scaled = s.select(far, fitted(s, v * v, table.DAWSON_LARGE),
                      fitted(s, middle, table.DAWSON_MIDDLE))  # fmt: skip
    large = scaled * 0.5 * s.select(far, v, 1.0 / middle)
    return s.select(s.isnan(x), x, s.copysign(s.select(a < 2.0, small, large), x))


SERIES_FROM = 10.0  # the terms of the series of 1 - 2 x D(x) fall to 1e-18 there
SERIES_TERMS = 17


def _d_dawson(o: Namespace, n: Node) -> tuple[Node]:
    """1 - 2 x D(x); for large x, where this cancels, its asymptotic series."""
    x = n.inputs[0]
    far = o.gt(o.abs(x), SERIES_FROM)
    half = 0.5 / o.square(o.where(far, x, SERIES_FROM))
    series = o.zeros((), x.dtype)
    for k in range(SERIES_TERMS, 0, -1):
        series = (series - 1.0) * half * float(2 * k - 1)
    return (o.where(far, series, 1.0 - 2.0 * o.where(far, 0.0, x) * n),)


# -- ops ------------------------------------------------------------------------------------------
def _square_angle(o: Namespace, n: Node) -> Node:
    return o.square(n.inputs[0]) * (math.pi / 2)


def _op(name: str, doc: str, f: Callable[..., Any], slope: Any, *more: Any) -> None:
    domain, ulp = more
    elementwise(
        name, doc=doc, types=to_float, **rules(f), partials=slope, domain=(domain,),
        ulp={"float32": 1.0, "float64": ulp},
    )  # fmt: skip


_op("sinint", "Sine integral Si(x), the integral of sin(t) / t from 0 to x.", si,
    lambda o, n: (o.sinc(n.inputs[0] * (1 / math.pi)),), LINE, 4.0)  # fmt: skip
_op("cosint", "Cosine integral Ci(|x|); -inf at 0.", ci,
    lambda o, n: (o.cos(n.inputs[0]) / n.inputs[0],), (1.0, 2.2), 8.0)  # fmt: skip
_op("fresnel_sin", "Fresnel's integral S(x) of sin(pi t**2 / 2) from 0 to x.",
    lambda s, x: _fresnel(s, x, True), lambda o, n: (o.sin(_square_angle(o, n)),), LINE, 6.0)
_op("fresnel_cos", "Fresnel's integral C(x) of cos(pi t**2 / 2) from 0 to x.",
    lambda s, x: _fresnel(s, x, False), lambda o, n: (o.cos(_square_angle(o, n)),), LINE, 6.0)
_op("dawsn", "Dawson's integral: exp(-x**2) times the integral of exp(t**2) from 0 to x.",
    dawson, _d_dawson, LINE, 6.0)  # fmt: skip


@function
def sici(x: Any) -> tuple[Node, Node]:
    """Return the sine and the cosine integral, Si(x) and Ci(|x|).

    Ci of negative x is the real part, as in SciPy; -inf at 0.

    >>> x = sg.scalar("x", dtype="float64")
    >>> round(float(sg.special.sici(x)[0].eval({x: np.inf})), 12)
    1.570796326795
    """
    return o.sinint(x), o.cosint(x)


@function
def fresnel(x: Any) -> tuple[Node, Node]:
    """Return Fresnel's integrals S(x) and C(x), of sin and cos of pi t**2 / 2 from 0 to x.

    >>> x = sg.scalar("x", dtype="float64")
    >>> [float(v.eval({x: np.inf})) for v in sg.special.fresnel(x)]
    [0.5, 0.5]
    """
    return o.fresnel_sin(x), o.fresnel_cos(x)
