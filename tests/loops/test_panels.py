"""Products of a vector with a matrix in every step, of copies in panels, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.loops.columns import columns_of_pass
from symgraph.loops.panels import product_of

STEPS = 20


def close(found: Any, wanted: Any) -> None:
    scale = 1e-5 if found.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found, wanted, rtol=scale, atol=scale)


def arrays(*shapes: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(s) / np.sqrt(s[-1])).astype(dtype) for s in shapes]


def tensors(names: str, *values: np.ndarray) -> list[Any]:
    return [sg.tensor(k, a.shape, a.dtype) for k, a in zip(names, values, strict=True)]


def gated(product: Any, n: int, columns: int, m: Any) -> Any:
    """A state of n from a product of any number of columns."""
    return m.tanh(product[:n] + product[columns - n :] * product[(columns - n) // 2 :][:n])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("n", "columns"), [(128, 384), (96, 240), (100, 300), (48, 48), (130, 260)]
)
def test_products_of_large_matrices(n: int, columns: int, transposed: bool, dtype: str) -> None:
    shape = (columns, n) if transposed else (n, columns)
    xs, hs, us = arrays((STEPS, n), (n,), shape, dtype=dtype, seed=n)
    x, h, u = tensors("xhu", xs, hs, us)

    def step(row: Any, state: Any) -> Any:
        product = u @ state if transposed else state @ u
        return gated(product, n, columns, sg) + row

    state, wanted = hs, []
    for row in xs:
        product = (us if transposed else us.T).astype("float64") @ state
        state = (gated(product, n, columns, np) + row).astype(dtype)
        wanted.append(state)
    close(sg.function([x, h, u], sg.scan(step, x, h))(xs, hs, us), wanted)


@pytest.mark.parametrize("n", [40, 96, 128])
def test_gradients_read_the_transposed_matrix(n: int) -> None:
    xs, hs, us = arrays((STEPS, n), (n,), (n, 3 * n), seed=n)
    x, h, u = tensors("xhu", xs, hs, us)
    states = sg.scan(lambda row, s: gated(s @ u, n, 3 * n, sg) + row, x, h)
    gradients = sg.grad((states**2).sum(), [x, h, u])
    f = sg.function([x, h, u], gradients)
    wanted = sg.function([x, h, u], gradients, mode="eager")(xs, hs, us)
    for a, b in zip(f(xs, hs, us), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4 * np.abs(b).max())
    assert "t[" in f.explain("loops")


def test_a_matrix_that_the_outer_loop_makes_is_read_as_it_is() -> None:
    """The panels of what changes with the outer step would be those of the first one."""
    n = 128
    xs, hs, us = arrays((20, 3, n), (n,), (n, 2 * n))
    x, h, u = tensors("xhu", xs, hs, us)

    def outer(rows: Any, state: Any) -> Any:
        own = u * sg.cos(rows[0, 0])
        return sg.scan(lambda r, s: gated(s @ own, n, 2 * n, sg) + r, rows, state)[-1]

    state, wanted = hs, []
    for rows in xs:
        own = us * np.cos(rows[0, 0])
        for row in rows:
            state = gated(state @ own, n, 2 * n, np) + row
        wanted.append(state)
    close(sg.function([x, h, u], sg.scan(outer, x, h))(xs, hs, us), np.array(wanted))


def test_a_state_that_is_a_matrix_is_read_as_it_is() -> None:
    n = 128
    xs, ms = arrays((STEPS, n), (n, n))
    x, m = tensors("xm", xs, ms)
    last = sg.scan(lambda row, s: 0.5 * s + sg.outer(row, row @ s), x, m)[-1]
    wanted = ms.astype("float64")
    for row in xs:
        wanted = 0.5 * wanted + np.outer(row, row @ wanted)
    close(sg.function([x, m], last)(xs, ms), wanted.astype("float32"))


def test_one_matrix_in_two_shapes_has_two_copies() -> None:
    xs, us = arrays((STEPS, 384), (128, 384))
    x, u = tensors("xu", xs, us)

    def step(row: Any, s: Any, t: Any, m: Any, first: Any, second: Any) -> list[Any]:
        return [m.tanh(row + t[:128] @ first), m.tanh(s[:96] @ second)]

    start = sg.zeros(512, "float32")
    found = sg.scan(
        lambda row, s, t: step(row, s, t, sg, u, u.reshape((96, 512))), x, [x[0], start]
    )
    f = sg.function([x, u], found)
    s, t, wanted = xs[0], np.zeros(512, "float32"), []
    for row in xs:
        s, t = step(row, s, t, np, us, us.reshape(96, 512))
        wanted.append((s, t))
    for a, b in zip(f(xs, us), zip(*wanted, strict=True), strict=True):
        close(a, np.array(b))
    text = f.explain("loops")
    assert "u1p[" in text and "u1p1[" in text


def test_few_steps_copy_nothing() -> None:
    x, u = sg.tensor("x", (128,), "float32"), sg.tensor("u", (128, 384), "float32")
    few = sg.scan(lambda s: gated(s @ u, 128, 384, sg), None, x, n_steps=3)
    f = sg.function([x, u], few)
    f(*arrays((128,), (128, 384)))
    assert "u1p" not in f.explain("loops")


@pytest.mark.parametrize(
    ("columns", "size", "width"),
    [(384, 512, 96), (384, 256, 192), (128, 512, 64), (240, 800, 80), (90, 9, 0), (96, 16384, 96)],
)  # fmt: skip
def test_a_pass_takes_what_the_near_cache_holds(columns: int, size: int, width: int) -> None:
    assert columns_of_pass(columns, 16, size) == width


def test_only_whole_matrices_are_products() -> None:
    """Rows of a part of a matrix are not copied."""
    xs, hs, us = arrays((20, 64), (64,), (70, 256))
    x, h, u = tensors("xhu", xs, hs, us)
    f = sg.function([x, h, u], sg.scan(lambda r, s: gated(s @ u[3:67], 64, 256, sg) + r, x, h))
    state, wanted = hs, []
    for row in xs:
        state = gated(state @ us[3:67], 64, 256, np) + row
        wanted.append(state)
    close(f(xs, hs, us), np.array(wanted))
    nests = [t for s in f.compiled.version_list[0].stages.program.statements
             for t in getattr(s, "body", ())]  # fmt: skip
    assert all(product_of(t) is None or product_of(t).load.data.name != "u2" for t in nests)
