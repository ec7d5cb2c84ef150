"""Divisions of rows by a root, and the sums over centred values in gradients of norms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.walk import toposort
from symgraph.rewrites import optimise

VALUES = [0.0, -0.0, 1e-45, 1e-30, 0.3, 7.0, 1e30, 3e38, -2.0, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_over_roots_are_near_the_quotient(dtype: str) -> None:
    """Two units in the last place, at every special value of both sides."""
    x, y = sg.matrix("x", dtype=dtype), sg.vector("y", dtype=dtype)
    f = sg.function([x, y], x / sg.sqrt(y)[:, None])
    v = np.array(VALUES, dtype)
    a = np.broadcast_to(v, (len(v), len(v))).copy()
    with np.errstate(all="ignore"):
        wanted = a / np.sqrt(v)[:, None]
    found = f(a, v)
    np.testing.assert_array_max_ulp(found, wanted, 2, dtype=dtype)
    np.testing.assert_array_equal(np.signbit(found[wanted == 0]), np.signbit(wanted[wanted == 0]))


@pytest.mark.parametrize(
    ("divisor", "turned"),
    [
        (sg.sqrt, True),
        (lambda y: sg.sqrt(y) + 1e-8, True),
        (lambda y: sg.maximum(sg.sqrt(y), 1e-6), True),
        (lambda y: y, False),  # its reciprocal may overflow
        (lambda y: y + 1e-8, False),
        (lambda y: sg.sqrt(y) + 1e30, False),
        (lambda y: sg.sqrt(y) - 1.0, False),
    ],
)
def test_which_divisors(divisor: Any, turned: bool) -> None:
    x, y = sg.matrix("x"), sg.vector("y")
    (best,) = optimise([x / divisor(y)[:, None]])
    assert (best.op.name == "mul") == turned


def test_elements_over_roots_of_their_own_are_divided() -> None:
    x, y = sg.matrix("x"), sg.matrix("y")
    assert optimise([x / sg.sqrt(y)])[0].op.name == "div"
    assert optimise([x / sg.sqrt(y[:, :1])], "strict")[0].op.name == "div"


def test_a_centred_term_of_a_sum_is_left_out() -> None:
    x, y, s = sg.matrix("x"), sg.matrix("y"), sg.vector("s")
    centred = x - x.mean(1, keepdims=True)
    value = (y + s[:, None] * centred).sum(1)
    f = sg.function([x, y, s], value)
    a, b = np.random.default_rng(3).standard_normal((2, 5, 7)).astype("float32")
    scale = np.linspace(-1e6, 1e6, 5, dtype="float32")
    np.testing.assert_allclose(f(a, b, scale), b.sum(1), rtol=1e-5, atol=1e-6)
    a[1, 2], a[3, 4], scale[4] = np.nan, np.inf, np.inf
    np.testing.assert_array_equal(np.isnan(f(a, b, scale)), [False, True, False, True, True])


@pytest.mark.parametrize(
    "value",
    [
        lambda x, y: (x - x.mean(1, keepdims=True)).sum(1),  # what rounding leaves is wanted
        lambda x, y: (y + x - x.mean(0)).sum(1),  # another axis
        lambda x, y: (y + y * (x - x.mean(1, keepdims=True))).sum(1),  # no number times it
        lambda x, y: (y + x - y.mean(1, keepdims=True)).sum(1),
        lambda x, y: (y + x - x.sum(1, keepdims=True) / 3).sum(1),
    ],
)
def test_other_sums_are_kept(value: Any) -> None:
    x, y = sg.matrix("x"), sg.matrix("y")
    f = sg.function([x, y], value(x, y), on_unused_input="ignore")
    a, b = np.random.default_rng(4).standard_normal((2, 5, 7))
    wanted = value(a, b)
    np.testing.assert_allclose(f(a.astype("float32"), b.astype("float32")), wanted, atol=1e-5)
    assert "squeeze" not in [n.op.name for n in toposort(optimise([value(x, y)]))]
