"""Discrete Fourier transforms on pairs: complex arrays are real ones with a last axis (real, imag).

A length is split into factors of at most DIRECT: each stage is a product with a small table of
cosines and sines, followed by a rotation (Cooley and Tukey). A large prime factor becomes a
convolution with a chirp of a length that splits well (Bluestein). All is made of products and
views, so derivatives, batching and fusion are theirs. Lengths must be known.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, normal_axis, o
from symgraph.ops.rows import as_float

DIRECT = 32  # longest transform by one product with a table
Complex = tuple[Node, Node | None]  # the imaginary part may be absent: zero


# -- one axis, the last one --------------------------------------------------------------------
def _turns(numerator: np.ndarray, n: int, sign: int) -> np.ndarray:
    """Return exp(sign 2 pi i numerator / n), exact where the angle is a multiple of pi / 4."""
    k = numerator % n
    eighth, rest = np.divmod(8 * k, n)  # the angle is (eighth + rest / n) pi / 4
    angle = rest / n * (np.pi / 4)
    c, s = np.cos(angle), np.sin(angle)
    h = np.sqrt(0.5)
    corner = np.array([1, h + h * 1j, 1j, -h + h * 1j, -1, -h - h * 1j, -1j, h - h * 1j])
    value = corner[eighth] * (c + 1j * s)
    return np.asarray(value if sign > 0 else value.conj())


def _parts(table: np.ndarray, like: Node) -> Complex:
    """Return a constant of complex numbers in the dtype of `like`."""
    re, im = (np.ascontiguousarray(v).astype(like.dtype.numpy) for v in (table.real, table.imag))
    return as_node(re), as_node(im)


def _table(numerator: np.ndarray, n: int, sign: int, like: Node) -> Complex:
    return _parts(_turns(numerator, n, sign), like)


def _product(left: Complex, right: Complex, multiply: Any) -> Complex:
    """Return the complex product by any bilinear `multiply`."""
    (a, b), (c, d) = left, right
    if b is None:
        return multiply(a, c), multiply(a, d)
    if d is None:
        return multiply(a, c), multiply(b, c)
    return multiply(a, c) - multiply(b, d), multiply(a, d) + multiply(b, c)


def _times(x: Complex, table: np.ndarray) -> Complex:
    return _product(x, _parts(table, x[0]), lambda a, b: a * b)


def _each(x: Complex, f: Any) -> Complex:
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
    if n <= DIRECT:
        k = np.arange(n)
        return _product(x, _table(np.outer(k, k), n, sign, x[0]), o.matmul)
    first = split(n)
    if first == 1:
        return _by_chirp(x, n, sign)
    second = n // first
    lead = x[0].type.shape[:-1]
    table = _each(x, lambda v: o.reshape(v, (*lead, first, second)))
    # over the slow index by a product from the left, a rotation, then over the fast index
    k = np.arange(first)
    turns = _table(np.outer(k, k), first, sign, x[0])
    table = _product(table, turns, lambda v, w: o.matmul(w, v))
    table = _times(table, _turns(np.outer(k, np.arange(second)), n, sign))
    table = transform(table, second, sign)
    return _each(table, lambda v: o.reshape(o.matrix_transpose(v), (*lead, n)))


def _by_chirp(x: Complex, n: int, sign: int) -> Complex:
    """Bluestein: j k = (j^2 + k^2 - (k - j)^2) / 2 makes the sum a convolution."""
    size = 1 << (2 * n - 2).bit_length()
    k = np.arange(n)
    chirp = _turns(k * k, 2 * n, sign)
    kernel = np.zeros(size, complex)
    kernel[:n] = chirp.conj()
    kernel[size - n + 1 :] = chirp[1:][::-1].conj()
    lead = [(0, 0)] * (x[0].ndim - 1)
    y = _each(_times(x, chirp), lambda v: o.pad(v, (*lead, (0, size - n))))
    y = _times(transform(y, size, -1), np.fft.fft(kernel) / size)
    y = _each(transform(y, size, 1), lambda v: o.slice_axis(v, -1, 0, n))
    return _times(y, chirp)


def _real_transform(x: Node, n: int) -> Complex:
    """Return the first n // 2 + 1 sums of a real array; an even length by one of half of it."""
    if n % 2 or n <= DIRECT:
        return _each(transform((x, None), n, -1), lambda v: o.slice_axis(v, -1, 0, n // 2 + 1))
    half = n // 2
    # even elements as real, odd ones as imaginary parts: their transforms come apart by symmetry
    re, im = transform((x[..., 0::2], x[..., 1::2]), half, -1)
    assert im is not None
    wrapped = [o.concatenate([v, o.slice_axis(v, -1, 0, 1)], -1) for v in (re, im)]
    turned = [o.flip(v, -1) for v in wrapped]
    even = (0.5 * (wrapped[0] + turned[0]), 0.5 * (wrapped[1] - turned[1]))
    odd = (0.5 * (wrapped[1] + turned[1]), -0.5 * (wrapped[0] - turned[0]))
    rotated = _times(odd, _turns(np.arange(half + 1), n, -1))
    assert rotated[1] is not None
    return even[0] + rotated[0], even[1] + rotated[1]


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


def _fitted(x: Node, n: int) -> Node:
    """Return x cut, or padded with zeros, to n elements on its last axis."""
    have = x.type.shape[-1]
    if have == n:
        return x
    if not isinstance(have, int):
        raise ShapeError(f"the last axis of `{describe(x)}` {x.type} must have a known length")
    if have > n:
        return o.slice_axis(x, -1, 0, n)
    return o.pad(x, (*[(0, 0)] * (x.ndim - 1), (0, n - have)))


def _taken_apart(x: Any) -> tuple[Node, Node]:
    node = as_float(x)
    if node.ndim < 2 or node.type.shape[-1] != 2:
        raise ShapeError(
            f"pairs (real, imaginary) on a last axis of length 2 are needed, `{describe(node)}` is "
            f"{node.type}; use rfft_pair for real arrays"
        )
    return node[..., 0], node[..., 1]


def _joined(x: Complex) -> Node:
    re, im = x
    return o.stack([re, o.zeros_like(re) if im is None else im], -1)


def _along(x: Complex, axis: int, f: Any) -> Complex:
    """Apply a function of the last axis to another one."""
    moved = f(_each(x, lambda v: o.moveaxis(v, axis, -1)))
    return _each(moved, lambda v: o.moveaxis(v, -1, axis))


# -- public functions --------------------------------------------------------------------------
def _complex_fft(x: Any, n: int | None, axis: int, norm: str | None, inverse: bool) -> Node:
    pair = _taken_apart(x)
    axis = normal_axis(axis, pair[0].ndim)
    size = _length(pair[0], axis, n)
    factor = _scale(norm, size, inverse)

    def last(v: Complex) -> Complex:
        value = transform(_each(v, lambda a: _fitted(a, size)), size, 1 if inverse else -1)
        return value if factor == 1 else _each(value, lambda a: a * factor)

    return _joined(_along(pair, axis, last))


@function
def fft_pair(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Node:
    """Return the Fourier transform along `axis` of complex numbers as pairs on the last axis.

    The result k is the sum over j of x[j] exp(-2 pi i j k / n). `axis` counts the axes without that
    of the pairs; `n` cuts or pads; `norm` is "backward" (1/n on the inverse), "ortho", "forward".
    """
    return _complex_fft(x, n, axis, norm, False)


@function
def ifft_pair(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Node:
    """Return the inverse Fourier transform of pairs along `axis`; see `fft_pair`."""
    return _complex_fft(x, n, axis, norm, True)


@function
def rfft_pair(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Node:
    """Return the first n // 2 + 1 results of the Fourier transform of a real array, as pairs."""
    node = as_float(x)
    axis = normal_axis(axis, node.ndim)
    size = _length(node, axis, n)
    factor = _scale(norm, size, False)
    moved = _fitted(o.moveaxis(node, axis, -1), size)
    value = _real_transform(moved if factor == 1 else moved * factor, size)
    return _joined(_each(value, lambda v: o.moveaxis(v, -1, axis)))


@function
def irfft_pair(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Node:
    """Return the real array of length n whose `rfft_pair` is x; n is 2 (m - 1) by default."""
    pair = _taken_apart(x)
    axis = normal_axis(axis, pair[0].ndim)
    size = 2 * (_length(pair[0], axis, None) - 1) if n is None else _length(pair[0], axis, n)
    if size < 1:
        raise ShapeError("irfft_pair of one result needs the length n of the real array")
    factor = _scale(norm, size, True)
    re, im = (_fitted(o.moveaxis(v, axis, -1), size // 2 + 1) for v in pair)
    mirrored = (size + 1) // 2 - 1  # the other results are the conjugates
    more_re, more_im = (o.flip(o.slice_axis(v, -1, 1, mirrored), -1) for v in (re, im))
    whole = (o.concatenate([re, more_re], -1), o.concatenate([im, -more_im], -1))
    value = transform(whole, size, 1)[0] * factor
    return o.moveaxis(value, -1, axis)


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
