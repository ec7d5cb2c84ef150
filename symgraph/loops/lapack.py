"""Lower factorizations to calls of LAPACK: the input is copied to where LAPACK overwrites it.

LAPACK counts columns first, so a row-major matrix is its transpose there. Each routine gets what
costs least: the other triangle of a symmetric matrix, a transposing copy (it is a copy anyway), or
exchanged factors for the SVD. Results come packed in one array, which the ops slice by views.
Operands of complex matrices come as two parts and are stored side by side (ops/linalg_complex.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from symgraph.core.dtype import INT32, INT64
from symgraph.core.node import Node
from symgraph.dims.dim import minimum
from symgraph.loops.expr import Buffer, Expr, Size, View
from symgraph.loops.product import operand
from symgraph.loops.statements import Check, LibraryCall, Nest

if TYPE_CHECKING:
    from symgraph.loops.build import Lowering

BLOCK = 64  # columns that LAPACK works on at once; work space is sized for it


def lower_lapack(low: Lowering, node: Node, out: Buffer | View) -> None:
    """Append the statements that compute `node` into `out`."""
    if isinstance(out, View):  # a row of a loop's trace: its place moves from step to step
        target = low.temporary(node.dtype, node.type.shape)
        call = _Call(low, node, target)
        _LOWER[call.name](call)
        low.copy_buffer(target, out)
    else:
        call = _Call(low, node, out)
        _LOWER[call.name](call)


class _Call:
    """What lowering one node needs: its sizes, copies of inputs, and the call itself.

    `operands` has the parts of each input: one, or two of complex ones.
    """

    def __init__(self, low: Lowering, node: Node, out: Any) -> None:
        self.low, self.node, self.out, self.s = low, node, out, low.s
        self.complex = node.op.name == "on_pairs"
        step = 2 if self.complex else 1
        self.operands = [node.inputs[k : k + step] for k in range(0, len(node.inputs), step)]
        self.name = node.params.op if self.complex else node.op.name
        self.params = node.params.own if self.complex else node.params
        rank = node.inputs[0].ndim
        self.batch = node.type.shape[: rank - 2]
        self.shape = node.type.shape[:rank]  # of the result without an axis of parts
        self.rows, self.columns = node.inputs[0].type.shape[-2:]

    @property
    def count(self) -> Size:
        return _product(self.batch)

    def numbers(self, *shape: Size) -> Buffer:
        """Return a place for real, or complex, numbers."""
        return self.floats(*shape, *((2,) if self.complex else ()))

    def floats(self, *shape: Size) -> Buffer:
        return self.low.temporary(self.node.dtype, shape)

    def integers(self, *shape: Size) -> Buffer:
        return self.low.temporary(INT32, shape)

    def infos(self) -> Buffer:
        """Return the place of LAPACK's verdict on each matrix."""
        return self.low.temporary(INT64, (self.count,))

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
        low, s, parts = self.low, self.s, self.operands[k]
        x = parts[0]
        axes = low.nest_axes(x)
        if limit is not None:
            axes = (*axes[:-2], s.axis(axes[-2].name, limit), axes[-1])
        index = [s.at(a) for a in axes]
        values = [low.value(part, index) for part in parts]
        if triangle:
            below = s.binary("ge", s.as_value(index[-2], INT64), s.as_value(index[-1], INT64))
            values = [s.select(below, value, s.const(0, x.dtype)) for value in values]
        place = [*index[:-2], index[-1], index[-2]] if transposed else index
        width = x.type.shape[-2] if transposed else x.type.shape[-1]
        shape = (*x.type.shape[:-2], rows, width)
        stores = tuple(
            low.store(target, low.flat([*place, j], (*shape, len(parts))), value)
            for j, value in enumerate(values)
        )
        if transposed:  # neighbours in memory in the inner loop of the store
            axes = (*axes[:-2], axes[-1], axes[-2])
        low.program.statements.append(Nest(axes, stores, origin=(self.node,)))

    def matrix(self, k: int) -> tuple[Buffer, Any, Size, Size, bool]:
        """Return buffer, offset, row length, stride between matrices of input k, and whether it
        lies there transposed; it is copied where its strides are others."""
        low, x = self.low, self.operands[k][0]
        if self.complex:
            buffer = self.numbers(*x.type.shape)
            self.copy(k, buffer, x.type.shape[-2])
            return buffer, 0, x.type.shape[-1], _product(x.type.shape[-2:]), False
        *batch, r, c = low.nest_axes(x)
        buffer, (offset, outer, row, column) = operand(low, x, batch, r, c, unit=True)
        step: Size | None = outer[-1] if outer else 0
        want = step
        for axis, stride in zip(reversed(batch), reversed(outer), strict=True):
            if _differ(stride, want):
                step = None
            want = (want * axis.extent) if want is not None else None
        if step is None:
            buffer = self.floats(*x.type.shape)
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
        work = (*self.batch, *amount, *((4,) if self.complex else ()))
        params = (work, self.count, tuple(values), (self.complex, *options))
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
    p, (n, k) = c.params, c.shape[-2:]
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
    pivots = c.integers(c.count, m)
    c.call("getrf", [c.out, pivots], [c.out], [m, n, minimum(m, n)], [m, n, minimum(m, n)])


