"""Pooling in one and three dimensions, by the p-norm, and to a given size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.ops.base import Size
from symgraph.ops.convolution import around, numbers
from symgraph.ops.rows import as_float

Pool = Callable[..., Node]


def _windows(
    window: Any, stride: Any, padding: Any, dilation: Any, x: Node, rank: int
) -> tuple[tuple[int, ...], tuple[int, ...], Any, tuple[int, ...]]:
    """Return window, stride (the window when None), padding, dilation with an entry per axis."""
    sizes = numbers(window, rank, "window")
    steps = sizes if stride is None else numbers(stride, rank, "stride")
    apart = numbers(dilation, rank, "dilation")
    return sizes, steps, around(padding, x.type.shape[-rank:], sizes, steps, apart), apart


def _maxima(x: Node, window: Any, stride: Any, padding: Any, dilation: Any, more: bool) -> Node:
    result: Node = o.max_pool2d(x, window, stride, padding, dilation, more)
    return result


def _means(include_pad: bool) -> Pool:
    return lambda x, window, stride, padding, _, more: o.avg_pool2d(
        x, window, stride, padding, include_pad, more
    )


def _along_last(
    f: Pool, x: Any, window: Any, stride: Any, padding: Any, dilation: Any, more: bool
) -> Node:
    node = as_node(x)
    (k,), (s,), (pad,), (d,) = _windows(window, stride, padding, dilation, node, 1)
    image = o.expand_dims(node, node.ndim - 1)
    return o.squeeze(f(image, (1, k), (1, s), ((0, 0), pad), (1, d), more), node.ndim - 1)


@function
def max_pool1d(
    x: Any, window: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
) -> Node:  # fmt: skip
    """Return the largest element of each window of the last axis; NaN wins (see `max_pool2d`)."""
    return _along_last(_maxima, x, window, stride, padding, dilation, ceil_mode)


@function
def avg_pool1d(
    x: Any, window: Any, stride: Any = None, padding: Any = 0, include_pad: bool = True,
    ceil_mode: bool = False,
) -> Node:  # fmt: skip
    """Return the mean of each window of the last axis (see `avg_pool2d`)."""
    return _along_last(_means(include_pad), x, window, stride, padding, 1, ceil_mode)


def _in_depth(
    f: Pool, x: Any, window: Any, stride: Any, padding: Any, dilation: Any, more: bool
) -> Node:
    """Pool the planes, then the depth: maxima and means of windows are separable."""
    node = as_node(x)
    if node.ndim < 3:
        raise ShapeError(f"pooling of volumes needs three axes, `{describe(node)}` is {node.type}")
    k, s, pads, d = _windows(window, stride, padding, dilation, node, 3)
    planes = f(node, k[1:], s[1:], pads[1:], d[1:], more)
    *lead, depth, h, w = planes.type.shape
    flat = o.reshape(planes, (*lead, depth, h * w))
    deep = f(flat, (k[0], 1), (s[0], 1), (pads[0], (0, 0)), (d[0], 1), more)
    return o.reshape(deep, (*lead, deep.type.shape[-2], h, w))


@function
def max_pool3d(
    x: Any, window: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
) -> Node:  # fmt: skip
    """Return the largest element of each window of the last three axes (see `max_pool2d`)."""
    return _in_depth(_maxima, x, window, stride, padding, dilation, ceil_mode)


@function
def avg_pool3d(
    x: Any, window: Any, stride: Any = None, padding: Any = 0, include_pad: bool = True,
    ceil_mode: bool = False,
) -> Node:  # fmt: skip
    """Return the mean of each window of the last three axes (see `avg_pool2d`)."""
    return _in_depth(_means(include_pad), x, window, stride, padding, 1, ceil_mode)


def _norm(x: Any, p: float, mean: Any, count: int) -> Node:
    """Return (sum of |x|^p)^(1/p) of windows; the derivative of a window of zeros is 0."""
    node = as_float(x)
    total = mean(o.power(o.abs(node), p)) * count
    empty = o.eq(total, 0)
    root = o.power(o.where(empty, o.ones((), total.dtype), total), 1.0 / p)
    return o.where(empty, o.zeros((), total.dtype), root)


def _order(p: Any) -> float:
    if not p >= 1:
        raise ValueError(f"the order of a norm is at least 1, got {p}")
    return float(p)


@function
def lp_pool1d(x: Any, p: float, window: Any, stride: Any = None, padding: Any = 0) -> Node:
    """Return the p-norm (sum of |x|^p)^(1/p) of each window of the last axis."""
    (k,) = numbers(window, 1, "window")
    return _norm(x, _order(p), lambda v: avg_pool1d(v, window, stride, padding), k)


@function
def lp_pool2d(x: Any, p: float, window: Any, stride: Any = None, padding: Any = 0) -> Node:
    """Return the p-norm (sum of |x|^p)^(1/p) of each window of the last two axes."""
    h, w = numbers(window, 2, "window")
    return _norm(x, _order(p), lambda v: o.avg_pool2d(v, window, stride, padding), h * w)


# -- to a given size -------------------------------------------------------------------------------
def _targets(x: Node, size: Any, rank: int) -> list[tuple[int, Size, int]]:
    """Return (axis, its length, wanted length) of the pooled axes; None keeps a length."""
    wanted: Sequence[Any] = (size,) * rank if isinstance(size, (int, np.integer)) else tuple(size)
    if len(wanted) != rank or x.ndim < rank:
        raise ShapeError(f"{rank} sizes are needed for `{describe(x)}` {x.type}, got {size}")
    result = []
    for k, m in enumerate(wanted):
        axis = x.ndim - rank + k
        n = x.type.shape[axis]
        if m is None:
            continue
        if (isinstance(n, int) and n < 1) or not isinstance(m, (int, np.integer)) or m < 1:
            raise ShapeError(
                f"axis {axis} of `{describe(x)}` {x.type} cannot be pooled to {m} elements: its "
                "length and their number, which must be known, must be at least 1"
            )
        result.append((axis, n, int(m)))
    return result


def length_of(n: Size) -> Any:
    """Return a length as a number, or as a scalar node where it is known at run time only."""
    return n if isinstance(n, int) else o.dim_value(n)


def count(n: Size) -> Any:
    """Return 0, 1, ... n - 1 as an array, or as a node where n is known at run time only."""
    return np.arange(n) if isinstance(n, int) else o.iota((n,))


def _bounds(n: Any, m: int) -> tuple[Any, Any]:
    """Return where window i of m begins and ends in n elements: floor(i n/m), ceil((i+1) n/m)."""
    i = np.arange(m)
    return i * n // m, -(-(i + 1) * n // m)


def adaptive_avg(x: Any, size: Any, rank: int) -> Node:
    """Return means of windows that cover the last `rank` axes evenly, by one matrix per axis."""
    node = as_float(x)
    kind = node.dtype.numpy
    for axis, n, m in _targets(node, size, rank):
        first, last = _bounds(length_of(n), m)
        k = count(n)
        inside = (k >= first[:, None]) & (k < last[:, None])
        share = inside.astype(kind) / (last - first)[:, None].astype(kind)
        node = o.moveaxis(o.matmul(o.moveaxis(node, axis, -1), share.T), -1, axis)
    return node


def _adaptive_max(x: Any, size: Any, rank: int) -> Node:
    node = as_node(x)
    for axis, n, m in _targets(node, size, rank):
        first, last = _bounds(length_of(n), m)
        # windows are filled up to one length by their last element
        longest = int((last - first).max()) if isinstance(n, int) else n // m + 2
        place = np.minimum(first[:, None] + count(longest), last[:, None] - 1)
        node = o.max(o.take(node, place, axis), axis + 1)
    return node


@function
def adaptive_avg_pool1d(x: Any, size: Any) -> Node:
    """Return means of `size` windows that cover the last axis evenly."""
    return adaptive_avg(x, size, 1)


@function
def adaptive_avg_pool2d(x: Any, size: Any) -> Node:
    """Return means of windows that cover the last two axes evenly; `size` is one number or two."""
    return adaptive_avg(x, size, 2)


@function
def adaptive_avg_pool3d(x: Any, size: Any) -> Node:
    """Return means of windows that cover the last three axes evenly."""
    return adaptive_avg(x, size, 3)


@function
def adaptive_max_pool1d(x: Any, size: Any) -> Node:
    """Return maxima of `size` windows that cover the last axis evenly; NaN wins."""
    return _adaptive_max(x, size, 1)


@function
def adaptive_max_pool2d(x: Any, size: Any) -> Node:
    """Return maxima of windows that cover the last two axes evenly; NaN wins."""
    return _adaptive_max(x, size, 2)


@function
def adaptive_max_pool3d(x: Any, size: Any) -> Node:
    """Return maxima of windows that cover the last three axes evenly; NaN wins."""
    return _adaptive_max(x, size, 3)
