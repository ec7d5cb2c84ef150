"""Large results are stored past the caches, wherever they begin: `cpu/kernels/bypass.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.kernels.bypass import LARGE, MARK
from symgraph.cpu.native import jit


def placed(shape: tuple[int, ...], dtype: Any, offset: int) -> np.ndarray:
    """Return an array that begins some bytes behind a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    return memory[start : start + size].view(dtype).reshape(shape)


def marked(f: Any) -> bool:
    return MARK in f.explain("llvm")


ROWS = 4112  # times 2064 float32: more than LARGE; rows and columns are whole lines
CASES: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, int]]] = {
    "one loop": (lambda x, y: x + 1 + 0 * y, (ROWS, 2064)),
    "one loop with a rest": (lambda x, y: x * 2 + 0 * y, (4099, 2061)),
    "rows": (lambda x, y: x + y[:, :1], (ROWS, 2064)),
    "turned round": (lambda x, y: x.T + 0 * y[0, 0], (ROWS, 2064)),
    "after a sum": (lambda x, y: x * x.sum(1, keepdims=True) + 0 * y[0, 0], (ROWS, 2064)),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_values_wherever_the_result_begins(name: str, threads: int) -> None:
    maker, shape = CASES[name]
    x, y = sg.matrix("x"), sg.matrix("y")
    a, b = np.random.default_rng(2).integers(-9, 9, (2, *shape)).astype(np.float32)
    wanted = maker(a, b)
    assert wanted.nbytes >= LARGE
    sg.set_threads(threads)
    try:
        f = sg.function([x, y], maker(x, y))
        np.testing.assert_array_equal(f(a, b), wanted)
        for offset in (0, 4, 16, 32):
            out = placed(wanted.shape, wanted.dtype, offset)
            out[...] = np.nan
            f(a, b, out=out)
            np.testing.assert_array_equal(out, wanted)
        squares = name == "turned round"  # of as many rows as a vector has lanes
        assert marked(f) or (squares and jit.target().vector_bytes < 64)
    finally:
        sg.set_threads(2)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "int8"])
def test_types(dtype: str) -> None:
    x = sg.matrix("x", dtype=dtype)
    f = sg.function([x], x + x)
    a = np.random.default_rng(3).integers(-9, 9, (6000, 64 * 96)).astype(dtype)
    np.testing.assert_array_equal(f(a), a + a)
    assert marked(f) or a.itemsize < 4  # vectors that are no whole lines


def test_which_are_not() -> None:
    """Small ones, rows that begin within a line, what the function reads again, and updates."""
    x, s = sg.matrix("x"), sg.shared(np.zeros((ROWS, 2064), "float32"))
    a = np.ones((ROWS, 2064), np.float32)
    near = [
        (sg.function([x], x + 1), a[:100]),
        (sg.function([x], x + x[:, :1]), np.ones((ROWS, 2061), np.float32)),
        (sg.function([x], [sg.exp(x), sg.exp(x) @ a[:1].T]), a),
        (sg.function([x], [], updates={s: s + x}), a),
        (sg.function([x], x > 0), np.ones((8 * ROWS, 2064), np.float32)),
    ]
    for f, given in near:
        f(given)
        assert not marked(f)
    assert (s.get_value() == 1).all()
