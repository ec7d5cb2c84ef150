"""Derivatives that users see: symmetric ones, degenerate spectra, agreement with closed forms."""

from __future__ import annotations

import itertools
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


@pytest.mark.parametrize("shapes", ["auto", "generic"])
def test_diagonals_of_unknown_sizes_have_gradients(shapes: Any) -> None:
    x = sg.matrix("x", dtype="float64")
    f = sg.function([x], [sg.grad(sg.sum(sg.diagonal(x, k) ** 2), x) for k in (0, 1, -1)],
                    shapes=shapes)
    for shape in ((3, 4), (4, 3), (3, 3), (0, 2)):
        a = np.random.default_rng(8).normal(size=shape)
        for g, k in zip(f(a), (0, 1, -1), strict=True):
            assert np.array_equal(g, 2 * a * np.eye(*shape, k=k))


def directional(build: Any, a: np.ndarray, generic: bool) -> None:
    """Compare first and second derivatives of a cost with differences in two directions."""
    x = sg.tensor("x", (None,) * a.ndim if generic else a.shape, str(a.dtype))
    v, w = (sg.tensor(n, x.type.shape, str(a.dtype)) for n in "vw")
    g = sg.grad(build(x), x)
    slope = sg.sum(sg.real(sg.conj(g) * v))
    curve = sg.Rop(slope, x, w)
    f = sg.function([x], build(x))
    whole = sg.function([x, v, w], [slope, curve], shapes="generic" if generic else "auto")
    slope_at = sg.function([x, v], slope)
    rng, h = np.random.default_rng(7), 1e-6
    p, q = (rng.normal(size=a.shape).astype(a.dtype) for _ in range(2))
    first, second = whole(a, p, q)
    assert np.allclose(first, (f(a + h * p) - f(a - h * p)) / (2 * h), rtol=1e-6, atol=1e-6)
    across = (slope_at(a + h * q, p) - slope_at(a - h * q, p)) / (2 * h)
    assert np.allclose(second, across, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 2, 3), (2, 3, 2)])
@pytest.mark.parametrize("name", ["qr", "lu"])
def test_factors_of_matrices_of_all_shapes_have_two_derivatives(
    name: str, shape: tuple[int, ...], dtype: str, generic: bool
) -> None:
    a = np.random.default_rng(3).normal(size=shape).astype(dtype)
    if dtype == "complex128":
        a = a + 1j * np.random.default_rng(4).normal(size=shape)

    def cost(x: Any) -> Any:
        factors = getattr(sg, name)(x)[-2:]
        return sum(sg.sum(sg.real(f) ** 3 + sg.imag(f) * sg.real(f)) if f.dtype.is_complex
                   else sg.sum(f**3) for f in factors)

    directional(cost, a, generic)


