"""Stores of values at a point of a nest."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.dtype import BOOL
from symgraph.cpu.access import Access
from symgraph.cpu.scope import Scope
from symgraph.cpu.text import memory_type, shape_suffix, vector_type
from symgraph.loops.grammar import Store
from symgraph.loops.schedule import stride


class Stores(Access):
    """Emits the stores of a point, after all of its values."""

    def _stores(self, scope: Scope, stores: Sequence[Store]) -> None:
        """Store all values; every value is computed before the first store of this point."""
        pending = []
        for t in stores:
            pending.append((t, self.value(t.value, scope)))
        for t, value in pending:
            self._store(scope, t, value)

    def _store(self, scope: Scope, t: Store, value: str) -> None:
        element = memory_type(t.buffer.dtype)
        vector = scope.vector
        lanes = vector.lanes if vector is not None else 1
        moves = vector is not None and bool(t.address.free & vector.axis.bit)
        if vector is not None and not self.is_vector(t.value, scope) and moves:
            value = self.splatted(t.value, scope)
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
            return
        assert vector is not None
        step = stride(t.address, vector.axis)
        kind = vector_type(element, lanes)
        align = t.buffer.dtype.itemsize
        if step == 1 or lanes == 1:
            pointer = self.pointer(t.buffer, t.address, scope)
            if vector.mask is None:
                scope.lines.append(f"  store {kind} {value}, ptr {pointer}, align {align}")
            else:
                name = f"@llvm.masked.store.{shape_suffix(element, lanes)}.p0"
                self.declared.add(f"declare void {name}({kind}, ptr, i32, <{lanes} x i1>)")
                scope.lines.append(
                    f"  call void {name}({kind} {value}, ptr {pointer}, i32 {align}, "
                    f"<{lanes} x i1> {vector.mask})"
                )
            return
        for k, pointer in enumerate(self._lane_pointers(scope, t.buffer, t.address)):
            part = self._new(scope, f"extractelement {kind} {value}, i32 {k}")
            scope.lines.append(f"  store {element} {part}, ptr {pointer}, align {align}")
