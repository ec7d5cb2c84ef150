"""Public functions that are made of ops, against NumPy; the places where they used to go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
import symgraph.ops  # noqa: F401
from symgraph.autodiff.grad import grad
from symgraph.compile import eager
from symgraph.core.config import config
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.dims.dim import symbol

RNG = np.random.default_rng(0)
M = RNG.normal(size=(3, 4))
V = RNG.normal(size=(5,))
T = RNG.normal(size=(2, 3, 4))
I = np.array([3, -1, 0, 7, 2])  # noqa: E741


def run(f: Callable[..., Any], *arrays: Any, symbolic: bool = False) -> Any:
    """Evaluate f on inputs that hold the arrays."""
    arrays = tuple(map(np.asarray, arrays))
    inputs = [
        new_input(a.dtype, tuple(symbol("n") for _ in a.shape) if symbolic else a.shape)
        for a in arrays
    ]
    result = f(*inputs)
    many = isinstance(result, (list, tuple))
    nodes = list(result) if many else [result]
    values = eager.evaluate(nodes, dict(zip(inputs, arrays, strict=True)))
    for node, value in zip(nodes, values, strict=True):
        assert node.dtype.numpy == value.dtype
        assert len(node.type.shape) == value.ndim
    return values if many else values[0]


# (ours, NumPy's, arrays)
PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "clip": (lambda x: o.clip(x, -0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5), (M,)),
    "clip of ints": (lambda x: o.clip(x, 0, 2), lambda x: np.clip(x, 0, 2), (I,)),
    "clip on one side": (lambda x: o.clip(x, high=0), lambda x: np.minimum(x, 0), (M,)),
    "flip": (o.flip, np.flip, (M,)),
    "flip of one axis": (lambda x: o.flip(x, -1), lambda x: np.flip(x, -1), (T,)),
    "roll": (lambda x: o.roll(x, 2), lambda x: np.roll(x, 2), (M,)),
    "roll back": (lambda x: o.roll(x, -1, 1), lambda x: np.roll(x, -1, 1), (T,)),
    "roll far": (lambda x: o.roll(x, 12, 0), lambda x: np.roll(x, 12, 0), (V,)),
    "repeat": (lambda x: o.repeat(x, 3), lambda x: np.repeat(x, 3), (M,)),
    "repeat of an axis": (lambda x: o.repeat(x, 2, 1), lambda x: np.repeat(x, 2, 1), (T,)),
    "tile": (lambda x: o.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3)), (M,)),
    "tile once": (lambda x: o.tile(x, 2), lambda x: np.tile(x, 2), (T,)),
    "split": (lambda x: o.split(x, 2, 1), lambda x: np.split(x, 2, 1), (M,)),
    "split at": (lambda x: o.split(x, [1, 2], 0), lambda x: np.split(x, [1, 2], 0), (M,)),
    "stack": (lambda x, y: o.stack([x, y], -1), lambda x, y: np.stack([x, y], -1), (M, M + 1)),
    "diag of a vector": (o.diag, np.diag, (V,)),
    "diag above": (lambda x: o.diag(x, 2), lambda x: np.diag(x, 2), (V,)),
    "diag below": (lambda x: o.diag(x, -1), lambda x: np.diag(x, -1), (V,)),
    "diag of a matrix": (lambda x: o.diag(x, 1), lambda x: np.diag(x, 1), (M,)),
    "diagonal below": (lambda x: o.diagonal(x, -2), lambda x: np.diagonal(x, -2), (M,)),
    "diagonal outside": (lambda x: o.diagonal(x, 4), lambda x: np.diagonal(x, 4), (M,)),
    "diagonal of a stack": (
        lambda x: o.diagonal(x, 1), lambda x: np.diagonal(x, 1, -2, -1), (T,)),
    "trace": (o.trace, np.trace, (M,)),
    "tril": (lambda x: o.tril(x, -1), lambda x: np.tril(x, -1), (M,)),
    "triu": (lambda x: o.triu(x, 1), lambda x: np.triu(x, 1), (T,)),
    "eye": (lambda x: x * o.eye(3, 4, 1), lambda x: x * np.eye(3, 4, 1), (M,)),
    "dot": (o.dot, np.dot, (M, M.T)),
    "dot of higher ranks": (o.dot, np.dot, (T, RNG.normal(size=(5, 4, 2)))),
    "matmul of a vector": (o.matmul, np.matmul, (T, V[:4])),
    "matmul from the left": (o.matmul, np.matmul, (V[:3], T)),
    "matmul of vectors": (o.matmul, np.matmul, (V, V)),
    "tensordot": (
        lambda x, y: o.tensordot(x, y, ([1, 2], [0, 1])),
        lambda x, y: np.tensordot(x, y, ([1, 2], [0, 1])), (T, M)),
    "tensordot with a number": (
        lambda x, y: o.tensordot(x, y, 1), lambda x, y: np.tensordot(x, y, 1), (T, M.T)),
    "outer": (o.outer, np.outer, (V, I)),
    "mean": (lambda x: o.mean(x, (0, 2)), lambda x: x.mean((0, 2)), (T,)),
    "var": (lambda x: o.var(x, 1), lambda x: x.var(1), (T,)),
    "var with ddof": (lambda x: o.var(x, ddof=1), lambda x: x.var(ddof=1), (T,)),
    "std": (lambda x: o.std(x, -1, keepdims=True), lambda x: x.std(-1, keepdims=True), (T,)),
    "argmax of all": (o.argmax, np.argmax, (T,)),
    "argmin keepdims": (
        lambda x: o.argmin(x, 1, True), lambda x: np.argmin(x, 1, keepdims=True), (T,)),
    "cumsum of all": (o.cumsum, np.cumsum, (T,)),
    "cumprod": (lambda x: o.cumprod(x, 1), lambda x: np.cumprod(x, 1), (T,)),
    "take": (lambda x, i: o.take(x, i, 1), lambda x, i: np.take(x, i, 1), (M, [2, -1, 0])),
    "take_along_axis": (
        lambda x, i: o.take_along_axis(x, i, 1), lambda x, i: np.take_along_axis(x, i, 1),
        (M, np.argsort(M, 1))),
    "pad": (lambda x: o.pad(x, ((1, 2), (0, 3))), lambda x: np.pad(x, ((1, 2), (0, 3))), (M,)),
    "pad with a value": (
        lambda x: o.pad(x, 1, constant_values=2.5),
        lambda x: np.pad(x, 1, constant_values=2.5),
        (M,),
    ),
    "pad with a value per side": (
        lambda x: o.pad(x, ((1, 2), (0, 3)), constant_values=((1, 2), (3, 4))),
        lambda x: np.pad(x, ((1, 2), (0, 3)), constant_values=((1, 2), (3, 4))),
        (M,),
    ),
    **{
        f"pad by {mode}": (
            lambda x, mode=mode: o.pad(x, ((3, 1), (0, 9)), mode=mode),
            lambda x, mode=mode: np.pad(x, ((3, 1), (0, 9)), mode=mode), (M,))
        for mode in ("edge", "reflect", "symmetric", "wrap")
    },
    "reflect one element": (
        lambda x: o.pad(x, 2, mode="reflect"), lambda x: np.pad(x, 2, mode="reflect"), (V[:1],)),
    "meshgrid": (o.meshgrid, np.meshgrid, (V, V[:3])),
    "meshgrid of three": (
        lambda x, y: o.meshgrid(x, y, x, indexing="ij"),
        lambda x, y: np.meshgrid(x, y, x, indexing="ij"), (V[:2], V[:3])),
    "nan_to_num": (o.nan_to_num, np.nan_to_num, (np.array([1.0, np.nan, np.inf, -np.inf]),)),
    "count of ints": (lambda x: o.count_nonzero(x, 0), lambda x: np.count_nonzero(x, 0), (I,)),
    "round": (lambda x: o.round(x, 2), lambda x: np.round(x, 2), (M,)),
    "round half to even": (o.round, np.round, (np.array([0.5, 1.5, 2.5, -0.5, -1.5]),)),
    "dimshuffle": (lambda x: o.dimshuffle(x, 1, "x", 0), lambda x: x.T[:, None, :], (M,)),
    "swapaxes": (lambda x: o.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1), (T,)),
    "moveaxis": (lambda x: o.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1), (T,)),
    "flatten": (lambda x: o.flatten(x, 2), lambda x: x.reshape(2, 12), (T,)),
    "where of a scalar": (
        lambda x: o.where(o.gt(x, 0), x, 0), lambda x: np.where(x > 0, x, 0), (M,)),
    "divmod": (lambda x, y: list(o.divmod(x, y)), lambda x, y: list(divmod(x, y)), (V, V[::-1])),
    "power of ints": (lambda x: x**3, lambda x: x**3, (I,)),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_against_numpy(name: str) -> None:
    ours, numpys, arrays = PAIRS[name]
    with config.override(floatX="float64"):
        value = run(ours, *arrays)
    expected = numpys(*map(np.asarray, arrays))
    pairs = zip(value, expected, strict=True) if isinstance(value, list) else [(value, expected)]
    for a, b in pairs:
        assert a.shape == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def _smooth_pairs() -> list[str]:
    flat = ("nan_to_num", "arg", "round", "power of ints", "of ints", "take", "outer", "divmod")
    return [n for n in sorted(PAIRS) if not any(f in n for f in flat)]


@pytest.mark.parametrize("name", _smooth_pairs())
def test_derivative_of_function(name: str) -> None:
    """Reverse mode against central differences of NumPy's own function."""
    ours, numpys, arrays = PAIRS[name]
    xs = [new_input("float64", np.shape(a)) for a in arrays]
    results = ours(*xs)
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=r.type.shape) for r in results]
    cost = sum((r * w).sum() for r, w in zip(results, weights, strict=True))
    values = dict(zip(xs, map(np.asarray, arrays), strict=True))
    gradients = eager.evaluate(grad(cost, xs), values)
    steps = [rng.normal(size=np.shape(a)) for a in arrays]

    def total(h: float) -> float:
        moved = numpys(*(a + h * d for a, d in zip(map(np.asarray, arrays), steps, strict=True)))
        moved = list(moved) if isinstance(moved, (list, tuple)) else [moved]
        return sum(float((m * w).sum()) for m, w in zip(moved, weights, strict=True))

    expected = (total(1e-6) - total(-1e-6)) / 2e-6
    found = sum(float((g * d).sum()) for g, d in zip(gradients, steps, strict=True))
    assert abs(found - expected) < 1e-6 * (1 + abs(expected))


