"""A program with several shared loops says when it begins and ends, however it ends."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.native import pool
from symgraph.cpu.native import pool_text as text

BIG = np.linspace(0, 1, 600_000, dtype="float32").reshape(600, 1000)


@pytest.fixture(autouse=True)
def two_threads():
    before = pool.get_threads()
    pool.set_threads(2)
    yield
    pool.set_threads(before)


def calls() -> int:
    """Return how many calls are under way."""
    return pool.thread_pool()._get(text.CALLS)


def two_loops() -> sg.Function:
    """Return a function with two shared loops, the second of which needs all of the first."""
    x, k = sg.matrix("x"), sg.lvector("k")
    y = sg.exp(x).sum(axis=0)
    return sg.function([x, k], (sg.sin(x) * y).sum(axis=1)[k])


@pytest.mark.parametrize("numerics", ["default", "fast"])
def test_calls_are_counted_and_counted_down(numerics: str) -> None:
    with sg.config.override(numerics=numerics):
        f = two_loops()
    expected = (np.sin(BIG) * np.exp(BIG).sum(0)).sum(1)[[3, 5]]
    np.testing.assert_allclose(f(BIG, [3, 5]), expected, rtol=1e-4)
    assert "@run.parts" in f.explain("llvm") and calls() == 0


def test_an_error_counts_down_too() -> None:
    f = two_loops()
    with pytest.raises(IndexError):
        f(BIG, [3, 600])
    assert calls() == 0


def test_one_loop_needs_no_company() -> None:
    x = sg.matrix("x")
    f = sg.function([x], sg.exp(x))
    f(BIG)
    assert "@run.parts" not in f.explain("llvm")


def test_calls_from_several_threads() -> None:
    f = two_loops()
    expected = f(BIG, [3, 5])
    wrong = []

    def work() -> None:
        for _ in range(30):
            if not np.array_equal(f(BIG, [3, 5]), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and calls() == 0
