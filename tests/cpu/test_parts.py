"""The rest of a vector is stored in parts where masked stores are slow: all of it, nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.native import jit
from symgraph.testing.samples import SAMPLES, emitted

UNTOUCHED = 77


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_each_element_of_a_row_is_stored_and_none_behind(
    dtype: str, shapes: str, cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = jit.target(cpu=cpu)
    monkeypatch.setattr(jit, "target", lambda: other)
    x, b = sg.tensor("x", (None, None), dtype), sg.tensor("b", (None,), dtype)
    f = sg.function([x, b], [x + b, x * b], shapes=shapes)
    for columns in range(2, 36):
        a = np.arange(3 * columns).reshape(3, columns).astype(dtype)
        row = np.arange(columns).astype(dtype) - 5
        whole = [np.full((4, columns), UNTOUCHED, dtype) for _ in range(2)]
        f(a, row, out=[w[:3] for w in whole])
        for found, expected in zip(whole, (a + row, a * row), strict=True):
            np.testing.assert_array_equal(found[:3], expected)
            assert (found[3] == UNTOUCHED).all(), columns


@pytest.mark.parametrize(("vector_bytes", "masked"), [(16, False), (32, False), (64, True)])
def test_machines_with_fast_masks_keep_them(vector_bytes: int, masked: bool) -> None:
    text = emitted(SAMPLES["softmax"](), vector_bytes).text
    assert ("masked.store" in text) is masked
