"""Lazy choice: values, derivatives, laziness, nesting, batching, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.body import bodies
from symgraph.core.walk import toposort


def both(x: Any, y: Any) -> Any:
    return sg.cond(x > 0, lambda: sg.log(x) * y, lambda: sg.exp(x) + y**2)


def functions(inputs: list[Any], outputs: Any) -> list[Any]:
    """Return the function eager, native, and native with run-time sizes."""
    return [
        sg.function(inputs, outputs, mode="eager"),
        sg.function(inputs, outputs, shapes="exact"),
        sg.function(inputs, outputs, shapes="generic"),
    ]


@pytest.mark.parametrize("value", [2.0, -2.0])
def test_values_and_derivatives(value: float) -> None:
    x, y = sg.scalar("x", dtype="float64"), sg.vector("y", dtype="float64")
    z = both(x, y)
    cost = (z**2).sum()
    g = sg.grad(cost, [x, y])
    h = sg.hvp(cost, [x, y], [sg.as_tensor(1.5), sg.sin(y)])
    plain = sg.log(x) * y if value > 0 else sg.exp(x) + y**2
    same = (plain**2).sum()
    second = sg.hvp(same, [x, y], [sg.as_tensor(1.5), sg.sin(y)])
    expected = [plain, *sg.grad(same, [x, y]), *second]
    point = np.array([0.3, -0.7, 1.1])
    wanted = [e.eval({x: value, y: point}) for e in expected]
    for f in functions([x, y], [z, *g, *h]):
        for a, b in zip(f(value, point), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_other_side_does_not_leak_into_the_derivative() -> None:
    x = sg.scalar("x", dtype="float64")
    y = sg.cond(x > 0, lambda: sg.sqrt(x) / x, lambda: x * 3.0)
    for f in functions([x], sg.grad(y, x)):
        assert f(0.0) == 3.0


def test_only_one_side_is_computed() -> None:
    """The index error of the side that is not chosen is not met; the other side's is."""
    x, k = sg.vector("x", dtype="float64"), sg.lscalar("k")
    inside = (k >= 0) & (k < 3)
    y = sg.cond(inside, lambda: x[k[None]][0], lambda: sg.as_tensor(np.float64(-1)))
    for f in functions([x, k], y):
        assert f(np.arange(3.0), 2) == 2.0
        assert f(np.arange(3.0), 7) == -1.0
    wrong = sg.function([x, k], sg.cond(inside, lambda: x[0], lambda: x[k[None]][0]))
    with pytest.raises(IndexError):
        wrong(np.arange(3.0), 7)


def test_lists_operands_numbers_and_nesting() -> None:
    x = sg.scalar("x", dtype="float64")
    a, b = sg.cond(x > 0, lambda v: [v, 1], lambda v: [0.0, -1], x)
    c = sg.cond(x > 10, x, sg.cond(x > 5, lambda: 2 * x, lambda: 3 * x))
    for f in functions([x], [a, b, c]):
        assert [float(v) for v in f(2.0)] == [2.0, 1.0, 6.0]
        assert [float(v) for v in f(7.0)] == [7.0, 1.0, 14.0]
        assert [float(v) for v in f(-1.0)] == [0.0, -1.0, -3.0]


def test_inside_of_a_scan_and_around_one() -> None:
    x = sg.vector("x", dtype="float64")
    walk = sg.scan(
        lambda v, s: sg.cond(v > s, lambda: v - s, lambda: s * 0.5), x, np.float64(1)
    )
    around = sg.cond(x.sum() > 0, lambda: sg.scan(lambda v, s: v + s, x, np.float64(0)), lambda: x)
    values = np.array([3.0, 0.5, 0.2, 4.0])
    state, rows = 1.0, []
    for v in values:
        state = v - state if v > state else state * 0.5
        rows.append(state)
    cost = (walk**2).sum() + around.sum()
    gradient = sg.grad(cost, x)
    eager = gradient.eval({x: values})
    step = 1e-6
    for k in range(4):
        d = np.zeros(4)
        d[k] = step
        finite = (cost.eval({x: values + d}) - cost.eval({x: values - d})) / (2 * step)
        np.testing.assert_allclose(eager[k], finite, rtol=1e-6)
    for f in functions([x], [walk, around, gradient]):
        a, b, g = f(values)
        np.testing.assert_allclose(a, rows)
        np.testing.assert_allclose(b, np.cumsum(values))
        np.testing.assert_allclose(g, eager)
        np.testing.assert_array_equal(f(-values)[1], -values)


