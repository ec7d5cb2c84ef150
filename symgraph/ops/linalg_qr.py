"""QR: Householder factors, and Q and R made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.errors import NotDifferentiableError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import function, o, register
from symgraph.dims.dim import minimum
from symgraph.ops.linalg import (
    GENERAL,
    Factor,
    MatrixOp,
    adjoint,
    as_matrices,
    check_matrices,
    each,
    random_matrices,
    rows,
)

Size = Any
TALL = ((4, 3), (3, 3), (1, 1), (2, 4, 2), (3, 0))


@register
class QrFactor(Factor):
    """The first n rows are the columns of A turned by reflections; the last row their scales."""

    name = "qr_factor"
    doc = "Householder factors of matrices, packed as (n + 1, m)."
    square = False

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, TALL):
            yield (x,), {}

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return n + 1, m

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.fill_zeros(out)  # of the scales there are only min(m, n)
        low.lapack(node, out)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            h, tau = np.linalg.qr(x, mode="raw")
            return np.vstack([h, np.pad(tau, (0, x.shape[0] - len(tau)))])

        return each(one, arrays[0])


@register
class QrBasis(Factor):
    """Columns of Q as rows, (columns, m)."""

    name = "qr_basis"
    doc = "The orthonormal columns that Householder factors stand for."
    params = ("columns",)
    square = False

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, TALL):
            m, n = x.shape[-2:]
            factors = each(
                lambda k, a: np.vstack([(h := np.linalg.qr(a, mode="raw"))[0],
                                        np.pad(h[1], (0, len(a) - len(h[1])))]), x)
            yield (factors,), {"columns": min(m, n)}

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return params.columns, n

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, f: np.ndarray) -> np.ndarray:
            n, m = f.shape[0] - 1, f.shape[1]
            q = np.eye(m, node.params.columns, dtype=f.dtype)
            for j in reversed(range(min(m, n))):
                v = np.where(np.arange(m) > j, f[j], 0).astype(f.dtype)
                v[j] = 1
                q -= f[n, j] * np.outer(v, v.conj() @ q)
            return q.T

        return each(one, arrays[0])


class QrResult(MatrixOp):
    """Base of Q and R."""

    square = False

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, GENERAL if dtype != "float64" else TALL):
            yield (x,), {}


def _turned(node: Node, tangent: Node) -> tuple[Node, Node, Node]:
    """Return C = dA R^-1 of the first k columns, M = Q^H C and W = Q^H dQ, skew.

    k = min(m, n) columns decide on Q; dQ = C + Q (W - M), and of all columns dR = Q^H dA - W R.
    The diagonal of R is real, so what is imaginary on that of M belongs to Q.
    """
    x = node.inputs[0]
    q, r = QrQ.instance(x), QrR.instance(x)
    k = q.type.shape[-1]
    leading = o.slice_axis(tangent, -1, 0, k)
    c = o.solve_triangular(
        o.slice_axis(r, -1, 0, k), o.matrix_transpose(leading), trans=1, what="derivative of qr"
    )
    c = o.matrix_transpose(c)
    inner = o.matmul(adjoint(q), c)
    low = o.tril(inner, -1)
    skew = low - adjoint(low)
    if x.dtype.is_complex:
        own = o.eye(k, dtype="bool")
        skew = o.where(own, 1j * o.imag(inner), skew)
    return c, inner, skew


@register
class QrQ(QrResult):
    name = "qr_q"
    doc = "Q of A = Q R: orthonormal columns, (m, min(m, n))."

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return m, minimum(m, n)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.qr(arrays[0])[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        f = QrFactor.instance(node.inputs[0])
        return o.matrix_transpose(QrBasis.instance(f, columns=node.type.shape[-1]))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        c, inner, skew = _turned(node, tangents[0])
        return c + o.matmul(node, skew - inner)


@register
class QrR(QrResult):
    name = "qr_r"
    doc = "R of A = Q R: upper triangular, (min(m, n), n)."

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return minimum(m, n), n

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.qr(arrays[0])[1])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        k, n = node.type.shape[-2:]
        f = QrFactor.instance(node.inputs[0])
        return o.triu(rows(o.matrix_transpose(rows(f, 0, n)), 0, k))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        skew = _turned(node, tangents[0])[2]
        q = QrQ.instance(node.inputs[0])
        return o.triu(o.matmul(adjoint(q), tangents[0]) - o.matmul(skew, node))


@register
class QrComplete(QrResult):
    name = "qr_complete"
    doc = "Q of A = Q R as a square matrix: columns beyond those of A span the rest."
    not_differentiable = (
        "columns beyond those of A are any orthonormal basis; take the derivative of the reduced Q"
    )

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return m, m

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.qr(arrays[0], mode="complete")[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        f = QrFactor.instance(node.inputs[0])
        return o.matrix_transpose(QrBasis.instance(f, columns=node.type.shape[-1]))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        raise NotDifferentiableError(
            f"the complete Q of a QR has no derivative: {QrComplete.not_differentiable}\n"
            f"  node:   made at {node.source}\n"
            "  mend:   sg.linalg.qr(x), or sg.stop_gradient(q)"
        )


def rest_of_basis(q: Node) -> Node | None:
    """Return orthonormal columns that complete those of `q`, constants in derivatives.

    None where `q` is known to be square.
    """
    m, k = q.type.shape[-2:]
    if m is k or m == k:
        return None
    whole = o.stop_gradient(QrComplete.instance(o.stop_gradient(q)))
    return o.slice_axis(whole, -1, k, m - k)


def _completed(x: Node) -> tuple[Node, Node]:
    """Return the square Q and an R with as many rows as A."""
    m, n = x.type.shape[-2:]
    r = QrR.instance(x)
    if isinstance(m, int) and isinstance(n, int) and m <= n:
        return QrQ.instance(x), r
    whole = o.place(r, (0,) * r.ndim, (1,) * r.ndim, (*r.type.shape[:-2], m, n))
    return QrComplete.instance(x), whole


@function
def qr(x: Any, mode: str = "reduced") -> Any:
    """Return (Q, R) with A = Q @ R for matrices (..., m, n), or R alone with mode "r".

    Q is (m, k) with orthonormal columns, R is (k, n) upper triangular, k = min(m, n); the
    diagonal of R is real, its signs are those of LAPACK. The derivative needs linearly independent
    first k columns: where they are not, it raises LinAlgError or gives huge numbers.
    With mode "complete" Q is (m, m) and R (m, n), and for m > n only R has a derivative.
    """
    node = as_matrices(x)
    check_matrices("qr", node, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"qr has the modes 'reduced', 'complete' and 'r', not {mode!r}")
    if mode == "complete":
        return _completed(node)
    return QrR.instance(node) if mode == "r" else (QrQ.instance(node), QrR.instance(node))
