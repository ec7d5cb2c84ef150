"""Gradients against finite differences, and the cost of a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph as sg
import symgraph_nn as nn
from symgraph_nn.demo.nets import Build

STEP = 1e-6  # near the cube root of float64's precision, where central differences are best
ENTRIES = 12  # entries tried in each parameter


def gradient_error(build: Build, data: nn.data.Dataset, rows: int = 8) -> tuple[float, int]:
    """Compare the gradient of the float64 network with central differences of its loss.

    Return the largest difference, relative to the largest entry of that parameter's gradient, and
    the number of entries tried.
    """
    rng = np.random.default_rng(1)
    model = build(rng, "float64")
    x = sg.tensor("x", (rows, *data.x_train.shape[1:]), "float64")
    y = sg.tensor("y", (rows,), "int64")
    loss = nn.losses.cross_entropy(model(x), y)
    params = list(model.params().values())
    batch = data.x_train[:rows].astype("float64"), data.y_train[:rows]
    gradients = sg.function([x, y], sg.grad(loss, params))(*batch)
    value = sg.function([x, y], loss)
    worst, tried = 0.0, 0
    for p, g in zip(params, gradients, strict=True):
        start = p.get_value()
        for flat in rng.choice(start.size, min(ENTRIES, start.size), replace=False):
            place = np.unravel_index(flat, start.shape)
            sides = [_moved(p, start, place, h, value, batch) for h in (STEP, -STEP)]
            difference = abs((sides[0] - sides[1]) / (2 * STEP) - g[place])
            worst = max(worst, float(difference / max(np.abs(g).max(), 1e-30)))
            tried += 1
        p.set_value(start)
    return worst, tried


def _moved(
    p: sg.SharedVariable, start: np.ndarray, place: Any, h: float, value: Any, batch: Any
) -> float:
    moved = start.copy()
    moved[place] += h
    p.set_value(moved)
    return float(value(*batch))


def seconds_per_call(f: Callable[[], Any], rounds: int = 15, calls: int = 2000) -> float:
    """Return the median over rounds of the mean time of a call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            f()
        times.append((time.perf_counter() - start) / calls)
    return float(np.median(times))


def call_overhead() -> tuple[float, float]:
    """Return the seconds of one call of a compiled x + 1 on ten floats, and of NumPy's."""
    x = sg.vector("x")
    f = sg.function([x], x + 1)
    a = np.arange(10, dtype="float32")
    f(a)
    return seconds_per_call(lambda: f(a)), seconds_per_call(lambda: a + 1.0)
