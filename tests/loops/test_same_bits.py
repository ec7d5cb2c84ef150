"""A version for exact sizes and one for run-time sizes add in the same order: equal bits.

Not for products of matrices: small ones are loops where sizes are known, a library call elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg

MATRICES = [
    *((1, 7), (2, 2), (3, 5), (7, 3), (16, 16), (33, 70), (100, 100), (5, 1000), (700, 6)),
    *((64, 32), (3, 256)),  # by a power of two is multiplied, where that is known
]
SHORT_ROWS = [(7, 3), (40, 3), (5, 4), (3, 4), (9, 2), (4, 200), (200, 5)]
LONG = [(3, 40000), (40000, 3), (200, 300), (1, 70001)]


def layer_norm(x: Any) -> Any:
    centred = x - sg.mean(x, 1, keepdims=True)
    return centred / sg.sqrt(sg.mean(centred * centred, 1, keepdims=True) + 1e-5)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sum rows": lambda x: sg.sum(x, 1),
    "sum columns": lambda x: sg.sum(x, 0),
    "sum all": sg.sum,
    "mean all": sg.mean,
    "weighted columns": lambda x: sg.sum(x[:, :1] * x, 0),
    "square sum": lambda x: sg.sum(x * x),
    "product rows": lambda x: sg.prod(1 + 0.01 * x, 1),
    "scaled rows": lambda x: sg.sum(x * x, 1) / 3 + 1,
    "softmax": lambda x: sg.softmax(x, 1),
    "softmax columns": lambda x: sg.softmax(x, 0),
    "log softmax": lambda x: sg.log_softmax(x, 1),
    "logsumexp": lambda x: sg.logsumexp(x, 1),
    "layer norm": layer_norm,
    "layer norm gradient": lambda x: sg.grad(sg.sum(layer_norm(x) * x[0] * x), x),
    "by the norm of rows": lambda x: x / sg.sqrt(sg.sum(x * x, 1, keepdims=True)),
    "standard deviation": lambda x: sg.std(x, 1),
    "tiled": lambda x: sg.sum(sg.tile(x, (2, 1)), 1),
    "factor of a mean": lambda x: sg.grad(sg.mean((0.3 * x + sg.sum(x, 0)) ** 2), x),
    "gradient": lambda x: sg.grad(sg.sum(sg.softmax(x, 1) ** 2), x),
}


def both(f: Callable[..., Any], *arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the results of the exact and of the generic version."""
    xs = [sg.tensor(f"x{k}", (None,) * a.ndim, str(a.dtype)) for k, a in enumerate(arrays)]
    value = f(*xs)
    exact, generic = (sg.function(xs, value, shapes=kind) for kind in ("exact", "generic"))
    results = exact(*arrays), generic(*arrays)
    assert exact.versions()[0]["kind"] == "exact"
    assert generic.versions()[0]["kind"] == "generic"
    return results


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes_known_or_not_give_the_same_bits(name: str, dtype: str) -> None:
    rng = np.random.default_rng(5)
    for shape in MATRICES + SHORT_ROWS:
        x = rng.standard_normal(shape).astype(dtype)
        a, b = both(FUNCTIONS[name], x)
        np.testing.assert_array_equal(a, b, err_msg=f"{name} {shape}")


@pytest.mark.parametrize("shape", LONG, ids=str)
@pytest.mark.parametrize("name", ["sum rows", "sum columns", "sum all", "mean all", "square sum"])
def test_long_sums_are_cut_the_same_way(name: str, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(6).standard_normal(shape).astype(np.float32)
    a, b = both(FUNCTIONS[name], x)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("length", [2, 8191, 8192, 32767, 32768, 32769, 40960, 100003])
def test_vector_sums_around_the_cuts(length: int) -> None:
    x = np.random.default_rng(7).standard_normal(length).astype(np.float32)
    for f in (sg.sum, lambda v: sg.sum(v * v), sg.max, lambda v: sg.sum(sg.exp(v))):
        a, b = both(f, x)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2])
