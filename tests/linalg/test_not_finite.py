"""Singular and eigenvalues of matrices with NaN or infinities: an error, not finite numbers."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
@pytest.mark.parametrize("name", ["svd", "svdvals", "pinv", "eigh", "eigvalsh", "sqrtm"])
def test_factors(name: str, dtype: str, number: float) -> None:
    x = sg.tensor("x", (None, None, None), dtype)
    value = getattr(sg.linalg, name)(x)
    f = sg.function([x], list(value) if isinstance(value, tuple) else value)
    good = np.stack([np.eye(3), np.ones((3, 3))]).astype(dtype)
    f(good)
    bad = good.copy()
    bad[1, 0, 0] = number
    with pytest.raises(sg.LinAlgError, match="test_not_finite.py"):
        f(bad)
    f(good)
