"""Derivative rules of one's own: both modes, nesting, loops, batches, errors."""

from __future__ import annotations

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
    with pytest.raises(sg.NotDifferentiableError, match="no forward-mode rule"):
        sg.Rop(cube(x), x, x)


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
