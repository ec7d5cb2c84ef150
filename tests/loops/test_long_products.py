"""Products of few results and long sums are cut: threads share the chunks, in any number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.native import pool
from symgraph.debug import stages
from symgraph.loops.long_products import FEW_RESULTS, MOST_CHUNKS, cut_sum
from symgraph.loops.statements import LibraryCall

# rows, columns, terms: cut, cut unevenly, too short, too few columns for a call, too many results
PRODUCTS = [
    *((16, 20, 20_000), (64, 64, 4096), (5, 13, 30_001), (32, 17, 2050), (24, 40, 9_999)),
    *((16, 16, 700), (40, 12, 5000), (3, 50, 5000), (100, 90, 9000), (200, 20, 3000)),
]
FORMS: dict[str, Callable[[Any, Any], Any]] = {
    "columns": lambda x, y: x.T @ y,
    "of a result": lambda x, y: sg.tanh(x.T @ y / 100),
    "beside another": lambda x, y: sg.concatenate([x.T @ y, 2 * (x.T @ (y * y))], 0),
    "transposed": lambda x, y: (x.T @ y).T + 1,
}
# images, channels, size, filters, kernel, padding
CONVOLUTIONS = [
    *((32, 1, 28, 6, 5, 2), (17, 3, 20, 16, 3, 1), (33, 3, 32, 8, 5, 0), (8, 1, 28, 8, 3, 1)),
    *((2, 3, 40, 16, 3, 1), (1, 3, 64, 16, 3, 1), (12, 7, 30, 20, 3, 1)),
]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = pool.get_threads()
    yield
    pool.set_threads(before)


def results(f: sg.Function, *arrays: np.ndarray) -> list[np.ndarray]:
    """Return the results on one, two and four threads."""
    found = []
    for count in (1, 2, 4):
        pool.set_threads(count)
        found.append(np.array(f(*arrays)))
    return found


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("sizes", PRODUCTS)
@pytest.mark.parametrize("form", FORMS)
def test_values_and_bits_of_products(form: str, sizes: tuple[int, int, int]) -> None:
    m, n, k = sizes
    a, b = normal(k, m), normal(k, n)[::-1].copy()
    x, y = sg.matrix("x", "float32"), sg.matrix("y", "float32")
    value = FORMS[form](x, y)
    exact, generic = (sg.function([x, y], value, shapes=kind) for kind in ("exact", "generic"))
    found = results(exact, a, b) + results(generic, a, b)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    wide = sg.function([x, y], FORMS[form](*(sg.cast(v, "float64") for v in (x, y))))
    np.testing.assert_allclose(found[0], wide(a, b), rtol=2e-4, atol=2e-4 * k**0.5)


def filters(x: Any, y: Any, kernel: tuple[int, ...], padding: int) -> Any:
    """Return the gradient of sum(conv(x, w) * y) by the filters."""
    w = sg.zeros(kernel, "float32")
    return sg.grad((sg.conv2d(x, w, padding=padding) * y).sum(), w)


@pytest.mark.parametrize("sizes", CONVOLUTIONS)
def test_values_and_bits_of_gradients_by_filters(sizes: tuple[int, ...]) -> None:
    images, channels, size, count, kernel, padding = sizes
    out = size + 2 * padding - kernel + 1
    a, b = normal(images, channels, size, size), normal(images, count, out, out)
    x, y = (sg.tensor(name, (None,) * 4, "float32") for name in "xy")
    value = filters(x, y, (count, channels, kernel, kernel), padding)
    exact, generic = (sg.function([x, y], value, shapes=kind) for kind in ("exact", "generic"))
    found = results(exact, a, b) + results(generic, a, b)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    padded = np.pad(a.astype("float64"), ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
    expected = np.einsum("nchwpq,nohw->ocpq", windows, b.astype("float64"), optimize=True)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4 * (images * out**2) ** 0.5)


@pytest.mark.parametrize("sizes", [(16, 20, 20_000), (5, 13, 30_001)])
def test_updates_and_the_interpreter(sizes: tuple[int, int, int]) -> None:
    m, n, k = sizes
    a, b = normal(k, m), normal(k, n)
    x, y = sg.matrix("x", "float32"), sg.matrix("y", "float32")
    for shapes in ("exact", "generic"):
        w = sg.shared(np.ones((m, n), "float32"))
        sg.function([x, y], updates={w: x.T @ y}, shapes=shapes)(a, b)
        np.testing.assert_allclose(w.get_value(), a.T @ b, rtol=1e-3, atol=0.1)
    slow = sg.function([x, y], x.T @ y, mode="debug")
    np.testing.assert_allclose(slow(a, b), a.T @ b, rtol=1e-3, atol=0.1)


def units(value: Any) -> list[int]:
    """Return how many products each call of a product does."""
    program = stages.lowered((value,))[0].program
    assert program is not None
    calls = [t for t in program.statements if isinstance(t, LibraryCall)]
    return [int(np.prod(call.params[0][:-3])) for call in calls]


def test_only_long_sums_of_few_results_are_cut() -> None:
    def product(m: int, n: int, k: int) -> Any:
        return sg.tensor("x", (k, m), "float32").T @ sg.tensor("y", (k, n), "float32")

    assert units(product(16, 20, 32_000)) == [MOST_CHUNKS]
    assert units(product(16, 20, 32_001)) == [MOST_CHUNKS - 1, 1]
    assert units(product(16, 20, 700)) == units(product(100, 90, 30_000)) == [1]
    assert units(product(16, 200, 30_000)) == [1]
    x, y = sg.tensor("x", (32, 1, 28, 28), "float32"), sg.tensor("y", (32, 6, 28, 28), "float32")
    assert units(filters(x, y, (6, 1, 5, 5), 2)) == [16]


def test_chunks_cover_all_terms_and_are_never_empty() -> None:
    for steps in (0, 1, 2, 15, 16, 17, 31, 33, 1000):
        for terms in (1, 100, 784, 10_000):
            cut = cut_sum(16, 20, steps, terms)
            if cut is None:
                continue
            assert cut.whole * cut.length + cut.rest == steps
            assert 0 < cut.rest <= cut.length and 1 < cut.whole + 1 <= MOST_CHUNKS
    assert cut_sum(FEW_RESULTS, 2, 100_000, 1) is None
