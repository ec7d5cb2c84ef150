"""Merge nests over the same points: what one of them stores, the next uses from a register.

An optimizer's slots and its parameter become one pass over memory, and so do two sums over the same
elements, such as the gradients by scale and shift of a normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.loops.expr import Axis, Buffer, walk
from symgraph.loops.interned import Builder
from symgraph.loops.rowwise import both, join_rows, times_written
from symgraph.loops.statements import Nest, Program, Statement
from symgraph.loops.storage import reads, writes

MOST_STORES = 6
MOST_SUMS = 2  # of a merged body: a pass over rows has accumulators for as many
MOST_COST = 300  # of all values of a merged body: beyond it, registers spill


def merge_nests(program: Program) -> None:
    """Merge what can be merged of a program's statements."""
    merged = merge_statements(program.builder, program.statements)
    program.statements = join_rows(program.builder, merged)


def merge_statements(s: Builder, given: Sequence[Statement]) -> list[Statement]:
    """Move each nest of points or sums into an earlier one over the same axes, if nothing forbids.

    Allowed if all that it reads was stored before the earlier nest, or is stored by that nest at
    the very element that is read.
    """
    statements: list[Statement] = []
    written: dict[Buffer, int] = {}  # buffer -> place of its last writer in `statements`
    users: dict[Buffer, dict[int, None]] = {}  # buffer -> places of nests that read or store it
    writers = times_written(given)
    for statement in given:
        at = len(statements)
        if isinstance(statement, Nest) and _summed(statement) is not None:
            near = {k for b in reads(statement) for k in users.get(b, ())}
            place = _host(statements, sorted(near, reverse=True), statement, written, writers)
            if place is not None:
                host = statements[place]
                assert isinstance(host, Nest)
                statements[place] = both(s, host, statement, host.axes)
                at = place
        if at == len(statements):
            statements.append(statement)
        for b in writes(statement):
            written[b] = at
        if isinstance(statement, Nest):
            for b in (*reads(statement), *writes(statement)):
                users.setdefault(b, {})[at] = None
    return statements


def _summed(nest: Nest) -> tuple[Axis, ...] | None:
    """Return the axes that each value of a nest is one sum over, () for points, None for others."""
    if nest.serial or nest.scan or not nest.axes:
        return None
    found: set[tuple[Axis, ...]] = set()
    for t in nest.stores:
        sums = [e for e in walk([t.value]) if e.op == "reduce"]
        if len(sums) > 1 or any(e.data[0] != "sum" for e in sums):
            return None
        found.add(sums[0].data[1] if sums else ())
    return found.pop() if len(found) == 1 else None


def _host(
    statements: list[Statement],
    near: Sequence[int],
    nest: Nest,
    written: dict[Buffer, int],
    writers: dict[Buffer, int],
) -> int | None:
    """Return the last of the places `near` whose nest can take this one in, None if none can."""
    needed, axes = reads(nest), _summed(nest)
    earliest = max((written[b] for b in needed if b in written), default=0)
    if any(writers[t.buffer] > 1 for t in nest.stores):
        return None
    for place in near:
        host = statements[place]
        if place < earliest or not isinstance(host, Nest) or host.axes != nest.axes:
            continue
        if _summed(host) != axes:
            continue
        if any(writers[t.buffer] > 1 for t in host.stores):
            continue
        stored = {t.buffer: t.address for t in host.stores}
        if axes and any(b in stored for b in needed):
            continue  # a sum of sums
        if len(host.stores) + len(nest.stores) > (MOST_SUMS if axes else MOST_STORES):
            continue
        if sum(t.value.cost for t in (*host.stores, *nest.stores)) > MOST_COST:
            continue
        loads = [e for e in walk([t.value for t in nest.stores]) if e.op == "load"]
        if all(e.data not in stored or e.args == (stored[e.data],) for e in loads):
            return place
    return None
