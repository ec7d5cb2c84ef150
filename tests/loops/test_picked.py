"""A sum over one picked element of a row is that element: `symgraph/loops/picked.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.debug.stages import lowered
from symgraph.loops.expr import walk
from symgraph.loops.statements import Nest

ROWS, CLASSES = 6, 40


def picked(x: Any, labels: Any) -> Any:
    hits = sg.eq(labels[:, None], sg.arange(CLASSES, dtype=labels.dtype))
    return sg.where(hits, x, 0.0).sum(1)


def sums(results: list[Any]) -> list[Any]:
    """Return the sums over classes that a program takes."""
    stages, _ = lowered(results)
    assert stages.program is not None
    nests = [s for s in stages.program.statements if isinstance(s, Nest)]
    found = [e for n in nests for e in walk([t.value for t in n.stores]) if e.op == "reduce"]
    return [e for e in found if e.data[0] == "sum" and CLASSES in [a.extent for a in e.data[1]]]


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8"])
def test_values(dtype: str) -> None:
    """Out of range nothing is picked; what is not picked may be NaN; -0.0 is added to zeros."""
    x, labels = sg.matrix("x"), sg.tensor("labels", (None,), dtype)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((ROWS, CLASSES)).astype("float32")
    at = np.array([3, 0, CLASSES - 1, -1, CLASSES, 7], dtype)
    a[0, 3], a[1, 5], a[5, 7], a[2, 0] = -0.0, np.nan, np.inf, np.nan
    expected = [a[k, i] + 0 if 0 <= i < CLASSES else 0 for k, i in enumerate(at)]
    for shapes in ("exact", "generic"):
        got = sg.function([x, labels], picked(x + 0, labels), shapes=shapes)(a, at)
        np.testing.assert_array_equal(got, np.asarray(expected, "float32"))
        assert not np.signbit(got[0])


def test_no_sum_is_left() -> None:
    x, labels = sg.tensor("x", (ROWS, CLASSES)), sg.tensor("labels", (ROWS,), "int64")
    assert not sums([picked(x, labels)])
    assert len(sums([sg.cross_entropy(x, labels)])) == 1  # that of the exponentials
    hits = sg.eq(labels[:, None], sg.arange(CLASSES))
    assert sums([sg.where(hits, x, 1.0).sum(1)])  # ones beside it count
    assert sums([sg.where(sg.eq(labels[:, None], sg.arange(CLASSES) // 2), x, 0.0).sum(1)])


def test_rows_without_elements() -> None:
    x, labels = sg.matrix("x"), sg.lvector("labels")
    hits = sg.eq(labels[:, None], sg.arange(x.shape[1]))
    total = sg.where(hits, x, 0.0).sum(1)
    for shapes in ("exact", "generic"):
        f = sg.function([x, labels], total, shapes=shapes)
        np.testing.assert_array_equal(f(np.ones((3, 0), "float32"), np.zeros(3, "int64")), [0] * 3)