def test_pad_of_a_symbolic_length() -> None:
    for mode in ("edge", "reflect", "wrap"):
        value = run(lambda x, mode=mode: o.pad(x, (2, 3), mode=mode), V, symbolic=True)
        assert np.array_equal(value, np.pad(V, (2, 3), mode=mode))
    with pytest.raises(ShapeError, match="no elements"):
        o.pad(new_input("float64", (0,)), 1, mode="edge")
    with pytest.raises(ValueError, match="mode"):
        o.pad(new_input("float64", (2,)), 1, mode="mirror")


def test_finite_numbers_pass_the_derivative() -> None:
    x = new_input("float64", (3,))
    g = grad((o.nan_to_num(x, posinf=5.0) * 2).sum(), x)
    (value,) = eager.evaluate([g], {x: np.array([1.0, np.nan, np.inf])})
    assert np.array_equal(value, [2, 0, 0])


# -- ranges and dtypes ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    "bounds", [(5,), (2, 7), (0, 10, 3), (10, 0, -3), (5, 5), (7, 2), (0.0, 1.0, 0.25)]
)
def test_arange(bounds: tuple[Any, ...]) -> None:
    value = run(lambda: o.arange(*bounds, dtype="float64"))
    assert np.array_equal(value, np.arange(*bounds).astype(float))


