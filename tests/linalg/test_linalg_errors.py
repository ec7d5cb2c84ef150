"""Singular and indefinite matrices: the error, native and eager, and what is no error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg


def both_ways(build: Callable[[Any], Any], value: np.ndarray) -> list[str]:
    """Return the messages of the native function and of the NumPy references."""
    texts = []
    for mode in (None, "eager"):
        x = sg.tensor("x", (None,) * value.ndim, value.dtype)
        f = sg.function([x], build(x), **({} if mode is None else {"mode": mode}))
        with pytest.raises(np.linalg.LinAlgError) as caught:
            f(value)
        assert isinstance(caught.value, sg.LinAlgError)
        texts.append(str(caught.value))
    return texts


STACK = np.stack([np.eye(3)] * 4)
INDEFINITE = STACK.copy()
INDEFINITE[3, 1, 1] = -1
SINGULAR = STACK.copy()
SINGULAR[2, 1] = SINGULAR[2, 0]

CASES: dict[str, tuple[Callable[[Any], Any], np.ndarray, str]] = {
    "cholesky": (sg.cholesky, INDEFINITE, "matrix 3 of the batch is not positive definite"),
    "minor": (sg.cholesky, INDEFINITE[3], r"the matrix is not positive definite \(leading minor 2"),
    "pos": (lambda x: sg.solve(x, x, assume_a="pos"), INDEFINITE, "leading minor 2"),
    "solve": (lambda x: sg.solve(x, x), SINGULAR, r"solve: matrix 2 of the batch is singular"),
    "pivot": (sg.inv, SINGULAR[2], r"inv: the matrix is singular \(pivot 1 is zero\)"),
    "triangular": (
        lambda x: sg.solve_triangular(x, x, lower=True),
        np.diag([1.0, 0.0, 0.0]),
        r"solve_triangular: the matrix is singular \(pivot 1",
    ),
    "svd": (lambda x: sg.svd(x)[0], np.full((2, 2), np.nan), "svd: the matrix has no singular"),
    "eigvals": (sg.eigvals, np.full((2, 2), np.inf), "eig: .* no eigenvalues"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_error_names_the_matrix(name: str) -> None:
    build, value, pattern = CASES[name]
    for text in both_ways(build, value):
        first, *rest = text.splitlines()
        assert re.search(pattern, first), first
        assert any("`x`" in line for line in rest), text
        assert "test_linalg_errors.py" in text
        assert "mend:" in text


def test_function_works_after_an_error() -> None:
    x = sg.tensor("x", (None, 3, 3), "float64")
    f = sg.function([x], sg.cholesky(x))
    with pytest.raises(sg.LinAlgError, match="matrix 3"):
        f(INDEFINITE)
    assert np.array_equal(f(STACK), STACK)
    with pytest.raises(sg.LinAlgError, match="matrix 0"):
        f(-STACK)


def test_update_does_not_happen_where_a_matrix_fails() -> None:
    state = sg.shared(np.eye(2), "state")
    x = sg.matrix("x", dtype="float64")
    f = sg.function([x], [], updates={state: state + sg.inv(x)})
    f(np.eye(2))
    with pytest.raises(sg.LinAlgError):
        f(np.zeros((2, 2)))
    assert np.array_equal(state.get_value(), 2 * np.eye(2))


def test_error_in_a_loop() -> None:
    x = sg.tensor("x", (None, 3, 3), "float64")
    f = sg.function([x], sg.scan(sg.cholesky, sequences=x))
    with pytest.raises(sg.LinAlgError, match=r"leading minor 2"):
        f(INDEFINITE)


def test_singular_matrices_have_determinants() -> None:
    x = sg.tensor("x", (None, 3, 3), "float64")
    det, sign, log = sg.function([x], [sg.det(x), *sg.slogdet(x)])(SINGULAR)
    assert det.tolist() == [1, 1, 0, 1]
    assert sign.tolist() == [1, 1, 0, 1]
    assert log.tolist() == [0, 0, -np.inf, 0]


def test_indefinite_square_root_is_nan_and_semidefinite_one_is_not() -> None:
    x = sg.matrix("x", dtype="float64")
    f = sg.function([x], sg.sqrtm(x))
    assert np.isnan(f(np.diag([1.0, -1.0]))).any()
    v = np.array([[1.0, 2.0, 3.0]])
    root = f(v.T @ v)
    assert np.allclose(root @ root, v.T @ v)


def test_rank_deficient_least_squares_is_the_shortest() -> None:
    a = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    x = sg.matrix("x", dtype="float64")
    y = sg.function([x], [sg.lstsq(x, x[:, 0]), sg.pinv(x)])(a)
    assert np.allclose(y[0], [0.5, 0.5])
    assert np.allclose(y[1], np.linalg.pinv(a))
