"""Sums over a stack of several products are products over all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.walk import toposort
from symgraph.rewrites import optimise

DTYPE = "float64"


def inputs() -> tuple[Any, ...]:
    widths = {"x": 5, "y": 5, "g": 6, "h": 6}
    return tuple(sg.tensor(name, (4, 3, k), DTYPE) for name, k in widths.items())


def added(x: Any, y: Any, g: Any, h: Any) -> Any:
    return x.mT @ h + y.mT @ g


@pytest.mark.parametrize(
    "maker",
    [
        lambda x, y, g, h: added(x, y, g, h).sum(0),
        lambda x, y, g, h: (added(x, y, g, h) + (sg.tanh(x).mT @ g)).sum(0),
    ],
)
def test_each_is_one_product(maker: Any) -> None:
    nodes = inputs()
    value = maker(*nodes)
    left = [n for n in toposort(optimise([value])) if n.op.name == "matmul"]
    assert left and all(n.ndim == 2 for n in left)
    arrays = [np.random.default_rng(k).standard_normal(n.type.shape) for k, n in enumerate(nodes)]
    x, y, g, h = arrays
    wanted = np.einsum("tki,tkj->ij", x, h) + np.einsum("tki,tkj->ij", y, g)
    if len(left) == 3:
        wanted += np.einsum("tki,tkj->ij", np.tanh(x), g)
    np.testing.assert_allclose(sg.function(list(nodes), value)(*arrays), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    "maker",
    [
        lambda x, y, g, h: added(x, y, g, h).sum((0, 1)),  # not over the stack
        lambda x, y, g, h: (added(x, y, g, h) + 1).sum(0),  # another term
        lambda x, y, g, h: added(x, y, g, h).sum(0) + added(x, y, g, h)[0],  # read again
    ],
)
def test_other_sums_stay(maker: Any) -> None:
    value = maker(*inputs())
    left = [n for n in toposort(optimise([value])) if n.op.name == "matmul"]
    assert all(n.ndim == 3 for n in left)


def test_a_hessian_vector_product_of_a_recurrence() -> None:
    """Against the difference of two gradients."""
    rng = np.random.default_rng(3)
    given, start = rng.standard_normal((6, 4, 3)), rng.standard_normal((5, 5)) * 0.4
    x, w, v = sg.tensor3("x", DTYPE), sg.matrix("w", DTYPE), sg.matrix("v", DTYPE)
    inner = rng.standard_normal((3, 5))
    states = sg.scan(lambda a, s: sg.tanh(a @ inner + s @ w), x, [sg.zeros((4, 5), DTYPE)])
    cost = (states * states).sum()
    f = sg.function([x, w, v], sg.hvp(cost, [w], [v])[0])
    gradient = sg.function([x, w], sg.grad(cost, w))
    direction, step = rng.standard_normal((5, 5)), 1e-6
    ends = [gradient(given, start + s * step * direction) for s in (1, -1)]
    wanted = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(f(given, start, direction), wanted, rtol=1e-5, atol=1e-6)
