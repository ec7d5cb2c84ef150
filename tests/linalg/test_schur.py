"""Schur and Hessenberg forms, functions of general matrices: beside SciPy, with derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import symgraph as sg

RNG = np.random.default_rng(0)
DTYPES = ["float32", "float64", "complex64", "complex128"]
ROTATION = np.array([[0.0, 2.0, 1.0], [-1.0, 0.0, 0.5], [0.0, 0.0, 3.0]])  # one conjugate pair


def matrices(*shape: int, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape)
    return (a + 1j * rng.normal(size=shape) if "complex" in dtype else a).astype(dtype)


def h(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2).conj()


def run(build: Any, a: np.ndarray, static: bool = True, **options: Any) -> Any:
    x = sg.tensor("x", a.shape if static else (None,) * a.ndim, str(a.dtype))
    return sg.function([x], build(x), **options)(a)


def near(p: np.ndarray, q: np.ndarray) -> bool:
    limit = 2e-5 if p.dtype in ("float32", "complex64") else 1e-12
    return bool(np.abs(p - q).max(initial=0) <= limit * max(1, np.abs(q).max(initial=0)) * 10)


# -- values ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["native", "eager"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (2, 2), (3, 3), (9, 9), (2, 4, 4), (0, 3, 3)])
def test_schur(shape: tuple[int, ...], dtype: str, mode: str) -> None:
    a = matrices(*shape, dtype=dtype)
    t, z = run(lambda x: list(sg.linalg.schur(x)), a, shape[0] % 2 == 0, mode=mode)
    assert t.dtype == z.dtype == dtype
    assert near(z @ t @ h(z), a)
    assert near(h(z) @ z, np.broadcast_to(np.eye(shape[-1], dtype=dtype), shape))
    below = np.tril(t, -1)
    if "complex" in dtype:
        assert not below.any()
    else:  # blocks stand alone, with equal elements on the diagonal
        assert not np.tril(t, -2).any()
        for m in t.reshape(int(np.prod(shape[:-2])), *shape[-2:]):
            places = np.flatnonzero(np.diagonal(m, -1))
            assert (np.diff(places) > 1).all()
            for k in places:
                assert np.isclose(m[k, k], m[k + 1, k + 1])
                assert abs(m[k, k + 1]) >= abs(m[k + 1, k])
    total = (z / (np.arange(shape[-1])[:, None] + 1.7)).sum(-2)
    assert (total.real > 0).all() and np.abs(total.imag).max(initial=0) < 1e-5


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_schur_is_that_of_scipy_but_for_signs(dtype: str) -> None:
    a = matrices(6, 6, dtype=dtype, seed=4)
    output = "complex" if dtype == "float64" else "real"
    t, z = run(lambda x: list(sg.linalg.schur(x, output)), a)
    wanted_t, wanted_z = scipy.linalg.schur(a, output)
    assert near(np.abs(t), np.abs(wanted_t)) and near(np.abs(z), np.abs(wanted_z))
    assert near(np.diagonal(t), np.diagonal(wanted_t))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["native", "eager"])
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (2, 2), (3, 3), (70, 70), (2, 4, 4), (0, 3, 3)])
def test_hessenberg(shape: tuple[int, ...], mode: str, dtype: str) -> None:
    a = matrices(*shape, dtype=dtype)
    form, q = run(lambda x: list(sg.linalg.hessenberg(x, calc_q=True)), a, mode=mode)
    alone = run(sg.linalg.hessenberg, a, static=False, mode=mode)
    assert near(q @ form @ h(q), a) and near(alone, form)
    assert not np.tril(form, -2).any()
    if len(shape) == 2 and shape[0] > 2:  # SciPy leaves complex matrices of two rows as they are
        wanted = scipy.linalg.hessenberg(a, calc_q=True)
        assert near(form, wanted[0]) and near(q, wanted[1])


def test_errors() -> None:
    x = sg.matrix("x", dtype="float64")
    f = sg.function([x], list(sg.linalg.schur(x)))
    for mode in (f, sg.function([x], list(sg.linalg.schur(x)), mode="eager")):
        with pytest.raises(sg.LinAlgError, match="schur: the matrix has no eigenvalues"):
            mode(np.array([[1.0, np.nan], [0.0, 1.0]]))
    assert near(np.prod(f(np.eye(2)), 0), np.eye(2))  # the failure is forgotten
    with pytest.raises(ValueError, match="output must be"):
        sg.linalg.schur(x, "upper")
    with pytest.raises(sg.ShapeError, match="square"):
        sg.linalg.schur(sg.tensor("y", (2, 3), "float64"))
    slope = sg.function([x], sg.grad(sg.sum(sg.linalg.schur(x)[1]), x))
    with pytest.raises(sg.LinAlgError, match="whose eigenvalues must differ"):
        slope(np.diag([2.0, 2.0, 1.0]))


# -- derivatives ----------------------------------------------------------------------------------
def check_derivatives(build: Any, a: np.ndarray) -> None:
    """Compare two derivatives, forward and reverse, with differences along two directions."""
    x = sg.tensor("x", a.shape, str(a.dtype))
    v, w = (sg.tensor(n, a.shape, str(a.dtype)) for n in "vw")
    y = build(x)
    weights = matrices(*y.type.shape, dtype=str(y.dtype), seed=9)
    cost = sg.real(sg.sum(y * weights))
    ahead = sg.Rop(cost, x, v)
    back = sg.real(sg.sum(sg.conj(sg.grad(cost, x)) * v))
    f = sg.function([x], cost)
    slopes = sg.function([x, v], [ahead, back])
    bends = sg.function([x, v, w], [sg.Rop(ahead, x, w), sg.Rop(back, x, w)])
    p, q = (matrices(*a.shape, dtype=str(a.dtype), seed=k) for k in (5, 6))
    step = 1e-6
    wanted = (f(a + step * p) - f(a - step * p)) / (2 * step)
    assert np.allclose(slopes(a, p), wanted, rtol=2e-6, atol=2e-6)
    bent = [(m - n) / (2 * step) for m, n in
            zip(slopes(a + step * q, p), slopes(a - step * q, p), strict=True)]  # fmt: skip
    assert np.allclose(bends(a, p, q), bent, rtol=1e-5, atol=1e-4)


SPREAD = np.diag([1.0, 3.0, -2.0, 5.0]) + 0.3 * matrices(4, 4)
CASES = {
    "real eigenvalues": SPREAD,
    "complex matrix": matrices(4, 4, dtype="complex128", seed=2),
    "a pair": ROTATION + 0.1 * matrices(3, 3, seed=3),
    "two pairs": scipy.linalg.block_diag([[1.0, 2], [-1, 1]], [[0.0, 1], [-4, 0]])
    + 0.1 * matrices(4, 4, seed=8),
    "stack": np.stack([SPREAD, SPREAD.T + np.eye(4)]),
}


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("name", sorted(CASES))
def test_derivatives_of_schur(name: str, part: int) -> None:
    check_derivatives(lambda x: sg.linalg.schur(x)[part], CASES[name])


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("name", ["real eigenvalues", "complex matrix", "two pairs", "stack"])
def test_derivatives_of_hessenberg(name: str, part: int) -> None:
    check_derivatives(lambda x: sg.linalg.hessenberg(x, calc_q=True)[part], CASES[name])


def test_hessenberg_alone_has_its_derivative() -> None:
    check_derivatives(sg.linalg.hessenberg, SPREAD)


def test_vmap_is_a_stack() -> None:
    a = np.stack([SPREAD, SPREAD.T + np.eye(4), CASES["two pairs"]])

    def forms(x: Any) -> list[Any]:
        return [*sg.linalg.schur(x), *sg.linalg.hessenberg(x, calc_q=True)]

    x = sg.tensor3("x", "float64")
    found = sg.function([x], list(sg.vmap(forms)(x)))(a)
    for k, value in enumerate(found):
        for m, one in zip(a, value, strict=True):
            assert near(one, run(forms, m)[k])

    def gradients(m: Any) -> list[Any]:
        return [sg.grad(sg.sum(v**2 * np.arange(4)), m) for v in forms(m)]

    batched = sg.function([x], list(sg.vmap(gradients)(x)))(a)
    for k, value in enumerate(batched):
        for m, one in zip(a, value, strict=True):
            assert near(one, run(gradients, m)[k])


# -- functions of matrices ------------------------------------------------------------------------
FUNCTIONS = {
    "exp": (sg.exp, scipy.linalg.expm),
    "sqrt": (sg.sqrt, scipy.linalg.sqrtm),
    "log": (sg.log, scipy.linalg.logm),
    "sin": (sg.sin, scipy.linalg.sinm),
    "polynomial": (lambda z: z**3 - 2.0 * z + 1.0, lambda a: a @ a @ a - 2 * a + np.eye(len(a))),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_funm(name: str, dtype: str) -> None:
    ours, theirs = FUNCTIONS[name]
    a = matrices(4, 4, dtype=dtype) + 3 * np.eye(4, dtype=dtype)
    found = run(lambda x: sg.linalg.funm(x, ours), a)
    wide = a.astype("complex128" if "complex" in dtype else "float64")
    assert found.dtype.kind == "c" and near(found, theirs(wide))


def test_funm_of_stacks_and_nothing() -> None:
    a = matrices(2, 3, 3)
    found = run(lambda x: sg.linalg.funm(x, sg.exp), a, static=False)
    assert near(found, scipy.linalg.expm(a).astype(complex))
    assert run(lambda x: sg.linalg.funm(x, sg.exp), np.zeros((0, 0))).shape == (0, 0)
    x = sg.tensor3("x", "float64")
    mapped = sg.function([x], sg.vmap(lambda m: sg.linalg.funm(m, sg.exp))(x))(a)
    assert near(mapped, found)


def test_funm_of_a_defective_matrix_is_nan() -> None:
    assert np.isnan(run(lambda x: sg.linalg.funm(x, sg.exp), np.array([[1.0, 1], [0, 1]]))).all()


@pytest.mark.parametrize("name", ["real eigenvalues", "complex matrix", "two pairs", "stack"])
def test_derivatives_of_funm(name: str) -> None:
    check_derivatives(lambda x: sg.linalg.funm(x, lambda z: sg.exp(0.3 * z)), CASES[name])


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-9, 1e-5, 1e-3, 0.02, 0.1])
def test_first_derivative_at_close_eigenvalues(gap: float) -> None:
    q = np.linalg.qr(matrices(3, 3))[0]
    a = q @ np.diag([2.0, 2.0 + gap, 2.0 - gap]) @ q.T
    a = a if gap else 2 * np.eye(3)
    x, v = sg.matrix("x", dtype="float64"), sg.matrix("v", dtype="float64")
    y = sg.linalg.funm(x, sg.exp)
    e = matrices(3, 3, seed=1)
    moved = sg.function([x, v], sg.Rop(y, x, v))(a, e)
    assert np.allclose(moved, scipy.linalg.expm_frechet(a, e)[1], rtol=1e-11, atol=1e-11)


def test_divided_differences_across_a_branch_cut() -> None:
    a = np.array([[-1.0, 1e-3], [-1e-3, -1.0]])  # eigenvalues on both sides of the cut of sqrt
    x, v = sg.matrix("x", dtype="float64"), sg.matrix("v", dtype="float64")
    e = matrices(2, 2, seed=1)
    moved = sg.function([x, v], sg.Rop(sg.linalg.funm(x, sg.sqrt), x, v))(a, e)
    s = scipy.linalg.sqrtm(a)
    assert np.allclose(s @ moved + moved @ s, e, atol=1e-9)


def test_funm_has_derivatives_by_outer_variables() -> None:
    a, t = CASES["two pairs"], sg.scalar("t", dtype="float64")
    x = sg.matrix("x", dtype="float64")
    y = sg.sum(sg.real(sg.linalg.funm(x, lambda z: sg.exp(sg.square(t) * z))) * a)
    first = sg.grad(y, t)
    mixed = sg.grad(first, x)
    found = sg.function([x, t], [first, sg.grad(first, t), mixed])(a, 0.7)
    f = lambda b, s: (scipy.linalg.expm(s**2 * b) * a).sum()  # noqa: E731
    rate = lambda b, s: ((2 * s * b @ scipy.linalg.expm(s**2 * b)) * a).sum()  # noqa: E731
    step = 1e-5
    assert np.isclose(found[0], (f(a, 0.7 + step) - f(a, 0.7 - step)) / 2 / step, rtol=1e-8)
    assert np.isclose(found[1], (rate(a, 0.7 + step) - rate(a, 0.7 - step)) / 2 / step, rtol=1e-8)
    e = matrices(4, 4, seed=11)
    moved = (rate(a + step * e, 0.7) - rate(a - step * e, 0.7)) / 2 / step
    assert np.isclose((found[2] * e).sum(), moved, rtol=1e-7)
