"""Hundreds of operations one after the other: kernels are cut, passes do not run out of stack."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg

STEPS = {
    "affine": lambda m, y, k: y * 0.999 + 0.1,
    "tanh": lambda m, y, k: m.tanh(y + 0.01 * (k % 7)),
    "where": lambda m, y, k: m.where(y > 0.5, y - 0.25, y + 0.375),
    "two readers": lambda m, y, k: y + 0.01 * m.sin(y),
}
START = np.linspace(-1, 1, 37)


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("name", sorted(STEPS))
def test_values(name, shapes):
    x = sg.vector("x", dtype="float64")
    y, wanted = x, START
    for k in range(700):
        y, wanted = STEPS[name](sg, y, k), STEPS[name](np, wanted, k)
    f = sg.function([x], y, shapes=shapes)
    np.testing.assert_allclose(f(START), wanted, rtol=1e-12)


READERS = {
    "itself": lambda m, y: y,
    "sum": lambda m, y: y.sum(1),
    "cumsum": lambda m, y: m.cumsum(y, 1),
    "sort": lambda m, y: m.sort(y, 1),
    "concatenate": lambda m, y: m.concatenate([y, y], 1),
    "product": lambda m, y: y @ y.T,
}


@pytest.mark.parametrize("shape", [(6, 10), (None, 10)])
@pytest.mark.parametrize("reader", sorted(READERS))
def test_views_that_nothing_joins(reader, shape):
    x = sg.tensor("x", shape, "float64")
    y, wanted = x, np.arange(60.0).reshape(6, 10)
    for _ in range(120):
        y, wanted = y.T.reshape(x.shape)[::-1], wanted.T.reshape(6, 10)[::-1]
    f = sg.function([x], READERS[reader](sg, y))
    np.testing.assert_array_equal(f(np.arange(60.0).reshape(6, 10)), READERS[reader](np, wanted))


def test_gradient():
    x, y, slope, at = sg.vector("x", dtype="float64"), None, np.ones(37), START
    y = x
    for _ in range(400):
        y = sg.sin(y) * 1.01
        slope, at = slope * np.cos(at) * 1.01, np.sin(at) * 1.01
    f = sg.function([x], [y, sg.grad(y.sum(), x)])
    for found, wanted in zip(f(START), (at, slope), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-300)


def test_sum_of_a_thousand_arguments():
    xs = [sg.vector(f"x{k}", dtype="float64") for k in range(1000)]
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    values = [np.full(3, float(k)) for k in range(1000)]
    assert (sg.function(xs, total)(*values) == 499_500).all()