def test_arange_of_a_symbolic_size() -> None:
    value = run(lambda x: o.arange(1, x.shape[0]) + 0 * x[1:], V, symbolic=True)
    assert np.array_equal(value, np.arange(1, 5))
    n = new_input("int64", (), "n")
    (value,) = eager.evaluate([o.arange(n, 2 * n, 2) + 0 * n], {n: np.int64(5)})
    assert np.array_equal(value, np.arange(5, 10, 2))


@pytest.mark.parametrize(
    ("num", "endpoint"), [(5, True), (5, False), (1, True), (1, False), (0, True)]
)
def test_linspace(num: int, endpoint: bool) -> None:
    value = run(lambda: o.linspace(-0.3, 1.7, num, endpoint, dtype="float64"))
    np.testing.assert_allclose(value, np.linspace(-0.3, 1.7, num, endpoint), rtol=1e-15, atol=1e-16)
    if endpoint and num > 1:
        assert value[-1] == 1.7


@pytest.mark.parametrize("dtype", ["bool", "int8", "int32", "uint8", "uint32", "uint64"])
def test_sums_accumulate_in_64_bits(dtype: str) -> None:
    a = np.array([100, 120, 127]).astype(dtype)
    value = run(o.sum, a)
    assert value.dtype == (np.uint64 if dtype.startswith("uint") else np.int64)
    assert value == np.sum(a)
    assert run(o.cumsum, a).dtype == value.dtype


