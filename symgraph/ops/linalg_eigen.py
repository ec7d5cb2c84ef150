"""Eigenvalues and eigenvectors of symmetric matrices, and functions of matrices made of them.

Where two eigenvalues are exactly equal the factor 1 / gap of a derivative is taken as 0, so nothing
is NaN: functions of the eigenvalues (a trace, a determinant, a nuclear norm) have their derivative;
of others the part is missing that turns vectors of equal eigenvalues into each other. `sqrtm` and
`invsqrtm` have a rule of their own, without gaps. Close but different eigenvalues give large
derivatives of eigenvectors: they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import DType
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import function, o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import batch_all
from symgraph.ops.linalg import (
    SQUARE,
    Factor,
    MatrixOp,
    adjoint,
    as_matrices,
    check_finite,
    check_matrices,
    each,
    from_lower,
    kept_oriented,
    orientation,
    positive_matrices,
    rows,
    symmetric_part,
    to_lower,
)

Size = Any
NO_CONVERGENCE = "has no eigenvalues: the iteration does not converge (NaN or infinities?)"
MEND = "look for the first NaN with mode='nan'"


@register
class SymmetricFactor(Factor):
    """Rows 0 .. n - 1 are conjugates of eigenvectors, row n the eigenvalues.

    Without vectors it is the values alone.
    """

    name = "symmetric_factor"
    doc = "Eigenvectors and eigenvalues of the lower triangles of symmetric matrices, packed."
    params = ("vectors",)
    fault, mend = NO_CONVERGENCE, MEND
    title = "eigh"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for k, x in enumerate(positive_matrices(rng, dtype, SQUARE)):
            yield (x,), {"vectors": k % 2 == 0}

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return (n + 1, n) if params.vectors else (n,)

    def result_dtype(self, dtype: DType, params: Any) -> DType:
        return dtype if params.vectors else dtype.part

    def checks(self, low: Any, node: Node) -> None:
        """Stop where a number is not finite: LAPACK may make finite numbers of it."""
        check_finite(low, node)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            w, v = eigh_one(self, node, k, x)
            return np.vstack([v.T.conj(), w]) if node.params.vectors else w

        return each(one, arrays[0])


def eigh_one(op: MatrixOp, node: Node, k: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and oriented eigenvectors of matrix k; raises the error of the op."""
    if not np.isfinite(x).all():
        raise op.failure(node, k, 1)
    try:
        w, v = np.linalg.eigh(x)
    except np.linalg.LinAlgError:
        raise op.failure(node, k, 1) from None
    return w, v * orientation(v.T)


class SymmetricResult(MatrixOp):
    """Base of results of the lower triangles of symmetric matrices."""

    fault, mend = NO_CONVERGENCE, MEND
    title = "eigh"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in positive_matrices(rng, dtype, SQUARE):
            yield (x,), {}


@register
class EighValues(SymmetricResult):
    name = "eigh_values"
    doc = "Eigenvalues of symmetric matrices in ascending order."
    params = ("vectors",)  # the eigenvectors are wanted too: one factorization for both

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for k, x in enumerate(positive_matrices(rng, dtype, SQUARE)):
            yield (x,), {"vectors": k % 2 == 0}

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return (n,)

    def result_dtype(self, dtype: DType, params: Any) -> DType:
        return dtype.part

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: eigh_one(self, node, k, x)[0], arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, n = node.inputs[0], node.type.shape[-1]
        f = SymmetricFactor.instance(x, vectors=node.params.vectors)
        return o.real(o.squeeze(rows(f, n, n + 1), -2)) if node.params.vectors else f

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        v = EighVectors.instance(node.inputs[0])
        return o.real(o.sum(o.conj(v) * o.matmul(from_lower(tangents[0]), v), -2))


@register
class EighVectors(SymmetricResult):
    name = "eigh_vectors"
    doc = "Eigenvectors of symmetric matrices as columns, in the order of the eigenvalues."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: eigh_one(self, node, k, x)[1], arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        f = SymmetricFactor.instance(node.inputs[0], vectors=True)
        return adjoint(rows(f, 0, node.type.shape[-1]))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        w = EighValues.instance(node.inputs[0], vectors=True)
        turned = o.matmul(adjoint(node), o.matmul(from_lower(tangents[0]), node))
        return kept_oriented(node, o.matmul(node, turned * inverse_gaps(w)))[0]


