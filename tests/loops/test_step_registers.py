"""States that go from step to step in registers: vectors of many sizes, in place or exchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg

STEPS = 7


def in_place(row: Any, s: Any, u: Any) -> list[Any]:
    """Each state is read where it is stored."""
    return [sg.tanh(0.9 * s + row), u * 0.5 + row]


def exchanged(row: Any, s: Any, u: Any) -> list[Any]:
    """What a step stores is read elsewhere too, so it needs a place of its own."""
    return [sg.sin(u) + s[::-1], s * 0.5 - row]


def read_in_parts(row: Any, s: Any, u: Any) -> list[Any]:
    """A sum, elements and the whole of one state are read."""
    return [s * 0.5 + row, u * s.mean() + s[0] - s[-1]]


def written_twice(row: Any, s: Any, u: Any) -> list[Any]:
    """One place of a state is stored again behind the whole."""
    return [sg.set_subtensor((s * 0.5)[0], row[-1]), sg.concatenate([u[1:], row[:1]])]


def placed(row: Any, s: Any, u: Any) -> list[Any]:
    """A vector is stored as a whole, then a value is added at a place from data."""
    counted = sg.inc_subtensor((s * row)[sg.argmax(row + s)], s[0])
    return [sg.tanh(s) * 0.5 + counted * row, sg.sin(u) + counted]


def inner_loop(row: Any, s: Any, u: Any) -> list[Any]:
    """A loop of the step reads a state of the outer one, and has its own."""
    inside = sg.scan(lambda t: sg.tanh(t + s) * 0.5, outputs_info=u, n_steps=3)
    return [s * 0.5 + inside[-1], inside[0] + row]


def conditional(row: Any, s: Any, u: Any) -> list[Any]:
    """A side of a branch makes a state."""
    return [sg.cond(row[0] > 0, lambda: s + row, lambda: s * u), u * 0.5 + s]


def dear(row: Any, s: Any, u: Any) -> list[Any]:
    """Gates, as those of a recurrent unit."""
    z = sg.sigmoid(row + s)
    return [(1 - z) * sg.tanh(u * z) + z * s, u + sg.maximum(z, 0.5)]


STEP_FUNCTIONS = [
    *(in_place, exchanged, read_in_parts, written_twice, placed, inner_loop, conditional, dear)
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [2, 5, 8, 16, 24, 32, 64])
@pytest.mark.parametrize("step", STEP_FUNCTIONS, ids=lambda f: f.__name__)
def test_states_of_many_sizes(step: Any, size: int, dtype: str) -> None:
    x = sg.tensor("x", (STEPS, size), dtype)
    s, u = (sg.tensor(n, (size,), dtype) for n in "su")
    rows = sg.scan(step, x, [s, u])
    slopes = sg.grad((rows[0] * rows[1]).sum(), [x, s, u])
    rng = np.random.default_rng(size)
    values = [rng.normal(size=n).astype(dtype) for n in ((STEPS, size), (size,), (size,))]
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for wanted in (rows, [r[-1] for r in rows], slopes):
        native = sg.function([x, s, u], wanted)(*values)
        eager = sg.function([x, s, u], wanted, mode="eager")(*values)
        for got, want in zip(native, eager, strict=True):
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_loop_of_few_steps(steps: int) -> None:
    n, s = sg.scalar("n", "int32"), sg.tensor("s", (16,), "float32")
    rows = sg.scan(sg.tanh, outputs_info=s, n_steps=n)
    value = np.linspace(-1, 1, 16, dtype="float32")
    found = sg.function([n, s], rows)(steps, value)
    want = [value := np.tanh(value) for _ in range(steps)]
    np.testing.assert_allclose(found, np.reshape(want, (steps, 16)), rtol=1e-6)


@pytest.mark.parametrize("columns", [8, 16, 32, 40, 64])
@pytest.mark.parametrize("terms", [3, 8, 17, 33])
def test_products_of_few_columns_add_in_chains(terms: int, columns: int) -> None:
    w = sg.tensor("w", (terms, columns), "float64")
    x = sg.tensor("x", (STEPS, terms), "float64")
    rows = sg.scan(lambda row, s: row @ w * 0.1 + s, x, sg.zeros((columns,), "float64"))
    moved = sg.scan(lambda row, s: sg.tanh((row + s.sum()) @ w), x, sg.zeros((columns,), "float64"))
    rng = np.random.default_rng(terms)
    values = [rng.normal(size=n) for n in ((STEPS, terms), (terms, columns))]
    native = sg.function([x, w], [rows, moved])(*values)
    eager = sg.function([x, w], [rows, moved], mode="eager")(*values)
    for got, want in zip(native, eager, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
