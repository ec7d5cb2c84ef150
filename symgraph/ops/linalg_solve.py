"""General systems by LU: solutions, inverses, determinants, all from one factorization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import INT64, DType
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import function, o, ops, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import minimum
from symgraph.ops.base import cast_to
from symgraph.ops.linalg import (
    GENERAL,
    SQUARE,
    Factor,
    MatrixOp,
    as_matrices,
    as_operands,
    check_matrices,
    each,
    from_lower,
    identity_like,
    main_diagonal,
    positive_matrices,
    random_matrices,
    rows,
    symmetric_part,
    to_lower,
)
from symgraph.ops.linalg_triangular import batch_solution, solution_type, solved

Size = Any
SINGULAR = "is singular (pivot {zero} is zero)"
MEND = "check that no two rows depend on each other, or use sg.linalg.lstsq"


@register
class LuFactor(Factor):
    """The first n rows are (L U).T, then the order of the rows, its inverse, signs of exchanges."""

    name = "lu_factor"
    doc = "LU factors with the row order, packed as (n + 3, m): P A = L U."
    square = False

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, GENERAL):
            yield (x,), {}

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return n + 3, m

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: packed_lu(x), arrays[0])


def packed_lu(x: np.ndarray) -> np.ndarray:
    """Return LU factors by elimination with row exchanges, packed as LuFactor does."""
    (m, n), a = x.shape, x.copy()
    order, sign = np.arange(m), np.ones(m)
    with np.errstate(all="ignore"):
        for k in range(min(m, n)):
            p = k + int(np.argmax(np.abs(a[k:, k].real) + np.abs(a[k:, k].imag)))
            if p != k:
                a[[k, p]], order[[k, p]], sign[k] = a[[p, k]], order[[p, k]], -1
            if a[k, k] != 0:
                a[k + 1 :, k] /= a[k, k]
                a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
    return np.vstack([a.T, order, np.argsort(order), sign]).astype(x.dtype)


def lu_parts(x: Node) -> tuple[Node, Node, Node, Node]:
    """Return L U in one matrix (m, n), and the rows order, inverse order, signs (m,)."""
    f = LuFactor.instance(x)
    n = x.type.shape[-1]
    lu = o.matrix_transpose(rows(f, 0, n))
    order, inverse, sign = (o.squeeze(rows(f, n + k, n + k + 1), -2) for k in range(3))
    order, inverse, sign = (o.real(row) for row in (order, inverse, sign))
    return lu, cast_to(order, INT64), cast_to(inverse, INT64), sign


def take_rows(x: Node, order: Node) -> Node:
    """Return stacks of matrices with their rows in another order, (..., m) integers."""
    lead = x.type.shape[:-2]
    numbers = [
        o.iota((*(n if j == k else 1 for j, n in enumerate(lead)), 1), k)
        for k in range(len(lead))
    ]
    return ops["gather"](x, *numbers, order)


@register
class Solve(MatrixOp):
    name = "solve"
    doc = "The solution X of A X = B, or A.T X = B with `trans`, by LU with row exchanges."
    params = ("trans",)
    fault, mend = SINGULAR, MEND

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for k, x in enumerate(random_matrices(rng, dtype, SQUARE)):
            b = rng.normal(size=(*x.shape[:-1], k % 3 + 1)).astype(x.dtype)
            yield (x, b), {"trans": bool(k % 2)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return solution_type("solve", inputs)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return solve_one(self, node, k, a.T if node.params.trans else a, b)

        return each(one, *arrays)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        a, b = node.inputs
        return solve_by_lu(a, b, node.params.trans, "solve")

    def jvp(self, o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        da, rest = tangents
        trans = node.params.trans
        if da is not None:
            moved = o.matmul(o.matrix_transpose(da) if trans else da, node)
            rest = -moved if rest is None else rest - moved
        return self(node.inputs[0], rest, trans=trans)

    def vjp(self, o: Namespace, node: Node, g: Node) -> tuple[Node, Node]:
        trans = node.params.trans
        db = self(node.inputs[0], g, trans=not trans)
        left, right = (node, db) if trans else (db, node)
        return -o.matmul(left, o.matrix_transpose(right)), db

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return batch_solution(self, node, inputs, axes)


def solve_one(op: MatrixOp, node: Node, k: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Solve one system with NumPy; raises the op's error where matrix k is singular."""
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        pivots = np.diagonal(packed_lu(a)[: len(a)])
        raise op.failure(node, k, int(np.argmax(pivots == 0)) + 1) from None


