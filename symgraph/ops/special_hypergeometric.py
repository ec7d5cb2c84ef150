"""Hypergeometric functions 1F1 and 2F1 of real parameters, by Euler's integrals.

    2F1(a, b; c; x) = int_0^1 t**(b-1) (1-t)**(c-b-1) (1 - x t)**-a dt / B(b, c - b)
    1F1(a; b; x)    = int_0^1 t**(a-1) (1-t)**(b-a-1) exp(x t) dt / B(a, b - a)

With t = 1 / (1 + exp(-v)) the integrands fall exponentially for v to +-inf. The points are
v = v0 + w sinh(s) with equal steps of s (Takahasi and Mori 1974), v0 the mode of the integrand and
w its width there, so that 337 of them serve for all parameters. All terms are positive: nothing
cancels. The parameters for which the integrals exist are the domain; elsewhere the result is NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symgraph.core.node import Node
from symgraph.core.op import function, register
from symgraph.ops.quadrature import Composed, apply

STEP = 1.0 / 24.0
_S = STEP * np.arange(-168, 169)  # sinh(7): the tails of exponents down to LEAST
POINTS = np.sinh(_S)
WEIGHTS = STEP * np.cosh(_S)
LEAST = 0.05  # of b and c - b: the tails of smaller ones are longer than the points reach
NARROW = 0.2  # of the least exponent: the curvature at the mode where another peak is as high
FLAT = 1e-3  # least curvature
END = 1e-12  # the mode is not nearer to 0 or 1


def _points(m: Any, mode: Any, curvature: Any, p: Any, q: Any) -> tuple[Any, Any, Any]:
    """Return log t, log(1 - t) and the weights dv; they carry no derivative."""
    t = m.minimum(m.maximum(mode, END), 1.0 - END)
    least = m.maximum(m.minimum(p, q) * NARROW, FLAT)
    width = 1.0 / m.sqrt(m.maximum(curvature, least))
    centre, width = (
        m.expand_dims(m.stop_gradient(v), -1) for v in (m.log(t / (1.0 - t)), width)
    )
    v = centre + width * POINTS
    log_t = m.minimum(v, 0.0) - m.log1p(m.exp(-m.abs(v)))
    return log_t, log_t - v, width * WEIGHTS


def _wide(m: Any, *values: Any) -> tuple[Any, ...]:
    return tuple(m.expand_dims(v, -1) for v in values)


def _euler(m: Any, a: Any, b: Any, rest: Any, x: Any) -> Any:
    """Return 2F1(a, b; b + rest; x) of ordinary arguments."""
    c = b + rest
    # the mode solves b - (c + b x - a x) t + (c - a) x t**2 = 0
    linear, square = c + (b - a) * x, (c - a) * x
    root = m.sqrt(m.maximum(linear * linear - 4.0 * square * b, 0.0))
    mode = m.minimum(m.maximum(2.0 * b / m.maximum(root + linear, 1e-300), END), 1.0 - END)
    spread, beside = mode * (1.0 - mode), 1.0 - x * mode
    bend = (1.0 - 2.0 * mode) * beside + x * spread
    curvature = spread * (c - a * x * bend / (beside * beside))
    log_t, log_u, weights = _points(m, mode, curvature, b, rest)
    p, q, wide_a, wide_x, scale = _wide(m, b, rest, a, x, m.betaln(b, rest))
    # 1 - x t as a sum of two positive numbers
    factor = m.log(m.exp(log_u) + m.exp(log_t) * (1.0 - wide_x))
    return m.sum(weights * m.exp(p * log_t + q * log_u - wide_a * factor - scale), -1)


def _kummer(m: Any, a: Any, rest: Any, x: Any) -> Any:
    """Return 1F1(a; a + rest; x) of ordinary arguments."""
    b = a + rest
    # the mode solves a - (b - x) t - x t**2 = 0; of the two forms of the root none cancels
    linear = b - x
    root = m.sqrt(linear * linear + 4.0 * x * a)
    right = m.where(linear > 0.0, 1.0, 2.0 * x)
    mode = m.where(linear > 0.0, 2.0 * a / (root + m.abs(linear)), (root - linear) / right)
    mode = m.minimum(m.maximum(mode, END), 1.0 - END)
    curvature = mode * (1.0 - mode) * (b - x * (1.0 - 2.0 * mode))
    log_t, log_u, weights = _points(m, mode, curvature, a, rest)
    p, q, wide_x, scale = _wide(m, a, rest, x, m.betaln(a, rest))
    grown = m.where(wide_x > 0.0, wide_x - wide_x * m.exp(log_u), wide_x * m.exp(log_t))
    return m.sum(weights * m.exp(p * log_t + q * log_u + grown - scale), -1)


class _Integral(Composed):
    """Base: derivatives by all arguments are those of the sum."""

    partials: Any = None
    dtypes = "int float"  # truth values lie outside of the domain
    edges = False


@register
class Hyp1f1(_Integral):
    name, doc = "hyp1f1", "Confluent hypergeometric function 1F1(a; b; x) for b > a > 0."
    arity, domain = 3, ((1.0, 2.0), (3.0, 6.0), (-3.0, 3.0))
    ulp = {"float32": 1.0, "float64": 256.0}

    def formula(self, m: Any, *x: Any) -> Any:
        a, b, z = x
        rest = b - a
        inside = (a >= LEAST) & (rest >= LEAST) & (b < 1e8) & (m.abs(z) < 1e8)
        safe = m.where(inside, a, 1.0), m.where(inside, rest, 1.0), m.where(inside, z, 0.0)
        return m.where(inside, _kummer(m, *safe), math.nan)


@register
class Hyp2f1(_Integral):
    name, doc = "hyp2f1", "Gauss's hypergeometric function 2F1(a, b; c; x), c > b > 0 or c > a > 0."
    arity, domain = 4, ((-2.0, 1.0), (1.0, 2.0), (4.0, 6.0), (-3.0, 0.8))
    ulp = {"float32": 1.0, "float64": 256.0}

    def formula(self, m: Any, *x: Any) -> Any:
        a, b, c, z = x
        # the integral with the other one of a and b in the front, where this one is outside
        first = (b >= LEAST) & (c - b >= LEAST)
        a, b = m.where(first, a, b), m.where(first, b, a)
        rest = c - b
        below = (z < 1.0) | ((z <= 1.0) & (rest - a >= LEAST))
        inside = (b >= LEAST) & (rest >= LEAST) & below & (c < 1e8)
        inside = inside & (m.abs(a) < 1e8) & (z > -1e300)
        a, b, rest = (m.where(inside, v, 1.0) for v in (a, b, rest))
        return m.where(inside, _euler(m, a, b, rest, m.where(inside, z, 0.0)), math.nan)


@function
def hyp1f1(a: Any, b: Any, x: Any) -> Node:
    """Return 1F1(a; b; x), the sum of (a)_k x**k / ((b)_k k!), for b > a > 0; NaN elsewhere.

    For a and b - a of 0.05 to 100 and |x| up to 500 the relative error is below 1e-12; below 0.05
    the result is NaN. Differentiable by all three, any number of times. A sum over 337 points: some
    microseconds an element.

    >>> x = sg.scalar("x", dtype="float64")
    >>> round(float(sg.special.hyp1f1(1.0, 2.0, x).eval({x: 1.0})), 12)  # (exp(x) - 1) / x
    1.718281828459
    """
    return apply(Hyp1f1.instance, a, b, x)


@function
def hyp2f1(a: Any, b: Any, c: Any, x: Any) -> Node:
    """Return 2F1(a, b; c; x), the sum of (a)_k (b)_k x**k / ((c)_k k!), and what continues it.

    Defined here for x < 1 (also x = 1 if c > a + b) where c > b > 0 or c > a > 0; NaN elsewhere.
    For b and c - b of 0.05 to 100 and |a| up to 60 the relative error is below 1e-12; below 0.05
    the result is NaN. Differentiable by all four, any number of times. A sum over 337 points: some
    microseconds an element.

    >>> x = sg.scalar("x", dtype="float64")
    >>> round(float(sg.special.hyp2f1(1.0, 1.0, 2.0, x).eval({x: 0.5})), 12)  # -log(1 - x) / x
    1.38629436112
    """
    return apply(Hyp2f1.instance, a, b, c, x)
