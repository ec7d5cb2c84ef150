"""x[key], its set and inc, and reshape, against NumPy on random keys and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import symgraph.ops  # noqa: F401
from symgraph.autodiff.grad import grad
from symgraph.compile import eager
from symgraph.core.errors import ShapeError, SymbolicValueError
from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.dims.dim import symbol

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)


def value(node: Any, arrays: dict[Node, np.ndarray]) -> np.ndarray:
    return eager.evaluate([node], arrays)[0]


def counted(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(float(np.prod(shape))).reshape(shape)


@st.composite
def keys(draw: Any, advanced: bool = True) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """A shape and a key for it: integers, slices, None, Ellipsis, integer arrays that broadcast."""
    shape = draw(SHAPES)
    used = draw(st.integers(0, len(shape)))
    block = draw(st.sampled_from([(), (2,), (3, 2)]))
    items: list[Any] = []
    skip = draw(st.integers(0, used))
    has_ellipsis = used < len(shape) and draw(st.booleans())
    axes = (
        [*range(skip), *range(len(shape) - used + skip, len(shape))]
        if has_ellipsis
        else range(used)
    )
    for axis in axes:
        n = shape[axis]
        kind = draw(st.sampled_from(["int", "slice", "array"] if advanced else ["int", "slice"]))
        if kind == "int":
            items.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            items.append(draw(st.slices(n)))
        else:
            part = draw(st.sampled_from([block, block[1:], (1,) * len(block)]))
            items.append(draw(hnp.arrays(np.int64, part, elements=st.integers(-n, n - 1))))
    if has_ellipsis:
        items.insert(skip, Ellipsis)
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    return shape, tuple(items)


@given(keys())
@settings(max_examples=300, deadline=None)
def test_getitem(case: Any) -> None:
    shape, key = case
    a = counted(shape)
    x = new_input("float64", shape)
    expected = a[key]
    node = x[key]
    assert node.type.shape == expected.shape
    assert np.array_equal(value(node, {x: a}), expected)


@given(keys(advanced=False))
@settings(max_examples=150, deadline=None)
def test_getitem_of_symbolic_length(case: Any) -> None:
    shape, key = case
    forward = [k for k in key if isinstance(k, slice) and (k.step or 1) < 0]
    if any(k.start is not None or k.stop is not None for k in forward):
        return  # needs a known length, and says so
    a = counted(shape)
    x = new_input("float64", tuple(symbol(f"n{k}") for k in range(len(shape))))
    assert np.array_equal(value(x[key], {x: a}), a[key])


@given(keys(), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_set_and_inc(case: Any, increment: bool, random: Any) -> None:
    shape, key = case
    a = counted(shape)
    target = a[key]
    y_shape = target.shape[random.randint(0, target.ndim) :]
    b = -1.0 - counted(y_shape)
    x, y = new_input("float64", shape), new_input("float64", y_shape)
    expected = a.copy()
    if increment:
        np.add.at(expected, key, np.broadcast_to(b, target.shape))
        node = x[key].inc(y)
    else:
        expected[key] = b
        node = x[key].set(y)
    assert np.array_equal(value(node, {x: a, y: b}), expected)


@given(keys(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_derivatives_of_indexing(case: Any, increment: bool) -> None:
    """The derivative by x and by y, from perturbing one element at a time (the map is linear)."""
    shape, key = case
    a = counted(shape)
    target = a[key]
    if a.size > 60 or target.size > 60 or not target.size:
        return
    x, y = new_input("float64", shape), new_input("float64", target.shape)
    node = x[key].inc(y) if increment else x[key].set(y)
    weights = np.random.default_rng(0).normal(size=shape)
    dx, dy = eager.evaluate(grad((node * weights).sum(), [x, y]), {x: a, y: np.zeros(target.shape)})

    def written(x: np.ndarray, y: np.ndarray) -> float:
        out = x.copy()
        if increment:
            np.add.at(out, key, y)
        else:
            out[key] = y
        return float((out * weights).sum())

    zero_x, zero_y = np.zeros(shape), np.zeros(target.shape)
    for at in np.ndindex(*shape):
        one = zero_x.copy()
        one[at] = 1
        assert np.isclose(dx[at], written(one, zero_y))
    for at in np.ndindex(*target.shape):
        one = zero_y.copy()
        one[at] = 1
        assert np.isclose(dy[at], written(zero_x, one))


def test_symbolic_index_arrays() -> None:
    x, i = new_input("float64", (5, 3)), new_input("int32", (symbol("k"),))
    a, j = counted((5, 3)), np.array([4, -5, 0, 4], np.int32)
    assert np.array_equal(value(x[i], {x: a, i: j}), a[j])
    assert np.array_equal(value(x[:, i[:2] * 0], {x: a, i: j}), a[:, [0, 0]])
    assert np.array_equal(value(x[i[0]], {x: a, i: j}), a[4])
    twice = value(x[i].inc(1.0), {x: a, i: j})
    assert np.array_equal((twice - a)[:, 0], [2, 0, 0, 0, 2])  # -5 is row 0, too


def test_moving_window() -> None:
    x, i = new_input("float64", (9,)), new_input("int64", (), "i")
    a = counted((9,))
    for k in (0, 3, 5):
        assert np.array_equal(value(x[i : i + 4], {x: a, i: np.int64(k)}), a[k : k + 4])
        assert np.array_equal(value(x[i * 2 : (i + 1) * 2], {x: a, i: np.int64(1)}), a[2:4])
    with pytest.raises(SymbolicValueError, match="must be known"):
        x[o.argmax(x) :]


def test_from_a_size_on() -> None:
    x, n = new_input("float64", (symbol("m"),)), new_input("int64", (), "n")
    a = counted((9,))
    for k in (0, 3, 9, 12):
        arrays = {x: a, n: np.int64(k)}
        assert np.array_equal(value(x[n:], arrays), a[k:])
        assert np.array_equal(value(x[n::2], arrays), a[k::2])
        assert np.array_equal(value(x[n : 2 * n], arrays), a[k : 2 * k])
        assert np.array_equal(value(x[:n], arrays), a[:k])


def test_moving_windows_are_orthogonal() -> None:
    x, i, j = (
        new_input("float64", (4, 7, 6)),
        new_input("int64", (), "i"),
        new_input("int64", (), "j"),
    )
    a, k = counted((4, 7, 6)), np.array([3, 0, 1])
    arrays = {x: a, i: np.int64(2), j: np.int64(1)}
    assert np.array_equal(value(x[:, i : i + 3, j : j + 2], arrays), a[:, 2:5, 1:3])
    assert np.array_equal(value(x[i : i + 2, :, j : j + 2], arrays), a[2:4, :, 1:3])
    assert np.array_equal(value(x[k, i : i + 3], arrays), a[k, 2:5])
    assert np.array_equal(value(x[i : i + 2, k, j : j + 3], arrays), a[2:4, k, 1:4])
    assert np.array_equal(value(x[0, i : i + 3, k], arrays), a[0, 2:5, k])
    expected = a.copy()
    expected[2:4, k, 1:3] = 0.5
    assert np.array_equal(value(x[i : i + 2, k, j : j + 2].set(0.5), arrays), expected)


def test_mask() -> None:
    x, m = new_input("float64", (3, 2)), new_input("bool", (3,))
    a, b = counted((3, 2)), np.array([True, False, True])
    expected = a.copy()
    expected[b] = -1
    assert np.array_equal(value(x[m].set(-1), {x: a, m: b}), expected)
    expected = a.copy()
    expected[b] += 5
    assert np.array_equal(value(x[m].inc(5), {x: a, m: b}), expected)
    with pytest.raises(SymbolicValueError, match="where"):
        x[m].sum()


@pytest.mark.parametrize(
    ("key", "error"),
    [((3,), IndexError), ((0, -3), IndexError), ((0, 0, 0), IndexError), (1.5, IndexError),
     (np.array([3]), IndexError), (slice(None, None, 0), ValueError)],
)  # fmt: skip
def test_bad_keys(key: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        new_input("float64", (3, 2))[key]


# -- reshape and broadcasting --------------------------------------------------------------------
@given(SHAPES, st.data())
@settings(max_examples=100, deadline=None)
def test_reshape(shape: tuple[int, ...], data: Any) -> None:
    """Any factorisation of the size, one size left as -1, static and symbolic."""
    total, new = int(np.prod(shape)), []
    while total > 1 and len(new) < 3:
        factor = data.draw(st.sampled_from([d for d in range(1, total + 1) if total % d == 0]))
        new.append(factor)
        total //= factor
    new.append(total)
    new[data.draw(st.integers(0, len(new) - 1))] = -1
    a = counted(shape)
    for sizes in (shape, tuple(symbol(f"n{k}") for k in range(len(shape)))):
        x = new_input("float64", sizes)
        assert np.array_equal(value(o.reshape(x, new), {x: a}), a.reshape(new))


def test_reshape_errors() -> None:
    x = new_input("float64", (2, 3))
    with pytest.raises(ShapeError, match="only one"):
        o.reshape(x, (-1, -1))
    with pytest.raises(ShapeError, match="do not divide"):
        o.reshape(x, (4, -1))
    with pytest.raises(ShapeError, match="6 elements"):
        o.reshape(x, (7,))
    n = symbol("n")
    y = new_input("float64", (n, 3))
    assert o.reshape(y, (-1,)).type.shape == (n * 3,)
    assert o.reshape(y, (3, -1)).type.shape == (3, n)


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4, min_side=0))
@settings(max_examples=100, deadline=None)
def test_broadcasting(shapes: Any) -> None:
    (s, t), result = shapes.input_shapes, shapes.result_shape
    a, b = counted(s), counted(t) + 0.5
    x, y = new_input("float64", s), new_input("float64", t)
    assert (x + y).type.shape == result
    assert np.array_equal(value(x + y, {x: a, y: b}), a + b)
    dx, dy = eager.evaluate(grad((x * y).sum(), [x, y]), {x: a, y: b})
    full = np.ones(result)
    assert dx.shape == s and dy.shape == t
    assert np.isclose((dx * a).sum(), (a * b * full).sum())
    assert np.isclose((dy * b).sum(), (a * b * full).sum())


def test_broadcast_clash_names_both() -> None:
    x, y = new_input("float64", (3, 4), "left"), new_input("float64", (3, 5), "right")
    with pytest.raises(ShapeError, match=r"(?s)4 in `left` and 5 in `right`.*mend"):
        x + y


@pytest.mark.parametrize(
    "key",
    [slice(3, 1, -1), slice(None, 2, -1), slice(-2, None, -1), slice(4, None, -2), slice(2, -1, -1),
     slice(-1, -4, -2), slice(20, 0, -3), slice(1, 5, -1), slice(-30, None, -1)],
    ids=str,
)  # fmt: skip
def test_backward_slices_of_unknown_lengths(key: slice) -> None:
    x = new_input("float64", (symbol("n"),), "x")
    for n in (0, 1, 2, 3, 5, 9):
        a = counted((n,))
        assert np.array_equal(value(x[key], {x: a}), a[key])
        assert np.array_equal(value(x[key].inc(1.0), {x: a}), a + np.isin(a, a[key]))


MASKS = {
    "of the first axis": np.array([True, False]),
    "as a list": [True, False],
    "of two axes": np.array([[1, 0, 1], [0, 1, 1]], bool),
    "of all axes": counted((2, 3, 4)) > 5,
    "behind a slice": (slice(None), np.array([True, False, True])),
    "behind an ellipsis": (..., np.array([0, 0, 1, 1], bool)),
    "behind an integer": (0, np.array([True, False, True])),
    "before an integer": (np.array([[1, 0, 1], [0, 1, 1]], bool), 2),
    "beside a new axis": (None, np.array([True, False]), ..., None),
    "of nothing": np.zeros(2, bool),
}


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("name", MASKS)
def test_constant_masks(name: str, known: bool) -> None:
    key, a = MASKS[name], counted((2, 3, 4))
    x = new_input("float64", (2, 3, 4) if known else tuple(map(symbol, "abc")), "x")
    picked = a[key]  # type: ignore[index]
    assert np.array_equal(value(x[key], {x: a}), picked)
    values = counted(picked.shape) + 0.5
    for method, change in (("set", 0.0), ("inc", 1.0)):
        for v in (values, 7.0):
            expected = a.copy()
            expected[key] = change * expected[key] + v  # type: ignore[index]
            assert np.array_equal(value(getattr(x[key], method)(v), {x: a}), expected)
    slope = np.zeros_like(a)
    slope[key] = 2 * picked  # type: ignore[index]
    assert np.array_equal(value(grad(o.sum(o.square(x[key])), x), {x: a}), slope)


def test_masks_that_do_not_fit() -> None:
    x, y = new_input("float64", (4, 2), "x"), new_input("float64", (symbol("n"),), "y")
    for key in (np.array([True]), (slice(None), [True, False, True]), np.ones((4, 2, 1), bool)):
        with pytest.raises(IndexError, match="does not fit"):
            x[key]
    with pytest.raises(ShapeError, match="reshape"):
        value(y[[True, False]], {y: np.ones(3)})
    with pytest.raises(SymbolicValueError, match="depends on data"):
        y[y > 0] + 1
