"""Functions of vectors applied along one axis of an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgraph.core.node import Node, as_node
from symgraph.core.op import function, normal_axis, o
from symgraph.ops.shape import product


@function
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any) -> Node:
    """Return func1d(vector, *args) of each vector along `axis`, as numpy.apply_along_axis.

    The axes of the result of `func1d`, none for a scalar, stand where `axis` was. It is one graph:
    `sg.vmap` over all other axes.

    >>> x = sg.tensor("x", (4, 3, 2), "float64")
    >>> sg.apply_along_axis(lambda v: sg.outer(v, v), 1, x).type.shape
    (4, 3, 3, 2)
    """
    node = as_node(arr)
    axis = normal_axis(axis, node.ndim)
    rows = o.moveaxis(node, axis, -1)
    lead, n = rows.type.shape[:-1], rows.type.shape[-1]
    values = o.vmap(lambda v: as_node(func1d(v, *args)))(o.reshape(rows, (product(lead), n)))
    own = values.type.shape[1:]
    result = o.reshape(values, (*lead, *own))
    return o.moveaxis(
        result,
        tuple(range(len(lead), len(lead) + len(own))),
        tuple(range(axis, axis + len(own))),
    )
