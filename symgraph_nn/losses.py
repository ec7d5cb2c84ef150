"""Losses: symbolic scalars from predictions and targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import symgraph as sg

REDUCTIONS: dict[str, Callable[[sg.Variable], sg.Variable]] = {
    "mean": sg.mean,
    "sum": sg.sum,
    "none": lambda x: x,
}


def _reduce(values: sg.Variable, reduction: str) -> sg.Variable:
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be mean, sum or none, got {reduction!r}")
    return REDUCTIONS[reduction](values)


def cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> sg.Variable:
    """Return -log softmax(logits)[label], averaged over the batch.

    logits: (batch, classes) floats, labels: (batch,) integers. Computed without forming the
    probabilities, so large logits are fine.
    """
    return _reduce(sg.cross_entropy(logits, labels), reduction)


def binary_cross_entropy(logits: Any, targets: Any, reduction: str = "mean") -> sg.Variable:
    """Return -t log p - (1 - t) log(1 - p), p = sigmoid(logits), targets t in [0, 1]."""
    return _reduce(sg.binary_cross_entropy(logits, targets), reduction)


def squared_error(prediction: Any, target: Any, reduction: str = "mean") -> sg.Variable:
    """Return (prediction - target)**2, averaged over all elements."""
    return _reduce(sg.square(prediction - target), reduction)


def accuracy(logits: Any, labels: Any) -> sg.Variable:
    """Return the share of rows whose largest logit is at the label; has no gradient."""
    hits = sg.eq(sg.argmax(logits, axis=-1), labels)
    share: sg.Variable = sg.mean(sg.cast(hits, sg.config.floatX))
    return share
