"""Lower factorizations to calls of LAPACK: the input is copied to where LAPACK overwrites it.

LAPACK counts columns first, so a row-major matrix is its transpose there. Each routine gets what
costs least: the other triangle of a symmetric matrix, a transposing copy (it is a copy anyway), or
exchanged factors for the SVD. Results come packed in one array, which the ops slice by views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from symgraph.core.dtype import INT32, INT64, DType
from symgraph.core.node import Node
from symgraph.dims.dim import minimum
from symgraph.loops.grammar import Buffer, Check, Expr, LibraryCall, Nest, Size, View
from symgraph.loops.product import operand

if TYPE_CHECKING:
    from symgraph.loops.build import Lowering

BLOCK = 64  # columns that LAPACK works on at once; work space is sized for it


def lower_lapack(low: Lowering, node: Node, out: Buffer | View) -> None:
    """Append the statements that compute `node` into `out`."""
    if isinstance(out, View):  # a row of a loop's trace: its place moves from step to step
        target = low.temporary(node.dtype, node.type.shape)
        _LOWER[node.op.name](_Call(low, node, target))
        low.copy_buffer(target, out)
    else:
        _LOWER[node.op.name](_Call(low, node, out))


class _Call:
    """What lowering one node needs: its sizes, copies of inputs, and the call itself."""

    def __init__(self, low: Lowering, node: Node, out: Any) -> None:
        self.low, self.node, self.out, self.s = low, node, out, low.s
        self.batch = node.type.shape[: node.inputs[0].ndim - 2]
        self.rows, self.columns = node.inputs[0].type.shape[-2:]

    @property
    def count(self) -> Size:
        return _product(self.batch)

    def temporary(self, *shape: Size, dtype: DType | None = None) -> Buffer:
        return self.low.temporary(dtype or self.node.dtype, shape)

    def infos(self) -> Buffer:
        """Return the place of LAPACK's verdict on each matrix."""
        return self.temporary(self.count, dtype=INT64)

    def copy(
        self,
        k: int,
        target: Buffer,
        rows: Size,
        transposed: bool = False,
        triangle: bool = False,
        limit: Size | None = None,
    ) -> None:
        """Store input k, a stack of matrices, into matrices of `rows` rows of `target`.

        triangle: zeros above the diagonal. limit: only so many rows (of the input).
        """
        low, s, x = self.low, self.s, self.node.inputs[k]
        axes = low.nest_axes(x)
        if limit is not None:
            axes = (*axes[:-2], s.axis(axes[-2].name, limit), axes[-1])
        index = [s.at(a) for a in axes]
        value = low.value(x, index)
        if triangle:
            below = s.binary("ge", s.as_value(index[-2], INT64), s.as_value(index[-1], INT64))
            value = s.select(below, value, s.const(0, x.dtype))
        place = [*index[:-2], index[-1], index[-2]] if transposed else index
        width = x.type.shape[-2] if transposed else x.type.shape[-1]
        address = low.flat(place, (*x.type.shape[:-2], rows, width))
        if transposed:  # neighbours in memory in the inner loop of the store
            axes = (*axes[:-2], axes[-1], axes[-2])
        nest = Nest(axes, (low.store(target, address, value),), origin=(self.node,))
        low.program.statements.append(nest)

    def matrix(self, k: int) -> tuple[Buffer, Any, Size, Size, bool]:
        """Return buffer, offset, row length, stride between matrices of input k, and whether it
        lies there transposed; it is copied where its strides are others."""
        low, x = self.low, self.node.inputs[k]
        *batch, r, c = low.nest_axes(x)
        buffer, (offset, outer, row, column) = operand(low, x, batch, r, c, unit=True)
        step: Size | None = outer[-1] if outer else 0
        want = step
        for axis, stride in zip(reversed(batch), reversed(outer), strict=True):
            if _differ(stride, want):
                step = None
            want = (want * axis.extent) if want is not None else None
        if step is None:
            buffer = self.temporary(*x.type.shape)
            low.store_value(x, buffer)
            return buffer, 0, x.type.shape[-1], _product(x.type.shape[-2:]), False
        plain = _is(column, 1) or _is(x.type.shape[-1], 1)
        if plain and _is(x.type.shape[-2], 1):
            row = x.type.shape[-1]
        return buffer, offset, row if plain else column, step, not plain

    def call(
        self,
        name: str,
        outputs: Sequence[Buffer],
        inputs: Sequence[Buffer],
        values: Sequence[Any],
        amount: Sequence[Size],
        options: tuple[Any, ...] = (),
    ) -> None:
        """Append the call; outputs that were filled before are among the inputs too."""
        work = (*self.batch, *amount)
        params = (work, self.count, tuple(values), options)
        call = LibraryCall(name, tuple(outputs), tuple(inputs), params, origin=(self.node,))
        self.low.program.statements.append(call)

    def check(self, infos: Buffer) -> None:
        """Stop with an error that names the node where a matrix failed."""
        s = self.s
        axis = s.axis("i0", self.count)
        bad = s.binary("ne", s.load(infos, s.index(s.at(axis))), s.const(0, INT64))
        code = self.low.error_code(self.node)
        self.low.program.statements.append(Check((axis,), bad, code, origin=(self.node,)))


