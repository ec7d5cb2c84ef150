"""Functions that rearrange elements, made of slices and gathers: take, flip, roll, pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import INT64
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, normal_axes, normal_axis, o
from symgraph.dims.dim import maximum
from symgraph.ops.base import Size, cast_to
from symgraph.ops.shape import is_one
from symgraph.ops.slices import Place, SetSlice, Slice, is_zero

PAD_MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


@function
def take(x: Any, indices: Any, axis: int | None = None) -> Node:
    """Return the elements of `x` at integer `indices` along `axis` (flattened when None)."""
    node = as_node(x)
    if axis is None:
        node, axis = o.ravel(node), 0
    axis = normal_axis(axis, node.ndim)
    return o.getitem(node, (slice(None),) * axis + (as_node(indices),))


@function
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Node:
    """Return x[..., indices, ...] matched along the other axes, where both are broadcast."""
    node, i = as_node(x), as_node(indices)
    return o.getitem(node, tuple(matched(node, i, normal_axis(axis, node.ndim))))


def matched(x: Node, indices: Node, axis: int) -> list[Node]:
    """Return the full index that `indices` along one axis of `x` stand for."""
    shape = [n if is_one(m) else m for n, m in zip(x.type.shape, indices.type.shape, strict=True)]
    ranges = [
        o.iota(tuple(1 if is_one(x.type.shape[k]) or j != k else n for j in range(x.ndim)), k)
        for k, n in enumerate(shape)
    ]
    return [indices if k == axis else at for k, at in enumerate(ranges)]


@function
def flip(x: Any, axis: int | Sequence[int] | None = None) -> Node:
    """Return `x` with the order along `axis` reversed (all axes when None)."""
    node = as_node(x)
    axes = normal_axes(axis, node.ndim)
    starts = tuple(n - 1 if k in axes else 0 for k, n in enumerate(node.type.shape))
    steps = tuple(-1 if k in axes else 1 for k in range(node.ndim))
    return Slice.instance(node, starts=starts, steps=steps, lengths=node.type.shape)


@function
def roll(x: Any, shift: Any, axis: Any = None) -> Node:
    """Return `x` with elements moved by `shift` along `axis`, re-entering at the other end.

    Several axes take one shift or one each; None rolls the flattened array. Several shifts of one
    axis add up.
    """
    node = as_node(x)
    if isinstance(shift, np.ndarray):
        shift = shift.tolist()
    if not isinstance(axis, (tuple, list)):
        shift = _whole_shift(shift)
    if axis is None:
        return o.reshape(roll(o.ravel(node), shift, 0), node.type.shape)
    if isinstance(axis, (tuple, list)):
        if isinstance(shift, Node) and shift.ndim:
            shift = [shift[k] for k in range(len(axis))]
        shifts = shift if isinstance(shift, (tuple, list)) else [shift] * len(axis)
        for each, a in zip(shifts, axis, strict=True):
            node = roll(node, each, a)
        return node
    axis = normal_axis(axis, node.ndim)
    n = node.type.shape[axis]
    if is_zero(n):
        return node
    if isinstance(shift, Node):  # its value is not compiled in
        return take(node, o.mod(o.iota((n,)) - shift, o.cast(o.dim_value(n), INT64)), axis)
    k = shift % maximum(n, 1)  # an axis may turn out to be empty
    head = o.slice_axis(node, axis, n - k, k)
    return o.concatenate([head, o.slice_axis(node, axis, 0, n - k)], axis)


def _whole_shift(shift: Any) -> Any:
    """Return the sum of several shifts."""
    if isinstance(shift, Node):
        return o.sum(shift) if shift.ndim else shift
    return sum(shift) if isinstance(shift, (tuple, list)) else shift


def _pad_widths(node: Node, pad_width: Any) -> list[tuple[int, int]]:
    given = np.broadcast_to(np.asarray(pad_width, int), (node.ndim, 2)).tolist()
    if any(w < 0 for widths in given for w in widths):
        raise ValueError(f"pad widths must not be negative, got {pad_width}")
    return [(a, b) for a, b in given]


def _pad_source(n: Size, before: int, after: int, mode: str) -> Node:
    """Return the position in an axis of length n of each element of the padded axis."""
    length = cast_to(as_node(o.dim_value(n)), INT64)
    i = o.iota((n + before + after,)) - before
    if mode == "edge":
        return o.clip(i, 0, length - 1)
    if mode == "wrap":
        return o.mod(i, length)
    if mode == "symmetric":  # the end is repeated: period 2 n
        i = o.mod(i, 2 * length)
        return o.where(o.lt(i, length), i, 2 * length - 1 - i)
    i = o.mod(i, 2 * (length - 1))  # a single element has period 0, and an integer mod 0 is 0
    return o.where(o.lt(i, length), i, 2 * (length - 1) - i)


@function
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Node:
    """Return `x` with elements around it; `pad_width` is a number, a pair, or a pair per axis.

    `mode` is "constant" (`constant_values`, given as the widths are), "edge" (the outermost
    element), "reflect" (mirrored, the outermost element not repeated), "symmetric" (mirrored, it is
    repeated) or "wrap" (from the other end).
    """
    node = as_node(x)
    if mode not in PAD_MODES:
        raise ValueError(f"mode must be one of {', '.join(PAD_MODES)}; got {mode!r}")
    widths = _pad_widths(node, pad_width)
    if mode == "constant":
        return _pad_constant(node, widths, constant_values)
    for axis, (a, b) in enumerate(widths):
        n = node.type.shape[axis]
        if a == b == 0:
            continue
        if is_zero(n):
            raise ShapeError(
                f"cannot pad axis {axis} of `{describe(node)}` by {mode!r}: it has no elements.\n"
                f"  input:  {node.type}, made at {node.source}\n  mend:   mode='constant'"
            )
        node = take(node, _pad_source(n, a, b, mode), axis)
    return node


def _pad_constant(node: Node, widths: list[tuple[int, int]], value: Any) -> Node:
    if not isinstance(value, Node) and np.ndim(value):
        for axis, (pair, values) in enumerate(
            zip(widths, np.broadcast_to(value, (node.ndim, 2)), strict=True)
        ):
            for side in (0, 1):
                one = [(0, 0)] * node.ndim
                one[axis] = (pair[0], 0) if side == 0 else (0, pair[1])
                node = _pad_constant(node, one, values[side].item())
        return node
    starts = tuple(a for a, _ in widths)
    shape = tuple(n + a + b for n, (a, b) in zip(node.type.shape, widths, strict=True))
    steps = (1,) * node.ndim
    if not isinstance(value, Node) and value == 0:
        return Place.instance(node, starts=starts, steps=steps, shape=shape)
    return SetSlice.instance(o.full(shape, value, node.dtype), node, starts=starts, steps=steps)
