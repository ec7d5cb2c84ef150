"""Small states of loops: written out point by point, and read from registers within a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.dtype import FLOAT32
from symgraph.loops.expr import Buffer, walk
from symgraph.loops.interned import Builder
from symgraph.loops.points import MOST_POINTS, MOST_TERMS, written_out
from symgraph.loops.statements import Nest, Store

STEPS = 6


def places_added(row: Any, s: Any, i: Any) -> list[Any]:
    """Zeros are stored, then rows are added at places from data: two statements, one buffer."""
    counted = sg.inc_subtensor(sg.zeros((3,), "float64")[i % 3], row[0])
    return [sg.sin(s) + counted * row, (i + 1) % 5]


def either(row: Any, s: Any, i: Any) -> list[Any]:
    """A branch writes the state on one of two sides."""
    chosen = sg.cond(row[0] > 0, lambda: s * 0.5 + row, lambda: s - row * s[::-1])
    return [chosen, i + 1]


def parts(row: Any, s: Any, i: Any) -> list[Any]:
    """Two nests store one buffer."""
    return [sg.stack([s[1] * row[2], sg.cos(s[0]), s[2] + row[1]]), i + 1]


def inner_loop(row: Any, s: Any, i: Any) -> list[Any]:
    """A loop within the step rewrites its own small state."""
    inside = sg.scan(lambda t: sg.sin(t) * row + t[::-1], outputs_info=s, n_steps=3)
    return [inside[-1] * 0.5, i + 1]


def several_readers(row: Any, s: Any, i: Any) -> list[Any]:
    """Values of a step are read by others, a sum among them, and tests become numbers."""
    a = sg.tanh(s + row)
    size = sg.sqrt((a * a).sum())
    return [sg.where(size > 0.9, a[::-1] / size, a + row * s.sum()), i + 1]


@pytest.mark.parametrize(
    "step", [places_added, either, parts, inner_loop, several_readers], ids=lambda f: f.__name__
)
def test_small_states_of_a_loop(step: Any) -> None:
    x, s = sg.tensor("x", (STEPS, 3), "float64"), sg.tensor("s", (3,), "float64")
    rows = sg.scan(step, x, [s, sg.as_tensor(0)])[0]
    rng = np.random.default_rng(0)
    values = [rng.normal(size=n) for n in ((STEPS, 3), (3,))]
    wanted = [rows, sg.grad((rows * rows).sum(), [x, s])[1]]
    native = sg.function([x, s], wanted)(*values)
    for got, want in zip(native, sg.function([x, s], wanted, mode="eager")(*values), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_the_same_bits_for_a_size_that_is_not_known() -> None:
    x, s = sg.matrix("x"), sg.vector("s")
    rows = sg.scan(lambda row, s: sg.tanh(s * row[::-1]) + sg.exp(-s * s), x, s)
    rng = np.random.default_rng(1)
    values = [rng.normal(size=n).astype("float32") for n in ((50, 3), (3,))]
    exact, generic = (sg.function([x, s], rows, shapes=k)(*values) for k in ("exact", "generic"))
    np.testing.assert_array_equal(exact, generic)


def test_what_is_written_out() -> None:
    s = Builder()
    x, y = (Buffer(n, FLOAT32, (MOST_POINTS,), "input") for n in "xy")

    def nest(points: int, value: Any) -> Nest:
        axis = s.axis("i0", points)
        return Nest((axis,), (Store(y, s.at(axis), value(s.load(x, s.at(axis)))),))

    small = written_out(s, nest(MOST_POINTS, lambda v: s.add(v, v)))
    assert not small.axes and len(small.stores) == MOST_POINTS
    assert [t.address for t in small.stores] == [s.index(k) for k in range(MOST_POINTS)]
    large = nest(MOST_POINTS + 1, lambda v: v)
    assert written_out(s, large) is large
    for terms in (1, 2, 3, 4):
        k = s.axis("k0", terms)
        total = nest(2, lambda v, k=k: s.reduce("sum", (k,), s.mul(v, s.load(x, s.at(k)))))
        points = written_out(s, total).stores
        assert [sum(e.op == "mul" for e in walk([t.value])) for t in points] == [terms] * 2
        assert not any(e.op == "reduce" for t in points for e in walk([t.value]))
    k = s.axis("k0", MOST_TERMS + 1)
    long = nest(2, lambda v: s.reduce("sum", (k,), s.add(v, s.load(x, s.at(k)))))
    assert written_out(s, long) is long


@pytest.mark.parametrize("terms", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min", "mean"])
def test_sums_of_a_few_terms_give_the_same_bits_for_unknown_sizes(kind: str, terms: int) -> None:
    x, s = sg.tensor3("x"), sg.vector("s")

    def step(row: Any, s: Any) -> Any:
        return sg.tanh(s + getattr(sg, kind)(row * s[:, None], 1))

    rows = sg.scan(step, x, s)
    rng = np.random.default_rng(terms)
    values = [rng.normal(size=n).astype("float32") for n in ((20, 2, terms), (2,))]
    exact, generic = (sg.function([x, s], rows, shapes=k)(*values) for k in ("exact", "generic"))
    np.testing.assert_array_equal(exact, generic)
