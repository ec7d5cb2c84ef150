"""Merging nests looks at those that share a buffer: twice the layers are twice the work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.debug.stages import lowered
from symgraph.loops import fuse, rowwise


def training_step(layers: int) -> tuple[list[Any], list[Any]]:
    x = sg.tensor("x", (8, 16), "float32")
    weights = [sg.shared(np.zeros((16, 16), "float32"), f"w{k}") for k in range(layers)]
    h = x
    for w in weights:
        h = sg.tanh(h @ w)
    loss = (h**2).sum()
    pairs = zip(weights, sg.grad(loss, weights), strict=True)
    return [loss], [(w, w - 0.1 * g) for w, g in pairs]


@pytest.mark.parametrize(("module", "name"), [(fuse, "_summed"), (rowwise, "_takes")])
def test_deep_networks_are_merged_in_proportion(
    module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    original = getattr(module, name)

    def counted(*args: Any) -> Any:
        counts[-1] += 1
        return original(*args)

    monkeypatch.setattr(module, name, counted)
    for layers in (20, 40):
        counts.append(0)
        lowered(*training_step(layers))
    assert counts[0] > 0 and counts[1] < 2.5 * counts[0]
