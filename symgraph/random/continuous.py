"""Continuous distributions."""

from __future__ import annotations

import math
from typing import Any

from symgraph.core.dtype import DType
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node
from symgraph.core.op import o
from symgraph.random.domain import NOT_NEGATIVE, POSITIVE, or_nan, require, require_order
from symgraph.random.source import (
    Lanes,
    Source,
    affine,
    as_shape,
    checked,
    computed_in,
    float_type,
    parameters,
)

GAMMA_ROUNDS = 5  # of two proposals each, accepted with 0.951 at least: 1e-13 is left
MISES_ROUNDS = 26  # of one proposal, accepted with 0.66 at least: 1e-12 is left


def _tiny(d: DType) -> float:
    """Return half of the smallest step of uniform numbers: it keeps log finite at 0."""
    return 2.0**-54 if d == "float64" else 2.0**-25


def _exponential(unit: Node) -> Node:
    return -o.log1p(-unit)


class Continuous(Source):
    """Draws of real numbers."""

    def uniform(
        self, shape: Any = None, low: Any = 0.0, high: Any = 1.0, dtype: Any = None
    ) -> Node:
        """Return numbers uniform in [low, high): 24 bits for float32, 53 for float64.

        Here and below the shape of a draw is that of its parameters, unless it is given.
        """
        d = float_type(dtype)
        require_order("uniform", low, high)
        return affine(self._unit(checked(shape, low, high), d), low, high, d)

    def normal(self, shape: Any = None, mean: Any = 0.0, std: Any = 1.0, dtype: Any = None) -> Node:
        """Return normal numbers (Box and Muller 1958: sqrt(-2 log u) cos(2 pi v))."""
        given, shape = float_type(dtype), checked(shape, mean, std)
        require("normal", NOT_NEGATIVE, std=std)
        d = computed_in(given)
        u, v = self._unit(shape, d), self._unit(shape, d)
        value = o.sqrt(-2.0 * o.log(u + _tiny(d))) * o.cos((2.0 * math.pi) * v)
        value = value * as_node(std, (d,)) + as_node(mean, (d,))
        return o.cast(value, given) if given.is_half else value

    def truncated_normal(
        self,
        low: Any,
        high: Any,
        mean: Any = 0.0,
        std: Any = 1.0,
        shape: Any = None,
        dtype: Any = None,
    ) -> Node:
        """Return normal numbers given that they lie in [low, high], by inversion in float64.

        Intervals up to 37 standard deviations away from the mean are met; derivatives flow through
        all four parameters.
        """
        d = float_type(dtype)
        require_order("truncated_normal", low, high)
        require("truncated_normal", POSITIVE, std=std)
        sizes, nodes = parameters(shape, d, low, high, mean, std)
        first, last, centre, width = (o.cast(n, "float64") for n in nodes)
        width = or_nan(o.gt(width, 0.0) & o.le(first, last), width)
        a, b = (first - centre) / width, (last - centre) / width
        # in the upper half the mirrored interval has the accurate probabilities
        upper = o.gt(a, 0.0)
        a, b = o.where(upper, -b, a), o.where(upper, -a, b)
        start, stop = o.ndtr(a), o.ndtr(b)
        u = self._unit(sizes, float_type("float64")) + _tiny(float_type("float64"))
        x = o.clip(o.ndtri(start + u * (stop - start)), a, b)
        return o.cast(o.where(upper, -x, x) * width + centre, d)

    def exponential(self, scale: Any = 1.0, shape: Any = None, dtype: Any = None) -> Node:
        """Return exponential numbers of mean `scale`."""
        d = computed_in(given := float_type(dtype))
        require("exponential", NOT_NEGATIVE, scale=scale)
        sizes, (s,) = parameters(shape, d, scale)
        return o.cast(_exponential(self._unit(sizes, d)) * s, given)

    def gumbel(
        self, loc: Any = 0.0, scale: Any = 1.0, shape: Any = None, dtype: Any = None
    ) -> Node:
        """Return Gumbel numbers: loc - scale log(exponential)."""
        d = computed_in(given := float_type(dtype))
        require("gumbel", NOT_NEGATIVE, scale=scale)
        sizes, (m, s) = parameters(shape, d, loc, scale)
        level = o.log(o.maximum(_exponential(self._unit(sizes, d)), _tiny(d)))
        return o.cast(m - s * level, given)

    def laplace(
        self, loc: Any = 0.0, scale: Any = 1.0, shape: Any = None, dtype: Any = None
    ) -> Node:
        """Return Laplace numbers: an exponential number with a random sign."""
        d = computed_in(given := float_type(dtype))
        require("laplace", NOT_NEGATIVE, scale=scale)
        sizes, (m, s) = parameters(shape, d, loc, scale)
        lane = self._lanes(sizes, d)
        size = _exponential(lane(0, 0))
        return o.cast(m + s * o.where(o.lt(lane(0, 1), 0.5), size, -size), given)

    def gamma(self, a: Any, scale: Any = 1.0, shape: Any = None, dtype: Any = None) -> Node:
        """Return gamma numbers of shape parameter a > 0 and mean a * scale.

        Marsaglia and Tsang (2000) with ten proposals an element; where all are refused (once in
        1e13) the mode stands. Derivatives by `a` are those of the inverse distribution function
        (Figurnov, Mohamed, Mnih 2018).
        """
        d = computed_in(given := float_type(dtype))
        require("gamma", POSITIVE, a=a)
        require("gamma", NOT_NEGATIVE, scale=scale)
        sizes, (alpha, s) = parameters(shape, d, a, scale)
        return o.cast(o.exp(self._log_gamma(alpha, sizes, d)) * s, given)

    def _log_gamma(self, a: Node, sizes: tuple[Any, ...], d: DType) -> Node:
        """Return the logarithm of gamma numbers; small `a` would underflow without it."""
        lane = self._lanes(sizes, d)
        a = or_nan(o.gt(a, 0.0), a)
        small = o.lt(a, 1.0)
        third = o.where(small, a + 1.0, a) - 1.0 / 3.0
        cube = _marsaglia(lane, third, d)
        value = o.log(third * cube)
        boost = o.log(lane(GAMMA_ROUNDS, 0) + _tiny(d)) / a
        value = value + o.where(small, boost, o.zeros((), d))
        return o.gamma_level(o.broadcast_to(a, sizes), o.broadcast_to(value, sizes))

    def chisquare(self, df: Any, shape: Any = None, dtype: Any = None) -> Node:
        """Return chi-squared numbers with `df` degrees of freedom."""
        d = computed_in(given := float_type(dtype))
        require("chisquare", POSITIVE, df=df)
        sizes, (k,) = parameters(shape, d, df)
        return self.gamma(0.5 * k, 2.0, sizes, given)

    def beta(self, a: Any, b: Any, shape: Any = None, dtype: Any = None) -> Node:
        """Return beta numbers: x / (x + y) of two gamma numbers, through their logarithms."""
        d = computed_in(given := float_type(dtype))
        require("beta", POSITIVE, a=a, b=b)
        sizes, (p, q) = parameters(shape, d, a, b)
        odds = self._log_gamma(p, sizes, d) - self._log_gamma(q, sizes, d)
        return o.cast(o.sigmoid(odds), given)

    def dirichlet(self, a: Any, shape: Any = (), dtype: Any = None) -> Node:
        """Return Dirichlet vectors, `shape + a.shape`; they lie along the last axis."""
        d = computed_in(given := float_type(dtype))
        require("dirichlet", POSITIVE, a=a)
        alpha = o.cast(as_node(a, (d,)), d)
        if alpha.ndim == 0:
            raise ShapeError("dirichlet: `a` must have an axis of outcomes, got a scalar")
        sizes = (*as_shape(shape), *alpha.type.shape)
        return o.cast(o.softmax(self._log_gamma(alpha, sizes, d), -1), given)

    def student_t(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, shape: Any = None, dtype: Any = None
    ) -> Node:
        """Return Student numbers: normal / sqrt(chi-squared / df)."""
        d = computed_in(given := float_type(dtype))
        require("student_t", POSITIVE, df=df)
        require("student_t", NOT_NEGATIVE, scale=scale)
        sizes, (k, m, s) = parameters(shape, d, df, loc, scale)
        half = 0.5 * k
        spread = o.exp(0.5 * (o.log(half) - self._log_gamma(half, sizes, d)))
        return o.cast(m + s * self.normal(sizes, dtype=d) * spread, given)

    def vonmises(
        self, mean: Any = 0.0, kappa: Any = 1.0, shape: Any = None, dtype: Any = None
    ) -> Node:
        """Return angles in [-pi, pi] around `mean` with concentration kappa >= 0.

        Best and Fisher (1979) with 26 proposals an element; no derivative by kappa.
        """
        d = computed_in(given := float_type(dtype))
        require("vonmises", NOT_NEGATIVE, kappa=kappa)
        sizes, (m, k) = parameters(shape, d, mean, kappa)
        k = o.stop_gradient(k)
        root = o.sqrt(1.0 + 4.0 * o.square(k))
        rho = (1.0 + root - o.sqrt(2.0 + 2.0 * root)) / (2.0 * o.maximum(k, 1e-3))
        # s - 1 of the paper: s tends to 1 / kappa for small kappa, where its formula cancels
        over = o.where(
            o.lt(k, 1e-2), 1.0 / o.maximum(k, 1e-6) + k - 1.0, o.square(1.0 - rho) / (2.0 * rho)
        )
        units = self._lanes((MISES_ROUNDS, *sizes), d)
        half = o.square(o.sin((0.5 * math.pi) * units(0, 0)))
        # 1 - cos(angle), as the cosine of small angles would round to steps of them
        away = 2.0 * half * over / (over + 2.0 * (1.0 - half))
        c, u = k * (over + away), units(0, 1) + _tiny(d)
        accepted = o.gt(c * (2.0 - c) - u, 0.0) | o.ge(o.log(c / u) + 1.0 - c, 0.0)
        accepted = accepted | o.lt(k, 1e-6)
        # the first accepted round has the largest rank; reductions keep the rounds out of memory
        rank = o.reshape(o.arange(MISES_ROUNDS, 0, -1), (MISES_ROUNDS, *(1 for _ in sizes)))
        first = o.max(o.where(accepted, rank, 0), 0, keepdims=True)
        chosen = o.sum(o.where(o.eq(rank, first), away, o.zeros((), d)), 0)
        side = o.where(o.lt(self._unit(sizes, d), 0.5), o.full((), -1.0, d), o.ones((), d))
        size = 2.0 * o.asin(o.sqrt(o.clip(0.5 * chosen, 0.0, 1.0)))
        full = or_nan(o.ge(k, 0.0), size) * side + m
        turn = 2.0 * math.pi
        return o.cast(full - turn * o.stop_gradient(o.rint(full / turn)), given)


def _marsaglia(lane: Lanes, third: Node, d: DType) -> Node:
    """Return v with third * v a gamma number of shape third + 1/3 >= 1."""
    step = 1.0 / o.sqrt(9.0 * third)
    value = o.ones((), d)
    for k in reversed(range(GAMMA_ROUNDS)):
        radius = o.sqrt(-2.0 * o.log(lane(k, 0) + _tiny(d)))
        angle = (2.0 * math.pi) * lane(k, 1)
        for word, wave in ((2, o.cos), (3, o.sin)):
            x = radius * wave(angle)
            root = 1.0 + step * x
            v = root * o.square(root)
            log_v = o.log(o.maximum(v, 1e-30))
            bound = 0.5 * o.square(x) + third * (1.0 - v + log_v)
            accepted = o.gt(root, 0.0) & o.lt(o.log(lane(k, word) + _tiny(d)), bound)
            value = o.where(accepted, v, value)
    return value
