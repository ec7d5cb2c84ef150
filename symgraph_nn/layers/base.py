"""The base of all layers: named parameters, named children, path names."""

from __future__ import annotations

from typing import Any

import numpy as np

import symgraph as sg


class Layer:
    """Hold named shared variables and build graph from them: `y = layer(x)`.

    A subclass makes its parameters with `add_param` and its inner layers with `add_layer` in
    `__init__`, and overrides `__call__`. Nothing else is needed; there is no registration.
    """

    def __init__(self) -> None:
        self._params: dict[str, sg.SharedVariable] = {}
        self._layers: dict[str, Layer] = {}

    def __call__(self, x: Any, train: bool = False) -> sg.Variable:
        """Return the output for x; `train` is for layers that act otherwise in training."""
        raise NotImplementedError

    def add_param(self, name: str, value: np.ndarray) -> sg.SharedVariable:
        """Make a parameter that starts with `value`; raises ValueError where the name is taken."""
        self._check_name(name)
        self._params[name] = sg.shared(value, name=name)
        return self._params[name]

    def add_layer(self, name: str, layer: Layer) -> Layer:
        """Take in an inner layer; its parameters are called after their path, `name.W`."""
        self._check_name(name)
        self._layers[name] = layer
        for path, p in layer.params().items():
            p.name = f"{name}.{path}"
        return layer

    def _check_name(self, name: str) -> None:
        if not name or "." in name:
            raise ValueError(f"a name is one part of a path, without dots; got {name!r}")
        if name in self._params or name in self._layers:
            raise ValueError(f"{type(self).__name__} has a {name!r} already")

    def params(self) -> dict[str, sg.SharedVariable]:
        """Return the parameters by path name, own ones first, then layer by layer.

        A parameter that several layers share appears once, under its first name.
        """
        found = dict(self._params)
        for name, layer in self._layers.items():
            found.update({f"{name}.{path}": p for path, p in layer.params().items()})
        first: dict[sg.SharedVariable, str] = {}
        for path, p in found.items():
            first.setdefault(p, path)
        return {path: p for p, path in first.items()}

    def layers(self) -> dict[str, Layer]:
        """Return the inner layers by name."""
        return dict(self._layers)

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={v!r}" for k, v in self._layers.items())
        return f"{type(self).__name__}({inner})"
