"""The product through tables of offsets: any axes, cuts and vectors give one chain per element."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from product_rig import chain, multiply

from symgraph.cpu.gemm.shape import DEPTH
from symgraph.cpu.programs.product import SLICES, contraction_words
from symgraph.loops.convolution import table

Axes = list[tuple[int, int]]  # (length, stride) of each axis


def addresses(axes: Axes) -> np.ndarray:
    """Return the offset of each position, row-major."""
    total = np.zeros((), np.int64)
    for n, stride in axes:
        total = np.add.outer(total, np.arange(n) * stride)
    return total.ravel()


def run(a, b, out, tables, c_row, starts=(0, 0, 0), batch=(), width=32, cuts=()):
    """Store the product that the tables (of a's rows and steps, b's and c's) describe."""
    m, k, n = (len(addresses(tables[t])) for t in (0, 1, 3))
    packed = [table([n for n, _ in axes], [s for _, s in axes]) for axes in tables]
    part = (n, (0, 1, 0, 1), 0, 0, *packed[3:])
    words = contraction_words((m, n, k), starts, c_row, packed[:3], batch, (1, 1), [part])
    units = SLICES * int(np.prod([g[0] for g in batch], dtype=np.int64))
    multiply("contract", (a, b, out), words, units, width, cuts)


lengths = st.lists(st.integers(1, 40), min_size=1, max_size=3).filter(lambda n: np.prod(n) < 700)


@st.composite
def axes_of(draw: Any, sizes: list[int]) -> Axes:
    """Draw strides: some axes contiguous, some apart, some backwards, some that stand still."""
    stride, found = draw(st.sampled_from([1, 1, 1, 2, 7])), []
    for n in reversed(sizes):
        sign = draw(st.sampled_from([1, 1, 1, -1]))
        found.insert(0, (n, sign * stride))
        stride = draw(st.sampled_from([stride * n, stride * n + 3, 1, 0]))
    return found


def placed(rng, dtype, *tables):
    """Return an array that the sums of offsets fit into, and where offset zero is."""
    low = sum(int(addresses(t).min()) for t in tables)
    high = sum(int(addresses(t).max()) for t in tables)
    return rng.standard_normal(high - low + 1).astype(dtype), -low


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(), rows=lengths, terms=lengths, columns=lengths,
    dtype=st.sampled_from(["float32", "float64"]), width=st.sampled_from([16, 32, 64]),
    cuts=st.lists(st.floats(0, 1), max_size=3), seed=st.integers(0, 1 << 20),
)  # fmt: skip
def test_any_axes_cuts_and_vectors(data, rows, terms, columns, dtype, width, cuts, seed):
    rng = np.random.default_rng(seed)
    a_rows, a_steps, b_steps, b_columns = (
        data.draw(axes_of(sizes)) for sizes in (rows, terms, terms, columns)
    )
    a, a_start = placed(rng, dtype, a_rows, a_steps)
    b, b_start = placed(rng, dtype, b_steps, b_columns)
    m, n = int(np.prod(rows)), int(np.prod(columns))
    apart = data.draw(st.sampled_from([1, 2, 3]))  # between columns of the result
    out = np.full((m, n * apart), np.nan, dtype)
    tables = [a_rows, a_steps, b_steps, b_columns, [(n, apart)]]
    run(a, b, out, tables, n * apart, (a_start, b_start, 0), (), width, cuts)
    left = a[a_start + np.add.outer(addresses(a_rows), addresses(a_steps))]
    right = b[b_start + np.add.outer(addresses(b_steps), addresses(b_columns))]
    found = out[:, ::apart]
    if dtype == "float32":
        np.testing.assert_array_equal(found, chain(left, right))
    else:
        scale = np.abs(left) @ np.abs(right)
        assert np.all(np.abs(found - left @ right) <= 1e-13 * scale + 1e-300)
    if apart > 1:
        assert np.isnan(np.delete(out, np.s_[::apart], 1)).all()


