"""Rows of Fourier transforms; all peers but PyTensor spell them alike.

Expressions get the module `fft` of a peer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SHAPES = {  # kind, words, shape of complex input; that of real ones follows
    "rows_1024": ("fft_rows", "of 1024 rows of 1024", (1024, 1024)),
    "plane_1024": ("fft_plane", "of a plane of 1024x1024", (1024, 1024)),
    "long_1e6": ("fft_rows", "of 2^20 numbers", (1 << 20,)),
    "rows_64": ("fft_rows", "of 1000 rows of 64", (1000, 64)),
    "rows_100": ("fft_rows", "of 1000 rows of 100", (1000, 100)),
    "rows_1000": ("fft_rows", "of 1000 rows of 1000", (1000, 1000)),
    "one_64": ("fft_rows", "of 64 numbers: the price of a call", (64,)),
    "real_1024": ("rfft_rows", "of 1024 rows of 1024 real numbers", (1024, 1024)),
    "inverse_real_1024": ("irfft_rows", "back to 1024 rows of 1024 real numbers", (1024, 513)),
}
KINDS = {"c64": "complex64", "c128": "complex128"}
PARTS = {"complex64": "float32", "complex128": "float64"}


def specifications() -> list[tuple[str, str, str, tuple[int, ...], str]]:
    """Return (name, kind, text, shape, dtype) of each row."""
    found = []
    for end, dtype in KINDS.items():
        for name, (kind, words, shape) in SHAPES.items():
            given = PARTS[dtype] if kind == "rfft_rows" else dtype
            text = f"Fourier transform {words}, {given}"
            found.append((f"fft.{name}_{end}", kind, text, shape, given))
    return found


def expressions(fft: Any) -> dict[str, Callable[[Any], Any]]:
    """Return the function of each kind in the words of a library."""
    return {
        "fft_rows": fft.fft,
        "fft_plane": fft.fft2,
        "rfft_rows": fft.rfft,
        "irfft_rows": fft.irfft,
    }
