"""Sizes and shapes: as nodes, and from what a user gives.

Sizes in parameters may be numbers or symbolic dims; `as_size` turns a user's size into either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import FLOAT32, INT64
from symgraph.core.errors import SymbolicValueError
from symgraph.core.namespace import Namespace
from symgraph.core.node import CONSTANT, INPUT, Node, as_node, describe
from symgraph.core.op import Op, function, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import Dim, broadcast, symbol, test_size
from symgraph.ops.base import Size

Index = tuple[Any, ...]


@register
class DimValue(Op):
    name = "dim_value"
    doc = "A size as a scalar, int64 or another; depends on the shapes of inputs, not their values."
    params = ("dim", "dtype")
    not_differentiable = "the result depends on no value"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield (), {"dim": 3, "dtype": INT64}
        yield (), {"dim": 3, "dtype": FLOAT32}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return TensorType(params.dtype, ())

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(node.params.dim, np.int64).astype(node.dtype.numpy)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        return s.cast(s.as_value(node.params.dim, INT64), node.dtype)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return node, None


@function
def dim_value(n: Size) -> Node:
    """Return the size `n` (a number or a symbolic dim) as an int64 scalar node."""
    if isinstance(n, int):
        return as_node(n)
    node = DimValue.instance(dim=n, dtype=INT64)
    known = test_size(n)
    if isinstance(known, int):
        node.test_value = np.asarray(known)
    return node


@function
def shape(x: Any) -> tuple[Any, ...]:
    """Return the sizes of `x`: a Python int where known, else an int64 scalar node."""
    return tuple(n if isinstance(n, int) else dim_value(n) for n in as_node(x).type.shape)


_ARITHMETIC = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
}


@function
def as_size(value: Any) -> Size:
    """Return a user's size as an `int` or a `Dim`.

    Accepts integers, sizes taken from `x.shape`, integer scalar inputs (their value then belongs to
    the shape) and sums, products and quotients of these. Anything computed from array values raises
    `SymbolicValueError`: the shape of a result cannot depend on data.
    """
    if isinstance(value, (int, np.integer, Dim)):
        return int(value) if not isinstance(value, Dim) else value
    if isinstance(value, Node) and value.ndim == 0 and value.dtype.kind in "iu":
        if value.op is CONSTANT:
            return int(value.data)
        if value.op.name == "dim_value":
            return value.params.dim
        if value.op.name == "cast":
            return as_size(value.inputs[0])
        if value.op is INPUT:
            if value.data is None:
                value.data = symbol(describe(value))
            return value.data
        if value.op.name in _ARITHMETIC:
            return _ARITHMETIC[value.op.name](*map(as_size, value.inputs))
    what = describe(value) if isinstance(value, Node) else repr(value)
    raise SymbolicValueError(
        f"{what} cannot be a size: a size is an integer, an element of x.shape, an integer scalar "
        "input, or arithmetic on these; it cannot depend on the values of arrays"
    )


def as_shape(value: Any) -> tuple[Size, ...]:
    """Return a user's shape (one size or a sequence) as a tuple of sizes."""
    if isinstance(value, (int, np.integer, Node, Dim)) and not (
        isinstance(value, Node) and value.ndim == 1
    ):
        return (as_size(value),)
    return tuple(as_size(n) for n in value)


def product(shape: Sequence[Size]) -> Size:
    """Return the number of elements."""
    n: Size = 1
    for extent in shape:
        n = n * extent
    return n


def strides(shape: Sequence[Size]) -> list[Size]:
    """Return element strides of a contiguous array."""
    result: list[Size] = [1] * len(shape)
    for k in range(len(shape) - 2, -1, -1):
        result[k] = result[k + 1] * shape[k + 1]
    return result


def is_one(n: Size) -> bool:
    return isinstance(n, int) and n == 1


@function
def broadcast_shapes_of(*arrays: Any) -> tuple[Size, ...]:
    """Return the common shape of the arrays under NumPy's rule."""
    nodes = [as_node(a) for a in arrays]
    ndim = max(n.ndim for n in nodes)
    result: list[Size] = [1] * ndim
    for node in nodes:
        for k, n in enumerate(node.type.shape, ndim - node.ndim):
            result[k] = broadcast(result[k], n)
    return tuple(result)


@function
def size(x: Any) -> Any:
    """Return the number of elements: an int where known, else an int64 scalar node."""
    n = product(as_node(x).type.shape)
    return n if isinstance(n, int) else dim_value(n)