@pytest.mark.parametrize("width", [16, 32, 64])
def test_more_blocks_than_one_along_all_sides(width):
    rng = np.random.default_rng(1)
    m, k, n = 530, DEPTH + 5, 300
    a, b = rng.standard_normal((m, k)).astype("float32"), rng.standard_normal((k, n))
    b, out = b.astype("float32"), np.full((m, n), np.nan, "float32")
    tables: list[Axes] = [[(m, k)], [(k, 1)], [(k, n)], [(n, 1)], [(n, 1)]]
    run(a, b, out, tables, n, width=width)
    np.testing.assert_array_equal(out, chain(a, b))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize(("rows", "channels"), [(30, 40), (300, 3), (8, 300)])
@pytest.mark.parametrize("window", [(3, 3), (1, 5), (20, 30)])
@pytest.mark.parametrize("turned", [False, True])
def test_parts_of_the_columns_have_terms_of_their_own(
    window, rows, channels, width, dtype, turned
):
    """Blocks of terms of which a part needs nothing, and threads that begin within a part.

    Either columns or terms of B follow each other in memory.
    """
    rng = np.random.default_rng(rows)
    height, wide = window
    channels = 2 if height * wide > 100 else channels
    k = channels * height * wide
    parts = [  # columns, and the rectangle of the window
        (33, (0, height, 0, wide)),
        (16, (height - 1, 1, 0, wide)),
        (5, (0, 1, wide - 1, 1)),
        (21, (0, height, 0, wide - wide // 2)),
        (70, (0, max(1, height - 1), wide // 2, wide - wide // 2)),
    ]
    n = sum(count for count, _ in parts)
    a, b = rng.standard_normal((rows, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    out, position = np.full((rows, n), np.nan, dtype), np.arange(k) % (height * wide)
    wanted, words, begin = out.copy(), [], 0
    y, x = np.divmod(position, wide)
    for count, (top, high, left, across) in parts:
        needed = (top <= y) & (y < top + high) & (left <= x) & (x < left + across)
        own = slice(begin, begin + count)
        b[~needed, own] = np.nan
        wanted[:, own] = product_of(a[:, needed], b[needed, own])
        read, stored = table([count], [k if turned else 1]), table([count], [1])
        start = begin * k if turned else begin
        words.append((count, (top, high, left, across), start, begin, read, stored))
        begin += count
    tables = [table([rows], [k]), table([k], [1]), table([k], [1 if turned else n])]
    b = np.ascontiguousarray(b.T) if turned else b
    words = contraction_words((rows, n, k), (0, 0, 0), n, tables, (), window, words)
    multiply("contract", (a, b, out), words, SLICES, width, (0.2, 0.51, 0.9))
    np.testing.assert_allclose(out, wanted, rtol=0, atol=0 if dtype == "float32" else 1e-10)


def product_of(left, right):
    return chain(left, right) if left.dtype == np.float32 else left @ right


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("columns", [7, 14, 16, 24, 30, 56])
def test_rows_of_images_are_read_where_they_lie(columns, width):
    rng = np.random.default_rng(columns)
    images, channels, rows, pitch = 2, 5, 6, columns + 4  # two elements of a row are read by none
    x = rng.standard_normal((images, channels, rows + 2, pitch)).astype("float32")
    x[..., columns + 2 :] = np.nan
    a = rng.standard_normal((29, channels * 9)).astype("float32")
    plane, image = (rows + 2) * pitch, channels * (rows + 2) * pitch
    terms = [(channels, plane), (3, pitch), (3, 1)]
    places = [(images, image), (rows, pitch), (columns, 1)]
    n = images * rows * columns
    out = np.full((29, n), np.nan, "float32")
    run(a, x, out, [[(29, 45)], [(45, 1)], terms, places, [(n, 1)]], n, width=width)
    right = x.ravel()[np.add.outer(addresses(terms), addresses(places))]
    np.testing.assert_array_equal(out, chain(a, right))


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("columns", [7, 20, 40])
@pytest.mark.parametrize("turned", [False, True])
def test_every_second_element_of_rows_of_images(columns, width, turned):
    rng = np.random.default_rng(columns)
    images, channels, rows, pitch = 2, 5, 4, 2 * columns + 2
    x = rng.standard_normal((images, channels, 2 * rows + 2, pitch)).astype("float32")
    plane = (2 * rows + 2) * pitch
    window = [(channels, plane), (3, pitch), (3, 1)]
    places = [(images, channels * plane), (rows, 2 * pitch), (columns, 2)]
    terms, across = (places, window) if turned else (window, places)
    k, n = len(addresses(terms)), len(addresses(across))
    a = rng.standard_normal((29, k)).astype("float32")
    out = np.full((29, n), np.nan, "float32")
    run(a, x, out, [[(29, k)], [(k, 1)], terms, across, [(n, 1)]], n, width=width)
    right = x.ravel()[np.add.outer(addresses(terms), addresses(across))]
    np.testing.assert_array_equal(out, chain(a, right))


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("window", [3, 8, 9, 25])
def test_windows_along_the_terms_of_both_operands(window, dtype, width):
    """Runs of whole squares, of one element over, and of parts of a square."""
    rng = np.random.default_rng(window)
    m, n, filters = 29, 40, 300 // window
    k = filters * window
    a, b = (rng.standard_normal((filters, s, window)).astype(dtype) for s in (m, n))
    out = np.full((m, n), np.nan, dtype)
    steps = [[(filters, s * window), (window, 1)] for s in (m, n)]
    tables: list[Axes] = [[(m, window)], steps[0], steps[1], [(n, window)], [(n, 1)]]
    run(a, b, out, tables, n, width=width)
    left, right = a.swapaxes(0, 1).reshape(m, k), b.swapaxes(1, 2).reshape(k, n)
    if dtype == "float32":
        np.testing.assert_array_equal(out, chain(left, right))
    else:
        np.testing.assert_allclose(out, left @ right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("columns", [5, 20, 40])
def test_columns_of_the_result_may_be_every_second_element(columns, width):
    rng = np.random.default_rng(columns)
    k, rows, pitch = 2 * DEPTH + 5, 7, 2 * columns + 3
    n = rows * columns
    a, b = (rng.standard_normal(s).astype("float32") for s in ((29, k), (k, n)))
    out = np.full((29, 2 * rows, pitch), np.nan, "float32")
    places = [(rows, 2 * pitch), (columns, 2)]
    tables: list[Axes] = [[(29, k)], [(k, 1)], [(k, n)], [(n, 1)], places]
    run(a, b, out, tables, 2 * rows * pitch, width=width)
    found = out[:, ::2, : 2 * columns : 2]
    np.testing.assert_array_equal(found.reshape(29, n), chain(a, b))
    assert np.isnan(out).sum() == out.size - 29 * n


def test_batches_move_all_three_arrays():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((3, 5, 4)), rng.standard_normal((3, 4, 6))
    out = np.full((3, 2, 5, 6), np.nan)
    tables: list[Axes] = [[(5, 4)], [(4, 1)], [(4, 6)], [(6, 1)], [(6, 1)]]
    run(a, b, out, tables, 6, batch=((3, 20, 24, 60), (2, 0, 0, 30)), cuts=(0.1, 0.5))
    np.testing.assert_allclose(out, (a @ b)[:, None].repeat(2, 1), rtol=1e-13)


def test_sums_over_nothing_are_zero_where_the_result_lies():
    out = np.full((3, 8), np.nan, "float32")
    tables = [table([n], [s]) for n, s in ((3, 0), (0, 1), (0, 4), (4, 1), (4, 2))]
    part = (4, (0, 1, 0, 1), 0, 0, *tables[3:])
    words = contraction_words((3, 4, 0), (0, 0, 0), 8, tables[:3], (), (1, 1), [part])
    multiply("contract", (out, out, out), words, SLICES)
    assert not out[:, ::2].any() and np.isnan(out[:, 1::2]).all()
