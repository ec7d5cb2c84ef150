"""Loops of a kernel: plain ones, whole vectors with a masked rest, single turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.cpu.kernels.operations import Operations
from symgraph.cpu.kernels.scope import Body, Scope, Vector
from symgraph.dims.bounds import divides, interval
from symgraph.loops.expr import Axis, walk
from symgraph.loops.schedule import FEW, MASKED_TURNS, SHUFFLE_STRIDE, stride, whole_stores

SCALAR_COST = 20  # of a value, up to which the rest of a transposition is done one by one


class Loops(Operations):
    """Emits loops around bodies that carry values from turn to turn."""

    whole = False  # the range that a kernel is called with is a number of whole vectors

    def _loop(
        self,
        scope: Scope,
        axis: Axis,
        bounds: tuple[str, str] | None,
        body: Body,
        carried: Sequence[tuple[str, str]] = (),
        step: int = 1,
        vector: Vector | None = None,
    ) -> list[str]:
        """Emit a loop and return the carried values after it.

        `carried` are (type, initial value); `body(scope, values)` returns the next values.
        """
        begin, end = bounds if bounds is not None else ("0", self._size(axis.extent))
        initial = [value for _, value in carried]
        static = begin.isdigit() and end.isdigit()
        if static and int(end) <= int(begin):
            return initial
        inner = Scope(scope, scope.label, scope.bits | axis.bit, vector or scope.vector)
        if static and int(end) - int(begin) <= step:
            inner.label = inner.entry = self._label("once")
            inner.positions[axis] = begin
            return self._append(scope, inner, body(inner, initial))
        head, exit_ = self._label("loop"), self._label("done")
        inner.label, position = head, self._name()
        inner.positions[axis] = self._taken(inner, axis, position, end, step)
        phis = [self._name() for _ in carried]
        following = body(inner, phis)
        after, test = self._name(), self._name()
        inner.lines.append(f"  {after} = add nsw i64 {position}, {step}")
        inner.lines.append(f"  {test} = icmp slt i64 {after}, {end}")
        inner.lines.append(f"  br i1 {test}, label %{head}, label %{exit_}")
        if static:
            before = scope.label
            scope.lines.append(f"  br label %{head}")
        else:
            some = self._new(scope, f"icmp slt i64 {begin}, {end}")
            before = scope.label
            scope.lines.append(f"  br i1 {some}, label %{head}, label %{exit_}")
        edges = f"%{before} ], [ {{}}, %{inner.label} ]"
        scope.lines.append(f"{head}:")
        scope.lines.append(f"  {position} = phi i64 [ {begin}, " + edges.format(after))
        for (kind, value), phi, new in zip(carried, phis, following, strict=True):
            scope.lines.append(f"  {phi} = phi {kind} [ {value}, " + edges.format(new))
        scope.lines.extend(inner.lines)
        scope.lines.append(f"{exit_}:")
        scope.label = exit_
        if static:
            return following
        return self._merge(scope, carried, following, before, inner.label)

    def _taken(self, scope: Scope, axis: Axis, position: str, end: str, step: int) -> str:
        """Return the place on the axis of the turn that begins at `position`."""
        return position

    def _merge(
        self, scope: Scope, carried: Any, following: Sequence[str], before: str, latch: str
    ) -> list[str]:
        """Choose between the initial and the final values where a loop may not run at all."""
        results = []
        for (kind, value), new in zip(carried, following, strict=True):
            name = self._name()
            scope.lines.append(f"  {name} = phi {kind} [ {value}, %{before} ], [ {new}, %{latch} ]")
            results.append(name)
        return results

    def _append(self, scope: Scope, inner: Scope, values: list[str]) -> list[str]:
        """Put straight code of an inner scope behind the outer one, as a block of its own.

        Work that was hoisted out of it may have added loops to the outer scope meanwhile.
        """
        scope.lines.append(f"  br label %{inner.entry}")
        scope.lines.append(f"{inner.entry}:")
        scope.lines.extend(inner.lines)
        scope.label = inner.label
        return values

    def _vector_loop(
        self,
        scope: Scope,
        axis: Axis,
        lanes: int,
        bounds: tuple[str, str] | None,
        body: Body,
        carried: Sequence[tuple[str, str]] = (),
        least: int = 0,
    ) -> list[str]:
        """Emit whole vectors, then one masked turn for the rest.

        A rest of unknown length is done in masked turns of `least` lanes, where that is given.
        """
        begin, end = bounds if bounds is not None else ("0", self._size(axis.extent))
        kinds = [kind for kind, _ in carried]
        values = [value for _, value in carried]
        if bounds is None and self._short(axis, lanes) and not self._needs_scalar_tail(axis):
            return self._short_row(scope, axis, lanes, body, values)
        if begin == "0" and end.isdigit():
            tail = int(end) % lanes
            main = str(int(end) - tail)
        elif bounds is None and divides(lanes, axis.extent) or bounds is not None and self.whole:
            main, tail = end, 0
        else:
            span = self._new(scope, f"sub i64 {end}, {begin}")
            whole = self._new(scope, f"and i64 {span}, {-lanes}")
            main, tail = self._new(scope, f"add i64 {whole}, {begin}"), -1
        if main != begin:
            full = Vector(axis, lanes, None)
            pairs = list(zip(kinds, values, strict=True))
            values = self._loop(scope, axis, (begin, main), body, pairs, lanes, full)
        if tail == 0:
            return values
        if tail > 0 and not carried:
            main, tail, lanes = self._narrower(scope, axis, lanes, main, tail, body)
            if tail == 0:
                return values
        if self._needs_scalar_tail(axis):
            pairs = list(zip(kinds, values, strict=True))
            return self._scalar_tail(scope, axis, (main, end), body, pairs)
        if tail < 0 and 0 < least < lanes and not carried:
            self._masked_turns(scope, axis, least, (main, end), body)
            return values
        return self._masked_tail(scope, axis, lanes, (main, end), tail, body, kinds, values)

    def _narrower(
        self, scope: Scope, axis: Axis, lanes: int, main: str, tail: int, body: Body
    ) -> tuple[str, int, int]:
        """Do a part of the rest in narrower vectors: (where it begins then, its length, lanes).

        Nests of many registers a turn get one more unmasked turn; others only a narrower mask.
        """
        least = max(1, self.vector_bytes // 8)
        part = 1 << (tail.bit_length() - 1)
        if part == tail >= FEW or part >= least and lanes * 4 >= 4 * self.vector_bytes:
            begin, main = main, str(int(main) + part)
            self._loop(scope, axis, (begin, main), body, (), part, Vector(axis, part, None))
            tail -= part
        while tail and lanes // 2 >= max(tail, least):
            lanes //= 2
        return main, tail, lanes

    def _masked_tail(
        self,
        scope: Scope,
        axis: Axis,
        lanes: int,
        bounds: tuple[str, str],
        count: int,
        body: Body,
        kinds: list[str],
        values: list[str],
    ) -> list[str]:
        """One masked turn over the last `count` elements (-1: not known, perhaps none)."""
        first, end = bounds
        vector = self._rest_vector(scope, axis, lanes, (first, end), count)
        inner = Scope(scope, scope.label, scope.bits | axis.bit, vector)
        inner.positions[axis] = first
        if count > 0:
            inner.label = inner.entry = self._label("rest")
            return self._append(scope, inner, body(inner, values))
        inner.label = head = self._label("tail")
        exit_ = self._label("done")
        following = body(inner, values)
        some = self._new(scope, f"icmp slt i64 {first}, {end}")
        before = scope.label
        scope.lines.append(f"  br i1 {some}, label %{head}, label %{exit_}")
        scope.lines.extend([f"{head}:", *inner.lines, f"  br label %{exit_}", f"{exit_}:"])
        scope.label = exit_
        return self._merge(
            scope, list(zip(kinds, values, strict=True)), following, before, inner.label
        )

    @staticmethod
    def _short(axis: Axis, lanes: int) -> bool:
        """Tell whether an axis of unknown length is surely one masked turn."""
        low, high = interval(axis.extent)
        known = low is not None and high is not None and not isinstance(axis.extent, int)
        return known and low >= 1 and high <= lanes  # type: ignore[operator]

    def _short_row(
        self, scope: Scope, axis: Axis, lanes: int, body: Body, values: list[str]
    ) -> list[str]:
        """One masked turn over a row that is no longer than that; all rows share the mask."""
        inner = Scope(scope, "", scope.bits | axis.bit, self._short_vector(axis, lanes))
        inner.label = inner.entry = self._label("short")
        inner.positions[axis] = "0"
        return self._append(scope, inner, body(inner, values))

    def _short_vector(self, axis: Axis, lanes: int) -> Vector:
        """Return the vector that is all of a row of unknown length."""
        root, size = self.root, self._size(axis.extent)
        key = ("short", axis.extent, lanes)
        if key not in root.env:
            root.env[key] = self._first_lanes(root, lanes, size)
        return Vector(axis, lanes, root.env[key], size)

    def _masked_turns(
        self, scope: Scope, axis: Axis, lanes: int, bounds: tuple[str, str], body: Body
    ) -> None:
        """Loop over a rest of unknown length by masked vectors that are narrower than the others.

        Most short rows are one such turn, and nothing is computed in lanes that are all idle.
        """

        def turn(inner: Scope, values: list[str]) -> list[str]:
            first = inner.positions[axis]
            inner.vector = self._rest_vector(inner, axis, lanes, (first, bounds[1]))
            return body(inner, values)

        self._loop(scope, axis, bounds, turn, (), lanes, Vector(axis, lanes, None))

    def _rest_vector(
        self, scope: Scope, axis: Axis, lanes: int, bounds: tuple[str, str], count: int = -1
    ) -> Vector:
        """Return the vector of the lanes in `bounds`: the first `count` (-1: not known)."""
        if count > 0:
            bits = ", ".join(f"i1 {'true' if k < count else 'false'}" for k in range(lanes))
            return Vector(axis, lanes, f"<{bits}>", str(count))
        rest = self._new(scope, f"sub i64 {bounds[1]}, {bounds[0]}")
        return Vector(axis, lanes, self._first_lanes(scope, lanes, rest), rest)

    def _scalar_tail(
        self, scope: Scope, axis: Axis, bounds: tuple[str, str], body: Body, carried: Any
    ) -> list[str]:
        """Run the rest one element at a time (vectors of one lane)."""
        if carried:
            raise AssertionError("a reduction always has a masked tail")
        return self._loop(scope, axis, bounds, body, (), 1, Vector(axis, 1, None))

    def _across_rows(self, axis: Axis) -> bool:
        """Tell whether vectors along an axis pick a column out of short rows."""
        loads = [e for e in walk([t.value for t in self.nest.stores]) if e.op == "load"]
        steps = [stride(e.args[0], axis) for e in loads]
        return any(c is not None and 1 < c <= SHUFFLE_STRIDE for c in steps)

    def _needs_scalar_tail(self, axis: Axis) -> bool:
        """Masked stores are cheap only for contiguous elements of 32 or 64 bits.

        Where loads run across the vector, and of a rest of unknown length, a lane each costs more.
        """
        schedule = self.schedule
        if axis is not schedule.vector:
            return False
        cheap = max(t.value.cost for t in self.nest.stores) <= SCALAR_COST
        unknown = not isinstance(axis.extent, int)
        if cheap and unknown and (schedule.strip or self._across_rows(axis)):
            return True
        stores = self.nest.stores
        return not all(whole_stores(stores, axis, MASKED_TURNS)) or any(
            t.buffer.dtype.bits < 32 or t.accumulate for t in stores
        )
