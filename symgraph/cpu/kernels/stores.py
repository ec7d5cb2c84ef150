"""Stores of values at a point of a nest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.core.dtype import BOOL
from symgraph.cpu.kernels.access import Access
from symgraph.cpu.kernels.bypass import LINE, MARK, Bypass
from symgraph.cpu.kernels.parts import Part, Parts
from symgraph.cpu.kernels.scope import Scope
from symgraph.cpu.text import memory_type, vector_type
from symgraph.loops.schedule import SHUFFLE_STRIDE, stride
from symgraph.loops.statements import Store


class Stores(Access, Bypass, Parts):
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
        while pending:
            group = self._interleaved(scope, pending)
            if len(group) > 1:
                pending = [p for p in pending if p not in group]
                self._store_interleaved(scope, group)
            else:
                parts += self._store(scope, *pending.pop(0))
        self._store_first(scope, parts)

    def _interleaved(self, scope: Scope, pending: list[tuple[Store, str]]) -> list[Any]:
        """Return the stores that fill every place together with the first one, in their order.

        The parts of complex numbers are two of them, the columns of few rows are some.
        """
        vector, (first, _) = scope.vector, pending[0]
        if vector is None or vector.lanes == 1 or vector.mask is not None or first.accumulate:
            return []
        step = stride(first.address, vector.axis)
        if step is None or not 1 < step <= SHUFFLE_STRIDE or first.buffer.dtype is BOOL:
            return []
        s, found = self.builder, pending[:1]
        for k in range(1, step):
            place = s.iadd(first.address, k)
            same = (
                (t, value) for t, value in pending
                if t.buffer is first.buffer and t.address is place and not t.accumulate
            )  # fmt: skip
            found += [next(same, pending[0])]
        return found if len(dict.fromkeys(found)) == step else []

    def _store_interleaved(self, scope: Scope, group: Sequence[tuple[Store, str]]) -> None:
        """Store vectors whose lanes take turns, as one wide vector."""
        assert scope.vector is not None
        (first, wide), lanes, count = group[0], scope.vector.lanes, len(group)
        element = memory_type(first.buffer.dtype)
        for k in range(1, count):  # one behind the other, padded to the length of those before
            kind = vector_type(element, k * lanes)
            value = group[k][1]
            if k > 1:
                order = [*range(lanes), *[-1] * ((k - 1) * lanes)]
                value = self._shuffled(scope, vector_type(element, lanes), value, value, order)
            wide = self._shuffled(scope, kind, wide, value, range((k + 1) * lanes))
        turns = [k * lanes + lane for lane in range(lanes) for k in range(count)]
        kind = vector_type(element, count * lanes)
        wide = self._shuffled(scope, kind, wide, wide, turns)
        pointer = self.pointer(first.buffer, first.address, scope)
        align = first.buffer.dtype.itemsize
        scope.lines.append(f"  store {kind} {wide}, ptr {pointer}, align {align}")

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
