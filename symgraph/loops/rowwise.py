"""Join nests over rows: what sums say about a row is stored on the way to what is made of the row.

A mean that several kernels read has a buffer. The nest that makes rows from it reads the same row
of the same array again: as one nest it finds the row in the first-level cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from symgraph.loops.expr import Axis, Buffer, Expr, walk
from symgraph.loops.interned import Builder
from symgraph.loops.schedule import stride
from symgraph.loops.statements import Nest, Statement, Store, row_stores
from symgraph.loops.storage import reads, writes

LEAST_ROW, LARGEST_ROW = 1 << 9, 1 << 15  # bytes of a row of one array
LEAST_BYTES = 1 << 17  # of an array that both read: smaller ones are near in any case
MOST_STORES = 6
MOST_VALUES = 400  # that a joined nest computes


def join_rows(s: Builder, given: Sequence[Statement]) -> list[Statement]:
    """Move each nest that reads sums over rows into the one that takes them, if nothing forbids.

    Allowed if all else that it reads was stored before.
    """
    statements: list[Statement] = []
    written: dict[Buffer, int] = {}  # buffer -> place of its last writer in `statements`
    writers = times_written(given)
    for statement in given:
        at = len(statements)
        if isinstance(statement, Nest) and all(writers[t.buffer] == 1 for t in statement.stores):
            makers = [written[b] for b in reads(statement) if b in written]
            # the last of them: what it needs is there, and no later nest stores what it reads
            if makers and _takes(statements[max(makers)], statement, writers):
                at = max(makers)
                statements[at] = _joined(s, statements[at], statement)
        if at == len(statements):
            statements.append(statement)
        for b in writes(statement):
            written[b] = at
    return statements


def _takes(host: Statement, nest: Nest, writers: dict[Buffer, int]) -> bool:
    """Tell whether a nest is better computed row by row in an earlier one."""
    if not isinstance(host, Nest) or not (_is_plain(host) and _is_plain(nest)):
        return False
    if any(writers[t.buffer] != 1 for t in host.stores):
        return False
    rows = _row_axes(host)
    long = [a for a in nest.axes if a.extent != 1]
    if not rows or long[: len(rows)] != rows or not _reads_stored(host, nest):
        return False
    stores = (*host.stores, *nest.stores)
    if len(stores) > MOST_STORES or len(walk([t.value for t in stores])) > MOST_VALUES:
        return False
    along = long[len(rows) :]
    if not along and not _sums(nest):
        return set(reads(nest)) <= {t.buffer for t in host.stores}
    shared = set(reads(host)) & set(reads(nest))
    if not any(_is_large(b) for b in shared) or len(along) > 1:
        return False
    return all(_walks_rows(n, rows) for n in (host, nest))


def _is_plain(nest: Nest) -> bool:
    return not (nest.serial or nest.scan) and not any(t.guard or t.accumulate for t in nest.stores)


def _row_axes(host: Nest) -> list[Axis]:
    """Return the axes over which sums of rows are stored, none where there is no such store."""
    for t in row_stores(host) or host.stores:
        if any(e.op == "reduce" for e in walk([t.value])):
            free = t.address.free | t.value.free
            axes = [a for a in host.axes if a.extent != 1]
            found = [a for a in axes if free & a.bit]
            return found if found == axes[: len(found)] else []
    return []


def _reads_stored(host: Nest, nest: Nest) -> bool:
    """Tell whether a nest reads what the other stores, all of it at the very row."""
    stored = {t.buffer: t.address for t in host.stores}
    loads = [e for e in walk([t.value for t in nest.stores]) if e.op == "load" and e.data in stored]
    return bool(loads) and all(e.args == (stored[e.data],) for e in loads)


def _is_large(buffer: Buffer) -> bool:
    size = buffer.size
    return isinstance(size, int) and size * buffer.dtype.itemsize >= LEAST_BYTES


def _sums(nest: Nest) -> list[Expr]:
    return [e for e in walk([t.value for t in nest.stores]) if e.op == "reduce"]


def _walks_rows(nest: Nest, rows: Sequence[Axis]) -> bool:
    """Tell whether all that a nest reads and stores lies along rows of moderate length."""
    bits = sum(a.bit for a in rows)
    for r in _sums(nest):
        if r.data[0] not in ("sum", "max", "min") or r.free & ~bits or len(r.data[1]) != 1:
            return False
        if not _is_row(r.data[1][0], [r.args[0]]):
            return False
    inner = [a for a in nest.axes if a.extent != 1 and not a.bit & bits]
    values = [e for t in nest.stores for e in (t.value, t.address)]
    filled = all(stride(t.address, a) == 1 for a in inner for t in nest.stores
                 if t.address.free & a.bit)  # fmt: skip
    return filled and all(_is_row(a, values) for a in inner)


def _is_row(axis: Axis, values: Sequence[Expr]) -> bool:
    loads = [e for e in walk(values) if e.op == "load" and e.free & axis.bit]
    if not isinstance(axis.extent, int) or any(stride(e.args[0], axis) != 1 for e in loads):
        return False
    sizes = [axis.extent * e.data.dtype.itemsize for e in loads]
    return all(LEAST_ROW <= n <= LARGEST_ROW for n in sizes)


def _joined(s: Builder, host: Statement, nest: Nest) -> Nest:
    """Return both nests as one, over the axes of that which has more of them."""
    assert isinstance(host, Nest)
    wider = any(a.extent != 1 and a not in nest.axes for a in host.axes)
    return both(s, host, nest, host.axes if wider else nest.axes)


def both(s: Builder, host: Nest, nest: Nest, axes: tuple[Axis, ...]) -> Nest:
    """Return two nests as one over `axes`; loads of what the host stores become its values."""
    known = {s.load(t.buffer, t.address): t.value for t in host.stores}
    memo: dict[Expr, Expr] = {}
    for e in walk([t.value for t in nest.stores]):
        args = tuple(memo[a] for a in e.args)
        memo[e] = known.get(e) or (e if args == e.args else s.rebuild(e, args))
    stores = tuple(Store(t.buffer, t.address, memo[t.value]) for t in nest.stores)
    return Nest(axes, (*host.stores, *stores), origin=(*host.origin, *nest.origin))


def times_written(statements: Sequence[Statement]) -> dict[Buffer, int]:
    """Return how many statements write each buffer."""
    return Counter(b for statement in statements for b in writes(statement))
