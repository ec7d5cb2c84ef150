"""Schur form: a matrix turned unitarily to a triangular one, with the eigenvalues on its diagonal.

LAPACK leaves open a sign, or a complex factor of length 1, of each column of the basis, and which
of two columns of a conjugate pair is the first; both are fixed here as for eigenvectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import function, o, register
from symgraph.ops.linalg import (
    Factor,
    MatrixOp,
    adjoint,
    as_matrices,
    check_matrices,
    each,
    identity_like,
    kept_oriented,
    main_diagonal,
    orientation,
    random_matrices,
    rows,
    weighted,
)
from symgraph.ops.linalg_eigen import MEND, NO_CONVERGENCE, inverse_gaps, safe_reciprocal
from symgraph.ops.linalg_solve import take_rows

Size = Any
EQUAL = "derivative of schur, whose eigenvalues must differ"


# -- reference ------------------------------------------------------------------------------------
def deflated(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return T and Z by one eigenvector, or the plane of a conjugate pair, after the other."""
    n, t, z = len(x), x.copy(), np.eye(len(x), dtype=x.dtype)
    order, k = np.linalg.eig(x)[0], 0
    while k < n:
        values, vectors = np.linalg.eig(t[k:, k:])
        at = int(np.argmin(np.abs(values - order[k])))
        v, real = vectors[:, at], x.dtype.kind != "c"
        pair = real and values[at].imag != 0
        plane = np.stack([v.real, v.imag] if pair else [v.real if real else v], -1)
        q = np.linalg.qr(plane.astype(x.dtype), mode="complete")[0]
        _turn(t, z, slice(k, n), q)
        size = 2 if pair else 1
        t[k + size :, k : k + size] = 0
        if pair:
            (a, b), (c, d) = t[k : k + 2, k : k + 2]
            angle = 0.5 * np.arctan2(d - a, b + c) + (np.pi / 2 if abs(b) < abs(c) else 0)
            cos, sin = np.cos(angle), np.sin(angle)
            _turn(t, z, slice(k, k + 2), np.array([[cos, -sin], [sin, cos]], x.dtype))
            t[k, k] = t[k + 1, k + 1] = (a + d) / 2
        k += size
    return t, z


def _turn(t: np.ndarray, z: np.ndarray, part: slice, q: np.ndarray) -> None:
    t[:, part] = t[:, part] @ q
    t[part] = q.conj().T @ t[part]
    z[:, part] = z[:, part] @ q


