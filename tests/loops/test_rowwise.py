"""Sums over rows are stored by the nest that makes rows from them: `symgraph/loops/rowwise.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg

ROWS, COLUMNS = 300, 260  # more than LEAST_BYTES, rows longer than LEAST_ROW
Maker = Callable[[Any, Any], list[Any]]


def normal(x: Any) -> tuple[Any, Any, Any]:
    mean = x.mean(1, keepdims=True)
    scale = sg.sqrt(((x - mean) ** 2).mean(1, keepdims=True) + 1e-5)
    return (x - mean) / scale, mean, scale


def gradients(x: Any, y: Any) -> list[Any]:
    g = y[0]
    return list(sg.grad((normal(x)[0] * g * y).sum(), [x, y]))


TOGETHER: dict[str, Maker] = {
    "a normal row, its mean and deviation": lambda x, y: list(normal(x)),
    "shifted by its largest": lambda x, y: [x.max(1), x - x.max(1, keepdims=True)],
    "of another row": lambda x, y: [(x * y).sum(1), y * (x * y).sum(1, keepdims=True)],
    "two stages": lambda x, y: [x.sum(1), (x * x.sum(1, keepdims=True)).sum(1)],
    "a row of each kind": lambda x, y: [x.sum(1), sg.exp(x.sum(1)), x * sg.exp(x.sum(1))[:, None]],
}
APART: dict[str, Maker] = {
    "down columns": lambda x, y: [x.sum(0), x - x.sum(0)],
    "another row": lambda x, y: [x.sum(1), x - x.sum(1)[::-1, None]],
    "nothing shared": lambda x, y: [x.sum(1), y * x.sum(1, keepdims=True)],
}


def function(maker: Maker, shapes: str = "exact", dtype: str = "float32") -> Any:
    x, y = (sg.matrix(n, dtype=dtype) for n in "xy")
    with sg.config.override(plans=False):
        return sg.function([x, y], maker(x, y), shapes=shapes, on_unused_input="ignore")


def arrays(shape: tuple[int, int], dtype: str) -> list[np.ndarray]:
    return [np.random.default_rng(k).standard_normal(shape).astype(dtype) for k in range(2)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", [*TOGETHER, *APART])
def test_values_are_those_of_each_alone(name: str, threads: int) -> None:
    """To the bit: joining changes where a value is computed, not how."""
    maker = (TOGETHER | APART)[name]
    a, b = arrays((ROWS, COLUMNS), "float32")
    sg.set_threads(threads)
    try:
        got = function(maker)(a, b)
        for k, value in enumerate(got):
            alone = function(lambda x, y, k=k: [maker(x, y)[k]])(a, b)[0]
            np.testing.assert_array_equal(value, alone)
        for value, generic in zip(got, function(maker, "generic")(a, b), strict=True):
            np.testing.assert_array_equal(value, generic)
    finally:
        sg.set_threads(2)


@pytest.mark.parametrize("name", [*TOGETHER, *APART])
def test_what_is_joined(name: str) -> None:
    f = function((TOGETHER | APART)[name])
    a, b = arrays((ROWS, COLUMNS), "float32")
    f(a, b)
    assert (f.versions()[0]["kernels"] == 1) == (name in TOGETHER)


def test_short_rows_and_small_arrays_stay_apart() -> None:
    for shape in [(5000, 9), (8, COLUMNS)]:
        f = function(TOGETHER["shifted by its largest"])
        f(*arrays(shape, "float32"))
        assert f.versions()[0]["kernels"] == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(ROWS, COLUMNS), (257, 1024), (1025, 130)])
def test_gradients_through_a_norm(shape: tuple[int, int], dtype: str) -> None:
    """Against the formula: dx = (w - mean(w) - n mean(w n)) / s, w the gradient by n."""
    a, b = arrays(shape, dtype)
    f = function(gradients, dtype=dtype)
    dx, dy = f(a, b)
    x, y = a.astype("float64"), b.astype("float64")
    mean = x.mean(1, keepdims=True)
    scale = np.sqrt(((x - mean) ** 2).mean(1, keepdims=True) + 1e-5)
    n, w = (x - mean) / scale, y[0] * y
    wanted = (w - w.mean(1, keepdims=True) - n * (w * n).mean(1, keepdims=True)) / scale
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(dx, wanted, rtol=tolerance, atol=tolerance)
    wanted = n * y[0]
    wanted[0] += (n * y).sum(0)
    np.testing.assert_allclose(dy, wanted, rtol=tolerance, atol=tolerance * 50)


def test_an_update_that_the_row_reads_is_stored_behind_it() -> None:
    """The new mean of each row must not be seen by the row that still needs the old one."""
    a, _ = arrays((ROWS, COLUMNS), "float32")
    old = np.linspace(-1, 1, ROWS).astype("float32")
    x, mean = sg.matrix("x"), sg.shared(old.copy(), name="mean")
    new = x.sum(1) + mean
    f = sg.function([x], x * new[:, None] - mean[:, None], updates={mean: new})
    wanted = a.sum(1) + old
    np.testing.assert_allclose(f(a), a * wanted[:, None] - old[:, None], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mean.get_value(), wanted, rtol=1e-4, atol=1e-4)
