"""Elements at integer arrays of positions: read, added to, set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import INT64
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import CONSTANT, Node, describe
from symgraph.core.op import Op, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import must_equal
from symgraph.ops.base import batch_all, batch_front
from symgraph.ops.shape import broadcast_shapes_of, is_one, product


def _integer_samples(rng: Any, dtype: Any) -> Any:
    """Index arrays in range, with negative entries and duplicates."""
    yield ((7, 5), rng.integers(-7, 7, (4,))), {}
    yield ((7, 5), rng.integers(-7, 7, (2, 3)), rng.integers(-5, 5, (3,))), {}
    yield ((9,), rng.integers(0, 9, ())), {}


@register
class Gather(Op):
    takes_complex = True
    name = "gather"
    doc = "x[i0, i1, ...]: integer arrays, broadcast together, index the leading axes."
    linear = (0,)
    samples = staticmethod(_integer_samples)

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x, indices = inputs[0], inputs[1:]
        check_constant_indices(x, indices)
        return x.type.with_shape((*broadcast_shapes_of(*indices), *x.type.shape[len(indices) :]))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(arrays[0][tuple(arrays[1:])])
        except IndexError:
            raise out_of_bounds(node, arrays[0].shape) from None

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        x, indices = node.inputs[0], node.inputs[1:]
        block = node.ndim - (x.ndim - len(indices))
        where = wrapped(s, x, indices, index[:block], lambda k, i: read(k + 1, i))
        return read(0, (*where, *index[block:]))

    def checks(self, low: Any, node: Node) -> None:
        low.check_indices(node, node.inputs[0], node.inputs[1:])

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        x = node.inputs[0]
        return Scatter.instance(o.zeros_like(x), g, *node.inputs[1:], mode="add")

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        """A batch of x gets its number as one more index in front."""
        x, indices = inputs[0], list(inputs[1:])
        n = next(v.type.shape[a] for v, a in zip(inputs, axes, strict=True) if a is not None)
        block = node.ndim - (node.inputs[0].ndim - len(indices))
        indices = [
            v if a is None else batch_front(o, v, a, block)
            for v, a in zip(indices, axes[1:], strict=True)
        ]
        if axes[0] is None:
            return self(x, *indices), 0
        number = o.iota((n,) + (1,) * block, 0)
        return self(o.moveaxis(x, axes[0], 0), number, *indices), 0


def wrapped(
    s: Any, x: Node, indices: Sequence[Node], block: tuple[Any, ...], read: Any
) -> list[Any]:
    """Return the index expressions of a gather; a negative one counts from the end."""
    result = []
    for k, node in enumerate(indices):
        tail = block[len(block) - node.ndim :]
        at = tuple(0 if is_one(n) else i for i, n in zip(tail, node.type.shape, strict=True))
        value = s.cast(read(k, at), INT64)
        n = s.as_value(x.type.shape[k], INT64)
        if node.dtype.kind == "i" and not (node.op is CONSTANT and (node.data >= 0).all()):
            value = s.select(value < 0, value + n, value)
        result.append(s.as_index(value))
    return result


def out_of_bounds(node: Node, shape: tuple[Any, ...]) -> IndexError:
    """Return the error of a gather or scatter one of whose indices is outside of `shape`."""
    x = node.inputs[0]
    indices = node.inputs[2 if node.op.name.startswith("scatter") else 1 :]
    key = ", ".join(describe(i) for i in indices)
    empty = [k for k in range(len(indices)) if shape[k] == 0]
    if empty:  # the index says little: an op such as `pad` may have made it
        return IndexError(
            f"elements of `{describe(x)}` are needed, and its axis {empty[0]} has none: shape "
            f"{shape}\n  node:   made at {node.source}\n"
            "  mend:   give at least one element; sg.pad fills an empty axis by mode='constant'"
        )
    ids = segment_ids(indices[0]) if len(indices) == 1 else None
    if ids is not None:
        return IndexError(
            f"an element of `{describe(ids)}` {ids.type} is out of bounds for {shape[0]} segments "
            f"or bins\n  node:   made at {node.source}\n"
            f"  mend:   they are integers in [0, {shape[0]}); give more segments, a greater length"
        )
    return IndexError(
        f"an index in `{describe(x)}[{key}]` is out of bounds for `{describe(x)}` with shape "
        f"{shape}\n  node:   {node.op.name}, made at {node.source}\n"
        "  mend:   indices must lie in [-n, n); check them with sg.min and sg.max"
    )


def segment_ids(index: Node) -> Node | None:
    """Return what was given as ids of segments, where `index` is what they become (`below`)."""
    if index.op.name != "where" or index.inputs[0].op.name != "lt":
        return None
    ids = index.inputs[2]
    if index.inputs[0].inputs[0] is not ids or not ids.dtype.is_integer:
        return None
    return ids.inputs[0] if ids.op.name == "cast" else ids


def check_constant_indices(x: Node, indices: Sequence[Node]) -> None:
    """Raise IndexError at build time where a constant index is outside a known length."""
    for k, node in enumerate(indices):
        n = x.type.shape[k]
        if node.op is CONSTANT and isinstance(n, int) and node.data.size:
            low, high = int(node.data.min()), int(node.data.max())
            if low < -n or high >= n:
                bad = high if high >= n else low
                raise IndexError(
                    f"index {bad} is out of bounds for axis {k} of `{describe(x)}` with size {n}\n"
                    f"  input:  {x.type}, made at {x.source}"
                )


@register
class Scatter(Op):
    takes_complex = True
    name = "scatter"
    doc = "x with y added to (or set at) x[i0, i1, ...]; duplicates add up, the last set wins."
    params = ("mode",)
    linear = (0, 1)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for mode in ("add", "set"):
            yield ((7, 5), (4, 5), rng.integers(-7, 7, (4,))), {"mode": mode}
            yield (
                ((7, 5), (2, 3), rng.integers(-7, 7, (2, 3)), rng.integers(-5, 5, (3,))),
                {"mode": mode},
            )

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x, y, indices = inputs[0], inputs[1], inputs[2:]
        check_constant_indices(x, indices)
        expected = (*broadcast_shapes_of(*indices), *x.type.shape[len(indices) :])
        if len(expected) != y.ndim or any(
            isinstance(a, int) and isinstance(b, int) and a != b
            for a, b in zip(expected, y.type.shape, strict=True)
        ):
            raise ShapeError(f"scatter into {x.type} at {expected} got values {y.type}")
        for a, b in zip(expected, y.type.shape, strict=True):
            must_equal(a, b)
        return x.type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        out = arrays[0].copy()
        try:
            if node.params.mode == "set":
                out[tuple(arrays[2:])] = arrays[1]
            else:
                np.add.at(out, tuple(arrays[2:]), arrays[1])
        except IndexError:
            raise out_of_bounds(node, out.shape) from None
        return out

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.copy(node, out, 0)
        low.scatter(node, out, node.inputs[2:], "sum" if node.params.mode == "add" else "")

    def checks(self, low: Any, node: Node) -> None:
        low.check_indices(node, node.inputs[0], node.inputs[2:])

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        x, y, indices = node.inputs[0], node.inputs[1], node.inputs[2:]
        if k == 0:
            if node.params.mode == "add":
                return g
            return Scatter.instance(g, o.zeros_like(y), *indices, mode="set")
        taken = Gather.instance(g, *indices)
        if node.params.mode == "add":
            return taken
        # Only the last of duplicate writes reached the result.
        block = broadcast_shapes_of(*indices)
        number = o.reshape(o.iota((product(block),)), block)
        whole = o.zeros(x.type.shape[: len(indices)], INT64)
        winner = o.eq(
            Gather.instance(Scatter.instance(whole, number, *indices, mode="set"), *indices), number
        )
        winner = o.expand_dims(winner, tuple(range(winner.ndim, y.ndim)))
        return o.where(winner, taken, o.zeros((), g.dtype))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        dx, dy = (
            o.zeros_like(x) if t is None else t
            for x, t in zip(node.inputs[:2], tangents[:2], strict=True)
        )
        return Scatter.instance(dx, dy, *node.inputs[2:], mode=node.params.mode)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        n = next(v.type.shape[a] for v, a in zip(inputs, axes, strict=True) if a is not None)
        x, y = batch_all(o, [*inputs[:2], o.iota((n,))], [*axes[:2], 0])[:2]
        block = y.ndim - 1 - (node.inputs[0].ndim - len(inputs[2:]))
        indices = [
            v if a is None else batch_front(o, v, a, block)
            for v, a in zip(inputs[2:], axes[2:], strict=True)
        ]
        return self(x, y, o.iota((n,) + (1,) * block, 0), *indices, mode=node.params.mode), 0
