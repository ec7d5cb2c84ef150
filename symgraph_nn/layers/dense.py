"""The fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np

import symgraph as sg
from symgraph_nn import init as initial
from symgraph_nn.init import Initializer
from symgraph_nn.layers.base import Layer


class Dense(Layer):
    """Compute activation(x @ W + b) for x of shape (..., n_in); the result is (..., n_out).

    W of shape (n_in, n_out) starts with `init` (by default Glorot's, or He's before a ReLU), b with
    zeros; `bias=False` leaves b out. Values come from `rng`, a NumPy generator.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: Any = None,
        *,
        rng: np.random.Generator,
        init: Initializer | None = None,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.n_in, self.n_out, self.activation = n_in, n_out, activation
        make = init or initial.default_for(activation)
        self.W = self.add_param("W", make(rng, (n_in, n_out), dtype))
        self.b = self.add_param("b", initial.zeros(rng, (n_out,), dtype)) if bias else None

    def __call__(self, x: Any, train: bool = False) -> sg.Variable:
        y = sg.as_tensor(x) @ self.W
        if self.b is not None:
            y = y + self.b
        return y if self.activation is None else self.activation(y)

    def __repr__(self) -> str:
        name = getattr(self.activation, "__name__", None)
        return f"Dense({self.n_in}, {self.n_out}{f', {name}' if name else ''})"
