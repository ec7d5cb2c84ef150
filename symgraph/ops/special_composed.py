"""Special functions made of others: entropies, combinatorics, power transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.node import Node
from symgraph.core.op import function, o
from symgraph.ops.base import as_nodes
from symgraph.ops.rows import as_float

SMALL = 0.01  # below it (exp(u) - 1) / u is its series


def _floats(values: Sequence[Any]) -> list[Node]:
    """Return operands as floats of one dtype."""
    return [as_float(x) for x in as_nodes(values)]


@function
def entr(x: Any) -> Node:
    """Return -x log(x), 0 at 0 and -inf for negative x: the terms of an entropy.

    >>> x = sg.vector("x", dtype="float64")
    >>> sg.special.entr(x).eval({x: np.array([0.0, 1.0, -1.0])})
    array([  0.,   0., -inf])
    """
    (v,) = _floats([x])
    return o.where(o.lt(v, 0.0), -math.inf, 0.0 - o.xlogy(v, v))


@function
def rel_entr(x: Any, y: Any) -> Node:
    """Return x log(x / y), 0 where x is 0 and y at least 0, inf where one is negative or y is 0."""
    p, q = _floats([x, y])
    inside = o.logical_and(o.gt(p, 0.0), o.gt(q, 0.0))
    one = o.ones((), p.dtype)
    first, second = o.where(inside, p, one), o.where(inside, q, one)
    ratio = first / second
    near = o.logical_and(o.gt(ratio, 1e-30), o.lt(ratio, 1e30))  # others may leave the floats
    far = o.log(first) - o.log(second)
    logarithm = o.where(near, o.log(o.where(near, ratio, one)), far)
    edge = o.where(o.logical_and(o.eq(p, 0.0), o.ge(q, 0.0)), o.zeros((), p.dtype), math.inf)
    edge = o.where(o.logical_or(o.isnan(p), o.isnan(q)), p + q, edge)
    return o.where(inside, first * logarithm, edge)


@function
def kl_div(x: Any, y: Any) -> Node:
    """Return x log(x / y) - x + y, inf where `rel_entr` is: the terms of a divergence."""
    p, q = _floats([x, y])
    terms = o.rel_entr(p, q)
    return o.where(o.eq(terms, math.inf), terms, terms - p + q)


@function
def boxcox(x: Any, lmbda: Any) -> Node:
    """Return (x**lmbda - 1) / lmbda, log(x) where lmbda is 0; NaN for negative x."""
    v, power = _floats([x, lmbda])
    return _power_transform(o.log(v), power)


@function
def boxcox1p(x: Any, lmbda: Any) -> Node:
    """Return ((1 + x)**lmbda - 1) / lmbda, log(1 + x) where lmbda is 0."""
    v, power = _floats([x, lmbda])
    return _power_transform(o.log1p(v), power)


def _power_transform(logarithm: Node, power: Node) -> Node:
    """Return (exp(power * logarithm) - 1) / power; near 0 by a series, smooth in both."""
    u = power * logarithm
    near = o.lt(o.abs(u), SMALL)
    small = o.where(near, u, o.zeros((), u.dtype))
    series = o.ones((), u.dtype)
    for k in range(8, 1, -1):
        series = 1.0 + small * series / float(k)
    safe = o.where(near, o.ones((), power.dtype), power)
    plain = o.expm1(o.where(near, o.ones((), u.dtype), u)) / safe
    edge = o.logical_and(o.isinf(logarithm), o.eq(power, 0.0))  # log(0) * 0
    return o.where(o.logical_or(near, edge), logarithm * series, plain)


@function
def multigammaln(a: Any, d: int) -> Node:
    """Return log of the multivariate gamma function of order `d`, for a > (d - 1) / 2."""
    if not isinstance(d, (int, np.integer)) or d < 1:
        raise ValueError(f"multigammaln needs a whole order d >= 1, got {d!r}")
    (v,) = _floats([a])
    total = 0.25 * math.log(math.pi) * d * (d - 1) + o.gammaln(v)
    for k in range(1, int(d)):
        total = total + o.gammaln(v - 0.5 * k)
    return total


@function
def gammasgn(x: Any) -> Node:
    """Return the sign of the gamma function: +-1, NaN at negative integers and at -inf."""
    (v,) = _floats([x])
    below = o.floor(v)
    odd = o.ne(o.mod(below, 2.0), 0.0)
    one = o.ones((), v.dtype)
    side = o.where(odd, -one, one)
    side = o.where(o.eq(below, v), math.nan, side)
    side = o.where(o.eq(v, 0.0), o.copysign(one, v), side)
    return o.where(o.isnan(v), v, o.where(o.gt(v, 0.0), one, side))


@function
def factorial(n: Any) -> Node:
    """Return n! = Gamma(n + 1) as a float, also between integers; 0 for negative n."""
    (v,) = _floats([n])
    negative = o.lt(v, 0.0)
    zero = o.zeros((), v.dtype)
    return o.where(negative, zero, o.gamma(o.where(negative, zero, v) + 1.0))


@function
def comb(n: Any, k: Any) -> Node:
    """Return the binomial coefficient "n choose k" as a float, 0 where not 0 <= k <= n.

    >>> n = sg.scalar("n", dtype="float64")
    >>> round(float(sg.special.comb(n, 2.0).eval({n: 5.0})), 9)
    10.0
    """
    total, part = _floats([n, k])
    inside = o.logical_and(o.ge(part, 0.0), o.le(part, total))
    zero = o.zeros((), total.dtype)
    safe, chosen = o.where(inside, total, zero), o.where(inside, part, zero)
    value = 1.0 / ((safe + 1.0) * o.beta(safe - chosen + 1.0, chosen + 1.0))
    return o.where(inside, value, zero)
