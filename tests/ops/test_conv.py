"""Convolution and pooling: public arguments, known values, derivatives of pooling, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
import symgraph.ops  # noqa: F401
from symgraph.autodiff.grad import Rop, grad, hvp
from symgraph.compile import eager
from symgraph.core.config import config
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.node import new_input
from symgraph.core.op import o
from symgraph.dims.dim import symbol

RNG = np.random.default_rng(3)
X = RNG.normal(size=(2, 4, 7, 6))
W = RNG.normal(size=(6, 4, 3, 2))


def conv(x: np.ndarray, w: np.ndarray, **options: Any) -> np.ndarray:
    a, b = new_input(x.dtype, x.shape, "images"), new_input(w.dtype, w.shape, "filters")
    node = o.conv2d(a, b, **options)
    (value,) = eager.evaluate([node], {a: x, b: w})
    assert value.shape == node.type.shape
    return value


def plain(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Correlation without any option, by its definition."""
    h, v = x.shape[2] - w.shape[2] + 1, x.shape[3] - w.shape[3] + 1
    out = np.zeros((x.shape[0], w.shape[0], h, v))
    for i, j in np.ndindex(h, v):
        patch = x[:, None, :, i : i + w.shape[2], j : j + w.shape[3]]
        out[:, :, i, j] = (patch * w[None]).sum((2, 3, 4))
    return out


@pytest.mark.parametrize(
    ("padding", "amounts"),
    [(0, ((0, 0), (0, 0))), ("valid", ((0, 0), (0, 0))), ("full", ((2, 2), (1, 1))),
     ("half", ((1, 1), (1, 1))), ("same", ((1, 1), (0, 1))), ((1, 2), ((1, 1), (2, 2))),
     (((1, 0), (2, 1)), ((1, 0), (2, 1)))],
)  # fmt: skip
def test_padding(padding: Any, amounts: Any) -> None:
    expected = plain(np.pad(X, ((0, 0), (0, 0), *amounts)), W)
    np.testing.assert_allclose(conv(X, W, padding=padding), expected, atol=1e-12)


def test_stride_dilation_and_flip() -> None:
    full = plain(X, W)
    np.testing.assert_allclose(conv(X, W, stride=(2, 3)), full[:, :, ::2, ::3], atol=1e-12)
    spread = np.zeros((6, 4, 5, 4))
    spread[:, :, ::2, ::3] = W
    np.testing.assert_allclose(conv(X, W, dilation=(2, 3)), plain(X, spread), atol=1e-12)
    np.testing.assert_allclose(conv(X, W, flip=True), plain(X, W[:, :, ::-1, ::-1]), atol=1e-12)


def test_groups_are_separate_convolutions() -> None:
    expected = np.concatenate([plain(X[:, :2], W[:3, :2]), plain(X[:, 2:], W[3:, :2])], 1)
    np.testing.assert_allclose(conv(X, W[:, :2], groups=2), expected, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 5, 6, 7])
