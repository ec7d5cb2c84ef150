"""The matrix product: every layout, size and cut gives the same chain of multiply-adds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from product_rig import chain, multiply

import symgraph as sg
from symgraph.cpu.gemm.compiled import TEXTS
from symgraph.cpu.gemm.shape import DEPTH
from symgraph.cpu.gemm.whole import gemm_text
from symgraph.cpu.native import jit
from symgraph.cpu.programs.product import SLICES, product_shares, product_words
from symgraph.testing.tolerances import RELATIVE


def run(a, b, vector_bytes=32, cuts=()):
    """Return a @ b by the compiled product, done in the pieces that `cuts` (of 0 to 1) give."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(x, lead + x.shape[-2:]) for x in (a, b))
    (m, k), n, size = a.shape[-2:], b.shape[-1], a.itemsize
    out = np.full((*lead, m, n), np.nan, a.dtype)
    left, right = (
        (0, [s // size for s in x.strides[:-2]], *(s // size for s in x.strides[-2:]))
        for x in (a, b)
    )
    words = product_words((*lead, m, n, k), left, right, 0)
    units = product_shares(lead, m, n, k).units
    multiply("gemm", (a, b, out), words, units, vector_bytes, cuts)
    return out


sizes = st.one_of(st.integers(1, 20), st.integers(1, 150), st.sampled_from([16, 64, 128, 250]))


@settings(max_examples=120, deadline=None)
@given(
    m=sizes, n=sizes, k=st.one_of(sizes, st.integers(DEPTH - 2, 2 * DEPTH + 3)),
    dtype=st.sampled_from(["float32", "float64"]), width=st.sampled_from([16, 32, 64]),
    turned=st.tuples(st.booleans(), st.booleans()), apart=st.tuples(st.booleans(), st.booleans()),
    cuts=st.lists(st.floats(0, 1), max_size=3), seed=st.integers(0, 1 << 20),
)  # fmt: skip
def test_products_of_any_layout(m, n, k, dtype, width, turned, apart, cuts, seed):
    rng = np.random.default_rng(seed)

    def operand(rows, cols, turn, gaps):
        if turn:
            return operand(cols, rows, False, gaps).T
        step = 2 if gaps else 1
        return rng.standard_normal((rows * step, cols * step)).astype(dtype)[::step, ::-step]

    a, b = operand(m, k, turned[0], apart[0]), operand(k, n, turned[1], apart[1])
    found = run(a, b, width, cuts)
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    scale = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    assert np.all(np.abs(found - wanted) <= RELATIVE[dtype] * scale + 1e-300)
    np.testing.assert_array_equal(found, run(np.ascontiguousarray(a), np.ascontiguousarray(b)))


@pytest.mark.parametrize("m", [1, 4, 6, 8, 13, 18, 19])
@pytest.mark.parametrize("n", [1024, 1030, 2100])  # rows share lines, do not, are far apart
@pytest.mark.parametrize("width", [16, 32, 64])
def test_few_rows_and_a_matrix_larger_than_the_second_cache(m, n, width):
    rng = np.random.default_rng(m)
    a = rng.standard_normal((m, 301)).astype("float32")
    b = rng.standard_normal((301, n)).astype("float32")
    np.testing.assert_array_equal(run(a, b, width, cuts=[0.4]), chain(a, b))


@pytest.mark.parametrize("k", [1, 7, DEPTH, 2 * DEPTH + 19])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_every_element_is_one_chain_along_k(k, width):
    rng = np.random.default_rng(k)
    a = rng.standard_normal((33, k)).astype("float32")
    b = rng.standard_normal((k, 47)).astype("float32")
    np.testing.assert_array_equal(run(a, b, width), chain(a, b))


@pytest.mark.parametrize("m", [8, 16, 28, 140])
@pytest.mark.parametrize("n", [40, 200, 1030])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_rows_that_the_last_two_tiles_share(m, n, width):
    """A is packed from 192 columns on; B is read in place for few rows that are close together."""
    rng = np.random.default_rng(m)
    a = rng.standard_normal((m, 70)).astype("float32")
    b = rng.standard_normal((70, n)).astype("float32")
    np.testing.assert_array_equal(run(a, b, width), chain(a, b))


@pytest.mark.parametrize("m", [5, 23, 24])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_few_rows_and_a_matrix_whose_rows_are_far_apart(m, width):
    """B is read in place or packed, by the bytes between its rows."""
    rng = np.random.default_rng(m)
    a = rng.standard_normal((m, 40)).astype("float32")
    b = rng.standard_normal((40, 2100)).astype("float32")
    for columns in (200, 1024, 2100):
        found = run(a, b[:, :columns].copy(), width)
        np.testing.assert_array_equal(found, chain(a, b[:, :columns]))


def test_batches_broadcast_and_cut_anywhere():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((5, 1, 9, 30)).astype("float32")
    b = rng.standard_normal((3, 30, 21)).astype("float32")
    whole = run(a, b)
    np.testing.assert_allclose(whole, a @ b, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(run(a, b, cuts=(0.01, 0.3, 0.31, 0.77)), whole)


def test_sums_over_nothing_are_zero_and_empty_results_are_left_alone():
    assert not run(np.zeros((3, 0), "float32"), np.zeros((0, 4), "float32")).any()
    assert run(np.zeros((0, 3), "float64"), np.zeros((3, 4), "float64")).size == 0


def test_nan_and_infinity_reach_their_rows_and_columns_only():
    a, b = np.ones((40, 300), "float32"), np.ones((300, 50), "float32")
    a[3, 290], b[5, 7] = np.nan, np.inf
    found = run(a, b)
    others = np.delete(found, 3, 0)
    assert np.isnan(found[3]).all() and np.isinf(others[:, 7]).all()
    assert np.isfinite(np.delete(others, 7, 1)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "form",
    [
        lambda x, w: x @ w,
        lambda x, w: sg.relu(x @ w) + 1,
        lambda x, w: x.T.T @ w.T.T,
        lambda x, w: (x @ w).T * 2,
        lambda x, w: sg.tanh(x) @ w,
        lambda x, w: (x @ w).sum(0),
    ],
)
def test_exact_and_generic_products_have_the_same_bits(form, dtype):
    """Small products of known sizes are loops, others call the product: the order is one."""
    x, w = (sg.tensor(name, (None, None), dtype) for name in "xw")
    exact = sg.function([x, w], form(x, w), shapes="exact")
    generic = sg.function([x, w], form(x, w), shapes="generic")
    rng = np.random.default_rng(1)
    for limit in (6, 30, 120):
        for _ in range(3):
            m, n, k = (int(v) for v in rng.integers(2, limit, 3))
            a = rng.standard_normal((m, k)).astype(dtype)
            b = rng.standard_normal((k, n)).astype(dtype)
            np.testing.assert_array_equal(exact(a, b), generic(a, b))


def test_transposed_small_products_have_the_same_bits():
    x, w = sg.tensor("x", (None, None), "float32"), sg.tensor("w", (None, None), "float32")
    exact = sg.function([x, w], [x @ w.T, x.T @ w[: x.shape[0]]], shapes="exact")
    generic = sg.function([x, w], [x @ w.T, x.T @ w[: x.shape[0]]], shapes="generic")
    rng = np.random.default_rng(2)
    for m, n, k in [(2, 9, 40), (5, 20, 3), (12, 30, 64), (40, 41, 42)]:
        a = rng.standard_normal((m, k)).astype("float32")
        b = rng.standard_normal((n, k)).astype("float32")
        for p, q in zip(exact(a, b), generic(a, b), strict=True):
            np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize(("n", "called"), [(500, False), (1100, True)])
def test_a_few_rows_call_the_product_where_the_matrix_is_large(n, called):
    x, w = sg.matrix("x", dtype="float32"), sg.matrix("w", dtype="float32")
    rng = np.random.default_rng(n)
    arrays = [rng.standard_normal(shape).astype("float32") for shape in ((3, n), (n, n))]
    f = sg.function([x, w], x @ w, shapes="exact")
    np.testing.assert_array_equal(f(*arrays), chain(*arrays))
    assert ("gemm.float32" in f.explain()) is called


def test_shares_cover_all_and_grow_with_the_work():
    small, large = product_shares((), 8, 8, 8), product_shares((), 1000, 1000, 1000)
    assert small.units == SLICES and small.grain > SLICES  # one thread
    assert large.grain < SLICES // 100 and large.step >= large.grain
    assert product_shares((), 1000, 1000, 1000).step >= SLICES // 2  # B is packed for each step
    assert product_shares((3, 4), 8, 8, 8).units == 12 * SLICES


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize(
    ("triple", "cpu"),
    [
        ("x86_64-unknown-linux-gnu", "x86-64-v3"),
        ("x86_64-unknown-linux-gnu", "x86-64-v4"),
        ("aarch64-unknown-linux-gnu", "neoverse-n1"),
    ],
)
def test_products_are_assembled_for_other_machines(name, element, triple, cpu):
    target = jit.target(triple, cpu)
    assert jit.compile_object(TEXTS[name](element, target.vector_bytes), target, verify=True)


def test_sums_of_a_tile_stay_in_registers():
    """The innermost loop stores nothing: 6 x 2 sums, 2 vectors of B and one of A fit."""
    target = jit.target("x86_64-unknown-linux-gnu", "x86-64-v3")
    text = jit.compile_assembly(gemm_text("float", 32), target)
    tile = text.split("tile.6.2:")[1].split(".Lfunc_end")[0]
    loops = [part for part in tile.split(".p2align")[1:] if part.count("vfmadd") >= 12]
    inner = loops[0].split("jl\t")[0]
    assert inner.count("vfmadd") == 12 and "rsp" not in inner
