"""Random programs on square matrices: native results against the NumPy references.

Transposes, sums, products, running sums and softmaxes read each other, by themselves, in gradients
and in the steps of scans, for sizes around those of vectors, tiles and strips.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg

SIZES = (2, 3, 5, 16, 17, 33, 40, 130, 150)
TOLERANCE = {"float32": 5e-3, "float64": 1e-7}
OPERATIONS: tuple[Any, ...] = (
    lambda a, b: a.T,
    lambda a, b: sg.tanh(a) + b.T,
    lambda a, b: a * b.T,
    lambda a, b: a - a.mean(1, keepdims=True),
    lambda a, b: a / (1 + sg.abs(b.sum(0))),
    lambda a, b: a.sum(0)[:, None] * 0.1 + b,
    lambda a, b: (a @ b) * 0.05,
    lambda a, b: sg.erf(a) * b,
    lambda a, b: sg.where(a > b.T, a, b),
    lambda a, b: a.max(1, keepdims=True) - b,
    lambda a, b: (a * b).sum(0) + a.sum(0) + b,
    lambda a, b: sg.cumsum(a, 0) * 0.1,
    lambda a, b: a[::-1].T * 0.5 + b,
    lambda a, b: sg.softmax(a.T, 0) + b,
)


def program(rng: np.random.Generator, x: Any, y: Any) -> tuple[Any, Any]:
    """Return the last two of a random list of values."""
    values = [x, y]
    for _ in range(int(rng.integers(2, 8))):
        a, b = (values[k] for k in rng.integers(len(values), size=2))
        values.append(OPERATIONS[rng.integers(len(OPERATIONS))](a, b))
    return values[-1], values[-2]


def results(seed: int, x: Any, y: Any) -> list[Any]:
    """Return the results of a seed: values, gradients, states of a scan or gradients of these."""
    kind, found = seed % 4, program(np.random.default_rng(seed), x, y)
    if kind >= 2:

        def step(h: Any, k: Any) -> list[Any]:
            return [sg.tanh(v) for v in program(np.random.default_rng(seed), h, k)]

        found = tuple(s[-1] for s in sg.scan(step, outputs_info=[x, y], n_steps=3))
    if kind % 2 == 0:
        return list(found)
    loss = (found[0] ** 2).sum() * 0.01 + sg.sin(found[1]).sum()
    return sg.grad(loss + 0 * (x + y).sum(), [x, y])


def check(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(1000 + seed)
    n = int(rng.choice(SIZES))
    x, y = (sg.matrix(name, dtype) for name in "xy")
    a, b = (rng.standard_normal((n, n)).astype(dtype) for _ in range(2))
    outputs = results(seed, x, y)
    wanted = sg.function([x, y], outputs, mode="eager", on_unused_input="ignore")(a, b)
    for shapes in ("exact", "generic"):
        with sg.config.override(plans=False):
            f = sg.function([x, y], outputs, shapes=shapes, on_unused_input="ignore")
        for got, want in zip(f(a, b), wanted, strict=True):
            limit = TOLERANCE[dtype]
            scale = max(1.0, float(np.abs(want).max()))
            np.testing.assert_allclose(got, want, limit, limit * scale, err_msg=f"{seed} {shapes}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(12))
def test_native_results_are_those_of_the_references(seed: int, dtype: str) -> None:
    check(seed, dtype)


@pytest.mark.slow
def test_more_of_them() -> None:
    for seed in range(100, 400):
        check(seed, "float64")
