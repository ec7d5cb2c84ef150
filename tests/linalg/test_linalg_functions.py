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
    for name in set(sg.linalg.__all__) - {"cond", "polar"}:  # a branch, and complex numbers
        assert getattr(sg.linalg, name) is getattr(sg, name)
    x = sg.matrix("x")
    assert np.linalg.inv(x) is sg.inv(x)


@pytest.mark.parametrize("p", [None, 2, -2, "fro", "nuc", 1, -1, np.inf, -np.inf])
def test_condition_numbers_are_those_of_numpy(p: Any) -> None:
    for shape in ((3, 3), (2, 3, 3), (4, 2), (2, 4)):
        if shape[-1] != shape[-2] and p not in (None, 2, -2):
            continue
        a = np.random.default_rng(5).normal(size=shape)
        x = sg.tensor("x", (None,) * a.ndim, "float64")
        for y in (sg.linalg.cond(x, p), np.linalg.cond(x, p)):
            assert np.allclose(y.eval({x: a}), np.linalg.cond(a, p))


def test_condition_numbers_of_singular_matrices() -> None:
    x = sg.matrix("x", dtype="float64")
    f = sg.function([x], [sg.linalg.cond(x), sg.linalg.cond(x, 2)])
    for a in (np.diag([1.0, 0.0]), np.zeros((2, 2))):
        assert all(np.isinf(v) for v in f(a))
    with pytest.raises(sg.LinAlgError):
        sg.linalg.cond(x, 1).eval({x: np.zeros((2, 2))})
    with pytest.raises(sg.ShapeError, match="cond needs square"):
        sg.linalg.cond(sg.tensor("y", (2, 3), "float64"), "fro")


@pytest.mark.parametrize("static", [True, False])
def test_systems_of_tensors_are_those_of_numpy(static: bool) -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 3, 6)), rng.normal(size=(2, 3))
    x, y = (sg.tensor("x", v.shape if static else (None,) * v.ndim, "float64") for v in (a, b))
    f = sg.function([x, y], [sg.linalg.tensorsolve(x, y), sg.linalg.tensorinv(x, 2)])
    solution, inverse = f(a, b)
    assert np.allclose(solution, np.linalg.tensorsolve(a, b))
    assert np.allclose(inverse, np.linalg.tensorinv(a, 2))
    turned = sg.linalg.tensorsolve(np.moveaxis(a, -1, 0), b, axes=(0,))
    assert np.allclose(turned.eval({}), np.linalg.tensorsolve(a, b))
    for refused in (lambda: sg.linalg.tensorinv(a, 1), lambda: sg.linalg.tensorsolve(a, b[0])):
        with pytest.raises(sg.ShapeError, match="as many elements"):
            refused()


@pytest.mark.parametrize("options", [
    {}, {"axis": 1}, {"axis": (0, 2)}, {"axis": (2, 0), "keepdims": True, "ord": 3},
    {"keepdims": True}, {"ord": np.inf},
])  # fmt: skip
def test_norms_of_long_vectors_are_those_of_numpy(options: dict[str, Any]) -> None:
    found = value(lambda x: sg.linalg.vector_norm(x, **options), STACK)
    assert np.allclose(found, np.linalg.vector_norm(STACK, **options))


@pytest.mark.parametrize("options", [{}, {"ord": 2}, {"ord": "nuc", "keepdims": True}])
def test_norms_of_stacked_matrices_are_those_of_numpy(options: dict[str, Any]) -> None:
    found = value(lambda x: sg.linalg.matrix_norm(x, **options), STACK)
    assert np.allclose(found, np.linalg.matrix_norm(STACK, **options))


@pytest.mark.parametrize("shape", [(1, 0), (0, 1), (0, 0), (2, 0, 3), (0, 3, 2)])
def test_norms_and_ranks_of_nothing(shape: tuple[int, ...]) -> None:
    a = np.zeros(shape)
    for known in (True, False):
        x = sg.tensor("x", shape if known else (None,) * len(shape), "float64")
        orders = ("fro", "nuc", 1, 2, np.inf)
        found = sg.function([x], [sg.linalg.matrix_rank(x)]
                            + [sg.linalg.matrix_norm(x, ord=n) for n in orders])(a)
        for value in found:
            assert value.shape == shape[:-2] and not np.any(value)