def _symmetric_factor(c: _Call) -> None:
    n, infos, vectors = c.rows, c.infos(), bool(c.params.vectors)
    x = c.out if vectors else c.numbers(*c.batch, n, n)
    c.copy(0, x, n + 1 if vectors else n)
    lwork = 1 + 6 * n + 2 * n * n if vectors else 1 + (BLOCK + 2) * n
    liwork = 3 + 5 * n if vectors else 1
    outputs = [x, infos, c.numbers(lwork), c.integers(liwork), c.floats(1) if vectors else c.out]
    values = [n, lwork, liwork]
    if c.complex:
        lrwork = 1 + 5 * n + 2 * n * n if vectors else 1 + n
        outputs, values = [*outputs, c.floats(lrwork)], [*values, lrwork]
    c.call("syevd", outputs, [x], values, [n, n, 9 * n], (vectors,))
    c.check(infos)


def _svd_factor(c: _Call) -> None:
    m, n, infos, vectors = c.rows, c.columns, c.infos(), bool(c.params.vectors)
    least = minimum(m, n)
    x = c.numbers(*c.batch, m, n)
    c.copy(0, x, m)
    lwork = 1 + 10 * least + (BLOCK + 1) * (m + n) + (4 * least * least if vectors else 0)
    outputs = [c.out, x, infos, c.numbers(lwork), c.integers(8 * least + 1)]
    if c.complex:
        most = 2 * (m + n) * least + 5 * least * least if vectors else 2 * least
        outputs.append(c.floats(most + 5 * least + 1))
    c.call("gesdd", outputs, [x], [m, n, least, lwork], [m, n, 12 * least], (vectors,))
    c.check(infos)


def _qr_factor(c: _Call) -> None:
    m, n = c.rows, c.columns
    c.copy(0, c.out, n + 1, transposed=True)
    lwork = BLOCK * n + 1
    values, amount = [m, n, lwork], [m, n, 2 * minimum(m, n)]
    c.call("geqrf", [c.out, c.numbers(lwork)], [c.out], values, amount)


def _qr_basis(c: _Call) -> None:
    m, n, q = c.columns, c.rows - 1, c.shape[-2]
    least = minimum(m, n)
    c.copy(0, c.out, q, limit=least)
    factors = c.numbers(*c.batch, n + 1, m)
    c.copy(0, factors, n + 1)
    lwork = BLOCK * q + 1
    values, amount = [m, n, q, least, lwork], [m, q, 2 * least]
    c.call("orgqr", [c.out, c.numbers(lwork)], [c.out, factors], values, amount)


def _eig_factor(c: _Call) -> None:
    n, infos, vectors = c.rows, c.infos(), bool(c.params.vectors)
    x = c.numbers(*c.batch, n, n)
    c.copy(0, x, n, transposed=True)  # not needed for the values, but for their usual order
    lwork = 1 + (BLOCK + 4) * n
    outputs = [c.out, x, infos, c.numbers(lwork), *([c.floats(2 * n)] if c.complex else [])]
    c.call("geev", outputs, [x], [n, lwork], [n, n, (25 if vectors else 10) * n], (vectors,))
    c.check(infos)


def _hessenberg_factor(c: _Call) -> None:
    n, basis = c.rows, bool(c.params.basis)
    c.copy(0, c.out, 2 * n if basis else n, transposed=True)
    lwork = 1 + (BLOCK + 4) * n + BLOCK * (BLOCK + 1)
    outputs = [c.out, c.numbers(n), c.numbers(lwork)]
    c.call("gehrd", outputs, [c.out], [n, lwork], [n, n, (5 if basis else 4) * n], (basis,))


def _schur_factor(c: _Call) -> None:
    n, infos = c.rows, c.infos()
    c.copy(0, c.out, 2 * n, transposed=True)
    lwork = 1 + (BLOCK + 4) * n
    more = [c.floats(n)] if c.complex else []
    outputs = [c.out, infos, c.floats(2 * n), c.numbers(lwork), *more]
    c.call("gees", outputs, [c.out], [n, lwork], [n, n, 25 * n])
    c.check(infos)


_LOWER: dict[str, Callable[[_Call], None]] = {
    "cholesky": _cholesky,
    "solve_triangular": _solve_triangular,
    "lu_factor": _lu_factor,
    "symmetric_factor": _symmetric_factor,
    "svd_factor": _svd_factor,
    "qr_factor": _qr_factor,
    "qr_basis": _qr_basis,
    "eig_factor": _eig_factor,
    "hessenberg_factor": _hessenberg_factor,
    "schur_factor": _schur_factor,
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
