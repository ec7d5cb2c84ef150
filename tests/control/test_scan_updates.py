"""Updates of shared variables and random draws in loops: they travel by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scan_rig import close

import symgraph as sg


def test_updates_and_random_draws_ride_on_the_scan() -> None:
    count = sg.shared(np.int64(0), name="count")
    rng = sg.random.RandomStream(3)

    def step(s: Any) -> Any:
        draw = rng.uniform((), dtype="float64")
        return s + draw, {count: count + 2}

    walk = sg.scan(step, outputs_info=np.float64(0), n_steps=6)
    f = sg.function([], walk)
    a, b = f(), f()
    assert int(count.get_value()) == 24
    draws = np.concatenate([np.diff(a, prepend=0.0), np.diff(b, prepend=0.0)])
    assert len(np.unique(draws)) == 12 and (draws > 0).all() and (draws < 1).all()
    rng.seed(3)
    close(f(), a)


def test_random_steps_do_not_depend_on_nesting() -> None:
    rng = sg.random.RandomStream(5)
    table = sg.scan(
        lambda: sg.scan(lambda: rng.uniform((2,), dtype="float64"), n_steps=3), n_steps=4
    )
    f = sg.function([], table)
    a, b = f(), f()
    assert a.shape == (4, 3, 2) and len(np.unique(np.concatenate([a, b]))) == 48


def test_updates_of_inner_scans_travel() -> None:
    count = sg.shared(np.float64(0), name="count")

    def inner(s: Any) -> Any:
        return sg.scan(lambda v: (v + 1.0, {count: count + 1.0}), outputs_info=s, n_steps=3)[-1]

    f = sg.function([], sg.scan(inner, outputs_info=np.float64(0), n_steps=4))
    close(f(), [3.0, 6.0, 9.0, 12.0])
    assert count.get_value() == 12.0
    f = sg.function([], sg.while_loop(lambda v: v < 9.0, inner, np.float64(0)))
    close(f(), 9.0)
    assert count.get_value() == 21.0


def test_an_inner_scan_made_in_a_step_is_done_in_every_step() -> None:
    """Whether it depends on the step or not; one made outside of the step is done once."""
    count = sg.shared(np.float64(0), name="count")

    def three() -> Any:
        return sg.scan(lambda v: (v + 1.0, {count: count + 1.0}), outputs_info=np.float64(0),
                       n_steps=3)[-1]  # fmt: skip

    f = sg.function([], sg.scan(lambda s: s + three(), outputs_info=np.float64(0), n_steps=4))
    close(f(), [3.0, 6.0, 9.0, 12.0])
    assert count.get_value() == 12.0
    outside = three()
    f = sg.function([], sg.scan(lambda s: s + outside, outputs_info=np.float64(0), n_steps=4))
    close(f(), [3.0, 6.0, 9.0, 12.0])
    assert count.get_value() == 15.0


def test_two_scans_that_update_one_variable_are_an_error() -> None:
    x, y = sg.vector("x", dtype="float64"), sg.vector("y", dtype="float64")
    count = sg.shared(np.float64(0), name="count")

    def total(sequence: Any) -> Any:
        return sg.scan(lambda v, s: (s + v, {count: count + 1.0}), sequence, np.float64(0))

    first = total(x)
    second = total(y)
    with pytest.raises(ValueError, match="two scans update `count`") as error:
        sg.function([x, y], [first, second])
    assert "first = total(x)" not in str(error.value)  # the line is that of sg.scan
    assert str(error.value).count("sg.scan(lambda v, s") == 2
    with pytest.raises(ValueError, match="two scans update `count`"):
        sg.scan(lambda s: s + total(x)[-1] * total(y)[-1], outputs_info=np.float64(0), n_steps=2)
    f = sg.function([x, y], [first, second], updates={count: count + 5.0})
    f(np.ones(3), np.ones(2))
    assert count.get_value() == 5.0


@pytest.mark.parametrize("memory", ["save_all", 2, (4, 2), "log"])
@pytest.mark.parametrize("stops", [False, True])
def test_a_scan_and_its_derivatives_update_once(memory: Any, stops: bool) -> None:
    x = sg.vector("x", dtype="float64")
    count = sg.shared(np.float64(0), name="count")

    def step(v: Any, s: Any) -> Any:
        results = [sg.tanh(s + v * count)], {count: count + 1.0}
        return (*results, sg.until(s > 50.0)) if stops else results

    rows = sg.scan(step, x, np.float64(0), memory=memory)
    slope = sg.grad((rows**2).sum(), x)
    second = sg.grad((slope**2).sum(), x)
    f = sg.function([x], [rows, slope, second, sg.Rop(rows, x, x), sg.jacobian(rows, x)])
    f(np.ones(7))
    assert count.get_value() == 7.0


@pytest.mark.parametrize("memory", ["save_all", 2, (4, 2)])
def test_draws_of_a_while_loop_in_a_step_are_all_new(memory: Any) -> None:
    """Of steps of which each does another number of turns, in a branch, and for a batch."""
    stream = sg.random.RandomStream(1)
    h, H = sg.scalar("h", dtype="float64"), sg.vector("H", dtype="float64")

    def last_draw(s: Any) -> Any:
        draw = lambda i, u: [i - 1.0, stream.uniform((), dtype="float64")]  # noqa: E731
        return sg.while_loop(lambda i, u: i > 0.0, draw, [1.0 + s * 4.0, s * 0.0])[1]

    rows = sg.scan(last_draw, outputs_info=h, n_steps=7, memory=memory)
    f = sg.function([h], rows)
    eager = sg.function([h], rows, mode="eager")
    seen = []
    for _ in range(3):
        state = [c.get_value() for c in stream._counters]
        seen.append(f(0.9))
        for c, value in zip(stream._counters, state, strict=True):
            c.set_value(value)
        close(eager(0.9), seen[-1])
    assert len(np.unique(np.concatenate(seen))) == 21
    side = sg.function([h], sg.cond(h > 0, lambda: last_draw(h), lambda: h))
    assert len({float(side(0.9)) for _ in range(4)}) == 4
    each = sg.function([H], sg.vmap(last_draw)(H))
    a, b = each(np.array([0.9, 0.1, 0.9])), each(np.array([0.9, 0.1, 0.9]))
    assert a[0] == a[2] != a[1] and len(np.unique([a[:2], b[:2]])) == 4


def test_rows_of_draws_are_not_computed_for_all_steps_at_once() -> None:
    """Draws of a step whose rows move behind a loop of unknown length."""
    stream, n = sg.random.RandomStream(2), sg.scalar("n", dtype="int64")
    h = sg.vector("h", dtype="float64")

    def step(s: Any) -> Any:
        e = stream.normal((3,), dtype="float64")
        inner = sg.scan(lambda z: sg.tanh(z + e), outputs_info=s, n_steps=2)[-1]
        return [sg.tanh(s * 0.5 + inner), sg.sin(s * e).sum() * e]

    results = sg.scan(step, outputs_info=[h, None], n_steps=n)
    slope = sg.grad((results[1] ** 2).sum(), h)
    f, g = (sg.function([h, n], [*results, slope], mode=m) for m in ("native", "eager"))
    native = f(np.ones(3), 5)
    for c in stream._counters:
        c.set_value(np.uint64(0))
    for a, b in zip(native, g(np.ones(3), 5), strict=True):
        close(a, b)


def test_updates_under_vmap() -> None:
    X = sg.matrix("X", dtype="float64")
    count = sg.shared(np.float64(0), name="count")

    def sums(row: Any, change: Callable[[Any], Any]) -> Any:
        return sg.scan(lambda v, s: (s + v, {count: change(v)}), row, np.float64(0))

    f = sg.function([X], sg.vmap(lambda row: sums(row, lambda v: count + 1.0))(X))
    close(f(np.ones((2, 5))), [np.arange(1.0, 6.0)] * 2)
    assert count.get_value() == 5.0
    with pytest.raises(sg.ShapeError, match="per element of the batch"):
        sg.vmap(lambda row: sums(row, lambda v: count + v))(X)


def test_random_numbers_and_updates_with_recomputation() -> None:
    count = sg.shared(np.int64(0), name="count")

    def draws(memory: Any) -> Any:
        rng = sg.random.RandomStream(7)
        x = sg.scalar("x", dtype="float64")

        def step(s: Any) -> Any:
            return s * rng.uniform((), 0.5, 1.5, dtype="float64") + x, {count: count + 1}

        states = sg.scan(step, outputs_info=np.float64(1), n_steps=7, memory=memory)
        return sg.function([x], [states, sg.grad(states.sum(), x)])(0.3)

    plain, chunked = draws("save_all"), draws(3)
    for a, b in zip(plain, chunked, strict=True):
        close(a, b)
    assert int(count.get_value()) == 14


def test_updates_of_a_scan_in_a_side_of_a_branch_are_an_error():
    c, x = sg.shared(np.float32(0), name="c"), sg.vector("x")
    rows = sg.scan(lambda r: (r * c, {c: c + 1}), x, return_list=True)[0]
    side = sg.cond(x[0] > 0, lambda: rows, lambda: x)
    with pytest.raises(ValueError, match="side of cond updates `c`, which would be lost"):
        sg.function([x], side)
    for updates, expected in (({c: c + 5}, 5), (None, 8)):
        f = sg.function([x], side if updates else [side, rows], updates=updates)
        f(np.ones(3, "float32"))
        assert c.get_value() == expected
