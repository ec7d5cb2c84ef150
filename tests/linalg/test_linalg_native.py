"""Linear algebra compiled to native code: identities, stacks, layouts, sizes, shared factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg

SIZES = (1, 2, 7, 70)  # the last one is beyond LAPACK's block size
LIMIT = {"float32": 3e-4, "float64": 1e-11}


def drawn(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Return matrices with a moderate condition number."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    n = min(shape[-2:])
    x[..., np.arange(n), np.arange(n)] += 2 * np.sqrt(n) + 1
    return x.astype(dtype)


def positive(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    x = drawn(shape, "float64")
    return (x @ np.swapaxes(x, -1, -2)).astype(dtype)


def run(build: Callable[..., Any], *arrays: np.ndarray, static: bool = True) -> Any:
    """Compile `build` for these arrays, sizes known or not, and call it."""
    inputs = [
        sg.tensor(f"x{k}", a.shape if static else (None,) * a.ndim, a.dtype)
        for k, a in enumerate(arrays)
    ]
    return sg.function(inputs, build(*inputs))(*arrays)


def near(actual: Any, expected: Any, dtype: str) -> None:
    assert actual.dtype == dtype
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    assert actual.shape == np.shape(expected)
    assert np.abs(actual - expected).max(initial=0) <= LIMIT[dtype] * scale


def t(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2)


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_factors_multiply_back(n: int, dtype: str, static: bool) -> None:
    x, p = drawn((2, n + 3, n), dtype), positive((2, n, n), dtype)

    def all_factors(x: Any, p: Any) -> list[Any]:
        return [sg.cholesky(p), *sg.eigh(p), *sg.svd(x), *sg.qr(x), *sg.lu(x)]

    low, w, v, u, s, vh, q, r, perm, lower, upper = run(all_factors, x, p, static=static)
    near(low @ t(low), p, dtype)
    assert not np.triu(low, 1).any()
    near((v * w[:, None]) @ t(v), p, dtype)
    assert (np.diff(w) >= 0).all()
    near((u * s[:, None]) @ vh, x, dtype)
    near(t(u) @ u, np.broadcast_to(np.eye(n), (2, n, n)), dtype)
    near(q @ r, x, dtype)
    near(t(q) @ q, np.broadcast_to(np.eye(n), (2, n, n)), dtype)
    near(perm @ lower @ upper, x, dtype)
    assert not np.tril(upper[:, :n], -1).any()


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_solutions(n: int, dtype: str, static: bool) -> None:
    a, p, b = drawn((n, n), dtype), positive((n, n), dtype), drawn((n, 3), dtype, 1)

    def all_solutions(a: Any, p: Any, b: Any) -> list[Any]:
        return [
            sg.solve(a, b),
            sg.solve(a.T, b[:, 0]),
            sg.solve(p, b, assume_a="pos"),
            sg.inv(a),
            sg.solve_triangular(a, b, lower=True),
            sg.solve_triangular(a.T, b[::-1], lower=True, trans=1),
            sg.solve_triangular(a * 0.1, b[:, 1], unit_diagonal=True),
            sg.lstsq(b, a),
            sg.pinv(b),
        ]

    found = run(all_solutions, a, p, b, static=static)
    unit = np.triu(a * 0.1, 1) + np.eye(n)
    wide = [x.astype("float64") for x in (a, p, b)]
    a, p, b = wide
    expected = [
        np.linalg.solve(a, b),
        np.linalg.solve(a.T, b[:, 0]),
        np.linalg.solve(p, b),
        np.linalg.inv(a),
        np.linalg.solve(np.tril(a), b),
        np.linalg.solve(np.tril(a.T).T, b[::-1]),
        np.linalg.solve(unit, b[:, 1]),
        np.linalg.lstsq(b, a)[0],
        np.linalg.pinv(b),
    ]
    for value, wanted in zip(found, expected, strict=True):
        near(value, wanted, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_of_matrices(dtype: str) -> None:
    x = drawn((3, 5, 5), dtype)
    x[1, :2] = x[1, 1::-1]  # an odd permutation, for the sign
    det, sign, log, values = run(lambda a: [sg.det(a), *sg.slogdet(a), sg.eigvals(a)], x)
    wide = x.astype("float64")
    near(det, np.linalg.det(wide), dtype)
    near(sign, np.linalg.slogdet(wide)[0], dtype)
    near(log, np.linalg.slogdet(wide)[1], dtype)
    mine = np.sort_complex(values)
    assert np.abs(mine - np.sort_complex(np.linalg.eigvals(wide))).max() < 1e3 * LIMIT[dtype]


def test_stacks_broadcast() -> None:
    a, b = drawn((4, 1, 3, 3), "float64"), drawn((2, 3, 2), "float64", 1)
    near(run(sg.solve, a, b), np.linalg.solve(a, b), "float64")
    one, many = drawn((3, 3), "float64"), drawn((5, 2, 3, 4), "float64", 2)
    near(run(sg.solve, one, many), np.linalg.solve(one, many), "float64")
    near(run(sg.lstsq, one[:, :2], many), np.linalg.pinv(one[:, :2]) @ many, "float64")
    near(run(sg.solve, one, many[0, 0, :, 0]), np.linalg.solve(one, many[0, 0, :, 0]), "float64")


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3, 3), (2, 0, 0)])
def test_empty(shape: tuple[int, ...], static: bool) -> None:
    x = np.zeros(shape)

    def build(x: Any) -> list[Any]:
        return [sg.cholesky(x), sg.solve(x, x), sg.inv(x), sg.det(x), *sg.eigh(x), *sg.svd(x),
                *sg.qr(x), *sg.lu(x), sg.pinv(x), sg.expm(x), sg.sqrtm(x)]  # fmt: skip

    for value in run(build, x, static=static):
        assert value.size == 0 or (value == 1).all()  # only determinants of nothing


def test_layouts_of_a_triangle() -> None:
    """A triangular matrix is read where it lies: rows, columns, parts, and stacks in any order."""
    x = drawn((6, 5, 5), "float64")
    b = drawn((6, 5, 2), "float64", 1)

    def build(x: Any, b: Any) -> list[Any]:
        return [
            sg.solve_triangular(x[::2], b[::2], lower=True),
            sg.solve_triangular(sg.matrix_transpose(x)[1], b[1]),
            sg.solve_triangular(x[3, :4, 1:], b[0, :4], lower=True),
            sg.solve_triangular(x[3, ::2, ::2], b[0, :3]),
            sg.solve_triangular(x[::-1] * 2, b),
            sg.solve_triangular(x[:, 2:3, 2:3], b[:, 2:3]),
        ]

    found = run(build, x, b)
    expected = [
        np.linalg.solve(np.tril(x[::2]), b[::2]),
        np.linalg.solve(np.triu(x[1].T), b[1]),
        np.linalg.solve(np.tril(x[3, :4, 1:]), b[0, :4]),
        np.linalg.solve(np.triu(x[3, ::2, ::2]), b[0, :3]),
        np.linalg.solve(np.triu(x[::-1] * 2), b),
        b[:, 2:3] / x[:, 2:3, 2:3],
    ]
    for value, wanted in zip(found, expected, strict=True):
        assert np.allclose(value, wanted, rtol=1e-9, atol=1e-9)


def test_one_factorization_for_all_uses() -> None:
    a, b = sg.tensor("a", (6, 6), "float64"), sg.tensor("b", (6,), "float64")
    x = sg.solve(a, b)
    cost = (x**2).sum() + sg.slogdet(a)[1]
    f = sg.function([a, b], [cost, *sg.grad(cost, [a, b])])
    f(drawn((6, 6), "float64"), drawn((6, 1), "float64")[:, 0])
    assert f.explain("loops").count("= getrf(") == 1


def test_batch_runs_in_parallel_with_the_same_bits() -> None:
    p = positive((40, 40, 40), "float64")
    x = sg.tensor("x", p.shape, "float64")
    f = sg.function([x], [sg.cholesky(x), sg.inv(x)])
    sg.set_threads(1)
    one = f(p)
    sg.set_threads(2)
    for a, b in zip(one, f(p), strict=True):
        assert np.array_equal(a, b)
    near(one[1], np.linalg.inv(p), "float64")


def test_inside_of_a_loop_and_of_a_batch() -> None:
    p = positive((4, 3, 3), "float64")
    x = sg.tensor("x", (None, 3, 3), "float64")
    steps = sg.scan(sg.cholesky, sequences=x)
    many = sg.vmap(lambda a: sg.grad(sg.slogdet(a)[1] + sg.eigvalsh(a)[0], a))(x)
    looped, batched = sg.function([x], [steps, many])(p)
    near(looped, np.linalg.cholesky(p), "float64")
    lowest = np.linalg.eigh(p)[1][:, :, 0]
    near(batched, np.linalg.inv(p) + lowest[:, :, None] * lowest[:, None, :], "float64")


def test_debug_mode_runs_the_loops_with_numpy() -> None:
    x, p = drawn((2, 4, 3), "float64"), positive((2, 3, 3), "float64")
    a, b = sg.tensor("a", (None,) * 3, "float64"), sg.tensor("b", (None,) * 3, "float64")
    results = [*sg.svd(a), *sg.qr(a), *sg.lu(a), *sg.eigh(b), *sg.eig(b), sg.cholesky(b),
               sg.solve(b, b[:, 0][..., None]), sg.eigvalsh(b), sg.svdvals(a), sg.pinv(a)]
    f = sg.function([a, b], results, mode="debug")
    assert len(f(x, p)) == len(results)


def test_only_floats_of_two_sizes() -> None:
    half = sg.tensor("h", (2, 2), "float16")
    with pytest.raises(sg.DTypeError, match="float32 or float64"):
        sg.cholesky(half)
    with pytest.raises(sg.ShapeError, match="square"):
        sg.inv(sg.tensor("x", (2, 3)))
    with pytest.raises(sg.ShapeError, match="rows"):
        sg.solve(sg.tensor("x", (3, 3)), sg.tensor("y", (2, 1)))
    assert sg.inv(np.array([[2, 0], [0, 4]])).dtype == sg.config.floatX
