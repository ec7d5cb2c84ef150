"""Argmax and argmin along rows: a search whose vector is as wide as a short row."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.native import jit

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100)


def rows(width: int, dtype: str) -> np.ndarray:
    """Return rows with ties, and for floats with NaN, infinities and only infinities."""
    rng = np.random.default_rng(width)
    x = rng.integers(-3, 4, (40, width)).astype(dtype)
    if x.dtype.kind == "f":
        x[rng.random(x.shape) < 0.05] = np.nan
        x[rng.random(x.shape) < 0.1] = np.inf
        x[0], x[1], x[2], x[3, -1] = -np.inf, np.inf, np.nan, np.nan
    return x


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "float16", "float32", "float64"])
def test_first_positions_in_short_and_long_rows(
    dtype: str, cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cpu == "x86-64-v4" and jit.target().vector_bytes < 64:
        pytest.skip("this machine has no AVX-512")
    other = jit.target(cpu=cpu)
    monkeypatch.setattr(jit, "target", lambda: other)
    x = sg.matrix("x", dtype)
    both = [sg.argmax(x, 1), sg.argmin(x, 1), sg.argmax(x[:, ::-1], 1)]
    exact, generic = (sg.function([x], both, shapes=k) for k in ("exact", "generic"))
    for width in WIDTHS:
        a = rows(width, dtype)
        want = [a.argmax(1), a.argmin(1), a[:, ::-1].argmax(1)]
        for found in (exact(a), generic(a)):
            for got, expected in zip(found, want, strict=True):
                np.testing.assert_array_equal(got, expected, err_msg=f"{width} columns")
