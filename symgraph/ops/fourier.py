"""Fourier transforms along axes; complex arrays are real ones with a last axis (real, imaginary).

All is made of one linear op, `dft`, and of products and views, so derivatives and batching are
theirs. Here are also the lengths that `dft` cannot do by short passes: a factor of at most DIRECT
is a product with a table of cosines and sines, followed by a rotation (Cooley and Tukey), a larger
prime becomes a convolution with a chirp of a length that splits well (Bluestein).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import numpy as np

from symgraph.core.butterfly import turns
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, normal_axis, o
from symgraph.ops.dft import Dft
from symgraph.ops.rows import as_float

DIRECT = 32  # longest transform by one product with a table
Complex = tuple[Node, Node | None]  # the imaginary part may be absent: zero


# -- one axis, the last one --------------------------------------------------------------------
def _parts(table: np.ndarray, like: Node) -> Complex:
    """Return a constant of complex numbers in the dtype of `like`."""
    re, im = (np.ascontiguousarray(v).astype(like.dtype.numpy) for v in (table.real, table.imag))
    return as_node(re), as_node(im)


def _table(numerator: np.ndarray, n: int, sign: int, like: Node) -> Complex:
    return _parts(turns(numerator, n, sign), like)


def _product(left: Complex, right: Complex, multiply: Any) -> Complex:
    """Return the complex product by any bilinear `multiply`."""
    (a, b), (c, d) = left, right
    if b is None:
        return multiply(a, c), multiply(a, d)
    if d is None:
        return multiply(a, c), multiply(b, c)
    return multiply(a, c) - multiply(b, d), multiply(a, d) + multiply(b, c)


def times(x: Complex, table: np.ndarray) -> Complex:
    return _product(x, _parts(table, x[0]), lambda a, b: a * b)


def each_part(x: Complex, f: Any) -> Complex:
    return f(x[0]), None if x[1] is None else f(x[1])


def split(n: int) -> int:
    """Return the first factor of a length: a divisor near its root, 1 for a large prime.

    The first factor is at most DIRECT; what is left is split in its turn.
    """
    for limit in (isqrt(n), n - 1):
        found = [k for k in range(2, min(DIRECT, limit) + 1) if n % k == 0]
        if found:
            return max(found)
    return 1


def transform(x: Complex, n: int, sign: int) -> Complex:
    """Return the sums over j of x[..., j] exp(sign 2 pi i j k / n), j over the last axis."""
    if x[1] is None and n <= DIRECT:
        return by_tables(x, n, sign)
    return taken_apart(o.dft(joined(x), sign))


@function
def dft(x: Any, sign: int = -1) -> Node:
    """Return the sums over j of x[j] exp(sign 2 pi i j k / n) of pairs on the last axis."""
    return Dft.instance(as_float(x), sign=sign)


@function
def dft_by_tables(x: Node, sign: int) -> Node:
    """Return `dft` for lengths with large prime factors, or not known before the call."""
    n, pair = x.type.shape[-2], (x[..., 0], x[..., 1])
    if isinstance(n, int):
        return joined(by_tables(pair, n, sign))
    k = o.iota((n,), 0)
    turn = o.cast(o.mod(k[:, None] * k, o.dim_value(n)), x.dtype) / o.cast(o.dim_value(n), x.dtype)
    angle = turn * (2 * np.pi)
    return joined(_product(pair, (o.cos(angle), sign * o.sin(angle)), o.matmul))


def by_tables(x: Complex, n: int, sign: int) -> Complex:
    """Return the transform by products with tables, of one factor of n after the other."""
    if n <= DIRECT:
        k = np.arange(n)
        return _product(x, _table(np.outer(k, k), n, sign, x[0]), o.matmul)
    first = split(n)
    if first == 1:
        return _by_chirp(x, n, sign)
    second = n // first
    lead = x[0].type.shape[:-1]
    table = each_part(x, lambda v: o.reshape(v, (*lead, first, second)))
    # over the slow index by a product from the left, a rotation, then over the fast index
    k = np.arange(first)
    rotations = _table(np.outer(k, k), first, sign, x[0])
    table = _product(table, rotations, lambda v, w: o.matmul(w, v))
    table = times(table, turns(np.outer(k, np.arange(second)), n, sign))
    table = transform(table, second, sign)
    return each_part(table, lambda v: o.reshape(o.matrix_transpose(v), (*lead, n)))


def _by_chirp(x: Complex, n: int, sign: int) -> Complex:
    """Bluestein: j k = (j^2 + k^2 - (k - j)^2) / 2 makes the sum a convolution."""
    size = 1 << (2 * n - 2).bit_length()
    k = np.arange(n)
    chirp = turns(k * k, 2 * n, sign)
    kernel = np.zeros(size, complex)
    kernel[:n] = chirp.conj()
    kernel[size - n + 1 :] = chirp[1:][::-1].conj()
    lead = [(0, 0)] * (x[0].ndim - 1)
    y = each_part(times(x, chirp), lambda v: o.pad(v, (*lead, (0, size - n))))
    y = times(transform(y, size, -1), np.fft.fft(kernel) / size)
    y = each_part(transform(y, size, 1), lambda v: o.slice_axis(v, -1, 0, n))
    return times(y, chirp)


# -- arguments ---------------------------------------------------------------------------------
def _scale(norm: str | None, n: int, inverse: bool) -> float:
    if norm not in (None, "backward", "ortho", "forward"):
        raise ValueError(f"norm must be backward, ortho or forward; got {norm!r}")
    if norm == "ortho":
        return float(1 / np.sqrt(n))
    return 1 / n if inverse == (norm != "forward") else 1.0


def _length(x: Node, axis: int, n: int | None) -> int:
    size = x.type.shape[axis] if n is None else n
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ShapeError(
            f"a Fourier transform needs a known length of at least 1, axis {axis} of "
            f"`{describe(x)}` {x.type} has {size}"
        )
    return int(size)


def _fitted(x: Node, n: int, axis: int = -1) -> Node:
    """Return x cut, or padded with zeros, to n elements along an axis (counted from the end)."""
    have = x.type.shape[axis]
    if have == n:
        return x
    if not isinstance(have, int):
        raise ShapeError(f"axis {axis} of `{describe(x)}` {x.type} must have a known length")
    if have > n:
        return o.slice_axis(x, axis, 0, n)
    width = [(0, 0)] * x.ndim
    width[axis] = (0, n - have)
    return o.pad(x, tuple(width))


def _pairs(x: Any) -> Node:
    node = as_float(x)
    if node.ndim < 2 or node.type.shape[-1] != 2:
        raise ShapeError(
            f"pairs (real, imaginary) on a last axis of length 2 are needed, `{describe(node)}` is "
            f"{node.type}; use rfft_pair for real arrays"
        )
    return node


def taken_apart(x: Any) -> tuple[Node, Node]:
    node = _pairs(x)
    return node[..., 0], node[..., 1]


def joined(x: Complex) -> Node:
    re, im = x
    return o.stack([re, o.zeros_like(re) if im is None else im], -1)


# -- one axis of many ----------------------------------------------------------------------------
def along(pairs: Node, n: int | None, axis: int, norm: str | None, inverse: bool) -> Node:
    """Return the transform of n complex numbers (pairs on the last axis) along an axis."""
    axis = normal_axis(axis, pairs.ndim - 1)
    size = _length(pairs, axis, n)
    factor = _scale(norm, size, inverse)
    moved = _fitted(o.moveaxis(pairs, axis, -2), size, -2)
    moved = moved if factor == 1 else moved * factor  # a part of the first pass
    return o.moveaxis(o.dft(moved, 1 if inverse else -1), -2, axis)


def real_to_pairs(x: Node, n: int | None, axis: int, norm: str | None) -> Node:
    """Return the first n // 2 + 1 results of the transform of a real array, as pairs."""
    axis = normal_axis(axis, x.ndim)
    size = _length(x, axis, n)
    factor = _scale(norm, size, False)
    moved = _fitted(o.moveaxis(x, axis, -1), size)
    value = o.rdft(moved if factor == 1 else moved * factor)
    return o.moveaxis(value, -2, axis)


