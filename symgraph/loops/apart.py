"""Rows of two to four elements, across which loads run or none moves: a store for each column.

Vectors along such rows are mostly empty. Along the columns they are loaded whole, and their lanes
take turns in one wide vector that is stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.loops.expr import Axis, Expr, walk
from symgraph.loops.interned import Builder
from symgraph.loops.schedule import SHUFFLE_STRIDE, stride, turns_round
from symgraph.loops.statements import Nest, Store

FEW_ACROSS = SHUFFLE_STRIDE  # elements of such rows


def columns_apart(s: Builder, nest: Nest) -> Nest:
    """Return a nest over rows alone if these are so short, and loads run across or none along."""
    if len(nest.axes) != 2 or nest.scan or nest.serial:
        return nest
    rows, columns = nest.axes
    if not isinstance(columns.extent, int) or not 1 < columns.extent <= FEW_ACROSS:
        return nest
    exprs = walk([e for t in nest.stores for e in (t.value, t.address)])
    if any(e.op == "reduce" for e in exprs) or any(t.guard or t.accumulate for t in nest.stores):
        return nest
    stored = [(stride(t.address, rows), stride(t.address, columns)) for t in nest.stores]
    whole = all(steps == (columns.extent, 1) for steps in stored)
    across = any(turns_round(e, rows, columns) for e in exprs)
    return one_by_one(s, nest) if whole and (across or none_along(exprs, rows)) else nest


def none_along(exprs: Sequence[Expr], rows: Axis) -> bool:
    """Tell whether no load moves along rows: each is one number a row, or the same row always."""
    steps = {stride(e.args[0], rows) for e in exprs if e.op == "load"}
    return 1 in steps and steps <= {0, 1}


def one_by_one(s: Builder, nest: Nest) -> Nest:
    """Return a nest over rows alone, with stores of its own for each of their few elements."""
    rows = nest.axes[0] if isinstance(nest.axes[1].extent, int) else nest.axes[1]
    (columns,) = (a for a in nest.axes if a is not rows)
    assert isinstance(columns.extent, int)
    stores = []
    for k in range(columns.extent):
        memo: dict[Expr, Expr] = {}
        for t in nest.stores:
            address = s.index(s.replace(t.address, {columns: k}, memo))
            value = s.replace(t.value, {columns: k}, memo)
            stores.append(Store(t.buffer, address, value, t.guard, t.accumulate))
    return Nest((rows,), tuple(stores), nest.serial, nest.scan, nest.origin)
