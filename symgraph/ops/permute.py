"""Axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node
from symgraph.core.op import alias, function, normal_axis, register
from symgraph.core.types import TensorType
from symgraph.ops.base import View, batch_front

Index = tuple[Any, ...]


@register
class PermuteDims(View):
    name, doc = "permute_dims", "Axes in another order: axis k of the result is axes[k] of x."
    params = ("axes",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for old, axes in (((3, 4), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 3, 4), (0, 2, 1))):
            yield (old,), {"axes": axes}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_shape(tuple(inputs[0].type.shape[a] for a in params.axes))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].transpose(node.params.axes)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        old: list[Any] = [0] * len(index)
        for i, a in zip(index, node.params.axes, strict=True):
            old[a] = i
        return read(0, tuple(old))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.permute_dims(g, inverse(node.params.axes))

    def specialise(self, o: Namespace, node: Node) -> Node:
        """Return one exchange for two: an expansion may have ended with another one."""
        x = node.inputs[0]
        if x.op is not self:
            return node
        return o.permute_dims(x.inputs[0], [x.params.axes[a] for a in node.params.axes])

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, axes=(0, *(a + 1 for a in node.params.axes))), 0


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """Return the inverse permutation."""
    result = [0] * len(axes)
    for k, a in enumerate(axes):
        result[a] = k
    return tuple(result)


@function
def permute_dims(x: Any, axes: Sequence[int] | None = None) -> Node:
    """Return `x` with its axes in the order `axes` (reversed when None)."""
    node = as_node(x)
    order = tuple(range(node.ndim))[::-1] if axes is None else tuple(axes)
    order = tuple(normal_axis(int(a), node.ndim) for a in order)
    if sorted(order) != list(range(node.ndim)):
        raise ShapeError(f"axes {axes} are no permutation of the {node.ndim} axes of x")
    return node if order == tuple(range(node.ndim)) else PermuteDims.instance(node, axes=order)


@function
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Node:
    """Return `x` with one axis, or each of several, moved to another place."""
    node = as_node(x)
    origins, places = (
        [normal_axis(a, node.ndim) for a in ([v] if isinstance(v, (int, np.integer)) else v)]
        for v in (source, destination)
    )
    if len(origins) != len(places) or len(set(origins)) != len(set(places)):
        raise ValueError(f"moveaxis of axes {source} to {destination}")
    order = [k for k in range(node.ndim) if k not in origins]
    for place, origin in sorted(zip(places, origins, strict=True)):
        order.insert(place, origin)
    return permute_dims(node, order)


@function
def swapaxes(x: Any, a: int, b: int) -> Node:
    """Return `x` with two axes exchanged."""
    node = as_node(x)
    order = list(range(node.ndim))
    order[a], order[b] = order[b], order[a]
    return permute_dims(node, order)


@function
def matrix_transpose(x: Any) -> Node:
    """Return `x` with its last two axes exchanged."""
    return swapaxes(x, -1, -2)


alias(permute_dims, "transpose")
