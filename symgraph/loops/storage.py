"""Plan the arena: an offset for every temporary, reusing space whose content is dead."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from operator import itemgetter

from symgraph.core.record import dataclass
from symgraph.loops.expr import Buffer, walk
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Program, Statement

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """`offsets` of static temporaries, `dynamic` ones (laid out behind them at run time)."""

    offsets: dict[Buffer, int]
    dynamic: tuple[Buffer, ...]
    static_bytes: int
    total_bytes: int  # what separate buffers would take


def reads(statement: Statement) -> list[Buffer]:
    """Return the buffers that a statement reads."""
    if isinstance(statement, LibraryCall):
        return list(statement.inputs)
    if isinstance(statement, Loop):
        return _loop_reads(statement)
    if isinstance(statement, Check):
        roots = [statement.condition]
    else:
        roots = [e for t in statement.stores for e in (t.value, t.address)]
    found = {e.data: None for e in walk(roots) if e.op == "load"}
    if isinstance(statement, Nest):
        found |= {t.buffer: None for t in statement.stores if t.accumulate}
    return list(found)


def _loop_reads(loop: Loop) -> list[Buffer]:
    """Return what a loop reads of what was there before it: all but its own step's values."""
    roots = [e for e in (loop.count, loop.start) if e is not None]
    found: dict[Buffer, None] = {e.data: None for e in walk(roots) if e.op == "load"}
    made: set[Buffer] = set()
    for t in loop.body:
        found |= {b: None for b in reads(t) if b not in made}
        made.update(writes(t))
    return list(found)


def writes(statement: Statement) -> list[Buffer]:
    """Return the buffers that a statement writes."""
    if isinstance(statement, LibraryCall):
        return list(statement.outputs)
    if isinstance(statement, Loop):
        found = [b for t in statement.body for b in writes(t)]
        found += [b for pair in statement.carried for b in pair]
        return list(dict.fromkeys([*found, *([statement.steps] if statement.steps else [])]))
    if isinstance(statement, Check):
        return []
    return list(dict.fromkeys(t.buffer for t in statement.stores))


def plan_storage(program: Program, aliases: Mapping[Buffer, Buffer] | None = None) -> Plan:
    """Return arena offsets: largest buffers first, each at the lowest place free while it lives.

    `aliases` are temporaries that stand for another buffer and need no place of their own.
    """
    aliases = aliases or {}
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for start, end, buffers in _times(program.statements):
        for buffer in buffers:
            place = aliases.get(buffer, buffer)
            if place.kind == "temporary":
                first[place] = min(start, first.get(place, start))
                last[place] = max(end, last.get(place, end))
    static = [b for b in first if isinstance(b.size, int)]
    dynamic = tuple(b for b in first if not isinstance(b.size, int))
    placed: list[tuple[int, int, Buffer]] = []
    offsets: dict[Buffer, int] = {}
    total = end = 0
    for buffer in sorted(static, key=lambda b: (-_bytes(b), first[b])):
        size = _bytes(buffer)
        total += size
        at = 0
        for start, stop, other in placed:
            alive = first[buffer] <= last[other] and first[other] <= last[buffer]
            if alive and at < stop and start < at + size:
                at = stop
        insort(placed, (at, at + size, buffer), key=itemgetter(0))
        offsets[buffer] = at
        end = max(end, at + size)
    return Plan(offsets, dynamic, end, total)


def _times(
    statements: Sequence[Statement],
) -> list[tuple[int, int, list[Buffer]]]:
    """Return (first time, last time, buffers) of what is used when; a loop's body takes turns.

    What a loop needs from before, or leaves behind, lives through all of it; values of one step
    live between the statements that write and read them.
    """
    found: list[tuple[int, int, list[Buffer]]] = []
    inside = [t for t in statements if isinstance(t, Loop)]
    outer = _used([t for t in statements if t not in inside])
    shared = [_used([loop]) for loop in inside]
    clock = 0
    for statement in statements:
        if not isinstance(statement, Loop):
            found.append((clock, clock, [*reads(statement), *writes(statement)]))
            clock += 1
            continue
        others = outer.union(*(u for loop, u in zip(inside, shared, strict=True)
                               if loop is not statement))
        body = _times(statement.body)
        length = 1 + max((end for _, end, _ in body), default=0)
        own = _step_values(statement) - others
        for start, end, buffers in body:
            found.append((clock + start, clock + end, [b for b in buffers if b in own]))
        rest = [b for b in (*reads(statement), *writes(statement), *_condition(statement))
                if b not in own]
        found.append((clock, clock + length - 1, rest))
        clock += length
    return found


def _used(statements: Sequence[Statement]) -> set[Buffer]:
    return {b for t in statements for b in (*reads(t), *writes(t))}


def _condition(loop: Loop) -> list[Buffer]:
    return [e.data for e in walk([loop.go_on] if loop.go_on else []) if e.op == "load"]


def _step_values(loop: Loop) -> set[Buffer]:
    """Return the buffers of which every step writes its own content before it reads it."""
    kept = {b for pair in loop.carried for b in pair} | set(reads(loop)) | set(_condition(loop))
    return {b for t in loop.body for b in writes(t)} - kept


def _bytes(buffer: Buffer) -> int:
    size = buffer.size
    assert isinstance(size, int)
    return max(ALIGNMENT, -(-size * buffer.dtype.itemsize // ALIGNMENT) * ALIGNMENT)
