"""Running extrema, running log-sum-exp and the linear recurrence: edges, and against PyTorch."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symgraph as sg
from symgraph.core.errors import DTypeError, NotDifferentiableError, ShapeError
from symgraph.core.node import new_input

RNG = np.random.default_rng(11)
EXTREMA = {"cummax": np.maximum.accumulate, "cummin": np.minimum.accumulate}
DTYPES = ("float64", "float32", "float16", "int64", "int8", "uint8", "bool")


def node(a: np.ndarray, name: str = "x") -> Any:
    return new_input(str(a.dtype), a.shape, name)


def run(f: Any, *arrays: np.ndarray) -> Any:
    inputs = [node(a, f"x{k}") for k, a in enumerate(arrays)]
    return sg.function(inputs, f(*inputs))(*arrays)


# -- extrema -------------------------------------------------------------------------------------
def last_held(a: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return the last place so far, along the last axis, that holds the extremum or a NaN."""
    hit = (a == best) | np.isnan(a.astype("float64"))
    place = np.where(hit, np.arange(a.shape[-1]), 0)
    return np.maximum.accumulate(place, -1)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(EXTREMA)), dtype=st.sampled_from(DTYPES))
def test_extrema_are_those_of_numpy(data: Any, name: str, dtype: str) -> None:
    """Ties, NaN, infinities, empty axes: values and places."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9))
    kind = np.dtype(dtype).kind
    elements = (
        st.sampled_from([0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan])
        if kind == "f" else st.sampled_from([0, 1]) if kind == "b"
        else st.sampled_from([0, 1, 2, np.iinfo(dtype).max, np.iinfo(dtype).min])
    )  # fmt: skip
    a = data.draw(hnp.arrays(dtype, shape, elements=elements))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    values, places = run(lambda x: getattr(sg, name)(x, axis, return_indices=True), a)
    expected = EXTREMA[name](a, axis=axis)
    assert values.dtype == a.dtype and places.dtype == np.int64
    np.testing.assert_array_equal(values, expected)
    rows = np.moveaxis(a, axis, -1), np.moveaxis(expected, axis, -1)
    np.testing.assert_array_equal(np.moveaxis(places, axis, -1), last_held(*rows))


@pytest.mark.parametrize("name", sorted(EXTREMA))
def test_flattened_and_named_without_an_axis(name: str) -> None:
    a = RNG.normal(size=(3, 5))
    np.testing.assert_array_equal(run(getattr(sg, name), a), EXTREMA[name](a.ravel()))
    with pytest.raises(DTypeError, match="scalar"):
        getattr(sg, name)(sg.scalar("s"), 0)
    with pytest.raises(IndexError):
        getattr(sg, name)(node(a), 2)


@pytest.mark.parametrize("name", sorted(EXTREMA))
def test_last_of_ties_gets_the_derivative(name: str) -> None:
    a = np.array([1.0, 1.0, 0.0, 1.0]) * (1 if name == "cummax" else -1)
    gradient = run(lambda x: sg.grad((getattr(sg, name)(x) * np.arange(1.0, 5)).sum(), x), a)
    # at 0: itself; at 1 and 2: the second element; at 3: the last
    np.testing.assert_array_equal(gradient, [1, 2 + 3, 0, 4])


def test_integers_have_no_derivative() -> None:
    x = new_input("int64", (4,), "x")
    with pytest.raises((NotDifferentiableError, TypeError, DTypeError)):
        sg.grad(sg.cummax(x).sum(), x)


@pytest.mark.parametrize("shape, axis", [((100_000,), 0), ((300, 500), 0), ((300, 500), 1)])
def test_large_arrays(shape: tuple[int, ...], axis: int) -> None:
    """Vector lanes, their rest, and several threads."""
    a = RNG.normal(size=shape).astype("float32")
    for name, f in EXTREMA.items():
        got = run(lambda x, name=name: getattr(sg, name)(x, axis), a)
        np.testing.assert_array_equal(got, f(a, axis=axis))
    wide = np.logaddexp.accumulate(a.astype(float), axis=axis)
    got = run(lambda x: sg.logcumsumexp(x, axis), a)
    np.testing.assert_allclose(got, wide, rtol=1e-5, atol=1e-6)
    got = run(lambda x: sg.cumsum(sg.exp(x), axis), a)
    np.testing.assert_allclose(got, np.cumsum(np.exp(a), axis), rtol=3e-5)


# -- running log-sum-exp ---------------------------------------------------------------------------
@settings(max_examples=40, deadline=None)
@given(
    a=hnp.arrays(
        "float64", hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=7),
        elements=st.one_of(
            st.floats(-1e3, 1e3), st.sampled_from([np.inf, -np.inf, np.nan, 0.0, 1e308, -1e308])
        ),
    )
)  # fmt: skip
def test_logcumsumexp_is_a_running_logaddexp(a: np.ndarray) -> None:
    for axis in range(-a.ndim, a.ndim):
        with np.errstate(all="ignore"):
            expected = np.logaddexp.accumulate(a, axis=axis)
        got = run(lambda x, axis=axis: sg.logcumsumexp(x, axis), a)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_logcumsumexp_does_not_overflow_or_vanish() -> None:
    a = np.array([-1e4, 0.0, 1e4, 1e4, -1e4])
    got, gradient = run(lambda x: [sg.logcumsumexp(x), sg.grad(sg.logcumsumexp(x).sum(), x)], a)
    two = 1e4 + np.log(2)
    np.testing.assert_allclose(got, [-1e4, 0, 1e4, two, two], rtol=1e-15)
    np.testing.assert_allclose(gradient, [1, 1, 1 + 0.5 + 0.5, 0.5 + 0.5, 0], rtol=1e-11)


def test_logcumsumexp_of_nothing_yet() -> None:
    """A row that starts with -inf has derivative zero there, and is exact afterwards."""
    a = np.array([-np.inf, -np.inf, 1.0, 2.0])
    got, gradient = run(lambda x: [sg.logcumsumexp(x), sg.grad(sg.logcumsumexp(x).sum(), x)], a)
    last = np.logaddexp(1, 2)
    np.testing.assert_allclose(got, [-np.inf, -np.inf, 1, last])
    np.testing.assert_allclose(gradient, [0, 0, 1 + np.exp(1 - last), np.exp(2 - last)])


def test_logcumsumexp_of_integers_is_a_float() -> None:
    assert sg.logcumsumexp(new_input("int32", (3,), "k")).dtype.is_float


# -- the recurrence ------------------------------------------------------------------------------
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_recurrence_is_the_scan(axis: int) -> None:
    a, b = RNG.normal(size=(6, 7)) * 0.5, RNG.normal(size=(6, 7))
    got = run(lambda x, y: sg.linear_recurrence(x, y, axis), a, b)
    state, expected = np.zeros(a.shape[1 - (axis % 2)]), []
    for x, y in zip(np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0), strict=True):
        state = x * state + y
        expected.append(state)
    np.testing.assert_allclose(np.moveaxis(got, axis, 0), expected, rtol=1e-12, atol=1e-12)


def test_recurrence_broadcasts_and_promotes() -> None:
    b = np.ones((2, 5), "float32")
    got = run(lambda y: sg.linear_recurrence(0.5, y), b)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[1], [1, 1.5, 1.75, 1.875, 1.9375])
    with pytest.raises(ShapeError, match="axis"):
        sg.linear_recurrence(1.0, 2.0)
    with pytest.raises((ShapeError, ValueError)):
        sg.linear_recurrence(node(np.ones(3)), node(np.ones(4)))


@pytest.mark.parametrize("length", [0, 1])
def test_short_axes(length: int) -> None:
    a = RNG.normal(size=(2, length))
    for f in (sg.cummax, sg.cummin, sg.logcumsumexp, lambda x, k: sg.linear_recurrence(x, x, k)):
        got, gradient = run(lambda x, f=f: [f(x, 1), sg.grad(f(x, 1).sum(), x)], a)
        np.testing.assert_array_equal(got, a)
        np.testing.assert_array_equal(gradient, np.ones_like(a))


# -- PyTorch -------------------------------------------------------------------------------------
@pytest.mark.torch
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["cummax", "cummin", "logcumsumexp"])
def test_against_torch(name: str, axis: int) -> None:
    """Values, places and derivatives, with ties."""
    torch = pytest.importorskip("torch")
    a = np.round(RNG.normal(size=(4, 5, 9)) * 2) / 2
    weights = RNG.normal(size=a.shape)
    t = torch.tensor(a, requires_grad=True)
    theirs = getattr(torch, name)(t, axis)
    value = theirs if name == "logcumsumexp" else theirs.values
    (value * torch.tensor(weights)).sum().backward()
    f = getattr(sg, name)
    got, gradient = run(lambda x: [f(x, axis), sg.grad((f(x, axis) * weights).sum(), x)], a)
    np.testing.assert_allclose(got, value.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-10, atol=1e-12)
    if name != "logcumsumexp":
        places = run(lambda x: f(x, axis, return_indices=True)[1], a)
        np.testing.assert_array_equal(places, theirs.indices.numpy())


@pytest.mark.parametrize("axis, nests", [(0, 1), (1, 2)])
def test_dear_elements_of_rows_are_computed_in_vectors(axis: int, nests: int) -> None:
    """Along the last axis the elements wait for each other: exp is done before, by vectors."""
    x = new_input("float32", (30, 50), "x")
    f = sg.function([x], sg.cumsum(sg.exp(x), axis))
    a = RNG.normal(size=(30, 50)).astype("float32")
    np.testing.assert_allclose(f(a), np.cumsum(np.exp(a), axis), rtol=1e-5)
    assert len(f.compiled.version_list[0].stages.program.statements) == nests


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("shape", [(2, 5, 8), (40, 3, 900), (300, 9, 40)])
def test_running_sums_of_sums_over_rows(shapes: str, shape: tuple[int, ...]) -> None:
    """Sums over rows in blocks of columns need the axis of the running sum outside of them."""
    x = sg.tensor3("x", dtype="float32")
    running = sg.cumsum(x.sum(0) * 0.5, 0)
    value = np.random.default_rng(0).normal(size=shape).astype("float32")
    got = sg.function([x], running, shapes=shapes)(value)
    want = sg.function([x], running, mode="eager")(value)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
