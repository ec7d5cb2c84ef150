"""Rows of at least one vector: the last vector ends with the row, and nothing is masked.

What it has in common with the vector before is computed twice, with the same bits. It is computed
before anything is stored, and stored at the end, since results may lie where arguments are.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.kernels.loop_text import Loops
from symgraph.cpu.kernels.scope import Body, Scope, Vector
from symgraph.cpu.kernels.stores import Stores
from symgraph.cpu.text import register_type, vector_type
from symgraph.dims.bounds import divides, interval
from symgraph.loops.expr import Axis, Expr, walk
from symgraph.loops.schedule import element_bytes, stride
from symgraph.loops.statements import Store


class Ends(Stores, Loops):
    """Emits such rows, of work that is done for each element alone."""

    _reductions: list[Expr]

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
        if bounds is None and not carried and axis is self.schedule.vector:
            exprs = walk([e for t in self.nest.stores for e in (t.value, t.address)])
            width = max(1, self.vector_bytes // element_bytes(exprs))
            if self._overlaps(axis, width, 2 * width):
                self._both_ends(scope, axis, width, body)
                return []
            loops = not self.masked_stores and not divides(lanes, axis.extent)
            if loops and self._overlaps(axis, lanes):
                self._with_end(scope, axis, lanes, body)
                return []
        return super()._vector_loop(scope, axis, lanes, bounds, body, carried, least)

    def _overlaps(self, axis: Axis, least: int, most: int | None = None) -> bool:
        """Tell whether rows are `least` to `most` long, of work whose vectors may overlap."""
        low, high = interval(axis.extent)
        if isinstance(axis.extent, int) or low is None or low < least or least < 2:
            return False
        if most is not None and (high is None or high > most):
            return False
        nest = self.nest
        if nest.scan or nest.serial:
            return False
        if any(r.free & axis.bit for r in self._reductions):
            return False  # sums of columns: each would be taken twice
        return all(stride(t.address, axis) == 1 and not t.accumulate for t in nest.stores)

    def _both_ends(self, scope: Scope, axis: Axis, lanes: int, body: Body) -> None:
        """Emit two vectors, at the beginning and at the end."""
        turns = [
            self._values_at(scope, axis, lanes, place, body)
            for place in ("0", self._last_place(axis, lanes))
        ]
        for inner, _ in turns:
            self._append(scope, inner, [])
        for inner, stores in turns:
            inner.lines = []
            self._store_all(inner, stores)
            scope.lines.extend(inner.lines)

    def _with_end(self, scope: Scope, axis: Axis, lanes: int, body: Body) -> None:
        """Emit the loop over whole vectors; what is left over is in one more, if there is any."""
        root, size, last = self.root, self._size(axis.extent), self._last_place(axis, lanes)
        key = ("left", axis.extent, lanes)
        if key not in root.env:
            rest = self._new(root, f"and i64 {size}, {lanes - 1}")
            root.env[key] = self._new(root, f"icmp ne i64 {rest}, 0")
        left = root.env[key]
        inner, stores = self._values_at(scope, axis, lanes, last, body)
        whole, late, done = self._label("whole"), self._label("late"), self._label("done")
        before = scope.label
        scope.lines += [f"  br i1 {left}, label %{inner.entry}, label %{whole}", f"{inner.entry}:"]
        scope.lines += [*inner.lines, f"  br label %{whole}", f"{whole}:"]
        scope.label = whole
        waiting = []
        for t, value in stores:
            kind = vector_type(register_type(t.value.dtype), lanes)
            edges = f"[ poison, %{before} ], [ {value}, %{inner.label} ]"
            waiting.append((t, self._new(scope, f"phi {kind} {edges}")))
        end = self._new(scope, f"and i64 {size}, {-lanes}")
        self._loop(scope, axis, ("0", end), body, (), lanes, Vector(axis, lanes, None))
        scope.lines += [f"  br i1 {left}, label %{late}, label %{done}", f"{late}:"]
        final = Scope(scope, late, scope.bits | axis.bit, Vector(axis, lanes, None))
        final.positions[axis] = last
        self._store_all(final, waiting)
        scope.lines += [*final.lines, f"  br label %{done}", f"{done}:"]
        scope.label = done

    def _last_place(self, axis: Axis, lanes: int) -> str:
        """Return where the vector begins that ends with the row."""
        key = ("last", axis.extent, lanes)
        if key not in self.root.env:
            size = self._size(axis.extent)
            self.root.env[key] = self._new(self.root, f"sub i64 {size}, {lanes}")
        return self.root.env[key]

    def _values_at(
        self, scope: Scope, axis: Axis, lanes: int, place: str, body: Body
    ) -> tuple[Scope, list[tuple[Store, str]]]:
        """Emit the values of a vector in a scope of its own; return what is to be stored."""
        inner = Scope(scope, "", scope.bits | axis.bit, Vector(axis, lanes, None))
        inner.label = inner.entry = self._label("end")
        inner.positions[axis] = place
        stores = self._later = []
        body(inner, [])
        self._later = None
        return inner, stores
