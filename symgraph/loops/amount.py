"""How much work a statement is, also where sizes are known only at run time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.dims.dim import Dim
from symgraph.loops.expr import Axis, Expr, Size, walk
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Statement, row_stores

Amount = int | Dim | None  # scalar operations; None where they depend on values
MOST_POINT_WORK = 300  # operations of one point that an estimate counts: expression trees repeat
SORT = 20  # operations per element of a sort


def program_amount(statements: Sequence[Statement]) -> Amount:
    """Estimate the scalar operations of some statements."""
    total: Size = 0
    for t in statements:
        amount = statement_amount(t)
        if amount is None:
            return None
        total = total + amount
    return total


def statement_amount(statement: Statement) -> Amount:
    """Estimate the scalar operations of a statement."""
    if isinstance(statement, Nest):
        return nest_amount(statement)
    if isinstance(statement, Check):
        return points(statement.axes)
    if isinstance(statement, Loop):
        body = program_amount(statement.body)
        return None if body is None or statement.go_on is not None else body * statement.axis.extent
    amount: Size | None = _library(statement)
    return amount


def nest_amount(nest: Nest) -> Size:
    """Estimate the scalar operations of a nest.

    A reduction counts once per point of the loops that it depends on: others do not repeat it.
    """
    total: Size = 0
    for t in nest.stores:
        moving = t.address.free | t.value.free
        count = points([a for a in nest.axes if moving & a.bit])
        total = total + count * max(1, min(t.value.cost, MOST_POINT_WORK))
        for e in walk([t.value]):
            if e.op == "reduce":
                inner = points([*e.data[1], *(a for a in nest.axes if e.free & a.bit)])
                total = total + inner * max(2, min(e.args[0].cost, MOST_POINT_WORK))
    return total


def body_cost(nest: Nest, exprs: Sequence[Expr]) -> int:
    """Return the operations of a point; what is stored for each row is not in the inner loop."""
    if row_stores(nest):
        return sum(bool(e.free & nest.axes[-1].bit) for e in exprs)
    return max((t.value.cost for t in nest.stores), default=1)


def points(axes: Sequence[Axis]) -> Size:
    """Return the number of points of some loops."""
    n: Size = 1
    for a in axes:
        n = n * a.extent
    return n


def _library(call: LibraryCall) -> Any:
    total: Any = SORT if call.name == "argsort" else 2
    for n in call.params[0]:
        total = total * n
    return total
