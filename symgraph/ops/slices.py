"""Slices with fixed steps, their transposes, and arrays with a slice replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import BoundsError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, function, normal_axis, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import is_chosen, must_reach
from symgraph.ops.base import Size, View, batch_all, batch_front
from symgraph.ops.shape import is_one


@register
class Slice(View):
    name, doc = "slice", "Elements starts + i * steps along each axis, i < lengths."
    params = ("starts", "steps", "lengths")

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((7, 9),), {"starts": (1, 8), "steps": (2, -1), "lengths": (3, 9)}
        yield ((40,),), {"starts": (3,), "steps": (1,), "lengths": (33,)}
        yield ((4,),), {"starts": (0,), "steps": (1,), "lengths": (0,)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        for axis, n in enumerate(x.type.shape):
            start, step = params.starts[axis], params.steps[axis]
            _inside(x, axis, n, start, start + step * (params.lengths[axis] - 1), params)
        return x.type.with_shape(params.lengths)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0][_numpy_slices(node.params)]

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        p = node.params
        old = [
            s.iadd(s.imul(i, step), start)
            for i, start, step in zip(index, p.starts, p.steps, strict=True)
        ]
        return read(0, tuple(old))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        p = node.params
        return Place.instance(g, starts=p.starts, steps=p.steps, shape=node.inputs[0].type.shape)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x, p = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim), node.params
        n = x.type.shape[0]
        return self(x, starts=(0, *p.starts), steps=(1, *p.steps), lengths=(n, *p.lengths)), 0


def out_of_bounds(x: Node, axis: int, i: int, n: int) -> BoundsError:
    """Return the error for an index that its axis does not have."""
    return BoundsError(
        f"index {i} is out of bounds for axis {axis} of `{describe(x)}` with size {n}\n"
        f"  input:  {x.type}, made at {x.source}\n"
        f"  mend:   indices of this axis lie in [{-n}, {n})"
    )


def _inside(x: Node, axis: int, n: Size, first: Size, last: Size, params: Any) -> None:
    """Raise where a slice leaves its array; where that is not known yet, ask for it.

    `getitem` clips slices, so what can leave are single elements and the sequences of scans.
    """
    length = params.lengths[axis]
    if isinstance(length, int) and length < 0:
        raise BoundsError(
            f"`{describe(x)}` of type {x.type} is too short on axis {axis}, by {-length}\n"
            f"  input:  made at {x.source}\n"
            "  mend:   what reads it, such as a window or the taps of a scan, must fit into it"
        )
    if isinstance(n, int) and isinstance(first, int) and isinstance(last, int):
        inside = 0 <= min(first, last) <= max(first, last) < n
        if isinstance(length, int) and length == 1 and not inside:
            raise out_of_bounds(x, axis, first if first >= 0 else first - n, n)
        if isinstance(length, int) and length > 0 and not inside:
            raise BoundsError(
                f"`{describe(x)}` of type {x.type} has no elements {first} to {last} on axis {axis}"
                f"\n  input:  made at {x.source}\n"
                "  mend:   a scan needs a sequence as long as its steps and taps reach"
            )
    elif isinstance(length, int) and length > 0:
        for end in (first, last):
            must_reach(n - end, 1)
            must_reach(end, 0)
    elif isinstance(params.steps[axis], int) and not is_chosen(length):
        # of a scan or a window; getitem chooses a length that fits
        must_reach(length, 0)
        if params.steps[axis] in (1, -1):
            must_reach(n - last if params.steps[axis] == 1 else last + 1, 1)


def _numpy_slices(p: Any) -> tuple[slice, ...]:
    result = []
    for start, step, n in zip(p.starts, p.steps, p.lengths, strict=True):
        stop = start + step * n
        result.append(slice(start, None if stop < 0 else stop, step) if n else slice(0, 0))
    return tuple(result)


def _sources(s: Any, index: tuple[Any, ...], p: Any, lengths: tuple[Size, ...]) -> Any:
    """Return each element's position in the slice, and the guard that it has one."""
    guard, source = None, []
    for i, start, step, n in zip(index, p.starts, p.steps, lengths, strict=True):
        back = isinstance(step, int) and step < 0  # a run-time step, of a diagonal, is positive
        offset, size = (s.isub(start, i), -step) if back else (s.isub(i, start), step)
        conditions = []
        if not is_one(size):
            conditions.append(s.eq(s.imod(offset, size), s.index(0)))
            inside = s.inside(offset, (n - 1) * size + 1)
            offset = s.ifloordiv(offset, size)
        else:
            inside = s.inside(offset, n)
        if inside is not None:
            conditions.append(inside)
        for c in conditions:
            guard = c if guard is None else guard & c
        source.append(0 if is_one(n) else offset)
    return tuple(source), guard


