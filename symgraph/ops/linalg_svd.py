"""Singular values, pseudoinverses and least squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import DType
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node
from symgraph.core.op import function, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import maximum, minimum, must_equal
from symgraph.ops.base import batch_all
from symgraph.ops.linalg import (
    GENERAL,
    Factor,
    MatrixOp,
    adjoint,
    as_matrices,
    as_operands,
    check_finite,
    check_matrices,
    each,
    kept_oriented,
    largest,
    orientation,
    random_matrices,
)
from symgraph.ops.linalg_eigen import safe_reciprocal
from symgraph.ops.linalg_qr import rest_of_basis
from symgraph.ops.linalg_triangular import solved

Size = Any
NO_CONVERGENCE = "has no singular values: the iteration does not converge (NaN or infinities?)"
MEND = "look for the first NaN with mode='nan'"


@register
class SvdFactor(Factor):
    """With vectors U (m, k), Vh (k, n) and the values (k,) one behind the other."""

    name = "svd_factor"
    doc = "Singular values of matrices, with vectors if wanted, packed in one row."
    params = ("vectors",)
    square = False
    fault, mend = NO_CONVERGENCE, MEND
    title = "svd"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for k, x in enumerate(random_matrices(rng, dtype, GENERAL)):
            yield (x,), {"vectors": k % 3 < 2}

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        k = minimum(m, n)
        return (m * k + k * n + k,) if params.vectors else (k,)

    def result_dtype(self, dtype: DType, params: Any) -> DType:
        return dtype if params.vectors else dtype.part

    def checks(self, low: Any, node: Node) -> None:
        """Stop where a number is not finite: LAPACK's iteration may not end then."""
        check_finite(low, node)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            u, s, vh = svd_one(self, node, k, x)
            return np.concatenate([u.ravel(), vh.ravel(), s]) if node.params.vectors else s

        return each(one, arrays[0])


def svd_one(
    op: MatrixOp, node: Node, k: int, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the reduced SVD of matrix k with the signs that the native kernel chooses."""
    if not np.isfinite(x).all():
        raise op.failure(node, k, 1)
    try:
        u, s, vh = np.linalg.svd(x, full_matrices=False)
    except np.linalg.LinAlgError:
        raise op.failure(node, k, 1) from None
    sign = orientation(vh)
    return u * sign.conj(), s, vh * sign[:, None]


class SvdResult(MatrixOp):
    """Base of U, s and Vh of one matrix."""

    square = False
    fault, mend = NO_CONVERGENCE, MEND
    title = "svd"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, GENERAL):
            yield (x,), {}

    def piece(self, node: Node, first: Size) -> Node:
        """Return the part of the packed factors that begins at `first`, in the node's shape."""
        x = node.inputs[0]
        f = SvdFactor.instance(x, vectors=True)
        own = node.type.shape[x.ndim - 2 :]
        length: Size = 1
        for n in own:
            length = length * n
        return o.reshape(o.slice_axis(f, f.ndim - 1, first, length), node.type.shape)


def _parts(x: Node) -> tuple[Node, Node, Node]:
    """Return U, s, Vh of one factorization."""
    return SvdU.instance(x), SvdValues.instance(x, vectors=True), SvdVh.instance(x)


def _turned(x: Node, tangent: Node) -> tuple[Node, Node, Node]:
    """Return dP = U^H dA V, s as a row, and F[i, j] = 1 / (s[j]^2 - s[i]^2), 0 where equal."""
    u, s, vh = _parts(x)
    dp = o.matmul(o.matmul(adjoint(u), tangent), adjoint(vh))
    row, column = o.expand_dims(s, s.ndim - 1), o.expand_dims(s, s.ndim)
    return dp, row, safe_reciprocal((row - column) * (row + column))


def _outside(basis: Node, image: Node, s: Node) -> Node | None:
    """Return (I - B B^H) C S^-1 for a basis of fewer columns than rows, None for a square one."""
    m, k = basis.type.shape[-2:]
    if m is k or m == k:
        return None
    inside = o.matmul(basis, o.matmul(adjoint(basis), image))
    return (image - inside) * safe_reciprocal(s)


@register
class SvdValues(SvdResult):
    name = "svd_values"
    doc = "Singular values in descending order."
    params = ("vectors",)  # the vectors are wanted too: one factorization for all

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for k, x in enumerate(random_matrices(rng, dtype, GENERAL)):
            yield (x,), {"vectors": k % 2 == 0}

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return (minimum(m, n),)

    def result_dtype(self, dtype: DType, params: Any) -> DType:
        return dtype.part

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: svd_one(self, node, k, x)[1], arrays[0])

    def expand(self, o: Namespace, node: Node) -> Node:
        x = node.inputs[0]
        if not node.params.vectors:
            return SvdFactor.instance(x, vectors=False)
        (m, n), k = x.type.shape[-2:], node.type.shape[-1]
        return o.real(self.piece(node, m * k + k * n))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        u, _, vh = _parts(node.inputs[0])
        return o.real(o.sum(o.conj(u) * o.matmul(tangents[0], adjoint(vh)), -2))