def test_batches_of_conditions_and_of_values() -> None:
    x, c = sg.vector("x", dtype="float64"), sg.bscalar("c")
    y = sg.scalar("y", dtype="float64")
    each = sg.vmap(lambda v: both(v, y))(x)
    values = np.array([2.0, -2.0, 0.5])
    wanted = [both(sg.as_tensor(v), y).eval({y: 1.5}) for v in values]
    for f in functions([x, y], each):
        np.testing.assert_allclose(f(values, 1.5), wanted)
    same = sg.vmap(lambda v: sg.cond(c > 0, lambda: v * 2, lambda: v + 1))(x)
    for f in functions([x, c], same):
        np.testing.assert_array_equal(f(values, 1), values * 2)
        np.testing.assert_array_equal(f(values, 0), values + 1)


def test_what_is_needed_outside_is_computed_once() -> None:
    x = sg.matrix("x", dtype="float32")
    shared = sg.tanh(x @ x)
    y = sg.cond(x.sum() > 0, lambda: shared * 2, lambda: shared + 1)
    f = sg.function([x], [shared, y])
    f(np.eye(3, dtype="float32"))
    (version,) = f.compiled.version_list
    (branch,) = [n for n in version.stages.graph[1].inputs if n.op.name == "branch"]
    inside = [n for b in branch.params for n in sg.ops.loop.toposort(b.outputs)]
    assert not any(n.op.name == "matmul" for n in inside)


def test_clear_errors() -> None:
    x, i = sg.vector("x"), sg.lvector("i")
    with pytest.raises(sg.ShapeError, match="must be a scalar"):
        sg.cond(x > 0, x, x)
    with pytest.raises(sg.DTypeError, match="sides of a branch differ"):
        sg.cond(x.sum() > 0, x, i)
    with pytest.raises(sg.ShapeError, match="differ in shape"):
        sg.cond(x.sum() > 0, x, x[None])
    with pytest.raises(ValueError, match="same number"):
        sg.cond(x.sum() > 0, [x], [x, x])


def test_a_side_reads_another_result_of_a_scan_that_is_done_in_any_case() -> None:
    x = sg.vector("x", dtype="float64")

    def twice(h: Any) -> Any:
        a, b = sg.scan(
            lambda s, t: [sg.tanh(s + t), sg.cos(t) * s], outputs_info=[h, h * 0.5], n_steps=3
        )
        return sg.cond(a[-1].sum() > 0, lambda: sg.sin(b[-1]), lambda: h) + a[0] * 0.1

    rows = sg.scan(twice, outputs_info=twice(x), n_steps=3)
    results = [twice(x), rows, sg.grad((rows**2).sum(), x)]
    for value in (np.linspace(0.1, 1.0, 3), -np.linspace(0.1, 1.0, 3)):
        native = sg.function([x], results)(value)
        for got, want in zip(native, sg.function([x], results, mode="eager")(value), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12)


def test_sides_do_not_do_the_loops_around_them_again() -> None:
    x = sg.vector("x", dtype="float64")

    def once(h: Any) -> Any:
        r = sg.while_loop(lambda s: s.sum() < 1.5, lambda s: sg.sin(s) + h * 0.3, h)
        return sg.cond(r.sum() > 0.2, lambda: sg.sin(r) * h, lambda: r * 0.4 + h)

    loss = (sg.scan(once, outputs_info=x, n_steps=1) ** 2).sum()
    f = sg.function([x], [loss, sg.grad(loss, x)])
    f(np.linspace(0.1, 1.0, 3))
    (graph,) = [v.graph for v in f.compiled.version_list]
    assert compounds(graph) <= 29  # 31 where a side has a loop of its own for one around


def compounds(outputs: Any) -> int:
    """Return how many loops and branches there are, those inside of others included."""
    found = [n for n in toposort(outputs) if n.op.compound]
    return len(found) + sum(compounds(b.outputs) for n in found for b in bodies(n))
