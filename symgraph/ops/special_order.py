"""Functions of x and of a whole order n that is known when the graph is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import Op
from symgraph.core.types import TensorType
from symgraph.ops.array_builder import Algorithm, in_double
from symgraph.ops.base import half_as_single


class OfOrder(Op):
    """An elementwise op of one argument and an order: an algorithm on float64 values.

    orders: those of the samples, for arrays of shapes (7,), (2, 3), (5,), () and (0,).
    span: where the arguments of the samples lie.
    """

    params = ("n",)
    dtypes = "float"
    arity = 1
    orders: ClassVar[tuple[int, int, int, int, int]]
    span: ClassVar[tuple[float, float]]

    @staticmethod
    def algorithm(s: Any, n: int, x: Any) -> Any:
        """Return the value for an order."""
        raise NotImplementedError

    @classmethod
    def samples(cls, rng: Any, dtype: Any) -> Iterator[tuple[tuple[np.ndarray, ...], Any]]:
        for shape, n in zip(((7,), (2, 3), (5,), (), (0,)), cls.orders, strict=True):
            yield (rng.uniform(*cls.span, shape).astype(dtype.numpy),), {"n": n}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        value = self._forms(node)[1](*arrays)
        return np.asarray(value).astype(node.dtype.numpy, copy=False)

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        return half_as_single(s, node, [read(0, index)], self._forms(node)[0])

    def _forms(self, node: Node) -> tuple[Algorithm, Algorithm]:
        return in_double(lambda s, x: self.algorithm(s, node.params.n, x))

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self.rebuild(node, tuple(inputs)), axes[0]
