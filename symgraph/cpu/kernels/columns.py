"""Column reductions that walk memory in order: some rows at a time into a row of accumulators.

A loop down one block of columns touches another page at every row. Here the accumulators of many
columns lie on the stack, and each turn adds some whole rows to them, so that STREAMS arrays or rows
are read in order. Every column is still combined from the first row to the last: the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.kernels.reductions import Reductions
from symgraph.cpu.kernels.scope import Body, Scope
from symgraph.cpu.text import identity, memory_type, register_type, splat, vector_type
from symgraph.loops.expr import Axis, Expr, walk

STREAMS = 8  # rows, times arrays, read in one pass over the accumulators: a core follows as many


class Columns(Reductions):
    """Emits reductions over rows into accumulators in memory."""

    _column_count = 0

    def _columns(
        self, scope: Scope, axis: Axis, bounds: tuple[str, str] | None, finish: Body
    ) -> None:
        """Loop over blocks of columns: start, add all rows, then run `finish` per column."""
        begin, end = bounds if bounds is not None else ("0", self._size(axis.extent))
        group = self._reductions

        def block(inner: Scope, _: list[str]) -> list[str]:
            first = inner.positions[axis]
            last = self._block_end(inner, first, end)
            self._block(inner, axis, (first, last), group, finish)
            return []

        self._loop(scope, axis, (begin, end), block, (), self.schedule.block)

    def _block_end(self, scope: Scope, first: str, end: str) -> str:
        size = self.schedule.block
        if first.isdigit() and end.isdigit():
            return str(min(int(first) + size, int(end)))
        following = self._new(scope, f"add nsw i64 {first}, {size}")
        inside = self._new(scope, f"icmp slt i64 {following}, {end}")
        return self._new(scope, f"select i1 {inside}, i64 {following}, i64 {end}")

    def _block(
        self,
        scope: Scope,
        axis: Axis,
        bounds: tuple[str, str],
        group: Sequence[Expr],
        finish: Body,
    ) -> None:
        """Reduce the columns in `bounds`; `scope` binds the vector axis only to their first one."""
        first, _ = bounds
        lanes = self.schedule.lanes
        names = [self._accumulators(r) for r in group]

        def start(inner: Scope, _: list[str]) -> list[str]:
            for r, name in zip(group, names, strict=True):
                element = register_type(r.dtype)
                value = splat(element, identity(r.data[0], r.dtype), self._lanes(inner))
                self._put(inner, axis, r, name, first, value)
            return []

        def last(inner: Scope, values: list[str]) -> list[str]:
            for r, name in zip(group, names, strict=True):
                inner.env[r] = self._get(inner, axis, r, name, first)
            return finish(inner, values)

        outer = Scope(scope, scope.label, scope.bits & ~axis.bit, None)
        outer.entry = outer.label = self._label("block")
        self._vector_loop(outer, axis, lanes, bounds, start)
        self._all_rows(outer, axis, bounds, group, names)
        self._vector_loop(outer, axis, lanes, bounds, last)
        self._append(scope, outer, [])

    def _all_rows(
        self,
        scope: Scope,
        axis: Axis,
        bounds: tuple[str, str],
        group: Sequence[Expr],
        names: Sequence[str],
    ) -> None:
        """Add the rows to the accumulators, some at a time, then one by one."""
        row: Axis = group[0].data[1][0]
        loads = [e for e in walk([r.args[0] for r in group]) if e.op == "load"]
        arrays = len({e.data for e in loads if e.free & axis.bit and e.free & row.bit})
        together = STREAMS >> (max(1, arrays) - 1).bit_length()
        count = self._size(row.extent)
        if count.isdigit():
            whole = str(int(count) - int(count) % together)
        else:
            whole = self._new(scope, f"and i64 {count}, {-together}")
        s = self.builder

        def rows(number: int) -> Body:
            def columns(inner: Scope, _: list[str]) -> list[str]:
                lanes = self._lanes(inner)
                for r, name in zip(group, names, strict=True):
                    value = self._get(inner, axis, r, name, bounds[0])
                    for u in range(number):
                        body = s.replace(r.args[0], {row: s.iadd(s.at(row), u)}, {})
                        at = s.reduce(r.data[0], r.data[1], body)
                        value = self._step(inner, at, value, lanes)
                    self._put(inner, axis, r, name, bounds[0], value)
                return []

            def turn(inner: Scope, _: list[str]) -> list[str]:
                return self._vector_loop(inner, axis, self.schedule.lanes, bounds, columns)

            return turn

        self._loop(scope, row, ("0", whole), rows(together), (), together)
        self._loop(scope, row, (whole, count), rows(1))

    # -- accumulators ------------------------------------------------------------------------------
    def _accumulators(self, r: Expr) -> str:
        """Return a new row of accumulators on the stack."""
        self._column_count += 1
        name = f"%sums{self._column_count}"
        size = self.schedule.block + self.schedule.lanes
        self.stack.append(f"  {name} = alloca [{size} x {register_type(r.dtype)}], align 64")
        return name

    def _lanes(self, scope: Scope) -> int:
        return scope.vector.lanes if scope.vector is not None else 1

    def _cell(self, scope: Scope, axis: Axis, r: Expr, name: str, first: str) -> str:
        at = self._new(scope, f"sub i64 {scope.positions[axis]}, {first}")
        element = memory_type(r.dtype)
        return self._new(scope, f"getelementptr {element}, ptr {name}, i64 {at}")

    def _get(self, scope: Scope, axis: Axis, r: Expr, name: str, first: str) -> str:
        kind = vector_type(register_type(r.dtype), self._lanes(scope))
        at = self._cell(scope, axis, r, name, first)
        return self._new(scope, f"load {kind}, ptr {at}, align {r.dtype.itemsize}")

    def _put(self, scope: Scope, axis: Axis, r: Expr, name: str, first: str, value: str) -> None:
        kind = vector_type(register_type(r.dtype), self._lanes(scope))
        at = self._cell(scope, axis, r, name, first)
        scope.lines.append(f"  store {kind} {value}, ptr {at}, align {r.dtype.itemsize}")
