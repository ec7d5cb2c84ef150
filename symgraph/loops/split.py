"""Cut long reductions into chunks, whose results are combined: parallel, and more accurate.

A long reduction that other loops read as one number is stored before them: threads, and the chunks
of another reduction, are parts of those loops, and each part would run it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from symgraph.core.record import replace
from symgraph.dims.bounds import interval
from symgraph.dims.dim import exact_div, maximum, minimum, provably_le
from symgraph.loops.expr import Axis, Expr, Size, walk
from symgraph.loops.interned import Builder
from symgraph.loops.roots import is_size
from symgraph.loops.schedule import CHUNK, CHUNK_AXIS
from symgraph.loops.statements import Nest, Store

if TYPE_CHECKING:
    from symgraph.loops.build import Lowering

SPLIT = 1 << 15  # elements of a reduction above which it is cut


def split_reduction(low: Lowering, nest: Nest) -> Nest:
    """Cut one long reduction into partial results, so that chunks run in parallel.

    The cut depends on the shape only: results change neither with the number of threads nor
    with whether sizes are known. Where they are not, the number of whole chunks is a run-time
    size, 0 for a reduction that is not cut.
    """
    nest = store_long_reductions(low, nest)
    s, store = low.s, nest.stores[0]
    found = _outermost_reduction(store.value)
    if found is None:
        return nest
    kind, axes = found.data
    if kind == "dot":
        return nest
    outer, axis = _count(nest.axes), axes[0]
    whole, chunk = _chunks(outer, axis.extent, _count(axes[1:]))
    if is_size(whole, 0):
        return nest
    terms, of_rows = found.args[0], sum(a.bit for a in nest.axes)
    inside = _repeated_reductions(terms, True, of_rows)
    terms = _replaced(s, terms, {e: _stored(low, e, nest) for e in inside})
    rest = axis.extent - whole * chunk
    parts = whole if is_size(rest, 0) else whole + 1
    partial = low.temporary(found.dtype, (parts, *(a.extent for a in nest.axes)))
    place = low.flat([s.at(a) for a in nest.axes], [a.extent for a in nest.axes])
    c = s.axis(CHUNK_AXIS, whole)
    pieces = [((c, *nest.axes), s.imul(s.at(c), chunk), chunk, s.at(c))]
    if not is_size(rest, 0):
        pieces.append((nest.axes, s.index(whole * chunk), rest, s.index(whole)))
    for loops, start, size, row in pieces:
        k = s.axis("k9", size)
        value = s.replace(terms, {axis: s.iadd(start, s.at(k))}, {})
        value = s.reduce(kind, (k, *axes[1:]), value)
        at = s.iadd(s.imul(row, outer), place)
        stores = (Store(partial, at, value),)
        low.program.statements.append(Nest(loops, stores, origin=nest.origin))
    p = s.axis("k0", parts)
    total = s.reduce(
        kind, (p,), s.load(partial, s.iadd(s.imul(s.at(p), outer), place))
    )
    value = _replaced(s, store.value, {found: total})
    return Nest(nest.axes, (Store(store.buffer, store.address, value),), origin=nest.origin)


def store_long_reductions(low: Lowering, nest: Nest) -> Nest:
    """Store the long reductions that are the same number at all points of the loops around them."""
    around = any(not is_size(a.extent, 1) for a in nest.axes)
    (store,) = nest.stores
    found = _repeated_reductions(store.value, around, 0)
    value = _replaced(low.s, store.value, {e: _stored(low, e, nest) for e in found})
    return replace(nest, stores=(replace(store, value=value),)) if found else nest


def _stored(low: Lowering, e: Expr, nest: Nest) -> Expr:
    """Store a reduction for each of the points that it differs at, before `nest`; return a load."""
    axes = tuple(a for a in nest.axes if a.bit & e.free)
    buffer = low.temporary(e.dtype, tuple(a.extent for a in axes))
    place = low.flat([low.s.at(a) for a in axes], buffer.shape)
    low.add(Nest(axes, (Store(buffer, place, e),), origin=nest.origin))
    return low.s.load(buffer, place)


def _repeated_reductions(value: Expr, repeated: bool, known: int) -> list[Expr]:
    """Return the outermost reductions in loops that may be cut, and need only the axes `known`.

    repeated: whether a loop is around `value`. Those inside of them are met when they are stored.
    """
    found: dict[Expr, None] = {}
    stack, seen = [(value, repeated)], set()
    while stack:
        e, inside = stack.pop()
        if (e, inside) in seen:
            continue
        seen.add((e, inside))
        if e.op == "reduce" and inside and not e.free & ~known and _may_be_cut(e):
            found[e] = None
        else:
            stack.extend((a, inside or e.op == "reduce") for a in e.args)
    return list(found)


def _may_be_cut(e: Expr) -> bool:
    most = interval(_count(e.data[1]))[1]
    return most is None or most >= SPLIT


def _count(axes: Sequence[Axis]) -> Size:
    n: Size = 1
    for a in axes:
        n = n * a.extent
    return n


def _chunks(outer: Size, extent: Size, inner: Size) -> tuple[Size, Size]:
    """Return how many whole chunks a reduction is cut into (0: it is not), and their length.

    The reduction runs over `extent * inner` elements for each of `outer` results, and is cut along
    its first axis: from SPLIT elements on, if there are not many results, in two chunks at least.
    """
    length = extent * inner
    wider = exact_div(outer, length)
    if wider is not None and provably_le(1, wider):
        return 0, 1  # a row's sum is read along the row: never few results
    chunk = maximum(1, CHUNK // maximum(1, inner))
    whole = extent // chunk
    for amount, least in ((length, SPLIT), (length * 64, maximum(1, outer * CHUNK)), (whole, 2)):
        whole = whole * minimum(1, amount // least)
    return whole, chunk


def _outermost_reduction(value: Expr) -> Expr | None:
    """Return the single reduction at the top of a value (below scalar epilogue operations)."""
    found: list[Expr] = []
    stack, seen = [value], set()
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        if e.op == "reduce":
            found.append(e)
        else:
            stack.extend(e.args)
    return found[0] if len(found) == 1 else None


def _replaced(s: Builder, e: Expr, values: Mapping[Expr, Expr]) -> Expr:
    """Return `e` with some subexpressions exchanged."""
    if not values:
        return e
    memo = dict(values)
    for x in walk([e]):
        if x not in memo:
            args = tuple(memo[a] for a in x.args)
            memo[x] = x if args == x.args else s.rebuild(x, args)
    return memo[e]
