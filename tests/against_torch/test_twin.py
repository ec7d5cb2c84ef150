"""The demo's copy of a network in torch computes what the network does."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
import symgraph_nn as nn
from symgraph_nn.demo.against_torch import Twin

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")


@pytest.mark.parametrize("bias", [True, False])
def test_layers_with_and_without_bias(bias: bool) -> None:
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2D(1, 2, 3, rng=rng, bias=bias, activation=sg.relu),
        nn.Flatten(),
        nn.Dense(2 * 4 * 4, 3, rng=rng, bias=bias),
    )
    twin = Twin(torch, model)
    x = rng.normal(size=(5, 1, 6, 6)).astype("float32")
    v = sg.tensor4("x")
    ours = sg.function([v], model(v))(x)
    assert len(twin.params) == len(model.params())
    np.testing.assert_allclose(ours, twin(torch.tensor(x)).detach().numpy(), rtol=1e-4, atol=1e-5)
