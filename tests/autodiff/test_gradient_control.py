"""Identities with another derivative, gradients part by part, and the check by differences."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg

X = sg.vector("x", dtype="float64")


def test_scaled_gradient_in_both_modes():
    k = sg.scalar("k", dtype="float64")
    y = sg.grad_scale(X, k)
    cost = (y**2).sum()
    f = sg.function([X, k], [y, sg.grad(cost, X), sg.Rop(y, X, X)])
    value, by_x, moved = f(np.array([1.0, 3.0]), -0.5)
    assert (value == [1, 3]).all()
    np.testing.assert_array_equal(by_x, [-1.0, -3.0])
    np.testing.assert_array_equal(moved, [-0.5, -1.5])
    with pytest.raises(sg.DisconnectedInputError):
        sg.grad(cost, k)


def test_undefined_gradient():
    y = sg.undefined_grad(X) * 2
    assert (y.eval({X: np.ones(2)}) == 2).all()
    for derive in (lambda: sg.grad(y.sum(), X), lambda: sg.Rop(y, X, X)):
        with pytest.raises(sg.NotDifferentiableError, match="declared undefined"):
            derive()


def test_part_by_part_is_the_whole_gradient():
    names = ("x", "w", "b", "v")
    x, w, b, v = (sg.matrix(n, dtype="float64") for n in names)
    hidden = sg.tanh(x @ w + b)
    cost = ((hidden @ v) ** 2).sum()
    (by_v,), ends = sg.subgraph_grad([v], [hidden], cost=cost)
    (by_w, by_b), (by_x,) = sg.subgraph_grad([w, b], [x], start={hidden: ends[0]})
    whole = sg.grad(cost, [v, w, b, x])
    f = sg.function([x, w, b, v], [by_v, by_w, by_b, by_x, *whole])
    rng = np.random.default_rng(0)
    found = f(*(rng.normal(size=n) for n in ((5, 3), (3, 4), (5, 4), (4, 2))))
    for a, wanted in zip(found[:4], found[4:], strict=True):
        np.testing.assert_allclose(a, wanted, rtol=1e-13)


@pytest.mark.parametrize("shapes", ["exact", "generic"])
def test_specified_shapes(shapes):
    y = sg.specify_shape(X * 2, (3,))
    assert y.type.shape == (3,)
    f = sg.function([X], [y, sg.grad((y * y).sum(), X)], shapes=shapes)
    np.testing.assert_array_equal(f(np.arange(3.0))[1], 8 * np.arange(3.0))
    with pytest.raises(sg.ShapeError, match=r"not of shape \(3,\)"):
        f(np.ones(4))
    for wrong in ((4,), (3, 1)):
        with pytest.raises(sg.ShapeError, match="not of shape"):
            sg.specify_shape(y, wrong)
    assert sg.specify_shape(y, (None,)) is y


def test_specified_shape_under_vmap():
    m = sg.matrix("m", dtype="float64")
    f = sg.function([m], sg.vmap(lambda v: sg.specify_shape(v, (3,)).sum())(m))
    np.testing.assert_array_equal(f(np.ones((5, 3))), np.full(5, 3.0))
    with pytest.raises(sg.ShapeError):
        f(np.ones((5, 4)))


def test_verify_grad_passes_what_is_right():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 3)), rng.normal(size=(3, 2))]
    sg.verify_grad(lambda x, w: [sg.tanh(x @ w), sg.exp(w)], arrays)
    sg.verify_grad(lambda x, w: sg.tanh(x @ w), [a.astype("float32") for a in arrays])
    sg.verify_grad(lambda x: x**3, [np.array(2.0)], n_tests=3, seed=7, mode="eager")
    sg.verify_grad(lambda x: x[:0], [np.zeros(2)])


def test_verify_grad_names_what_is_wrong():
    wrong = sg.custom_vjp(sg.exp, lambda i, y, g: [g[0] * y[0] * [1.0, 1.01]])
    with pytest.raises(sg.VerifyError, match=r"element \(1,\) of argument 0"):
        sg.verify_grad(wrong, [np.array([1.0, 2.0])])
    apart = sg.custom_vjp(sg.exp, lambda i, y, g: [g[0] * y[0]], lambda i, t: [t[0]])
    with pytest.raises(sg.VerifyError, match="forward mode gives"):
        sg.verify_grad(apart, [np.array([1.0, 2.0])])
    with pytest.raises(sg.DTypeError, match="argument 1 is int"):
        sg.verify_grad(lambda x, k: x * k, [np.ones(2), np.arange(2)])


def test_both_rules_of_a_custom_derivative():
    f = sg.custom_vjp(lambda v: v * v, lambda i, y, g: [7.0 * g[0]], lambda i, t: [5.0 * t[0]])
    run = sg.function([X], [sg.grad(f(X).sum(), X), sg.Rop(f(X), X, sg.ones_like(X))])
    found = run(np.ones(2))
    np.testing.assert_array_equal(found, [[7.0, 7.0], [5.0, 5.0]])
