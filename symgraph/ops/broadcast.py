"""Repeating along axes, and its transpose, a sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, function, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import must_equal
from symgraph.ops.base import View, batch_front
from symgraph.ops.shape import as_shape, is_one

Index = tuple[Any, ...]


@register
class BroadcastTo(View):
    name, doc = "broadcast_to", "Repeat along new axes and axes of length 1, as NumPy broadcasts."
    params = ("shape",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for old, new in (((), (3,)), ((1, 4), (3, 4)), ((4,), (2, 3, 4)), ((3, 1), (3, 5))):
            yield (old,), {"shape": new}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        if x.ndim > len(params.shape):
            raise ShapeError(f"cannot broadcast `{describe(x)}` {x.type} to {params.shape}")
        for k, n in enumerate(x.type.shape):
            m = params.shape[len(params.shape) - x.ndim + k]
            if isinstance(n, int) and isinstance(m, int) and n not in (1, m):
                raise ShapeError(
                    f"cannot broadcast `{describe(x)}` {x.type.shape} to {params.shape}: axis {k} "
                    f"has length {n}.\n  input:  {x.type}, made at {x.source}"
                )
            if not is_one(n):
                must_equal(n, m)
        return x.type.with_shape(params.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.broadcast_to(arrays[0], node.params.shape)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        x = node.inputs[0]
        tail = index[len(index) - x.ndim :]
        return read(
            0, tuple(0 if is_one(n) else i for i, n in zip(tail, x.type.shape, strict=True))
        )

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.sum_to(g, node.inputs[0])

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.ndim)
        return self(x, shape=(x.type.shape[0], *node.params.shape)), 0


@function
def broadcast_to(x: Any, shape: Any) -> Node:
    """Return `x` repeated to `shape` under NumPy's rule."""
    node, new = as_node(x), as_shape(shape)
    return node if new == node.type.shape else BroadcastTo.instance(node, shape=new)


@register
class SumTo(Op):
    takes_complex = True
    name, doc = "sum_to", "Sum over the axes that broadcasting from `shape` repeated."
    params = ("shape",)
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for old, new in (((3,), ()), ((3, 4), (1, 4)), ((2, 3, 4), (4,)), ((3, 5), (3, 1))):
            yield (old,), {"shape": new}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_shape(params.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        g, shape = arrays[0], node.params.shape
        with np.errstate(all="ignore"):
            g = g.sum(tuple(range(g.ndim - len(shape)))) if g.ndim > len(shape) else g
            axes = tuple(k for k, n in enumerate(shape) if n == 1 and g.shape[k] != 1)
            return np.asarray(g.sum(axes, keepdims=True) if axes else g).astype(node.dtype.numpy)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        """Sum over the axes known to be repeated; a symbolic axis counts as not repeated."""
        g, shape = node.inputs[0], node.params.shape
        lead = g.ndim - len(shape)
        ones = tuple(
            lead + k
            for k, n in enumerate(shape)
            if is_one(n) and not is_one(g.type.shape[lead + k])
        )
        value = o.sum(g, (*range(lead), *ones), g.dtype)
        return o.expand_dims(value, tuple(a - lead for a in ones)) if ones else value

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.broadcast_to(g, node.inputs[0].type.shape)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x, ndim = inputs[0], node.inputs[0].ndim
        x = batch_front(o, x, axes[0], ndim)
        lead = tuple(range(1, 1 + ndim - len(node.params.shape)))
        x = o.sum(x, lead, x.dtype) if lead else x
        return self(x, shape=(x.type.shape[0], *node.params.shape)), 0


@function
def sum_to(g: Any, like: Any) -> Node:
    """Return `g` summed over the axes along which `like` was broadcast to the shape of `g`."""
    node = as_node(g)
    shape = like.type.shape if isinstance(like, Node) else as_shape(like)
    return node if shape == node.type.shape else SumTo.instance(node, shape=shape)


@function
def zeros_like(x: Any, dtype: Any = None) -> Node:
    """Return zeros of the shape (and dtype) of `x`."""
    node = as_node(x)
    return o.full(node.type.shape, 0, dtype or node.dtype)


@function
def ones_like(x: Any, dtype: Any = None) -> Node:
    """Return ones of the shape (and dtype) of `x`."""
    node = as_node(x)
    return o.full(node.type.shape, 1, dtype or node.dtype)
