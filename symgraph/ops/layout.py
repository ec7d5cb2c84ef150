"""NumPy's functions that stack, split and turn arrays, made of the ops of shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import as_dtype
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, normal_axis, o
from symgraph.dims.dim import minimum
from symgraph.ops.base import Size, as_nodes, cast_to, floatx


@function
def atleast_1d(x: Any) -> Node:
    """Return `x` with at least one axis."""
    return o.atleast_nd(x, 1)


@function
def atleast_2d(x: Any) -> Node:
    """Return `x` with at least two axes; a vector becomes a row."""
    return o.atleast_nd(x, 2)


@function
def atleast_3d(x: Any) -> Node:
    """Return `x` with at least three axes; a vector becomes (1, n, 1), a matrix (m, n, 1)."""
    node = as_node(x)
    if node.ndim == 2:
        return o.expand_dims(node, 2)
    return o.expand_dims(o.atleast_nd(node, 1), (0, 2)) if node.ndim < 2 else node


@function
def hstack(arrays: Sequence[Any]) -> Node:
    """Return the arrays joined side by side: along axis 1, vectors along axis 0."""
    nodes = [atleast_1d(a) for a in arrays]
    return o.concatenate(nodes, 0 if nodes[0].ndim == 1 else 1)


@function
def vstack(arrays: Sequence[Any]) -> Node:
    """Return the arrays joined as rows: along axis 0, vectors as matrices of one row."""
    return o.concatenate([atleast_2d(a) for a in arrays], 0)


@function
def dstack(arrays: Sequence[Any]) -> Node:
    """Return the arrays joined in depth: along axis 2."""
    return o.concatenate([atleast_3d(a) for a in arrays], 2)


@function
def column_stack(arrays: Sequence[Any]) -> Node:
    """Return a matrix with the vectors (and the columns of matrices) as its columns."""
    nodes = [as_node(a) for a in arrays]
    return o.concatenate([a if a.ndim > 1 else o.reshape(a, (-1, 1)) for a in nodes], 1)


@function
def append(x: Any, values: Any, axis: int | None = None) -> Node:
    """Return `x` with `values` behind it along `axis` (both flattened when None)."""
    return o.concatenate(as_nodes((x, values)), axis)


@function
def delete(x: Any, index: Any, axis: int | None = None) -> Node:
    """Return `x` without the elements at `index` along `axis`; index is a number, list or slice."""
    node = as_node(x)
    if axis is None:
        node, axis = o.ravel(node), 0
    axis = normal_axis(axis, node.ndim)
    n = node.type.shape[axis]
    if not isinstance(n, int):
        raise ShapeError(
            f"delete needs the length of axis {axis} of `{describe(node)}` {node.type}"
        )
    return o.take(node, np.delete(np.arange(n), index), axis)


@function
def insert(x: Any, index: int, values: Any, axis: int | None = None) -> Node:
    """Return `x` with `values` in front of position `index` along `axis`."""
    node = as_node(x)
    if axis is None:
        node, axis = o.ravel(node), 0
    axis = normal_axis(axis, node.ndim)
    n = node.type.shape[axis]
    at = index + n if index < 0 else index
    value = cast_to(as_node(values, (node.dtype,)), node.dtype)
    if value.ndim < node.ndim:
        extra = 1 if value.ndim == 0 or node.ndim > 1 else value.type.shape[0]
        shape = tuple(extra if k == axis else m for k, m in enumerate(node.type.shape))
        if node.ndim > 1 and value.ndim == node.ndim - 1:
            value = o.expand_dims(value, axis)
        value = o.broadcast_to(value, shape)
    head, tail = o.slice_axis(node, axis, 0, at), o.slice_axis(node, axis, at, n - at)
    return o.concatenate([head, value, tail], axis)


@function
def array_split(x: Any, sections: Any, axis: int = 0) -> list[Node]:
    """Return parts of `x` along `axis`: as equal as possible, or cut at the given places."""
    node = as_node(x)
    axis = normal_axis(axis, node.ndim)
    n = node.type.shape[axis]
    if not isinstance(sections, (int, np.integer)):
        return o.split(node, sections, axis)
    if sections < 1:
        raise ValueError(f"there must be at least one part, got {sections}")
    size = n // int(sections)
    more = n - size * int(sections)  # parts with one element more, the first ones
    cuts = [size * k + minimum(more, k) for k in range(int(sections) + 1)]
    return [o.slice_axis(node, axis, a, b - a) for a, b in zip(cuts, cuts[1:], strict=False)]


@function
def hsplit(x: Any, sections: Any) -> list[Node]:
    """Return parts of `x` along axis 1 (axis 0 of a vector)."""
    return o.split(x, sections, 0 if as_node(x).ndim == 1 else 1)


@function
def vsplit(x: Any, sections: Any) -> list[Node]:
    """Return parts of `x` along axis 0."""
    return o.split(x, sections, 0)


@function
def dsplit(x: Any, sections: Any) -> list[Node]:
    """Return parts of `x` along axis 2."""
    return o.split(x, sections, 2)


@function
def unstack(x: Any, axis: int = 0) -> list[Node]:
    """Return the slices of `x` along an axis of known length, without this axis."""
    node = as_node(x)
    axis = normal_axis(axis, node.ndim)
    n = node.type.shape[axis]
    if not isinstance(n, int):
        raise ShapeError(
            f"unstack needs the length of axis {axis} of `{describe(node)}` {node.type}"
        )
    return [o.squeeze(o.slice_axis(node, axis, k, 1), axis) for k in range(n)]


@function
def fliplr(x: Any) -> Node:
    """Return `x` with the order along axis 1 reversed."""
    return o.flip(x, 1)


@function
def flipud(x: Any) -> Node:
    """Return `x` with the order along axis 0 reversed."""
    return o.flip(x, 0)


@function
def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Node:
    """Return `x` turned by k quarters in the plane of two axes, from the first to the second."""
    node = as_node(x)
    a, b = (normal_axis(v, node.ndim) for v in axes)
    if a == b:
        raise ValueError(f"rot90 needs two different axes, got {axes}")
    k %= 4
    if k == 0:
        return node
    if k == 2:
        return o.flip(node, (a, b))
    if k == 1:
        return o.swapaxes(o.flip(node, b), a, b)
    return o.flip(o.swapaxes(node, a, b), b)


@function
def rollaxis(x: Any, axis: int, start: int = 0) -> Node:
    """Return `x` with `axis` moved in front of axis `start`."""
    node = as_node(x)
    axis = normal_axis(axis, node.ndim)
    start = start + node.ndim if start < 0 else start
    if not 0 <= start <= node.ndim:
        raise np.exceptions.AxisError(start, node.ndim + 1, "start")
    return o.moveaxis(node, axis, start - 1 if axis < start else start)


@function
def diagflat(x: Any, k: int = 0) -> Node:
    """Return the matrix with the flattened array on diagonal k."""
    return o.diag(o.ravel(x), k)


@function
def block_diag(*arrays: Any) -> Node:
    """Return the matrix with the given matrices along its diagonal, zeros elsewhere.

    A vector is a row, a number one element; arrays promote to a common dtype. Raises `ShapeError`.
    """
    blocks = [atleast_2d(a) for a in as_nodes(arrays)] if arrays else []
    for b in blocks:
        if b.ndim > 2:
            raise ShapeError(f"block_diag of matrices, `{describe(b)}` is {b.type}")
    if not blocks:
        return o.zeros((1, 0), floatx())
    width: Any = sum(b.type.shape[1] for b in blocks)
    rows, before = [], 0
    for b in blocks:
        height, n = b.type.shape
        rows.append(o.place(b, (0, before), (1, 1), (height, width)))
        before = before + n
    return rows[0] if len(rows) == 1 else o.concatenate(rows, 0)


@function
def fill_diagonal(x: Any, value: Any) -> Node:
    """Return a matrix (or a stack of them) with `value` on the main diagonal."""
    node = as_node(x)
    rows, columns = node.type.shape[-2:]
    on = o.eq(o.iota((rows, 1), 0), o.iota((1, columns), 1))
    fill = cast_to(as_node(value, (node.dtype,)), node.dtype)
    if fill.ndim:  # one value for each row
        fill = o.expand_dims(fill, fill.ndim)
    return o.where(on, fill, node)


@function
def broadcast_arrays(*arrays: Any) -> list[Node]:
    """Return the arrays broadcast to their common shape."""
    nodes = [as_node(a) for a in arrays]
    shape = o.broadcast_shapes_of(*nodes)
    return [o.broadcast_to(a, shape) for a in nodes]


@function
def choose(index: Any, choices: Sequence[Any], mode: str = "raise") -> Node:
    """Return, for each element, that of `choices[index]`; mode "wrap" or "clip" mends the index."""
    options, i = as_nodes(list(choices)), as_node(index)
    if mode == "wrap":
        i = o.mod(i, len(choices))
    elif mode == "clip":
        i = o.clip(i, 0, len(choices) - 1)
    elif mode != "raise":
        raise ValueError(f"mode must be raise, wrap or clip; got {mode!r}")
    shape = o.broadcast_shapes_of(i, *options)
    whole = o.stack([o.broadcast_to(x, shape) for x in options], 0)
    place = o.expand_dims(o.broadcast_to(i, shape), 0)
    return o.squeeze(o.take_along_axis(whole, place, 0), 0)


@function
def select(conditions: Sequence[Any], choices: Sequence[Any], default: Any = 0) -> Node:
    """Return the element of the first choice whose condition holds, else `default`."""
    if len(conditions) != len(choices):
        raise ValueError(f"{len(conditions)} conditions were given for {len(choices)} choices")
    result: Any = default
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        result = o.where(condition, choice, result)
    return as_node(result)


@function
def identity(n: Size, dtype: Any = None) -> Node:
    """Return the n x n identity matrix."""
    return o.eye(n, dtype=dtype)


@function
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10.0,
    dtype: Any = None,
) -> Node:
    """Return base ** linspace(start, stop, num)."""
    kind = as_dtype(dtype) if dtype else floatx()
    exponents = o.linspace(start, stop, num, endpoint, kind if kind.is_float else floatx())
    value = o.power(cast_to(as_node(base, (exponents.dtype,)), exponents.dtype), exponents)
    return value if dtype is None else o.cast(value, dtype)


@function
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True) -> Node:
    """Return `num` numbers from start to stop with a constant quotient; both ends are hit."""
    first, last = (cast_to(as_node(v), floatx()) for v in (start, stop))
    steps = num - 1 if endpoint else num
    share = o.iota((num,)) / max(steps, 1)
    share = cast_to(share, first.dtype)
    value = o.sign(first) * o.exp(o.log(o.abs(first)) * (1 - share) + o.log(o.abs(last)) * share)
    value = o.where(o.eq(share, 0), first, value)
    return o.where(o.eq(o.iota((num,)), num - 1), last, value) if endpoint and num > 1 else value


@function
def indices(dimensions: Sequence[Size], dtype: Any = "int64") -> Node:
    """Return the index grids of an array: (axes, *dimensions)."""
    shape = tuple(o.as_size(n) for n in dimensions)
    return o.stack([o.iota(shape, k, dtype) for k in range(len(shape))], 0)
