"""`sg.associative_scan` against the prefixes written out one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.compile import pipeline
from symgraph.ops.loop import loops


def linear(a: Any, b: Any) -> Any:
    return a[0] * b[0], b[0] * a[1] + b[1]


def rotation(a: Any, b: Any) -> Any:
    """Complex numbers as pairs: no running op, so a loop."""
    return [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]


def product(a: Any, b: Any) -> Any:
    return b @ a


def total(a: Any, b: Any) -> Any:
    return a + b


def largest(a: Any, b: Any) -> Any:
    return sg.maximum(a, b)


def soft(a: Any, b: Any) -> Any:
    return sg.logaddexp(a, b)


def named(a: Any, b: Any) -> Any:
    return {"p": a["p"] * b["p"], "s": a["s"] + b["s"]}


CASES: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "linear": (linear, [(), ()]),
    "linear_wide": (linear, [(20,), (20,)]),
    "rotation": (rotation, [(2,), (2,)]),
    "product": (product, [(2, 2)]),
    "total": (total, [(3,)]),
    "largest": (largest, [()]),
    "soft": (soft, [(2,)]),
}


def structure(fn: Any, values: list[Any]) -> Any:
    if len(values) == 1:
        return values[0]
    return tuple(values) if fn is linear else values


def leaves(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def by_hand(fn: Any, arrays: list[Any], n: int, reverse: bool) -> list[Any]:
    """Return the prefixes along the first axis, combined one by one."""
    order = list(range(n))[::-1] if reverse else list(range(n))
    rows: list[Any] = [None] * n
    last: Any = None
    for k in order:
        element = structure(fn, [x[k : k + 1] for x in arrays])
        last = element if last is None else fn(last, element)
        rows[k] = leaves(last)
    return [sg.concatenate([r[j] for r in rows], 0) for j in range(len(arrays))]


def close(a: Any, b: Any, bound: float = 1e-9) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=bound, atol=bound)


def agree(ours: list[Any], theirs: list[Any], values: dict[Any, np.ndarray]) -> None:
    """Compare graphs: eager, native of exact sizes and of unknown sizes, against eager."""
    wanted = [t.eval(values) for t in theirs]
    for a, b in zip(ours, wanted, strict=True):
        close(a.eval(values), b)
    for shapes in ("exact", "generic"):
        f = sg.function(list(values), ours, shapes=shapes, on_unused_input="ignore")
        for a, b in zip(f(*values.values()), wanted, strict=True):
            close(a, b)


def variables(shapes: list[tuple[int, ...]], n: int) -> dict[Any, np.ndarray]:
    """Return arrays of n elements: the length unknown, the shape of an element known."""
    rng = np.random.default_rng(n)
    return {
        sg.tensor(f"x{k}", shape=(None, *s), dtype="float64"): rng.normal(size=(n, *s))
        for k, s in enumerate(shapes)
    }


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name: str, reverse: bool) -> None:
    fn, shapes = CASES[name]
    values = variables(shapes, 6)
    xs = list(values)
    ours = leaves(sg.associative_scan(fn, structure(fn, xs), reverse))
    theirs = by_hand(fn, xs, 6, reverse)
    agree(ours, theirs, values)
    costs = [sum((y**2).sum() for y in side) for side in (ours, theirs)]
    first = [sg.grad(c, xs) for c in costs]
    agree(first[0], first[1], values)
    rng = np.random.default_rng(1)
    directions = [sg.as_tensor(rng.normal(size=v.shape)) for v in values.values()]
    pushed = [sg.Rop(side[-1], xs, directions) for side in (ours, theirs)]
    agree([pushed[0]], [pushed[1]], values)
    second = [sg.hvp(c, xs, directions) for c in costs]
    agree(second[0], second[1], values)
    both = [sg.grad(sum((g**2).sum() for g in part), xs) for part in first]
    agree(both[0], both[1], values)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 100])
@pytest.mark.parametrize("fn", [linear, rotation])
def test_lengths(fn: Any, n: int) -> None:
    values = variables([(), ()], n)
    rows = leaves(sg.associative_scan(fn, structure(fn, list(values))))
    f = sg.function(list(values), [*rows, *sg.grad((rows[-1] ** 2).sum(), list(values))])
    got = f(*values.values())
    a, b = values.values()
    known = [sg.as_tensor(v) for v in (a, b)]
    fixed = leaves(sg.associative_scan(fn, structure(fn, known)))
    for k, wanted in enumerate(fixed):
        close(got[k], wanted.eval())
    if n:
        want = [r.eval() for r in by_hand(fn, known, n, False)]
        for k in range(2):
            close(got[k], want[k])
    assert all(g.shape == (n,) for g in got)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_axes_and_numpy(axis: int) -> None:
    x = sg.tensor3("x", dtype="float64")
    value = np.random.default_rng(0).normal(size=(3, 4, 5))
    got = sg.function([x], sg.associative_scan(total, x, axis=axis))(value)
    close(got, np.cumsum(value, axis))
    back = sg.function([x], sg.associative_scan(largest, x, reverse=True, axis=axis))(value)
    close(back, np.flip(np.maximum.accumulate(np.flip(value, axis), axis), axis))


def test_integers_booleans_and_dicts() -> None:
    k, b = sg.lvector("k"), sg.vector("b", dtype="bool")
    ints, bits = np.array([3, 1, 4, 1, 5]), np.array([False, False, True, False, True])
    parts = sg.associative_scan(named, {"p": k, "s": 2 * k})
    f = sg.function([k, b], [parts["p"], parts["s"], sg.associative_scan(sg.logical_or, b)])
    p, s, any_ = f(ints, bits)
    np.testing.assert_array_equal(p, np.cumprod(ints))
    np.testing.assert_array_equal(s, np.cumsum(2 * ints))
    np.testing.assert_array_equal(any_, np.logical_or.accumulate(bits))


def test_batched_by_vmap() -> None:
    a, b = sg.matrix("a", dtype="float64"), sg.matrix("b", dtype="float64")
    rng = np.random.default_rng(3)
    values = {a: rng.normal(size=(4, 7)), b: rng.normal(size=(4, 7))}

    def cost(u: Any, v: Any) -> Any:
        y = sg.associative_scan(linear, (u, v))[1]
        return y, sg.grad((y**2).sum(), u)

    both = sg.vmap(cost)(a, b)
    rows = [cost(sg.as_tensor(values[a][k]), sg.as_tensor(values[b][k])) for k in range(4)]
    agree(list(both), [sg.stack([r[j] for r in rows]) for j in range(2)], values)


def test_debug_mode() -> None:
    values = variables([(), ()], 9)
    y = sg.associative_scan(linear, tuple(values))[1]
    outputs = [y, *sg.grad((y**2).sum(), list(values))]
    f = sg.function(list(values), outputs, mode="debug")
    for got, node in zip(f(*values.values()), outputs, strict=True):
        close(got, node.eval(values))


def test_a_linear_recurrence_needs_no_loop() -> None:
    values = variables([(), ()], 9)
    y = sg.associative_scan(linear, tuple(values))[1]
    for outputs in ([y], sg.grad((y**2).sum(), list(values))):
        assert not loops(pipeline.prepare(outputs, "default"))
    assert len(loops(pipeline.prepare([y], "strict"))) == 1


def test_no_function_is_computed_where_it_is_not_defined() -> None:
    """The state before the first element is not zero: 1 / 0 would be in the derivative."""
    x = sg.vector("x", dtype="float64")
    y = sg.associative_scan(lambda a, b: 1.0 / (1.0 / a + 1.0 / b), x)
    value = np.array([1.0, 2.0, 4.0])
    gradient = sg.function([x], sg.grad(y.sum(), x))(value)
    assert np.isfinite(gradient).all()
    close(sg.function([x], y)(value), 1 / np.cumsum(1 / value))


def test_errors() -> None:
    x, y = sg.vector("x", dtype="float64"), sg.vector("y", dtype="float64")
    with pytest.raises(sg.DTypeError, match="makes float32 of float64"):
        sg.associative_scan(lambda a, b: (a + b).astype("float32"), x)
    with pytest.raises(ValueError, match="returned 1 arrays for 2"):
        sg.associative_scan(lambda a, b: a[0] * b[0], (x, y))
    with pytest.raises(sg.ShapeError, match="is a scalar"):
        sg.associative_scan(total, sg.scalar("s"))
    with pytest.raises(sg.ShapeError, match="has 3 elements"):
        sg.associative_scan(linear, (sg.as_tensor(np.zeros(3)), sg.as_tensor(np.zeros(4))))
    with pytest.raises(sg.ShapeError, match="of elements of"):
        sg.associative_scan(lambda a, b: sg.concatenate([a, b], 1), sg.as_tensor(np.zeros((3, 4))))
