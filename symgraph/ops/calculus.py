"""Differences, integrals, polynomials and products of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import INT64
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, normal_axis, o
from symgraph.dims.dim import maximum
from symgraph.ops.base import as_nodes
from symgraph.ops.rows import as_float, as_inexact
from symgraph.ops.statistics import axis_list


def _neighbours(x: Node, axis: int) -> tuple[Node, Node]:
    """Return all elements but the first, and all but the last."""
    n = x.type.shape[axis]
    count = maximum(n - 1, 0)  # none of an empty axis either
    return o.slice_axis(x, axis, 1, count), o.slice_axis(x, axis, 0, count)


@function
def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Node:
    """Return differences of neighbours along `axis`, `n` times; bool: whether they differ."""
    node = as_node(x)
    axis = normal_axis(axis, node.ndim)
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    if n == 0:
        return node  # as in NumPy, nothing is put at the ends either
    ends = [_end(v, node, axis) for v in (prepend, append)]
    parts = [v for v in (ends[0], node, ends[1]) if v is not None]
    node = o.concatenate(as_nodes(parts), axis) if len(parts) > 1 else node
    for _ in range(n):
        after, before = _neighbours(node, axis)
        node = o.ne(after, before) if node.dtype.is_bool else after - before
    return node


def _end(value: Any, x: Node, axis: int) -> Node | None:
    if value is None:
        return None
    node = as_node(value, (x.dtype,))
    if node.ndim:
        return node
    return o.broadcast_to(node, tuple(1 if k == axis else n for k, n in enumerate(x.type.shape)))


@function
def ediff1d(x: Any, to_end: Any = None, to_begin: Any = None) -> Node:
    """Return the differences of neighbours of the flattened array, with numbers around them."""
    middle = diff(o.ravel(x))
    parts = [
        v if isinstance(v, Node) and v is middle else o.ravel(as_node(v, (middle.dtype,)))
        for v in (to_begin, middle, to_end)
        if v is not None
    ]
    return o.concatenate(as_nodes(parts)) if len(parts) > 1 else middle


@function
def gradient(f: Any, *spacing: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Return central differences of samples along each axis (a list where there are several).

    `spacing` is one distance for all axes, or for each axis a distance or a vector of coordinates.
    At the ends, one-sided differences of order 1 or 2.
    """
    x = as_inexact(f)
    axes = [normal_axis(a, x.ndim) for a in (range(x.ndim) if axis is None else axis_list(axis))]
    steps = list(spacing) or [1.0]
    if len(steps) == 1:
        steps = steps * len(axes)
    if len(steps) != len(axes):
        raise TypeError(f"gradient takes one spacing or {len(axes)}, got {len(spacing)}")
    if edge_order not in (1, 2):
        raise ValueError(f"edge_order must be 1 or 2, got {edge_order}")
    results = [_slopes(x, a, h, edge_order) for a, h in zip(axes, steps, strict=True)]
    return results[0] if len(results) == 1 else results


def _slopes(x: Node, axis: int, spacing: Any, edge_order: int) -> Node:
    n = x.type.shape[axis]
    if isinstance(n, int) and n < edge_order + 1:
        raise ShapeError(f"gradient along an axis of length {n} needs {edge_order + 1} elements")
    h = as_inexact(spacing) if isinstance(spacing, Node) else as_node(spacing, (x.dtype,))
    y = o.moveaxis(x, axis, -1)
    steps = diff(h) if h.ndim else o.broadcast_to(h, (n - 1,))
    left, right = steps[:-1], steps[1:]
    a, b, c = y[..., :-2], y[..., 1:-1], y[..., 2:]
    weights = (
        -right / (left * (left + right)),
        (right - left) / (left * right),
        left / (right * (left + right)),
    )
    middle = a * weights[0] + b * weights[1] + c * weights[2]
    if edge_order == 1:
        first = (y[..., 1:2] - y[..., :1]) / steps[:1]
        last = (y[..., -1:] - y[..., -2:-1]) / steps[-1:]
    else:
        first = _edge(y[..., 0:1], y[..., 1:2], y[..., 2:3], steps[:1], steps[1:2])
        last = -_edge(y[..., -1:], y[..., -2:-1], y[..., -3:-2], steps[-1:], steps[-2:-1])
    return o.moveaxis(o.concatenate(as_nodes([first, middle, last]), -1), -1, axis)


def _edge(a: Node, b: Node, c: Node, h: Node, k: Node) -> Node:
    """Return the slope at `a` of the parabola through three points at 0, h, h + k."""
    return -a * (2 * h + k) / (h * (h + k)) + b * (h + k) / (h * k) - c * h / (k * (h + k))


@function
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Node:
    """Return the integral along `axis` by the trapezoidal rule, at points `x` or `dx` apart."""
    values = as_inexact(y)
    axis = normal_axis(axis, values.ndim)
    after, before = _neighbours(values, axis)
    if x is None:
        step = as_node(dx, (values.dtype,))
    else:
        points = as_inexact(x)
        step = diff(points, axis=axis if points.ndim > 1 else 0)
        if points.ndim == 1:
            rest = tuple(k for k in range(values.ndim) if k != axis)
            step = o.expand_dims(step, rest) if rest else step
    return o.sum(step * (after + before) / 2, axis)


