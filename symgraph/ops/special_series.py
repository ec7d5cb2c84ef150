"""Special functions by series whose terms are elementary: zeta, the dilogarithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from symgraph.core.dtype import FLOAT32
from symgraph.core.node import Node
from symgraph.core.op import function, o
from symgraph.ops.base import as_nodes
from symgraph.ops.rows import as_float

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)  # B_2, B_4
SUMMED = 10  # terms of zeta before the Euler-Maclaurin formula takes over


def _floats(values: Sequence[Any]) -> list[Node]:
    """Return operands as floats of one dtype."""
    return [as_float(x) for x in as_nodes(values)]


@function
def zeta(x: Any, q: Any = 1.0) -> Node:
    """Return the Hurwitz zeta function: the sum of (q + k)^-x over k >= 0, for x > 1 and q > 0.

    inf at x = 1 and for q = 0, 0 for infinite q, NaN elsewhere outside. Errors are below 16 ulp for
    x up to 100, measured against mpmath: the sum is by Euler and Maclaurin from the 11th term on.
    All derivatives.

    >>> x = sg.scalar("x", dtype="float64")
    >>> round(float(sg.special.zeta(x).eval({x: 2.0})), 12)
    1.644934066848
    """
    s, a = _floats([x, q])
    if s.dtype.is_half:  # the powers leave its range
        return o.cast(zeta(*(o.cast(v, FLOAT32) for v in (s, a))), s.dtype)
    endless = o.logical_and(o.gt(s, 1.0), o.eq(a, math.inf))
    inside = o.logical_and(o.gt(s, 1.0), o.gt(a, 0.0) & o.lt(a, math.inf))
    s, a = o.where(inside, s, 2.0), o.where(inside, a, 1.0)
    w = a + float(SUMMED)
    tail = o.power(w, -s)
    bounded = o.where(o.eq(tail, 0.0), 2.0, s)  # powers of a larger one overflow
    rising, total = bounded, o.ones((), s.dtype) * 0.5 + w / (bounded - 1.0)
    inverse = 1.0 / w
    power, factorial = inverse, 2.0
    for j, b in enumerate(BERNOULLI, 1):
        total = total + rising * power * (b / factorial)
        rising = rising * (bounded + float(2 * j - 1)) * (bounded + float(2 * j))
        power, factorial = power * inverse * inverse, factorial * (2 * j + 1) * (2 * j + 2)
    value = tail * total
    for k in reversed(range(SUMMED)):
        value = value + o.power(a + float(k), -s)
    s, a = _floats([x, q])
    edge = o.logical_or(o.eq(s, 1.0), o.logical_and(o.gt(s, 1.0), o.eq(a, 0.0)))
    outside = o.where(edge, math.inf, o.where(endless, 0.0, math.nan))
    return o.where(inside, value, outside)


@function
def spence(z: Any) -> Node:
    """Return Spence's function, the integral of log(t) / (1 - t) from 1 to z: Li2(1 - z).

    NaN for negative z. Errors are below 8 ulp, measured against mpmath: by the series in log z with
    Bernoulli's numbers for 1/2 <= z <= 2, by reflections elsewhere. All derivatives.

    >>> z = sg.scalar("z", dtype="float64")
    >>> round(float(sg.special.spence(z).eval({z: 0.0})), 12)
    1.644934066848
    """
    (v,) = _floats([z])
    large, bad = o.gt(v, 2.0), o.logical_not(o.ge(v, 0.0))
    safe = o.where(o.logical_or(bad, o.eq(v, 0.0)), 1.0, v)
    turned = o.where(large, 1.0 / safe, safe)  # up to 2
    small = o.lt(turned, 0.5)
    u = 0.0 - o.where(small, o.log1p(-o.where(small, turned, 0.0)), o.log(turned))
    square = u * u
    series = o.zeros((), v.dtype)
    factorial = math.factorial(2 * len(BERNOULLI) + 1)
    for k in range(len(BERNOULLI), 0, -1):
        series = series * square + BERNOULLI[k - 1] / factorial
        factorial //= (2 * k + 1) * (2 * k)
    value = u - 0.25 * square + series * square * u
    log, edge = o.log(safe), math.pi * math.pi / 6
    value = o.where(small, edge + o.log(turned) * u - value, value)
    value = o.where(large, -0.5 * log * log - value, value)
    value = o.where(o.eq(v, math.inf), -math.inf, value)
    return o.where(bad, math.nan, o.where(o.eq(v, 0.0), edge, value))
