"""Functions made of other ops against NumPy and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import symgraph as sg

RNG = np.random.default_rng(0)
SQUARE = RNG.normal(size=(4, 4))
STACK = RNG.normal(size=(2, 3, 4))


def value(build: Any, *arrays: np.ndarray) -> np.ndarray:
    inputs = [sg.tensor("x", (None,) * a.ndim, a.dtype) for a in arrays]
    result: np.ndarray = sg.function(inputs, build(*inputs))(*arrays)
    return result


@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_expm(scale: float, dtype: str) -> None:
    x = (np.stack([SQUARE, SQUARE.T * 0.1]) * scale).astype(dtype)
    expected = scipy.linalg.expm(x.astype("float64"))
    found = value(sg.expm, x)
    for a, b in zip(found, expected, strict=True):  # each relative to its own size
        assert np.abs(a - b).max() <= (1e-12 if dtype == "float64" else 2e-4) * np.abs(b).max()


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms(order: Any) -> None:
    assert np.allclose(value(lambda x: sg.norm(x, order), SQUARE), np.linalg.norm(SQUARE, order))
    for axes in ((0, 2), (2, 1), (-1, -2)):
        for keep in (False, True):
            found = value(lambda x, a=axes, k=keep: sg.norm(x, order, a, k), STACK)
            expected = np.linalg.norm(STACK, order, axes, keep)
            assert found.shape == expected.shape
            assert np.allclose(found, expected)


@pytest.mark.parametrize("order", [None, 0, 1, 2, 3, 0.5, -1, np.inf, -np.inf])
def test_vector_norms(order: Any) -> None:
    for axis in (0, -1):
        found = value(lambda x, a=axis: sg.norm(x, order, a, keepdims=True), STACK)
        assert np.allclose(found, np.linalg.norm(STACK, order, axis, keepdims=True))


def test_norm_of_everything_and_wrong_ones() -> None:
    assert np.allclose(value(sg.norm, STACK), np.linalg.norm(STACK))
    assert value(lambda x: sg.norm(x, keepdims=True), STACK).shape == (1, 1, 1)
    x = sg.tensor("x", (2, 3))
    for order, axis in (("nuc", 0), (3, (0, 1)), (None, (1, 1)), ("abc", None)):
        with pytest.raises(ValueError, match="norm"):
            sg.norm(x, order, axis)


@pytest.mark.parametrize("n", [0, 1, 2, 7, -1, -3])
def test_matrix_power(n: int) -> None:
    x = SQUARE + 3 * np.eye(4)
    assert np.allclose(value(lambda a: sg.matrix_power(a, n), x), np.linalg.matrix_power(x, n))


@pytest.mark.parametrize(
    ("a", "b"),
    [((2, 3), (4, 5)), ((3,), (2, 2)), ((2, 2, 2), (3, 1)), ((), (2, 3)), ((0, 2), (3,))],
)
def test_kron(a: Any, b: Any) -> None:
    x, y = RNG.normal(size=a), RNG.normal(size=b)
    assert np.allclose(value(sg.kron, x, y), np.kron(x, y))


def test_multi_dot() -> None:
    parts = [RNG.normal(size=s) for s in ((5,), (5, 2), (2, 6), (6, 3), (3,))]
    found = value(lambda *x: sg.multi_dot(x), *parts)
    assert np.allclose(found, np.linalg.multi_dot(parts))
    with pytest.raises(ValueError, match="two"):
        sg.multi_dot([SQUARE])


def test_square_roots() -> None:
    p = SQUARE @ SQUARE.T + np.eye(4)
    root, inverse = value(sg.sqrtm, p), value(sg.invsqrtm, p)
    assert np.allclose(root @ root, p)
    assert np.allclose(root, root.T)
    assert np.allclose(inverse @ p @ inverse, np.eye(4))


def test_names_in_the_module() -> None:
    for name in sg.linalg.__all__:
        assert getattr(sg.linalg, name) is getattr(sg, name)
    x = sg.matrix("x")
    assert np.linalg.inv(x) is sg.inv(x)
