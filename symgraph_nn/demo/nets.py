"""The two networks of the demo and their compiled training steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import symgraph as sg
import symgraph_nn as nn

Build = Callable[[np.random.Generator, Any], nn.Layer]


def mlp(rng: np.random.Generator, dtype: Any = None) -> nn.Layer:
    """Return 64-128-64-10 with ReLU."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Dense(64, 128, sg.relu, rng=rng, dtype=dtype),
        nn.Dense(128, 64, sg.relu, rng=rng, dtype=dtype),
        nn.Dense(64, 10, rng=rng, dtype=dtype),
    )


def mnist_mlp(rng: np.random.Generator, dtype: Any = None) -> nn.Layer:
    """Return 784-256-128-10 with ReLU."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Dense(784, 256, sg.relu, rng=rng, dtype=dtype),
        nn.Dense(256, 128, sg.relu, rng=rng, dtype=dtype),
        nn.Dense(128, 10, rng=rng, dtype=dtype),
    )


def convnet(rng: np.random.Generator, dtype: Any = None) -> nn.Layer:
    """Return two 3 x 3 convolutions with ReLU (the second of stride 2), pooling, a dense layer."""
    return nn.Sequential(
        nn.Conv2D(1, 16, 3, sg.relu, padding=1, rng=rng, dtype=dtype),
        nn.Conv2D(16, 32, 3, sg.relu, padding=1, stride=2, rng=rng, dtype=dtype),
        nn.MaxPool2D(2),
        nn.Flatten(),
        nn.Dense(128, 10, rng=rng, dtype=dtype),
    )


@dataclass(slots=True)
class Task:
    """A network with its compiled functions.

    step: (x, y) -> loss, updates the parameters. accuracy: (x, y) -> share of right answers.
    state: everything that training changes. compile_seconds: from the graph to the first result.
    """

    title: str
    build: Build
    model: nn.Layer
    loss: sg.Variable
    step: Any
    accuracy: Any
    state: list[sg.SharedVariable]
    compile_seconds: float

    def reset(self, seed: int) -> None:
        """Start again: parameters drawn anew from `seed`, optimizer state as at the beginning."""
        fresh = self.build(np.random.default_rng(seed), None).params()
        for name, p in self.model.params().items():
            p.set_value(fresh[name].get_value())
        for s in self.state:
            value = s.get_value()
            s.set_value(np.ones_like(value) if value.ndim == 0 else np.zeros_like(value))


def compile_task(
    title: str,
    build: Build,
    optimizer: nn.optim.Optimizer,
    data: nn.data.Dataset,
    batch: int,
) -> Task:
    """Build the network, differentiate its loss and compile the training step for the data."""
    model = build(np.random.default_rng(0), None)
    x = sg.tensor("x", (None, *data.x_train.shape[1:]))
    y = sg.lvector("y")
    logits = model(x)
    loss = nn.losses.cross_entropy(logits, y)
    loss.name = "loss"
    params = model.params()
    updates = optimizer(loss, params)
    state = [s for s in updates if s not in params.values()]
    start = time.perf_counter()
    step = sg.function([x, y], loss, updates=updates, name=f"{title} step")
    step(data.x_train[:batch], data.y_train[:batch])
    seconds = time.perf_counter() - start
    accuracy = sg.function([x, y], nn.losses.accuracy(logits, y), name=f"{title} accuracy")
    return Task(title, build, model, loss, step, accuracy, state, seconds)