def solve_by_lu(a: Node, b: Node, trans: bool, what: str) -> Node:
    """Return the solution from the LU factors of `a`."""
    lu, order, inverse, _ = lu_parts(a)
    if not trans:
        return solve_factored(lu, take_rows(b, order), what)
    y = o.solve_triangular(lu, b, trans=1, what=what)
    y = o.solve_triangular(lu, y, trans=1, lower=True, unit_diagonal=True, what=what)
    return take_rows(y, inverse)


def solve_factored(lu: Node, b: Node, what: str) -> Node:
    """Return the solution X of L U X = B for L and U in one matrix."""
    y = o.solve_triangular(lu, b, lower=True, unit_diagonal=True, what=what)
    return o.solve_triangular(lu, y, what=what)


@register
class SolvePositive(MatrixOp):
    name = "solve_positive"
    doc = "The solution X of A X = B by Cholesky; of A only the lower triangle is read."
    fault = "is not positive definite (leading minor {info})"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for k, x in enumerate(positive_matrices(rng, dtype, SQUARE)):
            yield (x, rng.normal(size=(*x.shape[:-1], k % 3 + 1)).astype(x.dtype)), {}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return solution_type("solve", inputs)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        full = np.tril(arrays[0]) + np.swapaxes(np.tril(arrays[0], -1), -1, -2).conj()
        ops["cholesky"].numpy(node, full)  # raises its error
        return each(lambda k, a, b: np.linalg.solve(a, b), full, arrays[1])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        a, b = node.inputs
        factor = ops["cholesky"](a)
        y = o.solve_triangular(factor, b, lower=True, what="solve")
        return o.solve_triangular(factor, y, lower=True, trans="C", what="solve")

    def jvp(self, o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        da, rest = tangents
        if da is not None:
            moved = o.matmul(from_lower(da), node)
            rest = -moved if rest is None else rest - moved
        return self(node.inputs[0], rest)

    def vjp(self, o: Namespace, node: Node, g: Node) -> tuple[Node, Node]:
        db = o.conj(self(node.inputs[0], o.conj(g)))
        return to_lower(-o.matmul(db, o.matrix_transpose(node))), db

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return batch_solution(self, node, inputs, axes)


class SquareResult(MatrixOp):
    """Base of results of one square matrix."""

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, SQUARE):
            yield (x,), {}


@register
class Inv(SquareResult):
    name = "inv"
    doc = "The inverse of square matrices, by LU."
    fault, mend = SINGULAR, MEND

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            return solve_one(self, node, k, x, np.eye(len(x), dtype=x.dtype))

        return each(one, arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x = node.inputs[0]
        return solve_by_lu(x, o.broadcast_to(identity_like(x), x.type.shape), False, "inv")

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        return -o.matmul(o.matmul(node, tangents[0]), node)

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        t = o.matrix_transpose(node)
        return (-o.matmul(o.matmul(t, g), t),)


class Determinant(SquareResult):
    """Base of numbers that follow from the diagonal of U."""

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return ()

    @staticmethod
    def rate(o: Namespace, node: Node, tangent: Node) -> Node:
        """Return the derivative of the logarithm of the determinant: trace(A^-1 dA)."""
        inverse = o.matrix_transpose(Inv.instance(node.inputs[0]))
        return o.sum(inverse * tangent, (-2, -1))


@register
class Det(Determinant):
    name = "det"
    doc = "The determinant, by LU; its derivative, the cofactors, exists for singular ones too."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.det(arrays[0]), node.dtype.numpy)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        lu, _, _, sign = lu_parts(node.inputs[0])
        return o.prod(main_diagonal(lu) * sign, -1)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        return o.sum(ops["cofactors"](node.inputs[0]) * tangents[0], (-2, -1))


