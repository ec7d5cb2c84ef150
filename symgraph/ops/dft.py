"""The discrete Fourier transform as an op: linear, its own transpose, and made of short loops.

Lengths of small primes go through the passes of Stockham's algorithm: each pass computes short
transforms ("butterflies") in registers and stores them in the order that the next pass reads, so
that nothing is ever sorted. Other lengths go by tables, or become a convolution (fourier.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import FLOAT32
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import must_equal
from symgraph.ops.together import STACKED

Number = tuple[Node, Node]  # real and imaginary part
RADIX = 8  # of a pass; 16 numbers are what the registers hold
PRIMES = (3, 5, 7, 11, 13)


@register
class Dft(Op):
    name = "dft"
    doc = "Sums over j of x[j] exp(sign 2 pi i j k / n); x has pairs on the last axis."
    params = ("sign",)
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for n in (1, 2, 3, 4, 8, 11, 12, 16, 30, 37, 64):
            yield ((2, n, 2),), {"sign": -1}
        yield ((32, 2),), {"sign": 1}
        yield ((2, 3, 6, 2),), {"sign": 1}

    dtypes = "float"

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        parts = x.type.shape[-1] if x.ndim > 1 else 1
        if isinstance(parts, int) and parts != 2:
            raise ShapeError(f"dft needs pairs on the last axis, `{describe(x)}` is {x.type}")
        must_equal(parts, 2)
        return x.type.with_shape((*x.type.shape[:-1], 2))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        wide = FLOAT32.numpy if node.dtype.is_half else node.dtype.numpy
        z = np.ascontiguousarray(arrays[0].astype(wide)).view(f"c{2 * wide.itemsize}")[..., 0]
        y = np.fft.fft(z) if node.params.sign < 0 else np.fft.ifft(z, norm="forward")
        return np.stack([y.real, y.imag], -1).astype(node.dtype.numpy)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return Dft.instance(g, sign=-node.params.sign)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, n = node.inputs[0], node.type.shape[-2]
        if node.dtype.is_half:
            return o.cast(Dft.instance(o.cast(x, FLOAT32), sign=node.params.sign), node.dtype)
        if n == 1:
            return x
        found = radices(n)
        return o.dft_by_tables(x, node.params.sign) if not found else passes(
            o, x, found, node.params.sign
        )  # fmt: skip

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self(o.moveaxis(inputs[0], axes[0], 0), sign=node.params.sign), 0


def radices(n: Any) -> list[int]:
    """Return the radix of each pass, () for lengths with other factors."""
    if not isinstance(n, int):
        return []
    found = []
    for p in PRIMES:
        while n % p == 0:
            found.append(p)
            n //= p
    twos = n.bit_length() - 1
    if n != 1 << twos:
        return []
    whole, rest = divmod(twos, 3)
    if rest == 1 and whole:  # 8 * 2 in one pass
        return [*found, *([RADIX] * (whole - 1)), 2 * RADIX]
    return [*found, *([1 << rest] if rest else []), *([RADIX] * whole)]


def passes(o: Namespace, x: Node, radixes: Sequence[int], sign: int) -> Node:
    """Return the transform of pairs (..., n, 2) by one pass per radix.

    Before a pass of radix r the array is (r, m, s), of which r is transformed; after it (m, r, s),
    and m is what is left to do.
    """
    lead, n = x.type.shape[:-2], x.type.shape[-2]
    rank, left, done = len(lead), n, 1
    for r in radixes:
        m = left // r
        if done == 1:
            table = o.reshape(x, (*lead, r, m, done, 2))
            legs = [[_at(o, _at(o, table, -1, c), rank, i) for c in (0, 1)] for i in range(r)]
        else:
            table = o.reshape(x, (2, *lead, r, m, done))
            legs = [[_at(o, _at(o, table, 0, c), rank, i) for c in (0, 1)] for i in range(r)]
        sums = butterfly([(re, im) for re, im in legs], sign)
        if m == 1:
            parts = [o.squeeze(v, rank) for z in sums for v in z]
            whole = STACKED(*parts, axes=(rank, rank + 2), counts=(r, 2))
            return o.reshape(whole, (*lead, n, 2))
        turned = _turned(o, sums, r, m, sign)
        columns = [z[c] for c in (0, 1) for z in turned]
        x = STACKED(*columns, axes=(0, rank + 2), counts=(2, r))
        left, done = m, done * r
    raise AssertionError("the last pass leaves nothing to do")


def _at(o: Namespace, x: Node, axis: int, k: int) -> Node:
    return o.squeeze(o.slice_axis(x, axis, k, 1), axis)


def _turned(o: Namespace, sums: list[Number], r: int, m: int, sign: int) -> list[Number]:
    """Multiply result k at place p by exp(sign 2 pi i p k / (r m))."""
    w = turns(np.outer(np.arange(r), np.arange(m)), r * m, sign)
    both = np.stack([w.real, w.imag]).astype(sums[0][0].dtype.numpy)
    table = as_node(both[..., None])
    result = sums[:1]
    for k in range(1, r):
        re, im = sums[k]
        c, s = (_at(o, _at(o, table, 0, part), 0, k) for part in (0, 1))
        result.append((re * c - im * s, re * s + im * c))
    return result


def turns(numerator: np.ndarray, n: int, sign: int) -> np.ndarray:
    """Return exp(sign 2 pi i numerator / n), exact where the angle is a multiple of pi / 4."""
    k = numerator % n
    eighth, rest = np.divmod(8 * k, n)  # the angle is (eighth + rest / n) pi / 4
    angle = rest / n * (np.pi / 4)
    c, s = np.cos(angle), np.sin(angle)
    h = np.sqrt(0.5)
    corner = np.array([1, h + h * 1j, 1j, -h + h * 1j, -1, -h - h * 1j, -1j, h - h * 1j])
    value = corner[eighth] * (c + 1j * s)
    return np.asarray(value if sign > 0 else value.conj())


# -- short transforms in registers -----------------------------------------------------------------
def butterfly(z: Sequence[Number], sign: int) -> list[Number]:
    """Return the transform of a few numbers as straight expressions."""
    n = len(z)
    if n == 1:
        return list(z)
    if n % 2:
        return _odd(z, sign)
    even, odd = butterfly(z[0::2], sign), butterfly(z[1::2], sign)
    turned = [_times(v, k, n, sign) for k, v in enumerate(odd)]
    first = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(even, turned, strict=True)]
    second = [(a[0] - b[0], a[1] - b[1]) for a, b in zip(even, turned, strict=True)]
    return first + second


def _times(z: Number, k: int, n: int, sign: int) -> Number:
    """Return z exp(sign 2 pi i k / n), 0 <= k < n / 2."""
    re, im = z
    if k == 0:
        return z
    if 4 * k == n:
        return (-im, re) if sign > 0 else (im, -re)
    w = complex(turns(np.array(k), n, sign))
    if 8 * k == n:
        return (re - sign * im) * w.real, (im + sign * re) * w.real
    if 8 * k == 3 * n:
        return (re + sign * im) * w.real, (im - sign * re) * w.real
    return re * w.real - im * w.imag, re * w.imag + im * w.real


def _odd(z: Sequence[Number], sign: int) -> list[Number]:
    """Return the transform of an odd number of elements, from sums and differences of pairs."""
    n = len(z)
    half = range(1, (n + 1) // 2)
    sums = {j: (z[j][0] + z[n - j][0], z[j][1] + z[n - j][1]) for j in half}
    gaps = {j: (z[j][0] - z[n - j][0], z[j][1] - z[n - j][1]) for j in half}
    result: list[Number] = [z[0]] * n
    re, im = z[0]
    for j in half:
        re, im = re + sums[j][0], im + sums[j][1]
    result[0] = (re, im)
    w = turns(np.arange(n), n, sign)
    for k in half:
        re, im = z[0]
        across: Any = (0.0, 0.0)
        for j in half:
            c, s = float(w[j * k % n].real), float(w[j * k % n].imag)
            re, im = re + sums[j][0] * c, im + sums[j][1] * c
            across = (across[0] - gaps[j][1] * s, across[1] + gaps[j][0] * s)
        result[k] = (re + across[0], im + across[1])
        result[n - k] = (re - across[0], im - across[1])
    return result
