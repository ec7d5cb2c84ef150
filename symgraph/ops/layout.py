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
    if isinstance(index, Node):
        raise TypeError(
            f"delete: what is left depends on the values of `{describe(index)}` {index.type}\n"
            "  mend:   give numbers, or keep what is wanted: sg.where, sg.take"
        )
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
def piecewise(x: Any, conditions: Sequence[Any], functions: Sequence[Any]) -> Node:
    """Return, for each element, the value of the function whose condition is the last that holds.

    `functions` are of x, or numbers; one more than there are conditions is for where none holds,
    else 0 is there. The result has the dtype of x, as in NumPy.
    """
    node = as_node(x)
    if len(functions) not in (len(conditions), len(conditions) + 1):
        raise ValueError(f"{len(functions)} functions were given for {len(conditions)} conditions")
    values = [cast_to(as_node(f(node) if callable(f) else f), node.dtype) for f in functions]
    default = values.pop() if len(values) > len(conditions) else o.zeros_like(node)
    result = o.broadcast_to(default, node.type.shape)
    for condition, value in zip(conditions, values, strict=True):
        result = o.where(condition, value, result)
    return result


@function
def block(arrays: Any) -> Node:
    """Return nested lists of arrays as one array: the innermost along the last axis, and so on."""

    def depth(part: Any) -> int:
        return 1 + depth(part[0]) if isinstance(part, list) else 0

    def rank(part: Any) -> int:
        return max(map(rank, part), default=0) if isinstance(part, list) else as_node(part).ndim

    levels = depth(arrays)
    ndim = max(levels, rank(arrays))

    def joined(part: Any, level: int) -> Node:
        if isinstance(part, list) != (level > 0) or part == []:
            raise ValueError(f"block: lists must be nested {levels} deep everywhere, and not empty")
        if level == 0:
            node = as_node(part)
            return o.expand_dims(node, tuple(range(ndim - node.ndim))) if node.ndim < ndim else node
        return o.concatenate([joined(p, level - 1) for p in part], -level)

    return joined(arrays, levels)


@function
def resize(x: Any, shape: Any) -> Node:
    """Return the elements of the flattened x, again and again, in a new shape (zeros if none)."""
    flat = o.ravel(x)
    sizes = tuple(o.as_size(n) for n in (shape if isinstance(shape, (list, tuple)) else (shape,)))
    count: Size = 1
    for n in sizes:
        count = count * n
    length = flat.type.shape[0]
    if isinstance(length, int) and length == 0:
        return o.zeros(sizes, flat.dtype)
    place = o.arange(count) % as_node(o.dim_value(length))
    return o.reshape(o.take(flat, place, 0), sizes)


@function
def fix(x: Any) -> Node:
    """Return x rounded towards zero."""
    return o.trunc(x)


@function
def empty(shape: Any, dtype: Any = None) -> Node:
    """Return an array for values to come: zeros."""
    return o.zeros(shape, dtype)


@function
def empty_like(x: Any) -> Node:
    """Return an array like x for values to come: zeros."""
    return o.zeros_like(x)


def _known_size(name: str, n: Any) -> int:
    if not isinstance(n, (int, np.integer)):
        raise ShapeError(
            f"{name}: the number of positions depends on {n}, which is not known\n"
            "  mend:   sg.tril and sg.triu mask arrays of any size"
        )
    return int(n)


@function
def tril_indices(n: int, k: int = 0, m: int | None = None) -> list[Node]:
    """Return the rows and columns (int64) of the lower triangle of n x m matrices, row by row."""
    sizes = [_known_size("tril_indices", v) for v in (n, k, n if m is None else m)]
    return [as_node(a.astype(np.int64)) for a in np.tril_indices(*sizes)]


@function
def triu_indices(n: int, k: int = 0, m: int | None = None) -> list[Node]:
    """Return the rows and columns (int64) of the upper triangle of n x m matrices, row by row."""
    sizes = [_known_size("triu_indices", v) for v in (n, k, n if m is None else m)]
    return [as_node(a.astype(np.int64)) for a in np.triu_indices(*sizes)]


@function
def tril_indices_from(x: Any, k: int = 0) -> list[Node]:
    """Return the rows and columns of the lower triangle of a matrix of known sizes."""
    n, m = as_node(x).type.shape
    return tril_indices(n, k, m)


@function
def triu_indices_from(x: Any, k: int = 0) -> list[Node]:
    """Return the rows and columns of the upper triangle of a matrix of known sizes."""
    n, m = as_node(x).type.shape
    return triu_indices(n, k, m)


@function
def diag_indices(n: Size, ndim: int = 2) -> list[Node]:
    """Return the positions (int64) of the diagonal of an array with `ndim` axes of length n."""
    return [o.arange(o.as_size(n), dtype="int64")] * ndim


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
