"""LU factors as LAPACK packs them, to be used for more than one right side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.core.dtype import INT32, INT64
from symgraph.core.errors import DTypeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.dims.dim import minimum
from symgraph.ops.base import Size, as_nodes, cast_to
from symgraph.ops.linalg import as_matrices, check_matrices, same_batch
from symgraph.ops.linalg_solve import LuLower, LuOrder, LuUpper, take_rows


@function
def lu_factor(x: Any) -> tuple[Node, Node]:
    """Return (LU, piv) of matrices (..., m, n), as scipy.linalg.lu_factor does, for `lu_solve`.

    U is on and above the diagonal of LU, L below, whose diagonal of ones is not stored. Step i of
    the elimination exchanged rows i and piv[i] (int32). Derivatives are those of `lu`. Sizes that
    are not known must be equal.

    >>> x = sg.matrix("x", dtype="float64")
    >>> factors, pivots = sg.linalg.lu_factor(x)
    >>> pivots.eval({x: np.array([[1.0, 2.0], [3.0, 4.0]])})
    array([1, 1], dtype=int32)
    """
    node = as_matrices(x)
    lead, m, n = check_matrices("lu_factor", node, square=False)
    lower, upper = o.tril(LuLower.instance(node), -1), LuUpper.instance(node)
    if isinstance(m, int) and isinstance(n, int) and m != n:
        k, around = min(m, n), [(0, 0)] * len(lead)
        lower = o.pad(lower, [*around, (0, 0), (0, n - k)])
        upper = o.pad(upper, [*around, (0, m - k), (0, 0)])
    return lower + upper, _pivots(LuOrder.instance(node), minimum(m, n))


def _exchanged(row: Node, i: Node, j: Node) -> Node:
    """Return a row (..., n) with the elements i (one for all rows) and j (...,) exchanged."""
    line = o.iota(row.type.shape[-1:], 0)
    at_i = o.eq(line, i)
    other = o.expand_dims(j, -1)
    at_j = o.eq(line, other)
    first, second = (
        o.sum(o.where(at, row, 0), -1, keepdims=True) for at in (at_i, at_j)
    )
    return o.where(at_i, second, o.where(at_j, first, row))


def _pivots(order: Node, count: Size) -> Node:
    """Return the exchanges that lead to an order of rows (..., m), one for each step."""
    start = o.broadcast_to(o.iota(order.type.shape[-1:], 0), order.type.shape)

    def step(target: Node, i: Node, row: Node) -> list[Node]:
        line = o.iota(row.type.shape[-1:], 0)
        place = o.sum(o.where(o.eq(row, o.expand_dims(target, -1)), line, 0), -1)
        return [_exchanged(row, i, place), place]

    targets = o.moveaxis(o.slice_axis(order, order.ndim - 1, 0, count), -1, 0)
    _, places = o.scan(step, [targets, o.iota((count,), 0)], [start, None])
    return cast_to(o.moveaxis(places, 0, -1), INT32)


def _order(pivots: Node, n: Size) -> Node:
    """Return the order of n rows that the exchanges lead to."""
    start = o.broadcast_to(o.iota((n,), 0), (*pivots.type.shape[:-1], n))
    steps = cast_to(o.moveaxis(pivots, -1, 0), INT64)
    found: Node = o.reduce(
        lambda j, i, row: _exchanged(row, i, j), [steps, o.iota(steps.type.shape[:1], 0)], start
    )
    return found


@function
def lu_solve(lu_and_piv: Sequence[Any], b: Any, trans: int = 0) -> Node:
    """Return x with A x = b, of which (LU, piv) are the factors by `lu_factor`: two substitutions.

    b: (n,), or (..., n, k) with leading axes that broadcast. trans=1 solves A.T x = b, trans=2
    A.H x = b. A factor with 0 on its diagonal raises LinAlgError. Differentiable by LU and b.

    >>> a, b = sg.matrix("a", dtype="float64"), sg.vector("b", dtype="float64")
    >>> x = sg.linalg.lu_solve(sg.linalg.lu_factor(a), b)
    >>> x.eval({a: np.array([[0.0, 2.0], [4.0, 0.0]]), b: np.array([2.0, 4.0])})
    array([1., 1.])
    """
    if trans not in (0, 1, 2):
        raise ValueError(f"lu_solve: trans must be 0, 1 or 2, got {trans!r}")
    factors, right = as_nodes((lu_and_piv[0], b))
    factors, right = as_matrices(factors), as_matrices(right)
    pivots = as_node(lu_and_piv[1])
    if not pivots.dtype.is_integer:
        raise DTypeError(f"lu_solve needs integer pivots, got `{describe(pivots)}` {pivots.type}")
    _, n, _ = check_matrices("lu_solve", factors)
    vector = right.ndim == 1
    right = o.expand_dims(right, 1) if vector else right
    order = _order(pivots, n)
    factors, right = same_batch("lu_solve", factors, right)
    order = o.broadcast_to(order, (*right.type.shape[:-2], n))
    if trans == 0:
        half = _substituted(factors, take_rows(right, order), True)
        found = _substituted(factors, half, False)
    else:
        across = o.matrix_transpose(factors if trans == 1 else o.conj(factors))
        half = o.solve_triangular(across, right, lower=True)
        half = o.solve_triangular(across, half, lower=False, unit_diagonal=True)
        found = take_rows(half, o.argsort(order, -1))
    return o.squeeze(found, -1) if vector else found


def _substituted(factors: Node, b: Node, lower: bool) -> Node:
    found: Node = o.solve_triangular(factors, b, lower=lower, unit_diagonal=lower)
    return found
