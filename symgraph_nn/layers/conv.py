"""Layers for images of shape (batch, channels, height, width)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import symgraph as sg
from symgraph_nn import init as initial
from symgraph_nn.init import Initializer
from symgraph_nn.layers.base import Layer


class Conv2D(Layer):
    """Correlate images with `n_out` filters of `size` (one number or two), add a bias, activate.

    Images (n, n_in, h, w) give (n, n_out, h', w'). The filters W have the shape
    (n_out, n_in / groups, *size); stride, padding ("same", numbers), dilation and groups are those
    of `sg.conv2d`.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        size: int | tuple[int, int],
        activation: Any = None,
        *,
        rng: np.random.Generator,
        stride: int | tuple[int, int] = 1,
        padding: Any = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        init: Initializer | None = None,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if n_in % groups:
            raise ValueError(f"{n_in} channels do not divide into {groups} groups")
        self.n_in, self.n_out, self.activation = n_in, n_out, activation
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.options = {
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups
        }  # fmt: skip
        make = init or initial.default_for(activation)
        self.W = self.add_param("W", make(rng, (n_out, n_in // groups, *self.size), dtype))
        self.b = self.add_param("b", initial.zeros(rng, (n_out,), dtype)) if bias else None

    def __call__(self, x: Any, train: bool = False) -> sg.Variable:
        y: sg.Variable = sg.conv2d(x, self.W, **self.options)
        if self.b is not None:
            y = y + self.b[None, :, None, None]
        if self.activation is not None:
            y = self.activation(y)
        return y

    def __repr__(self) -> str:
        name = getattr(self.activation, "__name__", None)
        return f"Conv2D({self.n_in}, {self.n_out}, {self.size}{f', {name}' if name else ''})"


class MaxPool2D(Layer):
    """Take the largest element of each window: (n, c, h, w) to (n, c, h', w')."""

    def __init__(
        self, window: int | tuple[int, int] = 2, stride: Any = None, padding: Any = 0
    ) -> None:
        super().__init__()
        self.window, self.stride, self.padding = window, stride, padding

    def __call__(self, x: Any, train: bool = False) -> sg.Variable:
        y: sg.Variable = sg.max_pool2d(x, self.window, stride=self.stride, padding=self.padding)
        return y

    def __repr__(self) -> str:
        return f"MaxPool2D({self.window})"


class Flatten(Layer):
    """Join all axes but the first: (n, c, h, w) to (n, c * h * w)."""

    def __call__(self, x: Any, train: bool = False) -> sg.Variable:
        x = sg.as_tensor(x)
        n, *rest = x.type.shape
        y: sg.Variable = sg.reshape(x, (n, math.prod(rest)))
        return y

    def __repr__(self) -> str:
        return "Flatten()"
