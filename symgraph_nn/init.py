"""Initial values of parameters, drawn from a NumPy generator.

An initializer is a function (rng, shape, dtype) -> array. A shape of two axes is (inputs, outputs);
one of four is (filters, channels, height, width).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import symgraph as sg

Initializer = Callable[[np.random.Generator, Sequence[int], Any], np.ndarray]


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return how many inputs feed one output, and how many outputs one input feeds."""
    if len(shape) == 2:
        return shape[0], shape[1]
    if len(shape) == 4:
        area = shape[2] * shape[3]
        return shape[1] * area, shape[0] * area
    raise ValueError(f"fans are known for shapes of 2 or 4 axes, got {tuple(shape)}")


def _cast(values: np.ndarray, dtype: Any) -> np.ndarray:
    return values.astype(dtype or sg.config.floatX)


def zeros(rng: np.random.Generator, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
    """Return zeros."""
    return _cast(np.zeros(shape), dtype)


def glorot_uniform(rng: np.random.Generator, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
    """Return numbers uniform in +-sqrt(6 / (fan in + fan out)) (Glorot and Bengio 2010)."""
    limit = math.sqrt(6 / sum(fans(shape)))
    return _cast(rng.uniform(-limit, limit, shape), dtype)


def glorot_normal(rng: np.random.Generator, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
    """Return normal numbers of variance 2 / (fan in + fan out) (Glorot and Bengio 2010)."""
    return _cast(rng.normal(0, math.sqrt(2 / sum(fans(shape))), shape), dtype)


def he_uniform(rng: np.random.Generator, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
    """Return numbers uniform in +-sqrt(6 / fan in), for layers before a ReLU (He et al. 2015)."""
    limit = math.sqrt(6 / fans(shape)[0])
    return _cast(rng.uniform(-limit, limit, shape), dtype)


def he_normal(rng: np.random.Generator, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
    """Return normal numbers of variance 2 / fan in, for layers before a ReLU (He et al. 2015)."""
    return _cast(rng.normal(0, math.sqrt(2 / fans(shape)[0]), shape), dtype)


def default_for(activation: Any) -> Initializer:
    """Return He's normal before a ReLU, else Glorot's uniform."""
    return he_normal if activation is sg.relu else glorot_uniform
