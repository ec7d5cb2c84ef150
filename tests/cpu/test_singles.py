"""Functions of single numbers: the bits of vectors, without a way through integer registers."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.loops.expr import MATH

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-310, 700.0, -700.0, 1.0, -1.0, 88.7]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(MATH))
def test_one_number_has_the_bits_of_a_vector(name: str, dtype: str) -> None:
    """A loop over single numbers, each in a step, beside one vector of them."""
    rng = np.random.default_rng(len(name))
    numbers = np.array([*SPECIAL, *rng.normal(0, 3, 300), *rng.uniform(-1, 1, 88)])
    with np.errstate(over="ignore"):
        numbers = numbers.astype(dtype)
    function = getattr(sg, name)
    x = sg.tensor("x", (400,), dtype)
    whole = sg.function([x], function(x))(numbers)
    rows = sg.function([x], sg.scan(function, x))(numbers)
    np.testing.assert_array_equal(rows, whole)
    one = sg.scalar("one", dtype)
    f = sg.function([one], function(one))
    np.testing.assert_array_equal(np.array([f(v) for v in numbers]), whole)


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sigmoid", "expm1", "log1p"])
def test_the_bits_of_a_number_stay_in_its_register(name: str) -> None:
    x = sg.tensor("x", (50,), "float32")
    function = getattr(sg, name)
    f = sg.function([x], sg.scan(lambda row, s: function(0.5 * s + row), x, x[0]))
    f(np.ones(50, "float32"))
    text = f.explain("llvm")
    assert "bitcast float %" not in text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_of_single_numbers(dtype: str) -> None:
    x, y = sg.scalar("x", dtype), sg.scalar("y", dtype)
    f = sg.function([x, y], [x**y, sg.atan2(x, y)])
    rng = np.random.default_rng(0)
    special = [(0.0, 0.0), (np.inf, -1.0), (2.0, np.nan), (0.0, -1.0)]
    for a, b in [*rng.uniform(0, 5, (60, 2)), *special]:
        p, angle = f(np.dtype(dtype).type(a), np.dtype(dtype).type(b))
        with np.errstate(divide="ignore"):
            wanted = np.power(np.dtype(dtype).type(a), np.dtype(dtype).type(b))
        scale = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(p, wanted, rtol=scale)
        np.testing.assert_allclose(angle, np.arctan2(a, b), rtol=scale)


def test_arguments_that_an_expansion_takes_apart() -> None:
    """exp(-x) and its kind, whose expansions simplify to parts of the argument."""
    x, y = sg.scalar("x", "float64"), sg.scalar("y", "float64")
    first = sg.grad(sg.logaddexp(x, y), [x, y])
    second = sg.grad(2 * first[0] + 3 * first[1], [x, y])
    found = sg.function([x, y], [*first, *second])(1.0, 2.0)
    s = 1 / (1 + np.exp(1.0))
    np.testing.assert_allclose(found, [s, 1 - s, -s * (1 - s), s * (1 - s)], rtol=1e-14)
