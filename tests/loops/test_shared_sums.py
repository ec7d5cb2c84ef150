"""Two sums over the same elements are one pass: `symgraph/loops/fuse.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg

Maker = Callable[[Any, Any], list[Any]]
TOGETHER: dict[str, Maker] = {
    "columns": lambda x, y: [x.sum(0), (x * y).sum(0)],
    "rows": lambda x, y: [x.sum(1), (x * y).sum(1)],
    "of powers": lambda x, y: [(x * x).sum(0), (x**3).sum(0)],
    "scaled": lambda x, y: [2 * (x * y).sum(0), y.sum(0) + 1],
}
APART: dict[str, Maker] = {
    "one needs the other": lambda x, y: [x.sum(0), (x * x.sum(0)).sum(0)],
    "other axes": lambda x, y: [x.sum(0), x.sum(1)],
    "nothing shared": lambda x, y: [x.sum(0), y.sum(0)],
    "a largest one": lambda x, y: [x.sum(0), x.max(0)],
}
SHAPES = [(300, 70), (70, 300), (1, 5), (0, 4), (4000, 3)]


def function(maker: Maker, shapes: str, shape: tuple[int | None, ...] = (None, None)) -> Any:
    x, y = (sg.tensor(n, shape, "float32") for n in "xy")
    with sg.config.override(plans=False):
        return sg.function([x, y], maker(x, y), shapes=shapes, on_unused_input="ignore")


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("name", [*TOGETHER, *APART])
def test_values_are_those_of_each_alone(name: str, shapes: str) -> None:
    """To the bit: the order of a sum does not depend on what shares its loop."""
    maker = (TOGETHER | APART)[name]
    both = function(maker, shapes)
    alone = [function(lambda x, y, k=k: [maker(x, y)[k]], shapes) for k in range(2)]
    for shape in SHAPES:
        a, b = (np.random.default_rng(k).standard_normal(shape, np.float32) for k in range(2))
        if name == "a largest one" and not shape[0]:
            continue
        for got, f in zip(both(a, b), alone, strict=True):
            np.testing.assert_array_equal(got, f(a, b)[0])


@pytest.mark.parametrize("name", [*TOGETHER, *APART])
def test_what_is_merged(name: str) -> None:
    f = function((TOGETHER | APART)[name], "exact", (300, 70))
    a = np.ones((300, 70), np.float32)
    f(a, a)
    assert (f.versions()[0]["kernels"] == 1) == (name in TOGETHER)


def test_gradients_of_a_norm_by_scale_and_shift() -> None:
    x, y = (sg.tensor(n, (64, 96), "float64") for n in "xy")
    g, b = (sg.tensor(n, (96,), "float64") for n in "gb")
    c = x - x.mean(1, keepdims=True)
    norm = c / sg.sqrt((c * c).mean(1, keepdims=True) + 1e-5) * g + b
    grads = sg.grad((norm * y).sum(), [g, b])
    with sg.config.override(plans=False):
        both = sg.function([x, g, b, y], grads, on_unused_input="ignore")
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s) for s in ((64, 96), (96,), (96,), (64, 96))]
    centred = values[0] - values[0].mean(1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    by_scale, by_shift = both(*values)
    np.testing.assert_allclose(by_scale, (normal * values[3]).sum(0), rtol=1e-12)
    np.testing.assert_allclose(by_shift, values[3].sum(0), rtol=1e-12)
