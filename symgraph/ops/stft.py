"""Short-time Fourier transforms: overlapping frames of a signal, and signals from frames.

Frames are cut as blocks of one hop each, so that both directions are slices, sums and transforms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.dtype import COMPLEX64, COMPLEX128, FLOAT64
from symgraph.core.errors import ShapeError
from symgraph.core.node import CONSTANT, Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.dims.dim import maximum
from symgraph.ops.base import Size, cast_to
from symgraph.ops.fourier import along, real_along, to_real_along
from symgraph.ops.rows import as_float, as_inexact

PAD_MODES = {"replicate": "edge", "circular": "wrap"}
LEAST = 1e-11  # of the summed squares of the windows, below which a signal cannot be recovered


def _frames(x: Node, width: int, hop: int) -> Node:
    """Return all frames (..., frames, width) that begin every `hop` elements."""
    n = x.type.shape[-1]
    if isinstance(n, int) and n < width:
        raise ShapeError(
            f"stft: frames of {width} elements do not fit into the {n} of `{describe(x)}` {x.type}"
        )
    count, blocks = (n - width) // hop + 1, -(-width // hop)
    lead = x.type.shape[:-1]
    starts, steps = (0,) * x.ndim, (1,) * x.ndim
    room = o.place(x, starts, steps, (*lead, n + blocks * hop))
    whole = o.slice_axis(room, -1, 0, (count + blocks - 1) * hop)
    table = o.reshape(whole, (*lead, count + blocks - 1, hop))
    parts = [o.slice_axis(table, -2, k, count) for k in range(blocks)]
    joined = parts[0] if blocks == 1 else o.concatenate(parts, -1)
    return o.slice_axis(joined, -1, 0, width)


def _overlapped(frames: Node, hop: int) -> Node:
    """Return the sum of frames (..., frames, width) that begin every `hop` elements."""
    *lead, count, width = frames.type.shape
    blocks = -(-int(width) // hop)
    steps = (1,) * frames.ndim
    zeros = (0,) * frames.ndim
    wide = o.place(frames, zeros, steps, (*lead, count, blocks * hop))
    total: Any = None
    for k in range(blocks):
        part = o.slice_axis(wide, -1, k * hop, hop)
        start = (*zeros[:-2], k, 0)
        term = o.place(part, start, steps, (*lead, count + blocks - 1, hop))
        total = term if total is None else total + term
    flat = o.reshape(total, (*lead, (count + blocks - 1) * hop))
    return o.slice_axis(flat, -1, 0, (count - 1) * hop + width)


def _window(window: Any, width: int, n_fft: int, like: Node) -> Node:
    """Return the window in the middle of n_fft elements."""
    w = o.ones((width,), like.dtype) if window is None else as_inexact(window)
    if w.type.shape != (width,) or not 0 < width <= n_fft:
        raise ShapeError(
            f"the window `{describe(w)}` is {w.type}; win_length says {width}, n_fft {n_fft}"
        )
    before = (n_fft - width) // 2
    padded = o.pad(cast_to(w, like.dtype), (before, n_fft - width - before))
    return as_node(padded)


def _lengths(n_fft: int, hop: int | None, width: int | None) -> tuple[int, int]:
    hop = n_fft // 4 if hop is None else int(hop)
    if n_fft < 1 or hop < 1:
        raise ValueError(f"n_fft and hop_length must be at least 1, got {n_fft} and {hop}")
    return hop, n_fft if width is None else int(width)


@function
def stft(
    x: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
) -> Node:
    """Return the Fourier transforms of overlapping frames of signals (..., n), complex.

    The result is (..., frequencies, frames). Frame t is the n_fft elements from t * hop_length on
    (n_fft // 4 by default), times `window` (win_length numbers, by default n_fft ones, in the
    middle of the frame). With `center` the signal is padded by n_fft // 2 elements on both sides,
    as `sg.pad` with `pad_mode` does. Real signals give the first n_fft // 2 + 1 frequencies unless
    `onesided` is False. `normalized` divides by sqrt(n_fft). Raises `ShapeError`, `ValueError`.
    """
    node = as_node(x)
    node = node if node.dtype.is_complex else as_float(node)
    if node.ndim < 1:
        raise ShapeError(f"stft needs signals (..., n), `{describe(node)}` is {node.type}")
    hop, width = _lengths(n_fft, hop_length, win_length)
    if window is not None and as_node(window).dtype.is_complex:
        node = cast_to(node, COMPLEX128 if node.dtype in (FLOAT64, COMPLEX128) else COMPLEX64)
    half = not node.dtype.is_complex if onesided is None else onesided
    if half and node.dtype.is_complex:
        raise ValueError("stft of complex numbers has no half: onesided must be False")
    if center:
        around = [(0, 0)] * (node.ndim - 1) + [(n_fft // 2, n_fft // 2)]
        node = o.pad(node, around, mode=PAD_MODES.get(pad_mode, pad_mode))
    norm = "ortho" if normalized else None
    frames = _frames(node, n_fft, hop) * _window(window, width, n_fft, node)
    if half:
        re, im = real_along(frames, n_fft, frames.ndim - 1, norm)
        found = o.complex(re, o.zeros((), re.dtype) if im is None else im)
    else:
        pairs = o.stack([o.real(frames), o.imag(frames)], -1)
        found = o.view_as_complex(along(pairs, n_fft, frames.ndim - 1, norm, False))
    return o.swapaxes(found, -1, -2)


@function
def istft(
    z: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Node:
    """Return the signals (..., length) whose `stft` is nearest to z (..., frequencies, frames).

    Frames are transformed back, multiplied by the window, added up, and divided by the sum of the
    squared windows; with `center` what `stft` put around is cut off. `length` cuts, or adds zeros
    at the end. `onesided` is by default whether there are n_fft // 2 + 1 frequencies. Raises
    `ShapeError`, and `ValueError` where a constant window leaves gaps between frames.
    """
    node = as_node(z)
    hop, width = _lengths(n_fft, hop_length, win_length)
    rows = node.type.shape[-2] if node.ndim >= 2 else 0
    half = rows != n_fft if onesided is None else onesided
    if not node.dtype.is_complex or rows != (n_fft // 2 + 1 if half else n_fft):
        raise ShapeError(
            f"istft needs complex numbers (..., {n_fft // 2 + 1 if half else n_fft}, frames), "
            f"`{describe(node)}` is {node.type}"
        )
    if half and return_complex:
        raise ValueError("a onesided transform is of a real signal: return_complex needs False")
    norm = "ortho" if normalized else None
    turned = o.swapaxes(node, -1, -2)
    last = turned.ndim - 1
    if half:
        frames = [to_real_along((o.real(turned), o.imag(turned)), n_fft, last, norm)]
    else:
        pairs = along(o.view_as_real(turned), n_fft, last, norm, True)
        frames = [pairs[..., k] for k in range(2 if return_complex else 1)]
    w = _window(window, width, n_fft, frames[0])
    count = node.type.shape[-1]
    squares = o.broadcast_to(o.square(w), (count, n_fft))
    start, stop = _kept(count, n_fft, hop, center, length)
    weight = o.slice_axis(_overlapped(squares, hop), -1, start, stop - start)
    _refuse_gaps(window, count, width, n_fft, hop, start, stop)
    found = []
    for f in frames:
        y = o.slice_axis(_overlapped(f * w, hop), -1, start, stop - start) / weight
        found.append(y if length is None else _extended(y, length))
    return found[0] if len(found) == 1 else o.complex(found[0], found[1])


def _kept(count: Size, n_fft: int, hop: int, center: bool, length: int | None) -> tuple[Any, Any]:
    """Return where the signal begins and ends in the sum of the frames."""
    total, start = (count - 1) * hop + n_fft, n_fft // 2 if center else 0
    if length is not None:
        stop = start + length
        return start, min(stop, total) if isinstance(total, int) else stop
    return start, maximum(total - n_fft // 2, start) if center else total


def _extended(y: Node, length: int) -> Node:
    """Return signals with zeros at the end, up to `length`."""
    if y.type.shape[-1] == length:
        return y
    shape = (*y.type.shape[:-1], length)
    return o.place(y, (0,) * y.ndim, (1,) * y.ndim, shape)


def _refuse_gaps(
    window: Any, count: Size, width: int, n_fft: int, hop: int, start: Any, stop: Any
) -> None:
    """Raise ValueError where known windows do not cover some element of the signal."""
    if isinstance(window, Node) and window.op is not CONSTANT:
        return
    if not all(isinstance(n, int) for n in (count, start, stop)):
        return
    w = np.ones(width) if window is None else np.asarray(getattr(window, "data", window), float)
    whole = np.zeros((int(count) - 1) * hop + n_fft)
    before = (n_fft - width) // 2
    for k in range(int(count)):
        whole[k * hop + before :][:width] += w**2
    kept = whole[start:stop]
    if kept.size and kept.min() < LEAST:
        raise ValueError(
            f"istft: element {int(kept.argmin())} of the signal is in no frame: the windows of "
            f"{width} elements every {hop} leave gaps, or are zero there"
        )
