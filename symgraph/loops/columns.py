"""Split the columns of a vector-matrix product, so that one pass fills all registers with sums.

A matrix that the near cache does not hold is split into narrower passes. Steps of a loop then take
them in turn from the left and from the right: what a step read last is there when the next begins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from symgraph.core.record import dataclass
from symgraph.loops.expr import Axis, Expr, walk
from symgraph.loops.schedule import TILE_REGISTERS, element_bytes, stride
from symgraph.loops.statements import Nest, Store

VECTORS = 2  # of one part of the columns, if their number is even
PASSES = {1: (11, 9, 7, 5, 3), 2: (6, 5, 3)}  # parts of a pass; others are one pass anyway
FEWEST = 4  # vectors of a pass over a panel: fewer would wait for their additions
NEAR = 1 << 15  # bytes of a first-level cache
PANEL = 3 << 14  # of the largest ones, which hold what one pass reads in order
MOST_NEAR = 4  # matrices of so many caches: of larger ones too little is still there


@dataclass(frozen=True, slots=True)
class Passes:
    """How the columns of a product are taken: `tile` of `parts` at once.

    Where they are `turned`, every other step takes the iterations of the loop over `panels` (where
    there is none, over whole tiles) from the last one on.
    """

    parts: Axis
    tile: int
    turned: bool = False
    panels: Axis | None = None


def columns_of_pass(columns: int, lanes: int, size: int) -> int:
    """Return how many columns of `size` bytes a pass over a panel adds up; 0 if none divide them.

    No more than a first-level cache holds, if possible: the next step may begin with those.
    """
    vectors = range(TILE_REGISTERS, FEWEST - 1, -1)
    widths = [t * lanes for t in vectors if columns % (t * lanes) == 0]
    held = [width for width in widths if width * size <= PANEL]
    return (held or widths or [0])[0]


def split_columns(nest: Nest, vector_bytes: int) -> tuple[Nest, Passes | None]:
    """Return a nest over parts of the columns where a tile of parts divides them.

    What is summed along k is loaded for each column and shared by all: x[k] w[k, j]. Each pass over
    k then adds to as many columns as there are registers for, and x is read once.
    """
    wide = [a for a in nest.axes if not (isinstance(a.extent, int) and a.extent == 1)]
    if not wide or len(wide) > 2 or nest.scan or nest.serial or len(nest.stores) != 1:
        return nest, None
    (*panels, axis), (store,) = wide, nest.stores
    exprs = walk([store.value])
    itemsize = element_bytes(exprs)
    lanes = max(1, vector_bytes // itemsize)
    terms = _terms(exprs, axis, panels)
    if not isinstance(axis.extent, int) or axis.extent % lanes or not terms:
        return nest, None
    vectors = axis.extent // lanes
    width = VECTORS if vectors % VECTORS == 0 else 1
    parts, part = vectors // width, width * lanes
    near = 0 if panels else _near_tile(parts, width, terms * part * itemsize)
    several = next((t for t in PASSES[width] if parts % t == 0), 0)
    tile = parts if panels else near or several
    if not tile:
        return nest, None
    s = store.value.builder
    names = {a.name for a in nest.axes} | {e.data.name for e in exprs if e.op == "axis"}
    first, second = (s.axis(f"{axis.name}{x}", n) for x, n in (("p", parts), ("q", part)))
    assert not names & {first.name, second.name}
    column = s.iadd(s.imul(s.at(first), part), s.at(second))
    value, address = (s.replace(e, {axis: column}, {}) for e in (store.value, store.address))
    axes = tuple(b for a in nest.axes for b in ((first, second) if a is axis else (a,)))
    new = Store(store.buffer, address, value, store.guard, store.accumulate)
    passes = Passes(first, tile, bool(near or panels), *panels)
    return Nest(axes, (new,), origin=nest.origin), passes


def _near_tile(parts: int, width: int, size: int) -> int:
    """Return how many parts of `size` bytes a pass takes, so that the near cache holds them.

    0 where it holds all of them, or too few to hide the time that an addition takes.
    """
    if not NEAR < parts * size <= MOST_NEAR * NEAR:
        return 0
    tiles = range(FEWEST // width, TILE_REGISTERS // width + 1)
    return max((t for t in tiles if parts % t == 0 and t * size <= NEAR * 3 // 4), default=0)


def _terms(exprs: Sequence[Expr], axis: Axis, panels: Sequence[Axis]) -> int:
    """Return the terms of the sum of each column if that is the body, of rows that lie together.

    Panels move the loads that columns move, and no others.
    """
    sums = [e for e in exprs if e.op == "reduce"]
    extents = [a.extent for a in sums[0].data[1]] if len(sums) == 1 else [0]
    known = [n for n in extents if isinstance(n, int)]
    loads = [e for e in walk([e.args[0] for e in sums]) if e.op == "load"]
    steps = [stride(e.args[0], axis) for e in loads]
    one_each = sorted(1 if c == 1 else 0 if c == 0 else 9 for c in steps) == [0, 1]
    moved = all(bool(e.free & axis.bit) == bool(e.free & a.bit) for e in loads for a in panels)
    return math.prod(known) if one_each and moved and len(known) == len(extents) else 0
