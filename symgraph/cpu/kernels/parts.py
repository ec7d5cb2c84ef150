"""Stores of the first lanes of a vector: by a mask, or in parts of 2^k lanes.

Where a masked store takes long (AVX2: 18 operations and 12 cycles on Zen 3, where a plain one takes
one), the bits of the number of lanes say which parts are stored: of 7 lanes the first four, then
two, then one. Rows are equally long, so the branches are foreseen.
"""

from __future__ import annotations

from symgraph.cpu.kernels.operations import Operations
from symgraph.cpu.kernels.scope import Scope
from symgraph.cpu.text import shape_suffix, vector_type


class Parts(Operations):
    """Emits stores of vectors of which only the first lanes count."""

    def _store_first(self, scope: Scope, value: str, element: str, pointer: str, size: int) -> None:
        """Store the lanes of the scope's vector that are in range; `size` bytes each."""
        vector = scope.vector
        assert vector is not None
        lanes, count = vector.lanes, vector.count
        if self.masked_stores or lanes == 1 or count is None:
            kind = vector_type(element, lanes)
            name = f"@llvm.masked.store.{shape_suffix(element, lanes)}.p0"
            self.declared.add(f"declare void {name}({kind}, ptr, i32, <{lanes} x i1>)")
            scope.lines.append(
                f"  call void {name}({kind} {value}, ptr {pointer}, i32 {size}, "
                f"<{lanes} x i1> {vector.mask})"
            )
        elif count.isdigit():
            self._store_known(scope, value, element, pointer, size)
        else:
            self._store_by_bits(scope, value, element, pointer, size)

    def _store_known(self, scope: Scope, value: str, element: str, pointer: str, size: int) -> None:
        assert scope.vector is not None and scope.vector.count is not None
        lanes, count, at = scope.vector.lanes, int(scope.vector.count), 0
        while at < count:
            number = 1 << ((count - at).bit_length() - 1)
            part = self._lanes_from(scope, value, element, lanes, at, number)
            there = self._gep_at(scope, element, pointer, at)
            self._put_lanes(scope, part, element, number, there, size)
            at += number

    def _store_by_bits(
        self, scope: Scope, value: str, element: str, pointer: str, size: int
    ) -> None:
        """Store all lanes if so many are in range, else a part for each bit of their number."""
        assert scope.vector is not None
        lanes, count = scope.vector.lanes, scope.vector.count
        whole, few, done = self._label("whole"), self._label("few"), self._label("stored")
        enough = self._new(scope, f"icmp sge i64 {count}, {lanes}")
        scope.lines += [f"  br i1 {enough}, label %{whole}, label %{few}", f"{whole}:"]
        self._put_lanes(scope, value, element, lanes, pointer, size)
        scope.lines += [f"  br label %{done}", f"{few}:"]
        scope.label = few
        number = lanes // 2
        while number:
            low = self._lanes_from(scope, value, element, 2 * number, 0, number)
            bit = self._new(scope, f"and i64 {count}, {number}")
            some = self._new(scope, f"icmp ne i64 {bit}, 0")
            part, after = self._label("part"), self._label("after") if number > 1 else done
            before, scope.label = scope.label, after
            scope.lines += [f"  br i1 {some}, label %{part}, label %{after}", f"{part}:"]
            self._put_lanes(scope, low, element, number, pointer, size)
            if number > 1:
                high = self._lanes_from(scope, value, element, 2 * number, number, number)
                scope.lines += [f"  br label %{after}", f"{after}:"]
                kind = vector_type(element, number)
                edges = f"[ {low}, %{before} ], [ {high}, %{part} ]"
                value = self._new(scope, f"phi {kind} {edges}")
                pointer = self._new(scope, f"getelementptr {element}, ptr {pointer}, i64 {bit}")
            number //= 2
        scope.lines += [f"  br label %{done}", f"{done}:"]

    def _lanes_from(
        self, scope: Scope, value: str, element: str, lanes: int, first: int, number: int
    ) -> str:
        """Return adjacent lanes of a vector."""
        kind = vector_type(element, lanes)
        if number == 1:
            return self._new(scope, f"extractelement {kind} {value}, i32 {first}")
        order = ", ".join(f"i32 {first + k}" for k in range(number))
        return self._new(
            scope, f"shufflevector {kind} {value}, {kind} poison, <{number} x i32> <{order}>"
        )

    def _gep_at(self, scope: Scope, element: str, pointer: str, at: int) -> str:
        if at == 0:
            return pointer
        return self._new(scope, f"getelementptr {element}, ptr {pointer}, i64 {at}")

    def _put_lanes(
        self, scope: Scope, value: str, element: str, number: int, pointer: str, size: int
    ) -> None:
        kind = vector_type(element, number)
        scope.lines.append(f"  store {kind} {value}, ptr {pointer}, align {size}")
