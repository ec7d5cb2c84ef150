"""Emit one scheduled nest as an LLVM function with explicit vectors.

Every expression is placed in the outermost loop in which its axes are known, so invariant work is
hoisted by construction and a reduction over a row becomes a loop of its own in front of the loop
that uses it. No LLVM pass has to find anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.cpu.kernels.rare_branches import RareBranches
from symgraph.cpu.kernels.rows import Row, Rows, find_rows
from symgraph.cpu.kernels.scope import Body, Scope
from symgraph.cpu.kernels.singles import Singles
from symgraph.cpu.kernels.transposes import Transposes
from symgraph.cpu.text import literal
from symgraph.cpu.vecmath import expanded
from symgraph.loops.expr import MATH, MATH2, Axis, Expr, Size, walk
from symgraph.loops.schedule import Schedule, element_bytes
from symgraph.loops.statements import Nest, Store, row_stores

BRANCHED = ("sin", "cos", "tan")  # reducing a huge argument takes far longer than the function


class KernelEmitter(Transposes, Rows, RareBranches, Singles):
    """Builds the text of one kernel: `void name(ptr args, i64 begin, i64 end)`.

    `args` holds the data pointers of `buffers` in order, then the values of `sizes` (symbolic
    sizes). `begin, end` bound the outermost loop when the schedule is parallel.
    """

    _filled: set[Row]  # the rows that a loop so far has written
    undivided = 0  # points of the outermost loop below which threads share none of them

    def emit(self, nest: Nest, schedule: Schedule, name: str) -> str:
        """Return the function text (declarations of intrinsics are collected in `declared`)."""
        self.write(nest, schedule)
        return self.text(name)

    def write(self, nest: Nest, schedule: Schedule, bypass: bool = False) -> None:
        """Write the body of the function; bypass: results are stored past the caches."""
        self.start(nest, schedule)
        stores = self.prepared()
        simple = not nest.serial and not nest.scan
        values = [t.value for _, part in stores for t in part]
        if simple:
            plain = [a.bit for a in schedule.order if a is not schedule.vector]
            around = self.root.bits | sum(plain) | sum(b.bit for b, _ in stores if b is not None)
            self.rows = find_rows(values, self._reductions, self._depths, around)
        self._row_buffers()
        if bypass:
            along = schedule.parallel and schedule.order[0] is schedule.vector
            size = max(t.buffer.dtype.itemsize for t in nest.stores) if along else 0
            self._both_ways(size, lambda: self._from_root(stores))
        else:
            self._from_root(stores)

    def _from_root(self, stores: list[tuple[Axis | None, list[Store]]]) -> None:
        self._filled = set()
        self._all_loops(self.root, stores, outermost=True)

    def text(self, name: str) -> str:
        """Return the text of the function whose body has been written."""
        lines = [function_head(name), "entry:", *self._arguments(), *self.stack]
        return "\n".join([*lines, *self.root.lines, "  ret void", "}", ""])

    def arguments(self) -> list[str]:
        """Return the instructions that load what a kernel is passed."""
        return self._arguments()

    def size(self, n: Size) -> str:
        """Return a size as text, which is passed to the kernel if it is no number."""
        return self._size(n)

    def start(self, nest: Nest, schedule: Schedule) -> None:
        """Turn to a nest."""
        self.nest, self.schedule = nest, schedule
        self.rows, self._filled, self._squares = {}, set(), {}

    def prepared(self) -> list[tuple[Axis | None, list[Store]]]:
        """Return the stores of the nest in parts (see `_tiled`); their reductions are known."""
        stores = self._tiled(self.nest.stores)
        every = [t for _, part in stores for t in part]
        addresses = [t.address for t in every]  # a scatter's place may be a position of a maximum
        self._find_reductions([t.value for t in every] + addresses)
        return stores

    def _arguments(self) -> list[str]:
        """Load what the kernel is passed: pointers, run-time sizes, steps of loops around it."""
        lines = []
        for k, _ in enumerate(self.buffers):
            lines.append(f"  %pb{k} = getelementptr i64, ptr %args, i64 {k}")
            lines.append(f"  %b{k} = load ptr, ptr %pb{k}, align 8")
        numbers = [f"n{k}" for k in range(len(self.sizes))]
        numbers += [f"t{k}" for k in range(len(self.around))]
        for at, name in enumerate(numbers, len(self.buffers)):
            lines.append(f"  %p{name} = getelementptr i64, ptr %args, i64 {at}")
            lines.append(f"  %{name} = load i64, ptr %p{name}, align 8")
        return lines

    # -- loops around the stores -------------------------------------------------------------------
    def _tiled(self, stores: Sequence[Store]) -> list[tuple[Axis | None, list[Store]]]:
        """Return the stores per part of the tiled axis: the full tiles, and the rest."""
        axis, tile = self.schedule.unroll, self.schedule.tile
        if axis is None or tile == 1:
            return [(None, list(stores))]
        s = self.builder
        extent = axis.extent
        whole = extent // tile
        rest = extent - whole * tile
        self._tiles = s.axis(f"{axis.name}b", whole)
        parts: list[tuple[Axis | None, list[Store]]] = []
        if whole != 0:
            starts = [s.iadd(s.imul(s.at(self._tiles), tile), u) for u in self._places(tile)]
            parts.append((self._tiles, self._copies(stores, axis, starts)))
        if isinstance(rest, int) and rest:
            last = s.axis(f"{axis.name}b", 1)
            starts = [s.index(whole * tile + u) for u in range(rest)]
            parts.append((last, self._copies(stores, axis, starts)))
        elif rest != 0 and self.nest.scan:  # not known: as many rows as there are, at once
            for rows in range(1, tile):
                here = (rest + (tile - rows)) // tile - (rest + (tile - rows - 1)) // tile
                last = s.axis(f"{axis.name}r", here)  # one turn if the rest is so many rows
                starts = [s.index(whole * tile + u) for u in range(rows)]
                parts.append((last, self._copies(stores, axis, starts)))
        elif rest != 0:  # not known: row by row
            last = s.axis(f"{axis.name}r", rest)
            parts.append((last, self._copies(stores, axis, [s.iadd(s.at(last), whole * tile)])))
        return parts

    def _places(self, tile: int) -> Sequence[int]:
        """Return the iterations of a tile in the order in which they are written."""
        return range(tile)

    def _copies(self, stores: Sequence[Store], axis: Axis, places: Sequence[Expr]) -> list[Store]:
        """Return the stores of a tile, one of each kind per place along the axis."""
        self._find_squares(stores, axis, places)
        s = self.builder
        copies = []
        for at in places:
            memo: dict[Expr, Expr] = {}
            for t in stores:
                address = s.replace(t.address, {axis: at}, memo)
                value = s.replace(t.value, {axis: at}, memo)
                copies.append(Store(t.buffer, address, value, t.guard, t.accumulate))
        return copies

    def _all_loops(
        self,
        scope: Scope,
        parts: list[tuple[Axis | None, list[Store]]],
        outermost: bool = False,
    ) -> None:
        """Emit all loops of the nest around the stores, in a loop over strips where it has any."""
        loops = list(self.schedule.order)
        if self.schedule.strip:
            shared = self.schedule.shared_strips and outermost
            rows = outermost and not shared
            self._strips(scope, shared, lambda inner: self._loops(inner, loops, parts, rows))
        else:
            self._loops(scope, loops, parts, outermost)

    def _loops(
        self,
        scope: Scope,
        axes: list[Axis],
        parts: list[tuple[Axis | None, list[Store]]],
        outermost: bool = False,
    ) -> None:
        """Emit the loops over `axes` (outermost first) around the stores."""
        if not axes:
            for _, stores in parts:
                self._stores(scope, stores)
            return
        if not outermost and len(axes) == 1:
            parts = self._without_row_stores(scope, parts)
        axis, rest = axes[0], axes[1:]
        bounds = ("%begin", "%end") if outermost and self.schedule.parallel else None
        if axis is self.schedule.vector and self._short(axis, self.undivided):
            bounds = None  # it is the whole of the axis
        if axis is self.schedule.unroll:
            self._tiled_loop(scope, rest, parts, bounds)
        elif self.nest.scan and axis is self.nest.axes[-1]:
            self._running(scope, axis, parts[0][1], bounds)
        elif axis is self.schedule.vector and self.schedule.block:
            self._columns(scope, axis, bounds, self._plain(rest, parts))
        elif axis is self.schedule.vector and self.schedule.strip:
            self._strip_loop(scope, axis, self._plain(rest, parts))
        elif axis is self.schedule.vector:
            body = self._plain(rest, parts)
            self._vector_loop(scope, axis, self.schedule.lanes, bounds, body, (), self._narrow())
        else:
            self._loop(scope, axis, bounds, self._plain(rest, parts))

    def _without_row_stores(self, scope: Scope, parts: Any) -> Any:
        """Emit what is stored once for each row, and return the stores that are left."""
        early = row_stores(self.nest)
        if not early:
            return parts
        self._stores(scope, early)
        return [(block, [t for t in stores if t not in early]) for block, stores in parts]

    def _narrow(self) -> int:
        """Return the lanes of one register, for the rest of a nest without sums inside of it.

        Sums inside of the vectors go on as wide as they are where each of them waits for itself.
        """
        vector = self.schedule.vector
        assert vector is not None
        moving = any(r.free & vector.bit for r in self._reductions)
        if moving and self.schedule.chains == 1 and not self._across_rows(vector):
            return 0
        exprs = walk([e for t in self.nest.stores for e in (t.value, t.address)])
        return max(1, self.vector_bytes // element_bytes(exprs))

    def _tiled_loop(self, scope: Scope, rest: list[Axis], parts: Any, bounds: Any) -> None:
        """Loop over whole tiles, then the rest; a parallel range counts tiles."""
        whole = self._size(self._tiles.extent)
        every = self._reductions
        for block, stores in parts:
            # those of the other part would be computed in each tile
            own = set(walk([e for t in stores for e in (t.value, t.address)]))
            self._reductions = [r for r in every if r in own]
            limits = None
            if bounds is not None and block is self._tiles:
                inside = self._new(scope, f"icmp slt i64 %end, {whole}")
                limits = ("%begin", self._new(scope, f"select i1 {inside}, i64 %end, i64 {whole}"))
            elif bounds is not None:
                last = self._new(scope, f"icmp sgt i64 %end, {whole}")
                size = self._size(block.extent)
                limits = ("0", self._new(scope, f"select i1 {last}, i64 {size}, i64 0"))
            self._in_tiles = block is self._tiles
            self._loop(scope, block, limits, self._plain(rest, [(None, stores)]))
        self._reductions = every

    def _plain(self, rest: list[Axis], parts: Any) -> Body:
        """Return a loop body without carried values."""

        def body(inner: Scope, _: list[str]) -> list[str]:
            self._loops(inner, rest, parts)
            return []

        return body

    # -- values ------------------------------------------------------------------------------------
    def value(self, e: Expr, scope: Scope) -> str:
        """Return the register that holds a value, emitting it where its axes become known."""
        if e.op == "const":
            return literal(e.data, e.dtype)
        home = scope.home(e.free)
        found = home.env.get(e)
        if found is None:
            if e.op == "reduce":
                self._reduce(e, home)
                return home.env[e]
            found = home.env[e] = self._shared(e, home) if e in self.rows else self._emit(e, home)
        return found

    def _shared(self, e: Expr, scope: Scope) -> str:
        """Compute a value of a row in the loop that keeps it, read it from the row elsewhere."""
        row, axis = self.rows[e]
        if row.producer in self._running_group and axis is row.axis:
            value = self._emit(e, scope)
            self._keep(row, scope, value)
            self._filled.add(row)
            return value
        before = self._depths[row.producer] < self._depth
        if not before or row.producer.free & ~scope.bits:
            return self._emit(e, scope)
        self.value(row.producer, scope)  # its loop fills the row, unless it takes another way
        if row not in self._filled:
            return self._emit(e, scope)
        return self._kept(row, axis, scope)

    def _emit(self, e: Expr, scope: Scope) -> str:
        """Emit one operation in its home scope."""
        op = e.op
        if op == "load":
            guard = e.args[1] if len(e.args) > 1 else None
            return self._load_at(scope, e.data, e.args[0], guard)
        lanes = scope.vector.lanes if self.is_vector(e, scope) and scope.vector is not None else 1
        if op in ("affine", "axis", "ifloordiv", "imod", "as_index"):
            return self._index(e, scope, lanes)
        if (op in MATH or op in MATH2) and e.dtype.is_float:
            expansion = expanded(e, self.machine_bytes)
            if op in BRANCHED:
                self._branch_rare(expansion, scope, lanes)
            elif lanes == 1:
                found = self._single(expansion, e.args, scope)
                if found is not None:
                    return found
            return self.value(expansion, scope)
        args = [self.splatted(a, scope) if lanes > 1 else self.value(a, scope) for a in e.args]
        return self._operation(e, scope, lanes, args)


def function_head(name: str) -> str:
    """Return the first line of a kernel."""
    return f"define internal void {name}(ptr %args, i64 %begin, i64 %end) nounwind {{"
