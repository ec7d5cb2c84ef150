"""Scatters that combine by maximum, minimum, product; segments; writes along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import BOOL, INT64, DType
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, function, normal_axis, o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import Size, cast_to
from symgraph.ops.gather import Gather, Scatter, out_of_bounds
from symgraph.ops.rearrange import matched
from symgraph.ops.rows import as_float
from symgraph.ops.shape import broadcast_shapes_of

REFERENCE = {"max": np.maximum, "min": np.minimum, "prod": np.multiply}
MODES = ("set", "add", *REFERENCE)


@register
class ScatterReduce(Op):
    name = "scatter_reduce"
    doc = "x with y combined into x[i0, i1, ...] by max, min or prod; duplicates combine too."
    params = ("mode",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for mode in REFERENCE:
            yield ((7, 5), (4, 5), rng.integers(-7, 7, (4,))), {"mode": mode}
            yield (
                ((7, 5), (2, 3), rng.integers(-7, 7, (2, 3)), rng.integers(-5, 5, (3,))),
                {"mode": mode},
            )

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return Scatter.instance.infer(inputs, params)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        out = arrays[0].copy()
        try:
            with np.errstate(all="ignore"):
                REFERENCE[node.params.mode].at(out, tuple(arrays[2:]), arrays[1])
        except IndexError:
            raise out_of_bounds(node, out.shape) from None
        return out

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.copy(node, out, 0)
        low.scatter(node, out, node.inputs[2:], node.params.mode)

    def checks(self, low: Any, node: Node) -> None:
        low.check_indices(node, node.inputs[0], node.inputs[2:])

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Any, ...]:
        to_x, to_y = _factors(o, node)
        taken = Gather.instance(g, *node.inputs[2:])
        return (g * to_x, taken * to_y, *(None for _ in node.inputs[2:]))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        (to_x, to_y), (dx, dy) = _factors(o, node), tangents[:2]
        start = o.zeros_like(node) if dx is None else dx * to_x
        if dy is None:
            return start
        return Scatter.instance(start, dy * to_y, *node.inputs[2:], mode="add")

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        mode = node.params.mode
        result, axis = Scatter.instance.batch(
            o, Scatter.instance(*node.inputs, mode="set"), inputs, axes
        )
        return self(*result.inputs, mode=mode), axis


def _factors(o: Namespace, node: Node) -> tuple[Node, Node]:
    """Return the partial derivatives of each result by the x, and by the y, that went into it."""
    x, y, indices = node.inputs[0], node.inputs[1], node.inputs[2:]
    dtype = x.dtype

    def total(first: Node, rest: Node) -> Node:
        return Scatter.instance(cast_to(first, dtype), cast_to(rest, dtype), *indices, mode="add")

    if node.params.mode != "prod":  # shared equally among all that are the extremum
        hit_x, hit_y = o.eq(x, node), o.eq(y, Gather.instance(node, *indices))
        count = total(hit_x, hit_y)
        share = Gather.instance(count, *indices)
        return cast_to(hit_x, dtype) / count, cast_to(hit_y, dtype) / share
    # the product of all others, exact where there are zeros
    zero_x, zero_y, one = o.eq(x, 0), o.eq(y, 0), o.ones((), dtype)
    safe_x, safe_y = o.where(zero_x, one, x), o.where(zero_y, one, y)
    null_x, null_y = o.where(zero_x, x, one), o.where(zero_y, y, one)
    rest, null, zeros, added = (
        ScatterReduce.instance(safe_x, safe_y, *indices, mode="prod"),
        ScatterReduce.instance(null_x, null_y, *indices, mode="prod"),
        total(zero_x, zero_y),
        total(o.where(zero_x, x, 0), o.where(zero_y, y, 0)),
    )
    at_y = [Gather.instance(v, *indices) for v in (rest, null, zeros, added)]
    return (
        _others(o, rest, null, zeros, added, x, zero_x),
        _others(o, at_y[0], at_y[1], at_y[2], at_y[3], y, zero_y),
    )


def _others(
    o: Namespace, rest: Node, null: Node, zeros: Node, added: Node, own: Node, zero: Node
) -> Node:
    """Return the product without the factor `own`.

    rest: the product of the factors that are not 0; null, zeros, added: product, number and sum of
    those that are. Null and added are written so that the next derivative is exact too: of two
    zeros, the other one is added - own. From the third derivative on, three zeros are too many.
    """
    none = o.zeros((), rest.dtype)
    two = o.where(o.eq(zeros, 2), rest * (added - own), none)
    without = o.where(o.eq(zeros, 1), rest, two)
    return o.where(zero, without, rest / o.where(zero, o.ones_like(own), own) * null)


def written(x: Node, y: Node, indices: Sequence[Node], mode: str) -> Node:
    """Return x with y written at x[indices] by one of MODES."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
    op = ScatterReduce.instance if mode in REFERENCE else Scatter.instance
    return op(x, y, *indices, mode=mode)


