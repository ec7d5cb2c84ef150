"""symgraph_nn: layers, losses, initial values, optimizers and data on top of symgraph.

>>> import numpy as np
>>> import symgraph as sg
>>> import symgraph_nn as nn
>>> rng = np.random.default_rng(0)
>>> model = nn.Sequential(nn.Dense(4, 8, sg.tanh, rng=rng), nn.Dense(8, 3, rng=rng))
>>> list(model.params())
['0.W', '0.b', '1.W', '1.b']
>>> print(model(sg.matrix("x")).type)
matrix float32 (x.0, 3)
"""

from __future__ import annotations

from symgraph_nn import data, init, losses, optim
from symgraph_nn.layers.base import Layer
from symgraph_nn.layers.conv import Conv2D, Flatten, MaxPool2D
from symgraph_nn.layers.dense import Dense
from symgraph_nn.layers.sequential import Sequential
from symgraph_nn.summary import summary
from symgraph_nn.train import History, batches, fit, predict

__all__ = [
    "Conv2D",
    "Dense",
    "Flatten",
    "History",
    "Layer",
    "MaxPool2D",
    "Sequential",
    "batches",
    "data",
    "fit",
    "init",
    "losses",
    "optim",
    "predict",
    "summary",
]
