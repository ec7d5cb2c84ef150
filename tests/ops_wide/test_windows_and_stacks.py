"""Windows of all axes, functions of cores on stacks, histograms of points: beside NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import symgraph as sg

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 9))
KINDS: dict[str, tuple[Any, Any, float]] = {
    "add": (sg.add, np.sum, 0.0), "mul": (sg.mul, np.prod, 1.0),
    "maximum": (sg.maximum, np.max, -np.inf), "minimum": (sg.minimum, np.min, np.inf),
    "own": (lambda a, b: a + b + a * b, lambda w, k: np.prod(1 + w, k) - 1, 0.0),
}  # fmt: skip
WINDOWS: dict[str, tuple[Any, ...]] = {  # window, strides, padding, dilation; pairs that pad
    "valid": ((2, 3), (1, 2), "valid", 1, ((0, 0), (0, 0))),
    "same": ((3, 4), 1, "same", (1, 2), ((1, 1), (3, 3))),
    "same_stride": ((3, 5), (2, 3), "SAME", 1, ((1, 1), (1, 1))),
    "pairs": ((1, 7), 1, ((0, 0), (3, 2)), 1, ((0, 0), (3, 2))),
    "whole": ((7, 9), 1, "valid", 1, ((0, 0), (0, 0))),
    "single": (1, (3, 1), "valid", 1, ((0, 0), (0, 0))),
}


def windows(x: np.ndarray, f: Any, start: float, case: tuple[Any, ...]) -> np.ndarray:
    window, strides, _, dilation, pairs = case
    k, s, d = (np.broadcast_to(v, 2) for v in (window, strides, dilation))
    padded = np.pad(x, pairs, constant_values=start)
    view = sliding_window_view(padded, tuple((k - 1) * d + 1))
    return f(view[:: s[0], :: s[1], :: d[0], :: d[1]], (2, 3))


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("case", WINDOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_reduce_window(kind: str, case: str, symbolic: bool) -> None:
    f, reference, start = KINDS[kind]
    if symbolic and case == "same_stride":
        pytest.skip("needs known sizes, and says so")
    x = sg.tensor("x", (None, None) if symbolic else X.shape, "float64")
    y = sg.reduce_window(x, start, f, *WINDOWS[case][:4])
    wanted = windows(X, reference, start, WINDOWS[case])
    weights = RNG.normal(size=wanted.shape)
    g = sg.grad((y * weights).sum(), x)
    found, slope = sg.function([x], [y, g])(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)
    e, h = RNG.normal(size=X.shape), 1e-6
    ends = [(windows(X + s * h * e, reference, start, WINDOWS[case]) * weights).sum()
            for s in (1, -1)]
    assert np.isclose((slope * e).sum(), (ends[0] - ends[1]) / (2 * h), rtol=1e-6, atol=1e-7)


def test_reduce_window_of_integers_and_batches() -> None:
    x = sg.tensor("x", (4, 7), "int32")
    y = sg.vmap(lambda row: sg.reduce_window(row, np.iinfo("int32").min, sg.maximum, 3))(x)
    at = RNG.integers(-9, 9, (4, 7)).astype("int32")
    assert np.array_equal(y.eval({x: at}), sliding_window_view(at, 3, 1).max(-1))


def test_reduce_window_says_what_does_not_fit() -> None:
    x = sg.tensor("x", (4, 7), "float64")
    for arguments, text in (
        ((5,), "axis 0 has length 4"), (((2, 2, 2),), "each of the 2 axes"),
        ((2, 0), "window_strides"), ((2, 1, [(1, 1)]), "2 pairs"),
    ):  # fmt: skip
        with pytest.raises(sg.ShapeError, match=text):
            sg.reduce_window(x, 0.0, sg.add, *arguments)
    unknown = sg.matrix("unknown")
    with pytest.raises(sg.ShapeError, match="with a stride needs known sizes, `unknown`"):
        sg.reduce_window(unknown, 0.0, sg.add, 3, 2, "same")
    with pytest.raises(ValueError, match='"valid", "same"'):
        sg.reduce_window(x, 0.0, sg.add, 2, 1, "full")


# -- vectorize -----------------------------------------------------------------------------------
STACKS: dict[str, tuple[str | None, Any, tuple[tuple[int, ...], ...]]] = {
    "product": ("(m,n),(n)->(m)", lambda a, b: a @ b, ((5, 1, 2, 3), (4, 3))),
    "same_lead": ("(m,n),(n)->(m)", lambda a, b: a @ b, ((4, 2, 3), (4, 3))),
    "no_stack": ("(n),(n)->()", lambda a, b: a @ b, ((3,), (3,))),
    "scalars": (None, lambda a, b: a * b + b, ((4, 1), (3,))),
    "outer": ("(n),(m)->(n,m)", lambda a, b: a[:, None] * b, ((2, 3), (2, 1, 4))),
    "empty": ("(n)->()", lambda a: a.sum(), ((0, 3),)),
    "one": ("(n)->(n)", lambda a: a * 2, ((1, 3),)),
}


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("name", STACKS)
def test_vectorize(name: str, symbolic: bool) -> None:
    signature, fn, shapes = STACKS[name]
    arrays = [RNG.normal(size=s) for s in shapes]
    xs = [sg.tensor(f"x{k}", tuple(1 if n == 1 else None for n in s) if symbolic else s, "float64")
          for k, s in enumerate(shapes)]  # fmt: skip
    y = sg.vectorize(fn, signature)(*xs)
    found, *slopes = sg.function(xs, [y, *sg.grad((y**2).sum(), xs)])(*arrays)
    wanted = np.vectorize(fn, signature=signature, otypes=["float64"])(*arrays)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)
    h, e = 1e-6, [RNG.normal(size=s) for s in shapes]
    f = sg.function(xs, (y**2).sum())
    ends = [f(*(a + s * h * d for a, d in zip(arrays, e, strict=True))) for s in (1, -1)]
    moved = sum((g * d).sum() for g, d in zip(slopes, e, strict=True))
    assert np.isclose(moved, (ends[0] - ends[1]) / (2 * h), rtol=1e-6, atol=1e-7)


def test_vectorize_with_several_results_and_excluded_arguments() -> None:
    x = sg.matrix("x", "float64")
    f = sg.vectorize(lambda v, k: (v.sum(), v[:k]), "(n)->(),(k)", excluded={1})
    total, head = sg.function([x], list(f(x, 2)))(X)
    assert np.allclose(total, X.sum(1)) and np.array_equal(head, X[:, :2])


def test_vectorize_says_what_does_not_fit() -> None:
    a, b = sg.tensor("a", (5, 2, 3), "float64"), sg.tensor("b", (4, 3), "float64")
    f = sg.vectorize(lambda m, v: m @ v, "(m,n),(n)->(m)")
    with pytest.raises(sg.ShapeError, match="do not broadcast"):
        f(a, b)
    with pytest.raises(sg.ShapeError, match="axis n has length 3"):
        f(a, sg.tensor("c", (2,), "float64"))
    with pytest.raises(sg.ShapeError, match="fewer axes than its core"):
        f(sg.vector("v", "float64"), b)
    with pytest.raises(sg.ShapeError, match="returned results of"):
        sg.vectorize(lambda v: v, "(n)->()")(b)
    with pytest.raises(ValueError, match="is no signature"):
        sg.vectorize(lambda v: v, "(n->n)")
    with pytest.raises(ValueError, match="has 2 arguments, got 1"):
        f(a)


# -- histograms of points ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [{}, {"bins": (3, 4, 5)}, {"bins": 4, "density": True}, {"bins": [np.array([-1.0, 0, 2])] * 3},
     {"range": ((-1, 1), (-2, 2), (0, 1))}, {"bins": 3, "weights": RNG.normal(size=50)}],
)  # fmt: skip
def test_histogramdd(options: dict[str, Any]) -> None:
    points = RNG.normal(size=(50, 3))
    x = sg.tensor("x", (None, 3), "float64")
    count, edges = sg.histogramdd(x, **options)
    found = sg.function([x], [count, *edges])(points)
    wanted = np.histogramdd(points, **options)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12, atol=1e-14)
    for p, q in zip(found[1:], wanted[1], strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-14)


def test_histogramdd_needs_known_axes() -> None:
    with pytest.raises(sg.ShapeError, match="known d"):
        sg.histogramdd(sg.matrix("x", "float64"))
    with pytest.raises(sg.ShapeError, match="3 axes, got 2 bins"):
        sg.histogramdd(sg.tensor("x", (5, 3), "float64"), (2, 3))


# -- derivatives of sets -------------------------------------------------------------------------
SETS: dict[str, Any] = {
    "unique": lambda x, y: sg.unique(x, 6, 0.0),
    "union1d": lambda x, y: sg.union1d(x, y, 9, 0.0),
    "intersect1d": lambda x, y: sg.intersect1d(x, y, 4, 0.0),
    "setdiff1d": lambda x, y: sg.setdiff1d(x, y, 4, 0.0),
    "setxor1d": lambda x, y: sg.setxor1d(x, y, 6, 0.0),
}


@pytest.mark.parametrize("name", SETS)
def test_gradients_of_sets_flow_to_first_occurrences(name: str) -> None:
    x, y = sg.vector("x", "float64"), sg.vector("y", "float64")
    at = np.array([3.0, 1.0, 2.0, 1.0, 3.0]), np.array([2.0, 5.0, 2.0, 0.5])
    value = SETS[name](x, y)
    c = np.arange(1.0, len(value.eval({x: at[0], y: at[1]})) + 1)
    slopes = sg.grad((value * c).sum(), [x, y], disconnected_inputs="ignore")
    f = sg.function([x, y], [value, *slopes], on_unused_input="ignore")
    found, by_x, by_y = f(*at)
    both = np.concatenate(at)
    for g, part, first in ((by_x, at[0], 0), (by_y, at[1], len(at[0]))):
        for k, v in enumerate(part):
            earlier = np.flatnonzero(both == v)[0] < first + k
            place = np.flatnonzero((found == v) & (np.arange(len(found)) < len(found)))
            wanted = 0.0 if earlier or not len(place) else c[place[0]]
            assert g[k] == wanted, (name, first + k)


@pytest.mark.parametrize("name", SETS)
def test_gradients_of_sets_of_distinct_elements_beside_differences(name: str) -> None:
    """Elements of both arrays are moved together where they are equal."""
    t = sg.vector("t", "float64")
    at = np.array([3.0, 1.0, 2.0, 7.0, 4.0, 6.5])
    value = SETS[name](t[:4], sg.concatenate([t[2:3], t[4:]]))
    cost = (value**3 * np.arange(1.0, value.type.shape[0] + 1)).sum()
    g, h = sg.grad(cost, t), 1e-6
    f = sg.function([t], [cost, g, sg.grad((g**2).sum(), t)])
    e = RNG.normal(size=6)
    low, high = f(at - h * e), f(at + h * e)
    assert np.isclose((high[0] - low[0]) / (2 * h), f(at)[1] @ e, rtol=1e-7)
    second = ((high[1] ** 2).sum() - (low[1] ** 2).sum()) / (2 * h)
    assert np.isclose(second, f(at)[2] @ e, rtol=1e-7)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 0)])
def test_sets_of_nothing(name: str, sizes: tuple[int, int]) -> None:
    at = [np.arange(1.0, n + 1) for n in sizes]
    for known in (True, False):
        x, y = (sg.tensor(s, (n if known else None,), "float64")
                for s, n in zip("xy", sizes, strict=True))
        found = sg.function([x, y], SETS[name](x, y), on_unused_input="ignore")(*at)
        reference = getattr(np, name)
        wanted = reference(at[0]) if name == "unique" else reference(*at)
        assert np.array_equal(found[: len(wanted)], wanted) and not found[len(wanted) :].any()