# -- along an axis, as take_along_axis ------------------------------------------------------------
@function
def put_along_axis(x: Any, indices: Any, values: Any, axis: int = -1, mode: str = "set") -> Node:
    """Return `x` with `values` written at x[..., indices, ...], matched along the other axes.

    `indices` has the rank of x, `values` is broadcast to its shape. `mode` is "set", "add", "max",
    "min" or "prod"; with "set" the last of duplicate indices wins. An index out of range is an
    `IndexError`, a negative one counts from the end.
    """
    node, i = as_node(x), as_node(indices)
    axis = normal_axis(axis, node.ndim)
    if i.ndim != node.ndim or not i.dtype.is_integer:
        raise ShapeError(
            f"indices along an axis of `{describe(node)}` {node.type} need {node.ndim} axes of "
            f"integers, got {i.type}"
        )
    key = matched(node, i, axis)
    shape = broadcast_shapes_of(*key)
    y = o.broadcast_to(cast_to(as_node(values, (node.dtype,)), node.dtype), shape)
    return written(node, y, key, mode)


@function
def scatter_add(x: Any, indices: Any, values: Any, axis: int = 0) -> Node:
    """Return `x` with `values` added along `axis`; see `put_along_axis`."""
    return put_along_axis(x, indices, values, axis, "add")


@function
def scatter_max(x: Any, indices: Any, values: Any, axis: int = 0) -> Node:
    """Return `x` with the maximum of it and `values` along `axis`; see `put_along_axis`."""
    return put_along_axis(x, indices, values, axis, "max")


@function
def scatter_min(x: Any, indices: Any, values: Any, axis: int = 0) -> Node:
    """Return `x` with the minimum of it and `values` along `axis`; see `put_along_axis`."""
    return put_along_axis(x, indices, values, axis, "min")


@function
def scatter_prod(x: Any, indices: Any, values: Any, axis: int = 0) -> Node:
    """Return `x` multiplied by `values` along `axis`; see `put_along_axis`."""
    return put_along_axis(x, indices, values, axis, "prod")


@function
def index_select(x: Any, indices: Any, axis: int = 0) -> Node:
    """Return the slices of `x` at the vector `indices` along `axis`."""
    return o.take(x, indices, axis)


@function
def index_put(x: Any, indices: Any, values: Any, axis: int = 0, mode: str = "set") -> Node:
    """Return `x` with slices `values` written at the vector `indices` along `axis`.

    Modes and duplicates as in `put_along_axis`.
    """
    node, i = as_node(x), as_node(indices)
    axis = normal_axis(axis, node.ndim)
    moved = o.moveaxis(node, axis, 0)
    shape = (*node.type.shape[:axis], *i.type.shape, *node.type.shape[axis + 1 :])
    y = o.broadcast_to(cast_to(as_node(values, (node.dtype,)), node.dtype), shape)
    result = written(moved, o.moveaxis(y, axis, 0), (i,), mode)
    return o.moveaxis(result, 0, axis)


@function
def index_add(x: Any, indices: Any, values: Any, axis: int = 0) -> Node:
    """Return `x` with slices `values` added at the vector `indices` along `axis`."""
    return index_put(x, indices, values, axis, "add")