def pairs_to_real(x: Node, n: int | None, axis: int, norm: str | None) -> Node:
    """Return the real array of length n whose `real_to_pairs` is x; n is 2 (m - 1) by default."""
    axis = normal_axis(axis, x.ndim - 1)
    size = 2 * (_length(x, axis, None) - 1) if n is None else _length(x, axis, n)
    if size < 1:
        raise ShapeError("irfft of one result needs the length n of the real array")
    factor = _scale(norm, size, True)
    moved = _fitted(o.moveaxis(x, axis, -2), size // 2 + 1, -2)
    value = o.irdft(moved if factor == 1 else moved * factor, size)
    return o.moveaxis(value, -1, axis)


def real_along(x: Node, n: int | None, axis: int, norm: str | None) -> Complex:
    """Return the parts of `real_to_pairs`."""
    return taken_apart(real_to_pairs(x, n, axis, norm))


def to_real_along(x: Complex, n: int | None, axis: int, norm: str | None) -> Node:
    """Return the real array of length n whose `real_along` is x."""
    return pairs_to_real(joined(x), n, axis, norm)


# -- public functions ----------------------------------------------------------------------------
@function
def fft_pair(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Node:
    """Return the Fourier transform along `axis` of complex numbers as pairs on the last axis.

    The result k is the sum over j of x[j] exp(-2 pi i j k / n). `axis` counts the axes without that
    of the pairs; `n` cuts or pads; `norm` is "backward" (1/n on the inverse), "ortho", "forward".
    """
    return along(_pairs(x), n, axis, norm, False)


@function
def ifft_pair(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Node:
    """Return the inverse Fourier transform of pairs along `axis`; see `fft_pair`."""
    return along(_pairs(x), n, axis, norm, True)


@function
def rfft_pair(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Node:
    """Return the first n // 2 + 1 results of the Fourier transform of a real array, as pairs."""
    return real_to_pairs(as_float(x), n, axis, norm)


@function
def irfft_pair(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Node:
    """Return the real array of length n whose `rfft_pair` is x; n is 2 (m - 1) by default."""
    return pairs_to_real(_pairs(x), n, axis, norm)


def _over(x: Any, s: Any, axes: Any, norm: Any, f: Any, default: int | None = None) -> Node:
    """Apply a transform of one axis to several, the last one first."""
    node = as_node(x)
    rank = node.ndim - 1
    if axes is None:
        count = rank if s is None else len(s)
        axes = range(-(default or count), 0)
    wanted = [normal_axis(a, rank) for a in axes]
    sizes = [None] * len(wanted) if s is None else list(s)
    for axis, n in reversed(list(zip(wanted, sizes, strict=True))):
        node = f(node, n, axis, norm)
    return node


@function
def fftn_pair(
    x: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Any = None
) -> Node:
    """Return the Fourier transform of pairs along `axes` (all); `s` are the lengths."""
    return _over(x, s, axes, norm, fft_pair)


@function
def ifftn_pair(
    x: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Any = None
) -> Node:
    """Return the inverse Fourier transform of pairs along `axes` (all)."""
    return _over(x, s, axes, norm, ifft_pair)


@function
def fft2_pair(x: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: Any = None) -> Node:
    """Return the Fourier transform of pairs along two axes."""
    return _over(x, s, axes, norm, fft_pair)


@function
def ifft2_pair(x: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: Any = None) -> Node:
    """Return the inverse Fourier transform of pairs along two axes."""
    return _over(x, s, axes, norm, ifft_pair)


@function
def rfftn_pair(
    x: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Any = None
) -> Node:
    """Return the Fourier transform of a real array along `axes`, half of the last one, as pairs."""
    node = as_float(x)
    count = node.ndim if s is None else len(s)
    wanted = [normal_axis(a, node.ndim) for a in (range(-count, 0) if axes is None else axes)]
    sizes = [None] * len(wanted) if s is None else list(s)
    first = rfft_pair(node, sizes[-1], wanted[-1], norm)
    if len(wanted) == 1:
        return first
    return _over(first, None if s is None else sizes[:-1], wanted[:-1], norm, fft_pair)


@function
def irfftn_pair(
    x: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: Any = None
) -> Node:
    """Return the real array whose `rfftn_pair` along `axes` is x; `s` are its lengths."""
    node = as_node(x)
    rank = node.ndim - 1
    count = rank if s is None else len(s)
    wanted = [normal_axis(a, rank) for a in (range(-count, 0) if axes is None else axes)]
    sizes = [None] * len(wanted) if s is None else list(s)
    if len(wanted) > 1:
        node = _over(node, None if s is None else sizes[:-1], wanted[:-1], norm, ifft_pair)
    return irfft_pair(node, sizes[-1], wanted[-1], norm)


@function
def fftfreq(n: int, d: Any = 1.0) -> Node:
    """Return the frequencies of the results of a transform of n samples, d apart."""
    return o.div(np.fft.fftfreq(n), d)


@function
def rfftfreq(n: int, d: Any = 1.0) -> Node:
    """Return the frequencies of the results of `rfft_pair` of n samples, d apart."""
    return o.div(np.fft.rfftfreq(n), d)


def _middle(x: Any, axes: Any, back: bool) -> Node:
    node = as_node(x)
    wanted = range(node.ndim) if axes is None else ([axes] if isinstance(axes, int) else axes)
    for a in wanted:
        axis = normal_axis(a, node.ndim)
        n = node.type.shape[axis]
        node = o.roll(node, -(n // 2) if back else n // 2, axis)
    return node


@function
def fftshift(x: Any, axes: Any = None) -> Node:
    """Return `x` with frequency 0 moved to the middle of `axes` (all; of pairs name them)."""
    return _middle(x, axes, False)


@function
def ifftshift(x: Any, axes: Any = None) -> Node:
    """Return `x` with the middle of `axes` moved to the front: the inverse of `fftshift`."""
    return _middle(x, axes, True)
