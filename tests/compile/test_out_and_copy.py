"""Results in given arrays (`out=`), in every mode, and functions made from others (`f.copy`)."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.entry import context

MODES = ["native", "eager", "debug", "nan"]
ONES = np.ones(3, "float32")


@pytest.mark.parametrize("mode", MODES)
def test_results_go_where_they_are_wanted(mode):
    v = sg.vector("v")
    one = sg.function([v], v * 2, mode=mode)
    two = sg.function([v], [v + 1, v[::-1] + 2], mode=mode)
    named = sg.function([v], {"a": v + 1, "b": v * 3}, mode=mode)
    a, b = np.zeros((2, 3), "float32")
    for _ in range(2):
        assert one(ONES, out=a) is a and a.tolist() == [2, 2, 2]
        two(ONES, out=[a, b])
        assert (a.tolist(), b.tolist()) == ([2, 2, 2], [3, 3, 3])
        found = named(ONES, out={"b": b, "a": a})
        assert found["a"] is a and (a[0], b[0]) == (2, 3)
        a[:] = b[:] = 0


def test_native_code_checks_and_fills_an_array_given_by_name():
    v = sg.vector("v")
    f = sg.function([v], v * 2)
    out = np.zeros(3, "float32")
    f(ONES, out=out)
    (version,) = f.compiled.version_list
    before, count = version.entry.calls, sys.getrefcount(out)
    assert all(f(ONES, out=out) is out for _ in range(10))
    assert (version.entry.calls, sys.getrefcount(out)) == (before + 10, count)
    assert f(out, out=out) is out and out.tolist() == [4, 4, 4]  # through a new array
    assert f(ONES, out=None).tolist() == [2, 2, 2]
    assert f(v=ONES, out=out) is out
    assert f(np.ones(5, "float32"), out=np.zeros(5, "float32")).tolist() == [2] * 5


def test_results_are_stored_where_the_native_entry_cannot_be_used(monkeypatch):
    monkeypatch.setattr(context, "_layout_problem", lambda: "planted")
    v, out = sg.vector("v"), np.zeros(3, "float32")
    f = sg.function([v], v * 2)
    assert f(ONES, out=out) is out and out.tolist() == [2, 2, 2]
    g = sg.function([v], [v * 2, v + 1])
    assert g(ONES, out=[out, np.zeros(3, "float32")])[1].tolist() == [2, 2, 2]


@pytest.mark.parametrize("mode", MODES)
def test_arrays_that_do_not_fit_are_refused_before_anything_is_stored(mode):
    v, w = sg.vector("v"), sg.shared(np.float32(0))
    f = sg.function([v], [v + 1, v + 2], updates={w: w + 1}, mode=mode)
    named = sg.function([v], {"a": v + 1}, mode=mode)
    a, b = np.zeros((2, 3), "float32")
    frozen = np.zeros(3, "float32")
    frozen.flags.writeable = False
    for out, error, text in (
        ([a, a], ValueError, r"out\[0\] and out\[1\] share memory"),
        ([a, a[:2]], (ValueError, sg.ShapeError), "shape"),
        ([a], TypeError, "needs 2 arrays, got 1"),
        ([a, b.astype("float64")], sg.DTypeError, r"out\[1\] must be a float32 array"),
        ([frozen, a], ValueError, r"out\[0\] is read-only"),
    ):
        with pytest.raises(error, match=text):
            f(ONES, out=out)
        assert w.get_value() == 0 and not a.any()
    for wrong in ([a], {"b": a}):
        with pytest.raises(TypeError, match="a dict of arrays with the keys"):
            named(ONES, out=wrong)


@pytest.mark.parametrize("mode", MODES)
def test_results_may_replace_arguments_and_lent_variables(mode):
    v = sg.vector("v")
    f = sg.function([v], v[::-1] + 1, mode=mode)
    a = np.arange(6, dtype="float32")
    f(a[:5], out=a[1:])
    assert a.tolist() == [0, 5, 4, 3, 2, 1]
    w = sg.shared(a, borrow=True)
    g = sg.function([], w[::-1] * 2, mode=mode)
    g(out=a)
    assert a.tolist() == [2, 4, 6, 8, 10, 0]


@pytest.mark.parametrize("mode", MODES)
def test_variables_change_places(mode):
    a, b = sg.shared(np.zeros(3, "float32")), sg.shared(ONES)
    f = sg.function([], [a * 1, b * 1], updates={a: b, b: a}, mode=mode)
    assert f()[1].tolist() == [1, 1, 1]
    assert (a.get_value()[0], b.get_value()[0]) == (1, 0)


def test_a_copy_takes_only_variables_that_fit():
    x, w = sg.scalar("x"), sg.shared(np.float32(1), "w")
    f = sg.function([x], w + x, updates={w: w + x})
    other = sg.shared(np.float32(5), "other")
    with pytest.raises(ValueError, match="no shared variable `other`: `w`"):
        f.copy(swap={other: w})
    with pytest.raises(TypeError, match="`w` needs a shared variable"):
        f.copy(swap={w: np.float32(1)})
    with pytest.raises(sg.DTypeError, match="`wide` scalar float64"):
        f.copy(swap={w: sg.shared(np.float64(1), "wide")})
    with pytest.raises(sg.ShapeError, match="`long` vector float32"):
        f.copy(swap={w: sg.shared(ONES, "long")})
    assert f.copy(swap={w: other})(1) == 6


def test_a_copy_without_updates():
    x, w = sg.scalar("x"), sg.shared(np.float32(1), "w")
    own = sg.In(x, value=np.float32(1), update=x + 1)
    f = sg.function([own], w + x, updates={w: w + x})
    assert f() == 2  # w is 2 from now on, and so is x
    g = f.copy(delete_updates=True)
    assert [g(), g()] == [4, 4] and w.get_value() == 2


def test_a_copy_keeps_the_numerics():
    x = sg.vector("x")
    with sg.config.override(numerics="fast"):
        f = sg.function([x], x * 0)
    assert f.compiled.numerics == f.copy().compiled.numerics == "fast"


def test_the_policy_of_unused_inputs_is_a_known_one():
    x, y = sg.vectors("x", "y")
    with pytest.raises(ValueError, match="raise, warn or ignore, got 'maybe'"):
        sg.function([x, y], x, on_unused_input="maybe")
