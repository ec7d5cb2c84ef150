"""Values that are stored across the rows they are loaded from: squares in registers, strips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.native import jit
from symgraph.debug import stages

DTYPES = ["bool", "int8", "uint16", "float16", "int32", "float32", "int64", "float64", "complex64"]
SHAPES = [(0, 9), (1, 1), (3, 200), (16, 16), (17, 33), (40, 300), (300, 40), (129, 257)]
SHAPES += [(256, 384), *((m, n) for m in (2, 3, 4, 5) for n in (1, 5, 40, 133))]
SHAPES += [(n, m) for m, n in SHAPES if m in (2, 4)]
FUSED: dict[str, Callable[[Any], Any]] = {
    "plus itself": lambda x: x[:64, :64] + x[:64, :64].T,
    "of a function": lambda x: (x * x + 1).T,
    "with a row": lambda x: x.T - x[:, 0],
    "of a slice": lambda x: x[1:, 2:].T,
    "of every other row": lambda x: x[::2].T,
    "backwards": lambda x: x[::-1, ::-1].T,
    "twice": lambda x: x.T + (2 * x).T,
}


def drawn(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype.startswith("complex"):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    return (100 * rng.standard_normal(shape)).astype(np.int64).astype(dtype)


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_matrices(dtype: str, shapes: str) -> None:
    x = sg.matrix("x", dtype)
    f = sg.function([x], x.T, shapes=shapes)
    for shape in SHAPES:
        value = drawn(shape, dtype)
        np.testing.assert_array_equal(f(value), value.T)


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("name", FUSED)
def test_fused(name: str, shapes: str) -> None:
    x = sg.matrix("x", "float32")
    f = sg.function([x], FUSED[name](x), shapes=shapes)
    shapes_of = [(100, 70), (144, 144), (280, 400)]
    if name != "plus itself":
        shapes_of += [(4, 100), (3, 40), (5, 67), (100, 5), (67, 4), (40, 6)]
    for shape in shapes_of:
        value = drawn(shape, "float32")
        np.testing.assert_array_equal(f(value), FUSED[name](value))


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("order", [(0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_more_axes(order: tuple[int, ...], shapes: str) -> None:
    x = sg.tensor3("x", "float32")
    f = sg.function([x], x.transpose(order) * 2, shapes=shapes)
    for shape in ((3, 50, 70), (20, 36, 150), (150, 5, 40)):
        value = drawn(shape, "float32")
        np.testing.assert_array_equal(f(value), value.transpose(order) * 2)


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("size", [4, 40, 100, 140])
def test_steps_of_a_loop(size: int, shapes: str) -> None:
    """A step is one function: its nests are written into it."""
    x, y = sg.matrix("x", "float32"), sg.matrix("y", "float32")
    steps = sg.scan(lambda h, k: [h.T + 1, k - h.T], outputs_info=[x, y], n_steps=3)
    f = sg.function([x, y], [s[-1] for s in steps], shapes=shapes)
    a, b = (drawn((size, size), "float32") for _ in range(2))
    h, k = a, b
    for _ in range(3):
        h, k = h.T + 1, k - h.T
    for got, want in zip(f(a, b), (h, k), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize(
    "shape", [(1500, 1100), (70001, 16), (70000, 9), (20000, 100), (16, 70001)]
)
def test_threads_share_rows_or_strips(shape: tuple[int, int], shapes: str) -> None:
    x = sg.matrix("x", "float32")
    f = sg.function([x], x.T + 1, shapes=shapes)
    value = drawn(shape, "float32")
    sg.set_threads(2)
    try:
        np.testing.assert_array_equal(f(value), value.T + 1)
    finally:
        sg.set_threads(1)


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_squares_are_loaded_row_by_row(vector_bytes: int) -> None:
    """No element of a whole tile is loaded by itself."""
    x = sg.tensor("x", (256, 256), "float32")
    text = stages.emitted((x.T,), (), (), vector_bytes).text
    lanes = vector_bytes // 4
    assert text.count(f"load <{lanes} x float>") == lanes
    assert "load float," not in text


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
@pytest.mark.parametrize("name", FUSED)
def test_few_rows_and_columns_with_other_vectors(
    name: str, cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = jit.target(cpu=cpu)
    monkeypatch.setattr(jit, "target", lambda: other)
    test_fused(name, "generic")
    test_fused(name, "exact")


def test_results_in_the_place_of_an_operand() -> None:
    """What a tile reads of the result's place is read before anything of it is stored."""
    start = np.zeros((1, 1), "float32")
    x, y = sg.matrix("x", "float32"), sg.shared(start, "y", shape=(None, None))
    f = sg.function([x], [], updates={y: x.T + 2 * y}, shapes="generic")
    for m, n in ((3, 50), (50, 3), (4, 129), (2, 33), (40, 37), (5, 131), (131, 5), (64, 64)):
        a, b = drawn((m, n), "float32"), drawn((n, m), "float32")
        y.set_value(b)
        f(a)
        np.testing.assert_array_equal(y.get_value(), a.T + 2 * b)
