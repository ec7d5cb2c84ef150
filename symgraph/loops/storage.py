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


class Uses:
    """What statements read and write, found once each: bodies of loops are asked on every level."""

    def __init__(self) -> None:
        self._reads: dict[Statement, list[Buffer]] = {}
        self._writes: dict[Statement, list[Buffer]] = {}

    def reads(self, statement: Statement) -> list[Buffer]:
        """Return the buffers that a statement reads."""
        found = self._reads.get(statement)
        if found is None:
            found = self._reads[statement] = self._read(statement)
        return found

    def writes(self, statement: Statement) -> list[Buffer]:
        """Return the buffers that a statement writes."""
        found = self._writes.get(statement)
        if found is None:
            found = self._writes[statement] = self._written(statement)
        return found

    def used(self, statements: Sequence[Statement]) -> set[Buffer]:
        """Return the buffers that statements read or write."""
        return {b for t in statements for b in (*self.reads(t), *self.writes(t))}

    def step_values(self, loop: Loop) -> set[Buffer]:
        """Return the buffers of which every step writes its own content before it reads it."""
        kept = {b for pair in loop.carried for b in pair}
        kept |= {*self.reads(loop), *_condition(loop)}
        return {b for t in loop.body for b in self.writes(t)} - kept

    def _read(self, statement: Statement) -> list[Buffer]:
        if isinstance(statement, LibraryCall):
            return list(statement.inputs)
        if isinstance(statement, Loop):
            return self._loop_reads(statement)
        if isinstance(statement, Check):
            roots = [statement.condition]
        else:
            roots = [e for t in statement.stores for e in (t.value, t.address)]
        found = {e.data: None for e in walk(roots) if e.op == "load"}
        if isinstance(statement, Nest):
            found |= {t.buffer: None for t in statement.stores if t.accumulate}
        return list(found)

    def _loop_reads(self, loop: Loop) -> list[Buffer]:
        """Return what a loop reads of what was there before it: all but its own step's values."""
        roots = [e for e in (loop.count, loop.start) if e is not None]
        found: dict[Buffer, None] = {e.data: None for e in walk(roots) if e.op == "load"}
        made: set[Buffer] = set()
        for t in loop.body:
            found |= {b: None for b in self.reads(t) if b not in made}
            made.update(self.writes(t))
        return list(found)

    def _written(self, statement: Statement) -> list[Buffer]:
        if isinstance(statement, LibraryCall):
            return list(statement.outputs)
        if isinstance(statement, Loop):
            found = [b for t in statement.body for b in self.writes(t)]
            found += [b for pair in statement.carried for b in pair]
            return list(dict.fromkeys([*found, *([statement.steps] if statement.steps else [])]))
        if isinstance(statement, Check):
            return []
        return list(dict.fromkeys(t.buffer for t in statement.stores))


def reads(statement: Statement) -> list[Buffer]:
    """Return the buffers that a statement reads."""
    return Uses().reads(statement)


def writes(statement: Statement) -> list[Buffer]:
    """Return the buffers that a statement writes."""
    return Uses().writes(statement)


def plan_storage(program: Program, aliases: Mapping[Buffer, Buffer] | None = None) -> Plan:
    """Return arena offsets: largest buffers first, each at the lowest place free while it lives.

    `aliases` are temporaries that stand for another buffer and need no place of their own.
    """
    aliases = aliases or {}
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for start, end, buffers in _times(program.statements, Uses()):
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
    statements: Sequence[Statement], uses: Uses
) -> list[tuple[int, int, list[Buffer]]]:
    """Return (first time, last time, buffers) of what is used when; a loop's body takes turns.

    What a loop needs from before, or leaves behind, lives through all of it; values of one step
    live between the statements that write and read them.
    """
    found: list[tuple[int, int, list[Buffer]]] = []
    inside = [t for t in statements if isinstance(t, Loop)]
    outer = uses.used([t for t in statements if t not in inside])
    shared = [uses.used([loop]) for loop in inside]
    clock = 0
    for statement in statements:
        if not isinstance(statement, Loop):
            found.append((clock, clock, [*uses.reads(statement), *uses.writes(statement)]))
            clock += 1
            continue
        others = outer.union(*(u for loop, u in zip(inside, shared, strict=True)
                               if loop is not statement))
        body = _times(statement.body, uses)
        length = 1 + max((end for _, end, _ in body), default=0)
        own = uses.step_values(statement) - others
        for start, end, buffers in body:
            found.append((clock + start, clock + end, [b for b in buffers if b in own]))
        every = *uses.reads(statement), *uses.writes(statement), *_condition(statement)
        rest = [b for b in every if b not in own]
        found.append((clock, clock + length - 1, rest))
        clock += length
    return found


def _condition(loop: Loop) -> list[Buffer]:
    return [e.data for e in walk([loop.go_on] if loop.go_on else []) if e.op == "load"]


def _bytes(buffer: Buffer) -> int:
    size = buffer.size
    assert isinstance(size, int)
    return max(ALIGNMENT, -(-size * buffer.dtype.itemsize // ALIGNMENT) * ALIGNMENT)
