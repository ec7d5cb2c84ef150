"""Random variables: streams of Philox draws that fuse into the functions that use them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symgraph.compile.shared import SharedVariable, shared
from symgraph.core.config import config
from symgraph.core.dtype import DType, as_dtype
from symgraph.core.node import Node, as_node
from symgraph.core.op import o


class RandomStream:
    """A source of independent random arrays, reproducible from `seed`.

    Each draw is a node with a counter of its own, a shared variable that functions advance by
    default: within one call all uses of a draw see the same numbers, the next call sees new ones.
    Bits are Philox4x32-10 of (element, call) under the key (seed, number of the draw), so they do
    not depend on fusion or threads.

    >>> rng = sg.random.RandomStream(0)
    >>> f = sg.function([], rng.uniform((2, 3)))
    >>> f().shape
    (2, 3)
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = (config.seed if seed is None else int(seed)) & 0xFFFFFFFF
        self._counters: list[SharedVariable] = []

    def seed(self, seed: int) -> None:
        """Restart every draw of this stream (the seed itself was fixed when draws were made)."""
        if self._counters and (seed & 0xFFFFFFFF) != self._seed:
            raise ValueError(
                "draws made so far keep their seed; make a new RandomStream(seed), or pass the old "
                "seed to restart"
            )
        self._seed = seed & 0xFFFFFFFF
        for counter in self._counters:
            counter.set_value(np.uint64(0))

    @property
    def state_updates(self) -> list[tuple[SharedVariable, Node]]:
        """Return (counter, counter + 1) of every draw: what functions apply by default."""
        return [(c, c.default_update) for c in self._counters if c.default_update is not None]

    def bits(self, shape: Any = ()) -> Node:
        """Return 32 random bits per element (uint32)."""
        number = len(self._counters)
        counter = shared(np.uint64(0), name=f"draw{number}")
        counter.default_update = counter + np.uint64(1)
        self._counters.append(counter)
        return o.random_bits(counter, _shape(shape), (self._seed, number & 0xFFFFFFFF))

    def uniform(self, shape: Any = (), low: Any = 0.0, high: Any = 1.0, dtype: Any = None) -> Node:
        """Return numbers uniform in [low, high): 24 bits for float32, 53 for float64."""
        d = _float(dtype)
        return _affine(self._unit(shape, d), low, high, d)

    def _unit(self, shape: Any, d: DType) -> Node:
        if d == "float64":
            high = o.cast(self.bits(shape) >> np.uint32(5), "float64")
            low = o.cast(self.bits(shape) >> np.uint32(6), "float64")
            return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0)
        unit = o.cast(self.bits(shape) >> np.uint32(8), "float32") * np.float32(2.0**-24)
        return o.cast(unit, d)

    def normal(self, shape: Any = (), mean: Any = 0.0, std: Any = 1.0, dtype: Any = None) -> Node:
        """Return normal numbers (Box and Muller 1958: sqrt(-2 log u) cos(2 pi v))."""
        d = _float(dtype)
        u, v = self._unit(shape, d), self._unit(shape, d)
        tiny = 2.0**-25 if d != "float64" else 2.0**-54  # keeps log finite at u = 0
        value = o.sqrt(-2.0 * o.log(u + tiny)) * o.cos((2.0 * math.pi) * v)
        return value * as_node(std, (d,)) + as_node(mean, (d,))

    def bernoulli(self, p: Any = 0.5, shape: Any = (), dtype: Any = "bool") -> Node:
        """Return true with probability p."""
        return o.cast(o.lt(self._unit(shape, as_dtype("float32")), p), as_dtype(dtype))

    def integers(
        self, low: int, high: int | None = None, shape: Any = (), dtype: Any = "int64"
    ) -> Node:
        """Return integers in [low, high) (below `low` when high is None), by 64-bit products.

        The bias is below (high - low) / 2**32.
        """
        if high is None:
            low, high = 0, low
        if not 0 < high - low <= 1 << 32:
            raise ValueError(f"integers needs low < high <= low + 2**32, got [{low}, {high})")
        wide = o.cast(self.bits(shape), "uint64") * np.uint64(high - low)
        offset = o.cast(wide >> np.uint64(32), "int64") + low
        return o.cast(offset, as_dtype(dtype))


def _shape(shape: Any) -> tuple[Any, ...]:
    if isinstance(shape, (int, np.integer, Node)):
        return (o.as_size(shape),)
    return tuple(o.as_size(n) for n in shape)


def _float(dtype: Any) -> DType:
    d = as_dtype(dtype or config.floatX)
    if not d.is_float:
        raise TypeError(f"random floats need a float dtype, got {d}")
    return d


def _affine(unit: Node, low: Any, high: Any, d: DType) -> Node:
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        if low == 0 and high == 1:
            return unit
        return unit * float(high - low) + float(low)
    a, b = as_node(low, (d,)), as_node(high, (d,))
    return unit * (b - a) + a
