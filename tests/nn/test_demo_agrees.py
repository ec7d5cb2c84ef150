"""The demo's training steps in debug mode: every rewrite and kernel agrees with NumPy."""

import numpy as np
import pytest

import symgraph as sg
import symgraph_nn as nn
from symgraph_nn.demo import nets


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_training_steps_agree_with_the_references(name):
    model = getattr(nets, name)(np.random.default_rng(0))
    x, y = sg.tensor4("x"), sg.lvector("y")
    loss = nn.losses.cross_entropy(model(x, train=True), y)
    params = list(model.params().values())
    step = sg.function([x, y], loss, updates=nn.optim.adam(1e-3)(loss, params), mode="debug")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(8, 1, 8, 8)).astype("float32")
    labels = rng.integers(0, 10, 8)
    losses = [float(step(images, labels)) for _ in range(4)]
    assert losses[-1] < losses[0]
