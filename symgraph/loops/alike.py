"""Loops inside of loops that are alike: the way back through a loop repeats steps on each level.

What a derivative of a derivative computes again are the same steps over other buffers. Such a loop
is written once, as a function that is passed what differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from symgraph.loops.expr import Axis, Buffer, Expr, walk
from symgraph.loops.likeness import Likeness
from symgraph.loops.statements import Check, Loop, Nest, Statement, Store

FEWEST = 4  # such loops from which it pays to look for alike ones
INSIDE = 4  # loops in a loop from which a call is little beside it


def repeated_loops(
    statements: Sequence[Statement], aliases: Mapping[Buffer, Buffer]
) -> dict[Loop, Likeness]:
    """Return the loops around loops that stand in loops and are alike others, with what differs.

    `aliases` are buffers that lie in the place of another one.
    """
    inner = [t for s in statements if isinstance(s, Loop) for t in _around_others(s.body)]
    if len(inner) < FEWEST:
        return {}
    found: dict[Loop, Likeness] = {}
    for loop in inner:
        like = _Writer(aliases).likeness(loop)
        if like is not None:
            found[loop] = like
    count = Counter(like.key for like in found.values())
    return {loop: like for loop, like in found.items() if count[like.key] > 1}


def _around_others(statements: Sequence[Statement]) -> Iterator[Loop]:
    """Yield the loops among statements, and in them, that have several loops in their bodies."""
    for t in statements:
        if isinstance(t, Loop) and _inside(t) >= INSIDE:
            yield t
            yield from _around_others(t.body)


def _inside(loop: Loop) -> int:
    return sum(1 + _inside(t) for t in loop.body if isinstance(t, Loop))


def free_axes(t: Statement) -> int:
    """Return the mask of the loops around a statement on which it depends."""
    if isinstance(t, Loop):
        buffers = [b for pair in t.carried for b in pair]
        inside = _free([t.go_on], buffers)
        for u in t.body:
            inside |= free_axes(u)
        return inside & ~t.axis.bit | _free([t.count, t.start], [t.steps])
    if isinstance(t, Check):
        return _free([t.condition], []) & ~sum(a.bit for a in t.axes)
    if isinstance(t, Nest):
        values = [e for s in t.stores for e in (s.address, s.value, s.guard)]
        return _free(values, [s.buffer for s in t.stores]) & ~sum(a.bit for a in t.axes)
    return 0


def _free(values: Sequence[Expr | None], buffers: Sequence[Buffer | None]) -> int:
    bits = 0
    for e in values:
        bits |= 0 if e is None else e.free
    for b in buffers:
        bits |= 0 if b is None or b.axis is None else b.axis.bit
    return bits


class _Other(Exception):
    """There is something in the loop that is not compared."""


class _Writer:
    """Writes a loop down by the places in which its axes, buffers and expressions first occur."""

    def __init__(self, aliases: Mapping[Buffer, Buffer]) -> None:
        self.aliases = aliases
        self.axes: dict[Axis, int] = {}
        self.buffers: dict[Buffer, int] = {}
        self.places: dict[Buffer, int] = {}  # of the buffers in which they lie
        self.numbers: dict[Expr, int] = {}
        self.parts: list[Any] = []

    def likeness(self, loop: Loop) -> Likeness | None:
        """Return the key of a loop, where its buffers lie, and its axes; None if it has calls."""
        try:
            self._loop(loop)
        except _Other:
            return None
        return Likeness(tuple(self.parts), tuple(self.places), tuple(self.axes))

    def _loop(self, t: Loop) -> None:
        ends = [self._value(e) for e in (t.count, t.start)]
        pairs = tuple((self._buffer(a), self._buffer(b)) for a, b in t.carried)
        steps = None if t.steps is None else self._buffer(t.steps)
        self.parts.append(("loop", self._axis(t.axis), pairs, *ends, steps))
        for u in t.body:
            self._statement(u)
        self.parts.append(("end", self._value(t.go_on)))

    def _statement(self, t: Statement) -> None:
        if isinstance(t, Loop):
            self._loop(t)
        elif isinstance(t, Nest):
            axes = tuple(self._axis(a) for a in t.axes)
            self.parts.append(("nest", axes, t.serial, t.scan, tuple(map(self._store, t.stores))))
        elif isinstance(t, Check):
            axes = tuple(self._axis(a) for a in t.axes)
            self.parts.append(("check", axes, self._value(t.condition), t.code))
        else:
            raise _Other

    def _store(self, t: Store) -> tuple[Any, ...]:
        values = [self._value(e) for e in (t.address, t.value, t.guard)]
        return (self._buffer(t.buffer), *values, t.accumulate)

    def _axis(self, axis: Axis) -> int:
        found = self.axes.get(axis)
        if found is None:
            found = self.axes[axis] = len(self.axes)
            self.parts.append(("axis", found, axis.extent))
        return found

    def _buffer(self, buffer: Buffer) -> int:
        found = self.buffers.get(buffer)
        if found is None:
            place = self.aliases.get(buffer, buffer)
            at = self.places.setdefault(place, len(self.places))
            step = None if buffer.axis is None else self._axis(buffer.axis)
            found = self.buffers[buffer] = len(self.buffers)
            kind = buffer.kind == "constant"
            self.parts.append(("buffer", found, at, buffer.dtype, buffer.shape, step, kind))
        return found

    def _value(self, root: Expr | None) -> int | None:
        if root is None:
            return None
        for e in walk([root]):
            if e not in self.numbers:
                data: Any = e.data
                match e.op:
                    case "const":
                        data = e
                    case "axis":
                        data = self._axis(data)
                    case "load":
                        data = self._buffer(data)
                    case "reduce":
                        data = (data[0], tuple(self._axis(a) for a in data[1]))
                arguments = tuple(self.numbers[a] for a in e.args)
                self.numbers[e] = len(self.numbers)
                self.parts.append((e.op, e.dtype, data, arguments))
        return self.numbers[root]
