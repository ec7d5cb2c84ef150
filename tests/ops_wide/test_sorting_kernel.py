"""The native sort: every dtype, row length around the change of method, special values, ties."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.dtype import ALL
from symgraph.core.node import new_input
from symgraph.cpu.kernels.sort import SHORT_ROW, argsort_kernel
from symgraph.rewrites.indexing import MOST_LEADING

LENGTHS = (0, 1, 2, SHORT_ROW - 1, SHORT_ROW, SHORT_ROW + 1, 255, 256, 257, 5000)


def special(dtype: np.dtype, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return numbers with many ties, infinities, zeros of both signs, NaN and extreme integers."""
    if dtype.kind == "b":
        return rng.random(n) < 0.5
    if dtype.kind == "f":
        info = np.finfo(dtype)
        pool = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, -np.nan, info.max, -info.tiny, 0.3]
        pool += [float(info.smallest_subnormal), 1.5, -2.5]
    else:
        info = np.iinfo(dtype)
        pool = [info.min, info.max, 0, 1, 2, info.max - 1, info.min + 1, 77]
    return np.array(pool, dtype)[rng.integers(0, len(pool), n)]


@pytest.mark.parametrize("dtype", ALL)
def test_argsort_is_stable(dtype: str) -> None:
    rng = np.random.default_rng(0)
    xs = [new_input(dtype, (3, n)) for n in LENGTHS]
    results = [sg.argsort(x) for x in xs] + [sg.argsort(x, descending=True) for x in xs]
    arrays = [special(np.dtype(str(dtype)), 3 * n, rng).reshape(3, n) for n in LENGTHS]
    values = sg.function(xs, results)(*arrays)
    for a, up, down in zip(arrays, values, values[len(xs) :], strict=False):
        assert np.array_equal(up, np.argsort(a, 1, kind="stable"))
        turned = a.shape[1] - 1 - np.argsort(a[:, ::-1], 1, kind="stable")[:, ::-1]
        assert np.array_equal(down, turned)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int16"])
def test_random_rows_on_threads(dtype: str) -> None:
    rng = np.random.default_rng(1)
    a = (rng.normal(size=(70, 3000)) * 1e4).astype(dtype)
    x = new_input(dtype, a.shape)
    f = sg.function([x], [sg.sort(x), sg.argsort(x)])
    for threads in (1, 2):
        sg.set_threads(threads)
        ordered, order = f(a)
        assert np.array_equal(ordered, np.sort(a))
        assert np.array_equal(order, np.argsort(a, kind="stable"))
    sg.set_threads(1)


def test_lengths_that_are_not_known() -> None:
    rng = np.random.default_rng(2)
    x = sg.matrix("x", dtype="float64")
    f = sg.function([x], [sg.sort(x), sg.grad((sg.sort(x, 0)[0] ** 2).sum(), x)], shapes="generic")
    for shape in ((3, 5), (2, 400), (90, 1), (4, 0)):
        a = rng.normal(size=shape)
        ordered, g = f(a)
        assert np.array_equal(ordered, np.sort(a))
        assert np.array_equal(g, np.where(a == a.min(0, initial=np.inf), 2 * a, 0))


def test_sort_inside_of_a_scan() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=(4, 60))
    x = new_input("float64", a.shape)
    rows = sg.scan(lambda row, total: sg.sort(row + total), [x], [sg.zeros((60,), "float64")])
    value = sg.function([x], rows)(a)
    total = np.zeros(60)
    for row, got in zip(a, value, strict=True):
        total = np.sort(row + total)
        np.testing.assert_allclose(got, total, rtol=1e-13)


def test_constant_bytes_cost_no_pass() -> None:
    """The kernel of narrow keys has half of the passes; labels are unique."""
    narrow, wide = (argsort_kernel(sg.ops.o.zeros((), d).dtype) for d in ("uint32", "uint64"))
    assert narrow.count("\npass") == 5 and wide.count("\npass") == 9
    labels = [line for line in wide.splitlines() if line.endswith(":")]
    assert len(labels) == len(set(labels))


def test_derivative_goes_where_the_element_came_from() -> None:
    a = np.array([3.0, 1.0, 2.0, 1.0])
    x = new_input("float64", (4,))
    w = np.array([1.0, 10.0, 100.0, 1000.0])
    g = sg.function([x], sg.grad((sg.sort(x) * w).sum(), x))(a)
    assert np.array_equal(g, [1000, 1, 100, 10])
    h = sg.function([x], sg.hessian((sg.sort(x) ** 3 * w).sum(), x))(a)
    assert np.array_equal(h, np.diag(6 * g * a))


FEW = [(n, k) for n in (2, 7, 64, 500) for k in (1, 3, 32, 33) if 2 * k <= n]


@pytest.mark.parametrize("dtype", ALL)
def test_first_positions_are_those_of_argsort(dtype: str) -> None:
    """Few are found without sorting all; ties, NaN and order as in the whole order."""
    rng = np.random.default_rng(0)
    for n, k in FEW if dtype in ("float32", "float64", "int8") else FEW[-2:]:
        x = new_input(dtype, (5, n))
        a = special(np.dtype(str(dtype)), 5 * n, rng).reshape(5, n)
        few = [sg.argsort(x)[:, :k], sg.topk(x, k)[1], sg.topk(x, k, largest=False)[1]]
        f = sg.function([x], few)
        first, largest, smallest = f(a)
        up = np.argsort(a, 1, kind="stable")[:, :k]
        down = n - 1 - np.argsort(a[:, ::-1], 1, kind="stable")[:, ::-1][:, :k]
        for got, expected in ((first, up), (smallest, up), (largest, down)):
            np.testing.assert_array_equal(got, expected)
        assert ("argsort_first" in f.explain()) == (k <= MOST_LEADING)
        x_any = sg.matrix("x", dtype=dtype)
        loose = sg.function([x_any], sg.topk(x_any, k)[1], shapes="generic")
        np.testing.assert_array_equal(loose(a), down)


def test_first_positions_in_parts_and_gradients() -> None:
    """Into a part of a result, from the middle, of no rows; values have their derivative."""
    x = sg.matrix("x")
    parts = sg.concatenate([sg.topk(x, 2)[1], sg.topk(x, 3)[1]], 1)
    results = [parts, sg.argsort(x)[:, 2:5], sg.grad((sg.topk(x, 3)[0] ** 2).sum(), x)]
    f = sg.function([x], results)
    a = np.random.default_rng(0).permutation(120).reshape(3, 40).astype("float32")
    joined, middle, slope = f(a)
    order = np.argsort(-a, 1)
    np.testing.assert_array_equal(joined, np.concatenate([order[:, :2], order[:, :3]], 1))
    np.testing.assert_array_equal(middle, np.argsort(a, 1)[:, 2:5])
    np.testing.assert_array_equal(slope, np.where(a >= np.sort(a, 1)[:, -3:-2], 2 * a, 0))
    assert f(a[:0])[0].shape == (0, 5)
