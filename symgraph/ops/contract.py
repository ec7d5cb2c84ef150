"""Matrix products: one batched op, closed under differentiation, and the functions made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import FLOAT32
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, describe
from symgraph.core.op import Op, function, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import broadcast, must_equal
from symgraph.ops.base import as_nodes, batch_front


@register
class Matmul(Op):
    takes_complex = True
    name = "matmul"
    loops = True
    doc = "Matrix product over the last two axes; leading axes broadcast."
    linear = (0, 1)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for a, b in (
            ((3, 4), (4, 5)),
            ((1, 1), (1, 1)),
            ((17, 33), (33, 19)),
            ((2, 3, 4), (2, 4, 5)),
            ((2, 1, 3, 4), (5, 4, 2)),
            ((3, 0), (0, 5)),
        ):
            yield (a, b), {}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        a, b = inputs
        k, m = a.type.shape[-1], b.type.shape[-2]
        if isinstance(k, int) and isinstance(m, int) and k != m:
            a, b = map(_as_written, inputs)
            where = "second last" if b.ndim > 1 else "only one"
            raise ShapeError(
                f"cannot multiply `{describe(a)}` and `{describe(b)}`: the last axis of "
                f"`{describe(a)}` has length {k}, the {where} of `{describe(b)}` has {m}.\n"
                f"  input:  {describe(a)}  {a.type}, made at {a.source}\n"
                f"  input:  {describe(b)}  {b.type}, made at {b.source}\n"
                f"  mend:   transpose one of them (x.T), or check which axis is summed"
            )
        must_equal(k, m)
        lead_a, lead_b = a.type.shape[:-2], b.type.shape[:-2]
        ndim = max(len(lead_a), len(lead_b))
        full_a = (1,) * (ndim - len(lead_a)) + lead_a
        full_b = (1,) * (ndim - len(lead_b)) + lead_b
        try:
            lead = tuple(broadcast(p, q) for p, q in zip(full_a, full_b, strict=True))
        except ValueError:
            raise ShapeError(
                f"cannot multiply stacks `{describe(a)}` {a.type} and `{describe(b)}` {b.type}: "
                "their axes before the last two do not broadcast\n"
                f"  input:  {describe(a)}, made at {a.source}\n"
                f"  input:  {describe(b)}, made at {b.source}"
            ) from None
        return a.type.with_shape((*lead, a.type.shape[-2], b.type.shape[-1]))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        a, b = arrays
        if node.dtype == "float16":
            a, b = a.astype(np.float32), b.astype(np.float32)
        with np.errstate(all="ignore"):
            return np.asarray(np.matmul(a, b), node.dtype.numpy)

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        a, b = node.inputs
        (k,) = s.new_axes([a.type.shape[-1]], index)
        left = (*_lead(index, a), index[-2], s.at(k))
        right = (*_lead(index, b), s.at(k), index[-1])
        x, y = read(0, left), read(1, right)
        if node.dtype == "float16":
            x, y = s.cast(x, FLOAT32), s.cast(y, FLOAT32)
        if node.dtype.is_bool:
            return s.reduce("any", (k,), x & y)
        # as a matrix product is summed elsewhere; with a vector, order is given up for speed
        matrices = node.dtype in ("float32", "float64") and 1 not in node.type.shape[-2:]
        return s.cast(s.reduce("dot" if matrices else "free", (k,), x * y), node.dtype)

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.product(node, out)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        a, b = node.inputs
        if k == 0:
            return o.sum_to(Matmul.instance(g, o.matrix_transpose(b)), a)
        return o.sum_to(Matmul.instance(o.matrix_transpose(a), g), b)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        moved = [
            x if a is None else batch_front(o, x, a, node.ndim)
            for x, a in zip(inputs, axes, strict=True)
        ]
        return self(*moved), 0


def _lead(index: tuple[Any, ...], x: Node) -> tuple[Any, ...]:
    lead = index[:-2][len(index) - x.ndim :]
    return tuple(0 if n == 1 else i for i, n in zip(lead, x.type.shape[:-2], strict=True))


def _as_written(x: Node) -> Node:
    """Return the vector of which `matmul` has made a matrix."""
    vector = x.op.name == "expand_dims" and x.inputs[0].ndim == 1
    return x.inputs[0] if vector else x


@function
def matmul(a: Any, b: Any) -> Node:
    """Return the matrix product a @ b with NumPy's rules for vectors and stacks of matrices."""
    x, y = as_nodes((a, b))
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError("matmul needs at least one axis in each operand; use * for scalars")
    left, right = x.ndim == 1, y.ndim == 1
    x = o.expand_dims(x, 0) if left else x
    y = o.expand_dims(y, 1) if right else y
    z = Matmul.instance(x, y)
    drop = ((z.ndim - 2,) if left else ()) + ((z.ndim - 1,) if right else ())
    return o.squeeze(z, drop) if drop else z


