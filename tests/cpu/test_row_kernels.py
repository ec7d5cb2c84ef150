"""Kernels of rows and columns: row buffers, searches that end early, accumulators in memory."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.dtype import as_dtype
from symgraph.cpu.kernels import rows
from symgraph.cpu.kernels.rows import KEEP_COST, ROW_BYTES, find_rows
from symgraph.cpu.kernels.search import first_position
from symgraph.cpu.native import jit
from symgraph.loops.expr import Buffer, walk
from symgraph.loops.interned import Builder

LENGTHS = [1, 2, 3, 7, 31, 32, 33, 64, 100, 1000]


def llvm(f: Any, *arrays: np.ndarray) -> str:
    """Return the text of the version that takes these arrays, which is run first."""
    f(*arrays)
    return str(f.explain(stage="llvm"))


def exponentials(text: str) -> int:
    """Count the exponentials in a kernel by the one step that each has: its power of two."""
    steps = (" shl <", "= call <16 x float> @llvm.x86.avx512.mask.scalef")
    return sum(1 for line in text.splitlines() if any(step in line for step in steps))


def test_softmax_computes_each_exponential_once() -> None:
    x = sg.fmatrix("x")
    a = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    one = exponentials(llvm(sg.function([x], sg.logsumexp(x, 1)), a))
    text = llvm(sg.function([x], sg.softmax(x, 1)), a)
    assert one > 0 and exponentials(text) == one
    assert text.count("%row0 = alloca") == 1


def test_a_later_reduction_reads_what_an_earlier_one_kept() -> None:
    x, g = sg.fmatrix("x"), sg.fmatrix("g")
    p = sg.softmax(x, 1)
    f = sg.function([x, g], sg.log(sg.sum(g * g * p, 1, keepdims=True)) - x)
    a = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    one = exponentials(llvm(sg.function([x], sg.logsumexp(x, 1)), a))
    text = llvm(f, a, a)
    kernels = text.split("define internal")
    assert max(map(exponentials, kernels)) == exponentials(text) == one
    e64 = np.exp(a.astype(np.float64))
    wanted = np.log((a * a * e64 / e64.sum(1, keepdims=True)).sum(1, keepdims=True)) - a
    np.testing.assert_allclose(f(a, a), wanted, rtol=1e-5, atol=1e-6)  # the difference cancels


def test_a_row_beyond_the_near_cache_is_computed_again() -> None:
    x = sg.fmatrix("x")
    a = np.zeros((2, ROW_BYTES // 4), np.float32)
    assert "%row0" not in llvm(sg.function([x], sg.softmax(x, 1)), a)


def test_cheap_values_are_not_kept() -> None:
    x = sg.fmatrix("x")
    centred = x - sg.mean(x, 1, keepdims=True)
    f = sg.function([x], centred / sg.sum(centred * centred, 1, keepdims=True))
    assert "%row0" not in llvm(f, np.ones((3, 50), np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_all_lengths(dtype: str) -> None:
    x = sg.tensor("x", (None, None), dtype)
    p = sg.softmax(x, 1)
    weight = sg.exp(-x * x)
    values = [p, weight / sg.sum(weight, 1, keepdims=True) * sg.sum(weight * x, 1, keepdims=True)]
    values.append(sg.tanh(x) - sg.max(sg.tanh(x), 1, keepdims=True))
    f = sg.function([x], values)
    rng = np.random.default_rng(1)
    for n in LENGTHS:
        a = rng.standard_normal((3, n)).astype(dtype)
        wide = a.astype(np.float64)
        e = np.exp(wide - wide.max(1, keepdims=True))
        w = np.exp(-wide * wide)
        wanted = [
            e / e.sum(1, keepdims=True),
            w / w.sum(1, keepdims=True) * (w * wide).sum(1, keepdims=True),
            np.tanh(wide) - np.tanh(wide).max(1, keepdims=True),
        ]
        for got, want in zip(f(a), wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


def test_a_value_is_kept_for_later_reductions_only() -> None:
    """sum(e) * sum(e * sum(e)): the first sum keeps e, the second reads it, nothing is circular."""
    s = Builder()
    i, k = s.axis("i0", 4), s.axis("k0", 64)
    x = Buffer("x", as_dtype("float32"), (4, 64), "input")
    e = s.exp(s.load(x, s.iadd(s.imul(s.at(i), 64), s.at(k))))
    first = s.reduce("sum", (k,), e)
    second = s.reduce("sum", (k,), e * first)
    depths = {first: 1, second: 2}
    assert e.cost >= KEEP_COST
    rows = find_rows([first * second], [second, first], depths, i.bit)
    assert set(rows) == {e}
    assert rows[e][0].producer is first and rows[e][1] is k
    assert not find_rows([first], [first], depths, i.bit)
    assert not find_rows([first * second], [second, first], depths, 0)  # i may be lanes


def test_rows_inside_of_another_reduction_are_not_kept() -> None:
    """The check of a gather reduces over columns: its lanes are other rows."""
    x, y = sg.matrix("x"), sg.matrix("y")
    best = sg.expand_dims(sg.argmax(sg.exp(x), 0), 0)
    f = sg.function([x, y], sg.take_along_axis(y, best, 0))
    a, b = np.random.default_rng(0).normal(size=(2, 8, 100)).astype("float32")
    expected = np.take_along_axis(b, np.exp(a).argmax(0)[None], 0)
    np.testing.assert_array_equal(f(a, b), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int8", "uint8", "bool"])
def test_first_position_of_an_extremum(dtype: str) -> None:
    rng = np.random.default_rng(2)
    x = sg.tensor("x", (None, None), dtype)
    f = sg.function([x], [sg.argmax(x, 1), sg.argmin(x, 1), sg.argmax(x, 0)])
    for n in LENGTHS:
        for case in range(4):
            a = rng.integers(0, 3, (3, n)).astype(dtype)
            if dtype.startswith("float") and case:
                a = rng.standard_normal((3, n)).astype(dtype) if case == 1 else a
                a[rng.random((3, n)) < 2 / n] = np.nan if case > 1 else -np.inf
            if dtype.startswith("float") and case == 3:
                a[1] = -np.inf
            for got, want in zip(f(a), (a.argmax(1), a.argmin(1), a.argmax(0)), strict=True):
                np.testing.assert_array_equal(got, want, err_msg=f"{dtype} {n} {case}")


def test_a_search_ends_at_the_first_hit() -> None:
    x = sg.fmatrix("x")
    f = sg.function([x], sg.argmax(x, 1))
    text = llvm(f, np.ones((3, 100), np.float32))
    assert "call i32 @llvm.cttz.i32" in text
    assert "icmp slt <" not in text  # no smallest position is sought


def test_only_ascending_positions_are_a_search() -> None:
    s = Builder()
    k = s.axis("k0", 64)
    x = Buffer("x", as_dtype("float32"), (64,), "input")
    hit = s.load(x, s.at(k)) > 0.0
    far = s.const(2**62, as_dtype("int64"))

    def found(position: Any, kind: str = "min") -> bool:
        value = s.select(hit, s.as_value(position, as_dtype("int64")), far)
        return first_position(s.reduce(kind, (k,), value)) is not None

    assert found(s.at(k)) and found(s.iadd(s.imul(s.at(k), 3), 5))
    assert not found(s.imul(s.at(k), -1)) and not found(s.index(7))
    assert not found(s.at(k), "max")
    assert len(walk([hit])) > 2


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int8"])
def test_columns_are_added_from_the_first_row_on(dtype: str, shapes: str) -> None:
    rng = np.random.default_rng(3)
    x = sg.tensor("x", (None, None), dtype)
    f = sg.function([x], [sg.sum(x, 0), sg.max(x, 0)], shapes=shapes)
    for shape in ((2, 5), (7, 3), (8, 1000), (100, 1000), (515, 1031), (1024, 1024), (9, 20000)):
        a = (rng.standard_normal(shape) * 9).astype(dtype)
        total, top = f(a)
        wanted = np.add.accumulate(a, axis=0, dtype=total.dtype)[-1]
        np.testing.assert_array_equal(total, wanted, err_msg=str(shape))
        np.testing.assert_array_equal(top, a.max(0))


def test_large_column_sums_keep_accumulators_in_memory() -> None:
    x = sg.fmatrix("x")
    assert "%sums1 = alloca" in llvm(sg.function([x], sg.sum(x, 0)), np.ones((512, 512), "f"))
    assert "alloca [" not in llvm(sg.function([x], sg.sum(x, 0)), np.ones((20, 20), "f")).replace(
        "%words = alloca [", ""
    )


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_costly_product_is_summed_and_used_again(dtype: str, shapes: str) -> None:
    """The sum takes the factors of the product, in one fma: the product itself is in no row."""
    x = sg.tensor("x", (None, None), dtype)
    product = sg.sigmoid(x) * sg.cos(sg.log_softmax(x, 1))
    weights = sg.softmax(x, 1)
    f = sg.function([x], product - weights * sg.sum(product, 1, keepdims=True), shapes=shapes)
    for shape in ((3, 9), (40, 33), (4, 8), (5, 100)):
        a = np.random.default_rng(4).standard_normal(shape).astype(dtype)
        e = np.exp(a.astype("float64") - a.max(1, keepdims=True))
        total = e.sum(1, keepdims=True)
        p = (
            1
            / (1 + np.exp(-a.astype("float64")))
            * np.cos(a - a.max(1, keepdims=True) - np.log(total))
        )
        wanted = p - e / total * p.sum(1, keepdims=True)
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(f(a), wanted, tolerance, tolerance, err_msg=str(shape))


def test_a_row_that_no_loop_has_filled_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product that one fma adds is chosen for a row here, which nothing then writes."""

    def every(r: Any, axis: Any) -> list[Any]:
        costly = [e for e in walk([r.args[0]]) if e.free & axis.bit and e.dtype.is_float]
        return sorted((e for e in costly if e.cost >= KEEP_COST), key=lambda e: -e.cost)

    monkeypatch.setattr(rows, "_candidates", every)
    x = sg.dmatrix("x")
    product = sg.sigmoid(x) * sg.cos(x)
    with sg.config.override(cache=False, plans=False):
        f = sg.function([x], product - sg.sum(product, 1, keepdims=True))
        a = np.random.default_rng(5).standard_normal((3, 9))
        p = np.cos(a) / (1 + np.exp(-a))
        np.testing.assert_allclose(f(a), p - p.sum(1, keepdims=True), 1e-12, 1e-12)


