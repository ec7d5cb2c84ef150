"""Positions and sets as NumPy has them; how many elements there are is given, not found."""

from __future__ import annotations

from typing import Any

from symgraph.core.dtype import INT64
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import alias, function, o
from symgraph.ops.base import Size, as_nodes, cast_to


@function
def nonzero(x: Any, size: Size, fill_value: Any = 0) -> tuple[Node, ...]:
    """Return the first `size` positions where x is not zero: one vector (int64) for each axis.

    Where there are fewer, `fill_value` follows.

    >>> x = sg.matrix("x", dtype="float64")
    >>> rows, columns = sg.nonzero(x, 3, -1)
    >>> columns.eval({x: np.array([[0.0, 2.0], [5.0, 0.0]])})
    array([ 1,  0, -1])
    """
    node = as_node(x)
    if node.ndim == 0:
        raise ShapeError(f"nonzero needs an axis, `{describe(node)}` is {node.type}")
    flat = o.flatnonzero(node, size, -1)
    fill = cast_to(as_node(fill_value, (INT64,)), INT64)
    places: list[Node] = []
    rest = flat
    for n in reversed(node.type.shape):
        length = o.maximum(o.dim_value(n), 1)
        places.insert(0, o.mod(rest, length))
        rest = o.floordiv(rest, length)
    return tuple(o.where(o.lt(flat, 0), fill, p) for p in places)


@function
def argwhere(x: Any, size: Size, fill_value: Any = 0) -> Node:
    """Return the first `size` positions where x is not zero as rows, see `nonzero`."""
    return o.stack(list(nonzero(x, size, fill_value)), 1)


@function
def intersect1d(x: Any, y: Any, size: Size, fill_value: Any = None) -> Node:
    """Return the sorted distinct elements of both arrays as a vector of `size`, see `unique`.

    Where there are fewer, `fill_value` follows, by default the smallest of them (0 if none).
    """
    a, b = as_nodes((x, y))
    return _chosen(o.ravel(a), o.isin(o.ravel(a), b), size, fill_value)


@function
def setdiff1d(x: Any, y: Any, size: Size, fill_value: Any = None) -> Node:
    """Return the sorted distinct elements of x that are not in y, see `intersect1d`."""
    a, b = as_nodes((x, y))
    return _chosen(o.ravel(a), o.isin(o.ravel(a), b, invert=True), size, fill_value)


@function
def setxor1d(x: Any, y: Any, size: Size, fill_value: Any = None) -> Node:
    """Return the sorted distinct elements of exactly one of two arrays, see `intersect1d`."""
    a, b = (o.ravel(v) for v in as_nodes((x, y)))
    alone = o.concatenate([o.isin(a, b, invert=True), o.isin(b, a, invert=True)])
    return _chosen(o.concatenate([a, b]), alone, size, fill_value)


def _chosen(x: Node, kept: Node, size: Size, fill_value: Any) -> Node:
    """Return the sorted distinct elements where `kept`, behind them the filling."""
    order = o.argsort(x)
    values, kept = o.take(x, order, 0), o.take(kept, order, 0)
    before = o.maximum(o.iota(values.type.shape, 0) - 1, 0)  # no slice of n - 1: n may be 0
    first = o.logical_or(o.eq(o.iota(values.type.shape, 0), 0), o.ne(o.take(values, before, 0),
                                                                     values))  # fmt: skip
    new = o.logical_and(kept, first)
    values = o.concatenate([values, o.zeros((1,), x.dtype)])  # there is one to take
    if fill_value is None:
        fill = o.take(values, o.argmax(o.concatenate([new, o.ones((1,), "bool")]), 0), 0)
    else:
        fill = cast_to(as_node(fill_value, (x.dtype,)), x.dtype)
    places = o.flatnonzero(new, size, -1)
    found = o.take(values, o.maximum(places, 0), 0)
    return o.where(o.lt(places, 0), fill, found)


def ix_(*vectors: Any) -> tuple[Node, ...]:
    """Return index arrays that select the rows, columns, ... of all combinations: x[ix_(i, j)]."""
    nodes = [as_node(v) for v in vectors]
    found = []
    for k, v in enumerate(nodes):
        if v.ndim != 1:
            raise ShapeError(f"ix_ needs vectors, `{describe(v)}` is {v.type}")
        if v.dtype == "bool":
            raise TypeError("ix_: a mask has no known number; use sg.flatnonzero(mask, size)")
        shape = tuple(-1 if j == k else 1 for j in range(len(nodes)))
        found.append(o.reshape(v, shape))
    return tuple(found)


alias(ix_, "ix_")


@function
def roots(p: Any) -> Node:
    """Return the roots of the polynomial p[0] x^n + ... + p[n] (complex), as eigenvalues.

    p[0] must not be 0: its zeros in front are not stripped, as their number depends on data.
    """
    node = as_node(p)
    n = node.type.shape[0] if node.ndim == 1 else None
    if not isinstance(n, int) or n < 2:
        raise ShapeError(f"roots needs a vector of known length >= 2, got {node.type}")
    if not node.dtype.is_float and not node.dtype.is_complex:
        node = o.cast(node, "float64")
    top = -o.slice_axis(node, 0, 1, n - 1) / node[0]
    below = o.eye(n - 2, n - 1, dtype=node.dtype)
    return o.eigvals(o.concatenate([o.expand_dims(top, 0), below], 0))
