"""Powers of one half: roots, with the values at -0.0 and the infinities that powers have."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg

VALUES = [0.0, -0.0, 1, 4, 2, 1e-41, 1e-30, 3e30, -1, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [0.5, -0.5, 1.5, -1.5, 2.5, -2.5])
def test_values_are_those_of_numpy(exponent, dtype):
    x = sg.vector("x", dtype=dtype)
    v = np.array(VALUES, dtype)
    with np.errstate(all="ignore"):
        expected = v**exponent
    found = sg.function([x], x**exponent)(v)
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps, atol=2e-45)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize("exponent", [0.5, -0.5])
def test_no_power_is_left(exponent):
    x = sg.vector("x")
    f = sg.function([x], sg.grad((x**exponent).sum(), x))
    f(np.ones(3, "float32"))
    assert "pow" not in f.explain("loops") and "sqrt" in f.explain("loops")
