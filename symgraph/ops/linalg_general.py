"""Eigenvalues and eigenvectors of general matrices: complex arrays, of real matrices too.

Derivatives are those of simple eigenvalues: they divide by gaps (0 for equal ones) and solve with
the eigenvectors, which a defective matrix has too few of.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.dtype import DType
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import function, o, register
from symgraph.core.types import TensorType
from symgraph.ops.linalg import (
    SQUARE,
    Factor,
    MatrixOp,
    as_matrices,
    check_matrices,
    each,
    kept_oriented,
    main_diagonal,
    orientation,
    random_matrices,
    rows,
    weighted,
)
from symgraph.ops.linalg_eigen import MEND, NO_CONVERGENCE, inverse_gaps

Size = Any


class GeneralOp(MatrixOp):
    """Base of results for general square matrices."""

    fault, mend = NO_CONVERGENCE, MEND
    title = "eig"
    params = ("vectors",)  # the eigenvectors are wanted too: one factorization for both

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for k, x in enumerate(random_matrices(rng, dtype, SQUARE)):
            yield (x,), {"vectors": k % 2 == 0}

    def pairs(self, node: Node, k: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return eigenvalues and eigenvectors of matrix k in NumPy's order; raises the error."""
        try:
            w, v = np.linalg.eig(x) if node.params.vectors else (np.linalg.eigvals(x), x)
        except np.linalg.LinAlgError:
            raise self.failure(node, k, 1) from None
        kind = np.result_type(x, np.complex64)
        return w.astype(kind), v.astype(kind)


@register
class EigFactor(GeneralOp, Factor):
    """Eigenvectors as rows (with `vectors`), then the eigenvalues as a row.

    For real matrices two rows hold real and imaginary parts of the values, and of a conjugate pair
    the first row is the real part of the vectors, the second the imaginary part of the first one.
    """

    name = "eig_factor"
    doc = "Eigenvalues, and vectors if wanted, of square matrices, packed as LAPACK does."

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, SQUARE):  # signs of longer vectors are LAPACK's choice
            yield (x,), {"vectors": x.shape[-1] == 1}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        lead, n, _ = check_matrices("eig", x)
        more = (n if params.vectors else 0) + (1 if x.dtype.is_complex else 2)
        return x.type.with_shape((*lead, more, n))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            w, v = self.pairs(node, k, x)
            if x.dtype.kind == "c":
                return np.vstack([*([v.T] if node.params.vectors else []), w])
            packed = np.where(w.imag < 0, -v.imag, v.real).T
            parts = [*([packed] if node.params.vectors else []), w.real, w.imag]
            return np.vstack(parts).astype(x.dtype)

        return each(one, arrays[0])


class GeneralResult(GeneralOp):
    """Base of complex results."""

    def result_dtype(self, dtype: DType, params: Any) -> DType:
        return dtype.as_complex


def _values(o: Namespace, x: Node, f: Node, first: Size) -> Node:
    """Return the eigenvalues that lie in a factor from row `first` on."""
    re = o.squeeze(rows(f, first, first + 1), -2)
    if x.dtype.is_complex:
        return re
    return o.complex(re, o.squeeze(rows(f, first + 1, first + 2), -2))


@register
class EigValues(GeneralResult):
    name = "eig_values"
    doc = "Eigenvalues of square matrices, complex."

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return (n,)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: self.pairs(node, k, x)[0], arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, vectors = node.inputs[0], node.params.vectors
        f = EigFactor.instance(x, vectors=vectors)
        return _values(o, x, f, node.type.shape[-1] if vectors else 0)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        v = EigVectors.instance(node.inputs[0], vectors=True)
        return main_diagonal(_turned(v, tangents[0]))


def _turned(v: Node, tangent: Node) -> Node:
    """Return V^-1 dA V."""
    return o.solve(v, o.matmul(o.cast(tangent, v.dtype), v))


@register
class EigVectors(GeneralResult):
    name = "eig_vectors"
    doc = "Eigenvectors of square matrices as columns of length 1, complex."

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, SQUARE):
            yield (x,), {"vectors": True}

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            v = self.pairs(node, k, x)[1]
            return np.asarray(v * orientation(v.T))

        return each(one, arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, n = node.inputs[0], node.type.shape[-1]
        f = EigFactor.instance(x, vectors=True)
        v = rows(f, 0, n)
        if not x.dtype.is_complex:
            im = o.imag(o.expand_dims(_values(o, x, f, n), -1))
            first, second = o.gt(im, 0.0), o.lt(im, 0.0)
            across = o.where(second, -v, o.zeros((), v.dtype))
            v = o.complex(
                o.where(second, o.roll(v, 1, -2), v), o.where(first, o.roll(v, -1, -2), across)
            )
        v = o.matrix_transpose(v)
        turn = o.conj(o.sign(weighted(v)))
        return v * o.where(o.eq(turn, 0.0), o.ones((), v.dtype), turn)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        w = EigValues.instance(node.inputs[0], vectors=True)
        moved = o.matmul(node, _turned(node, tangents[0]) * inverse_gaps(w))
        longer = o.real(o.sum(o.conj(node) * moved, -2, keepdims=True))
        return kept_oriented(node, moved - node * longer)[0]


@function
def eig(x: Any) -> tuple[Node, Node]:
    """Return (w, V) with A @ V = V * w for square matrices (..., n, n): complex arrays.

    The order of w is LAPACK's, as in numpy.linalg.eig; of real matrices conjugate pairs are
    neighbours, the positive imaginary part first. Column k of V belongs to w[k]; it has length 1
    and the factor that makes sum(v[i] / (i + 1.7)) real and positive. Derivatives are those of
    simple eigenvalues; a matrix with too few eigenvectors raises LinAlgError there or gives huge
    numbers.
    """
    node = as_matrices(x)
    check_matrices("eig", node)
    return EigValues.instance(node, vectors=True), EigVectors.instance(node, vectors=True)


@function
def eigvals(x: Any) -> Node:
    """Return the eigenvalues of square matrices (..., n, n): a complex array, ordered as by `eig`.

    Use `eigvalsh` for symmetric and Hermitian matrices: real values, quicker.
    """
    node = as_matrices(x)
    check_matrices("eigvals", node)
    return EigValues.instance(node, vectors=False)