def cofactors(x: np.ndarray) -> np.ndarray:
    n = len(x)
    found = np.ones_like(x)
    for i, j in np.ndindex(n, n):
        minor = np.delete(np.delete(x, i, 0), j, 1)
        found[i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    return found


SHIFT = np.diag(np.ones(4), 1)  # rank 4, and all pivots of its LU are zeros


@pytest.mark.parametrize("shapes", ["auto", "generic"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_determinants_of_singular_matrices_have_two_derivatives(dtype: str, shapes: Any) -> None:
    rng = np.random.default_rng(2)
    a = np.stack([rng.normal(size=(5, rank)) @ rng.normal(size=(rank, 5)) for rank in range(6)]
                 + [SHIFT, np.diag([3.0, 2, 1, 0, 0]), np.ones((5, 5))]).astype(dtype)
    e = rng.normal(size=a.shape).astype(dtype)
    x, v = (sg.tensor(n, (None,) * 3, dtype) for n in "xv")
    g = sg.grad(sg.sum(sg.real(sg.det(x))), x)
    f = sg.function([x, v], [g, sg.Rop(g, x, v), sg.grad(sg.sum(sg.real(g) * sg.real(v)), x)],
                    shapes=shapes)
    wide = np.complex128 if "complex" in dtype else np.float64
    h, limit = 1e-5, 1e-8 if wide(0).dtype == dtype else 2e-3
    for value, p, first, forward, back in zip(
        a.astype(wide), e.astype(wide), *f(a, e), strict=True
    ):
        moved = (cofactors(value + h * p) - cofactors(value - h * p)) / (2 * h)
        assert np.abs(first.conj() - cofactors(value)).max() < limit
        assert np.abs(forward.conj() - moved).max() < limit
        assert np.abs(back.conj() - moved).max() < limit


@pytest.mark.parametrize("shapes", ["auto", "generic"])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_determinants_of_singular_matrices_have_a_third_derivative(dtype: str, shapes: Any) -> None:
    rng = np.random.default_rng(5)
    a = np.stack([rng.normal(size=(5, rank)) @ rng.normal(size=(rank, 5)) for rank in range(6)]
                 + [SHIFT, np.diag([3.0, 2, 1, 0, 0]), np.ones((5, 5))]).astype(dtype)
    e, d, c = (rng.normal(size=a.shape).astype(dtype) for _ in range(3))
    x, v, w, z = (sg.tensor(n, (None,) * 3, dtype) for n in "xvwz")
    second = sg.Rop(sg.grad(sg.sum(sg.real(sg.det(x))), x), x, v)
    back = sg.grad(sg.sum(sg.real(second) * sg.real(z)), x)
    f = sg.function([x, v, w, z], [sg.Rop(second, x, w), back], shapes=shapes)
    h = 1e-3
    for value, p, q, r, third, pulled in zip(a, e, d, c, *f(a, e, d, c), strict=True):
        ends = [(i, j) for i in (h, -h) for j in (h, -h)]
        wanted = sum(i * j * cofactors(value + i * p + j * q) for i, j in ends) / (4 * h**4)
        assert np.abs(third.conj() - wanted).max() < 1e-4 * max(1, np.abs(wanted).max())
        over = np.sum(pulled.conj() * q).real  # the same form, its arguments exchanged
        assert np.isclose(over, np.sum(wanted.real * r.real), rtol=1e-4, atol=1e-3)


def test_third_derivatives_of_determinants_of_small_matrices() -> None:
    def third(x: Any) -> Any:
        y = sg.det(x)
        for _ in range(3):
            y = sg.sum(sg.grad(y, x) ** 2)
        return y

    directional(third, positive(3), False)
    directional(third, np.ones((3, 3)) + np.diag([0, 0, 1.0]), False)


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


def mixed(a: np.ndarray, directions: Any) -> Any:
    """Return the derivative of the determinant: rows of the directions in place of those of A."""
    total = 0
    for places in itertools.permutations(range(len(a)), len(directions)):
        rows = a.copy()
        for place, e in zip(places, directions, strict=True):
            rows[place] = e[place]
        total = total + np.linalg.det(rows)
    return total


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_determinants_have_derivatives_of_all_orders_at_every_rank(dtype: str, full: bool) -> None:
    orders = 5 if full or dtype == "float64" else 4  # each takes several times as long
    rng = np.random.default_rng(12)

    def numbers(*shape: int) -> np.ndarray:
        more = 1j * rng.normal(size=shape) if "complex" in dtype else 0
        return (rng.normal(size=shape) + more).astype(dtype)

    x, *d = (sg.tensor3(f"x{k}", dtype) for k in range(orders + 1))
    y, outputs = sg.det(x), []
    for e in d:
        y = sg.Rop(y, x, e)
        outputs.append(y)
    back = sg.grad(sg.real(outputs[2]).sum(), x)  # the fourth derivative, backwards
    f = sg.function([x, *d], [*outputs, back])
    for n in (2, 4, 5):
        a = np.stack([numbers(n, rank) @ numbers(rank, n) for rank in range(n + 1)])
        directions = [numbers(n + 1, n, n) for _ in d]
        *found, pulled = f(a, *directions)
        for k, value in enumerate(found):
            wanted = [mixed(m, [e[r] for e in directions[: k + 1]]) for r, m in enumerate(a)]
            assert np.allclose(value, wanted, rtol=1e-9, atol=1e-9)
        assert np.allclose((pulled.conj() * directions[3]).sum((-2, -1)), found[3], atol=1e-8)


def test_third_derivative_of_a_determinant_at_zero() -> None:
    x, e = sg.matrix("x", dtype="float64"), np.diag([1.0, 2.0, 3.0])
    y = sg.det(x)
    for _ in range(3):
        y = sg.Rop(y, x, e)
    assert np.isclose(sg.function([x], y)(np.zeros((3, 3))), 36)
