"""Hessenberg form: a matrix turned by reflections to one with zeros below the first subdiagonal."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import function, o, register
from symgraph.ops.linalg import (
    SQUARE,
    Factor,
    MatrixOp,
    adjoint,
    as_matrices,
    check_matrices,
    each,
    random_matrices,
    rows,
)
from symgraph.ops.linalg_eigen import safe_reciprocal

Size = Any


def reduced(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return H with the reflections below it as LAPACK stores them, and Q."""
    n, a = len(x), x.copy()
    q = np.eye(n, dtype=x.dtype)
    for j in range(n - 1):
        alpha, below = a[j + 1, j], np.linalg.norm(a[j + 2 :, j])
        if below == 0 and alpha.imag == 0:
            continue
        beta = -np.copysign(np.hypot(abs(alpha), below), alpha.real)
        v = np.append(1, a[j + 2 :, j] / (alpha - beta)).astype(x.dtype)
        scale = (beta - alpha) / beta
        for whole in (a, q):
            whole[:, j + 1 :] -= scale * np.outer(whole[:, j + 1 :] @ v, v.conj())
        a[j + 1 :, j + 1 :] -= np.conj(scale) * np.outer(v, v.conj() @ a[j + 1 :, j + 1 :])
        a[j + 1, j], a[j + 2 :, j] = beta, v[1:]
    return a, q


@register
class HessenbergFactor(Factor):
    """Rows 0 .. n - 1 are columns of H with the reflections below, the others those of Q."""

    name = "hessenberg_factor"
    doc = "Columns of the Hessenberg form of square matrices, and of its basis, packed."
    params = ("basis",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for k, x in enumerate(random_matrices(rng, dtype, SQUARE)):
            yield (x,), {"basis": k % 2 == 0}

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return (2 * n if params.basis else n), n

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            a, q = reduced(x)
            return np.vstack([a.T, q.T]) if node.params.basis else a.T

        return each(one, arrays[0])


class HessenbergResult(MatrixOp):
    """Base of H and Q."""

    params = ("basis",)  # Q is wanted too: one factorization for both

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, SQUARE):
            yield (x,), {"basis": True}


@register
class HessenbergForm(HessenbergResult):
    name = "hessenberg_form"
    doc = "H of A = Q H Q^H: zeros below the first subdiagonal."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: np.triu(reduced(x)[0], -1), arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        f = HessenbergFactor.instance(node.inputs[0], basis=node.params.basis)
        return o.triu(o.matrix_transpose(rows(f, 0, node.type.shape[-1])), -1)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        h, q = _both(node.inputs[0])
        inner = _within(q, tangents[0])
        skew = _skew(h, inner)
        return o.triu(inner + o.matmul(h, skew) - o.matmul(skew, h), -1)

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        h, q = _both(node.inputs[0])
        inner = o.triu(o.conj(g), -1)
        turn = o.matmul(adjoint(h), inner) - o.matmul(inner, adjoint(h))
        return (o.conj(_without(q, inner + _skew_transposed(h, turn))),)


@register
class HessenbergBasis(HessenbergResult):
    name = "hessenberg_basis"
    doc = "Q of A = Q H Q^H: a unitary matrix whose first column is that of the identity."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: reduced(x)[1], arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        f, n = HessenbergFactor.instance(node.inputs[0], basis=True), node.type.shape[-1]
        return o.matrix_transpose(rows(f, n, 2 * n))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        h, q = _both(node.inputs[0])
        return o.matmul(q, _skew(h, _within(q, tangents[0])))

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        h, q = _both(node.inputs[0])
        return (o.conj(_without(q, _skew_transposed(h, o.matmul(adjoint(q), o.conj(g))))),)


def _both(x: Node) -> tuple[Node, Node]:
    return HessenbergForm.instance(x, basis=True), HessenbergBasis.instance(x, basis=True)


def _within(q: Node, x: Node) -> Node:
    """Return Q^H X Q."""
    return o.matmul(o.matmul(adjoint(q), x), q)


def _without(q: Node, x: Node) -> Node:
    """Return Q X Q^H."""
    return o.matmul(o.matmul(q, x), adjoint(q))


