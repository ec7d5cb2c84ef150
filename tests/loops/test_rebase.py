"""Rows of constant place: the steps of a written-out recurrence are one kernel, and are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symgraph as sg
from symgraph.core.dtype import FLOAT32
from symgraph.loops.expr import Buffer
from symgraph.loops.interned import Builder
from symgraph.loops.rebase import rebased
from symgraph.loops.statements import Nest, Store


def kernels(steps: int) -> int:
    """Return how many kernels a recurrence of so many steps needs."""
    x = sg.tensor("x", (steps, 3, 40), "float32")
    h, rows = sg.zeros((3, 40), "float32"), []
    for t in range(steps):
        h = sg.tanh(x[t] + sg.sin(h).sum(1, keepdims=True))
        rows.append(h)
    f = sg.function([x], sg.stack(rows))
    value = np.random.default_rng(0).normal(size=(steps, 3, 40)).astype("float32")
    state, wanted = np.zeros((3, 40), "float32"), []
    for row in value:
        state = np.tanh(row + np.sin(state).sum(1, keepdims=True))
        wanted.append(state)
    np.testing.assert_allclose(f(value), wanted, rtol=2e-5, atol=1e-5)
    return len({k.name for k in f.compiled.version_list[0].module.kernels})


def test_steps_of_a_recurrence_share_their_kernels() -> None:
    assert kernels(12) == kernels(6)


def test_offsets_are_whole_rows_and_the_least() -> None:
    s = Builder()
    x, y = (Buffer(n, FLOAT32, (10, 4), "input") for n in "xy")
    axis = s.axis("i0", 4)
    at = s.at(axis)
    value = s.add(s.load(x, s.iadd(at, 26)), s.load(x, s.iadd(at, 13)))
    nest, offsets = rebased(s, Nest((axis,), (Store(y, s.iadd(at, 8), value),)))
    assert offsets == {x: 12, y: 8}
    (store,) = nest.stores
    assert store.address is s.index(at)
    assert store.value is s.add(s.load(x, s.iadd(at, 14)), s.load(x, s.iadd(at, 1)))


def test_a_place_from_data_is_left_alone() -> None:
    x, i = sg.matrix("x"), sg.lvector("i")
    f = sg.function([x, i], x[2:][i] + x[3])
    value = np.random.default_rng(0).normal(size=(9, 5)).astype("float32")
    places = np.array([6, 0, 3, -1])
    np.testing.assert_array_equal(f(value, places), value[2:][places] + value[3])


slices = st.tuples(st.integers(0, 6), st.integers(0, 5), st.sampled_from([1, 2, 3, -1]))


@settings(max_examples=20, deadline=None)
@given(st.lists(slices, min_size=1, max_size=4), st.booleans())
def test_slices_at_constant_places(parts: list[tuple[int, int, int]], flipped: bool) -> None:
    x = sg.tensor("x", (12, 11), "float32")

    def piece(a, row: int, column: int, step: int):
        part = a[row : row + 6, column : column + 6]
        return part[:, ::-1] if step < 0 else part[:, ::step].sum(1)[:, None] + part

    value = np.arange(132, dtype="float32").reshape(12, 11)
    total = [piece(x.T[:11].T if flipped else x, *p) for p in parts]
    f = sg.function([x], [sg.concatenate(total, 1), *total])
    wanted = [piece(value, *p) for p in parts]
    for got, want in zip(f(value), [np.concatenate(wanted, 1), *wanted], strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("offset", [0, 1, 7])
def test_in_place_updates_at_an_offset(offset: int) -> None:
    s = sg.shared(np.arange(12, dtype="float32"), "s")
    part = sg.inc_subtensor(s[offset : offset + 4], s[offset : offset + 4] * 2)
    f = sg.function([], s.sum(), updates={s: part})
    wanted = np.arange(12, dtype="float32")
    assert f() == wanted.sum()
    wanted[offset : offset + 4] *= 3
    np.testing.assert_array_equal(s.get_value(), wanted)
