"""A loss over classes and its gradient take each exponential once, and rows of each in one nest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.debug.stages import lowered
from symgraph.loops.expr import walk
from symgraph.loops.statements import Nest

LARGE, SMALL = (300, 500), (20, 10)


def loss_and_gradient(x: Any, labels: Any) -> list[Any]:
    loss = sg.cross_entropy(x * 2, labels).mean()
    return [loss, sg.grad(loss, x)]


@pytest.mark.parametrize("shape", [LARGE, SMALL])
def test_one_nest_takes_exponentials(shape: tuple[int, int]) -> None:
    x, labels = sg.tensor("x", shape), sg.tensor("labels", shape[:1], "int64")
    stages, _ = lowered(loss_and_gradient(x, labels))
    assert stages.program is not None
    nests = [s for s in stages.program.statements if isinstance(s, Nest)]
    taking = [n for n in nests if any(e.op == "exp" for e in walk([t.value for t in n.stores]))]
    assert len(taking) == 1
    if shape == LARGE:  # no array of exponentials is stored
        assert all(b.size < shape[0] * shape[1] for b in stages.program.buffers
                   if b.kind == "temporary" and isinstance(b.size, int))  # fmt: skip


@pytest.mark.parametrize("shape", [LARGE, SMALL])
@pytest.mark.parametrize("shapes", ["exact", "generic"])
def test_values(shape: tuple[int, int], shapes: str) -> None:
    x, labels = sg.matrix("x"), sg.lvector("labels")
    rng = np.random.default_rng(0)
    a = rng.standard_normal(shape).astype("float32")
    at = rng.integers(-shape[1], shape[1], shape[0])
    loss, slope = sg.function([x, labels], loss_and_gradient(x, labels), shapes=shapes)(a, at)
    z = 2 * a.astype("float64")
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    rows = np.arange(shape[0])
    np.testing.assert_allclose(loss, -np.log(p[rows, at]).mean(), rtol=1e-6)
    p[rows, at] -= 1
    np.testing.assert_allclose(slope, 2 * p / shape[0], rtol=1e-4, atol=1e-9)


ROWS = [
    *([np.inf, 0], [-np.inf, -np.inf], [np.inf, -np.inf], [np.nan, 1], [np.inf, np.nan]),
    *([-np.inf, 1], [88.8, 89], [-1e4, -1e4]),
]


@pytest.mark.parametrize("row", ROWS)
def test_infinite_rows(row: list[float]) -> None:
    x = sg.vector("x")
    a = np.asarray(row, "float32")
    with np.errstate(invalid="ignore"):
        expected = np.logaddexp(*a.astype("float64"))
    got = sg.function([x], sg.logsumexp(x))(a)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
