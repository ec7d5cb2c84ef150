"""Structured matrices, polar factors and equations in batches, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import symgraph as sg

RNG = np.random.default_rng(0)
SQUARE = RNG.normal(size=(3, 4, 4))
POSITIVE = SQUARE @ SQUARE.transpose(0, 2, 1) + 4 * np.eye(4)
ROWS, OTHER = RNG.normal(size=(2, 3, 4))
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "toeplitz": (sg.linalg.toeplitz, scipy.linalg.toeplitz, (ROWS, OTHER)),
    "hankel": (sg.linalg.hankel, scipy.linalg.hankel, (ROWS,)),
    "circulant": (sg.linalg.circulant, scipy.linalg.circulant, (ROWS,)),
    "polar unitary": (
        lambda a: sg.linalg.polar(a)[0], lambda a: scipy.linalg.polar(a)[0], (SQUARE,)
    ),
    "polar positive": (
        lambda a: sg.linalg.polar(a)[1], lambda a: scipy.linalg.polar(a)[1], (SQUARE,)
    ),
    "solve_sylvester": (
        sg.linalg.solve_sylvester,
        scipy.linalg.solve_sylvester,
        (SQUARE, SQUARE[:, :2, :2] + 9 * np.eye(2), SQUARE[:, :, :2]),
    ),
    "expm_frechet": (
        lambda a, e: sg.linalg.expm_frechet(a, e)[1],
        lambda a, e: scipy.linalg.expm_frechet(a, e)[1],
        (SQUARE * 0.3, POSITIVE * 0.1),
    ),
    "zeta": (sg.special.zeta, scipy.special.zeta, (np.abs(ROWS) + 1.5,)),
    "spence": (sg.special.spence, scipy.special.spence, (np.abs(ROWS) + 0.3,)),
}  # fmt: skip


def variables(arrays: tuple[np.ndarray, ...], first: int) -> list[Any]:
    return [sg.tensor(f"a{i}", a.shape[first:], "float64") for i, a in enumerate(arrays)]


@pytest.mark.parametrize("name", CASES)
def test_batches_are_stacked_results(name: str) -> None:
    ours, reference, arrays = CASES[name]
    inputs = variables(arrays, 0)
    found = sg.function(inputs, sg.vmap(ours)(*inputs))(*arrays)
    wanted = [reference(*(a[k] for a in arrays)) for k in range(len(arrays[0]))]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_differences_of_the_reference(name: str) -> None:
    ours, reference, arrays = CASES[name]
    inputs, point = variables(arrays, 1), [a[0] for a in arrays]
    weights = RNG.normal(size=np.shape(reference(*point)))
    gradients = sg.grad((ours(*inputs) * weights).sum(), inputs)
    f = sg.function(inputs, gradients, on_unused_input="ignore")
    for i, found in enumerate(f(*point)):
        for place in np.ndindex(*found.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [a.copy() for a in point]
                moved[i][place] += step
                ends.append((reference(*moved) * weights).sum())
            assert abs(found[place] - (ends[0] - ends[1]) / 2e-6) < 1e-5 * (1 + abs(found[place]))
