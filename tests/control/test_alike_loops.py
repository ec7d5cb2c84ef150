"""Loops that second derivatives repeat are functions of their own, written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.programs import program


def sines(w: Any, xs: Any) -> Any:
    def step(x: Any, s: Any) -> Any:
        return 0.3 * sg.while_loop(
            lambda v: sg.abs(v) < 2.0, lambda v: sg.sin(v * w) + v * 1.1 + x, s
        )

    return sg.scan(step, xs, np.float64(0.1))


def three_states(w: Any, xs: Any) -> Any:
    def step(x: Any, s: Any) -> Any:
        a, b, n = sg.while_loop(
            lambda a, b, n: sg.abs(a) < 2.0,
            lambda a, b, n: [sg.sin(b * w) + a * 1.1 + x, sg.tanh(a * b), n + 1.0],
            [s, s + w, 0.0 * s],
        )
        return a * 0.3 + b * 0.1 + n * 0.01

    return sg.scan(step, xs, np.float64(0.1))


def scan_of_scans(w: Any, xs: Any) -> Any:
    def step(x: Any, s: Any) -> Any:
        return sines(w, x * sg.arange(3).astype("float64") + s)[-1]

    return sg.scan(step, xs, np.float64(0.1))


@pytest.mark.parametrize("states", [sines, three_states, scan_of_scans])
def test_second_derivative(states: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    w, xs = sg.dscalar("w"), sg.dvector("xs")
    first = sg.grad((states(w, xs) ** 2).sum(), w)
    x, at, h = np.linspace(0.1, 0.4, 4), 0.7, 1e-5

    def compiled(value: Any) -> tuple[sg.Function, Any]:
        f = sg.function([w, xs], value)
        return f, f(at, x)

    f, found = compiled(sg.grad(first, w))
    gradient, _ = compiled(first)
    expected = (gradient(at + h, x) - gradient(at - h, x)) / (2 * h)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    monkeypatch.setattr(program, "repeated_loops", lambda *_: {})
    longer, same = compiled(sg.grad(first, w) * 1.0)
    assert found.tobytes() == same.tobytes()
    assert len(f.explain(stage="llvm")) < len(longer.explain(stage="llvm"))


def test_profile_times_the_steps_where_they_stand() -> None:
    w, xs = sg.dscalar("w"), sg.dvector("xs")
    second = sg.grad(sg.grad((sines(w, xs) ** 2).sum(), w), w)
    args = 0.7, np.linspace(0.1, 0.4, 4)
    plain, timed = sg.function([w, xs], second), sg.function([w, xs], second, profile=True)
    assert plain(*args) == timed(*args)
