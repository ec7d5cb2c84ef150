"""What parameters of distributions may be.

Numbers outside are errors where the draw is made. Of variables only the values of a call tell: then
draws of real numbers are NaN (which `mode="nan"` finds), counts are -1. Truth values and places
have no such value: their probabilities are checked in the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.core.node import CONSTANT, Node
from symgraph.core.op import o, ops
from symgraph.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Domain:
    """A set of numbers: its name in words, and whether a number (an array, a variable) is in it."""

    words: str
    holds: Callable[[Any], Any]


POSITIVE = Domain("above 0", lambda a: a > 0)
NOT_NEGATIVE = Domain("at least 0", lambda a: a >= 0)
CHANCE = Domain("between 0 and 1", lambda a: (a >= 0) & (a <= 1))
COUNT = Domain("a whole number between 0 and 2**53", lambda a: (a >= 0) & (a <= 2.0**53))
MEAN = Domain("between 0 and 2**62", lambda a: (a >= 0) & (a <= 2.0**62))


def known(value: Any) -> np.ndarray | None:
    """Return the numbers of a parameter, None for a variable."""
    if not isinstance(value, Node):
        return np.asarray(value)
    return value.data if value.op is CONSTANT else None


def require(draw: str, domain: Domain, **parameters: Any) -> None:
    """Raise ValueError where a known parameter has a number outside of the domain."""
    for name, value in parameters.items():
        numbers = known(value)
        if numbers is None or numbers.dtype.kind not in "biuf":
            continue
        inside = domain.holds(numbers)
        if domain is COUNT:
            inside = inside & (numbers == np.floor(numbers))
        if not np.all(inside):
            bad = numbers[~inside].flat[0] if numbers.ndim else numbers
            raise ValueError(f"{draw}: `{name}` must be {domain.words}, got {bad}")


def require_order(draw: str, low: Any, high: Any) -> None:
    """Raise ValueError where known bounds are in the wrong order."""
    first, last = known(low), known(high)
    if first is not None and last is not None and not np.all(first <= last):
        raise ValueError(f"{draw}: `low` must be at most `high`, got {first} and {last}")


def require_weights(draw: str, p: Any, draws: Any = 1) -> None:
    """Raise ValueError where known probabilities are negative, or fewer than `draws` are not 0."""
    require(draw, NOT_NEGATIVE, p=p)
    numbers = known(p)
    if numbers is None or not isinstance(draws, int):
        return
    if numbers.ndim and np.any(np.count_nonzero(numbers, -1) < draws):
        raise ValueError(f"{draw}: `p` must have at least {draws} positive numbers, got {numbers}")


def or_nan(inside: Node, value: Node) -> Node:
    """Return `value` where a parameter is in its domain, NaN elsewhere."""
    return o.where(inside, value, o.full((), np.nan, value.dtype))


def or_none(inside: Node, count: Node) -> Node:
    """Return a count where the parameters are in their domains, -1 elsewhere."""
    return o.where(inside, count, o.full((), -1, count.dtype))


def in_call(value: Any, draw: str, parameter: str, kind: str) -> Any:
    """Return a parameter; of a variable the numbers are checked when the function runs."""
    if known(value) is not None or not value.dtype.is_float:
        return value
    return ops["chance"](value, draw=draw, parameter=parameter, kind=kind)
