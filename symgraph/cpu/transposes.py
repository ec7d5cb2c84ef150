"""Loads that run across the rows they are stored in: squares of vectors, strip by strip.

A tile is as many rows of the result as a vector has lanes. Its elements are a square of contiguous
vectors, which log2(lanes) rounds of interleaving turn round in registers. The tiles of a strip of
columns are done one below the other: they read the same few rows, whose pages and cache lines are
still near, where a pass along whole rows would touch every row of the operand for each tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symgraph.cpu.columns import Columns
from symgraph.cpu.scope import Body, Scope, Vector
from symgraph.cpu.text import memory_type, vector_type
from symgraph.loops.expr import Axis, Buffer, Expr, walk
from symgraph.loops.schedule import turns_round
from symgraph.loops.statements import Store


class Transposes(Columns):
    """Emits nests whose vectors run across the rows of what they load."""

    _squares: dict[tuple[Buffer, Expr], tuple[Expr, int]]  # the first row of a load, and its place
    _strip: tuple[str, str, bool] | None = None  # begin, end, and whether vectors fill it

    def _find_squares(self, stores: Sequence[Store], axis: Axis, places: Sequence[Expr]) -> None:
        """Note the loads of a tile that are the rows of a square, `places` being its rows."""
        vector = self.schedule.vector
        if not self.schedule.strip or len(places) != self.schedule.lanes or vector is None:
            return
        s = self.builder
        for e in walk([t.value for t in stores]):
            if turns_round(e, axis, vector):
                rows = [s.replace(e.args[0], {axis: at}, {}) for at in places]
                for k, row in enumerate(rows):
                    self._squares[e.data, row] = rows[0], k

    def _load_lanes(
        self, scope: Scope, buffer: Buffer, address: Expr, guard: Any, guarded: bool, moves: bool
    ) -> str:
        """Take a row of a square where it is one, else go lane by lane."""
        vector, square = scope.vector, self._squares.get((buffer, address))
        whole = vector is not None and vector.mask is None and vector.lanes == self.schedule.lanes
        if square is None or not whole or guard is not None:
            return super()._load_lanes(scope, buffer, address, guard, guarded, moves)
        start, row = square
        if (start, buffer, 0) not in scope.env:
            for k, value in enumerate(self._square(scope, buffer, start)):
                scope.env[start, buffer, k] = value
        return scope.env[start, buffer, row]

    def _square(self, scope: Scope, buffer: Buffer, start: Expr) -> list[str]:
        """Load a square of contiguous vectors, return its columns."""
        pointers = self._lane_pointers(scope, buffer, start)
        lanes = len(pointers)
        kind = vector_type(memory_type(buffer.dtype), lanes)
        rows = [self._new(scope, self._load_text(buffer, p, lanes)) for p in pointers]
        half = lanes // 2
        low = [i for k in range(half) for i in (k, k + lanes)]
        orders = [", ".join(f"i32 {i + at}" for i in low) for at in (0, half)]
        for _ in range(lanes.bit_length() - 1):
            rows = [
                self._new(scope, f"shufflevector {kind} {a}, {kind} {b}, <{lanes} x i32> <{order}>")
                for a, b in zip(rows[:half], rows[half:], strict=True)
                for order in orders
            ]
        return rows

    def _strips(self, scope: Scope, inside: Callable[[Scope], None]) -> None:
        """Emit `inside` for each strip of the vector axis, then for the columns that are left."""
        axis = self.schedule.vector
        assert axis is not None
        width, s = self.schedule.strip, self.builder
        whole = axis.extent // width
        rest = axis.extent - whole * width
        strips = s.axis(f"{axis.name}s", whole)

        def body(inner: Scope, _: list[str]) -> list[str]:
            begin = self._new(inner, f"mul i64 {inner.positions[strips]}, {width}")
            self._strip = begin, self._new(inner, f"add i64 {begin}, {width}"), True
            inside(inner)
            return []

        self._loop(scope, strips, None, body)
        if rest != 0:
            self._strip = self._size(whole * width), self._size(axis.extent), False
            inside(scope)
        self._strip = None

    def _strip_loop(self, scope: Scope, axis: Axis, body: Body) -> None:
        """Emit the loop over the columns of a strip."""
        assert self._strip is not None
        begin, end, filled = self._strip
        lanes = self.schedule.lanes
        if filled:
            self._loop(scope, axis, (begin, end), body, (), lanes, Vector(axis, lanes, None))
        else:
            self._vector_loop(scope, axis, lanes, (begin, end), body)
