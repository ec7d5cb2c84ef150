"""What a user reads when an argument, or a line that builds a graph, is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg

x, W, k = sg.vector("x"), sg.matrix("W"), sg.bscalar("k")
f = sg.function([W, x], x @ W.T)
ROWS = np.ones((3, 2), np.float32)
PAIR = np.ones(2, np.float32)

ARGUMENTS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "float64": (lambda: f(ROWS.astype("f8"), PAIR), sg.DTypeError, r"pass W.astype\('float32'\)"),
    "int64": (lambda: f(ROWS, [1, 2] * np.ones(2, "i8")), sg.DTypeError, "got an int64 array"),
    "complex": (lambda: f(ROWS + 0j, PAIR), sg.DTypeError, r"mend:   pass W\.real$"),
    "masked": (
        lambda: f(ROWS, np.ma.masked_array(PAIR, [1, 0])), sg.DTypeError, r"pass x\.filled"),
    "ragged": (lambda: f([[1], [2, 3]], PAIR), sg.DTypeError, "argument 0 `W`.*got a list"),
    "rank": (lambda: f(PAIR, PAIR), sg.ShapeError, "has 2 axes, got an array with 1 axis"),
    "large number": (lambda: sg.function([k], k)(2**70), sg.DTypeError, "argument 0 `k` is int8"),
    "strict": (
        lambda: sg.function([sg.In(x, strict=True)], x)(PAIR.astype("f8")), sg.DTypeError,
        "leave strict=True out"),
    "index": (lambda: sg.function([W], W[5])(ROWS), IndexError, "index 5 is out.*of `W` with size"),
    "last": (lambda: sg.function([W], W[-4])(ROWS), IndexError, "index -4 is out.*axis 0 of `W`"),
    "computed index": (
        lambda: sg.function([W, k], W[k])(ROWS, 3), IndexError, r"an index in `W\[k\]` is out"),
    "parts": (lambda: sg.function([x], sg.split(x, 3))(PAIR), sg.ShapeError, "cannot reshape"),
}  # fmt: skip

BUILDING: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "text": (lambda: x + "a", sg.DTypeError, r"'a' \(str\) is no variable, array or number"),
    "None": (lambda: x * None, sg.DTypeError, "None .* is no variable"),
    "negative size": (lambda: sg.tensor("t", (2, -1)), sg.ShapeError, "axis t.1 is -1"),
    "broken size": (lambda: sg.tensor("t", (2.5,)), sg.ShapeError, "axis t.0 is 2.5"),
    "inputs": (lambda: sg.function(x, x), TypeError, r"a list, got x\n  mend:   sg.function\(\[x"),
    "wrt": (lambda: sg.grad(x.sum(), "x"), TypeError, "by variables, got 'x'"),
    "ranks": (lambda: sg.concatenate([W, x]), sg.ShapeError, "`W` with 2 axes and `x` with 1"),
    "parts": (
        lambda: sg.split(sg.tensor("t", (5,)), 2), sg.ShapeError, "(?s)`t` with length 5.*array_"),
    "matrix by vector": (
        lambda: sg.tensor("A", (4, 5)) @ sg.tensor("v", (3,)), sg.ShapeError,
        "of `A` has length 5, the only one of `v` has 3"),
    "stacks": (
        lambda: sg.tensor("A", (2, 3, 4)) @ sg.tensor("B", (3, 4, 5)), sg.ShapeError,
        "stacks `A`.*`B`"),
    "shape of a draw": (
        lambda: sg.random.RandomStream(0).normal((2,), np.zeros(3)), sg.ShapeError, "parameters"),
    "range of a draw": (
        lambda: sg.random.RandomStream(0).integers(200, dtype="int8"), ValueError, "not fit int8"),
}  # fmt: skip


CASES = ARGUMENTS | {f"build {name}": case for name, case in BUILDING.items()}


@pytest.mark.parametrize("name", CASES)
def test_message(name: str) -> None:
    wrong, kind, text = CASES[name]
    with pytest.raises(kind, match=text):
        wrong()


def test_numbers_beyond_64_bits_are_floats() -> None:
    s = sg.scalar("s")
    assert float(sg.function([s], s)(2**70)) == 2.0**70


def test_test_values_that_clash_are_named() -> None:
    a = sg.matrix("a", test_value=ROWS)
    b = sg.vector("b", test_value=np.ones(4, np.float32))
    with pytest.raises(ValueError) as info:
        a + b
    assert "values: `a` (3, 2), `b` (4,)" in info.value.__notes__[0]
    assert "test_messages.py" in info.value.__notes__[0]


def test_warnings_point_to_the_line_of_the_user() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        sg.grad(x.sum(), [x, W], disconnected_inputs="warn")
        sg.value_and_grad(x.sum(), W, disconnected_inputs="warn")
        sg.function([x, W], x, on_unused_input="warn")
        with sg.config.override(warn_float64="warn"):
            x + np.ones(2)
    assert [w.filename for w in seen] == [__file__] * 4


def test_functions_in_notebooks() -> None:
    assert f._repr_html_().startswith("<code>&lt;symgraph function f(W: matrix float32")