def test_transpositions_of_any_size(threads: int) -> None:
    """Tiles, their rest, and the rest of the vectors, also in parts of a parallel loop."""
    shapes = [(m, n) for m in (1, 7, 8, 9, 17) for n in (1, 3, 8, 15, 16, 33)]
    shapes += [(1000, 1003), (999, 1001), (1024, 1000), (5, 300_001), (300_001, 5)]
    x, y = sg.matrices("x", "y")
    value = [x.T, x.T * 2 + y, sg.exp(x.T - y)]
    sg.set_threads(threads)
    try:
        exact, generic = (sg.function([x, y], value, shapes=k) for k in ("exact", "generic"))
        for m, n in shapes:
            rng = np.random.default_rng(m * n)
            a = rng.standard_normal((m, n)).astype(np.float32)
            b = rng.standard_normal((n, m)).astype(np.float32)
            first, second = exact(a, b), generic(a, b)
            np.testing.assert_array_equal(first[0], a.T)
            np.testing.assert_array_equal(first[1], a.T * 2 + b)
            for p, q in zip(first, second, strict=True):
                np.testing.assert_array_equal(p, q, err_msg=f"{m}x{n}")
    finally:
        sg.set_threads(2)


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_transpositions_of_integers(bits: int) -> None:
    for m, n in [(3, 5), (8, 8), (17, 9), (31, 70)]:
        x = np.random.default_rng(bits).integers(-100, 100, (2, m, n)).astype(f"int{bits}")
        a, b = both(lambda v: sg.permute_dims(v, (2, 0, 1)) + 1, x)
        np.testing.assert_array_equal(a, np.transpose(x, (2, 0, 1)) + 1)
        np.testing.assert_array_equal(a, b)


def norm(x: Any) -> Any:
    return (x - sg.mean(x, 1, keepdims=True)) / sg.sqrt(sg.var(x, 1, keepdims=True) + 1)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: sg.grad(sg.sum(sg.exp(norm(norm(x)))), x),
        lambda x: sg.grad(sg.sum(norm(norm(x)) ** 2 * x), x),
        lambda x: x * x[:1] + sg.sum(x * x[:1], 1, keepdims=True),
    ],
    ids=["exp", "square", "stored"],
)
def test_products_that_are_summed_and_used_again(f: Any) -> None:
    """They were added unrounded where they were not stored."""
    for shape in ((5, 40), (7, 50)):
        a, b = both(f, np.random.default_rng(0).standard_normal(shape))
        np.testing.assert_array_equal(a, b)


def scattered_at_maxima(x: Any) -> Any:
    return sg.zeros_like(x)[sg.arange(x.shape[0]), sg.argmax(x, 1)].inc(sg.exp(x).sum(1))


def product_curvature(x: Any) -> Any:
    weights = sg.reshape(sg.arange(x.shape[0] * x.shape[1]), x.shape)
    cost = (sg.cumprod(x, 0) ** 2 * weights).sum()
    return sg.grad(cost, x) + sg.hvp(cost, x, x)


@pytest.mark.parametrize("shape", [(4, 4), (4, 5), (5, 3), (3, 70), (40, 9), (64, 65)])
@pytest.mark.parametrize("f", [scattered_at_maxima, product_curvature])
def test_reductions_in_addresses_and_inside_short_rows(f: Any, shape: tuple[int, int]) -> None:
    """Such reductions are met late: in the place of a store, or in one element of a short row."""
    x = np.random.default_rng(8).uniform(0.5, 1.5, shape)
    for value in both(f, x):
        node = sg.dmatrix("x")
        np.testing.assert_allclose(value, f(node).eval({node: x}), rtol=1e-9)


def test_reductions_inside_short_rows_of_known_length() -> None:
    weights = np.arange(20.0).reshape(4, 5)
    x, u = sg.dmatrix("x"), sg.dmatrix("u")
    cost = (sg.cumprod(x, 0) ** 2 * weights).sum()
    f = sg.function([x, u], [sg.grad(cost, x), sg.hvp(cost, x, u)])
    a, b = np.random.default_rng(9).uniform(0.5, 1.5, (2, 4, 5))
    numeric = (f(a + 1e-6 * b, b)[0] - f(a - 1e-6 * b, b)[0]) / 2e-6
    np.testing.assert_allclose(f(a, b)[1], numeric, rtol=1e-6)
