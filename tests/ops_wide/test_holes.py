"""What a comparison of all names with NumPy found: complex NaN, vectors as matrices, nothing."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import symgraph as sg

NAMES = ["nansum", "nanmean", "nanvar", "nanstd", "nanprod", "nancumsum", "nancumprod"]


@pytest.mark.parametrize("mode", ["native", "eager"])
@pytest.mark.parametrize("dtype", ["float64", "complex64", "complex128"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_nan_of_complex_numbers(name: str, dtype: str, mode: str) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))
    z[0, 1], z[1, 2], z[2] = np.nan, complex(1, np.nan), np.nan
    a = (z if "complex" in dtype else z.real).astype(dtype)
    x = sg.matrix("x", dtype=dtype)
    for axis in (None, 0, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = getattr(np, name)(a, axis=axis)
        found = sg.function([x], getattr(sg, name)(x, axis=axis), mode=mode)(a)
        assert found.dtype == wanted.dtype
        assert np.allclose(found, wanted, 1e-5, 1e-5, equal_nan=True)


def test_derivative_of_a_variance_of_complex_numbers() -> None:
    x = sg.vector("x", dtype="complex128")
    slope = sg.function([x], sg.grad(sg.nanvar(x), x))
    a = np.array([1 + 2j, np.nan, 3 - 1j])
    kept = a[[0, 2]]
    assert np.allclose(slope(a)[[0, 2]], kept - kept.mean())  # 2 / n of them
    assert slope(a)[1] == 0


@pytest.mark.parametrize("k", [-1, 0, 2])
@pytest.mark.parametrize("name", ["tril", "triu"])
def test_triangles_of_a_vector(name: str, k: int) -> None:
    a, x = np.arange(1.0, 5), sg.vector("x", dtype="float64")
    found = sg.function([x], getattr(sg, name)(x, k))(a)
    assert np.array_equal(found, getattr(np, name)(a, k))
    with pytest.raises(sg.ShapeError, match="triangle"):
        getattr(sg, name)(sg.scalar("s"))


def test_covariances_of_too_few_numbers() -> None:
    x = sg.matrix("x", dtype="float64")
    for shape in ((3, 0), (3, 1), (2, 3)):
        a = np.random.default_rng(1).normal(size=shape)
        for options in ({}, {"bias": True}, {"ddof": 5}):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wanted = np.cov(a, **options)
            found = sg.function([x], sg.cov(x, **options))(a)
            assert np.array_equal(np.isfinite(found), np.isfinite(wanted))
            assert np.allclose(found, wanted, equal_nan=True)


def test_no_angles() -> None:
    x = sg.tensor("x", (3, 0), "float64")
    assert sg.function([x], sg.unwrap(x))(np.zeros((3, 0))).shape == (3, 0)


def test_powers_with_exponents_of_64_bits() -> None:
    x = np.array([0, 1, 2, 3, 2**63, 2**64 - 1], "u8")[:, None]
    y = np.array([0, 1, 2, 63, 2**63, 2**63 + 1, 2**64 - 1], "u8")
    a, b = (sg.matrix("a", dtype="uint64"), sg.vector("b", dtype="uint64"))
    for mode in ("native", "eager"):
        assert np.array_equal(sg.function([a, b], a**b, mode=mode)(x, y), np.power(x, y))


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
def test_several_shifts(axis: Any) -> None:
    a, shifts = np.arange(12.0).reshape(3, 4), np.array([2, -5])
    x, s = sg.matrix("x", dtype="float64"), sg.tensor("s", (2,), "int64")
    wanted = np.roll(a, shifts, axis)
    assert np.array_equal(sg.function([x, s], sg.roll(x, s, axis))(a, shifts), wanted)
    assert np.array_equal(sg.function([x], sg.roll(x, [2, -5], axis))(a), wanted)
    assert np.array_equal(sg.function([x], sg.roll(x, shifts, axis))(a), wanted)


def test_places_to_delete_are_numbers() -> None:
    with pytest.raises(TypeError, match="depends on the values of `s`"):
        sg.delete(sg.vector("x"), sg.vector("s", dtype="int64"))
