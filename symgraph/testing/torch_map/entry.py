"""Rows of the map from PyTorch's operators to ours: an adapter, or why there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgraph.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an operator is not mapped."""

    text: str


STORAGE = Reason("storage, strides or in-place semantics: expressions are values")
SPARSE = Reason("sparse, nested or quantised tensors")
RANDOM = Reason("random numbers: the streams differ, distributions are tested elsewhere")
DATA_LENGTH = Reason("the length of the result depends on the data")
INTERNAL = Reason("internal to torch, or for another device")
FACTORS = Reason("packed factors of LAPACK that only other calls of it can read")
NONE_HERE = Reason("no counterpart here yet")
UNDEFINED = Reason("the values are not defined")

REASONS = (
    STORAGE, SPARSE, RANDOM, DATA_LENGTH, INTERNAL, FACTORS, NONE_HERE, UNDEFINED,
)  # fmt: skip


class Unsupported(Exception):
    """A sample of a mapped operator asks for something that symgraph does not have."""


def need(condition: bool, reason: str) -> None:
    """Leave a sample out, counted by its reason, unless `condition` holds."""
    if not condition:
        raise Unsupported(reason)


@dataclass(frozen=True, slots=True)
class Convention:
    """A stated difference: what is not compared, from which order of derivative on, and when.

    order: 0 values and derivatives, 1 both derivatives, 2 the second one only. when: tells from the
    arguments of a sample (tensors as NumPy arrays) whether the difference can show there.
    """

    text: str
    order: int = 0
    when: Callable[..., bool] = lambda *args, **kwargs: True


@dataclass(frozen=True, slots=True)
class Entry:
    """An operator that is mapped.

    call: our expression; it gets the arguments of torch's operator, tensors as nodes, dtypes as
    names. theirs: what of torch's result is compared (by default what the sample says). arrays:
    dtype kinds ("b", "i") of tensors that `call` gets as constant NumPy arrays. loose: factor on
    the tolerances, with the reason in `why`. conventions: stated differences. order: highest
    derivative that is compared.
    """

    call: Callable[..., Any]
    theirs: Callable[[Any], Any] | None = None
    arrays: str = ""
    loose: float = 1.0
    why: str = ""
    conventions: tuple[Convention, ...] = ()
    order: int = 2


Row = Entry | Reason | Callable[..., Any]


def as_entry(row: Row) -> Entry | Reason:
    """Return a row of a table as an entry: a plain function is its adapter."""
    return row if isinstance(row, (Entry, Reason)) else Entry(row)
