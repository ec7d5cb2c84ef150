"""Derivatives of loops of unknown length: a fixed number of states is kept, others come again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
import symgraph.ops.loop_unlimited as unlimited
from symgraph.ops.loop import make_loop, results_of


def iterated(n: Any, x: Any, w: Any) -> Any:
    """n steps of a map with two states, one of which has no derivative."""

    def step(i: Any, y: Any, z: Any) -> list[Any]:
        new = sg.sin(y @ w) + 0.5 * z
        return [i + 1, new, 0.9 * z + y * sg.cast(i % 3, "float64")]

    return sg.while_loop(lambda i, y, z: i < n, step, [np.int64(0), x, 2.0 * x])[1:]


def by_scan(n: int, x: Any, w: Any) -> Any:
    """The same in a loop of known length, all states of which are kept."""

    def step(i: Any, y: Any, z: Any) -> list[Any]:
        return [sg.sin(y @ w) + 0.5 * z, 0.9 * z + y * sg.cast(i % 3, "float64")]

    return sg.scan(step, sg.arange(n), [x, 2.0 * x])


def close(a: Any, b: Any, bound: float = 1e-9) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=bound, atol=bound)


def point() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.normal(size=3), 0.4 * rng.normal(size=(3, 3))


def cost_of(parts: Any) -> Any:
    y, z = parts
    return (y**2).sum() + sg.sin(z).sum()


def wanted(n: int) -> list[np.ndarray]:
    """Return value and gradients by a scan."""
    x, w = sg.vector("x", dtype="float64"), sg.matrix("w", dtype="float64")
    parts = [t[-1] for t in by_scan(n, x, w)] if n else [x, 2.0 * x]
    cost = cost_of(parts)
    options = {"disconnected_inputs": "ignore"}
    f = sg.function([x, w], [cost, *sg.grad(cost, [x, w], **options)], on_unused_input="ignore")
    found: list[np.ndarray] = f(*point())
    return found


@pytest.fixture(scope="module")
def gradient() -> Any:
    """Return the compiled value and gradients of a loop over n, x, w."""
    n, x, w = sg.lscalar("n"), sg.vector("x", dtype="float64"), sg.matrix("w", dtype="float64")
    cost = cost_of(iterated(n, x, w))
    return sg.function([n, x, w], [cost, *sg.grad(cost, [x, w])])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 16, 17, 64, 65, 100, 4096, 4097, 10_000])
def test_any_number_of_steps(n: int, gradient: Any) -> None:
    for a, b in zip(gradient(n, *point()), wanted(n), strict=True):
        close(a, b, 1e-7 if n > 100 else 1e-10)


def test_memory_does_not_grow(gradient: Any) -> None:
    gradient(10, *point())
    assert all(v.module.arena < 1 << 20 for v in gradient.compiled.version_list)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_blocks_of_two_steps(levels: int, monkeypatch: Any) -> None:
    """Every length up to a few of the largest blocks, in few places."""
    monkeypatch.setattr(unlimited, "plan", lambda node: (2, levels))
    n, x, w = sg.lscalar("n"), sg.vector("x", dtype="float64"), sg.matrix("w", dtype="float64")
    cost = cost_of(iterated(n, x, w))
    f = sg.function([n, x, w], [cost, *sg.grad(cost, [x, w])])
    for steps in range(20):
        for a, b in zip(f(steps, *point()), wanted(steps), strict=True):
            close(a, b, 1e-10)


def test_steps_are_done_again_a_bounded_number_of_times(monkeypatch: Any) -> None:
    """The states of 1000 steps come from at most `levels` more runs, not from 500."""
    monkeypatch.setattr(unlimited, "plan", lambda node: (10, 3))
    x = sg.scalar("x", dtype="float64")
    _, y = sg.while_loop(
        lambda i, y: i < 1000, lambda i, y: [i + 1, 0.5 * sg.tanh(y) + x], [np.int64(0), x]
    )
    gradient = sg.grad(y, x)
    done = [0]

    def tanh(node: Any, v: np.ndarray) -> np.ndarray:
        done[0] += 1
        return np.asarray(np.tanh(v))

    monkeypatch.setattr(sg.tanh(x).op, "numpy", tanh)
    gradient.eval({x: 0.3})
    assert done[0] == 1000 + 900 + 900 + 1000  # forward, two levels without last blocks, all kept


def test_second_order() -> None:
    x, w, k = sg.vector("x", dtype="float64"), sg.matrix("w", dtype="float64"), sg.lscalar("k")

    def second(parts: Any) -> Any:
        options = {"disconnected_inputs": "ignore"}
        cost = cost_of(parts)
        first = sg.grad(cost, [x, w], **options)
        twice = sg.grad(sum((g**2).sum() for g in first), [x, w], **options)
        mixed = sg.Rop(first[0], [x, w], [sg.ones_like(x), sg.ones_like(w)])
        return sg.function([k, x, w], [*twice, mixed], on_unused_input="ignore")

    f = second(iterated(k, x, w))
    for n in (0, 1, 5, 70):
        g = second([t[-1] for t in by_scan(n, x, w)] if n else [x, 2.0 * x])
        for a, b in zip(f(n, *point()), g(n, *point()), strict=True):
            close(a, b, 1e-8)


def test_the_number_of_the_step(monkeypatch: Any) -> None:
    """A step that reads its number reads the same one on the way back."""
    monkeypatch.setattr(unlimited, "plan", lambda node: (3, 2))
    n, w = sg.lscalar("n"), sg.scalar("w", dtype="float64")
    step, state = sg.lscalar("step"), sg.scalar("state", dtype="float64")
    new = sg.sin(state * w + sg.cast(step, "float64"))
    start = sg.as_tensor(np.float64(1.0))
    last, _ = results_of(make_loop([step, state], [new], [], [], [start], None, n))
    f = sg.function([n, w], sg.grad(last, w))
    for count in (0, 1, 4, 9, 10, 31):
        y, d = 1.0, 0.0
        for k in range(count):
            inner = y * 0.7 + k
            y, d = np.sin(inner), np.cos(inner) * (d * 0.7 + y)
        close(f(count, 0.7), d)


def test_eager_debug_and_batched() -> None:
    n, x, w = sg.lscalar("n"), sg.vector("x", dtype="float64"), sg.matrix("w", dtype="float64")
    cost = cost_of(iterated(n, x, w))
    g = sg.grad(cost, w)
    xs, ws = point()
    for k in (0, 3):
        close(g.eval({n: k, x: xs, w: ws}), wanted(k)[2])
        close(sg.function([n, x, w], g, mode="debug")(k, xs, ws), wanted(k)[2])
    counts = sg.lvector("counts")
    both = sg.vmap(lambda m: sg.grad(cost_of(iterated(m, x, w)), w))(counts)
    f = sg.function([counts, x, w], both)
    for got, k in zip(f(np.array([4, 0, 9]), xs, ws), (4, 0, 9), strict=True):
        close(got, wanted(k)[2])


def test_a_batch_that_parts_has_second_derivatives() -> None:
    x = sg.vector("x", dtype="float64")

    def each(z: Any) -> Any:
        y = sg.while_loop(lambda q: q < 100.0, lambda q: q * q * 1.1 + 0.5, z)
        return sg.grad(sg.grad(y, z), z)

    assert sg.vmap(each)(x).type == x.type  # building it is the test: to compile it takes minutes