@function
def cross(a: Any, b: Any, axis: int = -1) -> Node:
    """Return the vector product along `axis`, of length 3 (or 2: the z component is returned)."""
    x, y = (o.moveaxis(as_node(v), axis, -1) for v in (a, b))
    x, y = as_nodes((x, y))
    lengths = (x.type.shape[-1], y.type.shape[-1])
    if lengths == (2, 2):
        return x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]
    if any(n not in (2, 3) for n in lengths):
        raise ShapeError(
            f"cross needs vectors of 2 or 3 elements, got {lengths[0]} and {lengths[1]}"
        )
    p, q = (
        [v[..., k] if k < n else 0 for k in range(3)] for v, n in zip((x, y), lengths, strict=True)
    )
    parts = [p[(k + 1) % 3] * q[(k + 2) % 3] - p[(k + 2) % 3] * q[(k + 1) % 3] for k in range(3)]
    return o.moveaxis(o.stack(as_nodes(parts), -1), -1, axis)


@function
def inner(a: Any, b: Any) -> Node:
    """Return the sums of products over the last axes of both."""
    x, y = as_node(a), as_node(b)
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    return o.tensordot(x, y, ([x.ndim - 1], [y.ndim - 1]))


@function
def vander(x: Any, n: Any = None, increasing: bool = False) -> Node:
    """Return the matrix of powers of a vector: columns x^(n-1) ... 1, or 1 ... x^(n-1)."""
    node = as_node(x)
    width = node.type.shape[0] if n is None else o.as_size(n)
    power = o.iota((1, width), 1)
    power = power if increasing else width - 1 - power
    return o.power(node[:, None], power if node.dtype.is_integer else o.cast(power, node.dtype))


@function
def convolve(a: Any, v: Any, mode: str = "full") -> Node:
    """Return the convolution of two vectors; mode "full", "same" (the longer one's) or "valid".

    One length may be unknown in the modes "full" and, where it is the greater one, "valid".
    """
    return _sliding(a, v, mode, flip=True)


@function
def correlate(a: Any, v: Any, mode: str = "valid") -> Node:
    """Return the cross-correlation of two vectors: sum over n of a[n + k] v[n]."""
    return _sliding(a, v, mode, flip=False)


def _sliding(a: Any, v: Any, mode: str, flip: bool) -> Node:
    x, w = as_nodes((a, v))
    if not x.ndim == w.ndim == 1:
        raise ShapeError(f"two vectors are needed, got {x.type} and {w.type}")
    n, m = x.type.shape[0], w.type.shape[0]
    known = [size for size in (n, m) if isinstance(size, int)]
    if not known or (len(known) == 1 and mode == "same"):
        raise ShapeError(
            f"{'convolve' if flip else 'correlate'} with mode={mode!r} needs "
            f"{'two vectors' if mode == 'same' else 'one vector'} of known length, got "
            f"`{describe(x)}` {x.type} and `{describe(w)}` {w.type}\n"
            "  mend:   give the shorter vector its length: sg.tensor('w', (5,))"
        )
    if min(known) < 1:
        raise ShapeError("the convolution of an empty vector is not defined")
    turned = False
    if not isinstance(m, int) or (isinstance(n, int) and n < m):
        x, w, turned = w, x, not flip
        n, m = m, n
    around = {"full": (m - 1, m - 1), "valid": (0, 0), "same": (m // 2, (m - 1) // 2)}
    if mode not in around:
        raise ValueError(f"mode must be full, same or valid; got {mode!r}")
    before, after = around[mode]
    image = o.reshape(x, (1, 1, 1, n))
    kernel = o.reshape(w, (1, 1, 1, m))
    result = o.conv2d(image, kernel, padding=((0, 0), (before, after)), flip=flip)
    result = o.squeeze(result, (0, 1, 2))
    return o.flip(result) if turned else result


@function
def unwrap(p: Any, discont: float | None = None, axis: int = -1, period: float = 2 * np.pi) -> Node:
    """Return angles with whole periods added, so that no step is longer than half a period."""
    x = as_float(p)
    axis = normal_axis(axis, x.ndim)
    if x.type.shape[axis] == 0:
        return x
    step = diff(x, axis=axis)
    half = period / 2
    short = o.mod(step + half, period) - half
    short = o.where(o.eq(short, -half) & (step > 0), half, short)
    limit = half if discont is None else max(discont, half)
    change = o.where(o.abs(step) < limit, 0, short - step)
    total = o.cumsum(o.stop_gradient(change), axis)
    first = o.slice_axis(x, axis, 0, 1)
    rest = o.slice_axis(x, axis, 1, x.type.shape[axis] - 1)
    return o.concatenate([first, rest + total], axis)


@function
def ravel_multi_index(multi_index: Sequence[Any], dims: Sequence[Any]) -> Node:
    """Return the row-major positions of index arrays in an array of shape `dims`."""
    place: Node = as_node(np.int64(0))
    for index, n in zip(multi_index, dims, strict=True):
        place = place * o.dim_value(o.as_size(n)) + o.cast(index, INT64)
    return place


@function
def unravel_index(indices: Any, shape: Sequence[Any]) -> list[Node]:
    """Return the index along each axis of row-major positions in an array of `shape`."""
    rest, parts = o.cast(indices, INT64), []
    for n in reversed(list(shape)):
        rest, part = o.divmod(rest, o.dim_value(o.as_size(n)))
        parts.append(part)
    return parts[::-1]
