"""Registers of the steps of a loop: what a step has stored is read again without a load.

Memory has all of it too, for nests that read it in another way. Small states also go from step to
step in registers: waiting for what was just stored takes as long as two operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.core.record import dataclass
from symgraph.cpu.kernels import parts
from symgraph.cpu.kernels.kernel import KernelEmitter
from symgraph.cpu.kernels.scope import Scope
from symgraph.cpu.text import memory_type, register_type, vector_type
from symgraph.loops.expr import Buffer, Expr
from symgraph.loops.points import MOST_POINTS, written_out
from symgraph.loops.short_states import WIDE_STATE, ShortStates
from symgraph.loops.statements import Loop, Nest, Statement, Store
from symgraph.loops.storage import writes


@dataclass(frozen=True, slots=True)
class Part:
    """A vector that a step has stored: `size` elements from `start` on; lanes behind are any.

    Of one that is all of a row of unknown length, `mask` says which lanes there are.
    """

    start: int
    size: int
    lanes: int
    name: str
    mask: str | None = None


@dataclass(slots=True)
class Carried:
    """A register that is handed from step to step: its type, and its value in this step."""

    kind: str
    name: str
    now: Buffer
    address: Expr
    made: Buffer  # what a step stores for the next one
    lanes: int
    mask: str | None = None  # of the lanes that count, 0 in the others
    used: bool = False


class StepRegisters(KernelEmitter):
    """Remembers in which registers the elements and whole vectors are that a step has stored."""

    aliases: Mapping[Buffer, Buffer]
    _within: Scope  # the step of the loop in which a nest is emitted

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._held: dict[Buffer, list[tuple[Scope, Expr]]] = {}  # elements, known to their scope
        self._vectors: dict[Buffer, list[Part]] = {}  # vectors, of buffers of few of them
        self._carried: dict[Buffer, Carried] = {}  # states that are one vector
        self.short: ShortStates | None = None  # what is known of the length of states

    # -- within a step ---------------------------------------------------------------------------
    def _hold(self, scope: Scope, t: Store) -> None:
        """Let later nests of the step read an element from the register that was stored."""
        element = self.builder.load(t.buffer, t.address)
        if _is_plain(t) and scope.home(element.free) is scope:
            scope.env[element] = self.value(t.value, scope)
            self._held.setdefault(t.buffer, []).append((scope, element))

    def _forget(self, statement: Statement) -> None:
        """Forget the registers of what a statement stores: all of it, or an element each."""
        for buffer in writes(statement):
            self._vectors.pop(buffer, None)
            held = self._held.pop(buffer, [])
            if isinstance(statement, Nest) and not statement.axes:
                places = {t.address for t in statement.stores if t.buffer is buffer}
                known = not any(a.args for a in places)
                self._held[buffer] = [h for h in held if known and h[1].args[0] not in places]
                held = [h for h in held if h not in self._held[buffer]]
            for scope, element in held:
                scope.env.pop(element, None)

    def _load_at(self, scope: Scope, buffer: Buffer, address: Expr, guard: Expr | None) -> str:
        vector = scope.vector
        if guard is None and vector is not None:
            lanes, mask = vector.lanes, vector.mask
            start = self._start(scope, address)
            held = None if start is None else self._held_part(scope, buffer, start, lanes, mask)
            if held is not None:
                return held
            carried = self._carried.get(buffer)
            own = (lanes, mask)
            if carried is not None and start == 0 and (carried.lanes, carried.mask) == own:
                carried.used = True
                return carried.name
        return super()._load_at(scope, buffer, address, guard)

    def _store(self, scope: Scope, t: Store, value: str) -> list[parts.Part]:
        left = super()._store(scope, t, value)
        self._note(scope, t, value)
        return left

    def _note(self, scope: Scope, t: Store, value: str) -> None:
        """Note a vector of this step that is stored at a known place."""
        axis, step, vector = t.buffer.axis, self._within, scope.vector
        own = axis is not None and step.bits & axis.bit and step.home(axis.bit) is step
        if not own or vector is None or not _is_plain(t) or not self.is_vector(t.value, scope):
            return
        start = self._start(scope, t.address)
        loops = (p for a, p in scope.positions.items() if a not in step.positions)
        if start is not None and all(p.isdigit() for p in loops):
            extent, lanes = vector.axis.extent, vector.lanes
            first = int(scope.positions[vector.axis])
            size = min(lanes, extent - first) if isinstance(extent, int) else 0
            part = Part(start, size, lanes, value, vector.mask)
            self._vectors.setdefault(t.buffer, []).append(part)

    def _start(self, scope: Scope, address: Expr) -> int | None:
        """Return where the vector around begins in a buffer, None if that is no known place."""
        vector = scope.vector
        if vector is None or vector.lanes == 1 or not address.free & vector.axis.bit:
            return None
        factors, start = address.data
        for atom, factor in zip(address.args, factors, strict=True):
            place = scope.positions.get(atom.data, "") if atom.op == "axis" else ""
            if not place.isdigit() or not isinstance(factor, int):
                return None
            if atom.data is vector.axis and factor != 1:
                return None
            start = start + factor * int(place)
        return start if isinstance(start, int) else None

    def _held_part(
        self, scope: Scope, buffer: Buffer, start: int, lanes: int, mask: str | None = None
    ) -> str | None:
        """Return elements of a buffer from the one register that has them all, if there is one.

        Under a mask the other lanes are 0, as they are when they are loaded: they do not grow.
        """
        for part in self._vectors.get(buffer, ()):
            first = start - part.start
            if mask is not None:
                if first == 0 and lanes == part.lanes and mask == part.mask:
                    kind = vector_type(register_type(buffer.dtype), lanes)
                    some = f"<{lanes} x i1> {mask}, {kind} {part.name}, {kind} zeroinitializer"
                    return self._new(scope, f"select {some}")
                continue
            if first == 0 and lanes == part.lanes == part.size:
                return part.name
            if first >= 0 and first + lanes <= part.size:
                kind = vector_type(register_type(buffer.dtype), part.lanes)
                places = ", ".join(f"i32 {first + k}" for k in range(lanes))
                return self._new(
                    scope,
                    f"shufflevector {kind} {part.name}, {kind} poison, <{lanes} x i32> <{places}>",
                )
        return None

    # -- from step to step -------------------------------------------------------------------------
    def _enter(self, inner: Scope, loop: Loop) -> list[Carried]:
        """Return the registers in which the steps of a loop may hand on its small states."""
        found = []
        for now, new in loop.carried:
            size = now.size
            if now.axis is not loop.axis:
                continue
            if isinstance(size, int) and size <= MOST_POINTS:
                found += self._elements(inner, loop, now, new)
            elif now.dtype in (FLOAT32, FLOAT64):
                found += self._vector(loop, now, new)
        return found

    def _elements(self, inner: Scope, loop: Loop, now: Buffer, new: Buffer) -> list[Carried]:
        """Return a register for each element that one store of the step makes by itself."""
        s = self.builder
        nests = [written_out(s, t) for t in loop.body if isinstance(t, Nest)]
        stores = [t for nest in nests if not nest.axes for t in nest.stores if _is_plain(t)]
        kind, found = register_type(now.dtype), []
        for at in {t.address: None for t in stores if self._is(t.buffer, new)}:
            made = [t.buffer for t in stores if t.address is at and self._is(t.buffer, new)]
            element = s.load(now, at)
            if len(made) == 1 and not at.args and inner.home(element.free) is inner:
                inner.env[element] = self._name()
                found.append(Carried(kind, inner.env[element], now, at, made[0], 1, None, True))
        return found

    def _vector(self, loop: Loop, now: Buffer, new: Buffer) -> list[Carried]:
        """Return a register for a state that one statement of the step makes."""
        made = [b for t in loop.body for b in writes(t) if self._is(b, new)]
        lanes, mask = self._state_lanes(now)
        if len(made) != 1 or not lanes:
            return []
        kind = vector_type(register_type(now.dtype), lanes)
        at = self.builder.index(0)
        self._carried[now] = Carried(kind, self._name(), now, at, made[0], lanes, mask)
        return [self._carried[now]]

    def _is(self, buffer: Buffer, place: Buffer) -> bool:
        return self.aliases.get(buffer, buffer) is place

    def _state_lanes(self, buffer: Buffer) -> tuple[int, str | None]:
        """Return the lanes of a state that is one vector, and their mask; no lanes of others."""
        size, most = buffer.size, WIDE_STATE * self.vector_bytes // buffer.dtype.itemsize
        if isinstance(size, int):
            return (size if size <= most and size & (size - 1) == 0 else 0), None
        short = self.short
        if short is None or size != short.size or short.most > most:
            return 0, None
        vector = self._short_vector(self.builder.axis("i0", short.short), short.most)
        return vector.lanes, vector.mask

    def _handed_on(self, inner: Scope, registers: list[Carried]) -> list[tuple[Carried, str]]:
        """Return the registers that are read, and their values at the end of a step."""
        found = []
        for c in registers:
            if c.lanes == 1:
                found.append((c, self.value(self.builder.load(c.made, c.address), inner)))
            elif c.used:
                held = self._held_part(inner, c.made, 0, c.lanes, c.mask)
                found.append((c, held or self._read(inner, c, c.made, self._base(c.made))))
        return found

    def _read(self, scope: Scope, c: Carried, buffer: Buffer, base: str) -> str:
        """Load what a register should hold from a buffer at `base`."""
        (_, place) = c.address.data
        element = memory_type(buffer.dtype)
        pointer = self._new(scope, f"getelementptr {element}, ptr {base}, i64 {place}")
        if c.mask is not None:
            return self._load_first(scope, buffer, pointer, c.lanes, c.mask)
        value = self._new(scope, self._load_text(buffer, pointer, c.lanes))
        return self._bits(scope, buffer, value, c.lanes)


def _is_plain(t: Store) -> bool:
    """Tell whether the register that is stored holds what is read from there again."""
    return t.value.dtype is t.buffer.dtype and not t.accumulate and t.guard is None