def test_same_padding_gives_one_window_per_stride(n: int, stride: int) -> None:
    for k in (1, 2, 3, 4):
        x, w = np.ones((1, 1, n, n)), np.ones((1, 1, k, k))
        assert conv(x, w, padding="same", stride=stride).shape[2:] == (-(-n // stride),) * 2


def test_symbolic_images() -> None:
    x = new_input("float64", tuple(symbol(s) for s in "nchw"))
    w = new_input("float64", W.shape)
    node = o.conv2d(x, w, stride=2, padding="same")
    gradients = grad(o.square(node).sum(), [x, w])
    value, dx, dw = eager.evaluate([node, *gradients], {x: X, w: W})
    assert value.shape == (2, 6, 4, 3) and dx.shape == X.shape and dw.shape == W.shape


def test_dtypes() -> None:
    i = RNG.integers(-3, 4, (1, 2, 4, 4)).astype(np.int8)
    assert conv(i, i[:, :, :2, :2]).dtype == np.int8
    assert conv(X.astype(np.float32), W).dtype == np.float64
    half = conv(X.astype(np.float16), W.astype(np.float16))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, plain(X, W), atol=0.03)


@pytest.mark.parametrize(
    ("x", "w", "options", "error", "text"),
    [
        ((2, 3, 5), (4, 3, 2, 2), {}, ShapeError, "four axes"),
        ((2, 3, 5, 5), (4, 2, 2, 2), {}, ShapeError, "3 channels"),
        ((2, 3, 5, 5), (4, 3, 6, 2), {}, ShapeError, "does not fit"),
        ((2, 4, 5, 5), (3, 2, 2, 2), {"groups": 2}, ShapeError, "do not divide"),
        ((2, 3, 5, 5), (4, 3, 2, 2), {"stride": 0}, ValueError, "stride"),
        ((2, 3, 5, 5), (4, 3, 2, 2), {"padding": -1}, ValueError, "padding"),
        ((2, 3, 5, 5), (4, 3, 2, 2), {"padding": "equal"}, ValueError, "equal"),
    ],
)
def test_errors(x: Any, w: Any, options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        o.conv2d(new_input("float64", x), new_input("float64", w), **options)
    with pytest.raises(DTypeError):
        o.conv2d(new_input("bool", (1, 1, 2, 2)), new_input("bool", (1, 1, 1, 1)))


# -- pooling -------------------------------------------------------------------------------------
def pooled(x: np.ndarray, f: Any, *args: Any, **options: Any) -> np.ndarray:
    a = new_input(x.dtype, x.shape)
    return eager.evaluate([f(a, *args, **options)], {a: x})[0]


def test_max_pool() -> None:
    blocks = X[:, :, :6].reshape(2, 4, 3, 2, 3, 2)
    assert np.array_equal(pooled(X[:, :, :6], o.max_pool2d, 2), blocks.max((3, 5)))
    assert pooled(X, o.max_pool2d, (3, 2), stride=1, padding=(1, 0)).shape == (2, 4, 7, 5)
    negative = -1 - np.abs(X)
    assert (pooled(negative, o.max_pool2d, 3, padding=1) < 0).all()
    with_nan = X.copy()
    with_nan[0, 0, 1, 1] = np.nan
    found = np.isnan(pooled(with_nan, o.max_pool2d, 2))
    assert found[0, 0, 0, 0] and found.sum() == 1
    lowest = np.full((1, 1, 2, 2), np.iinfo(np.int8).min, np.int8)
    assert np.array_equal(pooled(lowest, o.max_pool2d, 2, padding=1), np.full((1, 1, 2, 2), -128))


def test_average_pool() -> None:
    blocks = X[:, :, :6].reshape(2, 4, 3, 2, 3, 2)
    np.testing.assert_allclose(
        pooled(X[:, :, :6], o.avg_pool2d, 2), blocks.mean((3, 5)), atol=1e-15
    )
    ones = np.ones((1, 1, 4, 4))
    padded = pooled(ones, o.avg_pool2d, 2, padding=1)
    assert padded[0, 0, 0, 0] == 0.25 and padded[0, 0, 1, 1] == 1
    assert np.array_equal(
        pooled(ones, o.avg_pool2d, 2, padding=1, include_pad=False), np.ones((1, 1, 3, 3))
    )
    assert pooled(np.ones((2, 2), int), o.avg_pool2d, 2).dtype == np.dtype(config.floatX)


def test_first_maximum_takes_the_derivative() -> None:
    """At ties derivative and tangent belong to the first maximum in row-major order."""
    x = new_input("float64", (3, 4))
    a = np.array([[1.0, 2, 2, 0], [2, 1, 2, 0], [2, 2, 2, 2]])
    y = o.max_pool2d(x, 2, 1)
    v = new_input("float64", (2, 3))
    arrays = {x: a, v: np.arange(1.0, 7).reshape(2, 3)}
    (dx,) = eager.evaluate([grad((y * v).sum(), x)], arrays)
    # windows: 1 2/2 1 -> (0,1); 2 2/1 2 -> (0,1); 2 0/2 0 -> (0,2); second row of windows below
    assert np.array_equal(dx, [[0, 3, 3, 0], [4, 0, 5 + 6, 0], [0, 0, 0, 0]])
    t = new_input("float64", (3, 4))
    arrays[t] = np.arange(12.0).reshape(3, 4)
    (moved,) = eager.evaluate([Rop(y, x, t)], arrays)
    assert np.array_equal(moved, [[1, 1, 2], [4, 6, 6]])
    infinite = {x: np.full((3, 4), -np.inf), v: arrays[v]}
    (dx,) = eager.evaluate([grad((o.max_pool2d(x, 2, 1) * v).sum(), x)], infinite)
    assert dx.sum() == 21 and dx[0, 0] == 1


def test_curvature_through_convolution_and_pooling() -> None:
    """Hessian-vector product of a small network against differences of its gradient."""
    x, w = new_input("float64", X.shape), new_input("float64", W.shape)
    cost = o.square(o.tanh(o.max_pool2d(o.conv2d(x, w, padding="half"), 3, 2, 1))).sum()
    u = RNG.normal(size=W.shape)
    product, gradient = hvp(cost, w, u), grad(cost, w)
    (found,) = eager.evaluate([product], {x: X, w: W})
    ends = [eager.evaluate([gradient], {x: X, w: W + h * u})[0] for h in (1e-6, -1e-6)]
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-6, atol=1e-5)


def test_pool_errors() -> None:
    x = new_input("float64", (3, 4))
    with pytest.raises(ShapeError, match="does not fit"):
        o.max_pool2d(x, 5)
    with pytest.raises(ValueError, match="without any element"):
        o.max_pool2d(x, 2, padding=2)
    with pytest.raises(ShapeError, match="height"):
        o.avg_pool2d(new_input("float64", (3,)), 2)
    with pytest.raises(DTypeError, match="bool"):
        o.max_pool2d(new_input("bool", (3, 4)), 2)


def test_no_images() -> None:
    x, w = sg.tensor4("x", dtype="float64"), sg.tensor4("w", dtype="float64")
    y = sg.conv2d(x, w, padding=1, groups=2)
    values = [y, *sg.grad((y**2).sum(), [x, w])]
    filters = np.ones((4, 2, 3, 3))
    for mode in ("eager", "native"):
        found = sg.function([x, w], values, mode=mode)(np.zeros((0, 4, 5, 5)), filters)
        assert [a.shape for a in found] == [(0, 4, 5, 5), (0, 4, 5, 5), filters.shape]
        assert not found[2].any()
