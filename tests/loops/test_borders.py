"""Padded arrays are stored as an inside without tests and borders: `symgraph/loops/borders.py`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import symgraph as sg
from symgraph.debug import stages
from symgraph.loops.statements import Nest

WIDTHS = [
    ((0, 0), (1, 1), (1, 1)),
    ((0, 0), (2, 0), (0, 3)),
    ((1, 2), (0, 0), (5, 4)),
    ((0, 0), (0, 0), (0, 1)),
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("widths", WIDTHS)
def test_values(widths: tuple[tuple[int, int], ...], threads: int) -> None:
    sg.set_threads(threads)
    try:
        for shape in itertools.product((1, 40), (16, 33), (1, 31, 32, 70)):
            x = sg.tensor("x", shape, "float32")
            a = np.random.default_rng(1).standard_normal(shape, np.float32)
            f = sg.function([x], [sg.pad(x * 2 + 1, widths), sg.pad(x, widths) - 1])
            inner, outer = f(a)
            np.testing.assert_array_equal(inner, np.pad(a * 2 + 1, widths))
            np.testing.assert_array_equal(outer, np.pad(a, widths) - 1)
    finally:
        sg.set_threads(2)


def nests(value: sg.Variable) -> list[Nest]:
    program = stages.lowered((value,))[0].program
    assert program is not None
    return [t for t in program.statements if isinstance(t, Nest)]


def test_the_inside_has_no_tests() -> None:
    x = sg.tensor("x", (8, 3, 32, 32), "float32")
    found = nests(sg.pad(sg.exp(x), ((0, 0), (0, 0), (1, 1), (1, 1))))
    inside, *borders = found
    (store,) = inside.stores
    assert store.value.op == "exp" and len(store.value.args[0].args) == 1  # a load without guard
    assert [t.value.op for nest in borders for t in nest.stores] == ["const"] * 4


def test_small_arrays_and_values_that_are_no_padding_stay_whole() -> None:
    x = sg.tensor("x", (4, 3, 6, 6), "float32")
    assert len(nests(sg.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))))) == 1
    y = sg.tensor("y", (100, 100), "float32")
    assert len(nests(sg.where(y > 0, y, 0.0))) == 1
    assert len(nests(sg.where(sg.arange(100) < 50, y, 2 * y))) == 1


def test_a_gradient_through_a_padded_convolution() -> None:
    """Against the same convolution of an array that NumPy has padded."""
    rng = np.random.default_rng(2)
    a, k = rng.standard_normal((4, 8, 20, 20)), rng.standard_normal((8, 8, 3, 3))
    x, w = sg.tensor4("x", "float64"), sg.tensor4("w", "float64")

    def gradients(padding: int) -> list[sg.Variable]:
        y = sg.conv2d(sg.tanh(x), w, padding=padding)
        return list(sg.grad((y * y).sum(), [x, w]))

    dx, dw = sg.function([x, w], gradients(1))(a, k)
    wide = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))
    by_x, by_w = sg.function([x, w], gradients(0))(wide, k)
    np.testing.assert_allclose(dx, by_x[:, :, 1:-1, 1:-1], rtol=1e-10)
    np.testing.assert_allclose(dw, by_w, rtol=1e-10)
