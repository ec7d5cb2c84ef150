"""Derivative rules of one's own: both modes, nesting, loops, batches, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg


def clipped(v):
    """The identity whose derivative is cut to [-1, 1]."""
    return sg.custom_vjp(lambda x: x * 1.0, lambda i, y, g: [sg.clip(g[0], -1.0, 1.0)])(v)


def run(inputs, outputs, values):
    """Return the outputs of eager and of native code, after comparing them."""
    eager = sg.function(inputs, outputs, mode="eager")(*values)
    native = sg.function(inputs, outputs)(*values)
    for a, b in zip(eager, native, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    return native


def test_reverse_rule_and_second_order():
    x = sg.vector("x", dtype="float64")
    cube = sg.custom_vjp(lambda v: v**3, lambda i, y, g: [g[0] * i[0]])  # not the derivative
    g = sg.grad(cube(x).sum(), x)
    h = sg.grad(g.sum(), x)
    point = np.array([2.0, -3.0])
    value, first, second = run([x], [cube(x), g, h], [point])
    np.testing.assert_array_equal(value, point**3)
    np.testing.assert_array_equal(first, point)
    np.testing.assert_array_equal(second, [1.0, 1.0])


def test_forward_mode_is_the_transpose_of_a_reverse_rule():
    x, v = sg.vector("x", dtype="float64"), sg.vector("v", dtype="float64")
    w = sg.matrix("w", dtype="float64")

    def pull(inputs, outputs, g):  # three times the derivative by the matrix
        return [3.0 * sg.outer(g[0], inputs[1]) + g[1] * inputs[0], inputs[0].T @ g[0]]

    both = sg.custom_vjp(lambda a, b: [a @ b, (a**2).sum()], pull)
    product, square = both(w, x)
    cost = sg.tanh(product).sum() * square
    outputs = [
        sg.Rop(product, x, v),
        sg.Rop(square, w, w),
        sg.hessian(cost, x),
        sg.hvp(cost, x, v),
        sg.vmap(lambda row: sg.Rop(both(w, row)[0], row, v))(w),
    ]
    rng = np.random.default_rng(3)
    a, b, d = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=3)
    pushed, by_square, hessian, product_hv, each = run([w, x, v], outputs, [a, b, d])
    np.testing.assert_allclose(pushed, a @ d)
    np.testing.assert_allclose(by_square, (a * a).sum())
    reverse = sg.grad(sg.grad(cost, x) @ v, x).eval({w: a, x: b, v: d})
    np.testing.assert_allclose(product_hv, reverse)
    np.testing.assert_allclose(hessian @ d, reverse)
    np.testing.assert_allclose(each, np.stack([a @ d] * 4))
    with pytest.raises(sg.NotDifferentiableError, match="not linear in the gradients.*forward"):
        sg.Rop(clipped(x), x, v)


def test_a_scan_inside_under_vmap():
    def summed(v):
        return sg.scan(lambda a, c: c * 0.5 + a, sequences=[v], outputs_info=np.float64(0))[-1]

    f = sg.custom_vjp(summed, lambda i, y, g: [sg.ones_like(i[0]) * g[0] * y[0]])
    x = sg.matrix("x", dtype="float64")
    a = np.random.default_rng(4).normal(size=(3, 5))
    values = a @ 0.5 ** np.arange(5)[::-1]
    each, gradients = run([x], [sg.vmap(f)(x), sg.vmap(lambda v: sg.grad(f(v), v))(x)], [a])
    np.testing.assert_allclose(each, values)
    np.testing.assert_allclose(gradients, np.repeat(values[:, None], 5, 1))


def test_forward_rule_serves_both_modes():
    x, y = sg.vector("x", dtype="float64"), sg.scalar("y", dtype="float64")

    def product(a, b):
        return [a * b, a + b]

    def push(inputs, tangents):
        (a, b), (s, t) = inputs, tangents
        return [10.0 * (a * t + b * s), s + t]

    f = sg.custom_jvp(product, push)
    p, q = f(x, y)
    cost = (p * 2.0 + q).sum()
    point = [np.array([1.0, 2.0]), np.array(3.0)]
    outputs = [*sg.grad(cost, [x, y]), sg.Rop(p, [x, y], [sg.ones_like(x), sg.ones_like(y)])]
    by_x, by_y, pushed = run([x, y], outputs, point)
    np.testing.assert_allclose(by_x, 20.0 * 3.0 + 1.0)
    np.testing.assert_allclose(by_y, 20.0 * 3.0 + 2.0)
    np.testing.assert_allclose(pushed, 10.0 * (point[0] + 3.0))


def test_in_loops_branches_and_batches():
    x = sg.vector("x", dtype="float64")
    total = sg.reduce(lambda v, s: s + clipped(v) * 5.0, x, np.float64(0))
    batch = sg.vmap(lambda v: clipped(v) * 5.0)(x).sum()
    branch = sg.cond(x.sum() > 0, lambda: clipped(x) * 5.0, lambda: x * 5.0).sum()
    each = sg.vmap(lambda v: sg.grad(clipped(v) * 5.0, v))(x)
    outputs = [*(sg.grad(c, x) for c in (total, batch, branch)), each]
    for g in run([x], outputs, [np.array([1.0, 2.0, 3.0])]):
        np.testing.assert_array_equal(g, np.ones(3))


def test_errors():
    x, w = sg.vector("x"), sg.scalar("w")
    with pytest.raises(ValueError, match="is not an argument"):
        sg.custom_vjp(lambda v: v * w, lambda i, y, g: [g[0]])(x)
    wrong = sg.custom_vjp(lambda v: v * 2.0, lambda i, y, g: [g[0].sum()])
    with pytest.raises(sg.ShapeError, match="returned scalar"):
        sg.grad(wrong(x).sum(), x)


def test_rules_that_answer_wrongly():
    x = sg.vector("x", dtype="float64")
    two = sg.custom_vjp(lambda a, b: a * b, lambda i, y, g: [g[0]])
    with pytest.raises(ValueError, match=r"returned 1 values, expected a list of 2\n.*test_custom"):
        sg.grad(two(x, x).sum(), x)
    bare = sg.custom_jvp(lambda a: a * 2.0, lambda i, t: t[0])
    with pytest.raises(ValueError, match="custom_jvp returned no list, expected a list of 1"):
        sg.grad(bare(x).sum(), x)
    short = sg.custom_jvp(lambda a: a * 2.0, lambda i, t: [t[0].sum()])
    with pytest.raises(sg.ShapeError, match="returned scalar float64 .* as tangent of"):
        sg.Rop(short(x), x, x)
    square = sg.custom_jvp(lambda a: a * 2.0, lambda i, t: [t[0] ** 2])
    with pytest.raises(sg.NotDifferentiableError, match="not linear in the tangents"):
        sg.grad(square(x).sum(), x)
    four = sg.custom_vjp(lambda a: a * 2.0, lambda i, y, g: [sg.ones(4, dtype="float64")])
    f = sg.function([x], sg.grad(four(x).sum(), x))
    np.testing.assert_array_equal(f(np.zeros(4)), np.ones(4))
    with pytest.raises(sg.ShapeError, match="cannot broadcast"):
        f(np.zeros(5))


@pytest.mark.parametrize("in_loop", [False, True])
def test_hessian_through_a_rule_that_is_no_derivative_is_the_jacobian_of_the_gradient(
    in_loop: bool,
) -> None:
    x = sg.matrix("x", dtype="float64")

    def pull(inputs: Any, outputs: Any, g: Any) -> Any:
        v = inputs[0]
        return [g[0] * sg.stack([v[0] * v[1], v[0] ** 2])]

    f = sg.custom_vjp(lambda v: (v**2).sum(), pull)
    cost = sg.fori_loop(0, 2, lambda i, s: s + f(x), sg.zeros((), "float64")) if in_loop else f(x)
    hessian = sg.hessian(cost, x)
    jacobian = sg.jacobian(sg.grad(cost, x), x)
    h, j = sg.function([x], [hessian, jacobian])(np.array([[0.7, 1.6], [0.3, -2.0]]))
    np.testing.assert_allclose(h, j, rtol=1e-14)
    assert np.abs(h - h.transpose(2, 3, 0, 1)).max() > 0.1
