"""The Pochhammer symbol Gamma(z + m) / Gamma(z): an algorithm on float64 values, and its op.

Of positive z and z + m the larger is seen from the smaller: a quotient of two gammas while neither
overflows, else Stirling's formula, in which the leading terms have been taken apart:

    Gamma(l + d) / Gamma(l) = (l + d)**d exp(l (log(1 + d/l) - d/l) - log(1 + d/l) / 2 + ...)

Negative arguments are reflected.
"""

from __future__ import annotations

import math
from typing import Any

from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.ops.array_builder import rules
from symgraph.ops.base import elementwise, to_float
from symgraph.ops.special_gamma import LARGE, NAN, gamma, log_minus, sin_pi, stirling_rest

TOP = 160.0  # Gamma of it and some more is finite
STEPS = 8  # factors that are taken off so that Gamma is


def _rising(s: Any, low: Any, total: Any, d: Any, shift: Any) -> Any:
    """Return Gamma(total) / Gamma(low) for total = low + d, low > 0 and d >= 0.

    shift: the change of log Gamma(total) - log Gamma(low) by what the two were rounded.
    """
    small = s.fmin(s.const(LARGE, low.dtype), low)
    over = total > TOP
    product, bounded = s.const(1.0, low.dtype), s.fmin(s.const(190.0, low.dtype), total)
    for k in range(1, STEPS + 1):
        product = product * (bounded - float(k))
    below = s.select(over, bounded - float(STEPS), s.fmin(s.const(TOP, low.dtype), total))
    quotient = gamma(s, below) / gamma(s, s.select(over, small, s.fmin(below, low)))
    quotient = s.select(over, quotient * product, quotient) * (1.0 + shift)
    big = s.fmin(s.const(1e300, low.dtype), s.fmax(s.const(LARGE, low.dtype), low))
    off = d / big
    rests = stirling_rest(s, big + d) - stirling_rest(s, big)
    exponent = s.fma(s.log1p(off), s.const(-0.5, low.dtype), rests)
    exponent = s.fma(big, log_minus(s, 1.0 + off, off), exponent)
    power = s.pow(total, d * 0.5)  # in two halves: it overflows before the result does
    stirling = power * s.exp(exponent) * power
    return s.select(over & (low >= LARGE), stirling, quotient)


def _positive(s: Any, x: Any, rest: Any) -> tuple[Any, Any]:
    """Return x + rest, or 1 - (x + rest) of negative x: as a number and what its rounding lost."""
    turned = 1.0 - x
    negative = x <= 0.0
    return s.select(negative, turned, x), s.select(negative, ((1.0 - turned) - x) - rest, rest)


def pochhammer(s: Any, z: Any, m: Any) -> Any:
    """Return Gamma(z + m) / Gamma(z): 0 where only z is a pole, NaN where only z + m is."""
    zero, one = s.const(0.0, m.dtype), s.const(1.0, m.dtype)
    end = z + m
    back = end - z
    lost = (z - (end - back)) + (m - back)  # of the sum
    lost = s.select(s.abs(end) < 1e300, lost, zero)
    (first, drop), (last, more) = _positive(s, z, zero), _positive(s, end, lost)
    # what was lost shifts log Gamma by digamma, nearly a logarithm
    more, drop = more * s.log(s.fmax(one, last)), drop * s.log(s.fmax(one, first))
    up, shift = s.select(z > 0.0, m > 0.0, m < 0.0), more - drop
    shift = s.select(up, shift, -shift)
    ratio = _rising(s, s.min(first, last), s.max(first, last), s.abs(m), shift)
    ratio = s.select(up, ratio, 1.0 / ratio)  # Gamma(last) / Gamma(first)
    n = s.rint(end)
    half = n * 0.5
    side = s.select(s.eq(s.rint(half), half), math.pi * one, -math.pi * one)
    sin_z = sin_pi(s, z)
    sin_end = s.fma(lost * side, s.cos((end - n) * math.pi), sin_pi(s, end))
    poles = s.eq(z, s.floor(z)) & s.eq(sin_end, 0.0)
    sin_end = s.select(s.eq(sin_end, 0.0), NAN, sin_end)
    half = m * 0.5
    sign = s.select(s.eq(s.floor(half), half), one, -one)  # (-1)**m of whole m
    both = s.select(poles, sign, s.select(s.eq(m, 0.0), one, sin_z / sin_end)) / ratio
    product = gamma(s, first) * gamma(s, last)
    product = product * (1.0 + (more + drop))
    across = s.select(z > 0.0, math.pi / sin_end / product, sin_z * product * (1.0 / math.pi))
    value = s.select((z <= 0.0) & (end <= 0.0), both, across)
    value = s.select((z > 0.0) & (end > 0.0), ratio, value)
    value = s.select((z <= 0.0) & s.eq(sin_z, 0.0) & (end > 0.0), zero, value)
    return s.select(s.isnan(z) | s.isnan(m), end, value)


def _slopes(o: Namespace, n: Node) -> tuple[Node, Node]:
    z, m = n.inputs
    by_m = o.digamma(z + m)
    return n * (by_m - o.digamma(z)), n * by_m


elementwise(
    "poch", types=to_float, **rules(pochhammer), partials=_slopes, edges=False,
    doc="The Pochhammer symbol Gamma(z + m) / Gamma(z), m any number; NaN at poles of the first.",
    domain=((0.3, 9.5), (0.3, 5.0)), ulp={"float32": 1.0, "float64": 16.0},
)  # fmt: skip
