"""A training loop with a progress bar, and prediction in batches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np


@dataclass(slots=True)
class History:
    """What `fit` saw: one entry an epoch.

    loss: mean over the batches. seconds: time in the compiled steps alone. metrics: what
    `evaluate` returned after the epoch.
    """

    loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)


def batches(
    arrays: Sequence[np.ndarray], size: int, rng: np.random.Generator
) -> Iterator[list[np.ndarray]]:
    """Yield shuffled batches of `size` rows; a rest that does not fill one is left out."""
    n = len(arrays[0])
    if any(len(a) != n for a in arrays):
        raise ValueError(f"arrays of different lengths: {[len(a) for a in arrays]}")
    if not 0 < size <= n:
        raise ValueError(f"a batch of {size} rows out of {n}")
    order = rng.permutation(n)
    for start in range(0, n - size + 1, size):
        rows = order[start : start + size]
        yield [a[rows] for a in arrays]


def fit(
    step: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    *,
    epochs: int,
    batch: int,
    seed: int = 0,
    evaluate: Callable[[], float] | None = None,
    progress: bool | None = None,
    title: str = "training",
) -> History:
    """Call `step(*batch of arrays)`, which returns the loss and updates the parameters, in epochs.

    evaluate: called after each epoch, its number goes to `history.metrics`. progress: a bar on the
    standard error; None shows it where that is a terminal. Raises FloatingPointError when the loss
    of an epoch is not finite.
    """
    history, rng = History(), np.random.default_rng(seed)
    shown = sys.stderr.isatty() if progress is None else progress
    bar = _tqdm().tqdm(total=epochs, desc=title, unit="epoch", mininterval=0.2) if shown else None
    try:
        for epoch in range(epochs):
            losses = []
            for rows in batches(arrays, batch, rng):
                start = time.perf_counter()
                losses.append(step(*rows))
                history.step_seconds.append(time.perf_counter() - start)
            history.loss.append(float(np.mean(losses)))
            history.seconds.append(sum(history.step_seconds[-len(losses) :]))
            if not np.isfinite(history.loss[-1]):
                raise FloatingPointError(f"the loss is {history.loss[-1]} in epoch {epoch}")
            if evaluate is not None:
                history.metrics.append(float(evaluate()))
            if bar is not None:
                bar.set_postfix(loss=f"{history.loss[-1]:.4f}")
                bar.update()
    finally:
        if bar is not None:
            bar.close()
    return history


def predict(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, batch: int = 1000) -> np.ndarray:
    """Return f of all rows of x, computed in pieces of at most `batch` rows."""
    return np.concatenate([f(x[k : k + batch]) for k in range(0, len(x), batch)])


def _tqdm() -> ModuleType:
    """Import the progress bar; raises ImportError with the cure."""
    try:
        import tqdm
    except ImportError:
        raise ImportError('a progress bar needs tqdm: pip install "symgraph[nn]"') from None
    module: ModuleType = tqdm
    return module
