"""Functions made of slices refuse what their windows do not fit into, as conv2d does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg

FUNCTIONS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "conv3d": (lambda x: sg.conv3d(x, np.ones((1, 1, 3, 3, 3), "float32")), (1, 1, 3, 4, 4)),
    "unfold": (lambda x: sg.unfold(x, (3, 2)), (1, 1, 3, 4)),
}


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_one_element_short(name: str, gradient: bool, shapes: str) -> None:
    f, shape = FUNCTIONS[name]
    x = sg.tensor("x", (None,) * len(shape), "float32")
    value = sg.grad(f(x).sum(), x) if gradient else f(x)
    g = sg.function([x], value, shapes=shapes)
    assert 0 not in g(np.ones(shape, "float32")).shape
    short = (*shape[:2], 2, *shape[3:])
    with pytest.raises(sg.ShapeError, match=f"{name}: a window of .*does not fit"):
        g(np.ones(short, "float32"))
    with pytest.raises(sg.ShapeError, match=f"{name}: a window of .*does not fit"):
        f(np.ones(short, "float32"))