@register
class LogAbsDet(Determinant):
    name = "log_abs_det"
    doc = "The logarithm of the absolute determinant, by LU; -inf for a singular matrix."

    def result_dtype(self, dtype: DType, params: Any) -> DType:
        return dtype.part

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.slogdet(arrays[0])[1], node.dtype.numpy)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        return o.sum(o.log(o.abs(main_diagonal(lu_parts(node.inputs[0])[0]))), -1)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        return o.real(Determinant.rate(o, node, tangents[0]))


@register
class DetSign(Determinant):
    name = "det_sign"
    doc = "The sign of the determinant: -1, 0 or 1, of derivative 0; complex: length 1 or 0."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.slogdet(arrays[0])[0], node.dtype.numpy)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        lu, _, _, sign = lu_parts(node.inputs[0])
        return o.prod(o.sign(main_diagonal(lu)) * sign, -1)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node | None:
        if not node.dtype.is_complex:
            return None
        return node * (1j * o.imag(Determinant.rate(o, node, tangents[0])))

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node | None]:
        if not node.dtype.is_complex:
            return (None,)
        part = o.imag(g * node)  # Re(g node i Im t) = -Im(g node) Im t
        inverse = o.matrix_transpose(Inv.instance(node.inputs[0]))
        return (inverse * o.expand_dims(1j * part, (part.ndim, part.ndim + 1)),)


# -- L and U as results --------------------------------------------------------------------------
class LuResult(MatrixOp):
    """Base of L and U: P A = L U."""

    square = False

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x in random_matrices(rng, dtype, GENERAL if dtype != "float64" else SQUARE):
            yield (x,), {}


def _leading(x: Node, size: Size, axis: int) -> Node:
    """Return the first `size` rows (axis -2) or columns (axis -1)."""
    return o.slice_axis(x, axis, 0, size)


def _by_upper(x: Node, y: Node) -> Node:
    """Return Y U^-1 for Y of k = min(m, n) columns and the first k columns of U."""
    upper = LuUpper.instance(x)
    upper = _leading(upper, upper.type.shape[-2], -1)
    t = o.solve_triangular(upper, o.matrix_transpose(y), trans=1, what="derivative of lu")
    return o.matrix_transpose(t)


def _by_lower(x: Node, y: Node) -> Node:
    """Return L^-1 Y for Y of k = min(m, n) rows and the first k rows of L."""
    lower = LuLower.instance(x)
    lower = _leading(lower, lower.type.shape[-1], -2)
    return o.solve_triangular(lower, y, lower=True, unit_diagonal=True)