def test_mean_of_halves_does_not_overflow() -> None:
    a = np.full(5000, 60.0, np.float16)
    value = run(o.mean, a)
    assert value.dtype == np.float16 and value == 60
    assert run(o.var, a) == 0
    assert run(o.mean, np.arange(4, dtype=np.int8)).dtype == np.dtype(config.floatX)


def test_sum_of_zero_elements() -> None:
    a = np.zeros((0, 3))
    assert np.array_equal(run(lambda x: o.sum(x, 0), a), [0, 0, 0])
    assert np.array_equal(run(lambda x: o.prod(x, 0), a), [1, 1, 1])
    assert run(o.all, a.astype(bool)) and not run(o.any, a.astype(bool))


# -- derivatives at awkward points ---------------------------------------------------------------
def slope(f: Callable[[Node], Node], at: float, order: int = 1) -> float:
    x = new_input("float64", ())
    y = f(x)
    for _ in range(order):
        y = grad(y, x, disconnected_inputs="ignore")
    return float(eager.evaluate([y], {x: np.asarray(at)})[0])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_whole_powers_at_zero(n: int, order: int) -> None:
    expected = {(1, 1): 1, (2, 2): 2, (3, 3): 6}.get((n, order), 0)
    assert slope(lambda x: x**n, 0.0, order) == expected
    assert slope(lambda x: x ** float(n), 0.0, order) == expected


def test_power_of_a_variable_exponent() -> None:
    assert slope(lambda y: o.power(0.0, y), 2.0) == 0
    assert np.isclose(slope(lambda y: o.power(3.0, y), 2.0), 9 * np.log(3))
    assert np.isclose(slope(lambda x: o.power(x, 3), -2.0), 12)
    assert np.isclose(slope(lambda x: o.power(x, 0.5), 4.0), 0.25)


def test_where_keeps_the_other_branch_out() -> None:
    assert slope(lambda x: o.where(o.gt(x, 0), o.log(x), 0.0), -1.0) == 0
    assert np.isclose(slope(lambda x: o.where(o.gt(x, 0), x, o.log(x)), 2.0), 1)


