"""Edges of functions where they once differed from NumPy or from their own derivative."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.node import new_input

RNG = np.random.default_rng(11)
CUBE = RNG.normal(size=(3, 4, 5))


def value(node: Any) -> Any:
    return sg.function([], node)()


@pytest.mark.parametrize(
    ("source", "destination"), [((0, 1), (2, 0)), ([0, -1], [-1, 0]), (1, -1), ((), ()), (2, 0)]
)
def test_moveaxis_of_several_axes(source: Any, destination: Any) -> None:
    expected = np.moveaxis(CUBE, source, destination)
    assert np.array_equal(value(sg.moveaxis(CUBE, source, destination)), expected)


def test_moveaxis_refuses_what_does_not_match() -> None:
    with pytest.raises(ValueError, match="moveaxis"):
        sg.moveaxis(CUBE, (0, 1), (0,))
    with pytest.raises(ValueError, match="moveaxis"):
        sg.moveaxis(CUBE, (0, 1), (2, 2))


@pytest.mark.parametrize("shape", [(1, 5), (5,), (2, 5)])
def test_covariance_of_one_variable_is_a_scalar(shape: tuple[int, ...]) -> None:
    x = RNG.normal(size=shape)
    for ours, theirs in ((sg.cov, np.cov), (sg.corrcoef, np.corrcoef)):
        got, expected = value(ours(x)), np.asarray(theirs(x))
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_no_difference_leaves_the_ends_alone() -> None:
    x = CUBE[0]
    assert np.array_equal(value(sg.diff(x, 0, prepend=1.0)), np.diff(x, 0, prepend=1.0))


def test_python_numbers_keep_their_digits() -> None:
    """They were rounded to floatX on the way to float64."""
    assert value(sg.cast(0.1, "float64")) == 0.1
    np.testing.assert_allclose(
        value(sg.logspace(0.1, 1.3, 5, base=1.1, dtype="float64")),
        np.logspace(0.1, 1.3, 5, base=1.1), rtol=1e-15)  # fmt: skip
    x = RNG.uniform(size=20)
    counts, edges = sg.histogram(x, 7, (0.1, 0.7))
    expected = np.histogram(x, 7, (0.1, 0.7))
    assert np.array_equal(value(counts), expected[0])
    np.testing.assert_allclose(value(edges), expected[1], rtol=1e-15)


def test_histogram_of_nothing() -> None:
    counts, edges = sg.histogram(np.zeros(0), 4)
    expected = np.histogram(np.zeros(0), 4)
    assert np.array_equal(value(counts), expected[0])
    assert np.array_equal(value(edges), expected[1])


INDICES = (((1, 2), 1, (4, 3)), ((4, 2), 1, (1, 3)), ((4, 1), 0, (6, 3)), ((2, 3), 0, (6, 3)))


@pytest.mark.parametrize(("shape", "axis", "of"), INDICES)
def test_along_an_axis_the_others_are_broadcast(
    shape: tuple[int, int], axis: int, of: tuple[int, int]
) -> None:
    x, at = RNG.normal(size=of), RNG.integers(0, of[axis], shape)
    expected = np.take_along_axis(x, at, axis)
    assert np.array_equal(value(sg.take_along_axis(x, at, axis)), expected)
    written = x.copy()
    np.put_along_axis(written, at, 7.0, axis)
    assert np.array_equal(value(sg.put_along_axis(x, at, 7.0, axis)), written)


@pytest.mark.parametrize("f", [sg.softmax, sg.log_softmax])
def test_softmax_of_empty_rows(f: Any) -> None:
    x = new_input("float64", (5, 0), "x")
    cost = f(x).sum()
    y, g = sg.function([x], [f(x), sg.grad(cost, x)])(np.zeros((5, 0)))
    assert y.shape == g.shape == (5, 0)


def test_logsumexp_of_empty_rows_is_minus_infinity() -> None:
    assert np.array_equal(value(sg.logsumexp(np.zeros((2, 0)), 1)), [-np.inf, -np.inf])


def test_windows_over_volumes() -> None:
    x = RNG.normal(size=(2, 3, 4, 6, 5))
    got = value(sg.adaptive_max_pool3d(x, (2, 3, 5)))
    assert np.array_equal(got, x.reshape(2, 3, 2, 2, 3, 2, 5, 1).max((3, 5, 7)))


@pytest.mark.parametrize(("padding", "extra"), [(0, 3), (1, 3), (5, 3), (4, 2)])
def test_output_padding_beyond_the_stride(padding: int, extra: int) -> None:
    """It first undoes padding, where the filters reach, and is zeros behind that."""
    x, w = RNG.normal(size=(1, 2, 4)), RNG.normal(size=(2, 3, 3))
    whole = value(sg.conv_transpose1d(x, w, 2, 0, 0, 4))
    n = whole.shape[2] - 2 * padding + extra
    expected = np.pad(whole, ((0, 0), (0, 0), (0, extra)))[:, :, padding : padding + n]
    got = value(sg.conv_transpose1d(x, w, 2, padding, extra, 4))
    np.testing.assert_allclose(got, expected, atol=1e-14)


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_second_derivative_of_products_with_zeros(zeros: int) -> None:
    """Of factors that are scattered to one place, against the product written out."""
    n = 4
    at = RNG.permutation(n)[:zeros]
    point = RNG.normal(size=n)
    point[at] = 0
    x, u = new_input("float64", (n,), "x"), RNG.normal(size=n)
    where = np.zeros(n, "int64")

    def derivatives(y: Any) -> list[Any]:
        g = sg.grad(y, x)
        return [y, g, sg.grad((g * u).sum(), x)]

    ours = derivatives(sg.segment_prod(x, where, 1).sum())
    plain = derivatives(x[0] * x[1] * x[2] * x[3])
    found = sg.function([x], [*ours, *plain])(point)
    for a, b in zip(found[:3], found[3:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_one_hot_of_more_classes_than_the_labels_count(dtype: str) -> None:
    labels = sg.vector("labels", dtype=dtype)
    value = sg.function([labels], sg.one_hot(labels, 300))(np.array([3, 44, 127], dtype))
    np.testing.assert_array_equal(value, np.eye(300)[[3, 44, 127]])


def test_integers_at_the_ends_of_their_range() -> None:
    u, a, b = sg.vector("u", dtype="uint64"), sg.bvector("a"), sg.bvector("b")
    big = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    np.testing.assert_array_equal(sg.function([u], sg.signbit(u))(big), np.signbit(big))
    x, y = np.array([8, -127, 17, -128, 0], "i1"), np.array([-127, -18, -13, 3, 5], "i1")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(sg.function([a, b], sg.lcm(a, b))(x, y), np.lcm(x, y))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_ldexp_of_any_exponent(dtype: str) -> None:
    x, n = sg.vector("x", dtype=dtype), sg.lvector("n")
    a, k = (v.ravel() for v in np.meshgrid(
        np.array([0, -0.0, 1, -1.5, np.inf, np.nan, 6e-8, 1e-3, 6e4], dtype),
        [0, 3, -24, 40, -40, 1000, -1000, 2100, -2100, 5000, -5000, 2**62, -(2**62)]))  # fmt: skip
    with np.errstate(all="ignore"):
        wanted = np.ldexp(a, np.clip(k, -10000, 10000).astype(np.int32))
    np.testing.assert_array_equal(sg.function([x, n], sg.ldexp(x, n))(a, k), wanted)


WEAK: dict[str, tuple[Any, Any]] = {
    "quantile": (lambda x: sg.quantile(x, 0.3), lambda a: np.quantile(a, 0.3)),
    "quantiles": (lambda x: sg.nanquantile(x, [0.3, 0.7]), lambda a: np.quantile(a, [0.3, 0.7])),
    "interp": (
        lambda x: sg.interp(x, [0.1, 0.7], [0.3, 0.9]),
        lambda a: np.interp(a, [0.1, 0.7], [0.3, 0.9]),
    ),
    "polyval": (lambda x: sg.polyval([0.1, 0.3], x), lambda a: np.polyval([0.1, 0.3], a)),
    "append": (lambda x: sg.append(x, [0.1]), lambda a: np.append(a, [0.1])),
    "average": (
        lambda x: sg.average(x[:2], weights=[0.1, 0.3]),
        lambda a: np.average(a[:2], weights=[0.1, 0.3]),
    ),
    "linspace": (lambda x: sg.linspace(x[0], 0.9, 5), lambda a: np.linspace(a[0], 0.9, 5)),
}


@pytest.mark.parametrize("name", WEAK)
def test_python_numbers_take_the_type_of_what_stands_beside(name: str) -> None:
    ours, theirs = WEAK[name]
    a = np.random.default_rng(0).random(9)
    x, y = sg.dvector("x"), sg.fvector("y")
    value = sg.function([x], ours(x))(a)
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, theirs(a), rtol=1e-14)
    assert ours(y).dtype == "float32"


def test_float_power_of_python_numbers() -> None:
    x = sg.fvector("x")
    a = np.linspace(0.5, 2, 5).astype("f4")
    np.testing.assert_allclose(
        sg.function([x], sg.float_power(x, 0.1))(a), np.float_power(a, 0.1), rtol=1e-14
    )


@pytest.mark.parametrize("shapes", ["auto", "generic"])
def test_differences_of_short_axes_are_empty(shapes: Any) -> None:
    x = sg.vector("x", dtype="float64")
    f = sg.function([x], [sg.diff(x, 3), sg.ediff1d(x), sg.trapezoid(x)], shapes=shapes)
    for n in (6, 4, 2, 1, 0):
        a = np.arange(float(n)) ** 3
        expected = np.diff(a, 3), np.ediff1d(a), np.trapezoid(a)
        for found, wanted in zip(f(a), expected, strict=True):
            assert np.array_equal(found, wanted)


@pytest.mark.parametrize("mode", ["full", "valid"])
def test_sequences_of_unknown_length_are_convolved(mode: Any) -> None:
    w = np.array([1.0, -2.0, 0.5])
    x = sg.vector("x", dtype="float64")
    outputs = [sg.convolve(x, w, mode), sg.convolve(w, x, mode), sg.correlate(x, w, mode),
               sg.correlate(w, x, mode), sg.grad(sg.sum(sg.convolve(x, w, mode) ** 2), x)]
    f = sg.function([x], outputs, shapes="generic")
    for n in (7, 3, 5, *((2, 1) if mode == "full" else ())):
        a = np.random.default_rng(n).normal(size=n)
        found, y = f(a), np.convolve(a, w, mode)
        expected = [y, y, np.correlate(a, w, mode), np.correlate(w, a, mode)]
        expected.append(2 * np.correlate(y, w, "valid" if mode == "full" else "full"))
        for ours, theirs in zip(found, expected, strict=True):
            assert np.allclose(ours, theirs)
    if mode == "valid":
        with pytest.raises(sg.ShapeError):
            f(np.ones(2))
    with pytest.raises(sg.ShapeError, match="known length"):
        sg.convolve(x, x, mode)
    with pytest.raises(sg.ShapeError, match="known length"):
        sg.convolve(x, w, "same")


@pytest.mark.parametrize("name", ["median", "nanmedian", "nanvar", "nanstd", "nanmean"])
def test_statistics_of_infinities(name: str) -> None:
    inf, nan = np.inf, np.nan
    rows = [[-inf, 1, 2, inf], [-inf, -inf, 1, 2], [-inf, 1, inf, inf], [-inf, -inf, inf, inf],
            [1, 2, 3, inf], [-inf, 1, nan, nan], [nan, nan, nan, nan], [inf, 1, 2, nan]]
    at = np.array(rows)
    x = sg.matrix("x", dtype="float64")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = getattr(np, name)(at, axis=1)
    np.testing.assert_array_equal(getattr(sg, name)(x, axis=1).eval({x: at}), wanted)
