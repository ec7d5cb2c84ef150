"""The same networks in torch: same initial values, same batches, losses and gradients compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

import symgraph as sg
import symgraph_nn as nn
from symgraph_nn.demo.nets import Task

TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Comparison:
    """Largest relative differences from torch, and medians of the seconds a step took."""

    loss: float
    gradient: float
    ours: float
    torch: float
    steps: int


def torch_version() -> str | None:
    """Return the version of torch, or None where it is not installed."""
    module = _torch()
    return None if module is None else str(module.__version__)


def compare(task: Task, data: nn.data.Dataset, batch: int, lr: float, steps: int) -> Comparison:
    """Train both from the same start on the same batches, taking turns; Adam on both sides.

    One thread each: two pools that take turns on few cores disturb each other.
    """
    torch: Any = _torch()
    torch.set_num_threads(1)
    sg.set_threads(1)
    task.reset(0)
    params = task.model.params()
    twin = Twin(torch, task.model)
    optimizer = torch.optim.Adam(twin.params, lr=lr)
    gradient = _gradient_difference(torch, task, twin, data, batch)
    worst, ours, theirs = 0.0, [], []
    rng = np.random.default_rng(0)
    for k, (x, y) in enumerate(_endless(data, batch, rng, steps)):
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)
        start = time.perf_counter()
        loss = float(task.step(x, y))
        middle = time.perf_counter()
        optimizer.zero_grad()
        other = torch.nn.functional.cross_entropy(twin(tx), ty)
        other.backward()
        optimizer.step()
        other = float(other.detach())
        end = time.perf_counter()
        if k < 20:  # later, rounding grows along the path of training
            worst = max(worst, abs(loss - other) / max(abs(other), 1e-6))
        if k >= steps // 5:
            ours.append(middle - start)
            theirs.append(end - middle)
    assert len(params) == len(twin.params)
    return Comparison(worst, gradient, float(np.median(ours)), float(np.median(theirs)), steps)


def _endless(data: nn.data.Dataset, batch: int, rng: np.random.Generator, steps: int) -> Any:
    done = 0
    while True:
        for rows in nn.batches((data.x_train, data.y_train), batch, rng):
            if done == steps:
                return
            done += 1
            yield rows


def _gradient_difference(
    torch: Any, task: Task, twin: Twin, data: nn.data.Dataset, batch: int
) -> float:
    """Return the largest difference of an entry, relative to the gradient's largest entry."""
    x, y = data.x_train[:batch], data.y_train[:batch]
    xs, ys = sg.tensor("x", x.shape), sg.tensor("y", y.shape, "int64")
    loss = nn.losses.cross_entropy(task.model(xs), ys)
    ours = sg.function([xs, ys], sg.grad(loss, list(task.model.params().values())))(x, y)
    torch.nn.functional.cross_entropy(twin(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    worst = 0.0
    for g, p in zip(ours, twin.params, strict=True):
        other = twin.like_ours(p.grad)
        worst = max(worst, float(np.abs(g - other).max() / np.abs(other).max()))
    return worst


class Twin:
    """A torch copy of a `Sequential` of dense and convolution layers, pooling and flattening."""

    def __init__(self, torch: ModuleType, model: Any) -> None:
        self.torch: Any = torch
        self.params: list[Any] = []
        self.steps = [self._twin(step) for step in model.steps]

    def __call__(self, x: Any) -> Any:
        for step in self.steps:
            x = step(x)
        return x

    @staticmethod
    def like_ours(tensor: Any) -> np.ndarray:
        """Return an array in our layout: torch keeps dense weights as (outputs, inputs)."""
        array: np.ndarray = tensor.numpy()
        return array.T if array.ndim == 2 else array

    def _param(self, value: np.ndarray) -> Any:
        tensor = self.torch.tensor(np.ascontiguousarray(value), requires_grad=True)
        self.params.append(tensor)
        return tensor

    def _bias(self, step: nn.Dense | nn.Conv2D) -> Any:
        return None if step.b is None else self._param(step.b.get_value())

    def _twin(self, step: Any) -> Any:
        f = self.torch.nn.functional
        if isinstance(step, nn.Dense):
            w, b = self._param(step.W.get_value().T), self._bias(step)
            return self._activated(step, lambda x: f.linear(x, w, b))
        if isinstance(step, nn.Conv2D):
            w, b = self._param(step.W.get_value()), self._bias(step)
            return self._activated(step, lambda x: f.conv2d(x, w, b, **step.options))
        if isinstance(step, nn.MaxPool2D):
            return lambda x: f.max_pool2d(x, step.window)
        if isinstance(step, nn.Flatten):
            return lambda x: x.flatten(1)
        raise TypeError(f"no torch twin for {step!r}")

    def _activated(self, step: Any, affine: Any) -> Any:
        if step.activation is None:
            return affine
        if step.activation is not sg.relu:
            raise TypeError(f"no torch twin for the activation {step.activation!r}")
        return lambda x: self.torch.relu(affine(x))


def _torch() -> ModuleType | None:
    """Import torch (heavy), or return None."""
    try:
        import torch
    except ImportError:
        return None
    return torch
