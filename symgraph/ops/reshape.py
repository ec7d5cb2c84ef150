"""The same elements under another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import exact_div, must_equal
from symgraph.ops.base import View, batch_front
from symgraph.ops.shape import as_shape, is_one, product, strides

Index = tuple[Any, ...]


@register
class Reshape(View):
    name, doc = "reshape", "The same elements in row-major order under another shape."
    params = ("shape",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for old, new in (((6,), (2, 3)), ((2, 3, 4), (6, 4)), ((2, 3, 4), (4, 6)), ((1,), ())):
            yield (old,), {"shape": new}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        old, new = product(x.type.shape), product(params.shape)
        if isinstance(old, int) and isinstance(new, int) and old != new:
            raise ShapeError(
                f"cannot reshape `{describe(x)}` of {old} elements {x.type.shape} to "
                f"{params.shape} of {new}.\n  input:  {x.type}, made at {x.source}"
            )
        must_equal(old, new)
        return x.type.with_shape(params.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].reshape(node.params.shape)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        flat: Any = 0
        for i, stride in zip(index, strides(node.type.shape), strict=True):
            flat = s.iadd(flat, s.imul(i, stride))
        shape = node.inputs[0].type.shape
        if any(isinstance(n, int) and n == 0 for n in shape):
            return read(0, (0,) * len(shape))  # no element is ever read
        old = []
        for k, (n, stride) in enumerate(zip(shape, strides(shape), strict=True)):
            i = s.ifloordiv(flat, stride) if not is_one(stride) else s.index(flat)
            old.append(0 if is_one(n) else (i if k == 0 else s.imod(i, n)))
        return read(0, tuple(old))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.reshape(g, node.inputs[0].type.shape)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, shape=(x.type.shape[0], *node.params.shape)), 0


@function
def reshape(x: Any, shape: Any, ndim: int | None = None) -> Node:
    """Return the elements of `x` under `shape`; one size may be -1."""
    node = as_node(x)
    new = list(as_shape(shape))
    if ndim is not None and len(new) != ndim:
        raise ShapeError(f"reshape to {new} has {len(new)} axes, ndim says {ndim}")
    unknown = [k for k, n in enumerate(new) if isinstance(n, int) and n == -1]
    if len(unknown) > 1:
        raise ShapeError(f"reshape to {tuple(new)}: only one size may be -1")
    if unknown:
        k = unknown[0]
        rest = product(new[:k] + new[k + 1 :])
        total = product(node.type.shape)
        known = isinstance(rest, int) and isinstance(total, int)
        if known and (rest == 0 or total % rest):
            raise ShapeError(
                f"cannot reshape `{describe(node)}` {node.type.shape} to {tuple(new)}: "
                f"{total} elements do not divide by {rest}"
            )
        exact = exact_div(total, rest)
        new[k] = exact if exact is not None else total // rest
    shape = tuple(new)
    return node if shape == node.type.shape else Reshape.instance(node, shape=shape)


@function
def flatten(x: Any, ndim: int = 1) -> Node:
    """Return `x` with its trailing axes joined so that `ndim` axes are left (Theano's flatten)."""
    node = as_node(x)
    keep = node.type.shape[: ndim - 1]
    return reshape(node, (*keep, product(node.type.shape[ndim - 1 :])))


@function
def ravel(x: Any) -> Node:
    """Return `x` as a vector in row-major order."""
    return flatten(x)
