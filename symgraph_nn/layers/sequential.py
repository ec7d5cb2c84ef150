"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import symgraph as sg
from symgraph_nn.layers.base import Layer


class Sequential(Layer):
    """Apply the given steps in order: layers, or any functions of one variable such as `sg.relu`.

    Paths of parameters begin with the number of the step: "0.W", "2.b".
    """

    def __init__(self, *steps: Layer | Callable[[Any], Any]) -> None:
        super().__init__()
        for k, step in enumerate(steps):
            if isinstance(step, Layer):
                self.add_layer(str(k), step)
            elif not callable(step):
                raise TypeError(f"step {k} must be a layer or a function, got {step!r}")
        self.steps = steps

    def __call__(self, x: Any, train: bool = False) -> sg.Variable:
        for step in self.steps:
            x = step(x, train=train) if isinstance(step, Layer) else step(x)
        return sg.as_tensor(x)

    def __repr__(self) -> str:
        names = [
            repr(s) if isinstance(s, Layer) else getattr(s, "__name__", "f") for s in self.steps
        ]
        return f"Sequential({', '.join(names)})"
