"""Fourier transforms between real numbers and the half of a spectrum that says all.

`rdft` and `irdft` are linear, and each is the other's transpose but for weights: inner results
stand for themselves and their conjugates. Both are complex transforms of half the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.butterfly import turns
from symgraph.core.dtype import FLOAT32
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, function, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import must_equal
from symgraph.ops.dft import real_in_cache
from symgraph.ops.fourier import DIRECT, joined, taken_apart, times, transform
from symgraph.ops.rows import as_float

LENGTHS = (1, 2, 3, 4, 8, 11, 12, 30, 37, 40, 48, 64, 80)


class HalfSpectrum(Op):
    """Base of both directions."""

    linear = (0,)
    dtypes = "float"

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self.rebuild(node, (o.moveaxis(inputs[0], axes[0], 0),)), 0

    def widened(self, node: Node) -> Node | None:
        """Return the same in float32 for half precision, else None."""
        if not node.dtype.is_half:
            return None
        return o.cast(self.rebuild(node, (o.cast(node.inputs[0], FLOAT32),)), node.dtype)


def weights(n: Any, inner: float, dtype: Any) -> Node:
    """Return what results count for: `inner`, the first (and that of n / 2) 1, as a column."""
    k = o.iota((n // 2 + 1, 1), 0)
    ends = o.logical_or(o.eq(k, 0), o.eq(k * 2, o.dim_value(n)))
    return o.where(ends, o.ones((), dtype), o.full((), inner, dtype))


@register
class RealDft(HalfSpectrum):
    name = "rdft"
    doc = "Sums over j of x[j] exp(-2 pi i j k / n) for k <= n / 2, as pairs on a new last axis."

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for n in LENGTHS:
            yield ((2, n),), {}
        yield ((2, 3, 32),), {}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0].type
        return x.with_shape((*x.shape[:-1], x.shape[-1] // 2 + 1, 2))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        wide = FLOAT32.numpy if node.dtype.is_half else node.dtype.numpy
        y = np.fft.rfft(arrays[0].astype(wide))
        return np.stack([y.real, y.imag], -1).astype(node.dtype.numpy)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        n = node.inputs[0].type.shape[-1]
        return o.irdft(g * weights(n, 0.5, g.dtype), n)

    def expand(self, o: Namespace, node: Node) -> Node:
        x, n, wide = node.inputs[0], node.inputs[0].type.shape[-1], self.widened(node)
        if wide is not None:
            return wide
        whole = real_in_cache(x, n, -1)
        if whole is not None:
            return whole
        if isinstance(n, int) and n % 2 == 0 and n > DIRECT:
            return _from_halves(x, n)
        if isinstance(n, int):
            whole = joined(transform((x, None), n, -1))
        else:
            whole = o.dft(joined((x, None)), -1)
        return o.slice_axis(whole, -2, 0, n // 2 + 1)


def _from_halves(x: Node, n: int) -> Node:
    """Even elements are real, odd ones imaginary parts; their transforms come apart by symmetry."""
    half = n // 2
    re, im = taken_apart(o.dft(o.reshape(x, (*x.type.shape[:-1], half, 2)), -1))
    wrapped = [o.concatenate([v, o.slice_axis(v, -1, 0, 1)], -1) for v in (re, im)]
    turned = [o.flip(v, -1) for v in wrapped]
    even = (0.5 * (wrapped[0] + turned[0]), 0.5 * (wrapped[1] - turned[1]))
    odd = (0.5 * (wrapped[1] + turned[1]), -0.5 * (wrapped[0] - turned[0]))
    rotated = times(odd, turns(np.arange(half + 1), n, -1))
    assert rotated[1] is not None
    return joined((even[0] + rotated[0], even[1] + rotated[1]))


@register
class InverseRealDft(HalfSpectrum):
    name = "irdft"
    doc = "The n real numbers, times n, whose `rdft` is x; at the ends real parts count alone."
    params = ("n",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for n in LENGTHS:
            yield ((2, n // 2 + 1, 2),), {"n": n}
        yield ((2, 3, 17, 2),), {"n": 32}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0].type
        for size, needed in zip(x.shape[-2:], (params.n // 2 + 1, 2), strict=True):
            if isinstance(size, int) and isinstance(needed, int) and size != needed:
                raise ShapeError(
                    f"irdft to {params.n} numbers needs {params.n // 2 + 1} pairs, "
                    f"`{describe(inputs[0])}` is {x}"
                )
            must_equal(size, needed)
        return x.with_shape((*x.shape[:-2], params.n))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        wide = FLOAT32.numpy if node.dtype.is_half else node.dtype.numpy
        x = arrays[0].astype(wide)
        y = np.fft.irfft(x[..., 0] + 1j * x[..., 1], node.params.n, norm="forward")
        return np.asarray(y, node.dtype.numpy)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.rdft(g) * weights(node.params.n, 2.0, g.dtype)

    def expand(self, o: Namespace, node: Node) -> Node:
        x, n, wide = node.inputs[0], node.params.n, self.widened(node)
        if wide is not None:
            return wide
        whole = real_in_cache(x, n, 1)
        if whole is not None:
            return whole
        if isinstance(n, int) and n % 2 == 0 and n > DIRECT:
            return _to_halves(x, n)
        return _mirrored(x, n)


def _mirrored(x: Node, n: Any) -> Node:
    """The other results are conjugates; of the whole transform only the real part is computed."""
    re, im = taken_apart(x)
    count = (n + 1) // 2 - 1
    more_re, more_im = (o.flip(o.slice_axis(v, -1, 1, count), -1) for v in (re, im))
    whole = (o.concatenate([re, more_re], -1), o.concatenate([im, -more_im], -1))
    return transform(whole, n, 1)[0]


def _to_halves(x: Node, n: int) -> Node:
    """Put the transforms of even and odd elements together, as real and imaginary parts."""
    half = n // 2
    inner = np.ones(half + 1)
    inner[[0, -1]] = 0
    re, im = taken_apart(x)
    im = o.where(as_node(inner > 0), im, o.zeros((), im.dtype))
    (a, b), (c, d) = ([v[..., :half], o.flip(v, -1)[..., :half]] for v in (re, im))
    turned = times((a - b, c + d), turns(np.arange(half), n, 1))
    assert turned[1] is not None
    pairs = joined((a + b - turned[1], c - d + turned[0]))
    return o.reshape(o.dft(pairs, 1), (*x.type.shape[:-2], n))


@function
def rdft(x: Any) -> Node:
    """Return the sums over j of x[j] exp(-2 pi i j k / n) for k <= n / 2, as pairs."""
    return RealDft.instance(as_float(x))


@function
def irdft(x: Any, n: int) -> Node:
    """Return the n real numbers, times n, whose `rdft` are the pairs x."""
    return InverseRealDft.instance(as_float(x), n=n)
