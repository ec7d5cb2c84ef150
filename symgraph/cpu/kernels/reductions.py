"""Reductions: loops with accumulators, along the lanes or across them, and running ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.cpu.kernels.ends import Ends
from symgraph.cpu.kernels.extrema import ORDERED, Extrema
from symgraph.cpu.kernels.rows import own_values
from symgraph.cpu.kernels.scope import Scope, Vector
from symgraph.cpu.kernels.search import Searches, first_position
from symgraph.cpu.text import cast_instruction, identity, register_type, splat, vector_type
from symgraph.dims.bounds import divides
from symgraph.loops.expr import SUMS, Axis, Buffer, Expr, walk
from symgraph.loops.schedule import SHUFFLE_STRIDE, element_bytes, fit_lanes, stride
from symgraph.loops.statements import Store

LONG_BODY = 12  # cost of a reduction's body from which two accumulators are enough
LEAST_ROW, LARGEST_ROW = 1 << 10, 1 << 15  # bytes of rows of which the next one is fetched ahead
CACHE_LINE = 64
NO_REDUCTION = 1 << 30  # the depth of what is stored: deeper than any reduction
DEARER = 10  # operations by which a later loop over a row is dear beside an earlier one
REDUCE_REGISTERS = 4  # accumulators of a vectorised reduction: hides the latency of an add


class Reductions(Searches, Extrema, Ends):
    """Emits the loops of reductions; those over the same axes at one place share a loop."""

    _reductions: list[Expr]
    _depths: dict[Expr, int]
    _running_group: Sequence[Expr] = ()  # the reductions whose loop is being emitted
    _depth = NO_REDUCTION  # their depth

    def _find_reductions(self, values: Sequence[Expr]) -> None:
        """List all reductions and how deeply they depend on each other."""
        self._reductions, self._depths = [], {}
        self._add_reductions(values)

    def _add_reductions(self, values: Sequence[Expr]) -> None:
        """Add the reductions in expressions that are met later to those that are known."""
        depth = self._depths
        for e in walk(values):
            if e in depth:
                continue
            below = max((depth[a] for a in e.args), default=0)
            depth[e] = below + (e.op == "reduce")
            if e.op == "reduce":
                self._reductions.append(e)

    def _reduce(self, e: Expr, home: Scope) -> None:
        """Emit the loop of a reduction, together with all others that can share it."""
        moves = home.vector is not None and bool(e.free & home.vector.axis.bit)
        if not moves and self._seeks(e):
            home.env[e] = self._search(e, home)
            return
        group = self._group(e, home)
        kind_axes: tuple[Axis, ...] = e.data[1]
        around = self._running_group, self._depth
        self._running_group, self._depth = group, self._depths[e]
        if home.vector is not None and any(g.free & home.vector.axis.bit for g in group):
            self._reduce_lanes(group, kind_axes, home)
        else:
            self._reduce_across(group, kind_axes, home)
        self._running_group, self._depth = around

    def _group(self, e: Expr, home: Scope) -> list[Expr]:
        """Return the reductions over the same axes, at the same place and depth, not done yet."""
        depth = self._depths
        moves = home.vector is not None and bool(e.free & home.vector.axis.bit)
        return [
            r
            for r in self._reductions
            if r.data[1] == e.data[1]
            and _in_order([r]) == _in_order([e])
            and r not in home.env
            and depth[r] == depth[e]
            and home.home(r.free) is home
            and (home.vector is not None and bool(r.free & home.vector.axis.bit)) == moves
            and not r.free & ~home.bits
            and (moves or not self._seeks(r))
        ]

    @staticmethod
    def _seeks(r: Expr) -> bool:
        """Tell whether a reduction is the search for a first position."""
        return first_position(r) is not None

    def _reduce_lanes(self, group: list[Expr], axes: tuple[Axis, ...], home: Scope) -> None:
        """Accumulate per lane of the vector axis around; the reduced axes are plain loops."""
        assert home.vector is not None
        lanes = home.vector.lanes
        carried = self._starts(group, lanes)
        if not _in_order(group) and self._short_rows(group, axes, home.vector.axis):
            for r, (_, start) in zip(group, carried, strict=True):
                home.env[r] = self._pairwise(r, home, start, lanes)
            return
        if self.schedule.chains > 1:
            values = self._in_turn(group, axes[0], home, carried, lanes)
        else:
            values = self._reduce_loops(home, list(axes), group, carried, lanes)
        for r, value in zip(group, values, strict=True):
            home.env[r] = value

    @staticmethod
    def _short_rows(group: list[Expr], axes: tuple[Axis, ...], vector: Axis) -> bool:
        """Tell whether the lanes are rows so short that a vector holds several of them.

        With sizes not known a vector would run along the row: the order is kept as it is there.
        """
        (axis, *more) = axes
        extent = axis.extent
        if more or not isinstance(extent, int) or not 1 < extent <= SHUFFLE_STRIDE:
            return False
        loads = [e for e in walk([r.args[0] for r in group]) if e.op == "load"]
        return any(
            stride(e.args[0], axis) == 1 and stride(e.args[0], vector) == extent for e in loads
        )

    def _pairwise(self, r: Expr, home: Scope, start: str, lanes: int) -> str:
        """Combine the few values of each row as the lanes of a vector would be combined."""
        (axis,) = r.data[1]
        terms: list[str] = []
        for k in range(axis.extent):
            body = self.builder.replace(r.args[0], {axis: k}, {})
            self._add_reductions([body])  # those inside are others now: of element k
            point = self.builder.reduce(r.data[0], r.data[1], body)
            terms.append(self._step(home, point, start, lanes))
        half = 1 << (len(terms) - 1).bit_length() >> 1
        while half:
            for k in range(half, len(terms)):
                terms[k - half] = self._combine(
                    home, r.data[0], r.dtype, lanes, terms[k - half], terms[k]
                )
            terms, half = terms[:half], half // 2
        return terms[0]

    def _in_turn(
        self, group: list[Expr], axis: Axis, home: Scope, carried: Any, lanes: int
    ) -> list[str]:
        """Accumulate in several chains, each of which takes every so many-th term of a sum."""
        chains, end = self.schedule.chains, self._size(axis.extent)
        if end.isdigit():
            whole = str(int(end) - int(end) % chains)
        else:
            whole = self._new(home, f"and i64 {end}, {-chains}")

        def turn(scope: Scope, values: list[str], places: Sequence[Expr]) -> list[str]:
            new = list(values)
            for c, at in enumerate(places):
                for k, r in enumerate(group, c * len(group)):
                    body = self.builder.replace(r.args[0], {axis: at}, {})
                    point = self.builder.reduce(r.data[0], r.data[1], body)
                    new[k] = self._step(scope, point, values[k], lanes)
            return new

        s = self.builder
        following = [s.iadd(s.at(axis), c) for c in range(chains)]
        values = self._loop(
            home,
            axis,
            ("0", whole),
            lambda scope, now: turn(scope, now, following),
            list(carried) * chains,
            chains,
        )
        if end.isdigit():
            values = turn(home, values, [s.index(k) for k in range(int(whole), int(end))])
        else:  # one by one, each of which waits for the one before it
            first = [(kind, v) for (kind, _), v in zip(carried, values, strict=False)]
            one = partial(turn, places=[s.index(s.at(axis))])
            values[: len(group)] = self._loop(home, axis, (whole, end), one, first)
        sums = [values[k :: len(group)] for k in range(len(group))]
        return [self._joined(home, r, lanes, v) for r, v in zip(group, sums, strict=True)]

    def _starts(self, group: list[Expr], lanes: int) -> list[tuple[str, str]]:
        result = []
        for r in group:
            if r.data[0] == ORDERED:
                result.append(self._all_ordered(r, lanes))
                continue
            element = register_type(r.dtype)
            start = splat(element, identity(r.data[0], r.dtype), lanes)
            result.append((vector_type(element, lanes), start))
        return result

    def _reduce_loops(
        self, scope: Scope, axes: list[Axis], group: list[Expr], carried: Any, lanes: int
    ) -> list[str]:
        """Plain nested loops that carry the accumulators."""
        axis, rest = axes[0], axes[1:]

        def body(inner: Scope, values: list[str]) -> list[str]:
            if rest:
                pairs = [(t, v) for (t, _), v in zip(carried, values, strict=True)]
                return self._reduce_loops(inner, rest, group, pairs, lanes)
            return [self._step(inner, r, v, lanes) for r, v in zip(group, values, strict=True)]

        return self._loop(scope, axis, None, body, carried)

    def _step(self, scope: Scope, r: Expr, old: str, lanes: int) -> str:
        """Combine the accumulator with the value at this point (a product is added by one fma)."""
        kind, value = r.data[0], r.args[0]
        if kind == ORDERED:
            return self._still_ordered(scope, r, old, self._wide(value, scope, lanes), lanes)
        if kind in SUMS and value.op == "mul" and r.dtype in (FLOAT32, FLOAT64):
            x, y = (self._wide(a, scope, lanes) for a in value.args)
            t = vector_type(register_type(r.dtype), lanes)
            new = self._call(scope, "fma", register_type(r.dtype), lanes, [x, y, old])
        else:
            t = vector_type(register_type(r.dtype), lanes)
            new = self._combine(scope, kind, r.dtype, lanes, old, self._wide(value, scope, lanes))
        mask = scope.vector.mask if scope.vector is not None else None
        if mask is not None and scope.vector is not None and scope.vector.axis in r.data[1]:
            new = self._new(scope, f"select <{lanes} x i1> {mask}, {t} {new}, {t} {old}")
        return new

    def _wide(self, e: Expr, scope: Scope, lanes: int) -> str:
        return self.splatted(e, scope) if lanes > 1 else self.value(e, scope)

    def _reduce_across(self, group: list[Expr], axes: tuple[Axis, ...], home: Scope) -> None:
        """Vectorise along one of the reduced axes and combine the lanes at the end."""
        axis = self._reduction_axis(group, axes)
        outer = [a for a in axes if a is not axis]
        bodies = walk([r.args[0] for r in group])
        base = max(1, self.vector_bytes // element_bytes(bodies))
        lanes = fit_lanes(base * REDUCE_REGISTERS, max(1, base // 4), axis.extent)
        if lanes == 1 or _in_order(group) or (isinstance(axis.extent, int) and axis.extent < 2):
            values = self._reduce_loops(home, list(axes), group, self._starts(group, 1), 1)
            for r, value in zip(group, values, strict=True):
                home.env[r] = value
            return
        turn = lanes if outer else min(lanes, base * self._registers(group, axes))
        parts = [part for r in group for part in self._parts(r)]
        carried = self._starts(parts, turn) * (lanes // turn)
        values = self._across_loops(home, outer, axis, parts, carried, turn)
        found: dict[Expr, str] = {}
        for k, part in enumerate(parts):
            found[part] = self._joined(home, part, turn, values[k :: len(parts)])
        for r in group:
            home.env[r] = self._across(home, r, [found[part] for part in self._parts(r)], turn)

    def _registers(self, group: list[Expr], axes: tuple[Axis, ...]) -> int:
        """Return how many vectors of a row a turn of the loop takes.

        The row has REDUCE_REGISTERS accumulators in any case, so that the order of a sum does not
        depend on what is fused into its loop: a shorter turn takes them in rotation.
        """
        alike = max(1, len(group) // self.schedule.tile)
        registers = max(1, REDUCE_REGISTERS // alike)
        if max(_moving_cost(r.args[0], axes) for r in group) > LONG_BODY:
            return min(registers, 2)  # its own latency is hidden already, its code is long
        return 1 << (registers.bit_length() - 1)

    def _joined(self, home: Scope, r: Expr, lanes: int, values: list[str]) -> str:
        """Combine the accumulators that were taken in rotation.

        Each meets the one half a rotation away, so it does not matter where the rotation ended.
        """
        while len(values) > 1:
            half = len(values) // 2
            pairs = zip(values[:half], values[half:], strict=True)
            values = [self._both(home, r, lanes, a, b) for a, b in pairs]
        return values[0]

    def _reduction_axis(self, group: list[Expr], axes: tuple[Axis, ...]) -> Axis:
        """Return the reduced axis along which most loads are contiguous."""
        loads = [e for e in walk([r.args[0] for r in group]) if e.op == "load"]

        def score(axis: Axis) -> int:
            steps = [stride(e.args[0], axis) for e in loads]
            gain = sum(2 if c in (1, -1) else (0 if c == 0 else -2) for c in steps)
            return gain - (6 if isinstance(axis.extent, int) and axis.extent < 4 else 0)

        return max(reversed(axes), key=score)

    def _across_loops(
        self,
        scope: Scope,
        outer: list[Axis],
        axis: Axis,
        group: list[Expr],
        carried: Any,
        lanes: int,
    ) -> list[str]:
        if outer:

            def around(inner: Scope, values: list[str]) -> list[str]:
                pairs = [(t, v) for (t, _), v in zip(carried, values, strict=True)]
                return self._across_loops(inner, outer[1:], axis, group, pairs, lanes)

            return self._loop(scope, outer[0], None, around, carried)

        ahead = self._following_rows(axis, group, lanes)

        def body(inner: Scope, values: list[str]) -> list[str]:
            for load, distance in ahead:
                self._fetch(inner, load, distance, lanes)
            now, later = values[: len(group)], values[len(group) :]
            taken = [self._step(inner, r, v, lanes) for r, v in zip(group, now, strict=True)]
            return [*later, *taken]

        least = max(1, self.vector_bytes // element_bytes(walk([r.args[0] for r in group])))
        if self._short(axis, lanes) or divides(lanes, axis.extent) or lanes <= least:
            return self._vector_loop(scope, axis, lanes, None, body, carried)
        end = self._size(axis.extent)
        whole = self._new(scope, f"and i64 {end}, {-lanes}")
        full = Vector(axis, lanes, None)
        values = self._loop(scope, axis, ("0", whole), body, carried, lanes, full)
        now = self._rest_of_row(scope, axis, (whole, end), group, values, (lanes, least))
        return [*values[len(group) :], *now]

    def _following_rows(self, axis: Axis, group: list[Expr], lanes: int) -> list[tuple[Expr, int]]:
        """Return the loads of a row that is gone through more than once, and the bytes to the next.

        While the other loops work on a row, nothing asks for the one after it, and a core does not
        look ahead beyond a page.
        """
        running = self._running_group
        several = len(self._reductions) > len(running) or len(self.schedule.order) > 1
        rows = self.schedule.order[0] if self.schedule.order else None
        if not several or rows is None:
            return []
        depth = min(self._depths[r] for r in running)
        found: dict[Expr, int] = {}
        for e in own_values([r.args[0] for r in group]):  # a sum in them has loops of its own
            if e.op != "load" or stride(e.args[0], axis) != 1 or depth != self._asking(e.data):
                continue
            step, size = stride(e.args[0], rows), e.data.dtype.itemsize
            if isinstance(step, int) and LEAST_ROW <= step * size <= LARGEST_ROW:
                found[e] = step * size
        return list(found.items()) if lanes > 1 else []

    def _asking(self, buffer: Buffer) -> int:
        """Return the depth of the loop that asks for the next row: the first dear one."""
        readers = [
            r for r in self._reductions
            if any(e.op == "load" and e.data is buffer for e in own_values([r.args[0]]))
        ]  # fmt: skip
        most = max(r.args[0].cost for r in readers)
        return min(self._depths[r] for r in readers if r.args[0].cost >= most - DEARER)

    def _fetch(self, scope: Scope, load: Expr, distance: int, lanes: int) -> None:
        """Ask for the elements of a load some bytes further on, for the first-level cache."""
        at = self.pointer(load.data, load.args[0], scope)
        self.declared.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for line in range(0, lanes * load.data.dtype.itemsize, CACHE_LINE):
            there = self._new(scope, f"getelementptr i8, ptr {at}, i64 {distance + line}")
            scope.lines.append(f"  call void @llvm.prefetch.p0(ptr {there}, i32 0, i32 3, i32 1)")

    def _running(
        self,
        scope: Scope,
        axis: Axis,
        stores: Sequence[Store],
        bounds: tuple[str, str] | None = None,
    ) -> None:
        """Loop in order, storing the running combination at each point.

        With `bounds` a part of the points is done; it goes on from what the part before stored.
        """
        kind = self.nest.scan or "sum"
        vector = scope.vector
        lanes = vector.lanes if vector is not None else 1
        dtypes = [t.value.dtype for t in stores]
        types = [vector_type(register_type(d), lanes) for d in dtypes]
        first = "sum" if kind == "linear" else kind
        starts = [splat(register_type(d), identity(first, d), lanes) for d in dtypes]
        if bounds is not None:
            starts = [
                self._stored_before(scope, axis, t, bounds[0], start)
                for t, start in zip(stores, starts, strict=True)
            ]

        def body(inner: Scope, values: list[str]) -> list[str]:
            result = []
            for t, old, dtype in zip(stores, values, dtypes, strict=True):
                if kind == "linear":
                    inner.env[t.value.args[1]] = old
                new = self.splatted(t.value, inner) if lanes > 1 else self.value(t.value, inner)
                if kind != "linear":
                    new = self._combine(inner, kind, dtype, lanes, old, new)
                stored = new
                if t.buffer.dtype is not dtype:
                    to = vector_type(register_type(t.buffer.dtype), lanes)
                    op = cast_instruction(dtype, t.buffer.dtype)
                    stored = self._new(inner, f"{op} {types[0]} {new} to {to}")
                parts = self._store(inner, Store(t.buffer, t.address, t.value), stored)
                self._store_first(inner, inner.vector, parts)
                result.append(new)
            return result

        self._loop(scope, axis, bounds, body, list(zip(types, starts, strict=True)))

    def _stored_before(self, scope: Scope, axis: Axis, t: Store, begin: str, start: str) -> str:
        """Return what was stored before the point `begin`, and `start` at the first point."""
        before = self._new(scope, f"sub nsw i64 {begin}, 1")
        first = self._new(scope, f"icmp slt i64 {before}, 0")
        inner = Scope(scope, scope.label, scope.bits | axis.bit, None)
        inner.entry = inner.label = self._label("before")
        inner.positions[axis] = self._new(scope, f"select i1 {first}, i64 0, i64 {before}")
        value = self._load_at(inner, t.buffer, t.address, None)
        (stored,) = self._append(scope, inner, [value])
        kind = register_type(t.buffer.dtype)
        return self._new(scope, f"select i1 {first}, {kind} {start}, {kind} {stored}")


def _in_order(group: Sequence[Expr]) -> bool:
    return any(r.data[0] == "dot" for r in group)


def _moving_cost(value: Expr, axes: Sequence[Axis]) -> int:
    """Count the operations in a tree that depend on some axes.

    What does not is done outside of their loops, and may differ where a size is a number.
    """
    bits = sum(a.bit for a in axes)
    cost: dict[Expr, int] = {}
    for e in walk([value]):
        own = e.cost - sum(a.cost for a in e.args)
        moves = e.free & bits and e.op not in ("axis", "affine")
        cost[e] = (own if moves else 0) + sum(cost[a] for a in e.args)
    return cost[value]
