"""Stores of the first lanes of a vector: by a mask, or in parts of 2^k lanes.

Where a masked store takes long (AVX2: 18 operations and 12 cycles on Zen 3, where a plain one takes
one), the bits of the number of lanes say which parts are stored: of 7 lanes the first four, then
two, then one. Rows are equally long, so the branches are foreseen, and the stores of a point share
them.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.record import dataclass, replace
from symgraph.cpu.kernels.operations import Operations
from symgraph.cpu.kernels.scope import Scope, Vector
from symgraph.cpu.text import shape_suffix, vector_type


@dataclass(frozen=True, slots=True)
class Part:
    """A vector to store at `pointer`: the register, the type and the bytes of its elements."""

    value: str
    element: str
    pointer: str
    size: int


class Parts(Operations):
    """Emits stores of vectors of which only the first lanes count."""

    def _store_first(self, scope: Scope, vector: Vector | None, parts: Sequence[Part]) -> None:
        """Store the lanes of some vectors that are in range."""
        if vector is None or not parts:
            return
        if self.masked_stores or vector.lanes == 1 or vector.count is None:
            for part in parts:
                self._store_masked(scope, vector, part)
        elif vector.count.isdigit():
            self._store_known(scope, vector, parts, int(vector.count))
        else:
            self._store_by_bits(scope, vector, parts, vector.count)

    def _store_masked(self, scope: Scope, vector: Vector, part: Part) -> None:
        lanes = vector.lanes
        kind = vector_type(part.element, lanes)
        name = f"@llvm.masked.store.{shape_suffix(part.element, lanes)}.p0"
        self.declared.add(f"declare void {name}({kind}, ptr, i32, <{lanes} x i1>)")
        scope.lines.append(
            f"  call void {name}({kind} {part.value}, ptr {part.pointer}, i32 {part.size}, "
            f"<{lanes} x i1> {vector.mask})"
        )

    def _store_known(
        self, scope: Scope, vector: Vector, parts: Sequence[Part], count: int
    ) -> None:
        at = 0
        while at < count:
            number = 1 << ((count - at).bit_length() - 1)
            for part in parts:
                value = self._lanes_from(scope, part, vector.lanes, at, number)
                there = self._further(scope, part, str(at)) if at else part.pointer
                self._put_lanes(scope, replace(part, value=value, pointer=there), number)
            at += number

    def _store_by_bits(
        self, scope: Scope, vector: Vector, parts: Sequence[Part], count: str
    ) -> None:
        """Store all lanes if so many are in range, else a part for each bit of their number."""
        lanes = vector.lanes
        whole, few, done = self._label("whole"), self._label("few"), self._label("stored")
        enough = self._new(scope, f"icmp sge i64 {count}, {lanes}")
        scope.lines += [f"  br i1 {enough}, label %{whole}, label %{few}", f"{whole}:"]
        for part in parts:
            self._put_lanes(scope, part, lanes)
        scope.lines += [f"  br label %{done}", f"{few}:"]
        scope.label = few
        number = lanes // 2
        while number:
            low = [self._lanes_from(scope, part, 2 * number, 0, number) for part in parts]
            bit = self._new(scope, f"and i64 {count}, {number}")
            some = self._new(scope, f"icmp ne i64 {bit}, 0")
            taken, after = self._label("part"), self._label("after") if number > 1 else done
            before, scope.label = scope.label, after
            scope.lines += [f"  br i1 {some}, label %{taken}, label %{after}", f"{taken}:"]
            for part, value in zip(parts, low, strict=True):
                self._put_lanes(scope, replace(part, value=value), number)
            if number > 1:
                high = [self._lanes_from(scope, part, 2 * number, number, number) for part in parts]
                scope.lines += [f"  br label %{after}", f"{after}:"]
                left = [
                    self._new(
                        scope,
                        f"phi {vector_type(part.element, number)} "
                        f"[ {a}, %{before} ], [ {b}, %{taken} ]",
                    )
                    for part, a, b in zip(parts, low, high, strict=True)
                ]
                parts = [
                    replace(part, value=value, pointer=self._further(scope, part, bit))
                    for part, value in zip(parts, left, strict=True)
                ]
            number //= 2
        scope.lines += [f"  br label %{done}", f"{done}:"]

    def _lanes_from(self, scope: Scope, part: Part, lanes: int, first: int, number: int) -> str:
        """Return adjacent lanes of a vector."""
        kind = vector_type(part.element, lanes)
        if number == 1:
            return self._new(scope, f"extractelement {kind} {part.value}, i32 {first}")
        order = ", ".join(f"i32 {first + k}" for k in range(number))
        return self._new(
            scope, f"shufflevector {kind} {part.value}, {kind} poison, <{number} x i32> <{order}>"
        )

    def _further(self, scope: Scope, part: Part, at: str) -> str:
        return self._new(scope, f"getelementptr {part.element}, ptr {part.pointer}, i64 {at}")

    def _put_lanes(self, scope: Scope, part: Part, number: int) -> None:
        kind = vector_type(part.element, number)
        scope.lines.append(f"  store {kind} {part.value}, ptr {part.pointer}, align {part.size}")
