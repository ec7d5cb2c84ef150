"""Fourier transforms, of frames too; windows of signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph as sg
from symgraph.testing.torch_map.entry import Convention, Entry, Row, need

fft: Any = sg.fft


def several(x: Any, s: Any, dim: Any) -> tuple[Any, Any]:
    """Return lengths and axes as lists; without axes, as many of the last ones as lengths."""
    s = [s] if isinstance(s, int) else s
    if dim is None:
        dim = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    dims = [dim] if isinstance(dim, int) else list(dim)
    return s, [d % x.ndim for d in dims]


def single(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, n=None, dim=-1, norm=None: f(x, n, dim, norm)


def multiple(f: Callable[..., Any], last: Any) -> Callable[..., Any]:
    def adapter(x: Any, s: Any = None, dim: Any = last, norm: Any = None) -> Any:
        lengths, axes = several(x, s, dim)
        return f(x, lengths, axes, norm)

    return adapter


def hfftn(x: Any, s: Any, axes: Any, norm: Any) -> Any:
    if len(axes) > 1:
        x = fft.fftn(x, None if s is None else s[:-1], axes[:-1], norm)
    return fft.hfft(x, None if s is None else s[-1], axes[-1], norm)


def ihfftn(x: Any, s: Any, axes: Any, norm: Any) -> Any:
    y = fft.ihfft(x, None if s is None else s[-1], axes[-1], norm)
    if len(axes) == 1:
        return y
    return fft.ifftn(y, None if s is None else s[:-1], axes[:-1], norm)


def stft(
    x: Any, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Any = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, return_complex: bool = True,
    align_to_window: bool | None = None,
) -> Any:  # fmt: skip
    """Return the transforms of overlapping frames, as pairs if torch is asked for these."""
    found = fft.stft(
        x, n_fft, hop_length, win_length, window, center, pad_mode, normalized, onesided
    )
    return found if return_complex else sg.view_as_real(found)


def istft(z: Any, n_fft: int, *args: Any, window: Any = None, **options: Any) -> Any:
    need(window is None or not window.dtype.is_complex, "a complex window")
    return fft.istft(z, n_fft, *args, window=window, **options)


FIRST_HALF = Convention(
    "of a whole spectrum torch believes the first half, here the real part of the signal counts", 0,
    lambda z, n_fft, return_complex=False, **options: z.shape[-2] == n_fft and not return_complex)


KINDS: dict[str, tuple[Any, Any]] = {
    "fft": (fft.fft, fft.fftn),
    "ifft": (fft.ifft, fft.ifftn),
    "rfft": (fft.rfft, fft.rfftn),
    "irfft": (fft.irfft, fft.irfftn),
    "hfft": (fft.hfft, hfftn),
    "ihfft": (fft.ihfft, ihfftn),
}


def transforms() -> dict[str, Row]:
    """Return the rows of the six transforms, of one axis, two, and any."""
    rows: dict[str, Row] = {}
    for name, (one, many) in KINDS.items():
        rows[f"fft.{name}"] = single(one)
        rows[f"fft.{name}2"] = multiple(many, (-2, -1))
        rows[f"fft.{name}n"] = multiple(many, None)
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
    "stft": stft,
    "istft": Entry(istft, conventions=(FIRST_HALF,)),
    **{f"signal.windows.{name}": row for name, row in WINDOWS.items()},
}
