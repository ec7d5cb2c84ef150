"""Nests of run-time sizes as they are for short rows, of which a kernel chooses when it is called.

Rows of unknown length are whole vectors and a masked rest. Of rows shorter than a vector only the
rest is left, and what surrounds it costs more than the row. So a nest with a loop around its rows
is also emitted under the fact that they are short: one masked turn each, its mask made once. Sums
along rows of two to four elements take many rows at a time, as they do where the length is known;
so do rows of one or two elements that are loaded across (transpositions), and those whose length is
computed (slices) and may be one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from symgraph.core.record import dataclass, replace
from symgraph.dims.bounds import interval
from symgraph.dims.dim import Atom, Dim, as_symbol, substitute, symbol
from symgraph.loops.apart import FEW_ACROSS, none_along, one_by_one
from symgraph.loops.expr import MATH, MATH2, Axis, Expr, Size, walk
from symgraph.loops.interned import Builder
from symgraph.loops.schedule import (
    SHUFFLE_STRIDE,
    Schedule,
    coefficient,
    element_bytes,
    stride,
)
from symgraph.loops.statements import Nest, Store

CHEAP = 100  # operations of a point up to which what surrounds a short row is felt
COSTLY = 200  # up to which it is in rows of one vector
FEW_ROWS = 32  # of which sums down columns are added in registers
DOWN = 4  # registers of short rows of sums down columns: longer ones have theirs in memory
NEAR_ROWS = 255  # of a matrix of as many columns that the second cache has
TURN = 4  # registers of one turn along a row that is reduced


@dataclass(frozen=True, slots=True)
class Case:
    """What a call may have: a `size` from `least` to `most`, or just that where it is `fixed`.


    Vectors of `half` the usual length cross fewer cache lines, and wait less for their compares.
    """

    size: Dim
    most: int
    fixed: bool = False
    least: int = 1
    last: bool = False  # `most` is no bound: all rows that are longer than those of other cases
    half: bool = False
    step: int = 0  # rows that are taken at once, if only whole vectors of them are
    tile: int = 0  # not 0: a kernel's range counts so many rows
    apart: bool = False  # columns are done one by one


@dataclass(frozen=True, slots=True)
class Narrow:
    """A nest under the fact of a case: what its new symbols stand for, which are numbers in it."""

    case: Case
    nest: Nest
    originals: Mapping[Atom, Size]
    fixed: Mapping[Atom, Size]


def narrow_nests(
    s: Builder, nest: Nest, schedule: Schedule, vector_bytes: int, around: Sequence[Axis] = ()
) -> Iterator[Narrow]:
    """Yield the forms of a nest in the loops `around` for short rows, the narrowest first."""
    for case in _cases(nest, schedule, vector_bytes):
        found = _under(s, nest, case, around)
        if found is not None:
            yield found


def _cases(nest: Nest, schedule: Schedule, vector_bytes: int) -> list[Case]:
    guarded = any(t.guard is not None for t in nest.stores)
    if guarded or nest.serial or schedule.tile > 1:
        return [] if guarded else _turned(nest, schedule)
    exprs = walk([e for t in nest.stores for e in (t.value, t.address)])
    base = max(1, vector_bytes // element_bytes(exprs))
    reductions = [e for e in exprs if e.op == "reduce"]
    cost = max(t.value.cost for t in nest.stores)
    cheap = cost <= CHEAP
    vector = schedule.vector
    if vector is not None:
        down = [r for r in reductions if r.free & vector.bit]
        if cost > COSTLY or not (down or len(schedule.order) > 1):
            return []
        found = _widths(vector.extent, base, 2 if cheap else 1)
        if cheap and not down and not nest.scan:
            found = _overlapping(found, 0 if reductions else base // 2)
        if cheap and down and schedule.block and not isinstance(vector.extent, int):
            found = _down(found, vector.extent, down[0], base, exprs)
        if cheap and down and schedule.block and down[0].data[1][0].extent != vector.extent:
            found.append(Case(down[0].data[1][0].extent, FEW_ROWS))
        if not reductions and _computed(vector.extent):
            found = [*_apart(nest, schedule, 1), *found]
        elif not reductions and none_along(exprs, schedule.order[0]):
            found = [*_apart(nest, schedule, FEW_ACROSS)[1:], *found]
        found = [c for c in found if _unknown(c.size, c.most)]
        if found and found[-1].least > 1:
            least = found[-1].most + 1
            found.append(Case(found[-1].size, least, least=least, last=True))
        return found
    if len(schedule.order) != 1 or nest.scan or not reductions:
        return []
    (rows,) = schedule.order
    sizes = {a.extent for r in reductions for a in r.data[1]}
    if len(sizes) != 1 or any(len(r.data[1]) != 1 for r in reductions):
        return []
    (size,) = sizes
    cases = []
    whole = schedule.parallel  # what is left of the rows is a call with a range of its own
    if whole and not isinstance(size, int) and all(_row_by_row(r, rows, size) for r in reductions):
        cases += [Case(size, n, True) for n in range(2, SHUFFLE_STRIDE + 1)]
    if cheap:
        plain = not any(e.op in MATH or e.op in MATH2 for e in exprs)
        cases += [c for c in _widths(size, base, TURN) if plain or not c.half]
    return [c for c in cases if _unknown(c.size, c.most)]


def _turned(nest: Nest, schedule: Schedule) -> list[Case]:
    """Return the cases across whose rows loads run: a tile of them is a square of vectors.

    Few rows are picked out of loads that they share, as they are where their number is known.
    """
    if not schedule.strip:
        return []
    rows, found = schedule.order[0], _apart(nest, schedule, FEW_ACROSS)
    if not found or rows is not schedule.unroll or isinstance(rows.extent, int):
        return found
    few = [Case(rows.extent, n, True, tile=schedule.tile) for n in range(2, SHUFFLE_STRIDE + 1)]
    return found + [c for c in few if _unknown(c.size, c.most)]


def _apart(nest: Nest, schedule: Schedule, most: int) -> list[Case]:
    """Return rows of up to `most` elements, of which each column is a loop over the rows."""
    rows, vector = schedule.order[0], schedule.vector
    if len(nest.axes) != 2 or nest.scan or not schedule.parallel or rows is vector:
        return []
    assert vector is not None
    size, tile = vector.extent, schedule.tile
    if isinstance(size, int):
        return []
    found = [Case(size, n, True, tile=tile, apart=True) for n in range(1, most + 1)]
    return [c for c in found if _unknown(c.size, c.most)]


def _computed(size: Size) -> bool:
    """Tell whether a size is the sum of another one and a number."""
    return not isinstance(size, int) and as_symbol(size) is None


def _widths(size: Size, base: int, most: int) -> list[Case]:
    """Return rows up to one vector, two, and up to `most` of them, and up to half a one."""
    if isinstance(size, int):
        return []
    found = [Case(size, base // 2, half=True)] if base > 4 else []
    return found + [Case(size, n * base) for n in sorted({1, min(2, most), most})]


def _down(
    found: list[Case], size: Dim, down: Expr, base: int, exprs: Sequence[Expr]
) -> list[Case]:
    """Return more cases of sums down columns: longer rows have their accumulators in memory.

    Of functions, which are long, there is one for matrices with as many rows, near the core.
    """
    if not any(e.op in MATH or e.op in MATH2 for e in exprs):
        return [*found, Case(size, DOWN * base)]
    square = [Case(size, NEAR_ROWS)] if down.data[1][0].extent == size else []
    return [*(c for c in found if not c.half), *square]


def _overlapping(cases: Sequence[Case], half: int) -> list[Case]:
    """Return cases that begin where the one before ends: their rows can be two vectors.

    These overlap, so no lane is masked; the second one ends with the row, as the last vector of
    longer rows does. They are half as long as usual, `half`, for rows up to a whole one: not where
    rows are also reduced, by masked vectors anyway.
    """
    found: list[Case] = []
    for case in cases:
        below = found[-1].most if found else 0
        found.append(replace(case, least=below + 1, half=case.half or 0 < below == half))
    return found


def _unknown(size: Size, most: int) -> bool:
    """Tell whether a size may be `most`, and more."""
    if isinstance(size, int):
        return False
    low, high = interval(size)
    return (low is None or low <= most) and (high is None or high > most)


def _row_by_row(r: Expr, rows: Axis, size: Dim) -> bool:
    """Tell whether the rows of a reduction lie one behind the other."""
    (axis,) = r.data[1]
    loads = [e for e in walk([r.args[0]]) if e.op == "load" and e.free & axis.bit]
    return bool(loads) and all(
        stride(e.args[0], axis) == 1 and coefficient(e.args[0], rows) is size for e in loads
    )


def _under(s: Builder, nest: Nest, case: Case, around: Sequence[Axis]) -> Narrow | None:
    """Return the nest under the fact of a case; None where the size is no symbol plus a number."""
    constant = next((c for monomial, c in case.size.terms if not monomial), 0)
    old = case.size - constant
    atom = as_symbol(old)
    if atom is None:
        return None
    if case.fixed:
        fixed: dict[Atom, Size] = {atom: case.most - constant}
        narrow = _substituted(s, nest, fixed, around)
        return Narrow(case, one_by_one(s, narrow) if case.apart else narrow, {}, fixed)
    low = max(atom.low or 0, case.least - constant)
    high = atom.high if case.last else case.most - constant
    new = symbol(atom.name, low, high, atom.multiple)
    narrow = _substituted(s, nest, {atom: new}, around)
    return Narrow(case, narrow, {new.terms[0][0][0]: old}, {})


def _substituted(
    s: Builder, nest: Nest, values: Mapping[Atom, Size], around: Sequence[Axis]
) -> Nest:
    """Return a nest with other sizes in its axes and indices; the loops around it stay."""
    known: dict[Atom, Size] = {}
    axes: dict[Axis, Axis] = {a: a for a in around}
    memo: dict[Expr, Expr] = {}

    def sized(n: Size) -> Size:
        return substitute(n, values.get, known)

    def renewed(axis: Axis) -> Axis:
        if axis not in axes:
            axes[axis] = s.axis(axis.name, sized(axis.extent))
        return axes[axis]

    def one(e: Expr) -> Expr:
        args = tuple(memo[a] for a in e.args)
        if e.op == "axis":
            return s.at(renewed(e.data))
        if e.op == "reduce":
            return s.reduce(e.data[0], tuple(renewed(a) for a in e.data[1]), args[0])
        if e.op == "affine":
            new = s.index(sized(e.data[1]))
            for atom, c in zip(args, e.data[0], strict=True):
                new = s.iadd(new, s.imul(atom, sized(c)))
            return new
        if e.op == "ifloordiv":
            return s.ifloordiv(args[0], sized(e.data))
        if e.op == "imod":
            return s.imod(args[0], sized(e.data))
        return e if args == e.args else s.rebuild(e, args)

    def value(root: Expr) -> Expr:
        for e in walk([root]):
            if e not in memo:
                memo[e] = one(e)
        return memo[root]

    stores = tuple(
        Store(t.buffer, s.index(value(t.address)), value(t.value), t.guard, t.accumulate)
        for t in nest.stores
    )
    return Nest(tuple(renewed(a) for a in nest.axes), stores, nest.serial, nest.scan, nest.origin)
