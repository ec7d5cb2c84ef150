"""Owen's T function, by Gauss and Legendre's rule where its second argument is at most 1.

    T(h, a) = exp(-h**2 / 2) / (2 pi) * int_0^a exp(-h**2 x**2 / 2) / (1 + x**2) dx

For a > 1, with p = Q(h) and q = Q(a h) the upper tails of the normal distribution,
T(h, a) = p / 2 - p q + (q / 2 - T(a h, 1 / a)): no part is negative. The integral ends where the
exponential is below 1e-17, so that 32 points serve for all h.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import function, register
from symgraph.ops.quadrature import Composed, apply

_X, _W = np.polynomial.legendre.leggauss(32)
POINTS, WEIGHTS = (_X + 1.0) / 2.0, _W / (4.0 * math.pi)
END = 8.6  # of h x
LARGE = 1e150  # arguments beyond count as infinite


def _density(m: Any, h: Any) -> Any:
    """Return exp(-h**2 / 2) with the rounding of the square made good: 1 / 2048 has few bits."""
    high = m.rint(h * 2048.0) / 2048.0
    return m.exp(-0.5 * high * high) * m.exp(-0.5 * (h - high) * (h + high))


def _owen(m: Any, h: Any, a: Any) -> Any:
    """Return T(h, a) for h >= 0 and 0 <= a."""
    tall = a > 1.0
    along = m.where(tall, a * h, h)
    slope = m.where(tall, 1.0 / m.where(tall, a, 1.0), a)
    end = m.minimum(slope, END / m.maximum(along, 1e-300))
    bounded = m.minimum(along, 40.0)
    x = m.expand_dims(end, -1) * POINTS
    square = m.expand_dims(along, -1) * x
    values = m.exp(-0.5 * square * square) / (1.0 + x * x)
    inner = _density(m, bounded) * end * m.sum(WEIGHTS * values, -1)
    p, q = m.ndtr(-h), m.ndtr(-along)
    return m.where(tall, 0.5 * p - p * q + (0.5 * q - inner), inner)


@register
class OwensT(Composed):
    name, doc = "owens_t", "Owen's T function: the probability of X > h and 0 < Y < a X."
    arity, domain = 2, ((-2.5, 2.5), (-2.5, 2.5))
    ulp = {"float32": 1.0, "float64": 24.0}

    def formula(self, m: Any, *x: Any) -> Any:
        h, a = m.abs(x[0]), m.abs(x[1])
        steep = a > LARGE
        safe = m.where(steep | (h > LARGE), 1.0, a)
        value = _owen(m, m.minimum(h, LARGE), safe)
        value = m.where(steep, 0.5 * m.ndtr(-h), m.where(h > LARGE, 0.0, value))
        value = m.where(h + a >= 0.0, value, np.nan)
        return m.copysign(value, x[1])

    def slopes(self, o: Namespace, *x: Node) -> tuple[Node, Node]:
        h, a = x
        one = 1.0 + a * a
        by_h = o.exp(-0.5 * h * h) * o.erf(a * h * math.sqrt(0.5)) * (-0.5 / math.sqrt(2 * math.pi))
        return by_h, o.exp(-0.5 * h * h * one) / (one * (2.0 * math.pi))


@function
def owens_t(h: Any, a: Any) -> Node:
    """Return Owen's T(h, a), the integral of exp(-h**2 (1 + x**2) / 2) / (2 pi (1 + x**2)).

    x runs from 0 to a. It is even in h, odd in a; the probability that X > h and 0 < Y < a X for
    two independent standard normal numbers. Differentiable by both.

    >>> a = sg.scalar("a", dtype="float64")
    >>> round(float(sg.special.owens_t(0.0, a).eval({a: 1.0})), 12)
    0.125
    """
    return apply(OwensT.instance, h, a)
