"""Loads that run across the rows they are stored in: squares of vectors, strip by strip.

A tile is as many rows of the result as a vector has lanes. Its elements are a square of contiguous
vectors, which log2(lanes) rounds of exchanges turn round in registers. The tiles of a strip of
columns are done one below the other: they read the same few rows, whose pages and cache lines are
still near, where a pass along whole rows would touch every row of the operand for each tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from symgraph.cpu.kernels.columns import Columns
from symgraph.cpu.kernels.scope import Body, Scope, Vector
from symgraph.cpu.text import memory_type, vector_type
from symgraph.dims.bounds import divides
from symgraph.loops.expr import Axis, Buffer, Expr, Size, walk
from symgraph.loops.schedule import coefficient, turns_round
from symgraph.loops.statements import Store

FEW = 2  # columns of a rest that are stored one by one: a square is some 150 instructions


class Transposes(Columns):
    """Emits nests whose vectors run across the rows of what they load."""

    _squares: dict[tuple[Buffer, Expr], tuple[Expr, int]]  # the first row of a load, and its place
    _strip: tuple[str, str] | None = None  # where it begins and ends
    _around_tiles: Scope  # of the strip: what all its tiles share is done there
    _tiles: Axis  # the loop over whole tiles
    _in_tiles = False  # of as many rows as a vector has lanes

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
        whole = vector is not None and vector.lanes == self.schedule.lanes
        if square is None or not whole or guard is not None:
            return super()._load_lanes(scope, buffer, address, guard, guarded, moves)
        start, row = square
        if (start, buffer, 0) not in scope.env:
            for k, value in enumerate(self._square(scope, buffer, start)):
                scope.env[start, buffer, k] = value
        return scope.env[start, buffer, row]

    def _square(self, scope: Scope, buffer: Buffer, start: Expr) -> list[str]:
        """Load a square of contiguous vectors, return its columns."""
        vector = scope.vector
        assert vector is not None
        lanes = vector.lanes
        if vector.mask is None:
            pointers = self._lane_pointers(scope, buffer, start)
        else:
            pointers = self._first_rows(scope, buffer, start, vector)
        kind = vector_type(memory_type(buffer.dtype), lanes)
        rows = [self._new(scope, self._load_text(buffer, p, lanes)) for p in pointers]
        for bit, orders in _rounds(lanes, buffer.dtype.bits):
            for k in (k for k in range(lanes) if not k & bit):
                pair = rows[k], rows[k + bit]
                rows[k], rows[k + bit] = (
                    self._new(
                        scope,
                        f"shufflevector {kind} {pair[0]}, {kind} {pair[1]}, "
                        f"<{lanes} x i32> <{', '.join(f'i32 {i}' for i in order)}>",
                    )
                    for order in orders
                )
        return rows

    def _first_rows(self, scope: Scope, buffer: Buffer, start: Expr, vector: Vector) -> list[str]:
        """Return pointers to the rows of a square of which only the first ones count.

        The others are the last of these: what is computed of them is not stored.
        """
        step = coefficient(start, vector.axis)
        assert step is not None and vector.count is not None
        places = self._first_places(step, vector.count, vector.lanes)
        element, first = memory_type(buffer.dtype), self.pointer(buffer, start, scope)
        return [self._gep(scope, element, first, at) for at in places]

    def _copies(self, stores: Sequence[Store], axis: Axis, places: Sequence[Expr]) -> list[Store]:
        """Return the stores of a tile, one of each kind per place along the axis."""
        raise NotImplementedError

    def _first_places(self, step: Size, count: str, lanes: int) -> Iterator[str]:
        """Yield where rows begin that are `step` elements apart, the last of `count` repeated."""
        home = self._around_tiles
        last = str(int(count) - 1) if count.isdigit() else None
        for k in range(lanes):
            key = ("place in the rest", step, count, k)
            if key not in home.env:
                if last is None:
                    last = self._new(home, f"sub nsw i64 {count}, 1")
                if last.isdigit():
                    row = str(min(k, int(last)))
                else:
                    test = self._new(home, f"icmp sgt i64 {last}, {k}")
                    row = self._new(home, f"select i1 {test}, i64 {k}, i64 {last}")
                home.env[key] = self._new(home, f"mul i64 {row}, {self._size(step)}")
            yield home.env[key]

    def _strips(self, scope: Scope, shared: bool, inside: Callable[[Scope], None]) -> None:
        """Emit `inside` in a loop over strips of the vector axis, which threads may share."""
        axis = self.schedule.vector
        assert axis is not None
        width, extent = self.schedule.strip, self._size(axis.extent)
        if isinstance(axis.extent, int) and axis.extent <= width:
            self._strip, self._around_tiles = ("0", extent), scope
            inside(scope)
            return
        strips = self.builder.axis(f"{axis.name}s", (axis.extent + (width - 1)) // width)

        def body(inner: Scope, _: list[str]) -> list[str]:
            begin = self._new(inner, f"mul i64 {inner.positions[strips]}, {width}")
            end = self._new(inner, f"add i64 {begin}, {width}")
            last = self._new(inner, f"icmp sgt i64 {end}, {extent}")
            self._strip = begin, self._new(inner, f"select i1 {last}, i64 {extent}, i64 {end}")
            self._around_tiles = inner
            inside(inner)
            return []

        self._loop(scope, strips, ("%begin", "%end") if shared else None, body)

    def _strip_loop(self, scope: Scope, axis: Axis, body: Body) -> None:
        """Emit the loop over the columns of a strip."""
        assert self._strip is not None
        lanes = self.schedule.lanes
        begin, end = self._strip
        if divides(lanes, axis.extent):
            self._loop(scope, axis, self._strip, body, (), lanes, Vector(axis, lanes, None))
        elif self._in_tiles and not end.isdigit():
            around = self._around_tiles
            span = self._new(around, f"sub i64 {end}, {begin}")
            whole = self._new(around, f"and i64 {span}, {-lanes}")
            main = self._new(around, f"add i64 {begin}, {whole}")
            least = FEW if self._needs_scalar_tail(axis) else 0
            few = self._new(around, f"add i64 {main}, {least}")
            many = self._new(around, f"icmp slt i64 {few}, {end}")
            first = self._new(around, f"select i1 {many}, i64 {end}, i64 {main}")
            vector = self._rest_vector(around, axis, lanes, (main, end))
            self._loop(scope, axis, (begin, main), body, (), lanes, Vector(axis, lanes, None))
            self._square_rest(scope, vector, main, many, body)
            self._loop(scope, axis, (first, end), self._column, (), 1, Vector(axis, 1, None))
        else:
            self._vector_loop(scope, axis, lanes, self._strip, body)

    def _column(self, scope: Scope, _: list[str]) -> list[str]:
        """Emit a loop over the rows of a tile in one column."""
        s, axis, tile = self.builder, self.schedule.unroll, self.schedule.tile
        assert axis is not None
        rows = s.axis(f"{axis.name}u", tile)
        place = s.iadd(s.imul(s.at(self._tiles), tile), s.at(rows))
        stores = self._copies(self.nest.stores, axis, [place])

        def body(inner: Scope, _: list[str]) -> list[str]:
            self._stores(inner, stores)
            return []

        self._loop(scope, rows, None, body)
        return []

    def _square_rest(
        self, scope: Scope, vector: Vector, first: str, test: str, body: Body
    ) -> None:
        """One masked turn over the rest of the columns, from `first` on, if the test holds."""
        inner = Scope(scope, "", scope.bits | vector.axis.bit, vector)
        inner.label = inner.entry = self._label("square")
        inner.positions[vector.axis] = first
        body(inner, [])
        exit_ = self._label("done")
        scope.lines.append(f"  br i1 {test}, label %{inner.entry}, label %{exit_}")
        scope.lines.extend([f"{inner.entry}:", *inner.lines, f"  br label %{exit_}", f"{exit_}:"])
        scope.label = exit_


def _rounds(lanes: int, bits: int) -> Iterator[tuple[int, tuple[list[int], list[int]]]]:
    """Yield the rounds that turn a square round: rows k and k + bit become two other vectors.

    In each, a bit of the row's number becomes one of the place in the vector, and the other way
    round. Every order of lanes is a single instruction: interleaving within 16 bytes first, then
    taking every other 16 bytes of both.
    """
    near = min(lanes, 128 // bits)
    bit = near // 2
    while bit:
        halves = (range(0, near // 2), range(near // 2, near))
        low, high = (
            [
                at + k
                for start in range(0, lanes, near)
                for k in half
                for at in (start, lanes + start)
            ]
            for half in halves
        )
        yield bit, (low, high)
        bit //= 2
    bit = near
    while bit < lanes:
        even, odd = (
            [
                at + start + k
                for at in (0, lanes)
                for start in range(first, lanes, 2 * near)
                for k in range(near)
            ]
            for first in (0, near)
        )
        yield bit, (even, odd)
        bit *= 2