@register
class Place(Op):
    takes_complex = True
    name, doc = "place", "Zeros of `shape` with x at starts + i * steps: the transpose of a slice."
    params = ("starts", "steps", "shape")
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 9),), {"starts": (1, 8), "steps": (2, -1), "shape": (7, 9)}
        yield ((20,),), {"starts": (5,), "steps": (1,), "shape": (40,)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_shape(params.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        out = np.zeros(node.params.shape, arrays[0].dtype)
        p = Slice.instance.Params(node.params.starts, node.params.steps, arrays[0].shape)
        out[_numpy_slices(p)] = arrays[0]
        return out

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        source, guard = _sources(s, index, node.params, node.inputs[0].type.shape)
        if guard is None:
            return read(0, source)
        return s.select(guard, read(0, source, guard), s.const(0, node.dtype))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        p = node.params
        lengths = node.inputs[0].type.shape
        return Slice.instance(g, starts=p.starts, steps=p.steps, lengths=lengths)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x, p = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim), node.params
        n = x.type.shape[0]
        return self(x, starts=(0, *p.starts), steps=(1, *p.steps), shape=(n, *p.shape)), 0


@function
def place(x: Any, starts: Any, steps: Any, shape: Any) -> Node:
    """Return zeros of `shape` with `x` at starts + i * steps along each axis."""
    return Place.instance(as_node(x), starts=tuple(starts), steps=tuple(steps), shape=tuple(shape))


@register
class SetSlice(Op):
    takes_complex = True
    name, doc = "set_slice", "x with y in the places starts + i * steps."
    params = ("starts", "steps")
    linear = (0, 1)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((7, 9), (3, 9)), {"starts": (1, 8), "steps": (2, -1)}
        yield ((40,), (21,)), {"starts": (3,), "steps": (1,)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        out = arrays[0].copy()
        p = Slice.instance.Params(node.params.starts, node.params.steps, arrays[1].shape)
        out[_numpy_slices(p)] = arrays[1]
        return out

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        source, guard = _sources(s, index, node.params, node.inputs[1].type.shape)
        if guard is None:
            return read(1, source)
        return s.select(guard, read(1, source, guard), read(0, index))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        p, y = node.params, node.inputs[1]
        if k == 1:
            return Slice.instance(g, starts=p.starts, steps=p.steps, lengths=y.type.shape)
        return SetSlice.instance(g, o.zeros_like(y), starts=p.starts, steps=p.steps)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        dx, dy = (
            o.zeros_like(x) if t is None else t for x, t in zip(node.inputs, tangents, strict=True)
        )
        return SetSlice.instance(dx, dy, starts=node.params.starts, steps=node.params.steps)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x, y = batch_all(o, inputs, axes)
        return self(x, y, starts=(0, *node.params.starts), steps=(1, *node.params.steps)), 0


@function
def slice_axis(x: Any, axis: int, start: Size, length: Size, step: int = 1) -> Node:
    """Return `length` elements along one axis, from `start` with `step`."""
    node = as_node(x)
    axis = normal_axis(axis, node.ndim)
    lengths = list(node.type.shape)
    if lengths[axis] is length and is_zero(start) and step == 1:
        return node
    starts, steps = [0] * node.ndim, [1] * node.ndim
    starts[axis], steps[axis], lengths[axis] = start, step, length
    return Slice.instance(node, starts=tuple(starts), steps=tuple(steps), lengths=tuple(lengths))


def is_zero(n: Size) -> bool:
    return isinstance(n, int) and n == 0
