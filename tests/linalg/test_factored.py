"""LU factors that serve several systems, and square roots of general matrices: beside SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import symgraph as sg

RNG = np.random.default_rng(0)


def matrices(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    a = RNG.normal(size=shape)
    return (a + 1j * RNG.normal(size=shape) if "complex" in dtype else a).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 4, 4), (0, 0), (0, 3, 3), (1, 1)])
def test_lu_factor_is_that_of_scipy(shape: tuple[int, ...], dtype: str) -> None:
    a = matrices(shape, dtype)
    x = sg.tensor("x", shape, dtype)
    factors, pivots = sg.function([x], list(sg.linalg.lu_factor(x)))(a)
    assert pivots.dtype == np.int32 and pivots.shape == (*shape[:-2], min(shape[-2:]))
    if a.size:
        wanted = scipy.linalg.lu_factor(a)
        assert np.allclose(factors, wanted[0], atol=1e-12 if "64" in dtype[-2:] else 1e-5)
        assert np.array_equal(pivots, wanted[1])


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("trans", [0, 1, 2])
@pytest.mark.parametrize("shapes", [((4, 4), (4,)), ((4, 4), (4, 2)), ((2, 4, 4), (2, 4, 1)),
                                    ((2, 4, 4), (4, 3)), ((0, 0), (0, 2)), ((0, 3, 3), (0, 3, 1))])
def test_lu_solve(shapes: Any, trans: int, dtype: str) -> None:
    a, b = (matrices(s, dtype) for s in shapes)
    x, y = (sg.tensor(n, (None,) * v.ndim, dtype) for n, v in (("x", a), ("y", b)))
    solution = sg.linalg.lu_solve(sg.linalg.lu_factor(x), y, trans)
    plain = sg.solve((x, sg.matrix_transpose(x), sg.conj(sg.matrix_transpose(x)))[trans], y)
    outputs = []
    for value in (solution, plain):
        gradients = sg.grad(sg.sum(sg.real(value) ** 3 + sg.imag(value)), [x, y])
        more = sg.grad(sg.sum(sg.abs(gradients[0]) ** 2), x)
        outputs += [value, *gradients, more]
    found = sg.function([x, y], outputs)(a, b)
    for p, q in zip(found[:4], found[4:], strict=True):
        assert np.allclose(p, q, rtol=1e-9, atol=1e-9 * np.abs(q).max(initial=1))


def test_lu_solve_of_pivots_that_are_given() -> None:
    a, b = matrices((2, 5, 5), "float64"), matrices((2, 5, 2), "float64")
    factors, pivots = zip(*(scipy.linalg.lu_factor(m) for m in a), strict=True)
    x, p, y = sg.tensor3("x", "float64"), sg.matrix("p", "int32"), sg.tensor3("y", "float64")
    f = sg.function([x, p, y], sg.linalg.lu_solve((x, p), y))
    assert np.allclose(f(np.stack(factors), np.stack(pivots), b), np.linalg.solve(a, b))
    with pytest.raises(sg.DTypeError, match="integer pivots"):
        sg.linalg.lu_solve((x, y), y)
    with pytest.raises(ValueError, match="trans must be"):
        sg.linalg.lu_solve((x, p), y, 3)
    with pytest.raises(sg.LinAlgError):
        f(np.zeros((2, 5, 5)), np.stack(pivots), b)
