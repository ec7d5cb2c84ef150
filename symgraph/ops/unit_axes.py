"""Axes of length 1: inserted, removed, and `dimshuffle`, which permutes others too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, normal_axes, o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import View, batch_front
from symgraph.ops.shape import is_one

Index = tuple[Any, ...]


class UnitAxes(View):
    """Base of the two: `axes` of length 1."""

    params = ("axes",)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, axes=tuple(a + 1 for a in node.params.axes)), 0


@register
class ExpandDims(UnitAxes):
    name, doc = "expand_dims", "Insert axes of length 1 at the given places of the result."

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 4),), {"axes": (0, 2)}
        yield ((),), {"axes": (0,)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        rest = iter(inputs[0].type.shape)
        ndim = inputs[0].ndim + len(params.axes)
        return inputs[0].type.with_shape(
            tuple(1 if k in params.axes else next(rest) for k in range(ndim))
        )

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.expand_dims(arrays[0], node.params.axes)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        return read(0, tuple(i for k, i in enumerate(index) if k not in node.params.axes))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.squeeze(g, node.params.axes)


@function
def expand_dims(x: Any, axis: int | Sequence[int] = 0) -> Node:
    """Return `x` with axes of length 1 inserted at the places `axis` of the result."""
    node = as_node(x)
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    axes = normal_axes(given, node.ndim + len(given))
    return ExpandDims.instance(node, axes=axes) if axes else node


@register
class Squeeze(UnitAxes):
    name, doc = "squeeze", "Remove axes of length 1."

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 1, 4, 1),), {"axes": (1, 3)}
        yield ((1,),), {"axes": (0,)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        for a in params.axes:
            n = x.type.shape[a]
            if isinstance(n, int) and n != 1:
                raise ShapeError(
                    f"cannot squeeze axis {a} of `{describe(x)}`: its length is {n}, not 1.\n"
                    f"  input:  {x.type}, made at {x.source}"
                )
        kept = tuple(n for k, n in enumerate(x.type.shape) if k not in params.axes)
        return x.type.with_shape(kept)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.squeeze(arrays[0], node.params.axes)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        rest = iter(index)
        ndim = node.inputs[0].ndim
        return read(0, tuple(0 if k in node.params.axes else next(rest) for k in range(ndim)))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.expand_dims(g, node.params.axes)


@function
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Node:
    """Return `x` without axes of length 1 (those known to be 1 when axis is None)."""
    node = as_node(x)
    if axis is None:
        axes = tuple(k for k, n in enumerate(node.type.shape) if is_one(n))
    else:
        axes = normal_axes(axis, node.ndim)
    return Squeeze.instance(node, axes=axes) if axes else node


@function
def dimshuffle(x: Any, *pattern: Any) -> Node:
    """Return `x` with axes permuted, dropped and inserted ("x"), as Theano's dimshuffle."""
    node = as_node(x)
    order = pattern[0] if len(pattern) == 1 and isinstance(pattern[0], (list, tuple)) else pattern
    kept = [int(p) for p in order if p != "x"]
    dropped = tuple(k for k in range(node.ndim) if k not in kept)
    node = squeeze(node, dropped) if dropped else node
    rank = {a: k for k, a in enumerate(sorted(kept))}
    node = o.permute_dims(node, [rank[a] for a in kept])
    inserted = tuple(k for k, p in enumerate(order) if p == "x")
    return expand_dims(node, inserted) if inserted else node


@function
def atleast_nd(x: Any, ndim: int) -> Node:
    """Return `x` with axes of length 1 in front until it has `ndim`."""
    node = as_node(x)
    return expand_dims(node, tuple(range(ndim - node.ndim))) if node.ndim < ndim else node
