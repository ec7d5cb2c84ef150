"""Discrete Fourier transforms of complex and real arrays, as numpy.fft.

Arguments as there: `n` (or `s`, one length per axis) cuts or pads with zeros, `norm` is "backward"
(the inverse divides by n), "ortho" or "forward". Lengths must be known when the graph is made.
Results are complex64 for float32 and complex128 for float64. All is made of products and views, so
derivatives of any order, batching and compilation into the one native function are theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import symgraph.ops  # noqa: F401 - fills the namespace
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import normal_axis, o
from symgraph.ops.base import cast_to, floatx
from symgraph.ops.fourier import along, pairs_to_real, real_to_pairs

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "irfft", "irfft2", "irfftn", "istft", "rfft", "rfft2", "rfftfreq", "rfftn", "stft",
]  # fmt: skip

fftfreq, rfftfreq, fftshift, ifftshift = o.fftfreq, o.rfftfreq, o.fftshift, o.ifftshift
stft, istft = o.stft, o.istft
Norm = str | None
Lengths = Sequence[int] | None
Axes = Sequence[int] | None


# -- one axis ------------------------------------------------------------------------------------
def fft(x: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Node:
    """Return the sums over j of x[j] exp(-2 pi i j k / n) along `axis`.

    >>> x = sg.tensor("x", (4,), "float64")
    >>> sg.fft.fft(x).eval({x: np.array([1.0, 0.0, 0.0, 0.0])})
    array([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])
    """
    return o.view_as_complex(along(_pairs(x), n, axis, norm, False))


def ifft(x: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Node:
    """Return the inverse transform along `axis`."""
    return o.view_as_complex(along(_pairs(x), n, axis, norm, True))


def rfft(x: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Node:
    """Return the first n // 2 + 1 results of the transform of a real array; others mirror them."""
    return o.view_as_complex(real_to_pairs(_real(x, "rfft"), n, axis, norm))


def irfft(x: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Node:
    """Return the real array of length n (2 (m - 1) by default) whose `rfft` is x."""
    return pairs_to_real(_pairs(x), n, axis, norm)


def hfft(x: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Node:
    """Return the (real) transform of an array whose second half is the conjugate of its first."""
    return irfft(o.conj(as_node(x)), n, axis, _exchanged(norm))


def ihfft(x: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Node:
    """Return the first half of the inverse transform of a real array: the inverse of `hfft`."""
    return o.conj(rfft(x, n, axis, _exchanged(norm)))


# -- several axes --------------------------------------------------------------------------------
def fftn(x: Any, s: Lengths = None, axes: Axes = None, norm: Norm = None) -> Node:
    """Return the transform along `axes`: the last len(s), or all."""
    return _over(x, s, axes, norm, fft)


def ifftn(x: Any, s: Lengths = None, axes: Axes = None, norm: Norm = None) -> Node:
    """Return the inverse transform along `axes`: the last len(s), or all."""
    return _over(x, s, axes, norm, ifft)


def fft2(x: Any, s: Lengths = None, axes: Axes = (-2, -1), norm: Norm = None) -> Node:
    """Return the transform along two axes."""
    return _over(x, s, axes, norm, fft)


def ifft2(x: Any, s: Lengths = None, axes: Axes = (-2, -1), norm: Norm = None) -> Node:
    """Return the inverse transform along two axes."""
    return _over(x, s, axes, norm, ifft)


def rfftn(x: Any, s: Lengths = None, axes: Axes = None, norm: Norm = None) -> Node:
    """Return the transform of a real array: `rfft` along the last of `axes`, then the others."""
    node = _real(x, "rfftn")
    places, lengths = _places(node, s, axes)
    first = rfft(node, lengths[-1], places[-1], norm)
    return _over(first, lengths[:-1], places[:-1], norm, fft)


def irfftn(x: Any, s: Lengths = None, axes: Axes = None, norm: Norm = None) -> Node:
    """Return the real array whose `rfftn` along `axes` is x; s are its lengths."""
    node = as_node(x)
    places, lengths = _places(node, s, axes)
    node = _over(node, lengths[:-1], places[:-1], norm, ifft)
    return irfft(node, lengths[-1], places[-1], norm)


def rfft2(x: Any, s: Lengths = None, axes: Axes = (-2, -1), norm: Norm = None) -> Node:
    """Return `rfftn` along two axes."""
    return rfftn(x, s, axes, norm)


def irfft2(x: Any, s: Lengths = None, axes: Axes = (-2, -1), norm: Norm = None) -> Node:
    """Return `irfftn` along two axes."""
    return irfftn(x, s, axes, norm)


# -- arguments -----------------------------------------------------------------------------------
def _pairs(x: Any) -> Node:
    node = as_node(x)
    if node.dtype.is_complex:
        return o.view_as_real(node)
    part = _as_part(node)
    return o.view_as_real(o.complex(part, o.zeros((), part.dtype)))


def _as_part(x: Node) -> Node:
    """Return a real array in the float type of the parts of the result."""
    dtype = x.dtype if x.dtype.is_float else floatx()
    return cast_to(x, dtype.as_complex.part)


def _real(x: Any, name: str) -> Node:
    node = as_node(x)
    if node.dtype.is_complex:
        raise DTypeError(
            f"{name} needs a real array, `{describe(node)}` is {node.type}, made at {node.source}\n"
            f"  mend:   sg.fft.{name[1:]}(z), or the real part, sg.real(z)"
        )
    return _as_part(node)


def _exchanged(norm: Norm) -> Norm:
    return {None: "forward", "backward": "forward", "forward": "backward"}.get(norm, norm)


def _places(x: Node, s: Any, axes: Any) -> tuple[list[int], list[int | None]]:
    """Return the axes of a transform, not negative, and the length of each (None: its own)."""
    if axes is None:
        axes = range(-(x.ndim if s is None else len(s)), 0)
    places = [normal_axis(a, x.ndim) for a in axes]
    lengths = [None] * len(places) if s is None else list(s)
    if len(lengths) != len(places):
        raise ShapeError(f"{len(lengths)} lengths for {len(places)} axes of a Fourier transform")
    return places, lengths


def _over(x: Any, s: Any, axes: Any, norm: Norm, f: Callable[..., Node]) -> Node:
    """Apply a transform of one axis to several, the last one first."""
    node = as_node(x)
    places, lengths = _places(node, s, axes)
    for axis, n in reversed(list(zip(places, lengths, strict=True))):
        node = f(node, n, axis, norm)
    return node
