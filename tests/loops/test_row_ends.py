"""Rows whose last vector ends with them: bits, updates in place, lengths of none and one."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.record import replace
from symgraph.cpu.native import jit
from symgraph.cpu.native.pool import get_threads

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 23, 31, 32, 33, 47, 48, 64, 65, 100)
# (what the code is for, bytes of its vectors): the last one does as a machine of wide vectors does
MACHINES = (("x86-64", 16), ("x86-64-v3", 32), ("x86-64-v3", 64))


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile for another machine."""
    cpu, width = request.param
    other = replace(jit.target(cpu=cpu), vector_bytes=width)
    monkeypatch.setattr(jit, "target", lambda: other)


def rows_of(columns: int, dtype: str = "float32") -> np.ndarray:
    rng = np.random.default_rng(columns)
    return (8 * rng.standard_normal((5, columns))).astype(dtype)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "float16"])
def test_elements_that_are_computed_twice_have_the_same_bits(dtype: str) -> None:
    x, b = sg.tensor("x", (None, None), dtype), sg.tensor("b", (None,), dtype)
    values = [x * 3 + b, x[:, ::-1], x > b, sg.concatenate([x, x * 2], 1)]
    f, g = (sg.function([x, b], values, shapes=s) for s in ("generic", "exact"))
    for columns in WIDTHS:
        a = rows_of(columns, dtype)
        for found, expected in zip(f(a, a[1]), g(a, a[1]), strict=True):
            assert found.tobytes() == expected.tobytes(), columns
        np.testing.assert_array_equal(f(a, a[1])[1], a[:, ::-1])


@pytest.mark.usefixtures("machine")
def test_updates_in_place_read_the_old_values() -> None:
    """The last vector is read before the one that it overlaps is stored."""
    state = sg.shared(rows_of(2), name="state", shape=(None, None))
    x = sg.tensor("x", (None,))
    step = sg.function([x], [], updates={state: state * state + x}, shapes="generic")
    for columns in WIDTHS[1:]:
        before, a = rows_of(columns), rows_of(columns + 1)[0, 1:].copy()
        state.set_value(before)
        step(a)
        assert "in place: 1" in str(step.explain())
        np.testing.assert_allclose(state.get_value(), before * before + a, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("machine")
def test_computed_lengths_of_none_and_one() -> None:
    x = sg.tensor("x", (None, None))
    f = sg.function([x], x[:, 1:] - x[:, :-1], shapes="generic")
    for rows, columns in ((40, 9), (40, 2), (37, 2), (3, 2), (40, 1), (40, 18), (1, 2)):
        a = np.arange(rows * columns, dtype="float32").reshape(rows, columns) ** 2
        np.testing.assert_array_equal(f(a), a[:, 1:] - a[:, :-1])


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transpositions_to_few_columns(dtype: str) -> None:
    x, y = (sg.tensor(n, (None, None), dtype) for n in "xy")
    f = sg.function([x, y], [x.T, x.T + y], shapes="generic")
    for rows in (1, 2, 3, 9, 1, 2):
        for columns in (2, 5, 8, 31, 100, 5000):
            a = np.arange(rows * columns, dtype=dtype).reshape(rows, columns)
            plain, total = f(a, a.T.copy())
            np.testing.assert_array_equal(plain, a.T)
            np.testing.assert_array_equal(total, 2 * a.T)


def test_threads_share_the_rows_of_few_columns() -> None:
    before = get_threads()
    x = sg.tensor("x", (None, None))
    f = sg.function([x], x.T * 2, shapes="generic")
    sg.set_threads(2)
    try:
        for shape in ((2, 700_001), (1, 1_000_003), (3, 400_000)):
            a = np.arange(shape[0] * shape[1], dtype="float32").reshape(shape)
            np.testing.assert_array_equal(f(a), 2 * a.T)
    finally:
        sg.set_threads(before)


@pytest.mark.parametrize(("width", "asks"), [(16, False), (32, True), (64, False)])
def test_masked_loads_of_avx2_ask_ahead(
    width: int, asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(jit.target(cpu="x86-64-v3"), vector_bytes=width)
    monkeypatch.setattr(jit, "target", lambda: other)
    x = sg.tensor("x", (None, 7))
    a = rows_of(7)
    f = sg.function([x], x.sum(0), shapes="generic")
    np.testing.assert_allclose(f(a), a.sum(0), rtol=1e-5)
    text = f.compiled.version_list[0].module.text
    assert "masked.load" in text
    assert ("@llvm.prefetch" in text) is asks
