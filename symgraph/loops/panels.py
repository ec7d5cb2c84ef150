"""Copy matrices that a loop multiplies by vectors, so that every step reads them in order.

A pass over x[k] w[k, j] takes as many columns as there are registers for their sums. Of a matrix
that lies in rows it reads a piece of each; of a transposed one, x[k] w[j, k], it has to add up
lanes. A copy in panels, the columns of one pass each, is read from one end to the other in both
cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from symgraph.core.record import dataclass
from symgraph.loops.aligned import MOST_BYTES, many
from symgraph.loops.columns import NEAR, columns_of_pass
from symgraph.loops.expr import Axis, Buffer, Expr, walk
from symgraph.loops.schedule import element_bytes, stride
from symgraph.loops.statements import Loop, Nest, Program, Statement, Store
from symgraph.loops.storage import writes

LARGEST = 1 << 22  # bytes of one matrix: steps that read more wait for the memory in any order


@dataclass(frozen=True, slots=True)
class Product:
    """A sum over `inner` in which `load` reads a whole matrix, one element for each `column`."""

    load: Expr
    column: Axis
    inner: Axis
    transposed: bool


def in_panels(program: Program, vector_bytes: int, fixed: Sequence[Buffer] = ()) -> list[Statement]:
    """Return the statements of a program with copies in panels before its loops.

    `fixed` are buffers that share their place with others.
    """
    done: list[Statement] = []
    for statement in program.statements:
        if isinstance(statement, Loop) and not statement.free and many(statement.axis.extent):
            known = isinstance(statement.axis.extent, int)
            most = LARGEST if known else MOST_BYTES  # there may be very few steps
            panels = _Panels(program, vector_bytes, {*_changing(statement), *fixed}, most)
            loop = panels.loop(statement)
            done += [*panels.copies, loop]
        else:
            done.append(statement)
    return done


def _changing(loop: Loop) -> Iterator[Buffer]:
    """Yield what is written in a loop, or changes its place with the steps."""
    yield from writes(loop)
    for pair in loop.carried:
        yield from pair
    for t in loop.body:
        if isinstance(t, Loop):
            yield from _changing(t)


class _Panels:
    """The copies that one loop reads."""

    def __init__(
        self, program: Program, vector_bytes: int, changing: set[Buffer], most: int
    ) -> None:
        """`most`: bytes of the largest matrix that is copied."""
        self.program, self.vector_bytes, self.changing = program, vector_bytes, changing
        self.most = most
        self.copies: list[Nest] = []
        self._made: dict[tuple[Buffer, bool, int, int], Buffer] = {}

    def loop(self, loop: Loop) -> Loop:
        """Return a loop that reads panels where that pays."""
        return loop.with_body(
            tuple(
                self.loop(t) if isinstance(t, Loop) else self._nest(t) if isinstance(t, Nest) else t
                for t in loop.body
            )
        )

    def _nest(self, nest: Nest) -> Nest:
        found = product_of(nest)
        if found is None or found.load.data in self.changing:
            return nest
        terms, columns = found.inner.extent, found.column.extent
        assert isinstance(terms, int) and isinstance(columns, int)
        old = found.load.data
        size = terms * columns * old.dtype.itemsize
        lanes = max(1, self.vector_bytes // element_bytes(walk([nest.stores[0].value])))
        width = columns_of_pass(columns, lanes, terms * old.dtype.itemsize)
        if not width or size > self.most or not (found.transposed or size > NEAR):
            return nest
        if width == columns and not found.transposed:
            return nest  # it is one panel
        new = self._copy(old, found.transposed, terms, columns, width)
        return _over_panels(nest, found, new, width)

    def _copy(self, old: Buffer, transposed: bool, terms: int, columns: int, width: int) -> Buffer:
        """Return the copy of a matrix in panels of `width` columns."""
        key = (old, transposed, columns, width)
        if key in self._made:
            return self._made[key]
        s = self.program.builder
        name = f"{old.name}{'t' if transposed else 'p'}{len(self._made) or ''}"
        new = Buffer(name, old.dtype, (columns // width, terms, width), "temporary")
        self.program.buffers.append(new)
        self._made[key] = new
        axes = [s.axis(f"i{k}", n) for k, n in enumerate(new.shape)]
        panel, k, q = (s.at(a) for a in axes)
        column = s.iadd(s.imul(panel, width), q)
        row, step = (column, terms) if transposed else (k, columns)
        source = s.iadd(s.imul(row, step), k if transposed else column)
        place = s.iadd(s.imul(s.iadd(s.imul(panel, terms), k), width), q)
        self.copies.append(Nest(tuple(axes), (Store(new, place, s.load(old, source)),)))
        return new


def _over_panels(nest: Nest, product: Product, panels: Buffer, width: int) -> Nest:
    """Return the nest with a loop over panels around one over the columns of each."""
    s = nest.stores[0].value.builder
    axis, terms = product.column, product.inner.extent
    assert isinstance(axis.extent, int)
    panel = s.axis(f"{axis.name}p", axis.extent // width)
    inside = s.axis(f"{axis.name}c", width)
    column = s.iadd(s.imul(s.at(panel), width), s.at(inside))
    rows = s.iadd(s.imul(s.at(panel), terms), s.at(product.inner))
    load = s.load(panels, s.iadd(s.imul(rows, width), s.at(inside)))
    memo = {product.load: load}
    (store,) = nest.stores
    value = s.replace(store.value, {axis: column}, memo)
    address = s.replace(store.address, {axis: column}, {})
    new = Store(store.buffer, address, value, store.guard, store.accumulate)
    axes = tuple(b for a in nest.axes for b in ((panel, inside) if a is axis else (a,)))
    return Nest(axes, (new,), origin=nest.origin)


def product_of(nest: Nest) -> Product | None:
    """Return the product of a vector with a whole matrix that a nest computes, if it is one."""
    wide = [a for a in nest.axes if a.extent != 1]
    if len(wide) != 1 or nest.scan or nest.serial or len(nest.stores) != 1:
        return None
    (column,), (store,) = wide, nest.stores
    sums = [e for e in walk([store.value]) if e.op == "reduce"]
    if len(sums) != 1 or len(sums[0].data[1]) != 1 or store.guard is not None:
        return None
    ((inner,), kind) = sums[0].data[1], sums[0].data[0]
    if not isinstance(column.extent, int) or not isinstance(inner.extent, int):
        return None
    loads = [e for e in walk([sums[0].args[0]]) if e.op == "load" and e.free & column.bit]
    if len(loads) != 1 or len(loads[0].args) != 1:
        return None
    (load,), (address,) = loads, loads[0].args
    whole = inner.extent * column.extent == load.data.size
    if not whole or address.data[1] != 0 or len(address.args) != 2:
        return None
    steps = stride(address, column), stride(address, inner)
    if steps == (1, column.extent):
        return Product(load, column, inner, False)
    if steps == (inner.extent, 1) and kind == "free":
        return Product(load, column, inner, True)
    return None
