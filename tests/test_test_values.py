"""`test_value`: what is built from a variable with one is computed at once, and clashes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg

A = np.arange(6, dtype="float32").reshape(2, 3)
BUILT: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: sg.tanh(x) * 2,
    "reshape to computed sizes": lambda x: x.reshape((x.shape[0] * x.shape[1],)),
    "reversed": lambda x: x[::-1],
    "from the second column": lambda x: x[:, 1:],
    "mean": lambda x: x.mean(),
    "variance": lambda x: x.var(1),
    "a size as a value": lambda x: x / x.shape[0],
    "zeros of its length": lambda x: sg.zeros((x.shape[0],)) + x[:, 0],
    "positions": lambda x: x * sg.arange(3),
    "joined, transposed, multiplied": lambda x: sg.concatenate([x, x], 1).T @ x,
    "gradient": lambda x: sg.grad((x * x).mean(), x),
    "indexed": lambda x: x[np.array([1, 0, 1])],
}


@pytest.mark.parametrize("sizes", ["known", "symbolic"])
@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_is_computed_at_once(name: str, sizes: str) -> None:
    shape = A.shape if sizes == "known" else (None, None)
    x = sg.tensor("x", shape, "float32", A)
    built = BUILT[name](x)
    assert built.test_value is not None
    np.testing.assert_allclose(built.test_value, built.eval({x: A}), rtol=1e-6)
    assert built.test_value.dtype == built.dtype.numpy


def test_clashes_of_symbolic_sizes_appear_on_the_line_that_makes_them() -> None:
    x = sg.matrix("x", test_value=A)
    y = sg.matrix("y", test_value=np.ones((4, 3), "float32"))
    with pytest.raises(sg.ShapeError, match=r"axis 0 has length 2 in `x` and 4 in `y`"):
        x + y
    with pytest.raises(sg.ShapeError, match="cannot multiply `x` and `y`"):
        x @ y


def test_a_test_value_fits_its_variable() -> None:
    with pytest.raises(sg.ShapeError, match="axis 0 of the test_value of `x` has length 2"):
        sg.tensor("x", (4, None), "float32", A)
    with pytest.raises(sg.ShapeError, match="axis 1 .* has length 3.* a multiple of 2"):
        sg.tensor("x", (None, sg.Dim("n", multiple_of=2)), "float32", A)


def test_sizes_of_other_variables_are_sizes() -> None:
    x = sg.matrix("x")
    y = sg.tensor("y", (x.shape[1], 4))
    assert y.type.shape == (x.type.shape[1], 4)
    with pytest.raises(sg.ShapeError, match="Dim"):
        sg.tensor("y", ("n", 4))
    with pytest.raises(sg.SymbolicValueError):
        sg.tensor("y", (sg.argmax(x), 4))
