"""mode="nan" names where a NaN or an infinity comes from."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg


def message(inputs, outputs, *values, **options) -> str:
    f = sg.function(inputs, outputs, mode="nan", **options)
    with pytest.raises(sg.NanError) as caught:
        f(*values)
    return str(caught.value)


def test_the_first_bad_node_and_its_line():
    x = sg.vector("x", dtype="float64")
    shifted = x - 1.0
    bad = sg.log(shifted)  # the line to be named
    text = message([x], sg.exp(bad).sum() * 2.0, np.array([3.0, 0.5, 2.0]))
    assert "NaN at 1 of 3 places, the first at [1]" in text
    assert "log, made at" in text and "bad = sg.log(shifted)" in text
    assert "from -0.5 to 2.0" in text


def test_infinities_count_where_they_are_made():
    x = sg.scalar("x", dtype="float64")
    assert "infinity in `" in message([x], 1.0 / x, 0.0)
    masked = sg.where(x > 0, x, -np.inf)
    assert sg.function([x], masked, mode="nan")(-1.0) == -np.inf


def test_in_a_gradient():
    x = sg.vector("x", dtype="float64")
    norm = sg.sqrt((x**2).sum())
    text = message([x], sg.grad(norm, x), np.zeros(2))
    assert "(its derivative)" in text and "norm = sg.sqrt" in text


def test_inside_of_loops_and_branches():
    x = sg.scalar("x", dtype="float64")
    states = sg.scan(lambda s: sg.sqrt(s - 1.0), outputs_info=x, n_steps=5)
    text = message([x], states[-1], 3.0)
    assert "sqrt, made at" in text and "step 2 of a loop" in text
    chosen = sg.cond(x > 0, lambda: sg.log(-x), lambda: x)
    assert "a branch" in message([x], chosen, 3.0)
    assert sg.function([x], chosen, mode="nan")(-3.0) == -3.0


def test_bad_inputs_and_untouched_state():
    x = sg.vector("x", dtype="float64")
    w = sg.shared(np.ones(2), name="w")
    text = message([x], None, np.array([1.0, np.nan]), updates={w: w + x})
    assert "in the input `x`" in text
    message([x], None, np.array([1.0, -1.0]), updates={w: sg.log(x)})
    np.testing.assert_array_equal(w.get_value(), np.ones(2))
    f = sg.function([x], None, updates={w: w + x}, mode="nan")
    f(np.ones(2))
    np.testing.assert_array_equal(w.get_value(), 2 * np.ones(2))
