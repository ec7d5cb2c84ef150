"""Samples of images: the identity, edges, errors, sizes known when it runs, other dtypes."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.errors import ShapeError
from symgraph.core.node import new_input

RNG = np.random.default_rng(6)
X = RNG.normal(size=(2, 3, 5, 4))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_identity_gives_the_images_back(mode: str, align: bool) -> None:
    theta = np.broadcast_to(np.eye(2, 3), (2, 2, 3))
    x = new_input("float64", X.shape, "x")
    y = sg.grid_sample(x, sg.affine_grid(theta, X.shape, align), mode, "border", align)
    np.testing.assert_allclose(sg.function([x], y)(X), X, atol=1e-12)


def test_axes_turn_with_the_map() -> None:
    """A map that exchanges the axes transposes the images."""
    theta = np.broadcast_to(np.array([[0.0, 1, 0], [1, 0, 0]]), (2, 2, 3))
    x = new_input("float64", X.shape, "x")
    y = sg.grid_sample(x, sg.affine_grid(theta, (2, 3, 4, 5)))
    np.testing.assert_allclose(sg.function([x], y)(X), X.swapaxes(2, 3), atol=1e-12)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_sizes_known_when_it_runs(padding: str) -> None:
    x, g = sg.tensor("x", (None,) * 4, "float64"), sg.tensor("g", (None,) * 3 + (2,), "float64")
    f = sg.function([x, g], sg.grid_sample(x, g, padding_mode=padding), shapes="generic")
    for shape in ((2, 3, 5, 4), (1, 1, 1, 6), (2, 2, 3, 1)):
        a, at = RNG.normal(size=shape), RNG.uniform(-2, 2, (shape[0], 3, 2, 2))
        fixed = [new_input("float64", v.shape, "v") for v in (a, at)]
        expected = sg.function(fixed, sg.grid_sample(*fixed, padding_mode=padding))(a, at)
        np.testing.assert_allclose(f(a, at), expected, atol=1e-13)


def test_dtypes_and_empty_batches() -> None:
    for dtype in ("float32", "float16", "int32"):
        a = np.arange(12).reshape(1, 1, 3, 4).astype(dtype)
        x = new_input(dtype, a.shape, "x")
        y = sg.grid_sample(x, np.zeros((1, 1, 1, 2), "float32"))
        assert y.dtype == "float32"
        np.testing.assert_allclose(sg.function([x], y)(a), [[[[5.5]]]])
    x = new_input("float64", (0, 3, 5, 4), "x")
    y = sg.grid_sample(x, new_input("float64", (0, 2, 2, 2), "g"))
    assert y.type.shape == (0, 3, 2, 2)


def test_places_that_are_no_numbers_read_nothing() -> None:
    """Infinite places are outside, and a NaN gives NaN or a value of the edge: no crash."""
    x, g = new_input("float64", X.shape, "x"), new_input("float64", (2, 1, 3, 2), "g")
    at = np.zeros((2, 1, 3, 2))
    at[0, 0] = [[np.inf, 0], [np.nan, 0], [1e300, -1e300]]
    found = sg.function([x, g], sg.grid_sample(x, g, "nearest"))(X, at)
    np.testing.assert_array_equal(found[0, :, 0, [0, 2]], 0)
    for padding in ("zeros", "border", "reflection"):
        y = sg.function([x, g], sg.grid_sample(x, g, padding_mode=padding))(X, at)
        assert np.isfinite(y[1]).all()


def test_vmap_and_errors() -> None:
    x, g = new_input("float64", (4, *X.shape), "x"), new_input("float64", (4, 2, 3, 2, 2), "g")
    a, at = RNG.normal(size=(4, *X.shape)), RNG.uniform(-1.5, 1.5, (4, 2, 3, 2, 2))
    found = sg.function([x, g], sg.vmap(sg.grid_sample)(x, g))(a, at)
    one, two = new_input("float64", X.shape, "x"), new_input("float64", (2, 3, 2, 2), "g")
    f = sg.function([one, two], sg.grid_sample(one, two))
    np.testing.assert_allclose(found, [f(*both) for both in zip(a, at, strict=True)], atol=1e-13)
    with pytest.raises(ShapeError, match="a number per length"):
        sg.grid_sample(one, new_input("float64", (2, 3, 2, 3), "g"))
    with pytest.raises(ValueError, match="mode"):
        sg.grid_sample(one, two, "cubic")
    with pytest.raises(ValueError, match="padding_mode"):
        sg.grid_sample(one, two, padding_mode="edge")
    with pytest.raises(ShapeError, match="needs maps"):
        sg.affine_grid(new_input("float64", (2, 2, 2), "t"), (2, 3, 4, 4))
