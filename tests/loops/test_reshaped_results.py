"""What is stored through a reshape is walked along the axes below it: no index is divided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg

FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], Any]]] = {
    "tile": (lambda x: sg.tile(x, (2, 3)), lambda x: np.tile(x, (2, 3))),
    "tile and more": (lambda x: sg.tile(x, (2, 2)) * 2 + 1, lambda x: np.tile(x, (2, 2)) * 2 + 1),
    "repeated rows": (lambda x: sg.repeat(x, 3, 0), lambda x: x.repeat(3, 0)),
    "repeated often": (lambda x: sg.repeat(x, 7, 1), lambda x: x.repeat(7, 1)),
    "product of repeated rows": (
        lambda x: sg.repeat(x, 3, 0) * sg.exp(sg.repeat(x, 3, 0)),
        lambda x: x.repeat(3, 0) * np.exp(x.repeat(3, 0)),
    ),
    "a transpose in a row": (lambda x: x.T.reshape((-1,)), lambda x: x.T.reshape(-1)),
    "functions of it": (
        lambda x: sg.exp(sg.tanh(x.T.reshape((-1,)))), lambda x: np.exp(np.tanh(x.T.reshape(-1))),
    ),
    "products of rows": (
        lambda x: (x[:, :, None] * x[:, None, :]).reshape((x.shape[0], -1)),
        lambda x: (x[:, :, None] * x[:, None, :]).reshape(x.shape[0], x.shape[1] ** 2),
    ),
    "sum of a transpose in a row": (lambda x: sg.sum(x.T.reshape((-1,))), np.sum),
    "largest of it": (lambda x: sg.max(sg.reshape(x.T, (-1,))), np.max),
}  # fmt: skip
SHAPES = [(1, 1), (3, 4), (5, 1), (1, 6), (17, 33), (130, 20), (0, 3)]


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name: str, shapes: str) -> None:
    function, expected = FUNCTIONS[name]
    x = sg.matrix("x", "float64")
    f = sg.function([x], function(x), shapes=shapes)
    for shape in SHAPES:
        if 0 in shape and name == "largest of it":
            continue
        a = np.random.default_rng(2).standard_normal(shape)
        np.testing.assert_allclose(f(a), expected(a), rtol=1e-12, atol=1e-12, err_msg=f"{shape}")


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_index_is_divided(name: str, shapes: str) -> None:
    """Repeating rows had taken ten times as long as in NumPy."""
    x = sg.matrix("x", "float32")
    f = sg.function([x], FUNCTIONS[name][0](x), shapes=shapes)
    f(np.ones((50, 30), np.float32))
    lines = [t for t in f.explain(stage="loops").split("\n") if t.startswith("    ")]
    assert lines and not any(") % " in t or ") // " in t for t in lines), lines


@pytest.mark.parametrize("shapes", ["exact", "generic"])
def test_short_rows_of_repeated_elements_are_whole_vectors(shapes: str) -> None:
    """Along rows of 2 to 4 nothing moves: a store for each of their places, taking turns."""
    x, s = sg.matrix("x", "float32"), sg.vector("s")
    for count in (2, 3, 4, 5):
        f = sg.function([x, s], [sg.repeat(x, count, 1), x[:, :1] + s], shapes=shapes)
        a, b = np.arange(111, dtype=np.float32).reshape(37, 3), np.arange(count, dtype=np.float32)
        found = f(a, b)
        np.testing.assert_array_equal(found[0], a.repeat(count, 1))
        np.testing.assert_array_equal(found[1], a[:, :1] + b)
