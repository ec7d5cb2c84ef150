"""The largest and smallest numbers of rows, with NaN anywhere: `cpu/kernels/extrema.py`."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg

LENGTHS = [1, 2, 5, 15, 16, 17, 31, 63, 64, 65, 100, 127, 128, 1000]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shapes", ["exact", "generic"])
def test_nan_at_any_place_wins(shapes: str, dtype: str) -> None:
    """Also beside infinities, and only in its own row."""
    x = sg.matrix("x", dtype=dtype)
    rng = np.random.default_rng(1)
    for n in LENGTHS:
        f = sg.function([x], [x.max(1), x.min(1)], shapes=shapes)
        a = rng.standard_normal((n + 3, n)).astype(dtype)
        a[np.arange(n), np.arange(n)] = np.nan
        a[-1], a[-2, n // 2], a[0, -1] = -np.inf, np.inf, -np.inf if n > 1 else np.nan
        high, low = f(a)
        np.testing.assert_array_equal(high, a.max(1))
        np.testing.assert_array_equal(low, a.min(1))


def test_nan_is_looked_for_by_one_comparison_of_two_registers() -> None:
    x = sg.matrix("x")
    f = sg.function([x], x.max(1))
    f(np.zeros((4, 1024), np.float32))
    text = f.explain("llvm").split("define i32 @run")[0]
    loop = text.split("loop3:")[1].split("br i1")[0]
    assert loop.count("select") == 1 and loop.count("fcmp") == 3  # one of them the maximum's
    assert loop.count("fcmp ord") == 2
