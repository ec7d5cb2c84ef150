"""Products by loops whose reader turns them round: stored first, then transposed."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg


@pytest.mark.parametrize(("m", "k", "n"), [(300, 16, 8), (50, 32, 50), (100, 100, 12)])
def test_a_transposed_product_is_computed_along_its_rows(m: int, k: int, n: int) -> None:
    x, w = sg.tensor("x", (m, k), "float64"), sg.tensor("w", (k, n), "float64")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    plain = sg.function([x, w], x @ w)(a, b)
    for value, want in (
        ((x @ w).T, plain.T),
        (w.T @ x.T, plain.T),
        (sg.exp(x @ w).T + 1.0, sg.function([x, w], sg.exp(x @ w) + 1.0)(a, b).T),
    ):
        f = sg.function([x, w], value)
        np.testing.assert_array_equal(f(a, b), want)
        assert len(f.compiled.version_list[0].stages.program.statements) == 2
        assert "runs across its rows" in f.explain()


def test_short_sums_and_vectors_stay_in_their_reader() -> None:
    x = sg.tensor("x", (300, 4), "float64")
    a = np.random.default_rng(0).normal(size=(300, 4))
    for w in (np.ones((4, 8)), np.ones((4, 1))):
        f = sg.function([x], (x @ sg.as_tensor(w)).T)
        np.testing.assert_allclose(f(a), (a @ w).T, rtol=1e-14)
        assert len(f.compiled.version_list[0].stages.program.statements) == 1