@pytest.mark.parametrize("zeros", [(), (1,), (1, 3), (0, 1, 2, 3)])
def test_product_with_zeros(zeros: tuple[int, ...]) -> None:
    a = np.array([2.0, -3.0, 0.5, 4.0])
    a[list(zeros)] = 0
    expected = [np.prod(np.delete(a, k)) for k in range(4)]
    x = new_input("float64", (4,))
    (value,) = eager.evaluate([grad(o.prod(x), x)], {x: a})
    np.testing.assert_allclose(value, expected)
    (value,) = eager.evaluate([grad(o.cumprod(x)[-1], x)], {x: a})
    np.testing.assert_allclose(value, expected)


@pytest.mark.parametrize("zeros", [(), (1,), (1, 3), (0, 1, 3)])
def test_second_derivative_of_a_product_with_zeros(zeros: tuple[int, ...]) -> None:
    a = np.array([2.0, -3.0, 0.5, 4.0])
    a[list(zeros)] = 0
    x = new_input("float64", (4,))
    first = grad(o.prod(x), x)
    rows = eager.evaluate([grad(first[k], x) for k in range(4)], {x: a})
    expected = [
        [0.0 if j == k else np.prod(np.delete(a, [j, k])) for j in range(4)] for k in range(4)
    ]
    np.testing.assert_allclose(rows, expected, atol=1e-12)


def test_ties_share_the_derivative() -> None:
    x = new_input("float64", (4,))
    a = np.array([1.0, 3.0, 3.0, 2.0])
    (value,) = eager.evaluate([grad(o.max(x), x)], {x: a})
    assert np.array_equal(value, [0, 0.5, 0.5, 0])
    assert slope(lambda x: o.maximum(x, 1.0), 1.0) == 0.5
    assert slope(o.relu, 0.0) == 0
    assert slope(o.abs, 0.0) == 0


@pytest.mark.parametrize("x", [0.0, 800.0, -800.0])
def test_no_overflow_in_derivatives(x: float) -> None:
    expected = {0.0: 0.5, 800.0: 1.0, -800.0: 0.0}[x]
    assert slope(o.softplus, x) == expected
    assert slope(lambda v: o.logaddexp(v, 0.0), x) == expected
    assert slope(o.sigmoid, x) == expected * (1 - expected)
    assert np.isfinite(slope(o.tanh, x))


def test_last_of_duplicate_writes_gets_the_derivative() -> None:
    x, y = new_input("float64", (3,)), new_input("float64", (4,))
    node = x[np.array([0, 2, 0, 0])].set(y)
    arrays = {x: np.zeros(3), y: np.array([1.0, 2.0, 3.0, 4.0])}
    value, dy = eager.evaluate([node, grad((node * np.array([5.0, 6.0, 7.0])).sum(), y)], arrays)
    assert np.array_equal(value, [4, 0, 2])
    assert np.array_equal(dy, [0, 7, 0, 5])


