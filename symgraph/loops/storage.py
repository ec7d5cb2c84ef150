"""Plan the arena: an offset for every temporary, reusing space whose content is dead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from symgraph.loops.grammar import Buffer, Check, LibraryCall, Nest, Program, Statement, walk

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
    if isinstance(statement, Check):
        roots = [statement.condition]
    else:
        roots = [e for t in statement.stores for e in (t.value, t.address)]
    found = {e.data: None for e in walk(roots) if e.op == "load"}
    if isinstance(statement, Nest):
        found |= {t.buffer: None for t in statement.stores if t.accumulate}
    return list(found)


def writes(statement: Statement) -> list[Buffer]:
    """Return the buffers that a statement writes."""
    if isinstance(statement, LibraryCall):
        return list(statement.outputs)
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
    for time, statement in enumerate(program.statements):
        for buffer in (*reads(statement), *writes(statement)):
            if buffer.kind == "temporary" and buffer not in aliases:
                first.setdefault(buffer, time)
                last[buffer] = time
    static = [b for b in first if isinstance(b.size, int)]
    dynamic = tuple(b for b in first if not isinstance(b.size, int))
    placed: list[tuple[int, int, Buffer]] = []
    offsets: dict[Buffer, int] = {}
    total = end = 0
    for buffer in sorted(static, key=lambda b: (-_bytes(b), first[b])):
        size = _bytes(buffer)
        total += size
        at = 0
        for start, stop, other in sorted(placed, key=lambda p: p[0]):
            alive = first[buffer] <= last[other] and first[other] <= last[buffer]
            if alive and at < stop and start < at + size:
                at = stop
        placed.append((at, at + size, buffer))
        offsets[buffer] = at
        end = max(end, at + size)
    return Plan(offsets, dynamic, end, total)


def _bytes(buffer: Buffer) -> int:
    size = buffer.size
    assert isinstance(size, int)
    return max(ALIGNMENT, -(-size * buffer.dtype.itemsize // ALIGNMENT) * ALIGNMENT)