def _cholesky(c: _Call) -> None:
    n, infos = c.rows, c.infos()
    c.copy(0, c.out, n, triangle=True)
    c.call("potrf", [c.out, infos], [c.out], [n], [n, n, n])
    c.check(infos)


def _solve_triangular(c: _Call) -> None:
    p, (n, k) = c.node.params, c.node.type.shape[-2:]
    infos = c.infos()
    buffer, offset, row, stride, transposed = c.matrix(0)
    c.copy(1, c.out, n)
    options = (bool(p.lower) != transposed, bool(p.trans) != transposed, bool(p.unit))
    values = [n, k, row, offset, stride]
    c.call("trsm", [c.out, infos], [c.out, buffer], values, [n, n, k], options)
    c.check(infos)


def _lu_factor(c: _Call) -> None:
    m, n = c.rows, c.columns
    c.copy(0, c.out, n + 3, transposed=True)
    pivots = c.temporary(c.count, m, dtype=INT32)
    c.call("getrf", [c.out, pivots], [c.out], [m, n, minimum(m, n)], [m, n, minimum(m, n)])


def _symmetric_factor(c: _Call) -> None:
    n, infos, vectors = c.rows, c.infos(), bool(c.node.params.vectors)
    x = c.out if vectors else c.temporary(*c.batch, n, n)
    c.copy(0, x, n + 1 if vectors else n)
    lwork = 1 + 6 * n + 2 * n * n if vectors else 1 + (BLOCK + 2) * n
    liwork = 3 + 5 * n if vectors else 1
    work, iwork = c.temporary(lwork), c.temporary(liwork, dtype=INT32)
    outputs = [x, infos, work, iwork, c.temporary(1) if vectors else c.out]
    c.call("syevd", outputs, [x], [n, lwork, liwork], [n, n, 9 * n], (vectors,))
    c.check(infos)


def _svd_factor(c: _Call) -> None:
    m, n, infos, vectors = c.rows, c.columns, c.infos(), bool(c.node.params.vectors)
    least = minimum(m, n)
    x = c.temporary(*c.batch, m, n)
    c.copy(0, x, m)
    lwork = 1 + 10 * least + (BLOCK + 1) * (m + n) + (4 * least * least if vectors else 0)
    work, iwork = c.temporary(lwork), c.temporary(8 * least + 1, dtype=INT32)
    values, amount = [m, n, least, lwork], [m, n, 12 * least]
    c.call("gesdd", [c.out, x, infos, work, iwork], [x], values, amount, (vectors,))
    c.check(infos)


def _qr_factor(c: _Call) -> None:
    m, n = c.rows, c.columns
    c.copy(0, c.out, n + 1, transposed=True)
    lwork = BLOCK * n + 1
    values, amount = [m, n, lwork], [m, n, 2 * minimum(m, n)]
    c.call("geqrf", [c.out, c.temporary(lwork)], [c.out], values, amount)


def _qr_basis(c: _Call) -> None:
    f = c.node.inputs[0]
    m, n, q = c.columns, c.rows - 1, c.node.type.shape[-2]
    least = minimum(m, n)
    c.copy(0, c.out, q, limit=least)
    factors = c.temporary(*f.type.shape)
    c.low.store_value(f, factors)
    lwork = BLOCK * q + 1
    values, amount = [m, n, q, least, lwork], [m, q, 2 * least]
    c.call("orgqr", [c.out, c.temporary(lwork)], [c.out, factors], values, amount)


def _eigvals_factor(c: _Call) -> None:
    n, infos = c.rows, c.infos()
    x = c.temporary(*c.batch, n, n)
    c.copy(0, x, n, transposed=True)  # not needed for the values, but for their usual order
    lwork = 1 + (BLOCK + 4) * n
    c.call("geev", [c.out, x, infos, c.temporary(lwork)], [x], [n, lwork], [n, n, 10 * n])
    c.check(infos)


_LOWER: dict[str, Callable[[_Call], None]] = {
    "cholesky": _cholesky,
    "solve_triangular": _solve_triangular,
    "lu_factor": _lu_factor,
    "symmetric_factor": _symmetric_factor,
    "svd_factor": _svd_factor,
    "qr_factor": _qr_factor,
    "qr_basis": _qr_basis,
    "eigvals_factor": _eigvals_factor,
}


def _product(sizes: Sequence[Size]) -> Size:
    n: Size = 1
    for size in sizes:
        n = n * size
    return n


def _is(n: Any, value: int) -> bool:
    return isinstance(n, int) and n == value


def _differ(a: Any, b: Any) -> bool:
    return isinstance(a, Expr) or isinstance(b, Expr) or not bool(a == b)
