"""Registers of the steps of a loop: what a step has stored is read again without a load.

Memory has all of it too, for nests that read it in another way. Small states also go from step to
step in registers: waiting for what was just stored takes as long as two operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.core.record import dataclass
from symgraph.cpu.kernel import KernelEmitter
from symgraph.cpu.scope import Scope
from symgraph.cpu.text import memory_type, register_type, vector_type
from symgraph.loops.expr import Buffer, Expr
from symgraph.loops.points import MOST_POINTS, written_out
from symgraph.loops.statements import Loop, Nest, Statement, Store
from symgraph.loops.storage import writes

WIDE_STATE = 4  # registers of a state that is carried as one vector


@dataclass(slots=True)
class Carried:
    """A register that is handed from step to step: its type, and its value in this step."""

    kind: str
    name: str
    now: Buffer
    address: Expr
    made: Buffer  # what a step stores for the next one
    lanes: int
    used: bool = False


class StepRegisters(KernelEmitter):
    """Remembers in which registers the elements and whole vectors are that a step has stored."""

    aliases: Mapping[Buffer, Buffer]
    _within: Scope  # the step of the loop in which a nest is emitted

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._held: dict[Buffer, list[tuple[Scope, Expr]]] = {}  # elements, known to their scope
        self._whole: dict[Buffer, str] = {}  # buffers that are one vector
        self._carried: dict[Buffer, Carried] = {}  # states that are one vector

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
            self._whole.pop(buffer, None)
            held = self._held.pop(buffer, [])
            if isinstance(statement, Nest) and not statement.axes:
                places = {t.address for t in statement.stores if t.buffer is buffer}
                known = not any(a.args for a in places)
                self._held[buffer] = [h for h in held if known and h[1].args[0] not in places]
                held = [h for h in held if h not in self._held[buffer]]
            for scope, element in held:
                scope.env.pop(element, None)

    def _load_at(self, scope: Scope, buffer: Buffer, address: Expr, guard: Expr | None) -> str:
        if guard is None and self._is_whole(scope, buffer, address):
            if buffer in self._whole:
                return self._whole[buffer]
            carried = self._carried.get(buffer)
            if carried is not None:
                carried.used = True
                return carried.name
        return super()._load_at(scope, buffer, address, guard)

    def _store(self, scope: Scope, t: Store, value: str) -> None:
        super()._store(scope, t, value)
        axis, step = t.buffer.axis, self._within
        own = axis is not None and step.bits & axis.bit and step.home(axis.bit) is step
        if not own or not _is_plain(t) or not self._is_whole(scope, t.buffer, t.address):
            return
        if self.is_vector(t.value, scope):
            self._whole[t.buffer] = value

    def _is_whole(self, scope: Scope, buffer: Buffer, address: Expr) -> bool:
        """Tell whether the vector around is all of a buffer."""
        vector = scope.vector
        if vector is None or vector.mask is not None or vector.lanes == 1:
            return False
        s = self.builder
        return buffer.size == vector.lanes and address is s.index(s.at(vector.axis))

    # -- from step to step -------------------------------------------------------------------------
    def _enter(self, inner: Scope, loop: Loop) -> list[Carried]:
        """Return the registers in which the steps of a loop may hand on its small states."""
        found = []
        for now, new in loop.carried:
            size = now.size
            if isinstance(size, int) and now.axis is loop.axis:
                if size <= MOST_POINTS:
                    found += self._elements(inner, loop, now, new)
                elif self._is_vector_state(now, size):
                    found += self._vector(loop, now, new, size)
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
                found.append(Carried(kind, inner.env[element], now, at, made[0], 1, True))
        return found

    def _vector(self, loop: Loop, now: Buffer, new: Buffer, size: int) -> list[Carried]:
        """Return a register for a state that one statement of the step makes."""
        made = [b for t in loop.body for b in writes(t) if self._is(b, new)]
        if len(made) != 1:
            return []
        kind = vector_type(register_type(now.dtype), size)
        at = self.builder.index(0)
        self._carried[now] = Carried(kind, self._name(), now, at, made[0], size)
        return [self._carried[now]]

    def _is(self, buffer: Buffer, place: Buffer) -> bool:
        return self.aliases.get(buffer, buffer) is place

    def _is_vector_state(self, buffer: Buffer, size: int) -> bool:
        base = self.vector_bytes // buffer.dtype.itemsize
        fits = size <= WIDE_STATE * base and size & (size - 1) == 0
        return fits and buffer.dtype in (FLOAT32, FLOAT64)

    def _handed_on(self, inner: Scope, registers: list[Carried]) -> list[tuple[Carried, str]]:
        """Return the registers that are read, and their values at the end of a step."""
        found = []
        for c in registers:
            if c.lanes == 1:
                found.append((c, self.value(self.builder.load(c.made, c.address), inner)))
            elif c.used:
                held = self._whole.get(c.made)
                found.append((c, held or self._read(inner, c, c.made, self._base(c.made))))
        return found

    def _read(self, scope: Scope, c: Carried, buffer: Buffer, base: str) -> str:
        """Load what a register should hold from a buffer at `base`."""
        (_, place) = c.address.data
        element = memory_type(buffer.dtype)
        pointer = self._new(scope, f"getelementptr {element}, ptr {base}, i64 {place}")
        value = self._new(scope, self._load_text(buffer, pointer, c.lanes))
        return self._bits(scope, buffer, value, c.lanes)


def _is_plain(t: Store) -> bool:
    """Tell whether the register that is stored holds what is read from there again."""
    return t.value.dtype is t.buffer.dtype and not t.accumulate and t.guard is None
