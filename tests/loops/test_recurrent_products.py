"""Products of a vector with a matrix in every step of a loop: aligned copies, full registers."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.dtype import FLOAT32
from symgraph.loops.columns import split_columns
from symgraph.loops.expr import Buffer
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Nest, Store


def recurrence(steps, n, columns, shape_of=lambda *s: s):
    x, h, u = (sg.tensor(name, shape, "float32") for name, shape in
               (("x", (steps, n)), ("h", (n,)), ("u", (n, columns))))  # fmt: skip

    def step(row, state):
        product = state @ u
        return sg.tanh(row + product[:n] + product[columns - n :])

    return (x, h, u), sg.scan(step, x, h)


def reference(x, h, u, n):
    states = []
    for row in x:
        p = h @ u
        h = np.tanh(row + p[:n] + p[-n:])
        states.append(h)
    return np.array(states)


def arrays(inputs, offset, rng):
    result = []
    for v in inputs:
        raw = np.empty(int(np.prod(v.type.shape)) * 4 + 128, np.uint8)
        start = -raw.ctypes.data % 64 + offset
        a = raw[start : start + raw.size - 128].view("float32").reshape(v.type.shape)
        a[...] = rng.standard_normal(a.shape) * 0.1
        result.append(a)
    return result


@pytest.mark.parametrize("columns", [32, 64, 80, 96, 100, 160, 192])
@pytest.mark.parametrize("offset", [0, 4, 16])
def test_recurrences_are_right_wherever_their_matrix_lies(columns, offset):
    inputs, states = recurrence(40, 32, columns)
    values = arrays(inputs, offset, np.random.default_rng(columns))
    found = sg.function(inputs, states)(*values)
    np.testing.assert_allclose(found, reference(*values, 32), atol=2e-5)


def test_a_matrix_of_the_caller_is_copied_before_the_steps_and_only_there():
    inputs, states = recurrence(40, 32, 96)
    f = sg.function(inputs, states)
    f(*arrays(inputs, 0, np.random.default_rng(0)))
    text = f.explain("loops")
    assert text.index("u2a[") < text.index("step")
    few = sg.function(*recurrence(4, 32, 96))
    few(*arrays(recurrence(4, 32, 96)[0], 0, np.random.default_rng(0)))
    assert "u2a" not in few.explain("loops")


def test_a_matrix_that_the_steps_write_is_not_copied():
    """The state itself is a matrix: what it was before the loop must not be read in the steps."""
    w = sg.shared(np.eye(8, dtype="float32") * 0.5, name="w")
    x = sg.tensor("x", (20, 8), "float32")
    last = sg.scan(lambda row, m: m * 0.9 + sg.outer(row, row @ m), x, w)[-1]
    f = sg.function([x], last, updates={w: last})
    rows = np.random.default_rng(0).standard_normal((20, 8)).astype("float32") * 0.1
    m = np.eye(8) * 0.5
    for _ in range(2):
        for row in rows:
            m = m * 0.9 + np.outer(row, row @ m)
        np.testing.assert_allclose(f(rows), m, atol=1e-5)


def column_sum(n, rows=32):
    s = Builder()
    i, j, k = s.axis("i0", 1), s.axis("i1", n), s.axis("k0", rows)
    x, w = Buffer("x", FLOAT32, (rows,), "input"), Buffer("w", FLOAT32, (rows, n), "input")
    out = Buffer("out", FLOAT32, (n,), "output")
    terms = s.load(x, s.at(k)) * s.load(w, s.iadd(s.imul(s.at(k), n), s.at(j)))
    return Nest((i, j), (Store(out, s.at(j), s.reduce("sum", (k,), terms)),))


@pytest.mark.parametrize(
    ("n", "parts", "tile"),
    [(96, 6, 6), (80, 5, 5), (160, 10, 5), (192, 12, 6), (48, 3, 3), (24, 3, 3), (40, 5, 5),
     (120, 15, 5), (64, 0, 0), (128, 0, 0), (104, 0, 0), (97, 0, 0), (90, 0, 0)],
)  # fmt: skip
def test_columns_are_split_where_a_tile_of_parts_fills_the_registers(n, parts, tile):
    """In parts of two vectors, or of one where their number is odd."""
    nest = column_sum(n)
    new, passes = split_columns(nest, 32)
    if not parts:
        assert new is nest and passes is None
    else:
        assert [a.extent for a in new.axes] == [1, parts, n // parts]
        assert passes.tile == tile and not passes.turned


@pytest.mark.parametrize(("rows", "stored"), [(200, True), (3, False)])
def test_an_operand_that_many_rows_need_is_computed_once(rows, stored):
    """The bits are those of the product with the operand made before."""
    x, w = sg.tensor("x", (rows, 16)), sg.tensor("w", (16, 24))
    f = sg.function([x, w], sg.tanh(x @ (w * w)))
    rng = np.random.default_rng(rows)
    a, b = (rng.standard_normal(s, dtype="float32") for s in ((rows, 16), (16, 24)))
    plain = sg.function([x, w], sg.tanh(x @ w))
    np.testing.assert_array_equal(f(a, b), plain(a, b * b))
    assert ("in every turn of a product" in f.explain()) == stored


@pytest.mark.parametrize(
    ("rows", "columns", "tile"),
    [(64, 192, 6), (64, 256, 4), (64, 320, 5), (32, 192, 0), (128, 384, 0), (256, 768, 0)],
)
def test_large_matrices_are_read_in_passes_that_the_near_cache_holds(rows, columns, tile):
    passes = split_columns(column_sum(columns, rows), 32)[1]
    assert passes.turned == bool(tile)
    assert not tile or passes.tile == tile


@pytest.mark.parametrize("steps", [1, 2, 7, 30])
@pytest.mark.parametrize("columns", [192, 256])
def test_passes_back_and_forth_change_no_bit(columns, steps):
    """Every step is the same as a step alone, which has no turn."""
    inputs, states = recurrence(steps, 64, columns)
    one, following = recurrence(1, 64, columns)
    rng = np.random.default_rng(steps)
    x, h, u = (0.1 * rng.standard_normal(v.type.shape, dtype="float32") for v in inputs)
    f = sg.function(inputs, states)
    found = f(x, h, u)
    step = sg.function(one, following)
    for row, state in zip(x, found, strict=True):
        (h,) = step(row[None], h, u)
        np.testing.assert_array_equal(state, h)
    if steps > 2:
        assert "trunc i64" in f.explain("llvm")


def test_steps_of_inner_and_outer_loops_have_turns_of_their_own():
    x, h, u = sg.tensor("x", (3, 5, 64)), sg.tensor("h", (64,)), sg.tensor("u", (64, 192))

    def step(row, state):
        product = state @ u
        return sg.tanh(row + product[:64] * product[64:128] + product[128:])

    inner = sg.scan(lambda rows, s: sg.scan(step, rows, s)[-1], x, h)
    rng = np.random.default_rng(0)
    values = [0.1 * rng.standard_normal(v.type.shape, dtype="float32") for v in (x, h, u)]
    flat = sg.tensor("flat", (15, 64))
    plain = sg.function([flat, h, u], sg.scan(step, flat, h))
    expected = plain(values[0].reshape(15, 64), *values[1:])[4::5]
    np.testing.assert_array_equal(sg.function([x, h, u], inner)(*values), expected)


@pytest.mark.parametrize(("rows", "stored"), [(4, False), (8, True), (64, True)])
def test_reshaped_operands_are_stored_for_many_rows(rows: int, stored: bool) -> None:
    """x @ (a transposed array seen as a matrix): its elements are not found by divisions."""
    x, w = sg.tensor("x", (rows, 6)), sg.tensor("w", (3, 6, 20))
    product = x @ w.transpose((1, 0, 2)).reshape((6, 60))
    f = sg.function([x, w], product)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(t.type.shape).astype("float32") for t in (x, w))
    np.testing.assert_allclose(
        f(a, b), a @ b.transpose(1, 0, 2).reshape(6, 60), rtol=1e-4, atol=1e-5
    )
    assert ("by a division, again for each row" in f.explain()) == stored
    once = sg.function([x, w], product, shapes="generic")
    np.testing.assert_array_equal(f(a, b), once(a, b))
