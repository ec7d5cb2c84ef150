"""Derivatives of roots and linear solutions: those of the equation, to any order and in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg

RNG = np.random.default_rng(0)
MATRIX, RIGHT = RNG.normal(size=(3, 3)) + 3 * np.eye(3), RNG.normal(size=3)


def newton(f: Any, x: Any) -> Any:
    return sg.fori_loop(0, 30, lambda i, v: v - f(v) / sg.grad(f(v).sum(), v), x)


def by_one(g: Any, y: Any) -> Any:
    return y / g(sg.ones_like(y))


def dense(g: Any, y: Any) -> Any:
    return sg.solve(sg.jacobian(g(y), y), y)


def test_root_has_three_derivatives_in_both_modes() -> None:
    a = sg.scalar("a", dtype="float64")
    root = sg.custom_root(lambda x: x**2 - a, a, newton, by_one)
    first = sg.grad(root, a)
    second = sg.grad(first, a)
    one = sg.ones_like(a)
    forward = sg.Rop(root, a, one)
    outputs = [root, first, second, sg.grad(second, a), forward, sg.Rop(forward, a, one)]
    found = sg.function([a], outputs)(4.0)
    wanted = [2.0, 0.25, -0.25 * 4**-1.5, 0.375 * 4**-2.5, 0.25, -0.25 * 4**-1.5]
    assert np.allclose(found, wanted, rtol=1e-13)


def test_root_of_a_system() -> None:
    """x + tanh(A x) / 9 = b: gradients beside central differences, the guess has none."""
    a, b, x0 = sg.matrix("a", "float64"), sg.vector("b", "float64"), sg.vector("x0", "float64")

    def solve(f: Any, x: Any) -> Any:
        return sg.fori_loop(0, 60, lambda i, v: v - f(v), x)

    x = sg.custom_root(lambda v: v + sg.tanh(a @ v) / 9 - b, x0, solve, dense)
    cost = (x**3).sum()
    f = sg.function([a, b, x0], [x, *sg.grad(cost, [a, b, x0])])
    value, by_a, by_b, by_guess = f(MATRIX, RIGHT, np.zeros(3))
    assert np.abs(value + np.tanh(MATRIX @ value) / 9 - RIGHT).max() < 1e-14
    assert not by_guess.any()
    h, e, d = 1e-6, RNG.normal(size=(3, 3)), RNG.normal(size=3)
    ends = [(f(MATRIX + s * h * e, RIGHT + s * h * d, np.zeros(3))[0] ** 3).sum() for s in (1, -1)]
    assert np.isclose((by_a * e).sum() + by_b @ d, (ends[0] - ends[1]) / (2 * h), rtol=1e-7)


def test_root_in_a_batch() -> None:
    a = sg.vector("a", dtype="float64")
    root = sg.vmap(lambda v: sg.custom_root(lambda x: x**2 - v, v, newton, by_one))(a)
    found = sg.function([a], [root, sg.grad(root.sum(), a)])(np.array([1.0, 4.0, 9.0]))
    assert np.allclose(found, [[1, 2, 3], [1 / 2, 1 / 4, 1 / 6]], rtol=1e-13)


def test_root_by_an_endless_loop_uses_outer_variables() -> None:
    a, tol = sg.scalar("a", dtype="float64"), sg.scalar("tol", dtype="float64")

    def solve(f: Any, x: Any) -> Any:
        return sg.while_loop(lambda v: sg.abs(f(v)) > tol, lambda v: v - 0.2 * f(v), x)

    root = sg.custom_root(lambda x: x**3 - a, sg.ones_like(a), solve, by_one)
    found = sg.function([a, tol], [root, sg.grad(root, a)])(2.0, 1e-13)
    assert np.allclose(found, [2 ** (1 / 3), 2 ** (-2 / 3) / 3], rtol=1e-11)


@pytest.mark.parametrize("kind", ["given", "dense", "symmetric"])
def test_linear_solution_is_that_of_solve(kind: str) -> None:
    a, b = sg.matrix("a", "float64"), sg.vector("b", "float64")
    m = a + a.T if kind == "symmetric" else a
    if kind == "given":
        x = sg.custom_linear_solve(
            lambda v: m @ v, b, lambda f, y: sg.solve(m, y), lambda f, y: sg.solve(m.T, y)
        )
    else:
        x = sg.custom_linear_solve(lambda v: m @ v, b, dense, symmetric=kind == "symmetric")

    def everything(x: Any) -> list[Any]:
        gradients = sg.grad((x**3).sum(), [a, b])
        more = sg.grad(sum((g**2).sum() for g in gradients), [a, b])
        return [x, *gradients, *more, sg.Rop(x, [a, b], [a * 2 + 1, b + 1])]

    found = sg.function([a, b], everything(x))(MATRIX, RIGHT)
    wanted = sg.function([a, b], everything(sg.solve(m, b)))(MATRIX, RIGHT)
    for p, q in zip(found, wanted, strict=True):
        assert np.allclose(p, q, rtol=1e-11, atol=1e-13)


def test_what_does_not_fit_is_said() -> None:
    x, z = sg.vector("x", "float64"), sg.vector("z", "complex128")
    with pytest.raises(sg.ShapeError, match="as many values as there are unknowns"):
        sg.custom_root(lambda v: v.sum(), x, newton, by_one)
    with pytest.raises(sg.DTypeError, match="real floats"):
        sg.custom_linear_solve(lambda v: v, z, dense)


def test_solvers_that_use_variables_of_a_step_have_derivatives() -> None:
    a, b = sg.matrix("a", dtype="float64"), sg.vector("b", dtype="float64")
    times = np.array([1.0, 1.1, 0.7])

    def solved(m: Any, y: Any) -> Any:
        return sg.custom_linear_solve(
            lambda v: m @ v, y, lambda f, r: sg.solve(m, r), lambda f, r: sg.solve(m.T, r)
        )

    def cost(solve: Any) -> Any:
        found = sg.scan(lambda t, a, b: solve(a * t, b * sg.exp(t)), [times], [None], [a, b])
        return sg.sum(found**2)

    outputs = []
    for solve in (solved, sg.solve):
        slopes = sg.grad(cost(solve), [a, b])
        outputs += [*slopes, sg.grad(sg.sum(slopes[0] ** 2), a)]
    f = sg.function([a, b], outputs)
    rng = np.random.default_rng(4)
    found = f(rng.normal(size=(3, 3)) + 3 * np.eye(3), rng.normal(size=3))
    for p, q in zip(found[:3], found[3:], strict=True):
        assert np.allclose(p, q, rtol=1e-9)
