"""The state of a random stream: seed, one counter per draw, bits and numbers in [0, 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.compile.shared import SharedVariable, shared
from symgraph.core.config import config
from symgraph.core.dtype import FLOAT32, DType, as_dtype
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import o

Lanes = Callable[[int, int], Node]  # (round, k) -> numbers in [0, 1): independent of each other


class Source:
    """Seed and counters of a stream; `bits` is what all distributions are made from."""

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
        counter, key = self._draw()
        return o.random_bits(counter, as_shape(shape), key)

    def _draw(self) -> tuple[Node, tuple[int, int]]:
        """Start a new draw: return its counter and its key."""
        number = len(self._counters)
        counter = shared(np.uint64(0), name=f"draw{number}")
        counter.default_update = counter + np.uint64(1)
        self._counters.append(counter)
        return counter, (self._seed, number & 0xFFFFFFFF)

    def _unit(self, shape: Any, d: DType) -> Node:
        """Return numbers uniform in [0, 1): 24 bits for float32, 53 for float64."""
        if d == "float64":
            return _wide(self.bits(shape), self.bits(shape))
        return o.cast(_narrow(self.bits(shape), d), d)

    def _lanes(self, shape: Any, d: DType) -> Lanes:
        """Return a function that gives many uniform numbers per element from one draw.

        Four (float64: two) numbers with the same round share the work of one Philox block.
        """
        counter, key = self._draw()
        sizes = as_shape(shape)

        def word(round_: int, k: int) -> Node:
            return o.random_bits(counter, sizes, key, (round_, k))

        def unit(round_: int, k: int) -> Node:
            if d != "float64":
                return o.cast(_narrow(word(round_, k), d), d)
            block, half = 2 * round_ + k // 2, 2 * (k % 2)
            return _wide(word(block, half), word(block, half + 1))

        return unit


def _wide(high: Node, low: Node) -> Node:
    first = o.cast(high >> np.uint32(5), "float64")
    second = o.cast(low >> np.uint32(6), "float64")
    return (first * 67108864.0 + second) * (1.0 / 9007199254740992.0)


DIGITS = {"float16": 11, "bfloat16": 8}  # bits of a number: more would round up to 1


def _narrow(bits: Node, d: DType) -> Node:
    digits = DIGITS.get(d, 24)
    return o.cast(bits >> np.uint32(32 - digits), "float32") * np.float32(2.0**-digits)


def as_shape(shape: Any) -> tuple[Any, ...]:
    """Return a shape given as a size or as a sequence of sizes."""
    one = isinstance(shape, (int, np.integer, Node))
    sizes = tuple(o.as_size(n) for n in ((shape,) if one else shape))
    if any(isinstance(n, int) and n < 0 for n in sizes):
        raise ValueError(f"the sizes of a draw must be at least 0, got {sizes}")
    return sizes


def float_type(dtype: Any) -> DType:
    """Return the float dtype of a draw; raises TypeError for another."""
    d = as_dtype(dtype or config.floatX)
    if not d.is_float:
        raise TypeError(f"random floats need a float dtype, got {d}")
    return d


def computed_in(d: DType) -> DType:
    """Return the dtype that a draw is computed in: its own; float32 for a half.

    The logarithm of a number of 8 or 11 bits would cut the tails off, or be infinite.
    """
    return FLOAT32 if d.is_half else d


def parameters(shape: Any, d: DType, *values: Any) -> tuple[tuple[Any, ...], list[Node]]:
    """Return the shape of a draw (None: the common one) and its parameters as nodes of `d`."""
    nodes = [o.cast(as_node(v, (d,)), d) for v in values]
    return checked(shape, *values), nodes


def checked(shape: Any, *values: Any) -> tuple[Any, ...]:
    """Return the shape of a draw (None: that of its parameters).

    Raises ShapeError where a parameter has more elements than there are draws: they would share
    them; DTypeError for complex parameters.
    """
    nodes = [as_node(v) for v in values]
    for x in nodes:
        if x.dtype.is_complex:
            raise DTypeError(f"a parameter of a draw must be real, `{describe(x)}` is {x.type}")
    common = o.broadcast_shapes_of(*nodes)
    if shape is None:
        return common
    sizes = as_shape(shape)
    wide = [n for n in common if not (isinstance(n, int) and n == 1)]
    if len(common) > len(sizes) and wide:
        raise ShapeError(
            f"a draw of shape {sizes} has parameters of shape {common}: elements would share a "
            "draw\n  mend:   give the shape of all draws, or leave shape out"
        )
    for n, m in zip(reversed(sizes), reversed(common), strict=False):
        if isinstance(n, int) and isinstance(m, int) and m not in (1, n):
            raise ShapeError(f"a draw of shape {sizes} has parameters of shape {common}")
    return sizes


def affine(unit: Node, low: Any, high: Any, d: DType) -> Node:
    """Return low + unit * (high - low)."""
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        if low == 0 and high == 1:
            return unit
        return unit * float(high - low) + float(low)
    a, b = as_node(low, (d,)), as_node(high, (d,))
    return unit * (b - a) + a
