"""Fourier transforms, complex numbers as pairs; windows of signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph as sg
from symgraph.testing.torch_map.elementwise import pair_of
from symgraph.testing.torch_map.entry import COMPLEX, Entry, Row

SWAPPED = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


def pair(x: Any) -> Any:
    """Return real numbers as pairs."""
    return sg.stack([x, sg.zeros_like(x)], -1)


def conjugate(x: Any) -> Any:
    return x * np.array([1.0, -1.0], x.dtype.numpy)


def several(x: Any, s: Any, dim: Any) -> tuple[Any, Any]:
    """Return lengths and axes as lists; without axes, as many of the last ones as lengths."""
    s = [s] if isinstance(s, int) else s
    if dim is None:
        dim = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    dims = [dim] if isinstance(dim, int) else list(dim)
    return s, [d % x.ndim for d in dims]


def single(f: Callable[..., Any], enter: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x, n=None, dim=-1, norm=None: f(enter(x), n, dim % x.ndim, norm)


def multiple(f: Callable[..., Any], enter: Callable[[Any], Any], last: Any) -> Callable[..., Any]:
    def adapter(x: Any, s: Any = None, dim: Any = last, norm: Any = None) -> Any:
        lengths, axes = several(x, s, dim)
        return f(enter(x), lengths, axes, norm)

    return adapter


def hfft(x: Any, n: Any, axis: int, norm: Any) -> Any:
    return sg.irfft_pair(conjugate(x), n, axis, SWAPPED[norm])


def ihfft(x: Any, n: Any, axis: int, norm: Any) -> Any:
    return conjugate(sg.rfft_pair(x, n, axis, SWAPPED[norm]))


def hfftn(x: Any, s: Any, axes: Any, norm: Any) -> Any:
    if len(axes) > 1:
        x = sg.fftn_pair(x, None if s is None else s[:-1], axes[:-1], norm)
    return hfft(x, None if s is None else s[-1], axes[-1], norm)


def ihfftn(x: Any, s: Any, axes: Any, norm: Any) -> Any:
    y = ihfft(x, None if s is None else s[-1], axes[-1], norm)
    if len(axes) == 1:
        return y
    return sg.ifftn_pair(y, None if s is None else s[:-1], axes[:-1], norm)


def stft(
    x: Any, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Any = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Any:  # fmt: skip
    """Return the transforms of overlapping frames as pairs, (..., frequencies, frames, 2)."""
    return sg.view_as_real(sg.stft(
        x, n_fft, hop_length, win_length, window, center, pad_mode, normalized, onesided
    ))  # fmt: skip


def as_pair(result: Any) -> Any:
    return pair_of(result) if result.is_complex() else result


def same(x: Any) -> Any:
    return x


KINDS: dict[str, tuple[Any, Any, Any, bool]] = {
    "fft": (sg.fft_pair, sg.fftn_pair, pair, True),
    "ifft": (sg.ifft_pair, sg.ifftn_pair, pair, True),
    "rfft": (sg.rfft_pair, sg.rfftn_pair, same, True),
    "irfft": (sg.irfft_pair, sg.irfftn_pair, pair, False),
    "hfft": (hfft, hfftn, pair, False),
    "ihfft": (ihfft, ihfftn, same, True),
}


def transforms() -> dict[str, Row]:
    """Return the rows of the six transforms, of one axis, two, and any."""
    rows: dict[str, Row] = {}
    for name, (one, many, enter, to_complex) in KINDS.items():
        theirs = pair_of if to_complex else None
        rows[f"fft.{name}"] = Entry(single(one, enter), theirs)
        rows[f"fft.{name}2"] = Entry(multiple(many, enter, (-2, -1)), theirs)
        rows[f"fft.{name}n"] = Entry(multiple(many, enter, None), theirs)
    return rows


def window(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the adapter of a window: f of the angles 2 pi k / n, n = m - 1 if symmetric."""

    def adapter(m: int, sym: bool = True, dtype: str = "float32", **options: Any) -> Any:
        if m <= 1:
            return sg.ones((m,), dtype)
        k = sg.arange(m, dtype=dtype)
        return f(k, m - 1 if sym else m, **options)

    return adapter


def cosines(k: Any, n: int, a: Any) -> Any:
    """Return a[0] - a[1] cos(t) + a[2] cos(2 t) - ..., t = 2 pi k / n."""
    return sum((-1) ** i * c * sg.cos(2 * np.pi * i / n * k) for i, c in enumerate(a))


def cosine(*a: float) -> Callable[..., Any]:
    return window(lambda k, n: cosines(k, n, a))


def kaiser(k: Any, n: int, beta: float) -> Any:
    return sg.i0(beta * sg.sqrt(sg.maximum(1 - sg.square(2 * k / n - 1), 0))) / sg.i0(
        sg.as_tensor(beta, k.dtype))  # fmt: skip


WINDOWS: dict[str, Row] = {
    "hamming": cosine(0.54, 0.46),
    "hann": cosine(0.5, 0.5),
    "blackman": cosine(0.42, 0.5, 0.08),
    "nuttall": cosine(0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "general_cosine": window(cosines),
    "general_hamming": window(lambda k, n, alpha=0.54: cosines(k, n, (alpha, 1 - alpha))),
    "bartlett": window(lambda k, n: 1 - sg.abs(2 * k / n - 1)),
    "cosine": window(lambda k, n: sg.sin(np.pi / (n + 1) * (k + 0.5))),
    "exponential": window(lambda k, n, tau=1.0: sg.exp(-sg.abs(k - n / 2) / tau)),
    "gaussian": window(lambda k, n, std=1.0: sg.exp(-sg.square((k - n / 2) / std) / 2)),
    "kaiser": window(lambda k, n, beta=12.0: kaiser(k, n, beta)),
}

TRANSFORMS: dict[str, Row] = {
    **transforms(),
    "fft.fftshift": lambda x, dim=None: sg.fftshift(x, dim),
    "fft.ifftshift": lambda x, dim=None: sg.ifftshift(x, dim),
    "stft": Entry(stft, theirs=as_pair),
    "istft": COMPLEX,
    **{f"signal.windows.{name}": row for name, row in WINDOWS.items()},
}
