"""Split the columns of a vector-matrix product, so that one pass fills all registers with sums.

A matrix that the near cache does not hold is split into narrower passes. Steps of a loop then take
them in turn from the left and from the right: what a step read last is there when the next begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from symgraph.loops.expr import Axis, Expr, walk
from symgraph.loops.schedule import TILE_REGISTERS, element_bytes, stride
from symgraph.loops.statements import Nest, Store

VECTORS = 2  # of one part of the columns
PASSES = (3, 5, 6)  # parts that one pass may take; 1, 2 and 4 are one pass anyway
NEAR = 1 << 15  # bytes of a first-level cache
MOST_NEAR = 4  # matrices of so many caches: of larger ones too little is still there


def split_columns(nest: Nest, vector_bytes: int) -> tuple[Nest, int]:
    """Return a nest over parts of the columns where a tile of parts divides them.

    What is summed along k is loaded for each column and shared by all: x[k] w[k, j]. Each pass over
    k then adds to as many columns as there are registers for, and x is read once. The number is
    that of the parts of a pass over a matrix too large for the near cache, else 0.
    """
    wide = [a for a in nest.axes if not (isinstance(a.extent, int) and a.extent == 1)]
    if len(wide) != 1 or nest.scan or nest.serial or len(nest.stores) != 1:
        return nest, 0
    (axis,), (store,) = wide, nest.stores
    exprs = walk([store.value])
    itemsize = element_bytes(exprs)
    part = VECTORS * max(1, vector_bytes // itemsize)
    terms = _terms(exprs, axis)
    if not isinstance(axis.extent, int) or axis.extent % part or not terms:
        return nest, 0
    parts = axis.extent // part
    near = _near_tile(parts, terms * part * itemsize)
    if not near and not any(parts % t == 0 for t in PASSES if t * VECTORS <= TILE_REGISTERS):
        return nest, 0
    s = store.value.builder
    names = {a.name for a in nest.axes} | {e.data.name for e in exprs if e.op == "axis"}
    first, second = (s.axis(n, m) for n, m in ((f"{axis.name}p", parts), (f"{axis.name}q", part)))
    assert not names & {first.name, second.name}
    column = s.iadd(s.imul(s.at(first), part), s.at(second))
    value, address = (s.replace(e, {axis: column}, {}) for e in (store.value, store.address))
    axes = tuple(b for a in nest.axes for b in ((first, second) if a is axis else (a,)))
    new = Store(store.buffer, address, value, store.guard, store.accumulate)
    return Nest(axes, (new,), origin=nest.origin), near


def _near_tile(parts: int, size: int) -> int:
    """Return how many parts of `size` bytes a pass takes, so that the near cache holds them.

    0 where it holds all of them, or too few. A part has VECTORS sums, a pass needs twice as many to
    hide the time that an addition takes.
    """
    if not NEAR < parts * size <= MOST_NEAR * NEAR:
        return 0
    tiles = range(2, TILE_REGISTERS // VECTORS + 1)
    return max((t for t in tiles if parts % t == 0 and t * size <= NEAR * 3 // 4), default=0)


def _terms(exprs: Sequence[Expr], axis: Axis) -> int:
    """Return the terms of the sum of each column if that is the body, of rows that lie together."""
    sums = [e for e in exprs if e.op == "reduce"]
    extents = [a.extent for a in sums[0].data[1]] if len(sums) == 1 else [0]
    known = [n for n in extents if isinstance(n, int)]
    loads = [e for e in walk([e.args[0] for e in sums]) if e.op == "load"]
    steps = [stride(e.args[0], axis) for e in loads]
    one_each = sorted(1 if c == 1 else 0 if c == 0 else 9 for c in steps) == [0, 1]
    return math.prod(known) if one_each and len(known) == len(extents) else 0