# -- derivatives ----------------------------------------------------------------------------------
# C = Q^H dA Q = W H - H W + dH with W = Q^H dQ, skew. The first column of W is 0; below the
# subdiagonal those of dH are, so column j of the equation gives column j + 1 of W. Subdiagonals
# stay real, which decides on the diagonal of W. Both loops are linear in what they are given.


class _Step:
    """What step j of either loop needs; `column` is column j of H, (..., n)."""

    def __init__(self, j: Node, column: Node) -> None:
        place = o.iota(column.type.shape[-1:], 0)
        self.here, self.after = o.eq(place, j), o.eq(place, j + 1)
        self.down = o.expand_dims(self.after, -1)
        self.later = o.expand_dims(o.gt(place, j + 1), -1)
        self.column = o.expand_dims(column, -1)
        beside = o.sum(o.where(self.down, self.column, 0.0), -2, keepdims=True)
        self.inverse = safe_reciprocal(beside)


def _skew(h: Node, inner: Node) -> Node:
    """Return W for C, column by column."""

    def step(j: Node, c: Node, column: Node, w: Node, h: Node) -> Node:
        s = _Step(j, column)
        known = o.sum(o.where(s.here, w, 0.0), -1, keepdims=True)
        rest = o.expand_dims(c, -1) + o.matmul(h, known) - o.matmul(w, s.column)
        rest = rest * s.inverse
        low = o.where(s.later, rest, 0.0)
        w = w + o.where(s.after, low, 0.0) - o.where(s.down, adjoint(low), 0.0)
        if h.dtype.is_complex:
            w = w + o.where(o.logical_and(s.after, s.down), 1j * o.imag(rest), 0.0)
        return w

    columns = [o.moveaxis(m, -1, 0) for m in (inner, h)]
    found: Node = o.reduce(step, [_places(h), *columns], o.zeros_like(inner), [h])
    return found


def _skew_transposed(h: Node, w: Node) -> Node:
    """Return the adjoint of C -> W, for Re tr(A^H B): the steps backwards."""

    def step(j: Node, column: Node, w: Node, h: Node) -> list[Node]:
        s = _Step(j, column)
        turn = o.sum(o.where(s.after, w - adjoint(w), 0.0), -1, keepdims=True)
        rest = o.where(s.later, turn, 0.0)
        if h.dtype.is_complex:
            own = o.sum(o.where(s.after, w, 0.0), -1, keepdims=True)
            rest = rest + o.where(s.down, 1j * o.imag(own), 0.0)
        rest = rest * s.inverse
        w = w + o.where(s.here, o.matmul(adjoint(h), rest), 0.0) - o.matmul(rest, adjoint(s.column))
        return [w, o.squeeze(rest, -1)]

    sequences = [_places(h), o.moveaxis(h, -1, 0)]
    _, columns = o.scan(step, sequences, [w, None], [h], go_backwards=True)
    return o.moveaxis(o.flip(columns, 0), 0, -1)


def _places(h: Node) -> Node:
    return o.iota(h.type.shape[-1:], 0)


@function
def hessenberg(x: Any, calc_q: bool = False) -> Any:
    """Return H, or (H, Q) with calc_q, so that A = Q H Q^H for square matrices (..., n, n).

    H has zeros below its first subdiagonal, Q is unitary with the first column (1, 0, ...), as
    scipy.linalg.hessenberg has them. Derivatives are those where no element of the subdiagonal is
    0; behind one that is, the columns of Q are free, and their turn counts as 0.

    >>> x = sg.matrix("x", dtype="float64")
    >>> h = sg.linalg.hessenberg(x)
    >>> np.round(h.eval({x: np.array([[1.0, 2.0, 3.0], [3.0, 5.0, 6.0], [4.0, 8.0, 9.0]])}), 6)
    array([[ 1.  , -3.6 ,  0.2 ],
           [-5.  , 14.28,  1.04],
           [ 0.  , -0.96, -0.28]])
    """
    node = as_matrices(x)
    check_matrices("hessenberg", node)
    form = HessenbergForm.instance(node, basis=calc_q)
    return (form, HessenbergBasis.instance(node, basis=True)) if calc_q else form
