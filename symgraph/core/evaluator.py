"""The function that computes whole graphs with NumPy, for what one op's reference cannot do.

Some values need rewrites before NumPy can compute them (bfloat16 ones do), and rewrites are above
`core`: `compile` enters its evaluator here when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from symgraph.core.node import Node

F = TypeVar("F", bound="Callable[..., list[np.ndarray]]")
_entered: list[Callable[..., list[np.ndarray]]] = []


def evaluator(f: F) -> F:
    """Enter the function that computes graphs: a decorator."""
    if _entered:
        raise RuntimeError(f"graphs are computed by {_entered[0].__module__} already")
    _entered.append(f)
    return f


def evaluate(outputs: Sequence[Node], arrays: Mapping[Node, np.ndarray]) -> list[np.ndarray]:
    """Return the values of `outputs` from arrays for every leaf."""
    return _entered[0](outputs, arrays)
