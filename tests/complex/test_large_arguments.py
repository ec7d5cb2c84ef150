"""Parts of complex functions that are finite although e^x overflows, as in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg

LARGE = {
    "complex128": (700.0, 709.5, 710.0, 711.0, 720.0, 800.0, 1400.0, np.inf),
    "complex64": (80.0, 88.0, 88.8, 89.0, 90.0, 95.0, 150.0, np.inf),
}
SMALL = {"complex128": 1e-300, "complex64": 1e-30}


@pytest.mark.parametrize("dtype", list(LARGE))
@pytest.mark.parametrize("name", ["exp", "exp2", "sinh", "cosh", "tanh", "sin", "cos", "tan"])
def test_finite_parts_stay_finite(name: str, dtype: str) -> None:
    sides = (0.0, -0.0, SMALL[dtype], 1e-5, 0.3, 1.5707963, 3.0, -2.0)
    points = [complex(s * a, b) for a in LARGE[dtype] for s in (1, -1) for b in sides]
    if name in ("sin", "cos", "tan"):
        points = [complex(-p.imag, p.real) for p in points]
    z = np.array([p / np.log(2) if name == "exp2" else p for p in points]).astype(dtype)
    x = sg.tensor("x", (None,), dtype)
    found = sg.function([x], getattr(sg, name)(x))(z)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(z)
    if name == "exp2":  # NumPy rounds z log 2 otherwise, and e^1400 feels it
        tolerance = 1e-9 if dtype == "complex128" else 1e-2
    else:
        tolerance = 1e-13 if dtype == "complex128" else 1e-5
    finite = np.isfinite(z)
    for part in ("real", "imag"):
        a, b = getattr(found, part)[finite], getattr(expected, part)[finite]
        np.testing.assert_allclose(a, b, rtol=tolerance)
        assert np.array_equal(np.isinf(a), np.isinf(b))