@function
def dot(a: Any, b: Any) -> Node:
    """Return NumPy's dot, for scalars to matrices; higher ranks sum last by second last."""
    x, y = as_nodes((a, b))
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    if x.ndim <= 2 and y.ndim <= 2:
        return matmul(x, y)
    return tensordot(x, y, ([x.ndim - 1], [max(y.ndim - 2, 0)]))


@function
def vecdot(x: Any, y: Any, axis: int = -1) -> Node:
    """Return the sum of conj(x) y along an axis of each, as NumPy's `vecdot` does."""
    a, b = (o.moveaxis(v, axis, -1) for v in as_nodes((x, y)))
    return o.sum(o.conj(a) * b, -1)


@function
def matvec(a: Any, x: Any) -> Node:
    """Return the product of matrices (the last two axes of a) and vectors (the last axis of x)."""
    return o.squeeze(matmul(a, o.expand_dims(x, -1)), -1)


@function
def vecmat(x: Any, a: Any) -> Node:
    """Return conj(x) times matrices: vectors along the last axis of x, the last two axes of a."""
    return o.squeeze(matmul(o.expand_dims(o.conj(x), -2), a), -2)


@function
def tensordot(a: Any, b: Any, axes: Any = 2) -> Node:
    """Return the sum of products over pairs of axes: n (last n by first n) or two lists."""
    x, y = as_nodes((a, b))
    if isinstance(axes, int):
        left, right = list(range(x.ndim - axes, x.ndim)), list(range(axes))
    else:
        left = [i % x.ndim for i in ([axes[0]] if isinstance(axes[0], int) else axes[0])]
        right = [i % y.ndim for i in ([axes[1]] if isinstance(axes[1], int) else axes[1])]
    free_x = [k for k in range(x.ndim) if k not in left]
    free_y = [k for k in range(y.ndim) if k not in right]

    def size(node: Node, ks: Sequence[int]) -> Any:
        return _product([node.type.shape[k] for k in ks])

    x2 = o.reshape(o.permute_dims(x, free_x + left), (size(x, free_x), size(x, left)))
    y2 = o.reshape(o.permute_dims(y, right + free_y), (size(y, right), size(y, free_y)))
    shape = [x.type.shape[k] for k in free_x] + [y.type.shape[k] for k in free_y]
    return o.reshape(matmul(x2, y2), shape)


def _product(sizes: Sequence[Any]) -> Any:
    n: Any = 1
    for s in sizes:
        n = n * s
    return n


@function
def batched_dot(a: Any, b: Any) -> Node:
    """Return the product of each pair of matrices (or vectors) along a shared first axis."""
    x, y = as_nodes((a, b))
    left, right = x.ndim == 2, y.ndim == 2
    x = o.expand_dims(x, 1) if left else x
    y = o.expand_dims(y, 2) if right else y
    z = matmul(x, y)
    drop = ((1,) if left else ()) + ((2,) if right else ())
    return o.squeeze(z, drop) if drop else z


@function
def outer(a: Any, b: Any) -> Node:
    """Return the products of all pairs of elements of two (flattened) arrays."""
    x, y = as_nodes((a, b))
    return o.expand_dims(o.ravel(x), 1) * o.expand_dims(o.ravel(y), 0)


@function
def vdot(a: Any, b: Any) -> Node:
    """Return the sum of products of two flattened arrays, the first one conjugated."""
    x, y = as_nodes((a, b))
    return matmul(o.ravel(o.conj(x)), o.ravel(y))
