"""Lanes that lie two, three or four elements apart: whole vectors of what lies there, and shuffles.

Nothing behind the last lane is read. Without a mask the last of these vectors ends with that lane,
and so overlaps the one before; with one, each vector has a mask of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.kernels.access import ZEROS, Access
from symgraph.cpu.kernels.scope import Scope
from symgraph.cpu.text import memory_type, vector_type
from symgraph.dims.dim import substitute
from symgraph.loops.expr import Buffer, Expr, Size


class Strides(Access):
    """Emits loads of such lanes."""

    def _load_strided(
        self,
        scope: Scope,
        buffer: Buffer,
        address: Expr,
        guard: Expr | None,
        guarded: bool,
        step: int,
    ) -> str:
        """Load lanes `step` elements apart; 0 where the vector's mask or the guard is false.

        Columns of whole short rows (parts of complex numbers) share their loads.
        """
        vector = scope.vector
        assert vector is not None
        lanes, some = vector.lanes, vector.mask
        row = substitute(buffer.shape[-1], self.fixed.get) if buffer.shape else 0
        column = _column(address, step) if row == step and guard is None else None
        first = column or 0
        behind = step - 1 if column is None else 0  # elements after the last lane: not to be read
        start = self.builder.isub(address, self.builder.index(first))
        pointer = self.pointer(buffer, start, scope)
        if guard is not None:
            test = self.value(guard, scope)
            if guarded:
                kind = f"<{lanes} x i1>"
                some = test if some is None else self._new(scope, f"and {kind} {some}, {test}")
            else:
                pointer = self._new(scope, f"select i1 {test}, ptr {pointer}, ptr {ZEROS}")
        value = "poison"
        for r in range(step):
            places = [k * step + first for k in range(lanes)]
            wanted = [k for k in range(lanes) if places[k] // lanes == r]
            if not wanted:
                continue
            at = r * lanes if some else min(r * lanes, step * lanes - behind - lanes)
            key = ("piece", buffer, start, at, lanes, some)
            piece = scope.env.get(key)
            if piece is None:
                piece = self._piece(scope, buffer, pointer, at, (some, guarded, step, behind))
            if column is not None:
                scope.env[key] = piece
            order = [lanes + places[k] - at if k in wanted else k for k in range(wanted[-1] + 1)]
            value = self._picked(scope, buffer, value, piece, order)
        return value

    def _piece(
        self,
        scope: Scope,
        buffer: Buffer,
        pointer: str,
        at: int,
        masked: tuple[str | None, bool, int, int],
    ) -> str:
        """Load a vector `at` elements behind the first; what no lane needs of it may be 0."""
        vector = scope.vector
        assert vector is not None
        some, guarded, step, behind = masked
        lanes, count = vector.lanes, vector.count
        place = self._gep(scope, memory_type(buffer.dtype), pointer, str(at))
        if some is None:
            return self._load_whole(scope, buffer, place, None)
        if guarded or count is None:
            return self._load_whole(scope, buffer, place, self._spread(scope, some, at, step))
        if not count.isdigit():
            return self._load_whole(scope, buffer, place, self._first(scope, at, step, behind))
        left = min(lanes, int(count) * step - behind - at)
        if left <= 0:
            return "zeroinitializer"
        bits = ", ".join(f"i1 {'true' if k < left else 'false'}" for k in range(lanes))
        return self._load_whole(scope, buffer, place, None if left == lanes else f"<{bits}>")

    def _spread(self, scope: Scope, mask: str, at: int, step: int) -> str:
        """Return which elements of a piece belong to lanes of a mask."""
        assert scope.vector is not None
        lanes = scope.vector.lanes
        places = range(at, at + lanes)
        order = ", ".join(f"i32 {p // step if p % step == 0 else lanes}" for p in places)
        kind = f"<{lanes} x i1>"
        return self._new(
            scope, f"shufflevector {kind} {mask}, {kind} zeroinitializer, <{lanes} x i32> <{order}>"
        )

    def _first(self, scope: Scope, at: int, step: int, behind: int) -> str:
        """Return which elements of a piece belong to the lanes in range, whose number is known at
        run time only: a mask made where that number is, outside of the loops in the vector.
        """
        vector, home = scope.vector, scope
        assert vector is not None
        while home.parent is not None and home.parent.vector is vector:
            home = home.parent
        key = ("first", vector.mask, at, step, behind)
        if key not in home.env:
            end = self._new(home, f"mul i64 {vector.count}, {step}")
            left = self._new(home, f"sub i64 {end}, {behind + at}")
            home.env[key] = self._first_lanes(home, vector.lanes, left)
        return home.env[key]

    def _picked(
        self, scope: Scope, buffer: Buffer, value: str, piece: str, order: Sequence[int]
    ) -> str:
        """Return the lanes of a value, and of a piece behind it, in an order."""
        assert scope.vector is not None
        lanes = scope.vector.lanes
        kind = vector_type(memory_type(buffer.dtype), lanes)
        rest = ["i32 poison"] * (lanes - len(order))
        lanes_of = ", ".join([*(f"i32 {k}" for k in order), *rest])
        return self._new(
            scope, f"shufflevector {kind} {value}, {kind} {piece}, <{lanes} x i32> <{lanes_of}>"
        )


def _column(address: Expr, step: int) -> int | None:
    """Return the place of an address in rows of `step` elements; None where it may vary."""
    coefficients, constant = address.data
    if not all(_divides(step, c) for c in coefficients):
        return None
    if isinstance(constant, int):
        return constant % step
    column = next((c for atoms, c in constant.terms if not atoms), 0) % step
    return column if _divides(step, constant - column) else None


def _divides(step: int, n: Size) -> bool:
    """Tell whether a size is surely a multiple of `step`."""
    return n % step == 0 if isinstance(n, int) else all(c % step == 0 for _, c in n.terms)