@register
class SvdU(SvdResult):
    name = "svd_u"
    doc = "Left singular vectors as columns, (m, min(m, n))."

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return m, minimum(m, n)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: svd_one(self, node, k, x)[0], arrays[0])

    def expand(self, o: Namespace, node: Node) -> Node:
        return self.piece(node, 0)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        x = node.inputs[0]
        dp, s, f = _turned(x, tangents[0])
        inner = f * (dp * s + adjoint(dp) * o.matrix_transpose(s))
        image = o.matmul(tangents[0], adjoint(SvdVh.instance(x)))
        rest = _outside(node, image, s)
        if node.dtype.is_complex:  # all of the free turn of a pair of vectors is given to U
            inner = inner + _diagonal(1j * o.imag(dp)) * safe_reciprocal(s)
        moved = o.matmul(node, inner)
        moved = moved if rest is None else moved + rest
        turn = _right_tangent(x, tangents[0])[1]  # U turns against the rows of Vh
        return moved if turn is None else moved - node * turn


@register
class SvdVh(SvdResult):
    name = "svd_vh"
    doc = "Right singular vectors as rows, (min(m, n), n)."

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return minimum(m, n), n

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: svd_one(self, node, k, x)[2], arrays[0])

    def expand(self, o: Namespace, node: Node) -> Node:
        m, k = node.inputs[0].type.shape[-2], node.type.shape[-2]
        return self.piece(node, m * k)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        return o.matrix_transpose(_right_tangent(node.inputs[0], tangents[0])[0])


def _diagonal(x: Node) -> Node:
    """Return square matrices with zeros beside the diagonal."""
    return o.where(o.eye(x.type.shape[-1], dtype="bool"), x, o.zeros((), x.dtype))


def _right_tangent(x: Node, tangent: Node) -> tuple[Node, Node | None]:
    """Return the derivative of Vh transposed, and the turn that keeps its rows oriented."""
    vt = o.matrix_transpose(SvdVh.instance(x))
    v = o.conj(vt)
    dp, s, f = _turned(x, tangent)
    moved = o.matmul(v, f * (dp * o.matrix_transpose(s) + adjoint(dp) * s))
    rest = _outside(v, o.matmul(adjoint(tangent), SvdU.instance(x)), s)
    return kept_oriented(vt, o.conj(moved if rest is None else moved + rest))


def _relative(s: Node, x: Node, rcond: float | None) -> Node:
    """Return rcond, or for None max(m, n) eps, of matrices with singular values `s`."""
    if rcond is not None:
        return o.full((), rcond, s.dtype)
    m, n = x.type.shape[-2:]
    return o.cast(o.dim_value(maximum(m, n)), s.dtype) * float(np.finfo(s.dtype.numpy).eps)


def _inverse_values(s: Node, x: Node, rcond: float | None) -> Node:
    """Return 1 / s, 0 for values below rcond times the largest (None: max(m, n) eps)."""
    relative = _relative(s, x, rcond)
    first = o.slice_axis(s, s.ndim - 1, 0, minimum(1, s.type.shape[-1]))
    keep = o.gt(s, o.sum(first, -1, keepdims=True) * relative)
    one, zero = o.ones((), s.dtype), o.zeros((), s.dtype)
    return o.where(keep, o.reciprocal(o.where(keep, s, one)), zero)


