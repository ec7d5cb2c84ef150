"""Loops that become running ops: which do, and that the values are those of the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
import symgraph.rewrites.loops as loop_rewrites
from symgraph.compile import pipeline
from symgraph.ops.loop import loops, make_loop, results_of

N = 23

Step = Callable[[Any, Any, Any], Any]
EXACT: dict[str, Step] = {
    "sum": lambda a, b, s: s + b,
    "difference": lambda a, b, s: s - b,
    "product": lambda a, b, s: a * s,
    "max": lambda a, b, s: sg.maximum(s, b),
    "min": lambda a, b, s: sg.minimum(a * b, s),
}
REORDERED: dict[str, Step] = {
    "linear": lambda a, b, s: a * s + b,
    "linear_less": lambda a, b, s: s * a - b,
    "rotated": lambda a, b, s: a * (s + b),
    "constant_factor": lambda a, b, s: 0.9 * s + sg.tanh(a) * b,
    "average": lambda a, b, s: s + a * (b - s),
    "both_sides": lambda a, b, s: a * s + 0.5 * (s - b),
    "quotient": lambda a, b, s: (b - s) / (2.0 + a * a),
    "choice": lambda a, b, s: sg.where(a > 0, a * s, 0.5 * s + b),
    "negative": lambda a, b, s: -(a * s) - b,
    "three_terms": lambda a, b, s: a + a * s + b,
    "soft": lambda a, b, s: sg.logaddexp(s, a * b),
}
NOT: dict[str, Step] = {
    "square": lambda a, b, s: a * s * s,
    "inverse": lambda a, b, s: b / (2.0 + s * s),
    "function": lambda a, b, s: sg.tanh(a * s + b),
    "own_condition": lambda a, b, s: sg.where(s > 0, a * s, b),
}


def scanned(step: Step, backwards: bool = False, width: int = 0) -> tuple[list[Any], Any]:
    shape = (None, width) if width else (None,)
    a, b = (sg.tensor(name, shape=shape, dtype="float64") for name in "ab")
    h = sg.tensor("h", shape=shape[1:], dtype="float64")
    return [a, b, h], sg.scan(step, [a, b], h, go_backwards=backwards)


def values(width: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    tail = (width,) if width else ()
    return [rng.normal(size=s) for s in ((N, *tail), (N, *tail), tail)]


def count(outputs: list[Any], numerics: str = "default") -> int:
    return len(loops(pipeline.prepare(outputs, numerics)))


def by_loop(monkeypatch: Any, inputs: list[Any], outputs: list[Any], given: Any) -> list[Any]:
    """Return the values that the loop gives."""
    with monkeypatch.context() as m:
        m.setattr(loop_rewrites, "without_loop", lambda opened, strict: False)
        assert count(outputs) > 0
        found: list[Any] = sg.function(inputs, outputs, on_unused_input="ignore")(*given)
        return found


@pytest.mark.parametrize("width", [0, 3])
@pytest.mark.parametrize("name", EXACT)
def test_same_bits(name: str, width: int, monkeypatch: Any) -> None:
    inputs, y = scanned(EXACT[name], width=width)
    assert count([y], "strict") == 0
    wanted = by_loop(monkeypatch, inputs, [y], values(width))
    got = sg.function(inputs, [y], on_unused_input="ignore")(*values(width))
    np.testing.assert_array_equal(got[0], wanted[0])


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", [*EXACT, *REORDERED])
def test_values_and_derivatives(name: str, backwards: bool, monkeypatch: Any) -> None:
    step = {**EXACT, **REORDERED}[name]
    inputs, y = scanned(step, backwards)
    cost = (y**2).sum()
    options = {"disconnected_inputs": "ignore"}
    first = sg.grad(cost, inputs, **options)
    second = sg.grad(sum((g**2).sum() for g in first), inputs, **options)
    outputs = [y, *first, *second]
    assert count([y]) == 0
    wanted = by_loop(monkeypatch, inputs, outputs, values())
    for shapes in ("exact", "generic"):
        f = sg.function(inputs, outputs, shapes=shapes, on_unused_input="ignore")
        for a, b in zip(f(*values()), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", REORDERED)
def test_strict_keeps_the_order_of_operations(name: str) -> None:
    _, y = scanned(REORDERED[name])
    assert count([y], "strict") == 1


@pytest.mark.parametrize("name", NOT)
def test_other_steps_stay_loops(name: str) -> None:
    _, y = scanned(NOT[name])
    assert count([y]) == 1


def test_the_way_back_needs_no_loop() -> None:
    inputs, y = scanned(REORDERED["linear"])
    assert count(sg.grad((y**2).sum(), inputs)) == 0


def test_states_that_follow_from_each_other(monkeypatch: Any) -> None:
    """Momentum: the second state is driven by the first; the first of another pair by neither."""
    g, h = sg.vector("g", dtype="float64"), sg.scalar("h", dtype="float64")

    def step(x: Any, v: Any, p: Any, t: Any) -> list[Any]:
        v = 0.9 * v + x
        return [v, p - 0.1 * v, sg.maximum(t, p)]

    rows = sg.scan(step, g, [h, 2.0 * h, h])
    outputs = [*rows, rows[1][-1], *sg.grad((rows[1] ** 2).sum(), [g, h])]
    assert count(outputs) == 0
    given = [values()[0], values()[2]]
    wanted = by_loop(monkeypatch, [g, h], outputs, given)
    for a, b in zip(sg.function([g, h], outputs)(*given), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_states_that_depend_on_each_other_stay_a_loop() -> None:
    x, h = sg.vector("x"), sg.scalar("h")
    rows = sg.scan(lambda v, a, b: [0.5 * a - b + v, 0.5 * b + a], x, [h, h])
    assert count(list(rows)) == 1


def test_wide_states_and_last_states_stay_loops() -> None:
    _, y = scanned(REORDERED["linear"], width=8)
    assert count([y]) == 0
    _, y = scanned(REORDERED["linear"], width=9)
    assert count([y]) == 1
    _, y = scanned(REORDERED["linear"])
    a = sg.tensor("a", shape=(50,), dtype="float64")
    last = sg.scan(lambda v, s: v * s, a, np.float64(1))[-1]
    assert count([last]) == 1


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_and_no_sequences(n: int) -> None:
    x = sg.vector("x", dtype="float64")
    h = sg.scalar("h", dtype="float64")
    y = sg.scan(lambda v, s: 0.5 * s + v, x, h)
    last = sg.foldl(lambda v, s: 0.5 * s + v, x, h)
    f = sg.function([x, h], [y, last], shapes="generic")
    rows, end = f(np.arange(1.0, n + 1), 4.0)
    assert rows.shape == (n,)
    s = 4.0
    for k in range(n):
        s = 0.5 * s + (k + 1)
        assert rows[k] == s
    assert end == s


def test_integers_wrap_and_booleans(monkeypatch: Any) -> None:
    x, b = sg.vector("x", dtype="int8"), sg.vector("b", dtype="bool")
    total = sg.scan(lambda v, s: s + v, x, np.int8(5))
    some = sg.scan(lambda v, s: sg.logical_or(s, v), b, np.False_)
    assert count([total, some]) == 0
    given = [np.full(40, 7, np.int8), np.arange(40) > 20]
    wanted = by_loop(monkeypatch, [x, b], [total, some], given)
    for a, c in zip(sg.function([x, b], [total, some])(*given), wanted, strict=True):
        assert a.dtype == c.dtype
        np.testing.assert_array_equal(a, c)


def test_updates_of_a_recurrence() -> None:
    state = sg.shared(np.float64(1.0))
    x = sg.vector("x", dtype="float64")
    y = sg.scan(lambda v: (v * state, {state: 0.5 * state + v}), x)
    f = sg.function([x], y)
    wanted, s = [], 1.0
    for v in (1.0, 2.0, 3.0):
        wanted.append(v * s)
        s = 0.5 * s + v
    np.testing.assert_allclose(f(np.array([1.0, 2.0, 3.0])), wanted)
    assert state.get_value() == s


def test_special_values(monkeypatch: Any) -> None:
    """NaN and infinities go the way they go in the loop."""
    inputs, y = scanned(REORDERED["linear"])
    given = [np.array([0.5, np.inf, 1.0, np.nan, 0.0]), np.array([1.0, 2.0, -np.inf, 0.0, 1.0])]
    given.append(np.float64(0.0))
    wanted = by_loop(monkeypatch, inputs, [y], given)
    np.testing.assert_array_equal(sg.function(inputs, y)(*given), wanted[0])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("special", [0, 2])
def test_a_step_that_starts_anew(special: int, reverse: bool, monkeypatch: Any) -> None:
    """Loops of known length, with another rule at one step; the last state is read too."""
    a, b = (sg.tensor(name, shape=(6,), dtype="float64") for name in "ab")
    step = sg.lscalar("step")
    x, y, s = (sg.scalar(name, dtype="float64") for name in "xys")
    new = sg.where(sg.eq(step, special), y, x * s + y)
    start = sg.as_tensor(np.float64(3.0))
    loop = make_loop([step, x, y, s], [new], [new, 2.0 * s], [a, b], [start], 6, reverse=reverse)
    last, rows, before, _ = results_of(loop)
    outputs = [last, rows, before, *sg.grad(last + (rows**2).sum(), [a, b])]
    assert count(outputs) == 0
    given = [v[:6] for v in values()[:2]]
    wanted = by_loop(monkeypatch, [a, b], outputs, given)
    for p, q in zip(sg.function([a, b], outputs)(*given), wanted, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-10)


def test_what_is_outside_of_the_loop_may_be_anything() -> None:
    """A factor that is itself the result of a loop, or hidden from rewrites."""
    x, h = sg.vector("x", dtype="float64"), sg.scalar("h", dtype="float64")
    factor = sg.foldl(lambda v, s: sg.tanh(s + v), x, h) * sg.stop_gradient(h)
    y = sg.scan(lambda v, s: factor * s + v, x, h)
    assert count([y]) == 1  # the loop of the factor


def test_inside_of_loops_branches_and_batches(monkeypatch: Any) -> None:
    x, h = sg.matrix("x", dtype="float64"), sg.scalar("h", dtype="float64")

    def inner(row: Any, s: Any) -> Any:
        return sg.scan(lambda v, t: 0.5 * t + v, row, s)

    rows = sg.scan(lambda row, s: sg.tanh(inner(row, s).sum()), x, h)
    side = sg.cond(h > 0, lambda: inner(x[0], h), lambda: x[0])
    batch = sg.vmap(lambda row: inner(row, h))(x)
    cost = (rows**2).sum() + (side**2).sum() + (batch**2).sum()
    outputs = [rows, side, batch, *sg.grad(cost, [x, h])]
    for start in (0.7, -0.7):
        given = [np.random.default_rng(1).normal(size=(4, 6)), start]
        wanted = by_loop(monkeypatch, [x, h], outputs, given)
        for mode in ("native", "debug"):
            f = sg.function([x, h], outputs, mode=mode)
            for a, b in zip(f(*given), wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10)


def test_loops_that_carry_the_same_value_are_one() -> None:
    """The gradient of a Kalman filter needs its gains: one loop makes them and the states."""
    z = sg.tensor("z", (N,), "float64")

    def step(z: Any, mean: Any, variance: Any) -> list[Any]:
        predicted = variance + 0.01
        gain = predicted / (predicted + 0.1)
        return [mean + gain * (z - mean), (1 - gain) * predicted]

    def count(outputs: Any) -> int:
        return len(loops(pipeline.prepare(outputs, "default")))

    zero, one = np.float64(0), np.float64(1)
    means, _ = sg.scan(step, z, [zero, one])
    assert count([sg.grad((means * means).sum(), z)]) == 1
    other = sg.scan(lambda v: v / (v + 1), outputs_info=one, n_steps=N)
    assert count([means, other]) == 2  # the same start, but another value
    values = np.random.default_rng(0).normal(size=N)
    slope = sg.grad((means * means).sum(), z)
    found = sg.function([z], slope)(values)
    want = sg.function([z], slope, mode="eager")(values)
    np.testing.assert_allclose(found, want, rtol=1e-12)
