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


# -- square roots of general matrices -------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3), (1, 1), (8, 8), (0, 0), (0, 2, 2)])
def test_general_square_root_is_that_of_scipy(shape: tuple[int, ...], dtype: str) -> None:
    a = np.eye(shape[-1]) * 2 + matrices(shape, dtype) * 0.4
    a = a.astype(dtype)
    x = sg.tensor("x", (None,) * len(shape), dtype)
    found = sg.function([x], sg.linalg.sqrtm(x, hermitian=False))(a)
    assert found.dtype == dtype and found.shape == shape
    if not a.size:
        return
    limit = 1e-12 if a.real.dtype == np.float64 else 1e-4
    for root, m in zip(found.reshape(-1, *shape[-2:]), a.reshape(-1, *shape[-2:]), strict=True):
        assert np.allclose(root, scipy.linalg.sqrtm(m), atol=limit)


def test_general_square_root_of_special_matrices() -> None:
    x, z = sg.matrix("x", "float64"), sg.matrix("z", "complex128")
    f = sg.function([x], sg.linalg.sqrtm(x, hermitian=False))
    assert np.isnan(f(np.diag([1.0, -1.0]))).all()
    turned = np.array([[0.0, 1.0], [-1.0, 0.0]])
    assert np.allclose(f(turned) @ f(turned), turned)
    far = np.array([[1e-8, 3.0], [0.0, 1e8]])
    assert np.allclose(f(far) @ f(far), far, rtol=1e-12)
    defective = np.array([[4.0, 1.0], [0.0, 4.0]])
    assert np.allclose(f(defective), [[2.0, 0.25], [0.0, 2.0]])
    g = sg.function([z], sg.linalg.sqrtm(z, hermitian=False))
    assert np.allclose(g(np.diag([1.0, -4.0j])), np.diag([1.0, np.sqrt(-4.0j)]))
    assert np.isnan(f(np.ones((2, 2)))).all()


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_general_square_root_has_two_derivatives_and_batches(dtype: str) -> None:
    a, e = np.eye(3) * 3 + matrices((3, 3), dtype), matrices((3, 3), dtype)
    x, v = sg.matrix("x", dtype), sg.matrix("v", dtype)
    y = sg.linalg.sqrtm(x, hermitian=False)
    cost = sg.sum(sg.real(y) ** 3 + sg.imag(y) * sg.real(y))
    g = sg.grad(cost, x)
    second = sg.sum(sg.abs(g) ** 2)
    f = sg.function([x, v], [cost, g, second, sg.grad(second, x), y, sg.Rop(y, x, v)],
                    on_unused_input="ignore")
    h = 1e-6
    at, high, low = f(a, e), f(a + h * e, e), f(a - h * e, e)
    for value, slope in ((0, 1), (2, 3)):
        moved = np.sum(at[slope].conj() * e).real
        assert np.isclose(moved, (high[value] - low[value]) / (2 * h), rtol=1e-6)
    assert np.allclose(at[5], (high[4] - low[4]) / (2 * h), rtol=1e-6)
    xs = sg.tensor3("xs", dtype)
    many = sg.vmap(lambda m: sg.linalg.sqrtm(m, hermitian=False))(xs)
    assert np.allclose(many.eval({xs: np.stack([a, a.T])})[1], scipy.linalg.sqrtm(a.T))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_root_beside_an_eigenvalue_of_minus_one_is_nan_or_a_root(dtype: str) -> None:
    x = sg.matrix("x", dtype=dtype)
    f = sg.function([x], sg.linalg.sqrtm(x, hermitian=False))
    limit = float(np.finfo(dtype).eps) ** 0.5
    rng = np.random.default_rng(3)
    for _ in range(200):
        a = np.linalg.qr(rng.normal(size=(6, 6)))[0].astype(dtype)
        root = f(a)
        assert np.isnan(root).all() or np.linalg.norm(root @ root - a) <= 2 * limit * 6**0.5