@register
class Pinv(SvdResult):
    name = "pinv"
    doc = "The pseudoinverse by SVD; singular values below rcond times the largest count as 0."
    params = ("rcond",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for k, x in enumerate(random_matrices(rng, dtype, GENERAL)):
            yield (x,), {"rcond": None if k % 2 else 1e-6}

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return n, m

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x, rcond = arrays[0], node.params.rcond
        if rcond is None:
            rcond = max(x.shape[-2:]) * np.finfo(x.dtype).eps

        def one(k: int, a: np.ndarray) -> np.ndarray:
            svd_one(self, node, k, a)  # raises its error
            return np.linalg.pinv(a, rcond=rcond)

        return each(one, x)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x = node.inputs[0]
        u, s, vh = _parts(x)
        inverse = _inverse_values(s, x, node.params.rcond)
        v = adjoint(vh) * o.expand_dims(inverse, s.ndim - 1)
        return o.matmul(v, adjoint(u))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        """Golub and Pereyra 1973, for constant rank."""
        x, t = node.inputs[0], adjoint
        da = tangents[0]
        pt, dat = t(node), t(da)
        left = o.matmul(o.matmul(node, pt), dat)
        right = o.matmul(dat, o.matmul(pt, node))
        first = left - o.matmul(o.matmul(left, x), node)
        second = right - o.matmul(node, o.matmul(x, right))
        return first + second - o.matmul(o.matmul(node, da), node)


@register
class Lstsq(MatrixOp):
    name = "lstsq"
    doc = "The shortest X that minimises |A X - B|, by SVD."
    params = ("rcond",)
    square = False
    fault, mend = NO_CONVERGENCE, MEND
    title = "svd"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for k, x in enumerate(random_matrices(rng, dtype, GENERAL)):
            b = rng.normal(size=(*x.shape[:-1], k % 3 + 1)).astype(x.dtype)
            yield (x, b), {"rcond": None}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        a, b = inputs
        lead, m, n = check_matrices("lstsq", a, square=False)
        more, rows, k = check_matrices("lstsq", b, square=False)
        for p, q in zip((*lead, m), (*more, rows), strict=True):
            must_equal(p, q)
        return a.type.with_shape((*lead, n, k))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
            svd_one(self, node, k, a)  # raises its error
            return np.asarray(np.linalg.lstsq(a, b, rcond=node.params.rcond)[0])

        return each(one, *arrays)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        a, b = node.inputs
        u, s, vh = _parts(a)
        inverse = _inverse_values(s, a, node.params.rcond)
        inner = o.matmul(adjoint(u), b) * o.expand_dims(inverse, s.ndim)
        return o.matmul(adjoint(vh), inner)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        """The derivative of P B for the pseudoinverse P, for constant rank."""
        (a, b), (da, db), t = node.inputs, tangents, adjoint
        p = Pinv.instance(a, rcond=node.params.rcond)
        terms = [] if db is None else [o.matmul(p, db)]
        if da is not None:
            rest = b - o.matmul(a, node)
            right = o.matmul(t(da), o.matmul(t(p), node))
            terms.append(-o.matmul(p, o.matmul(da, node)))
            terms.append(o.matmul(p, o.matmul(t(p), o.matmul(t(da), rest))))
            terms.append(right - o.matmul(p, o.matmul(a, right)))
        total: Node = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self(*batch_all(o, inputs, axes), rcond=node.params.rcond), 0


# -- functions -----------------------------------------------------------------------------------
@function
def svd(x: Any, full_matrices: bool = False, compute_uv: bool = True) -> Any:
    """Return (U, s, Vh) with A = (U * s) @ Vh for matrices (..., m, n), or s alone.

    s descends and has length k = min(m, n); U is (m, k), Vh is (k, n). Each of these rows v of Vh
    has the sign, or complex factor, that makes sum(v[i] / (i + 1.7)) real and positive. For equal
    singular values 1 / gap counts as 0 in derivatives, right for functions of the values. With
    `full_matrices` U is (m, m) and Vh (n, n): the further columns and rows are some orthonormal
    basis of the rest, and constants in derivatives.
    """
    node = as_matrices(x)
    check_matrices("svd", node, square=False)
    if not compute_uv:
        return SvdValues.instance(node, vectors=False)
    u, s, vh = _parts(node)
    if full_matrices:
        left, right = rest_of_basis(u), rest_of_basis(adjoint(vh))
        u = u if left is None else o.concatenate([u, left], -1)
        vh = vh if right is None else o.concatenate([vh, adjoint(right)], -2)
    return u, s, vh


@function
def svdvals(x: Any) -> Node:
    """Return the singular values of matrices (..., m, n), descending."""
    values: Node = svd(x, compute_uv=False)
    return values


@function
def pinv(x: Any, rcond: float | None = None) -> Node:
    """Return the pseudoinverse of matrices (..., m, n).

    Singular values of at most `rcond` (default max(m, n) eps) times the largest count as zeros. The
    derivative is that for constant rank.
    """
    return Pinv.instance(as_matrices(x), rcond=rcond)


@function
def matrix_rank(
    x: Any, tol: Any = None, hermitian: bool = False, *, rtol: float | None = None
) -> Node:
    """Return the number of singular values above a limit, int64, of matrices (..., m, n).

    tol: the limit, which broadcasts with the leading axes; else it is rtol (default max(m, n) eps)
    times the largest. hermitian: by eigenvalues, which is quicker.
    """
    node = as_matrices(x)
    check_matrices("matrix_rank", node, square=hermitian)
    s = o.abs(o.eigvalsh(node)) if hermitian else o.svdvals(node)
    if tol is None:
        limit = _relative(s, node, rtol) * o.expand_dims(largest(s), -1)
    else:
        limit = o.expand_dims(tol, -1) if as_node(tol).ndim else as_node(tol)
    return o.count_nonzero(o.gt(s, limit), -1)


@function
def lstsq(a: Any, b: Any, rcond: float | None = None) -> Node:
    """Return the shortest x that minimises |A x - b|: the solution alone.

    a: (..., m, n); b: (m,), or (..., m, k) with leading axes that broadcast. `rcond` as in `pinv`.
    """
    x, y = as_operands(a, b)
    check_matrices("lstsq", x, square=False)
    return solved("lstsq", x, y, lambda p, q: Lstsq.instance(p, q, rcond=rcond))
