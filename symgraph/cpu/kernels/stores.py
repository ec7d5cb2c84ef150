"""Stores of values at a point of a nest."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.dtype import BOOL
from symgraph.cpu.kernels.bypass import LINE, MARK, Bypass
from symgraph.cpu.kernels.parts import Part, Parts
from symgraph.cpu.kernels.scope import Scope, Vector
from symgraph.cpu.kernels.strides import Strides
from symgraph.cpu.text import memory_type, vector_type
from symgraph.loops.schedule import MASKED_TURNS, SHUFFLE_STRIDE, interleaved, stride
from symgraph.loops.statements import Store


class Stores(Strides, Bypass, Parts):
    """Emits the stores of a point, after all of its values."""

    _later: list[tuple[Store, str]] | None = None  # stores to be emitted after other points

    def _stores(self, scope: Scope, stores: Sequence[Store]) -> None:
        """Store all values; every value is computed before the first store of this point."""
        pending = []
        for t in stores:
            moves = scope.vector is not None and t.address.free & scope.vector.axis.bit
            pending.append((t, (self.splatted if moves else self.value)(t.value, scope)))
        if self._later is not None:
            self._later += pending
        else:
            self._store_all(scope, pending)

    def _store_all(self, scope: Scope, pending: list[tuple[Store, str]]) -> None:
        """Store values that have been computed."""
        parts: list[Part] = []
        vector = scope.vector
        while pending:
            group: list[Store] = []
            if vector is not None and vector.lanes > 1:
                most = SHUFFLE_STRIDE if vector.mask is None else MASKED_TURNS
                group = interleaved([t for t, _ in pending], vector.axis, most)
            if vector is not None and len(group) > 1:
                values = [value for t in group for u, value in pending if u is t]
                pending = [p for p in pending if all(t is not p[0] for t in group)]
                self._store_interleaved(scope, vector, group[0], values)
            else:
                parts += self._store(scope, *pending.pop(0))
        self._store_first(scope, vector, parts)

    def _store_interleaved(
        self, scope: Scope, vector: Vector, first: Store, values: Sequence[str]
    ) -> None:
        """Store vectors whose lanes take turns, as one wide vector."""
        lanes, count, element = vector.lanes, len(values), memory_type(first.buffer.dtype)
        wide, one = values[0], vector_type(element, lanes)
        for k in range(1, count):  # one behind the other, padded to the length of those before
            order = [*range(lanes), *[-1] * ((k - 1) * lanes)]
            padded = self._shuffled(scope, one, values[k], values[k], order) if k > 1 else values[k]
            kind = vector_type(element, k * lanes)
            wide = self._shuffled(scope, kind, wide, padded, range((k + 1) * lanes))
        turns = [k * lanes + lane for lane in range(lanes) for k in range(count)]
        kind = vector_type(element, count * lanes)
        wide = self._shuffled(scope, kind, wide, wide, turns)
        pointer = self.pointer(first.buffer, first.address, scope)
        align = first.buffer.dtype.itemsize
        if vector.mask is None:
            scope.lines.append(f"  store {kind} {wide}, ptr {pointer}, align {align}")
            return
        all_turns = self._multiplied(scope, vector, count)
        self._store_first(scope, all_turns, [Part(wide, element, pointer, align)])

    def _multiplied(self, scope: Scope, vector: Vector, times: int) -> Vector:
        """Return the vector of so many lanes for each of another one; only the first count."""
        lanes, count = times * vector.lanes, vector.count
        assert count is not None
        if count.isdigit():
            some = times * int(count)
            bits = ", ".join(f"i1 {'true' if k < some else 'false'}" for k in range(lanes))
            return Vector(vector.axis, lanes, f"<{bits}>", str(some))
        more = self._new(scope, f"mul i64 {count}, {times}")
        return Vector(vector.axis, lanes, self._first_lanes(scope, lanes, more), more)

    def _shuffled(self, scope: Scope, kind: str, x: str, y: str, order: Sequence[int]) -> str:
        """Return some lanes of two vectors (-1: any)."""
        lanes = ", ".join("i32 poison" if k < 0 else f"i32 {k}" for k in order)
        mask = f"<{len(order)} x i32> <{lanes}>"
        return self._new(scope, f"shufflevector {kind} {x}, {kind} {y}, {mask}")

    def _store(self, scope: Scope, t: Store, value: str) -> list[Part]:
        """Store a register; it is a vector where the address moves with the lanes.

        A vector of which only the first lanes count is returned: the caller stores it.
        """
        element = memory_type(t.buffer.dtype)
        vector = scope.vector
        lanes = vector.lanes if vector is not None else 1
        moves = vector is not None and bool(t.address.free & vector.axis.bit)
        if t.accumulate:
            loaded = self._load_at(scope, t.buffer, t.address, None)
            wide = lanes if moves else 1
            value = self._combine(scope, t.accumulate, t.buffer.dtype, wide, loaded, value)
        if t.buffer.dtype is BOOL:
            kind = vector_type("i1", lanes if moves else 1)
            value = self._new(
                scope, f"zext {kind} {value} to {vector_type('i8', lanes if moves else 1)}"
            )
        if not moves:
            pointer = self.pointer(t.buffer, t.address, scope)
            scope.lines.append(
                f"  store {element} {value}, ptr {pointer}, align {t.buffer.dtype.itemsize}"
            )
            return []
        assert vector is not None
        step = stride(t.address, vector.axis)
        kind = vector_type(element, lanes)
        align = t.buffer.dtype.itemsize
        if step == 1 or lanes == 1:
            pointer = self.pointer(t.buffer, t.address, scope)
            if vector.mask is None:
                mark = ""
                if self.bypassing and lanes * align % LINE == 0:
                    align, mark = LINE, MARK
                scope.lines.append(f"  store {kind} {value}, ptr {pointer}, align {align}{mark}")
                return []
            return [Part(value, element, pointer, align)]
        for k, pointer in enumerate(self._lane_pointers(scope, t.buffer, t.address)):
            part = self._new(scope, f"extractelement {kind} {value}, i32 {k}")
            scope.lines.append(f"  store {element} {part}, ptr {pointer}, align {align}")
        return []
