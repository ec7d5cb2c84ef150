"""Derivatives of determinants, which singular matrices have too: cofactors and their derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import batch_all
from symgraph.ops.branch import make_branch
from symgraph.ops.linalg import (
    MatrixOp,
    adjoint,
    check_matrices,
    each,
    identity_like,
    main_diagonal,
    random_matrices,
)
from symgraph.ops.linalg_solve import SquareResult, lu_parts, solve_factored, take_rows


@register
class Cofactors(SquareResult):
    name = "cofactors"
    doc = "The derivative of the determinant by each element of square matrices."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            if not np.isfinite(x).all():
                return np.full_like(x, np.nan)
            u, s, vh = np.linalg.svd(x)
            others = np.where(np.eye(len(s), dtype=bool), 1, s).prod(-1)
            scale = np.linalg.det(u) * np.linalg.det(vh)
            return np.asarray(scale * (u.conj() * others) @ vh.conj(), x.dtype)

        return each(one, arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        """Return det(A) A^-T; where a pivot is 0, or numbers overflow, go by singular values.

        A tiny pivot does no harm: cofactors are polynomials of the elements, so they are those of
        a matrix that differs from A by rounding.
        """
        x = node.inputs[0]
        inverse, whole, pivots = _inverse_and_det(o, x)
        regular = whole * o.matrix_transpose(inverse)
        fails = o.logical_or(o.any(o.eq(pivots, 0.0)), o.logical_not(o.all(o.isfinite(regular))))
        singular = o.logical_and(fails, o.all(o.isfinite(x)))
        sides = [_by_singular_values(x)], [regular]
        return make_branch(singular, *sides, outside=(x, regular))[0]

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        return CofactorRate.instance(node.inputs[0], tangents[0])

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        return (CofactorRate.instance(node.inputs[0], g),)


def _by_singular_values(x: Node) -> Node:
    """Return the cofactors of U S V: those of S, products of all but one value, turned."""
    u, s, vh = o.svd(x)
    own = o.eye(x.type.shape[-1], dtype="bool")
    others = o.prod(o.where(own, o.ones((), s.dtype), o.expand_dims(s, -2)), -1)
    scale = o.expand_dims(o.det(u) * o.det(vh), (-2, -1))
    return scale * o.matmul(o.conj(u) * o.expand_dims(others, -2), o.conj(vh))


@register
class CofactorRate(MatrixOp):
    """The second derivative of the determinant, a symmetric bilinear form, times one matrix.

    Singular values turn it into that of a diagonal matrix, of which products of all but two
    elements make it: there is no division, so singular matrices have it too.
    """

    name = "cofactor_rate"
    doc = "The derivative of the cofactors of A in the direction E, by SVD."

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        # of smaller matrices the third derivative is 0, and computed ones are rounding errors
        for x in random_matrices(rng, dtype, ((3, 3), (4, 4), (2, 3, 3), (0, 0), (0, 3, 3))):
            yield (x, rng.normal(size=x.shape).astype(x.dtype)), {}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        lead, n, _ = check_matrices(self.name, inputs[0])
        check_matrices(self.name, inputs[1])
        return inputs[0].type.with_shape((*lead, n, n))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray, e: np.ndarray) -> np.ndarray:
            u, s, vh = np.linalg.svd(x)
            own = np.eye(len(s), dtype=bool)
            pairs = np.where(own[:, None] | own, 1, s).prod(-1) * ~own
            turned = u.conj().T @ e @ vh.conj().T
            inner = np.diag(pairs @ np.diagonal(turned)) - pairs * turned.T
            scale = np.linalg.det(u) * np.linalg.det(vh)
            return np.asarray(scale * (u.conj() @ inner @ vh.conj()), x.dtype)

        return each(one, *arrays)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, e = node.inputs
        u, s, vh = o.svd(x)
        own = o.eye(x.type.shape[-1], dtype="bool")
        either = o.logical_or(o.expand_dims(own, 1), own)  # [i, j, k]: whether k is i or j
        one, zero = o.ones((), s.dtype), o.zeros((), s.dtype)
        pairs = o.prod(o.where(either, one, o.expand_dims(s, (-3, -2))), -1)
        pairs = o.where(own, zero, pairs)
        turned = o.matmul(o.matmul(adjoint(u), e), adjoint(vh))
        row = o.expand_dims(main_diagonal(turned), -2)
        diagonal = o.sum(pairs * row, -1, keepdims=True)
        inner = o.where(own, diagonal, -(pairs * o.matrix_transpose(turned)))
        scale = o.expand_dims(o.det(u) * o.det(vh), (-2, -1))
        return scale * o.matmul(o.matmul(o.conj(u), inner), o.conj(vh))

    def jvp(self, o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        (x, e), (dx, de) = node.inputs, tangents
        if dx is None:
            return self(x, de)
        moved = _third_rate(o, x, e, dx)
        return moved if de is None else moved + self(x, de)

    def vjp(self, o: Namespace, node: Node, g: Node) -> tuple[Node, Node]:
        x, e = node.inputs
        return _third_rate(o, x, e, g), self(x, g)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self(*batch_all(o, inputs, axes)), 0


def _third_rate(o: Namespace, x: Node, e: Node, f: Node) -> Node:
    """Return the third derivative of the determinant times two matrices.

    Of invertible ones by the inverse; its terms cancel where a pivot is small.
    """
    sizes = o.abs(main_diagonal(lu_parts(o.stop_gradient(x))[0]))
    least = float(np.finfo(sizes.dtype.numpy).eps) ** 0.25
    singular = o.any(o.lt(sizes, least * o.sum(sizes, -1, keepdims=True)))
    # both inside of the branch: the inverse of a singular matrix is an error
    sides = [_third_by_singular_values(o, x, e, f)], [_third_by_inverse(o, x, e, f)]
    return make_branch(singular, *sides, outside=(x, e, f))[0]


def _third_by_inverse(o: Namespace, x: Node, e: Node, f: Node) -> Node:
    inverse = o.inv(x)
    a, b = o.matmul(inverse, e), o.matmul(inverse, f)
    both = o.matmul(a, b)
    p, q, r = (o.expand_dims(o.sum(main_diagonal(m), -1), (-2, -1)) for m in (a, b, both))
    turned = p * b + q * a - both - o.matmul(b, a)
    inner = (p * q - r) * inverse - o.matmul(turned, inverse)
    return o.expand_dims(o.det(x), (-2, -1)) * o.matrix_transpose(inner)


def _inverse_and_det(o: Namespace, x: Node) -> tuple[Node, Node, Node]:
    """Return inverses, determinants (..., 1, 1) and pivots; pivots of 0 count as 1 in the first."""
    lu, order, _, sign = lu_parts(x)
    pivots = main_diagonal(lu)
    zero = o.eq(pivots, 0.0)
    safe = o.where(zero, o.ones((), x.dtype), pivots)
    lu = o.where(o.eye(x.type.shape[-1], dtype="bool"), o.expand_dims(safe, -1), lu)
    one = o.broadcast_to(identity_like(x), x.type.shape)
    inverse = solve_factored(lu, take_rows(one, order), "det")
    return inverse, o.expand_dims(o.prod(safe * sign, -1), (-2, -1)), pivots


def _third_by_singular_values(o: Namespace, x: Node, e: Node, f: Node) -> Node:
    """Return it for any matrix: with A = U S V, by products of all singular values but three.

    The third derivative of the determinant of a diagonal matrix S in the directions E, F and G is
    the sum over i, j, k that differ of p[i, j, k] times the determinant of rows i of E, j of F and
    k of G at the columns i, j, k; what is returned is its derivative by G.
    """
    u, s, vh = o.svd(x)
    n = x.type.shape[-1]
    own = o.eye(n, dtype="bool")
    axes = [o.reshape(own, shape) for shape in ((n, 1, 1, n), (1, n, 1, n), (1, 1, n, n))]
    taken = o.logical_or(o.logical_or(*axes[:2]), axes[2])
    values = o.expand_dims(s, (-4, -3, -2))
    p = o.prod(o.where(taken, o.ones((), s.dtype), values), -1)
    pairs = [o.reshape(own, shape) for shape in ((n, n, 1), (n, 1, n), (1, n, n))]
    equal = o.logical_or(o.logical_or(*pairs[:2]), pairs[2])
    p = o.where(equal, o.zeros((), s.dtype), p)
    p = o.cast(p, x.dtype)
    left, right = (o.matmul(o.matmul(adjoint(u), m), adjoint(vh)) for m in (e, f))
    es, fs = main_diagonal(left), main_diagonal(right)
    kk = o.einsum("...ijk,...i,...j->...k", p, es, fs)
    kk = kk - o.einsum("...ijk,...ij,...ji->...k", p, left, right)
    ki = o.einsum("...ijk,...ij,...jk->...ki", p, left, right)
    ki = ki - o.einsum("...ijk,...ik,...j->...ki", p, left, fs)
    kj = o.einsum("...ijk,...ik,...ji->...kj", p, left, right)
    kj = kj - o.einsum("...ijk,...i,...jk->...kj", p, es, right)
    inner = o.where(own, o.expand_dims(kk, -2), ki + kj)
    scale = o.expand_dims(o.det(u) * o.det(vh), (-2, -1))
    return scale * o.matmul(o.matmul(o.conj(u), inner), o.conj(vh))
