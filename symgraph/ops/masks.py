"""Elements where a condition holds. Shapes do not depend on data, so their number is stated."""

from __future__ import annotations

from typing import Any

from symgraph.core.dtype import INT64
from symgraph.core.node import Node, as_node
from symgraph.core.op import function, o
from symgraph.ops.base import Size, cast_to


@function
def flatnonzero(x: Any, size: Size, fill_value: Any = 0) -> Node:
    """Return the first `size` positions (int64) of the flattened array where x is not zero.

    Where there are fewer, `fill_value` follows.

    >>> x = sg.vector("x", dtype="float64")
    >>> sg.flatnonzero(x, 3, -1).eval({x: np.array([0.0, 2.0, 0.0, 5.0])})
    array([ 1,  3, -1])
    """
    flat, wanted = o.ravel(x), o.as_size(size)
    found = o.ne(flat, 0)
    rank = o.cumsum(cast_to(found, INT64)) - 1
    last = as_node(o.dim_value(wanted))  # what does not fit goes to one more place
    place = o.where(found, o.minimum(rank, last), last)
    start = o.broadcast_to(cast_to(as_node(fill_value, (INT64,)), INT64), (wanted + 1,))
    whole = o.set_subtensor(start[place], o.arange(flat.type.shape[0], dtype=INT64))
    return o.slice_axis(whole, 0, 0, wanted)


@function
def compress(
    condition: Any, x: Any, size: Size, axis: int | None = None, fill_value: Any = 0
) -> Node:
    """Return the first `size` slices of x along `axis` for which the vector `condition` holds.

    Without an axis x is flattened. Where there are fewer, `fill_value` follows.
    """
    node = o.ravel(x) if axis is None else as_node(x)
    n, *rest = (slices := o.moveaxis(node, axis or 0, 0)).type.shape
    fill = o.broadcast_to(cast_to(as_node(fill_value, (node.dtype,)), node.dtype), (1, *rest))
    places = flatnonzero(condition, size, o.dim_value(n))  # behind the last one is the filling
    return o.moveaxis(o.take(o.concatenate([slices, fill]), places, 0), 0, axis or 0)


@function
def extract(condition: Any, x: Any, size: Size, fill_value: Any = 0) -> Node:
    """Return the first `size` elements of x where `condition`, of its shape, holds.

    Where there are fewer, `fill_value` follows.
    """
    return compress(o.ravel(condition), o.ravel(x), size, fill_value=fill_value)
