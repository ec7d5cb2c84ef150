"""Sorting along an axis: argsort is the op; sort, topk, lexsort and unique are made of it.

Orders are stable, NaN counts as the largest value and -0 equals 0, as in NumPy. A sorted array is
gathered by its order, so its derivative is moved back the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import INT64
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, function, normal_axis, o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import Size, as_nodes, batch_front, cast_to


@register
class Argsort(Op):
    name = "argsort"
    doc = "The positions that sort each row (last axis), stable; NaN is the largest value."
    params: tuple[str, ...] = ("descending",)
    not_differentiable = "the result is an index"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for shape in ((7,), (3, 50), (2, 3, 4), (0,), (2, 0), (1, 1), (1, 300)):
            yield (shape,), {"descending": False}
        yield ((5, 60),), {"descending": True}
        yield ((3, 9),), {"descending": True}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        if inputs[0].ndim == 0:
            raise ShapeError(f"`{describe(inputs[0])}` is a scalar: there is no axis to sort along")
        return TensorType(INT64, inputs[0].type.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x = arrays[0]
        if not node.params.descending:
            return np.argsort(x, axis=-1, kind="stable")
        # the reverse of a stable order of the reverse keeps ties in place
        order = np.argsort(x[..., ::-1], axis=-1, kind="stable")
        return np.asarray(x.shape[-1] - 1 - order[..., ::-1], np.int64)

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.argsort(node, out)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, descending=node.params.descending), 0


@register
class ArgsortFirst(Argsort):
    """What a slice of `argsort` becomes: see `rewrites/indexing.py`."""

    name = "argsort_first"
    doc = "The first `count` positions that sort each row (last axis): those of `argsort`."
    params = ("descending", "count")

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for shape, count in (((7,), 3), ((3, 50), 1), ((2, 3, 4), 4), ((2, 60), 20), ((0, 3), 2)):
            yield (shape,), {"descending": False, "count": count}
        yield ((5, 60),), {"descending": True, "count": 7}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return TensorType(INT64, (*inputs[0].type.shape[:-1], params.count))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return super().numpy(node, *arrays)[..., : node.params.count]

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, descending=node.params.descending, count=node.params.count), 0


def rows_of(x: Any, axis: int | None) -> tuple[Node, int]:
    """Return `x` (flattened when `axis` is None) and the axis as a number that is not negative."""
    node = as_node(x)
    if axis is None:
        return o.ravel(node), 0
    return node, normal_axis(axis, node.ndim)


@function
def argsort(x: Any, axis: int | None = -1, descending: bool = False) -> Node:
    """Return the positions that sort `x` along `axis`, int64; equal elements keep their order.

    NaN counts as the largest value. `axis=None` sorts the flattened array.
    """
    node, axis = rows_of(x, axis)
    order = Argsort.instance(o.moveaxis(node, axis, -1), descending=bool(descending))
    return o.moveaxis(order, -1, axis)


@function
def sort(x: Any, axis: int | None = -1, descending: bool = False) -> Node:
    """Return `x` sorted along `axis` (of the flattened array when None), stable, NaN last.

    A descending order has NaN first. The derivative of each element goes where it came from.
    """
    node, axis = rows_of(x, axis)
    return o.take_along_axis(node, argsort(node, axis, descending), axis)


@function
def partition(x: Any, kth: int, axis: int | None = -1) -> Node:
    """Return x with the kth smallest element along `axis` in its place, smaller ones before it.

    All are sorted, which is one such order.
    """
    _check_place("partition", x, kth, axis)
    return sort(x, axis)


@function
def argpartition(x: Any, kth: int, axis: int | None = -1) -> Node:
    """Return the positions (int64) of the elements in the order of `partition`."""
    _check_place("argpartition", x, kth, axis)
    return argsort(x, axis)


def _check_place(name: str, x: Any, kth: int, axis: int | None) -> None:
    node, axis = rows_of(x, axis)
    n = node.type.shape[axis]
    if isinstance(n, int) and isinstance(kth, int) and not -n <= kth < n:
        raise ShapeError(
            f"{name}: axis {axis} of `{describe(node)}` {node.type} has no place {kth}"
        )


@function
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Node, Node]:
    """Return the k largest (or smallest) elements along `axis`, in order, and their positions.

    Of equal elements the first ones are taken; NaN counts as the largest value. Raises `ShapeError`
    where the axis is known to be shorter than k.
    """
    node, axis = rows_of(x, axis)
    n = node.type.shape[axis]
    if isinstance(n, int) and not 0 <= k <= n:
        raise ShapeError(f"topk: axis {axis} of `{describe(node)}` {node.type} has no {k} elements")
    order = o.slice_axis(argsort(node, axis, largest), axis, 0, k)
    return o.take_along_axis(node, order, axis), order


@function
def lexsort(keys: Sequence[Any], axis: int = -1) -> Node:
    """Return the positions that sort by the last key, where it ties by the one before, and so on.

    `keys` is a sequence of arrays of one shape, or an array whose first axis lists them.
    """
    columns = list(keys) if isinstance(keys, (list, tuple)) else list(_parts(as_node(keys)))
    if not columns:
        raise TypeError("lexsort needs at least one key")
    order = argsort(columns[0], axis)
    for key in columns[1:]:
        again = argsort(o.take_along_axis(key, order, axis), axis)
        order = o.take_along_axis(order, again, axis)
    return order


def _parts(x: Node) -> list[Node]:
    n = x.type.shape[0] if x.ndim else 0
    if not isinstance(n, int):
        raise ShapeError(f"the number of keys in `{describe(x)}` {x.type} must be known")
    return [x[k] for k in range(n)]


@function
def unique(
    x: Any,
    size: Size,
    fill_value: Any = None,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
) -> Any:
    """Return the sorted distinct elements of `x`, as a vector of `size` elements.

    Shapes do not depend on data: of more distinct elements the smallest are kept, behind fewer
    stands `fill_value` (the smallest element when None). On request also the position of the first
    of each in the flattened array, the position in the result of every element of `x`, in its shape
    (`size` or more for one that was left out), and how often each occurs (0 for filled places). All
    NaN count as one.
    """
    node, wanted = as_node(x), o.as_size(size)
    flat = o.ravel(node)
    n = flat.type.shape[0]
    order = argsort(flat)
    ordered = o.take(flat, order, 0)
    number = o.iota((n,), 0)
    before = o.take(ordered, o.maximum(number - 1, 0), 0)  # no slice of n - 1: n may be 0
    new = o.ne(before, ordered) & ~(o.isnan(before) & o.isnan(ordered))
    new = o.logical_or(o.eq(number, 0), new)
    rank = o.cumsum(cast_to(new, INT64)) - 1
    place = o.minimum(rank, o.dim_value(wanted))  # what does not fit goes to one more place
    first = o.where(new, place, o.dim_value(wanted))

    def stored(start: Any, values: Node, where: Node) -> Node:
        whole = o.broadcast_to(start, (wanted + 1,))
        return o.slice_axis(o.set_subtensor(whole[where], values), 0, 0, wanted)

    if fill_value is None:
        start = o.concatenate([ordered, o.zeros((1,), flat.dtype)])[0]
    else:
        start = as_node(fill_value, (flat.dtype,))
    results = [stored(cast_to(start, flat.dtype), ordered, first)]
    if return_index:
        results.append(stored(as_node(np.int64(0)), order, first))
    if return_inverse:
        back = o.zeros((n,), INT64)
        results.append(o.reshape(o.set_subtensor(back[order], rank), node.type.shape))
    if return_counts:
        counts = o.zeros((wanted + 1,), INT64)
        counts = o.inc_subtensor(counts[place], o.ones((n,), INT64))
        results.append(o.slice_axis(counts, 0, 0, wanted))
    return results[0] if len(results) == 1 else tuple(results)


@function
def union1d(x: Any, y: Any, size: Size, fill_value: Any = None) -> Node:
    """Return the sorted distinct elements of two arrays as a vector of `size`, see `unique`."""
    both: Node = unique(o.concatenate([o.ravel(v) for v in as_nodes((x, y))], 0), size, fill_value)
    return both