def inverse_gaps(w: Node) -> Node:
    """Return 1 / (w[j] - w[i]) for all pairs, 0 where they are equal."""
    gap = o.expand_dims(w, w.ndim - 1) - o.expand_dims(w, w.ndim)
    return safe_reciprocal(gap)


def safe_reciprocal(x: Node) -> Node:
    """Return 1 / x, 0 where x is 0; derivatives of both are finite."""
    zero = o.eq(x, o.zeros((), x.dtype))
    one = o.ones((), x.dtype)
    return o.where(zero, o.zeros((), x.dtype), o.reciprocal(o.where(zero, one, x)))


# -- functions of symmetric matrices -------------------------------------------------------------
class SpectralFunction(SymmetricResult):
    """Base of V f(w) V^H."""

    @staticmethod
    def values(o: Namespace, w: Node) -> Node:
        raise NotImplementedError

    @staticmethod
    def reference(w: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            w, v = eigh_one(self, node, k, x)
            with np.errstate(all="ignore"):
                return np.asarray((v * self.reference(w)) @ v.T.conj(), x.dtype)

        return each(one, arrays[0])

    def expand(self, o: Namespace, node: Node) -> Node:
        x = node.inputs[0]
        v = EighVectors.instance(x)
        w = self.values(o, EighValues.instance(x, vectors=True))
        return o.matmul(v * o.expand_dims(w, w.ndim - 1), adjoint(v))


@register
class SqrtM(SpectralFunction):
    name = "sqrtm"
    doc = "The square root of symmetric positive semidefinite matrices; NaN for others."

    @staticmethod
    def values(o: Namespace, w: Node) -> Node:
        return o.sqrt(_rounded_up(o, w))

    @staticmethod
    def reference(w: np.ndarray) -> np.ndarray:
        return np.sqrt(np.where((w < 0) & (w > -_noise(w)), 0, w))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        return SymmetricSylvester.instance(node, from_lower(tangents[0]))


@register
class InvSqrtM(SpectralFunction):
    name = "invsqrtm"
    doc = "The inverse of the square root of symmetric positive definite matrices."

    @staticmethod
    def values(o: Namespace, w: Node) -> Node:
        return o.reciprocal(o.sqrt(_rounded_up(o, w)))

    @staticmethod
    def reference(w: np.ndarray) -> np.ndarray:
        return 1 / SqrtM.reference(w)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        """With Z = A^(-1/2) and S = A^(1/2): dZ = -Z dS Z."""
        root = SqrtM.instance(node.inputs[0])
        moved = SymmetricSylvester.instance(root, from_lower(tangents[0]))
        return -o.matmul(o.matmul(node, moved), node)


def _noise(w: np.ndarray) -> Any:
    return 4 * np.finfo(w.dtype).eps * np.abs(w).sum(-1, keepdims=True)


def _rounded_up(o: Namespace, w: Node) -> Node:
    """Return eigenvalues with those that rounding made negative as zeros."""
    eps = 4 * float(np.finfo(w.dtype.numpy).eps)
    noise = o.sum(o.abs(w), -1, keepdims=True) * eps
    tiny = o.logical_and(o.lt(w, 0.0), o.gt(w, -noise))
    return o.where(tiny, o.zeros((), w.dtype), w)


@register
class SymmetricSylvester(MatrixOp):
    """Closed under differentiation, and free of gaps: it makes the derivatives of square roots."""

    name = "symmetric_sylvester"
    doc = "The solution X of S X + X S = C for symmetric positive definite S."

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in positive_matrices(rng, dtype, SQUARE):
            c = rng.normal(size=x.shape)
            yield (x, (c + 1j * c[::-1] if dtype.is_complex else c).astype(x.dtype)), {}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        lead, n, _ = check_matrices(self.name, inputs[0])
        check_matrices(self.name, inputs[1])
        return inputs[0].type.with_shape((*lead, n, n))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        w, v = np.linalg.eigh(arrays[0])
        t = np.swapaxes(v, -1, -2).conj()
        with np.errstate(all="ignore"):
            inner = (t @ arrays[1] @ v) / (w[..., :, None] + w[..., None, :])
        return np.asarray(v @ inner @ t)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, c = node.inputs
        v, w = EighVectors.instance(x), EighValues.instance(x, vectors=True)
        t = adjoint(v)
        total = o.expand_dims(w, w.ndim - 1) + o.expand_dims(w, w.ndim)
        return o.matmul(o.matmul(v, o.matmul(o.matmul(t, c), v) / total), t)

    def jvp(self, o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        ds, rest = tangents
        if ds is not None:
            full = from_lower(ds)
            moved = o.matmul(full, node) + o.matmul(node, full)
            rest = -moved if rest is None else rest - moved
        return self(node.inputs[0], rest)

    def vjp(self, o: Namespace, node: Node, g: Node) -> tuple[Node, Node]:
        dc, t = o.conj(self(node.inputs[0], o.conj(g))), o.matrix_transpose(node)
        return to_lower(-(o.matmul(dc, t) + o.matmul(t, dc))), dc

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self(*batch_all(o, inputs, axes)), 0


# -- functions -----------------------------------------------------------------------------------
@function
def eigh(x: Any) -> tuple[Node, Node]:
    """Return (w, V) with A = V @ diag(w) @ V^H for symmetric or Hermitian matrices (..., n, n).

    w is real and ascends; column k of V belongs to w[k], with the sign, or complex factor, that
    makes sum(v[i] / (i + 1.7)) real and positive. Both triangles are read: it is the symmetric
    (Hermitian) part (A + A^H) / 2 that is taken, where NumPy reads the lower triangle alone, so
    derivatives are symmetric. The basis for equal eigenvalues is free; their 1 / gap counts as 0 in
    derivatives, right for functions of the eigenvalues. A matrix with NaN or infinities raises
    LinAlgError.
    """
    node = as_matrices(x)
    check_matrices("eigh", node)
    part = symmetric_part(node)
    return EighValues.instance(part, vectors=True), EighVectors.instance(part)


@function
def eigvalsh(x: Any) -> Node:
    """Return the eigenvalues of symmetric or Hermitian matrices (..., n, n), ascending.

    Of other matrices it is those of the symmetric (Hermitian) part (A + A^H) / 2, as in `eigh`.
    """
    node = as_matrices(x)
    check_matrices("eigvalsh", node)
    return EighValues.instance(symmetric_part(node), vectors=False)


@function
def sqrtm(x: Any, hermitian: bool = True) -> Node:
    """Return the symmetric (Hermitian) square root of positive semidefinite matrices.

    NaN for matrices with negative eigenvalues. The derivative exists for definite ones, equal
    eigenvalues included.

    hermitian=False: the principal square root of any square matrices without eigenvalues that are
    0 or on the negative real axis, NaN for others and where less than half of the digits of A come
    back from the square of the root; of the dtype of x, so cast a real matrix with
    negative eigenvalues to complex first. Its derivatives solve n^2 equations: for small matrices.

    >>> x = sg.matrix("x", dtype="float64")
    >>> y = sg.linalg.sqrtm(x, hermitian=False)
    >>> np.round(y.eval({x: np.array([[1.0, 4.0], [0.0, 9.0]])}), 9)
    array([[1., 1.],
           [0., 3.]])
    """
    node = as_matrices(x)
    check_matrices("sqrtm", node)
    if not hermitian:
        found: Node = o.root_by_products(node)
        return found
    return SqrtM.instance(symmetric_part(node))


@function
def invsqrtm(x: Any) -> Node:
    """Return A^(-1/2) of symmetric or Hermitian positive definite matrices, NaN for others."""
    node = as_matrices(x)
    check_matrices("invsqrtm", node)
    return InvSqrtM.instance(symmetric_part(node))
