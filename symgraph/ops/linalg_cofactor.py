"""Derivatives of determinants, which singular matrices have too: cofactors and their derivative."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
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
        inverse, whole, pivots = inverse_and_det(o, x)
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
        moved = CofactorBend.instance(x, e, dx)
        return moved if de is None else moved + self(x, de)

    def vjp(self, o: Namespace, node: Node, g: Node) -> tuple[Node, Node]:
        x, e = node.inputs
        return CofactorBend.instance(x, e, g), self(x, g)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self(*batch_all(o, inputs, axes)), 0


def inverse_and_det(o: Namespace, x: Node) -> tuple[Node, Node, Node]:
    """Return inverses, determinants (..., 1, 1) and pivots; pivots of 0 count as 1 in the first."""
    lu, order, _, sign = lu_parts(x)
    pivots = main_diagonal(lu)
    zero = o.eq(pivots, 0.0)
    safe = o.where(zero, o.ones((), x.dtype), pivots)
    lu = o.where(o.eye(x.type.shape[-1], dtype="bool"), o.expand_dims(safe, -1), lu)
    one = o.broadcast_to(identity_like(x), x.type.shape)
    inverse = solve_factored(lu, take_rows(one, order), "det")
    return inverse, o.expand_dims(o.prod(safe * sign, -1), (-2, -1)), pivots


# -- third and higher derivatives -----------------------------------------------------------------
@register
class CofactorBend(MatrixOp):
    """D^(k + 1) det(A) times k >= 2 matrices: a family that is closed under differentiation.

    Singular values turn it into that of a diagonal matrix. Nothing is divided by anything, so it is
    a polynomial of the elements for every matrix.
    """

    name = "cofactor_bend"
    doc = "The derivative of order k of the cofactors of A in k directions."

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        # of smaller matrices the next derivatives are 0, and computed ones are rounding errors
        for count, shapes in ((2, ((4, 4), (2, 4, 4), (0, 0), (0, 3, 3))), (3, ((5, 5),))):
            for x in random_matrices(rng, dtype, shapes):
                yield (x, *(rng.normal(size=x.shape).astype(x.dtype) for _ in range(count))), {}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        lead, n, _ = check_matrices(self.name, inputs[0])
        for e in inputs[1:]:
            check_matrices(self.name, e)
        return inputs[0].type.with_shape((*lead, n, n))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        """Put rows of the directions in place of those of A, in all ways."""

        def one(k: int, x: np.ndarray, *e: np.ndarray) -> np.ndarray:
            found = np.zeros_like(x)
            for own, *places in itertools.permutations(range(len(x)), len(e) + 1):
                rows = x.copy()
                for place, direction in zip(places, e, strict=True):
                    rows[place] = direction[place]
                for j in range(len(x)):
                    rows[own] = np.arange(len(x)) == j
                    found[own, j] += np.linalg.det(rows)
            return found

        return each(one, *arrays)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, *directions = node.inputs
        n = x.type.shape[-1]
        if isinstance(n, int) and n <= len(directions):
            return o.zeros_like(x)
        u, s, vh = o.svd(x)
        turned = [o.matmul(o.matmul(adjoint(u), e), adjoint(vh)) for e in directions]
        inner = _third(o, s, *turned) if len(turned) == 2 else _by_products(o, s, turned)
        scale = o.expand_dims(o.det(u) * o.det(vh), (-2, -1))
        return scale * o.matmul(o.matmul(o.conj(u), inner), o.conj(vh))

    def jvp(self, o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        x, *directions = node.inputs
        terms = [] if tangents[0] is None else [self(x, *directions, tangents[0])]
        for k, moved in enumerate(tangents[1:]):
            if moved is not None:
                terms.append(self(x, *directions[:k], moved, *directions[k + 1 :]))
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def vjp(self, o: Namespace, node: Node, g: Node) -> tuple[Node, ...]:
        x, *directions = node.inputs
        others = (
            self(x, *directions[:k], g, *directions[k + 1 :]) for k in range(len(directions))
        )
        return self(x, *directions, g), *others

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self(*batch_all(o, inputs, axes)), 0


def _third(o: Namespace, s: Node, left: Node, right: Node) -> Node:
    """Return it at a diagonal matrix in two directions, by products of all but three elements.

    The third derivative of the determinant of a diagonal matrix S in the directions E, F and G is
    the sum over i, j, k that differ of p[i, j, k] times the determinant of rows i of E, j of F and
    k of G at the columns i, j, k; what is returned is its derivative by G.
    """
    n = s.type.shape[-1]
    own = o.eye(n, dtype="bool")
    axes = [o.reshape(own, shape) for shape in ((n, 1, 1, n), (1, n, 1, n), (1, 1, n, n))]
    taken = o.logical_or(o.logical_or(*axes[:2]), axes[2])
    values = o.expand_dims(s, (-4, -3, -2))
    p = o.prod(o.where(taken, o.ones((), s.dtype), values), -1)
    pairs = [o.reshape(own, shape) for shape in ((n, n, 1), (n, 1, n), (1, n, n))]
    equal = o.logical_or(o.logical_or(*pairs[:2]), pairs[2])
    p = o.cast(o.where(equal, o.zeros((), s.dtype), p), left.dtype)
    es, fs = main_diagonal(left), main_diagonal(right)
    kk = o.einsum("...ijk,...i,...j->...k", p, es, fs)
    kk = kk - o.einsum("...ijk,...ij,...ji->...k", p, left, right)
    ki = o.einsum("...ijk,...ij,...jk->...ki", p, left, right)
    ki = ki - o.einsum("...ijk,...ik,...j->...ki", p, left, fs)
    kj = o.einsum("...ijk,...ik,...ji->...kj", p, left, right)
    kj = kj - o.einsum("...ijk,...i,...jk->...kj", p, es, right)
    return o.where(own, o.expand_dims(kk, -2), ki + kj)


def _by_products(o: Namespace, s: Node, directions: Sequence[Node]) -> Node:
    """Return it at a diagonal matrix in any number of directions, by n - 1 products and back.

    Bird's algorithm (2011) without division: F <- mu(F) M leads from M to the determinant, up to
    its sign in the first corner. Elements are polynomials in one t for each direction with t^2 = 0;
    `M = S + t1 E1 + t2 E2 ...`, and the term with all t of the cofactors is wanted. Terms are
    numbered by the bits of their t, and lie in rows of blocks (..., n, terms, n).
    """
    n, like = s.type.shape[-1], directions[0]
    count = 1 << len(directions)
    zero = o.zeros_like(like)
    terms = [zero] * count
    terms[0] = zero + o.where(o.eye(n, dtype="bool"), o.expand_dims(o.cast(s, like.dtype), -2), 0.0)
    for k, e in enumerate(directions):
        terms[1 << k] = e
    lead = like.type.shape[:-2]
    place = o.expand_dims(o.iota((n,), 0), (1, 2))
    above, own = o.gt(o.iota((n,), 0), place), o.eq(o.iota((n,), 0), place)
    later = o.tri(n, k=-1, dtype=like.dtype)

    def factor(turn: Callable[[Node], Node]) -> Node:
        """Return the matrix of a multiplication from the right."""
        blocks = [
            o.concatenate([turn(terms[m ^ r]) if m & r == r else zero for m in range(count)], -1)
            for r in range(count)
        ]
        return o.concatenate(blocks, -2)

    def times(f: Node, m: Node) -> Node:
        flat = o.matmul(o.reshape(f, (*lead, n, count * n)), m)
        return o.reshape(flat, f.type.shape)

    def mu(f: Node, sums: Node) -> Node:
        diagonal = o.sum(o.where(own, f, 0.0), -1)
        return o.where(own, -o.expand_dims(o.matmul(sums, diagonal), -1), o.where(above, f, 0.0))

    def ahead(f: Node, m: Node) -> list[Node]:
        turned = mu(f, o.matrix_transpose(later))
        return [times(turned, m), turned]

    def back(turned: Node, g: Node, total: Node, m: Node) -> list[Node]:
        left = o.reshape(turned, (*lead, n * count, n))
        right = o.reshape(o.flip(g, -2), (*lead, n * count, n))  # the terms that are missing
        return [mu(times(g, m), later), total + o.matmul(o.matrix_transpose(left), right)]

    start = o.stack(terms, -2)
    steps = o.iota((n,), 0)[1:]
    _, turned = o.scan(lambda k, f, m: ahead(f, m), steps, [start, None], [factor(lambda t: t)])
    corner = o.logical_and(o.eq(o.iota((count, n), 0), 0), o.eq(o.iota((count, n), 1), 0))
    corner = o.logical_and(o.eq(place, 0), corner)
    sign = o.where(o.eq(o.dim_value(n) % 2, 1), 1.0, -1.0)
    last = o.zeros_like(start) + o.where(corner, o.cast(sign, like.dtype), 0.0)
    g, total = o.reduce(back, o.flip(turned, 0), [last, zero], [factor(o.matrix_transpose)])
    whole: Node = total + o.squeeze(o.slice_axis(g, -2, count - 1, 1), -2)
    return whole
