"""Random loops against the interpreter: values, gradients and Hessian-vector products.

A step has one to three states with random taps, each a random expression of the row, the states and
what the step has made already; some have inner loops, products, conditions to stop.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import symgraph as sg

CASES = 24
FULL_CASES = 400
SIZES = [1, 2, 3, 4, 5, 8, 16, 17, 24, 32, 33]
TAPS = [[-1], [-1], [-1], [-2, -1], [-3, -1]]


def expression(draw: random.Random, pool: list[Any], product: Any) -> Any:
    """Return a random value of the size of those in `pool`."""
    e = draw.choice(pool)
    for _ in range(draw.randint(1, 5)):
        o = draw.choice(pool)
        makers = [
            lambda e, o: sg.tanh(e),
            lambda e, o: e * o * 0.5,
            lambda e, o: e * 0.5 + o,
            lambda e, o: sg.sigmoid(e) - o * 0.3,
            lambda e, o: sg.maximum(e, 0.3),
            lambda e, o: sg.minimum(0.7, e),
            lambda e, o: e + o.mean(),
            lambda e, o: sg.sqrt((o * o).sum() + 1) * 0.1 + e * 0.3,
            lambda e, o: (sg.abs(e) + 0.5) ** (1 / 3) * 0.5,
            lambda e, o: product(o) + 0.1 * e,
            lambda e, o: sg.where(o > 0, e, e * 0.5),
            lambda e, o: e[::-1] * 0.9,
            lambda e, o: sg.concatenate([e[1:], o[:1]]),
            lambda e, o: e - o.max() * 0.1,
            lambda e, o: e * 0.5 + o[0],
            lambda e, o: sg.sin(e) + (o * e).sum() * 0.05,
        ]
        e = draw.choice(makers)(e, o)
    return sg.tanh(e) if draw.random() < 0.7 else e * 0.3


class Case:
    """A loop with its inputs, their values, and what is compared."""

    def __init__(self, seed: int) -> None:
        draw, rng = random.Random(seed), np.random.default_rng(seed)
        dtype, size = draw.choice(["float32", "float64"]), draw.choice(SIZES)
        steps, count = draw.choice([1, 2, 3, 6, 9]), draw.choice([1, 1, 2, 3])
        self.tolerance = 3e-3 if dtype == "float32" else 1e-8
        x, u = sg.tensor("x", (steps, size), dtype), sg.tensor("u", (size, size), dtype)
        taps = [draw.choice(TAPS) for _ in range(count)]
        shapes = [(size,) if t == [-1] else (-t[0], size) for t in taps]
        states = [sg.tensor(f"s{k}", shape, dtype) for k, shape in enumerate(shapes)]
        starts = [
            s if t == [-1] else {"initial": s, "taps": t} for s, t in zip(states, taps, strict=True)
        ]
        product = (lambda o: sg.tanh(o @ u)) if draw.random() < 0.5 else sg.cos
        body, inner, stops = draw.random(), draw.random() < 0.15, draw.random() < 0.15

        def step(row: Any, *states: Any) -> Any:
            draw = random.Random(body)
            pool, new = [row, *states], []
            for k in range(count):
                e = expression(draw, pool + new[: draw.randint(0, len(new))], product)
                if inner and k == 0:
                    e = sg.scan(lambda h, e=e: sg.tanh(h * 0.5 + e), outputs_info=states[0],
                                n_steps=2)[-1]  # fmt: skip
                new.append(e)
            outputs = [*new, expression(draw, pool + new, product)]
            return (outputs, sg.until(new[0].sum() > 0.6 * size)) if stops else outputs

        results = list(sg.scan(step, x, [*starts, None], go_backwards=draw.random() < 0.2))
        self.inputs = [x, u, *states]
        self.values = [rng.normal(size=i.type.shape).astype(dtype) for i in self.inputs]
        self.values[1] *= 0.3
        weights = [sg.as_tensor(rng.normal(size=size).astype(dtype)) for _ in results]
        pairs = zip(weights, results, strict=True)
        loss = sum((w * r).sum() + (r * r).sum() * 0.1 for w, r in pairs)
        along = [sg.as_tensor(v * 0.5) for v in self.values]
        slopes = sg.grad(loss, self.inputs, disconnected_inputs="ignore")
        turned = sum((g * v).sum() for g, v in zip(slopes, along, strict=True))
        second = sg.grad(turned, self.inputs, disconnected_inputs="ignore")
        self.wanted = [results, [r[-1] for r in results], slopes, second]

    def check(self) -> None:
        for wanted in self.wanted:
            reference = self._run(wanted, mode="eager")
            for shapes in ("exact", "generic") if wanted is not self.wanted[-1] else ("exact",):
                for got, want in zip(self._run(wanted, shapes=shapes), reference, strict=True):
                    scale = 1e-3 + np.abs(want).max(initial=0)
                    np.testing.assert_allclose(got / scale, want / scale, atol=self.tolerance)

    def _run(self, wanted: list[Any], **options: str) -> list[Any]:
        f = sg.function(self.inputs, wanted, on_unused_input="ignore", **options)
        results: list[Any] = f(*self.values)
        return results


@pytest.mark.parametrize("seed", range(CASES))
def test_random_loops(seed: int) -> None:
    Case(seed).check()


def test_more_random_loops(full: bool) -> None:
    for seed in range(CASES, FULL_CASES if full else CASES):
        Case(seed).check()


def test_traces_that_are_added_while_others_are_removed() -> None:
    """Rows that move behind the loop need the states of two taps: each its own trace."""
    x, s = sg.tensor("x", (3, 5), "float64"), sg.tensor("s", (2, 5), "float64")

    def step(row: Any, before: Any, last: Any) -> list[Any]:
        a = sg.tanh(sg.abs(row) - last.max())
        return [sg.tanh(before * 0.5 + last[::-1]), a, sg.tanh(sg.maximum(before, 0.0) - a.max())]

    rows = sg.scan(step, x, [{"initial": s, "taps": [-2, -1]}, None, None])
    values = [np.random.default_rng(0).normal(size=n) for n in ((3, 5), (2, 5))]
    native = sg.function([x, s], list(rows))(*values)
    eager = sg.function([x, s], list(rows), mode="eager")(*values)
    for got, want in zip(native, eager, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_a_sum_under_a_condition_of_another_sum() -> None:
    """An element put into zeros is read by a sum, under a test of that sum's own place."""
    x, h = sg.tensor("x", (3,), "float64"), sg.tensor("h", (3,), "float64")
    a = (h * h).sum() + h
    loss = sg.exp(x + a[0]).sum() + (a * x).sum()
    second = sg.grad((sg.grad(loss, h) * x).sum(), h)
    values = [np.random.default_rng(k).normal(size=3) for k in range(2)]
    got = sg.function([x, h], second)(*values)
    want = sg.function([x, h], second, mode="eager")(*values)
    np.testing.assert_allclose(got, want, rtol=1e-12)
