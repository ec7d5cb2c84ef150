"""Derivatives that users see: symmetric ones, degenerate spectra, agreement with closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg


def at(value: np.ndarray, build: Any) -> Any:
    x = sg.tensor("x", value.shape, "float64")
    return sg.function([x], build(x))(value)


def positive(n: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, n))
    return x @ x.T + np.eye(n)


def test_log_determinants_have_the_inverse() -> None:
    p = positive(5)

    def build(x: Any) -> list[Any]:
        factor = sg.cholesky(x)
        by_factor = 2 * sg.log(sg.diagonal(factor)).sum()
        by_values = sg.log(sg.eigvalsh(x)).sum()
        return [sg.grad(c, x) for c in (by_factor, by_values, sg.slogdet(x)[1], sg.log(sg.det(x)))]

    for g in at(p, build):
        assert np.allclose(g, np.linalg.inv(p), rtol=1e-10, atol=1e-10)


def test_gradients_by_symmetric_matrices_are_symmetric() -> None:
    c = np.random.default_rng(1).normal(size=(4, 4))

    def build(x: Any) -> list[Any]:
        w, v = sg.eigh(x)
        costs = [(sg.cholesky(x) * c).sum(), (v * w * c).sum(), (sg.sqrtm(x) * c).sum(),
                 (sg.solve(x, c, assume_a="pos") ** 2).sum(), (sg.invsqrtm(x) * c).sum()]
        return [sg.grad(cost, x) for cost in costs]

    for g in at(positive(4), build):
        assert np.allclose(g, g.T, atol=1e-12)
        assert np.abs(g).max() > 1e-3


def test_equal_eigenvalues_of_invariant_functions() -> None:
    """trace(A^3) and |A|_* by eigen- and singular values, at matrices with all of them equal."""
    def build(x: Any) -> list[Any]:
        w, v = sg.eigh(x)
        cube = (v * w**3) @ v.T
        u, s, _ = sg.svd(x)
        cost = sg.trace(cube)
        length = sg.trace((u * s) @ sg.matrix_transpose(u))
        return [sg.grad(cost, x), sg.grad(length, x), sg.grad(s.sum(), x)]

    cube, length, nuclear = at(2 * np.eye(3), build)
    assert np.allclose(cube, 12 * np.eye(3))
    assert np.allclose(length, np.eye(3))
    assert np.allclose(nuclear, np.eye(3))


def test_square_roots_at_equal_eigenvalues_have_two_derivatives() -> None:
    c = np.random.default_rng(2).normal(size=(3, 3))
    c = c + c.T

    def build(x: Any) -> Any:
        first = sg.grad((sg.sqrtm(x) * c).sum(), x)
        return [first, sg.grad((first * c).sum(), x)]

    first, second = at(4 * np.eye(3), build)
    assert np.allclose(first, c / 4)  # of sqrt at 4: 1/4, then -1/32
    assert np.allclose(second, -(c @ c) / 32)


def test_hessian_of_a_log_determinant() -> None:
    p = positive(3)
    hessian = at(p, lambda x: sg.hessian(sg.slogdet(x)[1], x))
    i = np.linalg.inv(p)
    assert np.allclose(hessian.reshape(3, 3, 3, 3), -np.einsum("jk,li->ijkl", i, i))


def test_exponential_of_a_skew_matrix_turns() -> None:
    """d/dt exp(t K) = K exp(t K), forward and reverse, through several squarings."""
    k = np.array([[0.0, -1.0], [1.0, 0.0]])
    time = sg.scalar("t", dtype="float64")
    turned = sg.expm(time * k)
    f = sg.function([time], [turned, sg.jvp(turned, [time], [1.0]), sg.grad(turned[0, 1], time)])
    y, moved, g = f(40.0)
    assert np.allclose(y, [[np.cos(40), -np.sin(40)], [np.sin(40), np.cos(40)]])
    assert np.allclose(moved, k @ y)
    assert np.allclose(g, moved[0, 1])


def test_wide_factors_refuse_derivatives() -> None:
    x = sg.tensor("x", (2, 3), "float64")
    for y in (sg.qr(x)[0], sg.lu(x)[2]):
        with pytest.raises(sg.NotDifferentiableError):
            sg.grad(y.sum(), x)


@pytest.mark.torch
def test_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    a, c = rng.normal(size=(5, 3)), rng.normal(size=(3, 3))

    def cost(lib: Any, x: Any, weight: Any) -> Any:
        la = sg if lib is sg else torch.linalg
        gram = x.T @ x
        q, r = la.qr(x)
        value = (la.cholesky(gram) * weight).sum() + (q**3).sum() + (r * weight).sum()
        value = value + (la.pinv(x) ** 3).sum() + (la.solve(gram, weight) ** 2).sum()
        value = value + la.svdvals(x)[0] ** 3 + (la.inv(gram) @ weight).sum()
        exp = sg.expm if lib is sg else torch.linalg.matrix_exp
        return value + (exp(gram * 0.3) * weight).sum()

    mine = at(a, lambda x: sg.grad(cost(sg, x, c), x))
    x = torch.tensor(a, requires_grad=True)
    cost(torch, x, torch.tensor(c)).backward()
    assert np.allclose(mine, x.grad.numpy(), rtol=1e-8, atol=1e-8)
