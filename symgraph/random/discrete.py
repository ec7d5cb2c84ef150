"""Discrete distributions, by inversion: monotone in one uniform number, no rejection.

Below a mean of 10 the probabilities are added up; above, the Cornish-Fisher expansion gives the
quantile but for one unit, and the distribution function (an incomplete gamma or beta function)
decides. All of it in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.core.dtype import FLOAT64, INT64, as_dtype
from symgraph.core.node import Node, as_node
from symgraph.core.op import normal_axis, o
from symgraph.random.domain import (
    CHANCE,
    COUNT,
    MEAN,
    in_call,
    known,
    or_none,
    require,
    require_weights,
)
from symgraph.random.source import Source, as_shape, checked, parameters

FEW = 10.0  # largest mean for which probabilities are added up
TERMS = 46  # of that sum: less than 1e-16 is left at the largest mean
AROUND = 2  # steps checked on both sides of the expansion


def _summed(u: Node, start: Node, ratio: Callable[[int], Node]) -> Node:
    """Return the number of partial sums of p_0, p_1 = p_0 ratio(1), ... that are at most u."""
    p, total = start, start
    count = o.cast(o.ge(u, total), FLOAT64)
    for k in range(1, TERMS):
        p = p * ratio(k)
        total = total + p
        count = count + o.cast(o.ge(u, total), FLOAT64)
    return count


def _decided(u: Node, guess: Node, below: Node, p: Node, up: Callable[[Node], Node]) -> Node:
    """Return the quantile near `guess` from P(X <= guess) and P(X = guess).

    up(k) is P(X = k + 1) / P(X = k).
    """
    value, total, q = guess, below, p
    for step in range(AROUND):  # P(X <= guess + step)
        value = value + o.cast(o.ge(u, total), FLOAT64)
        q = q * up(guess + float(step))
        total = total + q
    total, q = below, p
    for step in range(AROUND):  # P(X <= guess - 1 - step)
        total = total - q
        value = value - o.cast(o.lt(u, total), FLOAT64)
        q = q / up(guess - float(step + 1))
    return value


def _guess(z: Node, mean: Node, spread: Node, skew: Node, third: Node) -> Node:
    """Return the rounded Cornish-Fisher quantile; `skew` and `third` multiply its polynomials."""
    square = o.square(z)
    return o.floor(mean + spread * z + skew * (square - 1.0) / 6.0 + third + 0.5)


class Discrete(Source):
    """Draws of integers and truth values."""

    def bernoulli(self, p: Any = 0.5, shape: Any = None, dtype: Any = "bool") -> Node:
        """Return true with probability p; ValueError at the call where a p is outside of [0, 1]."""
        require("bernoulli", CHANCE, p=p)
        p = in_call(p, "bernoulli", "p", "chance")
        return o.cast(o.lt(self._unit(checked(shape, p), as_dtype("float32")), p), as_dtype(dtype))

    def integers(
        self, low: Any, high: Any = None, shape: Any = None, dtype: Any = "int64"
    ) -> Node:
        """Return integers in [low, high) (below `low` when high is None), by 64-bit products.

        The bias is below (high - low) / 2**32. Raises ValueError for known bounds in the wrong
        order, more than 2**32 apart, or that do not fit the dtype.
        """
        if high is None:
            low, high = 0, low
        kind, sizes = as_dtype(dtype), checked(shape, low, high)
        first, last = known(low), known(high)
        if first is not None and last is not None:
            if not np.all((last > first) & (last - first <= 1 << 32)):
                raise ValueError(f"integers needs low < high <= low + 2**32, got [{low}, {high})")
            ends = np.iinfo(kind.numpy) if kind.is_integer else None
            if ends is not None and (np.any(first < ends.min) or np.any(last - 1 > ends.max)):
                raise ValueError(f"integers in [{low}, {high}) do not fit {kind}")
        start, stop = (as_node(v, (INT64,)) for v in (low, high))
        if not (start.dtype.is_integer and stop.dtype.is_integer):
            raise TypeError(f"integers needs whole numbers, got {start.type} and {stop.type}")
        start, stop = o.cast(start, INT64), o.cast(stop, INT64)
        wide = o.cast(self.bits(sizes), "uint64") * o.cast(stop - start, "uint64")
        return o.cast(o.cast(wide >> np.uint64(32), INT64) + start, kind)

    def _quantile_level(self, sizes: tuple[Any, ...]) -> Node:
        """Return float64 numbers in (0, 1)."""
        return self._lanes(sizes, FLOAT64)(0, 0) + 2.0**-54

    def poisson(self, mean: Any = 1.0, shape: Any = None, dtype: Any = "int64") -> Node:
        """Return Poisson numbers of a mean between 0 and 2**62."""
        require("poisson", MEAN, mean=mean)
        sizes, (given,) = parameters(shape, FLOAT64, mean)
        mean = o.stop_gradient(given)
        u = self._quantile_level(sizes)
        few = o.minimum(mean, FEW)
        small = _summed(u, o.exp(-few), lambda k: few / float(k))
        many = o.maximum(mean, FEW)
        spread, z = o.sqrt(many), o.ndtri(u)
        third = (z - z * o.square(z)) / (72.0 * spread)
        k = o.maximum(_guess(z, many, spread, o.ones((), FLOAT64), third), 0.0)
        below, p = o.gammaincc(k + 1.0, many), o.poisson_weight(k, many)
        large = _decided(u, k, below, p, lambda j: many / (j + 1.0))
        count = o.maximum(o.where(o.lt(mean, FEW), small, large), 0.0)
        return o.cast(or_none(MEAN.holds(mean), count), as_dtype(dtype))

    def binomial(self, n: Any, p: Any, shape: Any = None, dtype: Any = "int64") -> Node:
        """Return the number of successes in n trials, each with probability p."""
        require("binomial", COUNT, n=n)
        require("binomial", CHANCE, p=p)
        sizes, (trials, chance) = parameters(shape, FLOAT64, n, p)
        inside = COUNT.holds(trials) & CHANCE.holds(chance)
        return o.cast(or_none(inside, self._binomial(sizes, trials, chance)), as_dtype(dtype))

    def _binomial(self, sizes: tuple[Any, ...], n: Node, p: Node) -> Node:
        n, p = o.stop_gradient(n), o.stop_gradient(p)
        u = self._quantile_level(sizes)
        q = o.minimum(p, 1.0 - p)
        mean = n * q
        few = o.lt(mean, FEW)
        rare = o.where(few, q, 0.0)
        odds = rare / (1.0 - rare)
        start = o.exp(n * o.log1p(-rare))
        small = _summed(u, start, lambda k: odds * o.maximum(n - float(k - 1), 0.0) / float(k))
        small = o.minimum(small, n)
        count, often = o.where(few, 40.0, n), o.where(few, 0.5, q)
        large = _binomial_large(u, count, often)
        value = o.where(few, small, large)
        return o.where(o.gt(p, 0.5), n - value, value)

    def multinomial(self, n: Any, p: Any, shape: Any = (), dtype: Any = "int64") -> Node:
        """Return how often each of K outcomes occurs in n trials: `shape + p.shape`, last axis K.

        The probabilities along the last axis of `p` are divided by their sum; `n` broadcasts
        against the axes before it. A loop over the outcomes draws each from the trials left.
        """
        require("multinomial", COUNT, n=n)
        require_weights("multinomial", p)
        chance = o.stop_gradient(o.cast(as_node(p, (FLOAT64,)), FLOAT64))
        left = o.flip(o.cumsum(o.flip(chance, -1), -1), -1)
        some = o.gt(left, 0.0)
        share = o.minimum(o.where(some, chance / o.where(some, left, 1.0), 0.0), 1.0)
        lead = (*as_shape(shape), *chance.type.shape[:-1])
        trials = o.broadcast_to(o.cast(as_node(n, (FLOAT64,)), FLOAT64), lead)

        def step(part: Node, rest: Node) -> list[Node]:
            count = self._binomial(lead, rest, part)
            return [rest - count, count]

        _, counts = o.scan(step, o.moveaxis(share, -1, 0), [trials, None])
        inside = COUNT.holds(trials) & o.all(o.ge(chance, 0.0), -1) & o.gt(left[..., 0], 0.0)
        counts = or_none(o.expand_dims(inside, inside.ndim), o.moveaxis(counts, 0, -1))
        return o.cast(counts, as_dtype(dtype))

    def categorical(
        self, logits: Any, axis: int = -1, shape: Any = (), dtype: Any = "int64"
    ) -> Node:
        """Return indices along `axis` with probabilities softmax(logits), by the largest of
        logits + Gumbel numbers; the result is `shape` + the other axes of logits. ValueError at the
        call where a logit is NaN.
        """
        x = in_call(as_node(logits), "categorical", "logits", "logit")
        if not x.dtype.is_float:
            raise TypeError(f"categorical needs float logits, got {x.type}")
        place = normal_axis(axis, x.ndim) - x.ndim
        sizes = (*as_shape(shape), *x.type.shape)
        return o.cast(o.argmax(x + self._gumbel_noise(sizes, x.dtype), place), as_dtype(dtype))

    def _gumbel_noise(self, sizes: tuple[Any, ...], d: Any) -> Node:
        e = -o.log1p(-self._unit(sizes, FLOAT64))
        return o.cast(-o.log(o.maximum(e, 2.0**-54)), d)


def _binomial_large(u: Node, n: Node, q: Node) -> Node:
    """Return binomial quantiles for n q >= 10 and q <= 1/2."""
    z = o.ndtri(u)
    variance = n * q * (1.0 - q)
    spread, skew = o.sqrt(variance), 1.0 - 2.0 * q
    cube = z * o.square(z)
    kurtosis = (1.0 - 6.0 * q * (1.0 - q)) * (cube - 3.0 * z) / 24.0
    third = (kurtosis - o.square(skew) * (2.0 * cube - 5.0 * z) / 36.0) / spread
    k = o.clip(_guess(z, n * q, spread, skew, third), 0.0, n)
    below = o.betainc(n - k, k + 1.0, 1.0 - q)
    p = o.beta_weight(k + 1.0, n - k + 1.0, q) / ((n + 1.0) * q * (1.0 - q))
    odds = q / (1.0 - q)
    value = _decided(u, k, below, p, lambda j: odds * (n - j) / (j + 1.0))
    return o.clip(value, 0.0, n)