PARTS: dict[str, tuple[Any, Any]] = {
    "split": (lambda x: o.split(x, 2), lambda a: np.split(a, 2)),
    "split at": (lambda x: o.split(x, [1, 3]), lambda a: np.split(a, [1, 3])),
    "split back": (lambda x: o.split(x, [3, 1, -1]), lambda a: np.split(a, [3, 1, -1])),
    "array_split": (lambda x: o.array_split(x, 4), lambda a: np.array_split(a, 4)),
    "array_split of rows": (lambda x: o.array_split(x, 3, 1), lambda a: np.array_split(a, 3, 1)),
    "repeat each": (
        lambda x: [o.repeat(x, [2, 0, 1, 3, 1, 0], 0)],
        lambda a: [np.repeat(a, [2, 0, 1, 3, 1, 0], 0)],
    ),
    "join all": (
        lambda x: [o.concatenate([x, x[:1]], None)],
        lambda a: [np.concatenate([a, a[:1]], None)],
    ),
    "diagonals": (
        lambda x: [o.diag(x, k) for k in range(-7, 9)],
        lambda a: [np.diag(a, k) for k in range(-7, 9)],
    ),
    "trace": (
        lambda x: [o.trace(x, k) for k in (-7, -2, 0, 3, 8)],
        lambda a: [np.trace(a, k) for k in (-7, -2, 0, 3, 8)],
    ),
    "empty index": (lambda x: [x[[]], x[:, [[]]]], lambda a: [a[[]], a[:, [[]]]]),
    "round": (
        lambda x: [o.round(x, 1), o.round(x, -1)],
        lambda a: [np.round(a, 1), np.round(a, -1)],
    ),
}


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("name", PARTS)
def test_parts_of_arrays(name: str, symbolic: bool) -> None:
    ours, theirs = PARTS[name]
    a = np.random.default_rng(3).normal(size=(6, 8)) * 20
    x = new_input("float64", (symbol("m"), symbol("n")) if symbolic else a.shape)
    for got, wanted in zip(sg.function([x], ours(x))(a), theirs(a), strict=True):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-15)


def test_split_beyond_the_end() -> None:
    x = new_input("float64", (4,))
    assert [p.type.shape for p in o.split(x, [3, 9])] == [(3,), (1,), (0,)]


def test_diagonal_of_any_axes() -> None:
    a = np.arange(60.0).reshape(3, 4, 5)
    x = new_input("float64", a.shape)
    for axes in [(0, 1), (2, 0), (-1, 1)]:
        got = run(lambda v, axes=axes: o.diagonal(v, 1, *axes), a)
        np.testing.assert_array_equal(got, np.diagonal(a, 1, *axes))
    np.testing.assert_array_equal(sg.function([x], np.diagonal(x))(a), np.diagonal(a))
    np.testing.assert_array_equal(sg.function([x], np.trace(x))(a), np.trace(a))


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize("endpoint", [False, True])
def test_linspace_of_a_symbolic_number(n: int, endpoint: bool) -> None:
    count = sg.lscalar("count")
    f = sg.function([count], o.linspace(2, -1, count, endpoint, "float64"))
    np.testing.assert_allclose(f(n), np.linspace(2, -1, n, endpoint), rtol=1e-15)


@pytest.mark.parametrize("shift", [0, 1, -2, 9, -30])
def test_roll_by_a_variable(shift: int) -> None:
    x, k = sg.dmatrix("x"), sg.lscalar("k")
    a = np.arange(12.0).reshape(3, 4)
    f = sg.function([x, k], [o.roll(x, k, 1), o.roll(x, k)])
    rows, whole = f(a, shift)
    np.testing.assert_array_equal(rows, np.roll(a, shift, 1))
    np.testing.assert_array_equal(whole, np.roll(a, shift))


def test_numpy_pads_symbols() -> None:
    x = sg.dvector("x")
    f = sg.function([x], [np.pad(x, 1, "edge"), np.pad(x, 2, constant_values=(7, 8)), np.around(x)])
    a = np.array([1.5, 2.5])
    wanted = [np.pad(a, 1, "edge"), np.pad(a, 2, constant_values=(7, 8)), np.around(a)]
    for got, value in zip(f(a), wanted, strict=True):
        np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (2, 5)])
def test_roll_of_a_length_that_is_not_known(shape: tuple[int, int]) -> None:
    x = sg.dmatrix("x")
    a = np.arange(float(np.prod(shape))).reshape(shape)
    f = sg.function([x], [sg.roll(x, 3, 0), sg.roll(x, -1, 1), sg.roll(x, 2)])
    for got, wanted in zip(f(a), [np.roll(a, 3, 0), np.roll(a, -1, 1), np.roll(a, 2)], strict=True):
        np.testing.assert_array_equal(got, wanted)
