"""Scatters and segment reductions against NumPy's ufunc.at; their errors and derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.node import new_input

RNG = np.random.default_rng(3)
DATA = RNG.normal(size=(6, 3))
IDS = np.array([2, 0, 2, 3, 0, 2])
UFUNC = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
START = {"sum": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}


def run(f: Any, *arrays: Any) -> Any:
    arrays = tuple(map(np.asarray, arrays))
    inputs = [new_input(a.dtype, a.shape) for a in arrays]
    return sg.function(inputs, f(*inputs))(*arrays)


@pytest.mark.parametrize("kind", sorted(UFUNC))
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int32", "uint8"])
def test_segments(kind: str, dtype: str) -> None:
    data = np.round(DATA * 3).astype(dtype)
    value = run(lambda x, i: getattr(sg, f"segment_{kind}")(x, i, 5), data, IDS)
    limits = np.iinfo(dtype) if data.dtype.kind in "iu" else None
    start = START[kind]
    if limits is not None and kind in ("max", "min"):
        start = limits.min if kind == "max" else limits.max
    expected = np.full((5, 3), start).astype(dtype)
    UFUNC[kind].at(expected, IDS, data)
    assert value.dtype == expected.dtype
    assert np.array_equal(value, expected)


def test_mean_of_segments() -> None:
    value = run(lambda x, i: sg.segment_mean(x, i, 4), DATA, IDS)
    expected = [DATA[k == IDS].mean(0) if (k == IDS).any() else np.zeros(3) for k in range(4)]
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("bad", [4, -1, 9])
def test_an_id_outside_is_an_error(bad: int) -> None:
    ids = np.array([0, 1, bad, 1, 0, 2])
    with pytest.raises(IndexError):
        run(lambda x, i: sg.segment_sum(x, i, 4), DATA, ids)
    with pytest.raises(IndexError):
        run(lambda i: sg.bincount(i, length=4), ids)


def test_errors_when_the_graph_is_made() -> None:
    x = new_input("float64", (3,), "x")
    with pytest.raises(DTypeError, match="integer ids"):
        sg.segment_sum(x, x, 3)
    with pytest.raises(ShapeError, match="2 axes"):
        sg.put_along_axis(sg.zeros((2, 3)), np.array([1]), 0.0)
    with pytest.raises(ValueError, match="mode"):
        sg.put_along_axis(x, np.array([1]), 0.0, mode="mul")
    with pytest.raises(ValueError, match="length"):
        sg.bincount(np.array([1, 2]))
    with pytest.raises(ShapeError, match="no 4 elements"):
        sg.topk(x, 4)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", ["set", *sorted(UFUNC)])
def test_put_along_axis(kind: str, axis: int) -> None:
    x, values = RNG.normal(size=(4, 5)), RNG.normal(size=(4, 5) if axis else (3, 5))
    i = RNG.integers(-4, 4, values.shape)
    mode = {"sum": "add"}.get(kind, kind)
    value = run(lambda x, v, i: sg.put_along_axis(x, i, v, axis, mode), x, values, i)
    grid = list(np.ogrid[tuple(slice(n) for n in values.shape)])
    grid[axis] = i
    expected = x.copy()
    if kind == "set":
        for at in np.ndindex(*values.shape):
            place = list(at)
            place[axis] = i[at]
            expected[tuple(place)] = values[at]
    else:
        UFUNC[kind].at(expected, tuple(grid), values)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    if kind != "set":
        again = run(lambda x, v, i: getattr(sg, f"scatter_{mode}")(x, i, v, axis), x, values, i)
        assert np.array_equal(again, value)


def test_slices_along_an_axis() -> None:
    x, rows = RNG.normal(size=(4, 5, 2)), RNG.normal(size=(4, 3, 2))
    i = np.array([1, 4, 1])
    expected = x.copy()
    np.add.at(expected, (slice(None), i), rows)
    value = run(lambda x, v: sg.index_add(x, i, v, 1), x, rows)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    assert np.array_equal(run(lambda x: sg.index_select(x, i, 1), x), x[:, i])
    expected = x.copy()
    expected[:, i] = rows
    assert np.array_equal(run(lambda x, v: sg.index_put(x, i, v, 1), x, rows), expected)
    mask = x > 0
    assert np.array_equal(run(lambda x, m: sg.masked_fill(x, m, 7), x, mask), np.where(mask, 7, x))


def test_derivative_of_a_product_with_zeros() -> None:
    """Each factor's derivative is the product of the others, also where some are zero."""
    data = np.array([2.0, 0.0, 3.0, 0.0, 0.0, 5.0, 7.0])
    ids = np.array([0, 0, 0, 1, 1, 1, 2])
    g = run(lambda x: sg.grad(sg.segment_prod(x, ids, 3).sum(), x), data)
    assert np.array_equal(g, [0, 6, 0, 0, 0, 0, 1])


def test_ties_share_the_derivative_of_an_extremum() -> None:
    data, ids = np.array([1.0, 4.0, 4.0, 2.0, -1.0]), np.array([0, 0, 0, 1, 1])
    g = run(lambda x: sg.grad(sg.segment_max(x, ids, 3)[:2].sum(), x), data)
    assert np.array_equal(g, [0, 0.5, 0.5, 1, 0])


def test_segments_under_vmap() -> None:
    batch, ids = RNG.normal(size=(2, 6)), np.stack([IDS, IDS[::-1]])
    value = run(sg.vmap(lambda x, i: sg.segment_max(x, i, 4)), batch, ids)
    for row, i, got in zip(batch, ids, value, strict=True):
        expected = np.full(4, -np.inf)
        np.maximum.at(expected, i, row)
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("mode", ["set", "add", "max"])
def test_duplicates_in_a_moved_layout(mode: str) -> None:
    """The values lie across the rows that are written: tiles must keep order and duplicates."""
    x, values = RNG.normal(size=(7, 9)), RNG.normal(size=(9, 40))
    i = np.arange(40) // 6
    value = run(lambda x, v: sg.index_put(x + 0, i, sg.square(v).T, 0, mode), x, values)
    expected = x.copy()
    if mode == "set":
        expected[i] = values.T**2
    else:
        {"add": np.add, "max": np.maximum}[mode].at(expected, i, values.T**2)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    images, weights = RNG.normal(size=(2, 4, 7, 9)), RNG.normal(size=(2, 4, 14, 9))

    def twice(x: Any) -> Any:
        return sg.take(sg.take(x, np.arange(14) // 2, 2), np.arange(9), 3)

    node = new_input("float64", images.shape)
    cost = (twice(node) * weights).sum()
    g = sg.function([node], sg.grad(cost, node), on_unused_input="ignore")(images)
    np.testing.assert_allclose(g, weights.reshape(2, 4, 7, 2, 9).sum(3), rtol=1e-12)


@pytest.mark.parametrize("mode", [None, "eager"])
@pytest.mark.parametrize("bad", [-1, 3])
def test_an_id_without_a_segment_is_named(bad: int, mode: Any) -> None:
    x, ids = sg.matrix("x", dtype="float64"), sg.vector("ids", dtype="int32")
    message = r"an element of `ids` .* is out of bounds for 3 segments"
    for reduce in (sg.segment_sum, sg.segment_max):
        f = sg.function([x, ids], reduce(x, ids, 3), mode=mode)
        with pytest.raises(IndexError, match=message):
            f(np.ones((2, 2)), np.array([0, bad], np.int32))
    counts = sg.function([ids], sg.bincount(ids, length=3), mode=mode)
    with pytest.raises(IndexError, match=message):
        counts(np.array([bad], np.int32))
