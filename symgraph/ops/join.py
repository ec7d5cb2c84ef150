"""Arrays joined, repeated along an axis, and split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, alias, function, normal_axis, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import must_equal
from symgraph.ops.base import Size, as_nodes, batch_all, clash
from symgraph.ops.shape import as_shape, as_size


@register
class Concatenate(Op):
    takes_complex = True
    name, doc = "concatenate", "Join arrays along an existing axis."
    params = ("axis",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((2, 3), (4, 3)), {"axis": 0}
        yield ((2, 3), (2, 1), (2, 20)), {"axis": 1}
        yield ((0,), (4,)), {"axis": 0}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        shape = list(inputs[0].type.shape)
        for node in inputs[1:]:
            if node.ndim != len(shape):
                lines = [
                    f"\n  input:  {describe(i)}  {i.type}, made at {i.source}"
                    for i in (inputs[0], node)
                ]
                raise ShapeError(
                    f"cannot concatenate `{describe(inputs[0])}` with {len(shape)} axes and "
                    f"`{describe(node)}` with {node.ndim}.{''.join(lines)}\n"
                    "  mend:   insert an axis: x[None]"
                )
            for k, n in enumerate(node.type.shape):
                if k == params.axis:
                    shape[k] = shape[k] + n
                elif isinstance(n, int) and isinstance(shape[k], int) and n != shape[k]:
                    raise clash("concatenate", inputs, k, node.ndim)
                else:
                    must_equal(n, shape[k])
                    shape[k] = n if isinstance(n, int) else shape[k]
        return inputs[0].type.with_shape(tuple(shape))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.concatenate(arrays, node.params.axis)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        parts = [
            o.zeros_like(x) if t is None else t for x, t in zip(node.inputs, tangents, strict=True)
        ]
        return o.concatenate(parts, node.params.axis)

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node, ...]:
        axis, start, parts = node.params.axis, 0, []
        for x in node.inputs:
            n = x.type.shape[axis]
            parts.append(o.slice_axis(g, axis, start, n))
            start = start + n
        return tuple(parts)

    def statements(self, low: Any, node: Node, out: Any) -> None:
        """Each part is stored straight into its region of the result."""
        start: Size = 0
        for k, x in enumerate(node.inputs):
            low.store_region(node, out, k, node.params.axis, start)
            start = start + x.type.shape[node.params.axis]

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self(*batch_all(o, inputs, axes), axis=node.params.axis + 1), 0


@function
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Node:
    """Return the arrays joined along `axis` (None: flattened ones)."""
    nodes = as_nodes(tuple(arrays))
    if axis is None:
        nodes, axis = [o.ravel(n) for n in nodes], 0
    if not nodes or nodes[0].ndim == 0:
        raise ShapeError("concatenate needs at least one array with at least one axis; use stack")
    if len(nodes) == 1:
        return nodes[0]
    return Concatenate.instance(*nodes, axis=normal_axis(axis, nodes[0].ndim))


@function
def stack(arrays: Sequence[Any], axis: int = 0) -> Node:
    """Return the arrays joined along a new axis."""
    nodes = as_nodes(tuple(arrays))
    axis = normal_axis(axis, nodes[0].ndim + 1)
    return concatenate([o.expand_dims(n, axis) for n in nodes], axis)


@function
def tile(x: Any, reps: Any) -> Node:
    """Return `x` repeated `reps` times along each axis."""
    times = as_shape(reps)
    node = o.atleast_nd(x, len(times))
    times = (1,) * (node.ndim - len(times)) + times
    old = node.type.shape
    doubled = [n for t, m in zip(times, old, strict=True) for n in (t, m)]
    wide = o.reshape(node, tuple(n for m in old for n in (1, m)))
    sizes = [t * m for t, m in zip(times, old, strict=True)]
    return o.reshape(o.broadcast_to(wide, doubled), sizes)


@function
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Node:
    """Return `x` with each element along `axis` repeated `repeats` times.

    `repeats` is a number for all, or numbers (no variables), one for each element.
    """
    node = as_node(x)
    if axis is None:
        node, axis = o.ravel(node), 0
    axis = normal_axis(axis, node.ndim)
    if not isinstance(repeats, Node) and np.ndim(repeats):
        times = np.asarray(repeats, np.int64)
        shape = list(node.type.shape)
        shape[axis] = len(times)  # a clash of lengths is an error of reshape
        if len(times) > 1:
            return o.take(o.reshape(node, shape), np.repeat(np.arange(len(times)), times), axis)
        repeats = int(times[0])
    n, shape = as_size(repeats), list(node.type.shape)
    wide = o.broadcast_to(
        o.expand_dims(node, axis + 1), (*shape[: axis + 1], n, *shape[axis + 1 :])
    )
    shape[axis] = shape[axis] * n
    return o.reshape(wide, shape)


@function
def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Node]:
    """Return parts of `x`: `sections` equal ones, or cut at the given places.

    Places beyond the end give empty parts where the length is known now; where it is not, they are
    an error of the call.
    """
    node = as_node(x)
    axis = normal_axis(axis, node.ndim)
    n = node.type.shape[axis]
    if isinstance(sections, (int, np.integer)):
        if sections < 1 or (isinstance(n, int) and n % sections):
            raise ShapeError(
                f"axis {axis} of `{describe(node)}` with length {n} does not split into {sections} "
                f"equal parts\n  input:  {node.type}, made at {node.source}\n"
                "  mend:   sg.array_split makes parts that are equal but for one element"
            )
        size, shape = n // int(sections), node.type.shape
        if isinstance(n, int):
            return [o.slice_axis(node, axis, size * k, size) for k in range(sections)]
        parts = o.reshape(node, (*shape[:axis], int(sections), size, *shape[axis + 1 :]))
        return [o.squeeze(o.slice_axis(parts, axis, k, 1), axis) for k in range(sections)]
    cuts = [0, *sections, n]
    places = [c for c in cuts[:-1] if isinstance(c, (int, np.integer))]
    falls = len(places) < len(cuts) - 1 or places == sorted(places)
    if isinstance(n, int) and len(places) == len(cuts) - 1 or not falls:
        before = (slice(None),) * axis
        return [o.getitem(node, (*before, slice(*ab))) for ab in zip(cuts, cuts[1:], strict=False)]
    return [o.slice_axis(node, axis, a, b - a) for a, b in zip(cuts, cuts[1:], strict=False)]


alias(concatenate, "concat")
