"""Stores of values at a point of a nest."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.dtype import BOOL
from symgraph.cpu.kernels.bypass import LINE, MARK, Bypass
from symgraph.cpu.kernels.parts import Part, Parts
from symgraph.cpu.kernels.scope import Scope, Vector
from symgraph.cpu.kernels.strides import Strides
from symgraph.cpu.text import memory_type, vector_type
from symgraph.loops.schedule import alternate, stride
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
            t, value = pending.pop(0)
            wide = vector is not None and vector.lanes > 1 and bool(pending)
            if wide and vector and alternate(t, pending[0][0], vector.axis):
                self._store_pairs(scope, vector, t, (value, pending.pop(0)[1]))
            else:
                parts += self._store(scope, t, value)
        self._store_first(scope, vector, parts)

    def _store_pairs(self, scope: Scope, vector: Vector, t: Store, values: tuple[str, str]) -> None:
        """Store two vectors as pairs, by one shuffle and one store."""
        lanes, element = vector.lanes, memory_type(t.buffer.dtype)
        kind, wide = vector_type(element, lanes), vector_type(element, 2 * lanes)
        order = ", ".join(f"i32 {k}, i32 {k + lanes}" for k in range(lanes))
        pairs = self._new(
            scope,
            f"shufflevector {kind} {values[0]}, {kind} {values[1]}, <{2 * lanes} x i32> <{order}>",
        )
        pointer = self.pointer(t.buffer, t.address, scope)
        align = t.buffer.dtype.itemsize
        if vector.mask is None:
            scope.lines.append(f"  store {wide} {pairs}, ptr {pointer}, align {align}")
            return
        both = self._doubled(scope, vector)
        self._store_first(scope, both, [Part(pairs, element, pointer, align)])

    def _doubled(self, scope: Scope, vector: Vector) -> Vector:
        """Return the vector of the pairs of lanes of another one, of which only the first count."""
        lanes, count = 2 * vector.lanes, vector.count
        assert count is not None
        if count.isdigit():
            some = 2 * int(count)
            bits = ", ".join(f"i1 {'true' if k < some else 'false'}" for k in range(lanes))
            return Vector(vector.axis, lanes, f"<{bits}>", str(some))
        twice = self._new(scope, f"shl i64 {count}, 1")
        return Vector(vector.axis, lanes, self._first_lanes(scope, lanes, twice), twice)

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
