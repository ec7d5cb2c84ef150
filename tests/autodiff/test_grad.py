"""The derivative functions: options of grad, products, Jacobians, Hessians, nesting, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symgraph as sg
import symgraph.ops  # noqa: F401
from symgraph.autodiff import grad as ad
from symgraph.compile import eager
from symgraph.core.errors import DisconnectedInputError, NotDifferentiableError, ShapeError
from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.dims.dim import symbol

RNG = np.random.default_rng(5)
A = RNG.normal(size=(4,))
B = RNG.normal(size=(4,))
W = RNG.normal(size=(3, 4))


def value(node: Any, arrays: dict[Node, Any]) -> Any:
    many = isinstance(node, list)
    values = eager.evaluate(node if many else [node], {k: np.asarray(v) for k, v in arrays.items()})
    return values if many else values[0]


def vectors(*names: str) -> list[Node]:
    return [new_input("float64", (4,), n) for n in names]


def test_known_gradients() -> None:
    (x,) = vectors("x")
    np.testing.assert_allclose(value(ad.grad((x**3).sum(), x), {x: A}), 3 * A**2)
    np.testing.assert_allclose(
        value(ad.grad(o.exp(o.sin(x)).sum(), x), {x: A}), np.exp(np.sin(A)) * np.cos(A)
    )
    c, g = ad.value_and_grad(o.dot(x, x), x)
    np.testing.assert_allclose(value([c, g], {x: A})[1], 2 * A)


def test_every_use_adds_up() -> None:
    (x,) = vectors("x")
    y = x * x
    np.testing.assert_allclose(value(ad.grad((y * y + y).sum(), x), {x: A}), 4 * A**3 + 2 * A)
    np.testing.assert_allclose(value(ad.grad((y * y + y).sum(), y), {x: A}), 2 * A**2 + 1)


def test_consider_constant() -> None:
    x, y = vectors("x", "y")
    product = x * y
    cost = (product * x).sum()
    np.testing.assert_allclose(
        value(ad.grad(cost, x, consider_constant=[product]), {x: A, y: B}), A * B
    )
    np.testing.assert_allclose(
        value(ad.grad((o.stop_gradient(product) * x).sum(), x), {x: A, y: B}), A * B
    )


def test_known_grads_start_inside() -> None:
    x, y = vectors("x", "y")
    hidden = o.tanh(x)
    seed = np.arange(4.0)
    found = value(ad.grad(None, x, known_grads={hidden: y}), {x: A, y: seed})
    np.testing.assert_allclose(found, seed * (1 - np.tanh(A) ** 2))
    both = value(ad.grad(x.sum(), x, known_grads={hidden: y}), {x: A, y: seed})
    np.testing.assert_allclose(both, 1 + seed * (1 - np.tanh(A) ** 2))


def test_disconnected() -> None:
    x, y = vectors("x", "y")
    with pytest.raises(DisconnectedInputError, match="`y`"):
        ad.grad(x.sum(), y)
    with pytest.warns(UserWarning, match="`y`"):
        zero = ad.grad(x.sum(), y, disconnected_inputs="warn")
    assert np.array_equal(value(zero, {y: B}), np.zeros(4))
    assert ad.grad(x.sum(), y, disconnected_inputs="ignore", return_disconnected="none") is None
    with pytest.raises(DisconnectedInputError):
        ad.grad(o.stop_gradient(x).sum(), x)
    with pytest.raises(ValueError, match="disconnected_inputs"):
        ad.grad(x.sum(), y, disconnected_inputs="maybe")


def test_bad_costs() -> None:
    (x,) = vectors("x")
    with pytest.raises(ShapeError, match="scalar"):
        ad.grad(x * 2, x)
    with pytest.raises(NotDifferentiableError, match="int64"):
        ad.grad(o.argmax(x), x)
    with pytest.raises(TypeError, match="cost or known_grads"):
        ad.grad(None, x)


def test_gradients_carry_where_they_come_from() -> None:
    (x,) = vectors("x")
    g = ad.grad(o.sin(x).sum(), x)
    assert "test_grad.py" in str(g.source)


def test_products_agree_with_jacobian() -> None:
    x, u = vectors("x", "u")
    y = o.tanh(o.matmul(W, x))
    t = new_input("float64", (3,), "t")
    arrays = {x: A, u: B, t: RNG.normal(size=3)}
    jac, forward, reverse = value([ad.jacobian(y, x), ad.Rop(y, x, u), ad.Lop(y, x, t)], arrays)
    expected = (1 - np.tanh(W @ A) ** 2)[:, None] * W
    np.testing.assert_allclose(jac, expected, atol=1e-14)
    np.testing.assert_allclose(forward, expected @ B, atol=1e-14)
    np.testing.assert_allclose(reverse, arrays[t] @ expected, atol=1e-14)


def test_hessian_and_its_products() -> None:
    x, u = vectors("x", "u")
    cost = o.logsumexp(x * x) + o.prod(x)
    full, product, gradient = value(
        [ad.hessian(cost, x), ad.hvp(cost, x, u), ad.grad(cost, x)], {x: A, u: B}
    )
    np.testing.assert_allclose(full, full.T, atol=1e-12)
    np.testing.assert_allclose(full @ B, product, atol=1e-12)
    g = ad.grad(cost, x)
    for k in range(4):
        step = np.eye(4)[k] * 1e-6
        column = (value(g, {x: A + step}) - value(g, {x: A - step})) / 2e-6
        np.testing.assert_allclose(full[:, k], column, atol=1e-6)
    assert gradient.shape == (4,)


def test_gauss_newton_product() -> None:
    x, u = vectors("x", "u")
    y = o.tanh(o.matmul(W, x))
    cost = o.logsumexp(y)
    arrays = {x: A, u: B}
    found, jac, output = value([ad.ggnvp(cost, y, x, u), ad.jacobian(y, x), y], arrays)
    p = np.exp(output) / np.exp(output).sum()
    np.testing.assert_allclose(
        found, jac.T @ ((np.diag(p) - np.outer(p, p)) @ (jac @ B)), atol=1e-12
    )


def test_matrix_shapes() -> None:
    w = new_input("float64", (3, 4), "w")
    y = o.square(w).sum(1)
    jac = value(ad.jacobian(y, w), {w: W})
    assert jac.shape == (3, 3, 4)
    np.testing.assert_allclose(jac, np.eye(3)[:, :, None] * 2 * W)
    assert value(ad.hessian(o.square(w).sum(), w), {w: W}).shape == (3, 4, 3, 4)
    n = new_input("float64", (symbol("n"),))
    np.testing.assert_allclose(value(ad.jacobian(o.sin(n), n), {n: A}), np.diag(np.cos(A)))
    for direction in ("forward", "reverse"):
        found = ad.jacobian(o.outer(n, n), n, direction=direction)
        eye = np.eye(len(A))
        expected = eye[:, None] * A[None, :, None] + A[:, None, None] * eye[None]
        np.testing.assert_allclose(value(found, {n: A}), expected)


def test_forward_mode_of_unrelated_output() -> None:
    x, y = vectors("x", "y")
    assert np.array_equal(value(ad.Rop(y, x, np.ones(4)), {y: B}), np.zeros(4))
    with pytest.raises(ValueError, match="eval_points"):
        ad.Rop([x], [x], [1.0, 2.0])


def test_grad_clip() -> None:
    (x,) = vectors("x")
    g = ad.grad((o.grad_clip(x, -0.5, 0.5) * 3).sum(), x)
    assert np.array_equal(value(g, {x: A}), np.full(4, 0.5))


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_high_orders(order: int) -> None:
    """The n-th derivative of sin(2x) in any nesting of forward and reverse mode."""
    x = new_input("float64", ())
    expected = 2.0**order * np.sin(2 * 0.3 + order * np.pi / 2)
    reverse = forward = o.sin(2 * x)
    for k in range(order):
        reverse = ad.grad(reverse, x)
        forward = ad.Rop(forward, x, 1.0) if k % 2 else ad.grad(forward, x)
    np.testing.assert_allclose(value([reverse, forward], {x: 0.3}), expected, rtol=1e-12)


def test_float32_stays_float32() -> None:
    x = new_input("float32", (4,))
    for f in (
        o.sin,
        o.softmax,
        o.mean,
        o.std,
        o.logsumexp,
        lambda v: v**3,
        lambda v: 1 / (v * v + 1),
    ):
        g = ad.grad(f(x).sum(), x)
        assert g.dtype == "float32"
        assert value(g, {x: A.astype("float32")}).dtype == np.float32
    i = new_input("int32", (4,))
    assert ad.grad((x * i).sum(), x).dtype == "float32"


def test_gradient_of_a_long_chain() -> None:
    """Deep graphs do not meet the recursion limit of Python."""
    x = new_input("float64", ())
    y = x
    for _ in range(5000):
        y = o.sin(y)
    assert np.isfinite(value(ad.grad(y, x), {x: 0.5}))


# -- random graphs -------------------------------------------------------------------------------
STEPS: dict[str, Any] = {
    "sin": lambda a, b: o.sin(a),
    "tanh": lambda a, b: o.tanh(a),
    "mul": lambda a, b: a * b,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "softplus": lambda a, b: o.softplus(a),
    "div": lambda a, b: a / (2 + o.cos(b)),
    "where": lambda a, b: o.where(o.gt(a, 0), a, o.expm1(a)),
    "softmax": lambda a, b: o.softmax(a),
    "cumsum": lambda a, b: o.cumsum(a),
    "flip": lambda a, b: a[::-1],
    "matmul": lambda a, b: o.matmul(W.T, o.matmul(W, a)) / 8,
    "norm": lambda a, b: a / (1 + o.dot(b, b)),
    "outer": lambda a, b: (o.outer(a, b)).mean(0),
    "take": lambda a, b: a[np.array([0, 3, 3, 1])],
    "set": lambda a, b: a[1:3].set(b[:2]),
    "inc": lambda a, b: a[::2].inc(b[1::2]),
    "power": lambda a, b: o.power(1 + o.square(a), 0.5),
    "logsumexp": lambda a, b: a * o.logsumexp(b),
}
programs = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9)),
    min_size=1,
    max_size=7,
)


def interpret(program: Any, x: Node) -> Node:
    made = [x]
    for name, i, j in program:
        made.append(STEPS[name](made[i % len(made)], made[j % len(made)]))
    return made[-1]


@given(programs, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_random_graphs(program: Any, seed: int) -> None:
    """First derivatives against differences, second ones against differences of the first."""
    rng = np.random.default_rng(seed)
    x, u = vectors("x", "u")
    y = interpret(program, x)
    cost = (y * rng.normal(size=4)).sum()
    g = ad.grad(cost, x, disconnected_inputs="ignore")
    a, d, h = rng.normal(size=4), rng.normal(size=4), 1e-6
    product = ad.Rop(g, x, u)
    moved = ad.Rop(cost, x, u)
    gradient, curved, forward = value([g, product, moved], {x: a, u: d})
    (cp, gp), (cm, gm) = (value([cost, g], {x: a + s * h * d}) for s in (1, -1))
    scale = 1 + np.abs(gradient * d).sum()
    assert abs(float(gradient @ d) - float(forward)) < 1e-9 * scale
    assert abs((float(cp) - float(cm)) / (2 * h) - float(forward)) < 1e-5 * scale
    bound = 1e-4 * (1 + np.abs(curved).max() + np.abs(gradient).max())
    assert np.abs((gp - gm) / (2 * h) - curved).max() < bound


def test_equal_outputs_of_a_product_add_up() -> None:
    x = sg.dvector("x")
    product = sg.Lop([x * 2, x * 2], x, [np.array([1.0, 0.0]), np.array([0.0, 10.0])])
    np.testing.assert_array_equal(product.eval({x: np.ones(2)}), [2.0, 20.0])
    with pytest.raises(ValueError, match="`x` is listed twice"):
        sg.Rop(x * 2, [x, x], [x, x])


def test_gradient_for_constant_labels() -> None:
    x = sg.dmatrix("x")
    f = sg.function([x], sg.grad(sg.cross_entropy(x, np.array([0, 2, -1])).sum(), x))
    wanted = np.full((3, 3), 1 / 3) - np.eye(3)[[0, 2, 2]]
    np.testing.assert_allclose(f(np.zeros((3, 3))), wanted, atol=1e-15)


def test_by_an_intermediate_means_every_equal_expression() -> None:
    """Equal expressions are one node, so there is no derivative by one of them alone."""
    x = sg.dvector("x")
    h = x * 2
    cost = (h**2).sum() + (x * 2).sum()  # the second one was written again
    a = np.array([1.0, -3.0])
    np.testing.assert_array_equal(sg.grad(cost, h).eval({x: a}), 2 * (2 * a) + 1)
    by_h, by_x = sg.grad(cost, [h, x])
    np.testing.assert_array_equal(by_x.eval({x: a}), 2 * by_h.eval({x: a}))
    named = x * 2
    named.name = "twice"
    assert h.name == "twice" and h.source == named.source


def test_an_operand_made_of_another_one_counts_once():
    """Pulling back through an expansion stops at the operands, whatever they are made of."""
    a, b, x = (sg.scalar(n, dtype="float64") for n in "abx")
    y = sg.hyp1f1(a, a + b, x) * sg.hyp2f1(x, a, a + b + x, 0.3)
    reverse = sg.grad(y, [a, b, x])
    forward = [sg.Rop(y, v, 1.0) for v in (a, b, x)]
    found = sg.function([a, b, x], [*reverse, *forward])(0.7, 1.1, 0.4)
    np.testing.assert_allclose(found[:3], found[3:], rtol=1e-10)
