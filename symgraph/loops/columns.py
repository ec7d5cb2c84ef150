"""Split the columns of a vector-matrix product, so that one pass fills all registers with sums."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.loops.grammar import Axis, Expr, Nest, Store, walk
from symgraph.loops.schedule import TILE_REGISTERS, element_bytes, stride

VECTORS = 2  # of one part of the columns
PASSES = (3, 5, 6)  # parts that one pass may take; 1, 2 and 4 are one pass anyway


def split_columns(nest: Nest, vector_bytes: int) -> Nest:
    """Return a nest over parts of the columns where a tile of parts divides them.

    What is summed along k is loaded for each column and shared by all: x[k] w[k, j]. Each pass over
    k then adds to as many columns as there are registers for, and x is read once.
    """
    wide = [a for a in nest.axes if not (isinstance(a.extent, int) and a.extent == 1)]
    if len(wide) != 1 or nest.scan or nest.serial or len(nest.stores) != 1:
        return nest
    (axis,), (store,) = wide, nest.stores
    exprs = walk([store.value])
    part = VECTORS * max(1, vector_bytes // element_bytes(exprs))
    if not isinstance(axis.extent, int) or axis.extent % part or not _sums(exprs, axis):
        return nest
    parts = axis.extent // part
    if not any(parts % t == 0 for t in PASSES if t * VECTORS <= TILE_REGISTERS):
        return nest
    s = store.value.builder
    names = {a.name for a in nest.axes} | {e.data.name for e in exprs if e.op == "axis"}
    first, second = (s.axis(n, m) for n, m in ((f"{axis.name}p", parts), (f"{axis.name}q", part)))
    assert not names & {first.name, second.name}
    column = s.iadd(s.imul(s.at(first), part), s.at(second))
    value, address = (s.replace(e, {axis: column}, {}) for e in (store.value, store.address))
    axes = tuple(b for a in nest.axes for b in ((first, second) if a is axis else (a,)))
    new = Store(store.buffer, address, value, store.guard, store.accumulate)
    return Nest(axes, (new,), origin=nest.origin)


def _sums(exprs: Sequence[Expr], axis: Axis) -> bool:
    """Tell whether the body is made of one sum per column, of rows that lie together."""
    sums = [e for e in exprs if e.op == "reduce"]
    if len(sums) != 1 or not isinstance(sums[0].data[1][0].extent, int):
        return False
    loads = [e for e in walk([sums[0].args[0]]) if e.op == "load"]
    steps = [stride(e.args[0], axis) for e in loads]
    return sorted(1 if c == 1 else 0 if c == 0 else 9 for c in steps) == [0, 1]
