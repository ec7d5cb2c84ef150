"""Functions of matrices made of other ops: exponential, powers, norms, Kronecker products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import INT64
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, normal_axes, o, register
from symgraph.ops.base import as_nodes, cast_to
from symgraph.ops.contract_order import chain_order
from symgraph.ops.linalg import (
    MatrixOp,
    as_matrices,
    as_pair,
    check_matrices,
    each,
    identity_like,
    largest,
    random_matrices,
)
from symgraph.ops.shape import product

# Numerator of the Pade approximant of degree 13 of exp, over its first coefficient; it is exact to
# rounding for matrices of 1-norm up to THETA (Higham 2005).
PADE = (
    1.0, 1 / 2, 3 / 25, 11 / 600, 11 / 5520, 3 / 18400, 1 / 96600, 1 / 1932000,
    1 / 48944000, 1 / 1585785600, 1 / 67395888000, 1 / 3953892096000,
    1 / 355850288640000, 1 / 64764752532480000,
)  # fmt: skip
THETA = 5.371920351148152


def exponential(p: Any, x: Any, identity: Any, solve: Any) -> Any:
    """Return the Pade approximant of exp(x); `p` multiplies, `solve(a, b)` divides."""
    c = PADE
    x2 = p(x, x)
    x4 = p(x2, x2)
    x6 = p(x4, x2)
    high = p(x6, x6 * c[13] + x4 * c[11] + x2 * c[9])
    odd = p(x, high + x6 * c[7] + x4 * c[5] + x2 * c[3] + identity * c[1])
    high = p(x6, x6 * c[12] + x4 * c[10] + x2 * c[8])
    even = high + x6 * c[6] + x4 * c[4] + x2 * c[2] + identity * c[0]
    return solve(even - odd, even + odd)


@register
class Expm(MatrixOp):
    """The derivative is the Frechet derivative: a block of the exponential of [[A, E], [0, A]]."""

    name = "expm"
    doc = "The matrix exponential, by scaling, a Pade approximant of degree 13, and squaring."

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        shapes = ((3, 3), (1, 1), (2, 2, 2), (0, 0), (0, 2, 2))
        for k, x in enumerate(random_matrices(rng, dtype, shapes)):
            yield ((x * (0.3, 2.0, 0.7, 1.0, 1.0)[k]).astype(x.dtype),), {}

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            norm = float(np.abs(x).sum(0).max(initial=0))
            squarings = max(0, int(np.ceil(np.log2(norm / THETA)))) if 0 < norm < np.inf else 0
            y = exponential(
                np.matmul, x / 2**squarings, np.eye(len(x), dtype=x.dtype), np.linalg.solve
            )
            for _ in range(squarings):
                y = y @ y
            return np.asarray(y, x.dtype)

        return each(one, arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x = node.inputs[0]
        part = x.dtype.part
        zero, one = o.zeros((), part), o.ones((), part)
        norm = o.sum(o.abs(x), -2)  # the largest of these, and 0 for a matrix of no columns
        norm = largest(norm)
        steps = o.ceil(o.log2(o.where(o.gt(norm, THETA), norm, one * THETA) * (1 / THETA)))
        steps = o.where(o.isfinite(steps), steps, zero)
        scale = o.exp2(-steps)
        scaled = x * o.expand_dims(scale, (norm.ndim, norm.ndim + 1))
        start = exponential(o.matmul, scaled, identity_like(x), o.solve)
        count = cast_to(o.expand_dims(steps, (norm.ndim, norm.ndim + 1)), INT64)
        most = o.max(o.concatenate([o.ravel(count), o.zeros((1,), INT64)], 0))

        def square(k: Node, y: Node) -> list[Node]:
            return [k + 1, o.where(o.lt(k, count), o.matmul(y, y), y)]

        done = o.while_loop(lambda k, y: o.lt(k, most), square, [o.zeros((), INT64), start])
        result: Node = done[1]
        return result

    def jvp(self, o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        return self._frechet(node.inputs[0], tangents[0])

    def vjp(self, o: Namespace, node: Node, g: Node) -> tuple[Node]:
        return (self._frechet(o.matrix_transpose(node.inputs[0]), g),)

    def _frechet(self, x: Node, e: Node) -> Node:
        n = x.type.shape[-1]
        top = o.concatenate([x, e], x.ndim - 1)
        bottom = o.concatenate([o.zeros_like(x), x], x.ndim - 1)
        both = self(o.concatenate([top, bottom], x.ndim - 2))
        part = o.slice_axis(both, x.ndim - 2, 0, n)
        return o.slice_axis(part, x.ndim - 1, n, n)


@function
def expm(x: Any) -> Node:
    """Return the exponential of square matrices (..., n, n)."""
    return Expm.instance(as_matrices(x))


@function
def matrix_power(x: Any, n: int) -> Node:
    """Return the n-th power of square matrices by repeated squaring; of the inverse for n < 0."""
    node = as_node(x)
    if n < 0:
        return matrix_power(o.inv(node), -n)
    if node.ndim < 2:
        raise ShapeError(f"matrix_power needs square matrices, got `{describe(node)}` {node.type}")
    if n == 0:
        return o.broadcast_to(identity_like(node), node.type.shape)
    result: Node | None = None
    while n:
        if n & 1:
            result = node if result is None else o.matmul(result, node)
        n >>= 1
        if n:
            node = o.matmul(node, node)
    assert result is not None
    return result


@function
def kron(a: Any, b: Any) -> Node:
    """Return the Kronecker product: blocks a[i, j] * b; missing leading axes have length 1."""
    x, y = as_nodes((a, b))
    ndim = max(x.ndim, y.ndim)
    x, y = o.atleast_nd(x, ndim), o.atleast_nd(y, ndim)
    left = o.expand_dims(x, tuple(range(1, 2 * ndim, 2)))
    right = o.expand_dims(y, tuple(range(0, 2 * ndim, 2)))
    shape = tuple(m * n for m, n in zip(x.type.shape, y.type.shape, strict=True))
    return o.reshape(left * right, shape)


@function
def multi_dot(arrays: Sequence[Any]) -> Node:
    """Return the product of a chain of matrices in the cheapest order; ends may be vectors."""
    nodes = as_nodes(arrays)
    if len(nodes) < 2:
        raise ValueError("multi_dot needs at least two arrays")
    first, last = nodes[0].ndim == 1, nodes[-1].ndim == 1
    if first:
        nodes[0] = o.expand_dims(nodes[0], 0)
    if last:
        nodes[-1] = o.expand_dims(nodes[-1], 1)
    sizes = [nodes[0].type.shape[-2], *(x.type.shape[-1] for x in nodes)]
    result = multiplied(nodes, chain_order(sizes)[1])
    drop = ((result.ndim - 2,) if first else ()) + ((result.ndim - 1,) if last else ())
    return o.squeeze(result, drop) if drop else result


def multiplied(nodes: Sequence[Node], order: Any) -> Node:
    """Return the product of a chain in an order given as nested pairs of numbers."""
    if isinstance(order, int):
        return nodes[order]
    left, right = (multiplied(nodes, part) for part in order)
    return o.matmul(left, right)


# -- systems of tensors --------------------------------------------------------------------------
@function
def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Node:
    """Return x with tensordot(a, x, x.ndim) = b, as numpy.linalg.tensorsolve.

    a: the axes of b, then those of x, with as many elements in both; `axes` of it are moved to
    the end first. A singular system raises LinAlgError, other sizes ShapeError.

    >>> a = sg.tensor("a", (2, 3, 6), "float64")
    >>> sg.linalg.tensorsolve(a, np.ones((2, 3))).type.shape
    (6,)
    """
    x, y = as_pair(a, b)
    if axes is not None:
        x = o.moveaxis(x, tuple(axes), tuple(range(x.ndim - len(axes), x.ndim)))
    rest = x.type.shape[y.ndim :]
    matrix = _as_square("tensorsolve", x, y.ndim)
    return o.reshape(o.solve(matrix, o.ravel(y)), rest)


@function
def tensorinv(a: Any, ind: int = 2) -> Node:
    """Return the inverse of the map tensordot(a, x, x.ndim), as numpy.linalg.tensorinv.

    a: `ind` axes of results, then those of x, with as many elements in both; the inverse has them
    the other way round: tensordot(tensorinv(a, ind), b, ind) is tensorsolve(a, b).

    >>> sg.linalg.tensorinv(sg.tensor("a", (4, 6, 8, 3)), 2).type.shape
    (8, 3, 4, 6)
    """
    x = as_matrices(a)
    if not 0 < ind < x.ndim:
        raise ValueError(f"tensorinv of {x.ndim} axes needs 0 < ind < {x.ndim}, got {ind}")
    first, rest = x.type.shape[:ind], x.type.shape[ind:]
    return o.reshape(o.inv(_as_square("tensorinv", x, ind)), (*rest, *first))


def _as_square(op: str, x: Node, count: int) -> Node:
    """Return `x` as a square matrix: its first `count` axes are the rows."""
    m, n = product(x.type.shape[:count]), product(x.type.shape[count:])
    if isinstance(m, int) and isinstance(n, int) and m != n:
        raise ShapeError(
            f"{op} needs as many elements in the first {count} axes as in the others: {m} and {n}\n"
            f"  input:  `{describe(x)}` {x.type}, made at {x.source}\n"
            "  mend:   the first axes are those of the result of tensordot, the others those of x"
        )
    return o.reshape(x, (m, n))


# -- norms ---------------------------------------------------------------------------------------
@function
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Node:
    """Return a norm as numpy.linalg.norm does.

    One axis (or a vector): ord None or 2, 1, inf, -inf, 0 or any p. Two axes (or a matrix): None or
    "fro", "nuc", 1, -1, 2, -2, inf, -inf. With neither ord nor axis all elements count. The
    derivative of sqrt at 0 is infinite, so that of a 2-norm at 0 is NaN.
    """
    node = as_matrices(x)
    if axis is None and ord is None:
        flat = o.sqrt(o.sum(o.abs2(node)))
        return o.expand_dims(flat, tuple(range(node.ndim))) if keepdims and node.ndim else flat
    if axis is None and node.ndim not in (1, 2):
        raise ShapeError(f"norm of `{describe(node)}` {node.type} with ord={ord!r} needs an axis")
    axes = list(range(node.ndim)) if axis is None else axis
    axes = [axes] if isinstance(axes, int) else [a % node.ndim for a in axes]
    value = _along_axis(node, ord, axes[0]) if len(axes) == 1 else _of_axes(node, ord, axes)
    return o.expand_dims(value, normal_axes(axes, node.ndim)) if keepdims else value


@function
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Node:
    """Return the norms of matrices (..., m, n), as numpy.linalg.matrix_norm (see `norm`)."""
    return norm(x, ord, (-2, -1), keepdims)


@function
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Node:
    """Return the norms of vectors along one axis, of several as one, or of all elements.

    As numpy.linalg.vector_norm: two axes are a long vector, where `norm` takes them as a matrix.
    """
    node = as_node(x)
    if isinstance(axis, int):
        return norm(node, ord, axis, keepdims)
    places = tuple(range(node.ndim)) if axis is None else normal_axes(axis, node.ndim)
    kept = [k for k in range(node.ndim) if k not in places]
    moved = o.permute_dims(node, [*kept, *places])
    flat = norm(o.reshape(moved, (*[node.type.shape[k] for k in kept], -1)), ord, -1)
    return o.expand_dims(flat, places) if keepdims and places else flat


@function
def condition_number(x: Any, p: Any = None) -> Node:
    """Return the condition numbers |A| |A^-1| of matrices (..., m, n): `sg.linalg.cond`.

    p: None or 2, the ratio of the largest to the smallest singular value, or -2, its reciprocal,
    for matrices of any shape; a singular one has inf (0 for -2). For the other norms of `norm`
    ("fro", 1, -1, inf, -inf, "nuc") matrices are square, and a singular one raises LinAlgError.

    >>> x = sg.matrix("x", dtype="float64")
    >>> float(sg.linalg.cond(x).eval({x: np.diag([8.0, 2.0])}))
    4.0
    """
    node = as_matrices(x)
    check_matrices("cond", node, square=p not in (None, 2, -2))
    if p not in (None, 2, -2):
        return o.norm(node, p, (-2, -1)) * o.norm(o.inv(node), p, (-2, -1))
    s = o.svdvals(node)
    most, least = s[..., 0], s[..., -1]
    if p == -2:
        return least / most
    infinite = o.full((), np.inf, s.dtype)
    return o.where(o.eq(least, 0.0), infinite, most / least)


def _along_axis(x: Node, order: Any, axis: int) -> Node:
    """Return the norm of vectors along one axis."""
    size = o.abs(x)
    if order is None or order == 2:
        return o.sqrt(o.sum(o.abs2(x), axis))
    if order == np.inf:
        return largest(o.moveaxis(size, axis, -1))
    if order == -np.inf:
        return o.min(size, axis)
    if order == 0:
        return o.cast(o.count_nonzero(x, axis), size.dtype)
    if order == 1:
        return o.sum(size, axis)
    if not isinstance(order, (int, float)):
        raise ValueError(f"vectors have no norm {order!r}")
    return o.power(o.sum(o.power(size, order), axis), 1.0 / order)


def _of_axes(x: Node, order: Any, axes: Sequence[int]) -> Node:
    """Return the norm of matrices whose rows and columns are counted by two axes."""
    if len(axes) != 2 or axes[0] % x.ndim == axes[1] % x.ndim:
        raise ValueError(f"norm needs one axis or two different ones, got {tuple(axes)}")
    if order is None or order == "fro":
        return o.sqrt(o.sum(o.abs2(x), tuple(axes)))
    own = [a % x.ndim for a in axes]
    x = o.permute_dims(x, [*(k for k in range(x.ndim) if k not in own), *own])
    if order in ("nuc", 2, -2):
        s = o.svdvals(x)
        return o.sum(s, -1) if order == "nuc" else (largest(s) if order == 2 else o.min(s, -1))
    if order not in (1, -1, np.inf, -np.inf):
        raise ValueError(f"matrices have no norm {order!r}")
    sums = o.sum(o.abs(x), -2 if abs(order) == 1 else -1)
    return largest(sums) if order > 0 else o.min(sums, -1)
