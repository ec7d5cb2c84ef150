"""Facts about matrices, and what the compiler makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.node import Node
from symgraph.core.walk import toposort
from symgraph.rewrites import matrix_facts as facts
from symgraph.rewrites import optimise

X = sg.tensor("X", (4, 4), "float64")
Y = sg.tensor("Y", (4, 4), "float64")
V = sg.tensor("v", (4,), "float64")
EYE = sg.eye(4, dtype="float64")
KERNEL = X @ X.T + 0.1 * EYE


def settled(x: Node) -> Node:
    return optimise([x])[0]


TRIANGLES: dict[str, tuple[Callable[[], Node], str]] = {
    "tril": (lambda: sg.tril(X), "lower"),
    "strict": (lambda: sg.tril(X, -1), "lower"),
    "band": (lambda: sg.tril(X, 1), ""),
    "triu": (lambda: sg.triu(X), "upper"),
    "triu_band": (lambda: sg.triu(X, -1), ""),
    "triu_strict": (lambda: sg.triu(X, 2), "upper"),
    "transposed": (lambda: sg.tril(X).T, "upper"),
    "cholesky": (lambda: sg.cholesky(X), "lower"),
    "r": (lambda: sg.qr(X)[1], "upper"),
    "product": (lambda: sg.cholesky(X) @ sg.tril(Y), "lower"),
    "mixed": (lambda: sg.tril(X) @ sg.triu(Y), ""),
    "inverse": (lambda: sg.inv(sg.triu(X)), "upper"),
    "plain": (lambda: X, ""),
    "sum": (lambda: sg.tril(X) + 1, ""),
}


@pytest.mark.parametrize("name", TRIANGLES)
def test_triangular(name: str) -> None:
    build, side = TRIANGLES[name]
    assert facts.triangular(build()) == side
    # the claim holds in numbers
    value = build().eval({n: np.random.default_rng(0).normal(size=(4, 4)) + 9 * np.eye(4) if n is Y
                          else 9 * np.eye(4) + 0.1 for n in (X, Y)})  # fmt: skip
    if side:
        assert not (np.triu(value, 1) if side == "lower" else np.tril(value, -1)).any()


def test_symmetric() -> None:
    yes = [X @ X.T, X + X.T, X.T @ X + EYE, sg.exp(X + X.T), sg.inv(X @ X.T), 2 * (X + X.T) - 1,
           sg.sqrtm(X)]  # fmt: skip
    no = [X, X @ Y, X @ X, X + X.T + Y, sg.tril(X), (X + X.T) * V]
    assert [facts.symmetric(x) for x in yes] == [True] * len(yes)
    assert [facts.symmetric(x) for x in no] == [False] * len(no)


def test_definite() -> None:
    factor = sg.cholesky(X)
    yes = [EYE, 2.0 * EYE, KERNEL, 3 * KERNEL, KERNEL + X @ X.T, sg.inv(KERNEL), factor @ factor.T]
    no = [X, X @ X.T, X @ X.T - 0.1 * EYE, -1 * KERNEL, KERNEL - EYE, KERNEL + X, X @ X + EYE]
    assert [facts.definite(x) for x in yes] == [True] * len(yes)
    assert [facts.definite(settled(x)) for x in yes] == [True] * len(yes)
    assert [facts.definite(x) for x in no] == [False] * len(no)
    assert facts.semidefinite(X @ X.T)
    assert not facts.semidefinite(X @ X)


def test_orthogonal() -> None:
    assert facts.orthogonal(sg.qr(X)[0])
    assert facts.orthogonal(sg.eigh(X)[1].T)
    assert not facts.orthogonal(sg.qr(X[:, :2])[0])


TALL = sg.qr(X[:, :2])[0]
U, _, VH = sg.svd(X[:3])
TO_IDENTITY = {
    "q": (sg.qr(X)[0].T @ sg.qr(X)[0], True), "q_back": (sg.qr(X)[0] @ sg.qr(X)[0].T, True),
    "eigh": (sg.eigh(X)[1].T @ sg.eigh(X)[1], True), "tall": (TALL.T @ TALL, True),
    "tall_back": (TALL @ TALL.T, False), "u": (U.T @ U, True), "vh": (VH @ VH.T, True),
    "vh_back": (VH.T @ VH, False), "others": (sg.qr(X)[0].T @ sg.qr(Y)[0], False),
}  # fmt: skip


@pytest.mark.parametrize("name", TO_IDENTITY)
def test_products_of_orthogonal_factors(name: str) -> None:
    """They are identities where rules may hide a NaN, and products else."""
    node, gone = TO_IDENTITY[name]
    with sg.config.override(numerics="fast"):
        left = {n.op.name for n in toposort([settled(node)])}
    assert ("matmul" in left) is not gone
    assert "matmul" in {n.op.name for n in toposort([settled(node)])}
    at = np.random.default_rng(3).normal(size=(4, 4)) + 5 * np.eye(4)
    f = sg.function([X, Y], [node, settled(node)], on_unused_input="ignore")
    found = f(at, at.T)
    assert np.allclose(*found)
    assert np.allclose(found[0], np.eye(len(found[0])), atol=1e-12) or not gone


RULES: dict[str, tuple[Node, set[str], set[str]]] = {  # expression, ops there, ops gone
    "inverse times vector": (sg.inv(X) @ V, {"solve"}, {"inv"}),
    "vector times inverse": (V @ sg.inv(X), {"solve"}, {"inv"}),
    "kernel times vector": (sg.inv(KERNEL) @ V, {"solve_positive"}, {"inv", "solve"}),
    "triangle": (sg.solve(sg.tril(X), V), {"solve_triangular"}, {"solve"}),
    "log det of a kernel": (sg.slogdet(KERNEL)[1], {"cholesky"}, {"log_abs_det"}),
    "log det of a triangle": (sg.slogdet(sg.triu(X))[1], set(), {"log_abs_det"}),
    "det of a triangle": (sg.det(sg.triu(X)), set(), {"det"}),
    "det of a kernel": (sg.log(sg.det(KERNEL)), {"cholesky"}, {"det"}),
    "trace of a product": (sg.trace(X @ Y), {"sum"}, {"matmul"}),
    "inverse of a rotation": (sg.inv(sg.qr(X)[0]), {"qr_q"}, {"inv"}),
    "cholesky of a symmetric matrix": (sg.cholesky(KERNEL), {"cholesky"}, set()),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_applies_and_keeps_the_value(name: str) -> None:
    x, there, gone = RULES[name]
    best = settled(x)
    names = {n.op.name for n in toposort([best])}
    assert there <= names
    assert not gone & names
    rng = np.random.default_rng(1)
    values = {X: rng.normal(size=(4, 4)) + 4 * np.eye(4), Y: rng.normal(size=(4, 4)),
              V: rng.normal(size=4)}  # fmt: skip
    inputs = [n for n in toposort([x]) if n in values]
    f = sg.function(inputs, [best, x])
    exact = x.eval({n: values[n] for n in inputs})
    for got in f(*(values[n] for n in inputs)):
        assert np.allclose(got, exact, rtol=1e-9, atol=1e-9)


def test_inverse_used_twice_stays() -> None:
    inverse = sg.inv(X)
    both = optimise([inverse @ V, inverse @ Y])
    assert "solve" not in {n.op.name for n in toposort(both)}


def test_symmetric_part_disappears() -> None:
    factor = settled(sg.cholesky(KERNEL))
    assert factor.op.name == "cholesky"
    turned = [n.inputs[0] for n in toposort([factor]) if n.op.name == "permute_dims"]
    assert turned == [X]


def test_strict_numerics_change_nothing() -> None:
    x = sg.inv(KERNEL) @ V
    kept: Any = optimise([x], "strict")[0]
    assert "inv" in {n.op.name for n in toposort([kept])}