def _reference(op: MatrixOp, node: Node, k: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return T and Z of matrix k as the ops give them; raises the error of the op."""
    if not np.isfinite(x).all():
        raise op.failure(node, k, 1)
    t, z = deflated(x)
    below, above = (np.append(np.diagonal(t, m), t.dtype.type(0)) for m in (-1, 1))
    if x.dtype.kind != "c":
        first = np.abs(below) > np.abs(above)
        places = np.arange(len(x)) + first - np.roll(first, 1)
        t, z = t[places][:, places], z[:, places]
    turn = orientation(z.T).ravel()
    return t * turn * turn.conj()[:, None], z * turn


# -- ops ------------------------------------------------------------------------------------------
class SchurOp(MatrixOp):
    """Base of the Schur form and its factors."""

    fault, mend = NO_CONVERGENCE, MEND
    title = "schur"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        shapes = ((3, 3), (1, 1), (2, 3, 3), (2, 1, 2, 2), (0, 0), (0, 3, 3))
        for x in random_matrices(rng, dtype, shapes):  # of larger ones the order may differ
            if dtype.is_complex:
                yield (x,), {}
                continue
            n = x.shape[-1]
            q = np.linalg.qr(x)[0] if x.size else x
            t = np.triu(np.full((n, n), 0.3), 1) + np.diag(n - np.arange(n))
            yield ((q @ t @ np.swapaxes(q, -1, -2)).astype(x.dtype),), {}


@register
class SchurFactor(SchurOp, Factor):
    """Rows 0 .. n - 1 are columns of T, those behind columns of Z, both as LAPACK has them."""

    name = "schur_factor"
    doc = "Columns of the Schur form of square matrices and of its basis, packed."

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, ((1, 1), (2, 1, 1), (0, 0), (0, 2, 2))):
            yield (x,), {}  # signs of longer columns are LAPACK's choice

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return 2 * n, n

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            t, z = _reference(self, node, k, x)
            return np.vstack([t.T, z.T])

        return each(one, arrays[0])


@register
class SchurForm(SchurOp):
    name = "schur_form"
    doc = "T of A = Z T Z^H: upper triangular, of real matrices with blocks of conjugate pairs."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: _reference(self, node, k, x)[0], arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        t, z = _arranged(node.inputs[0])
        turn = _turning(z)
        return t * turn * adjoint(turn)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        z = SchurVectors.instance(node.inputs[0])
        inner = o.matmul(o.matmul(adjoint(z), tangents[0]), z)
        skew = _skew(node, inner)
        _, turn = kept_oriented(z, o.matmul(z, skew))
        if turn is not None:
            skew = skew + identity_like(skew) * turn
        moved = inner + o.matmul(node, skew) - o.matmul(skew, node)
        kept = o.logical_or(o.tri(node.type.shape[-1], dtype="bool"), _Pairs(node).blocks)
        return o.where(o.matrix_transpose(kept), moved, o.zeros((), node.dtype))


@register
class SchurVectors(SchurOp):
    name = "schur_vectors"
    doc = "Z of A = Z T Z^H: a unitary matrix."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: _reference(self, node, k, x)[1], arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        z = _arranged(node.inputs[0])[1]
        return z * _turning(z)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        inner = o.matmul(o.matmul(adjoint(node), tangents[0]), node)
        skew = _skew(SchurForm.instance(node.inputs[0]), inner)
        return kept_oriented(node, o.matmul(node, skew))[0]


def _turning(z: Node) -> Node:
    """Return the factors of length 1 of the columns, as a row."""
    turn = o.conj(o.sign(weighted(z)))
    return o.where(o.eq(turn, 0.0), o.ones((), z.dtype), turn)


def _arranged(x: Node) -> tuple[Node, Node]:
    """Return T and Z, of real matrices with the larger element of a block above the diagonal."""
    f, n = SchurFactor.instance(x), x.type.shape[-1]
    t, z = (o.matrix_transpose(rows(f, k * n, (k + 1) * n)) for k in (0, 1))
    if x.dtype.is_complex:
        return t, z
    pairs = _Pairs(t)
    first = o.cast(o.gt(o.abs(pairs.below), o.abs(pairs.above)), "int64")
    order = o.iota((n,), 0) + first - o.roll(first, 1, -1)

    def columns(m: Node) -> Node:
        return o.matrix_transpose(take_rows(o.matrix_transpose(m), order))

    return columns(take_rows(t, order)), columns(z)


class _Pairs:
    """The elements beside the diagonal of T, and where blocks of two rows lie."""

    def __init__(self, t: Node) -> None:
        n = t.type.shape[-1]
        inside = o.lt(o.iota((n,), 0) + 1, o.dim_value(n))
        zero = o.zeros((), t.dtype)
        self.above = o.where(inside, main_diagonal(o.roll(t, -1, -1)), zero)
        self.below = o.where(inside, main_diagonal(o.roll(t, -1, -2)), zero)
        self.first = o.ne(self.below, zero)  # where row i and the next one are a block
        self.second = o.roll(self.first, 1, -1)
        self.blocks = self.beside(self.first)

    def beside(self, values: Node) -> Node:
        """Return the matrix with values[i] in row i, column i + 1, and zeros elsewhere."""
        place = o.iota(values.type.shape[-1:], 0)
        at = o.eq(o.expand_dims(place, -1) + 1, place)
        return o.where(at, o.expand_dims(values, -1), o.zeros((), values.dtype))


# -- derivatives ----------------------------------------------------------------------------------
def _skew(t: Node, inner: Node) -> Node:
    """Return W = Z^H dZ, skew, from C = Z^H dA Z = W T - T W + dT, of which dT has no lower part.

    A block of a real matrix is turned to triangular form by a unitary matrix G = [[c, i s], [i s,
    c]]; within it, W keeps its two diagonal elements equal.
    """
    below = o.tri(t.type.shape[-1], k=-1, dtype="bool")
    if t.dtype.is_complex:
        low = _lower(t, inner, below)
        return low - adjoint(low)
    pairs = _Pairs(t)
    size = o.where(pairs.first, -pairs.above * pairs.below, 1.0)  # square of the imaginary part
    length = o.sqrt(o.where(pairs.first, o.square(pairs.above), 0.0) + size)
    cos = o.where(pairs.first, pairs.above / length, 1.0)
    cos = o.where(pairs.second, o.roll(cos, 1, -1), cos)
    sin = pairs.beside(o.where(pairs.first, o.sqrt(size) / length, 0.0))
    turn = o.complex(identity_like(t) * o.expand_dims(cos, -1), sin + o.matrix_transpose(sin))
    below = o.logical_and(below, o.logical_not(o.matrix_transpose(pairs.blocks)))
    low = o.real(_lower(o.cast(t, turn.dtype), o.cast(inner, turn.dtype), below, turn))
    skew = low - adjoint(low)
    rest = main_diagonal(inner + o.matmul(t, skew) - o.matmul(skew, t))
    both = o.where(pairs.first, 2.0 * (pairs.above + pairs.below), 0.0)
    angle = pairs.beside((rest - o.roll(rest, -1, -1)) * safe_reciprocal(both))
    return skew + angle - o.matrix_transpose(angle)


def _lower(t: Node, inner: Node, below: Node, turn: Node | None = None) -> Node:
    """Return L, which is nonzero at `below` only, with L T - T L = C there.

    In a basis V of eigenvectors of T it is C / gap, because V is (block) triangular as T is: what
    is not below stays there under multiplication with V and its inverse.
    """
    if turn is not None:
        t, inner = (o.matmul(o.matmul(adjoint(turn), m), turn) for m in (t, inner))
    v, zero = _eigenvectors(o.triu(t)), o.zeros((), t.dtype)
    low = o.solve_triangular(v, o.matmul(inner, v), unit_diagonal=True)
    low = o.where(below, low * inverse_gaps(main_diagonal(t)), zero)
    low = o.matrix_transpose(o.matmul(v, low))
    low = o.matrix_transpose(o.solve_triangular(v, low, trans=1, unit_diagonal=True))
    if turn is not None:
        low = o.matmul(o.matmul(turn, low), adjoint(turn))
    return o.where(below, low, zero)


def _eigenvectors(t: Node) -> Node:
    """Return those of triangular matrices as columns, with ones on the diagonal: n systems."""
    n, one = t.type.shape[-1], identity_like(t)
    which, row, column = (o.iota(tuple(n if k == axis else 1 for k in range(3)), axis)
                          for axis in range(3))  # fmt: skip
    inside = o.logical_and(o.lt(row, which), o.lt(column, which))
    values = o.expand_dims(main_diagonal(t), (-2, -1))
    systems = o.where(inside, o.expand_dims(t, -3) - values * one, one)
    right = o.where(o.tri(n, k=-1, dtype="bool"), -o.matrix_transpose(t), one)
    found = o.solve_triangular(systems, o.expand_dims(right, -1), what=EQUAL)
    return o.matrix_transpose(o.squeeze(found, -1))


@function
def schur(x: Any, output: str = "real") -> tuple[Node, Node]:
    """Return (T, Z) with A = Z T Z^H for square matrices (..., n, n), as scipy.linalg.schur does.

    Z is unitary, T upper triangular. Of a real matrix both are real unless `output` is "complex":
    then T has blocks of two rows for conjugate pairs of eigenvalues, with equal elements on the
    diagonal and the larger one of the others above it. The order of the eigenvalues is LAPACK's;
    column k of Z has the sign, or complex factor, that makes sum(z[i] / (i + 1.7)) real and
    positive. A matrix with NaN or infinities raises LinAlgError.

    Derivatives are those of eigenvalues that differ; they solve n systems of n equations. Equal
    ones raise LinAlgError there, close ones give large numbers. Where the two elements beside the
    diagonal of a block are opposite numbers any rotation of its columns serves, and it counts as 0.

    >>> x = sg.matrix("x", dtype="float64")
    >>> t, z = sg.linalg.schur(x)
    >>> np.round(np.diagonal(t.eval({x: np.array([[1.0, 2.0], [3.0, 2.0]])})), 9)
    array([-1.,  4.])
    """
    if output not in ("real", "complex", "r", "c"):
        raise ValueError(f'schur: output must be "real" or "complex", got {output!r}')
    node = as_matrices(x)
    check_matrices("schur", node)
    if output in ("complex", "c"):
        node = o.cast(node, node.dtype.as_complex)
    return SchurForm.instance(node), SchurVectors.instance(node)