@register
class LuLower(LuResult):
    name = "lu_lower"
    doc = "L of P A = L U: unit lower triangular, (m, min(m, n))."

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return m, minimum(m, n)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        def one(k: int, x: np.ndarray) -> np.ndarray:
            lu = packed_lu(x)[: x.shape[1]].T[:, : min(x.shape)]
            return np.asarray(np.tril(lu, -1) + np.eye(*lu.shape, dtype=x.dtype))

        return each(one, arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        lu = lu_parts(node.inputs[0])[0]
        m, k = node.type.shape[-2:]
        lu = o.slice_axis(lu, lu.ndim - 1, 0, k)
        return o.where(o.eye(m, k, dtype="bool"), o.ones((), lu.dtype), o.tril(lu, -1))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        """With C = P dA U^-1 of the first k columns: dL = C - L triu(L^-1 C)."""
        x, k = node.inputs[0], node.type.shape[-1]
        c = _by_upper(x, take_rows(_leading(tangents[0], k, -1), LuOrder.instance(x)))
        inner = _by_lower(x, _leading(c, k, -2))
        return o.tril(c - o.matmul(node, o.triu(inner)), -1)


@register
class LuUpper(LuResult):
    name = "lu_upper"
    doc = "U of P A = L U: upper triangular, (min(m, n), n)."

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        return minimum(m, n), n

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(
            lambda k, x: np.triu(packed_lu(x)[: x.shape[1]].T[: min(x.shape)]), arrays[0]
        )

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        lu = lu_parts(node.inputs[0])[0]
        return o.triu(rows(lu, 0, node.type.shape[-2]))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        """With B = L^-1 P dA of the first k rows: dU = B - tril(B U^-1, -1) U."""
        x, k = node.inputs[0], node.type.shape[-2]
        b = _by_lower(x, _leading(take_rows(tangents[0], LuOrder.instance(x)), k, -2))
        inner = _by_upper(x, _leading(b, k, -1))
        return o.triu(b - o.matmul(o.tril(inner, -1), node))


@register
class LuOrder(LuResult):
    name = "lu_order"
    doc = "Which row of A is row i of L U, (m,) integers."
    not_differentiable = "the result is an index"

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        lead, m, _ = check_matrices("lu", inputs[0], square=False)
        return TensorType(INT64, (*lead, m))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return each(lambda k, x: packed_lu(x)[-3].real.astype(np.int64), arrays[0])

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        return lu_parts(node.inputs[0])[1]


# -- functions -----------------------------------------------------------------------------------
@function
def solve(a: Any, b: Any, assume_a: str = "gen") -> Node:
    """Return x with A x = b.

    a: (..., n, n); b: (n,), or (..., n, k) with leading axes that broadcast. assume_a: "gen" (LU),
    "pos" (symmetric or Hermitian, positive definite: Cholesky, half the work), "sym" or "her" (LU
    of the symmetric or the Hermitian part), "lower triangular" or "upper triangular"
    (substitution). A singular matrix raises LinAlgError with its number and the pivot.
    """
    x, y = as_operands(a, b)
    check_matrices("solve", x)
    if assume_a in ("lower triangular", "upper triangular"):
        return o.solve_triangular(x, y, lower=assume_a.startswith("lower"), what="solve")
    if assume_a == "pos":
        return solved("solve", symmetric_part(x), y, SolvePositive.instance)
    if assume_a == "her":
        x = symmetric_part(x)
    elif assume_a == "sym":
        x = (x + o.matrix_transpose(x)) * 0.5
    elif assume_a != "gen":
        raise ValueError(
            "assume_a must be gen, pos, sym, her, lower triangular or upper triangular, got "
            f"{assume_a!r}"
        )
    return solved("solve", x, y, lambda p, q: Solve.instance(p, q, trans=False))


@function
def inv(x: Any) -> Node:
    """Return the inverse of square matrices (..., n, n); LinAlgError where there is none."""
    return Inv.instance(as_matrices(x))


@function
def det(x: Any) -> Node:
    """Return the determinant of square matrices (..., n, n).

    Derivatives of all orders are right at every matrix, singular ones too; beyond the third they
    take n products of matrices of 2^k n rows.
    """
    return Det.instance(as_matrices(x))


@function
def slogdet(x: Any) -> tuple[Node, Node]:
    """Return (sign, log |det|) of square matrices: no overflow; (0, -inf) for singular ones.

    The sign of a complex determinant is a number of length 1.
    """
    node = as_matrices(x)
    return DetSign.instance(node), LogAbsDet.instance(node)


@function
def lu(x: Any) -> tuple[Node, Node, Node]:
    """Return P, L, U with A = P @ L @ U for matrices (..., m, n), as scipy.linalg.lu does.

    L is (m, k) and U (k, n), k = min(m, n). Derivatives of L and U need linearly independent first
    k columns, else they raise LinAlgError or are huge; the permutation P is a constant.
    """
    node = as_matrices(x)
    order = LuOrder.instance(node)
    m = node.type.shape[-2]
    places = o.expand_dims(order, -2)  # column i of P has its one in row order[i]
    hit = o.eq(o.iota((m, 1), 0), places)
    return o.cast(hit, node.dtype.part), LuLower.instance(node), LuUpper.instance(node)
