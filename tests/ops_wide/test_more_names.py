"""Names of SciPy, NumPy and JAX that are made of other ops, against them and against mpmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.linalg
import scipy.special

import symgraph as sg

RNG = np.random.default_rng(7)
C, R = RNG.normal(size=4), RNG.normal(size=6)
A, B, Q = RNG.normal(size=(4, 4)), RNG.normal(size=(3, 3)), RNG.normal(size=(4, 3))
P, E = A @ A.T + np.eye(4), RNG.normal(size=(4, 4))
L = sg.linalg

# (ours, SciPy's, arrays)
MATRICES: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "toeplitz": (L.toeplitz, scipy.linalg.toeplitz, (C,)),
    "toeplitz of a row": (L.toeplitz, scipy.linalg.toeplitz, (C, R)),
    "hankel": (L.hankel, scipy.linalg.hankel, (C,)),
    "hankel of a row": (L.hankel, scipy.linalg.hankel, (C, R)),
    "circulant": (L.circulant, scipy.linalg.circulant, (C,)),
    "polar": (L.polar, scipy.linalg.polar, (A,)),
    "polar of a tall one": (L.polar, scipy.linalg.polar, (Q,)),
    "polar from the left": (
        lambda x: L.polar(x, "left"), lambda x: scipy.linalg.polar(x, "left"), (A,),
    ),
    "cho_solve": (
        lambda p, b: L.cho_solve(L.cho_factor(p), b),
        lambda p, b: scipy.linalg.cho_solve(scipy.linalg.cho_factor(p), b), (P, Q),
    ),
    "cho_solve of a vector": (
        lambda p, b: L.cho_solve(L.cho_factor(p), b), np.linalg.solve, (P, C),
    ),
    "solve_sylvester": (L.solve_sylvester, scipy.linalg.solve_sylvester, (A, B, Q)),
    "expm_frechet": (L.expm_frechet, scipy.linalg.expm_frechet, (A, E)),
}  # fmt: skip


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", list(MATRICES))
def test_matrices(name: str, dtype: str) -> None:
    ours, theirs, arrays = MATRICES[name]
    arrays = tuple(a.astype(dtype) for a in arrays)
    xs = [sg.tensor(f"x{k}", (None,) * a.ndim, dtype) for k, a in enumerate(arrays)]
    values = listed(ours(*xs))
    found = sg.function(xs, values)(*arrays)
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    for a, b in zip(found, listed(theirs(*arrays)), strict=True):
        assert str(a.dtype) == dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", list(MATRICES))
def test_derivatives_of_matrices(name: str) -> None:
    ours, _, arrays = MATRICES[name]
    xs = [sg.tensor(f"x{k}", a.shape, "float64") for k, a in enumerate(arrays)]
    value = sum(sg.sum(sg.sin(v)) for v in listed(ours(*xs)))
    f, gradients = sg.function(xs, value), sg.function(xs, sg.grad(value, xs))(*arrays)
    h = 1e-6
    for k, (a, g) in enumerate(zip(arrays, gradients, strict=True)):
        d = RNG.normal(size=a.shape)
        d = d + d.T if a is P else d  # the factor of a symmetric matrix
        ends = [f(*(b + s * h * d if j == k else b for j, b in enumerate(arrays))) for s in (1, -1)]
        np.testing.assert_allclose(np.sum(g * d), (ends[0] - ends[1]) / (2 * h), rtol=1e-6)


def test_a_hermitian_toeplitz_matrix() -> None:
    c = C + 1j * R[:4]
    np.testing.assert_allclose(L.toeplitz(c).eval(), scipy.linalg.toeplitz(c))


def test_batches() -> None:
    x = sg.matrix("x", dtype="float64")
    both = np.stack([C, R[:4]])
    found = sg.vmap(L.circulant)(x).eval({x: both})
    np.testing.assert_array_equal(found, np.stack([scipy.linalg.circulant(v) for v in both]))
    found = sg.vmap(lambda v: sg.intersect1d(v, np.array([1.0, 2.0]), 2, -1.0))(x)
    whole = np.array([[2.0, 1.0, 5.0], [3.0, 2.0, 2.0]])
    np.testing.assert_array_equal(found.eval({x: whole}), [[1.0, 2.0], [2.0, -1.0]])


@pytest.mark.parametrize("name", ["intersect1d", "setdiff1d", "setxor1d"])
@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_sets(name: str, dtype: str) -> None:
    x, y = sg.tensor("x", (None,), dtype), sg.tensor("y", (None,), dtype)
    few, many = (sg.function([x, y], getattr(sg, name)(x, y, n, -1)) for n in (1, 6))
    plain = sg.function([x, y], getattr(sg, name)(x, y, 6))
    for a, b in (([3, 1, 2, 3, 5], [5, 3, 9, 9]), ([1], [1]), ([2, 2], [7]), ([4], [1, 2, 4, 4])):
        p, q = np.array(a, dtype), np.array(b, dtype)
        expected = getattr(np, name)(p, q)
        filled = np.r_[expected, np.full(6, -1)][:6]
        np.testing.assert_array_equal(many(p, q), filled)
        np.testing.assert_array_equal(few(p, q), filled[:1])
        first = expected[0] if expected.size else 0
        np.testing.assert_array_equal(plain(p, q), np.where(filled < 0, first, filled))


def test_positions() -> None:
    a = np.array([[0.0, 3.0, 0.0], [2.0, 0.0, 1.0]])
    x = sg.matrix("x", dtype="float64")
    found = sg.function([x], [*sg.nonzero(x, 4, -1), sg.argwhere(x, 3)])(a)
    rows, columns = np.nonzero(a)
    np.testing.assert_array_equal(found[0], [*rows, -1])
    np.testing.assert_array_equal(found[1], [*columns, -1])
    np.testing.assert_array_equal(found[2], np.argwhere(a))
    i, j = np.array([0, 2]), np.array([1, 3, 0])
    np.testing.assert_array_equal(sg.as_tensor(A)[sg.ix_(i, j)].eval(), A[np.ix_(i, j)])


@pytest.mark.parametrize("p", [[1.0, -6.0, 11.0, -6.0], [2.0, 1.0], [1, 0, 4], [1.0, 2.0, 1.0]])
def test_roots(p: list[float]) -> None:
    x = np.array(p)
    found, expected = np.sort_complex(sg.roots(x).eval()), np.sort_complex(np.roots(x))
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="side must be"):
        L.polar(A, "both")
    with pytest.raises(sg.ShapeError, match="toeplitz needs vectors"):
        L.toeplitz(A)
    with pytest.raises(sg.ShapeError, match="known length"):
        sg.roots(sg.vector("p"))
    with pytest.raises(TypeError, match="mask"):
        sg.ix_(np.array([True, False]))
    with pytest.raises(sg.ShapeError, match="needs an axis"):
        sg.nonzero(sg.scalar("s"), 2)


SPACED = {
    "float64": np.r_[1 + 10.0 ** RNG.uniform(-6, 0, 40), RNG.uniform(1, 60, 40)],
    "float32": np.r_[1 + 10.0 ** RNG.uniform(-5, 0, 40), RNG.uniform(1, 12, 40)],
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_zeta(dtype: str) -> None:
    x, q = sg.tensor("x", (None,), dtype), sg.tensor("q", (None,), dtype)
    f = sg.function([x, q], sg.special.zeta(x, q))
    s = SPACED[dtype].astype(dtype)
    a = (10.0 ** RNG.uniform(-1.2, 2.2, s.size)).astype(dtype)
    with mp.workdps(200):
        exact = [mp.zeta(mp.mpf(float(u)), mp.mpf(float(v))) for u, v in zip(s, a, strict=True)]
        for found, e in zip(f(s, a), exact, strict=True):
            if np.finfo(dtype).tiny * 1e3 < e < np.finfo(dtype).max / 1e3:
                ulp = float(np.spacing(np.dtype(dtype).type(float(e))))
                assert abs(mp.mpf(float(found)) - e) < 16 * ulp
    s, a = np.array([1, 0.5, 2, 3, np.nan], dtype), np.array([1, 1, 0, np.inf, 1], dtype)
    np.testing.assert_array_equal(f(s, a), [np.inf, np.nan, np.inf, 0.0, np.nan])
    t = sg.dscalar("t")
    slope, bend = (float(v.eval({t: 2.5})) for v in (
        sg.grad(sg.special.zeta(t), t), sg.grad(sg.grad(sg.special.zeta(t), t), t),
    ))  # fmt: skip
    assert abs(slope - float(mp.zeta(2.5, derivative=1))) < 1e-13
    assert abs(bend - float(mp.zeta(2.5, derivative=2))) < 1e-12


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_spence(dtype: str) -> None:
    x = sg.tensor("x", (None,), dtype)
    f = sg.function([x], sg.special.spence(x))
    spread = 10.0 ** RNG.uniform(-8, 8, 60)
    near = 1 + 10.0 ** RNG.uniform(-6, -1, 30) * RNG.choice([-1, 1], 30)
    z = np.r_[RNG.uniform(0, 4, 60), spread, near].astype(dtype)
    with mp.workdps(40):
        for found, v in zip(f(z), z, strict=True):
            e = mp.polylog(2, 1 - mp.mpf(float(v))).real
            ulp = float(np.spacing(np.dtype(dtype).type(abs(float(e)))))
            assert abs(mp.mpf(float(found)) - e) < 8 * ulp, v
    ends = np.array([0.0, 1.0, -1.0, np.nan], dtype)
    np.testing.assert_allclose(f(ends), scipy.special.spence(ends), rtol=1e-6)
    t = sg.dscalar("t")
    slope = sg.function([t], sg.grad(sg.special.spence(t), t))
    for v in (0.1, 0.5, 1.0, 1.7, 2.0, 30.0):
        expected = -1.0 if v == 1 else np.log(v) / (1 - v)
        np.testing.assert_allclose(slope(v), expected, rtol=1e-13)


def test_fori_loop() -> None:
    x, n = sg.dscalar("x"), sg.lscalar("n")

    def body(i: Any, v: Any) -> Any:
        return sg.sin(v) * x + sg.cast(i, "float64")

    open_, known = sg.fori_loop(1, n, body, x), sg.fori_loop(1, 5, body, x)
    f = sg.function([x, n], [open_, known, sg.grad(open_, x), sg.grad(known, x)])
    a, b, da, db = f(0.7, 5)

    def plain(t: float) -> float:
        v = t
        for i in range(1, 5):
            v = np.sin(v) * t + i
        return float(v)

    assert a == b and abs(a - plain(0.7)) < 1e-14
    expected = (plain(0.7 + 1e-6) - plain(0.7 - 1e-6)) / 2e-6
    np.testing.assert_allclose([da, db], expected, rtol=1e-8)
    assert f(0.7, 0)[0] == 0.7
    u, v = sg.fori_loop(0, 3, lambda i, s: [s[0] + 1.0, s[1] * s[0]], [x, x])
    assert sg.function([x], [u, v])(1.0)[1] == 6.0
