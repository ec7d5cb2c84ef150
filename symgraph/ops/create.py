"""Arrays made from sizes and numbers: constants, ranges, identity, triangles, diagonals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.config import config
from symgraph.core.dtype import BOOL, FLOAT64, INT64, as_dtype
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, constant, describe, weak_dtype
from symgraph.core.op import Op, function, normal_axis, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import maximum, minimum
from symgraph.ops.base import Size, cast_to, common_dtype, floatx
from symgraph.ops.shape import as_shape, as_size


@register
class Iota(Op):
    name, doc = "iota", "The position along one axis of an array of the given shape."
    params = ("shape", "axis", "dtype")
    not_differentiable = "it has no inputs"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield (), {"shape": (5,), "axis": 0, "dtype": dtype}
        yield (), {"shape": (3, 40), "axis": 1, "dtype": dtype}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return TensorType(params.dtype, params.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        shape, axis, dtype = node.params
        along = np.arange(shape[axis]).astype(dtype.numpy)
        return np.broadcast_to(along.reshape([-1] + [1] * (len(shape) - axis - 1)), shape)

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        return s.as_value(index[node.params.axis], node.dtype)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return node, None


@function
def iota(shape: Any, axis: int = 0, dtype: Any = INT64) -> Node:
    """Return an array whose value is the position along `axis`."""
    sizes = as_shape(shape)
    return Iota.instance(shape=sizes, axis=normal_axis(axis, len(sizes)), dtype=as_dtype(dtype))


@function
def full(shape: Any, value: Any, dtype: Any = None) -> Node:
    """Return an array of `shape` filled with `value` (a number or a scalar node)."""
    if dtype is not None and not isinstance(value, Node):
        node = constant(value, as_dtype(dtype))
    else:
        node = as_node(value)
        node = node if dtype is None else cast_to(node, as_dtype(dtype))
    return o.broadcast_to(node, as_shape(shape))


@function
def zeros(shape: Any, dtype: Any = None) -> Node:
    """Return zeros of `shape`; floatX unless a dtype is given."""
    return full(shape, 0, dtype or config.floatX)


@function
def ones(shape: Any, dtype: Any = None) -> Node:
    """Return ones of `shape`; floatX unless a dtype is given."""
    return full(shape, 1, dtype or config.floatX)


@function
def full_like(x: Any, value: Any, dtype: Any = None) -> Node:
    """Return an array like `x` filled with `value`."""
    node = as_node(x)
    return full(node.type.shape, value, dtype or node.dtype)


@function
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Node:
    """Return start, start + step, ... below stop; sizes may be symbolic, the step is a number.

    Integer bounds may be sizes or integer scalar inputs; float bounds must be numbers.
    """
    if stop is None:
        start, stop = 0, start
    if any(weak_dtype(v) == "f" for v in (start, stop, step)):
        values = np.arange(float(start), float(stop), float(step))
        return constant(values, as_dtype(dtype) if dtype else floatx())
    if not isinstance(step, (int, np.integer)) or step == 0:
        raise ValueError(f"arange needs a non-zero integer step, got {step!r}")
    first, last = as_size(start), as_size(stop)
    length = (last - first + step - (1 if step > 0 else -1)) // step
    length = maximum(length, 0) if not isinstance(length, int) else max(length, 0)
    kind = as_dtype(dtype) if dtype else INT64
    position = iota((length,), 0, INT64)
    scaled = position if step == 1 else position * int(step)
    plain = isinstance(first, int) and first == 0
    return cast_to(scaled if plain else scaled + o.dim_value(first), kind)


@function
def linspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None
) -> Node:
    """Return `num` evenly spaced values from start to stop (which is hit exactly).

    Their type is that of float bounds, floatX for numbers and integers. For a `dtype` of integers
    they are computed in float64 and rounded down.
    """
    given, _ = common_dtype((start, stop))
    kind = given if given is not None and given.is_inexact else floatx()
    kind = as_dtype(dtype) if dtype else kind
    if not kind.is_inexact:
        return cast_to(o.floor(linspace(start, stop, num, endpoint, FLOAT64)), kind)
    a, b = cast_to(as_node(start, (kind,)), kind), cast_to(as_node(stop, (kind,)), kind)
    n = as_size(num)
    parts = maximum(n - 1 if endpoint else n, 1)
    t = iota((n,), 0, kind.part)
    value = a + t * ((b - a) / o.cast(o.dim_value(parts), kind.part))
    last = iota((n,)) + 1  # the end is hit; one number alone is the start
    ends = o.eq(last, o.cast(o.dim_value(maximum(n, 2)), INT64))
    return o.where(ends, b, value) if endpoint else value


@function
def eye(n: Any, m: Any = None, k: int = 0, dtype: Any = None) -> Node:
    """Return an n x m matrix with ones on diagonal k."""
    shape = (as_size(n), as_size(n if m is None else m))
    on = o.eq(iota(shape, 0) + k, iota(shape, 1))
    return cast_to(on, as_dtype(dtype or config.floatX))


@function
def tri(n: Any, m: Any = None, k: int = 0, dtype: Any = None) -> Node:
    """Return an n x m matrix with ones at and below diagonal k."""
    shape = (as_size(n), as_size(n if m is None else m))
    row = iota(shape, 0)
    return cast_to(o.ge(row + k if k else row, iota(shape, 1)), as_dtype(dtype or config.floatX))


def _rows_of(x: Any) -> Node:
    node = as_node(x)
    if node.ndim == 0:
        raise ShapeError(f"a triangle of a matrix is wanted, `{describe(node)}` is {node.type}")
    return node if node.ndim > 1 else o.broadcast_to(node, node.type.shape * 2)


@function
def tril(x: Any, k: int = 0) -> Node:
    """Return `x` with zeros above diagonal k of the last two axes; a vector is each row."""
    node = _rows_of(x)
    n, m = node.type.shape[-2:]
    keep = tri(n, m, k, BOOL)
    return o.where(keep, node, o.zeros((), node.dtype))


@function
def triu(x: Any, k: int = 0) -> Node:
    """Return `x` with zeros below diagonal k of the last two axes; a vector is each row."""
    node = _rows_of(x)
    n, m = node.type.shape[-2:]
    drop = tri(n, m, k - 1, BOOL)
    return o.where(drop, o.zeros((), node.dtype), node)


@function
def diagonal(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Node:
    """Return the diagonal of two axes (the last two); it is the last axis of the result."""
    node = o.moveaxis(as_node(x), (axis1, axis2), (-2, -1))
    rows, columns = node.type.shape[-2:]
    length = maximum(minimum(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = offset if offset >= 0 else -offset * columns
    flat = o.reshape(node, (*node.type.shape[:-2], rows * columns))
    return o.slice_axis(flat, -1, start, length, columns + 1)


@function
def diag(x: Any, k: int = 0) -> Node:
    """Return the diagonal of a matrix, or the matrix with the vector on diagonal k."""
    node = as_node(x)
    if node.ndim == 2:
        return diagonal(node, k)
    n = node.type.shape[0] + abs(k)
    padded = o.pad(node, ((max(k, 0), max(-k, 0)),))
    return o.where(eye(n, n, k, BOOL), padded[None, :], o.zeros((), node.dtype))


@function
def trace(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1, dtype: Any = None) -> Node:
    """Return the sum of the diagonal of two axes (the last two)."""
    return o.sum(diagonal(x, offset, axis1, axis2), -1, dtype)


@function
def meshgrid(*axes: Any, indexing: str = "xy") -> list[Node]:
    """Return the coordinates of a grid from one vector per axis; "xy" swaps the first two axes."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing must be xy or ij, got {indexing!r}")
    vectors = [o.ravel(as_node(a)) for a in axes]
    places = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        places[:2] = [1, 0]
    shape: list[Size] = [1] * len(vectors)
    for k, v in zip(places, vectors, strict=True):
        shape[k] = v.type.shape[0]
    others = [tuple(j for j in range(len(vectors)) if j != k) for k in places]
    return [
        o.broadcast_to(o.expand_dims(v, rest), shape)
        for v, rest in zip(vectors, others, strict=True)
    ]
