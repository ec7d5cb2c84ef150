"""Cholesky factors and triangular systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, describe
from symgraph.core.op import function, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import must_equal
from symgraph.ops.base import batch_all
from symgraph.ops.linalg import (
    SQUARE,
    MatrixOp,
    adjoint,
    as_matrices,
    as_operands,
    check_matrices,
    each,
    from_lower,
    positive_matrices,
    random_matrices,
    same_batch,
    symmetric_part,
)
from symgraph.ops.shape import product


@register
class Cholesky(MatrixOp):
    name = "cholesky"
    doc = "The lower triangular L with L @ L^H = A; only the lower triangle of A is read."
    copied = (0,)
    fault = "is not positive definite (leading minor {info})"
    mend = "add a small multiple of the identity: a + 1e-6 * sg.eye(n)"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in positive_matrices(rng, dtype, SQUARE):
            yield (x,), {}

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            try:
                return np.linalg.cholesky(x)
            except np.linalg.LinAlgError:
                raise self.failure(node, k, _bad_minor(x)) from None

        return each(one, arrays[0])

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.lapack(node, out)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        """dL = L Phi(L^-1 dA L^-H), Phi: lower triangle with half of the diagonal (Murray 2016)."""
        half = o.solve_triangular(node, from_lower(tangents[0]), lower=True)
        inner = o.solve_triangular(node, adjoint(half), lower=True)
        n = node.type.shape[-1]
        part = node.dtype.part
        phi = (o.tri(n, dtype=part) + o.tri(n, k=-1, dtype=part)) * 0.5
        return o.matmul(node, inner * phi)


def _bad_minor(x: np.ndarray) -> int:
    """Return the order of the first leading minor that is not positive definite."""
    for k in range(1, len(x)):
        try:
            np.linalg.cholesky(x[:k, :k])
        except np.linalg.LinAlgError:
            return k
    return len(x)


@register
class SolveTriangular(MatrixOp):
    """`trans` solves with A.T; `unit` takes the diagonal as ones; `what` names it in errors."""

    name = "solve_triangular"
    doc = "The solution X of A X = B (or A.T X = B) for a triangular A; the rest is not read."
    params = ("lower", "trans", "unit", "what")
    copied = (1,)
    fault = "is singular (pivot {zero} is zero)"
    mend = "check that no two rows depend on each other, or use sg.linalg.lstsq"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, ((3, 3), (1, 1), (2, 4, 4), (0, 0), (0, 2, 2))):
            a = x + 3 * np.eye(x.shape[-1], dtype=x.dtype)
            for columns, flags in ((2, 0b100), (1, 0b001), (0, 0b110), (3, 0b011)):
                b = rng.normal(size=(*x.shape[:-1], columns)).astype(x.dtype)
                lower, trans, unit = (bool(flags & bit) for bit in (4, 2, 1))
                what = "solve_triangular"
                yield (a, b), {"lower": lower, "trans": trans, "unit": unit, "what": what}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return solution_type(params.what, inputs)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        p = node.params

        def one(k: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
            a = np.tril(a) if p.lower else np.triu(a)
            if p.unit:
                np.fill_diagonal(a, 1)
            zero = np.flatnonzero(np.diagonal(a) == 0)
            if zero.size:
                raise self.failure(node, k, int(zero[0]) + 1)
            return np.linalg.solve(a.T if p.trans else a, b)

        return each(one, *arrays)

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.lapack(node, out)

    def _part(self, x: Node, params: Any) -> Node:
        """Return the part of a matrix that is read."""
        return o.tril(x, -int(params.unit)) if params.lower else o.triu(x, int(params.unit))

    def jvp(self, o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        a, p = node.inputs[0], node.params
        da, rest = tangents
        if da is not None:
            part = self._part(da, p)
            moved = o.matmul(o.matrix_transpose(part) if p.trans else part, node)
            rest = -moved if rest is None else rest - moved
        return self(a, rest, **p._asdict())

    def vjp(self, o: Namespace, node: Node, g: Node) -> tuple[Node, Node]:
        a, p = node.inputs[0], node.params
        db = self(a, g, **{**p._asdict(), "trans": not p.trans})
        left, right = (node, db) if p.trans else (db, node)
        return self._part(-o.matmul(left, o.matrix_transpose(right)), p), db

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return batch_solution(self, node, inputs, axes)


def solution_type(op: str, inputs: Sequence[Node]) -> TensorType:
    """Return the type of X in A X = B for stacks with equal leading axes; raises ShapeError."""
    a, b = inputs
    lead, n, _ = check_matrices(op, a)
    more, m, k = check_matrices(op, b, square=False)
    if isinstance(n, int) and isinstance(m, int) and n != m:
        raise ShapeError(
            f"{op}: `{describe(a)}` has {n} rows, but `{describe(b)}` {b.type} has {m}\n"
            f"  input:  {describe(a)}  {a.type}, made at {a.source}\n"
            f"  input:  {describe(b)}  {b.type}, made at {b.source}\n"
            "  mend:   a vector has one axis; stacks of vectors need b[..., None]"
        )
    must_equal(n, m)
    for p, q in zip(lead, more, strict=True):
        must_equal(p, q)
    return b.type.with_shape((*lead, n, k))


def batch_solution(
    op: Any, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
) -> tuple[Node, int]:
    """Batch a solver; a batch of right sides for the same matrix becomes more columns."""
    if axes[0] is not None:
        return op.rebuild(node, tuple(batch_all(o, inputs, axes))), 0
    b = o.moveaxis(inputs[1], axes[1], -1)
    *lead, n, k, size = b.type.shape
    x = op.rebuild(node, (inputs[0], o.reshape(b, (*lead, n, k * size))))
    return o.reshape(x, b.type.shape), b.ndim - 1


def solved(op: str, a: Node, b: Node, solve: Callable[[Node, Node], Node]) -> Node:
    """Apply a solver of stacks to a vector, to columns, or to stacks that broadcast.

    Complex right sides of real matrices are twice as many real ones.
    """
    if b.ndim == 1:
        return o.squeeze(solved(op, a, o.expand_dims(b, 1), solve), -1)
    if b.ndim == 0:
        raise ShapeError(f"{op}: the right side `{describe(b)}` is a scalar")
    if b.dtype.is_complex and not a.dtype.is_complex:
        n = b.type.shape[-1]
        x = solved(op, a, o.concatenate([o.real(b), o.imag(b)], -1), solve)
        return o.complex(o.slice_axis(x, -1, 0, n), o.slice_axis(x, -1, n, n))
    if a.ndim == 2 and b.ndim > 2:  # one matrix: the stack becomes more columns
        front_ = o.moveaxis(b, b.ndim - 2, 0)
        flat = o.reshape(front_, (b.type.shape[-2], product(front_.type.shape[1:])))
        x = solve(a, flat)
        shape = (x.type.shape[0], *front_.type.shape[1:])
        return o.moveaxis(o.reshape(x, shape), 0, b.ndim - 2)
    return solve(*same_batch(op, a, b))


@function
def cholesky(x: Any) -> Node:
    """Return the lower triangular L with L @ L^H = A for positive definite matrices (..., n, n).

    A is symmetric or, where it is complex, Hermitian; that part of `x` is factored, so the
    derivative is symmetric or Hermitian too. A matrix that is not positive definite raises
    LinAlgError with its number and the order of the leading minor.
    """
    node = as_matrices(x)
    check_matrices("cholesky", node)
    return Cholesky.instance(symmetric_part(node))


@function
def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    what: str = "solve_triangular",
) -> Node:
    """Return x with A x = b for triangular matrices.

    trans: 1 or "T" solves with A.T, 2 or "C" with its conjugate.

    a: (..., n, n), of which only one triangle is read; b: (n,), or (..., n, k) with leading axes
    that broadcast. A zero on the diagonal raises LinAlgError.
    """
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise ValueError(f"trans must be 0, 1, 2, 'N', 'T' or 'C', got {trans!r}")
    if trans in (2, "C"):
        return o.conj(o.solve_triangular(a, o.conj(b), 1, lower, unit_diagonal, what))
    x, y = as_operands(a, b)
    check_matrices(what, x)
    flags = {"lower": lower, "trans": trans not in (0, "N"), "unit": unit_diagonal, "what": what}
    return solved(what, x, y, lambda p, q: SolveTriangular.instance(p, q, **flags))