@function
def masked_fill(x: Any, mask: Any, value: Any) -> Node:
    """Return `x` with `value` where `mask` is true."""
    node = as_node(x)
    return o.where(mask, cast_to(as_node(value, (node.dtype,)), node.dtype), node)


# -- segments -------------------------------------------------------------------------------------
def _lowest(dtype: DType, mode: str) -> Any:
    """Return what leaves every element as it is under `mode`."""
    if mode in ("add", "prod"):
        return 0 if mode == "add" else 1
    if dtype.is_bool:
        return mode == "min"
    if dtype.is_float:
        return -np.inf if mode == "max" else np.inf
    limits = np.iinfo(dtype.numpy)
    return limits.min if mode == "max" else limits.max


def _segments(data: Any, segment_ids: Any, num_segments: Any, mode: str) -> Node:
    x, ids = as_node(data), as_node(segment_ids)
    if not ids.dtype.is_integer or ids.ndim != 1 or x.ndim < 1:
        raise DTypeError(
            f"segments of `{describe(x)}` {x.type} need a vector of integer ids for its first "
            f"axis, got `{describe(ids)}` {ids.type}"
        )
    n = o.as_size(num_segments)
    start = np.asarray(_lowest(x.dtype, mode), x.dtype.numpy)
    whole = o.full((n, *x.type.shape[1:]), start, x.dtype)
    return written(whole, x, (below(ids, n),), mode)


def below(ids: Node, n: Size) -> Node:
    """Return ids that are an IndexError where they are negative, too."""
    if ids.dtype.kind == "u":
        return ids
    wide = cast_to(ids, INT64)
    return o.where(wide < 0, o.dim_value(n), wide)


@function
def segment_sum(data: Any, segment_ids: Any, num_segments: Size) -> Node:
    """Return the sums of the slices of `data` (first axis) that have the same id.

    `segment_ids` is a vector of integers in [0, num_segments), in any order; others are an
    `IndexError`. The result is (num_segments, ...); an empty segment is 0.
    """
    return _segments(data, segment_ids, num_segments, "add")


@function
def segment_prod(data: Any, segment_ids: Any, num_segments: Size) -> Node:
    """Return the products of the slices of `data` with the same id; 1 for an empty segment."""
    return _segments(data, segment_ids, num_segments, "prod")


@function
def segment_max(data: Any, segment_ids: Any, num_segments: Size) -> Node:
    """Return the maxima of the slices of `data` with the same id.

    An empty segment is -inf (the lowest integer); ties share the derivative equally.
    """
    return _segments(data, segment_ids, num_segments, "max")


@function
def segment_min(data: Any, segment_ids: Any, num_segments: Size) -> Node:
    """Return the minima of the slices of `data` with the same id; inf for an empty segment."""
    return _segments(data, segment_ids, num_segments, "min")


@function
def segment_mean(data: Any, segment_ids: Any, num_segments: Size) -> Node:
    """Return the means of the slices of `data` with the same id; 0 for an empty segment."""
    x, ids = as_float(data), as_node(segment_ids)
    total = segment_sum(x, ids, num_segments)
    count = segment_sum(o.ones(ids.type.shape, x.dtype), ids, num_segments)
    shape = (count.type.shape[0], *(1,) * (x.ndim - 1))
    return total / o.reshape(o.maximum(count, 1), shape)


@function
def bincount(x: Any, weights: Any = None, length: Any = None, minlength: Any = 0) -> Node:
    """Return how often each number 0, 1, ... occurs in the vector `x` of integers.

    The result has `length` elements (`minlength` where it is not given), since shapes do not depend
    on data; a number outside is an `IndexError`. int64, or the sums of `weights`.
    """
    ids = o.ravel(x)
    n = minlength if length is None else length
    if isinstance(n, (int, np.integer)) and n < 1:
        raise ValueError("bincount needs the length of its result: bincount(x, length=n)")
    if ids.dtype is BOOL:
        ids = cast_to(ids, INT64)
    amount = o.ones(ids.type.shape, INT64) if weights is None else o.ravel(weights)
    return segment_sum(amount, ids, n)
