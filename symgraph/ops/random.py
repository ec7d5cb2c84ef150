"""Counter-based random bits: Philox4x32-10 as an expression of the element index.

Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Element e of
draw number c under key (seed, stream) is word e mod 4 of philox(counter = (e // 4, c), key): it
does not depend on fusion, vector width or threads, and can be recomputed instead of stored.
With a lane (round, word) an element has blocks of its own, as many words as a rejection loop needs:
word `word` of philox(counter = (e + (round + 1) << 52, c), key).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import FLOAT32, FLOAT64, UINT32, UINT64
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import Op, function, o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import cast_to
from symgraph.ops.shape import strides
from symgraph.ops.special_incomplete import gamma_by_a

M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
MASK = 0xFFFFFFFF


def philox(counter: list[np.ndarray], key: tuple[int, int]) -> list[np.ndarray]:
    """Return the four output words (uint64 arrays below 2**32) of Philox4x32-10."""
    c = [np.asarray(w, np.uint64) for w in counter]
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c[0] * np.uint64(M0), c[2] * np.uint64(M1)
        c = [
            (p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0),
            p1 & np.uint64(MASK),
            (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1),
            p0 & np.uint64(MASK),
        ]
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return c


@register
class RandomBits(Op):
    name = "random_bits"
    doc = "32 random bits per element from (seed, stream) and the draw number: Philox4x32-10."
    params = ("shape", "key", "lane")
    not_differentiable = "the result is made of bits"
    opaque = True

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for shape, lane in (((5, 7), None), ((3, 11), (0, 2)), ((6,), (9, 3)), ((), (1, 0))):
            draw = rng.integers(0, 1 << 40, ()).astype(np.uint64)
            yield (draw,), {"shape": shape, "key": (3, 4), "lane": lane}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return TensorType(UINT32, params.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        shape = node.params.shape
        n = int(np.prod(shape))
        e = np.arange(n, dtype=np.uint64)
        lane, draw = node.params.lane, np.uint64(arrays[0])
        first = np.uint64(0 if lane is None else (lane[0] + 1) << 52)
        block = e // np.uint64(4) if lane is None else e + first
        high, low = draw >> np.uint64(32), draw & np.uint64(MASK)
        parts: list[Any] = [block & np.uint64(MASK), block >> np.uint64(32), low, high]
        counter = [np.broadcast_to(w, (n,)) for w in parts]
        words = np.stack(philox(counter, node.params.key))
        if lane is not None:
            return np.asarray(words[lane[1]], np.uint32).reshape(shape)
        return np.asarray(words[e % np.uint64(4), e], np.uint32).reshape(shape)

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        element: Any = 0
        for i, stride in zip(index, strides(node.type.shape), strict=True):
            element = s.iadd(element, s.imul(i, stride))
        e = s.as_value(element, UINT64)
        draw = read(0, ())
        lane = node.params.lane
        if lane is None:
            c = [(e >> 2) & MASK, e >> 34, draw & MASK, draw >> 32]
        else:
            c = [e & MASK, (e >> 32) + ((lane[0] + 1) << 20), draw & MASK, draw >> 32]
        k0, k1 = node.params.key
        for _ in range(ROUNDS):
            p0, p1 = c[0] * M0, c[2] * M1
            c = [(p1 >> 32) ^ c[1] ^ k0, p1 & MASK, (p0 >> 32) ^ c[3] ^ k1, p0 & MASK]
            k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
        if lane is not None:
            return s.cast(c[lane[1]], UINT32)
        odd, upper = s.ne(e & 1, 0), s.ne(e & 2, 0)
        low, high = s.select(odd, c[1], c[0]), s.select(odd, c[3], c[2])
        return s.cast(s.select(upper, high, low), UINT32)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        """Each draw number gives an array of its own; their count must be known."""
        n = inputs[0].type.shape[0]
        if not isinstance(n, int):
            raise ShapeError(
                "random draws under a batch of draw numbers need a known batch size\n"
                "  mend:   draw one array of the batched shape instead"
            )
        return o.stack([self.rebuild(node, (inputs[0][k],)) for k in range(n)]), 0


@function
def random_bits(
    draw: Node, shape: Any, key: tuple[int, int], lane: tuple[int, int] | None = None
) -> Node:
    """Return uint32 bits of `shape` for draw number `draw` (uint64 scalar) under `key`.

    lane: None, or (round, word) with round < 4095 and word < 4, for several words per element.
    """
    return RandomBits.instance(draw, shape=tuple(shape), key=key, lane=lane)


@register
class GammaLevel(Op):
    """The reparameterisation of gamma draws (Figurnov, Mohamed, Mnih, NeurIPS 2018)."""

    name = "gamma_level"
    doc = "y = log z as the function of a along which P(a, z) stays the same; the value is y."
    arity = 2

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        if dtype is FLOAT32:  # the value is an identity: differences say nothing
            for shape in ((5,), (2, 3)):
                pair = (rng.uniform(0.3, 5, shape), rng.normal(size=shape))
                yield tuple(v.astype(np.float32) for v in pair), {}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[1].type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return arrays[1]

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        return read(1, index)

    @staticmethod
    def partials(o: Namespace, node: Node) -> tuple[Node, None]:
        """dy/da = -(dP/da) / (z dP/dz); for small z from P = z**a / Gamma(a + 1)."""
        a, y = (cast_to(v, FLOAT64) for v in (node.inputs[0], node))
        deep = o.lt(y, -30.0)
        z = o.exp(o.where(deep, 0.0, y))
        usual = -gamma_by_a(o, a, z) / (a * o.poisson_weight(a, z))
        slope = o.where(deep, (o.digamma(a + 1.0) - y) / a, usual)
        return cast_to(slope, node.dtype), None

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        size = next(x.type.shape[k] for x, k in zip(inputs, axes, strict=True) if k is not None)
        moved = [
            o.moveaxis(x, k, 0) if k is not None else o.broadcast_to(x, (size, *x.type.shape))
            for x, k in zip(inputs, axes, strict=True)
        ]
        return self(*moved), 0


@function
def gamma_level(a: Node, y: Node) -> Node:
    """Return y = log z, whose derivative by a keeps P(a, z); `y` itself counts as constant."""
    return GammaLevel.instance(a, o.stop_gradient(y))