def test_each_array_of_a_row_is_fetched_ahead_by_one_of_its_sums() -> None:
    x, y = sg.fmatrix("x"), sg.fmatrix("y")
    total = x.sum(1, keepdims=True)
    f = sg.function([x, y], (y * x * total).sum(1, keepdims=True) * y)
    a = np.random.default_rng(0).standard_normal((64, 1024)).astype(np.float32)
    text = llvm(f, a, a)
    lanes = int(re.findall(r"load <(\d+) x float>", text)[0])
    assert text.count("call void @llvm.prefetch") == 2 * -(-lanes * 4 // 64)  # once for each
    wanted = (a * a * a.sum(1, keepdims=True)).sum(1, keepdims=True) * a
    np.testing.assert_allclose(f(a, a), wanted, rtol=1e-3, atol=1e-2)


def test_rows_behind_whole_tiles_are_added_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """14 rows are two tiles of six and two more: six and two sums, none in both loops."""
    other = jit.target(cpu="x86-64-v3")
    monkeypatch.setattr(jit, "target", lambda: other)
    x = sg.tensor("x", (1, 8, 18, 18), "float32")
    w = sg.tensor("w", (8, 1, 5, 5), "float32")
    text = sg.function([x, w], sg.conv2d(x, w, groups=8)).explain("llvm")
    assert text.count("call <16 x float> @llvm.fma") == 8


def test_a_column_sum_is_done_in_whole_blocks_of_columns() -> None:
    """Threads may share fewer columns, but no one thread goes through memory in short stretches."""
    x = sg.fmatrix("x")
    f = sg.function([x], x.sum(0))
    a = np.random.default_rng(0).standard_normal((600, 4096)).astype(np.float32)
    np.testing.assert_allclose(f(a), a.sum(0), rtol=1e-3, atol=1e-3)
    call = re.search(r"ptr @k0, ptr %\w+, i64 (\d+), i64 (\d+), i64 (\d+)", llvm(f, a))
    assert call is not None
    columns, grain, step = map(int, call.groups())
    assert columns == 4096 and grain < columns and step >= columns
