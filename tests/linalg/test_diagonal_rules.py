"""Matrices that are proved to be diagonal: no factorization runs, errors and numbers stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.config import config
from symgraph.core.errors import LinAlgError
from symgraph.core.node import Node, new_input
from symgraph.core.walk import toposort
from symgraph.rewrites import optimise
from symgraph.rewrites.matrix_facts import diagonal_of, symmetric

RNG = np.random.default_rng(3)
V, B = RNG.uniform(0.5, 2, 5), RNG.normal(size=(5, 3))
MADE: dict[str, Callable[[Node], Node]] = {
    "diag": sg.diag,
    "twice": lambda v: 2 * sg.diag(v),
    "of the identity": lambda v: sg.eye(5, dtype="float64") * 1.5 + sg.diag(v),
    "kept": lambda v: sg.where(sg.eye(5, dtype="bool"), v[:, None] * v[None, :], 0),
    "transposed": lambda v: (-sg.diag(v)).T,
    "product": lambda v: sg.diag(v) @ sg.diag(v + 1),
    "stack": lambda v: sg.where(sg.eye(5, dtype="bool"), sg.stack([v, v + 1])[:, None, :], 0),
}
OPS: dict[str, tuple[Callable[..., Node], Callable[..., Any]]] = {
    "inv": (lambda d, b: sg.linalg.inv(d), lambda d, b: np.linalg.inv(d)),
    "solve": (sg.linalg.solve, np.linalg.solve),
    "det": (lambda d, b: sg.linalg.det(d), lambda d, b: np.linalg.det(d)),
    "sign": (lambda d, b: sg.linalg.slogdet(d)[0], lambda d, b: np.linalg.slogdet(d)[0]),
    "log": (lambda d, b: sg.linalg.slogdet(d)[1], lambda d, b: np.linalg.slogdet(d)[1]),
    "eigvalsh": (lambda d, b: sg.linalg.eigvalsh(d), lambda d, b: np.linalg.eigvalsh(d)),
    "cholesky": (
        lambda d, b: sg.linalg.cholesky(d @ d),
        lambda d, b: np.linalg.cholesky(d @ d)),
    "inverse product": (lambda d, b: sg.linalg.inv(d) @ b, lambda d, b: np.linalg.inv(d) @ b),
    "transpose": (lambda d, b: sg.matrix_transpose(d), lambda d, b: np.swapaxes(d, -1, -2)),
    "trace": (lambda d, b: sg.trace(d), lambda d, b: np.trace(d, axis1=-2, axis2=-1)),
}  # fmt: skip
SLOW = ("solve", "solve_triangular", "solve_positive", "inv", "lu_factor", "cholesky", "det",
        "eigh_values", "log_abs_det", "det_sign", "eigh_factor")  # fmt: skip


@pytest.mark.parametrize("made", sorted(MADE))
@pytest.mark.parametrize("op", sorted(OPS))
def test_values_and_derivatives_without_a_factorization(op: str, made: str) -> None:
    v, b = new_input("float64", (5,), "v"), new_input("float64", (5, 3), "b")
    d = MADE[made](v)
    assert diagonal_of(d) is not None and symmetric(d)
    ours, numpys = OPS[op]
    y = ours(d, b)
    names = {n.op.name for n in toposort(optimise([y]))}
    assert not names & set(SLOW)
    matrix = sg.function([v], d)(V)
    np.testing.assert_allclose(
        sg.function([v, b], y, on_unused_input="ignore")(V, B), numpys(matrix, B), rtol=1e-12,
        atol=1e-14)
    weights = RNG.normal(size=y.type.shape)
    cost = (y * weights).sum()
    gradient = sg.function([v, b], sg.grad(cost, v, disconnected_inputs="ignore"),
                           on_unused_input="ignore")(V, B)
    with config.override(numerics="strict"):
        plain = sg.function([v, b], sg.grad(cost, v, disconnected_inputs="ignore"),
                            on_unused_input="ignore")(V, B)
    np.testing.assert_allclose(gradient, plain, rtol=1e-10, atol=1e-12)


def test_products_are_scalings_where_zeros_may_hide_a_nan() -> None:
    v, b = new_input("float64", (5,), "v"), new_input("float64", (5, 5), "b")
    y = sg.diag(v) @ b @ sg.diag(v)
    assert "matmul" in {n.op.name for n in toposort(optimise([y]))}
    assert "matmul" not in {n.op.name for n in toposort(optimise([y], "fast"))}
    a = RNG.normal(size=(5, 5))
    with config.override(numerics="fast"):
        np.testing.assert_allclose(sg.function([v, b], y)(V, a), V[:, None] * a * V, rtol=1e-13)


@pytest.mark.parametrize("mode", [None, "eager"])
def test_zero_is_the_error_that_it_was(mode: str | None) -> None:
    v, b = new_input("float64", (5,), "v"), new_input("float64", (5, 3), "b")
    how = {} if mode is None else {"mode": mode}
    zero, negative = V.copy(), V.copy()
    zero[2], negative[3] = 0, -1
    inverse = sg.function([v], sg.linalg.inv(sg.diag(v)), **how)
    solve = sg.function([v, b], sg.linalg.solve(sg.diag(v), b), **how)
    root = sg.function([v], sg.linalg.cholesky(sg.diag(v)), **how)
    for f, args, text in (
        (inverse, (zero,), "inv: .*singular"),
        (solve, (zero, B), "solve: .*singular"),
        (root, (negative,), "cholesky: .*not positive definite"),
    ):
        with pytest.raises(LinAlgError, match=text):
            f(*args)
    np.testing.assert_allclose(inverse(negative), np.diag(1 / negative))


def test_what_is_not_diagonal() -> None:
    v, a = new_input("float64", (5,), "v"), new_input("float64", (5, 5), "a")
    s = new_input("float64", (), "s")
    one = sg.ones((), "float64")
    for x in (sg.diag(v, 1)[:5, :5], sg.diag(v) + a, sg.diag(v) * a, sg.where(
        sg.eye(5, dtype="bool"), v, one), sg.diag(v) / s, sg.tril(a), sg.diag(v) @ a):
        assert diagonal_of(x) is None
