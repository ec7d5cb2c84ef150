"""What a peer builds for a row: a statement to time, and a way to look at its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SAMPLES = 256
STEPS = 3  # training steps whose losses are compared


@dataclass(frozen=True, slots=True)
class Program:
    """`statement` runs the work once, to the end, in the namespace `names`.

    results: returns the values that are compared between peers; called once, before any timing.
    facts: what else is known after a run: bytes of memory, "compile_s" the seconds of compilation.
    """

    statement: str
    names: dict[str, Any]
    results: Callable[[], Sequence[Any]]
    facts: Callable[[], dict[str, float]] = dict


def digest(results: Sequence[Any]) -> list[dict[str, Any]]:
    """Return shape, mean and evenly spaced values of each result, as plain data."""
    found = []
    for value in results:
        array = np.asarray(value)
        flat = array.reshape(-1)
        if np.iscomplexobj(flat):
            flat = np.concatenate([flat.real, flat.imag])
        places = np.linspace(0, flat.size - 1, min(SAMPLES, flat.size)).astype(np.int64)
        found.append(
            {
                "shape": list(array.shape),
                "mean": float(flat.mean(dtype=np.float64)),
                "values": [float(v) for v in flat[places]],
            }
        )
    return found


def difference(mine: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """Return the largest difference relative to the largest entry; infinite for other shapes."""
    if [d["shape"] for d in mine] != [d["shape"] for d in other]:
        return float("inf")
    worst = 0.0
    for a, b in zip(mine, other, strict=True):
        left, right = (np.array([d["mean"], *d["values"]]) for d in (a, b))
        scale = float(np.abs(right).max()) or 1.0
        error = float(np.abs(left - right).max()) / scale
        worst = max(worst, error if np.isfinite(error) else float("inf"))
    return worst
