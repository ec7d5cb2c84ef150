"""Short Fourier transforms as straight expressions of anything that can be added and multiplied.

Used on nodes of the graph (ops/dft.py) and on vector registers (cpu/kernels/dft.py), where long
transforms are passes of short ones (Stockham): before a pass of radix r the numbers lie as
(r, m, s), of which r is transformed; after it as (m, r, s), and m is what is left to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Number = tuple[Any, Any]  # real and imaginary part


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


def passes(n: int, radixes: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (r, m, s) of each pass."""
    found, left, done = [], n, 1
    for r in radixes:
        left //= r
        found.append((r, left, done))
        done *= r
    return found


def twiddles(n: int, radixes: Sequence[int], sign: int) -> np.ndarray:
    """Return what the results of all passes but the last are multiplied with, one after the other.

    Of a pass: exp(sign 2 pi i p k / (r m)) as (parts, k, p), k > 0 counting results, p places of m.
    """
    parts = []
    for r, m, _ in passes(n, radixes)[:-1]:
        w = turns(np.outer(np.arange(1, r), np.arange(m)), r * m, sign)
        parts.append(np.stack([w.real, w.imag]).ravel())
    return np.concatenate(parts)


def rotations(half: int, sign: int) -> np.ndarray:
    """Return exp(sign pi i k / half), k = 0 .. half, as (parts, k) in one row.

    They join the transforms of the even and the odd elements of a real array.
    """
    w = turns(np.arange(half + 1), 2 * half, sign)
    return np.stack([w.real, w.imag]).ravel()


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
