"""Several arrays stored as one, by one loop that computes them all: what they share, only once.

Made by expansions and by the replacement of complex numbers, so no derivative is ever taken.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import Op
from symgraph.core.types import TensorType
from symgraph.ops.base import batch_all

StackedParams = namedtuple("StackedParams", "axes counts shape", defaults=[None])  # noqa: PYI024


class Stacked(Op):
    """Arrays of one shape on new axes of lengths `counts`, at places `axes` of the result.

    The last of the new axes counts fastest through the inputs. shape: what the result is reshaped
    to, if it is: the same memory.
    """

    name, doc = "stacked", "Arrays of one shape on new axes, written by one loop."
    params = StackedParams._fields
    Params = StackedParams

    @staticmethod
    def placed(old: Sequence[Any], axes: Sequence[int], new: Sequence[Any]) -> tuple[Any, ...]:
        """Return a shape or an index with `new` entries at the places `axes` of the result."""
        rest, fresh = iter(old), dict(zip(axes, new, strict=True))
        return tuple(
            fresh[k] if k in fresh else next(rest) for k in range(len(old) + len(axes))
        )

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0].type
        if params.shape is not None:
            return x.with_shape(params.shape)
        return x.with_shape(self.placed(x.shape, params.axes, params.counts))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        axes, counts, shape = node.params
        rows = np.stack(arrays).reshape((*counts, *arrays[0].shape))
        whole = np.moveaxis(rows, range(len(axes)), axes)
        return whole if shape is None else whole.reshape(shape)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        fronts = batch_all(o, inputs, axes)
        places = tuple(a + 1 for a in node.params.axes)
        shape = None if node.params.shape is None else (fronts[0].type.shape[0], *node.params.shape)
        return self(*fronts, axes=places, counts=node.params.counts, shape=shape), 0

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.stacked(node, out, self.placed)


STACKED = Stacked.instance = Stacked()


def interleaved(re: Node, im: Node) -> Node:
    """Return two arrays as pairs on a new last axis."""
    return STACKED(re, im, axes=(re.ndim,), counts=(2,))
