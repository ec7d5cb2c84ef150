"""Emit one scheduled nest as an LLVM function with explicit vectors.

Every expression is placed in the outermost loop in which its axes are known, so invariant work is
hoisted by construction and a reduction over a row becomes a loop of its own in front of the loop
that uses it. No LLVM pass has to find anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from symgraph.core.dtype import BOOL, FLOAT32, FLOAT64, INT32, INT64, DType
from symgraph.cpu.text import (
    FLOAT_BINARY,
    FLOAT_COMPARE,
    INT_BINARY,
    INTRINSICS,
    SIGNED_COMPARE,
    UNSIGNED_COMPARE,
    cast_instruction,
    identity,
    literal,
    memory_type,
    register_type,
    shape_suffix,
    splat,
    vector_type,
)
from symgraph.cpu.vecmath import EXPANSIONS
from symgraph.cpu.vecmath.rare import rare_side
from symgraph.dims.dim import Dim, provably_le
from symgraph.loops.grammar import MATH, MATH2, Axis, Buffer, Expr, Nest, Size, Store, walk
from symgraph.loops.schedule import (
    SHUFFLE_STRIDE,
    Schedule,
    element_bytes,
    fit_lanes,
    stride,
)

ZEROS = "@symgraph.zeros"  # what a guarded load reads where its guard is false
ZEROS_TEXT = f"{ZEROS} = internal constant [64 x i64] zeroinitializer, align 64"
LONG_BODY = 12  # cost of a reduction's body from which two accumulators are enough
BRANCHED = ("sin", "cos", "tan")  # reducing a huge argument takes far longer than the function
REDUCE_REGISTERS = 4  # accumulators of a vectorised reduction: hides the latency of an add


@dataclass(slots=True)
class Vector:
    """The vector axis of a scope: how many lanes, and which of them are in range (None: all)."""

    axis: Axis
    lanes: int
    mask: str | None


class Scope:
    """A loop body under construction: text, known values, the axes bound here and around."""

    __slots__ = ("bits", "entry", "env", "label", "lines", "parent", "positions", "vector")

    def __init__(self, parent: Scope | None, label: str, bits: int, vector: Vector | None) -> None:
        self.parent, self.label, self.bits, self.vector = parent, label, bits, vector
        self.entry = label
        self.lines: list[str] = []
        self.env: dict[Any, str] = {}
        self.positions: dict[Axis, str] = {} if parent is None else dict(parent.positions)

    def home(self, free: int) -> Scope:
        """Return the outermost scope in which all axes of `free` are bound."""
        scope = self
        while scope.parent is not None and not free & ~scope.parent.bits:
            scope = scope.parent
        return scope


Body = Callable[[Scope, list[str]], list[str]]


class KernelEmitter:
    """Builds the text of one kernel: `void name(ptr args, i64 begin, i64 end)`.

    `args` holds the data pointers of `buffers` in order, then the values of `sizes` (symbolic
    sizes). `begin, end` bound the outermost loop when the schedule is parallel.
    """

    def __init__(self, nest: Nest, schedule: Schedule, vector_bytes: int) -> None:
        self.nest, self.schedule, self.vector_bytes = nest, schedule, vector_bytes
        self.buffers: list[Buffer] = []
        self.sizes: list[Dim] = []
        self.declared: set[str] = set()
        self._count = 0
        self._labels = 0
        self.builder = (nest.stores[0].value if nest.stores else nest.stores[0].address).builder
        self.root = Scope(None, "entry", 0, None)

    # -- public ----------------------------------------------------------------------------------
    def emit(self, name: str) -> str:
        """Return the function text (declarations of intrinsics are collected in `declared`)."""
        stores = self._tiled(self.nest.stores)
        self._find_reductions([t.value for _, part in stores for t in part])
        self._loops(self.root, list(self.schedule.order), stores, outermost=True)
        lines = [
            f"define internal void {name}(ptr %args, i64 %begin, i64 %end) nounwind {{",
            "entry:",
        ]
        for k, _ in enumerate(self.buffers):
            lines.append(f"  %pb{k} = getelementptr i64, ptr %args, i64 {k}")
            lines.append(f"  %b{k} = load ptr, ptr %pb{k}, align 8")
        for k, _ in enumerate(self.sizes):
            at = len(self.buffers) + k
            lines.append(f"  %pn{k} = getelementptr i64, ptr %args, i64 {at}")
            lines.append(f"  %n{k} = load i64, ptr %pn{k}, align 8")
        return "\n".join([*lines, *self.root.lines, "  ret void", "}", ""])

    def _find_reductions(self, values: Sequence[Expr]) -> None:
        """List all reductions and how deeply they depend on each other."""
        depth: dict[Expr, int] = {}
        for e in walk(values):
            below = max((depth[a] for a in e.args), default=0)
            depth[e] = below + (e.op == "reduce")
        self._reductions = [e for e in depth if e.op == "reduce"]
        self._depths = depth

    # -- register tile -----------------------------------------------------------------------------
    def _tiled(self, stores: Sequence[Store]) -> list[tuple[Axis | None, list[Store]]]:
        """Return the stores per part of the tiled axis: the full tiles, and the rest."""
        axis, tile = self.schedule.unroll, self.schedule.tile
        if axis is None or tile == 1:
            return [(None, list(stores))]
        s = self.builder
        extent: int = axis.extent  # type: ignore[assignment]
        parts: list[tuple[Axis | None, list[Store]]] = []
        whole, rest = divmod(extent, tile)
        for count, start, turns in ((tile, 0, whole), (rest, whole * tile, 1)):
            if not count or not turns:
                continue
            block = s.axis(f"{axis.name}b", turns)
            copies = []
            for u in range(count):
                at = s.iadd(s.imul(s.at(block), tile), start + u)
                memo: dict[Expr, Expr] = {}
                for t in stores:
                    address = s.replace(t.address, {axis: at}, memo)
                    value = s.replace(t.value, {axis: at}, memo)
                    copies.append(Store(t.buffer, address, value))
            parts.append((block, copies))
        return parts

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
        axis, rest = axes[0], axes[1:]
        bounds = ("%begin", "%end") if outermost and self.schedule.parallel else None
        if axis is self.schedule.unroll:
            self._tiled_loop(scope, rest, parts, bounds)
        elif self.nest.scan and axis is self.nest.axes[-1]:
            self._running(scope, axis, parts[0][1])
        elif axis is self.schedule.vector:
            self._vector_loop(scope, axis, self.schedule.lanes, bounds, self._plain(rest, parts))
        else:
            self._loop(scope, axis, bounds, self._plain(rest, parts))

    def _tiled_loop(self, scope: Scope, rest: list[Axis], parts: Any, bounds: Any) -> None:
        """Loop over whole tiles, then the rest; a parallel range counts tiles."""
        extent: int = self.schedule.unroll.extent  # type: ignore[union-attr, assignment]
        whole = extent // self.schedule.tile
        for block, stores in parts:
            limits = None
            if bounds is not None and len(stores) == self.schedule.tile:
                inside = self._new(scope, f"icmp slt i64 %end, {whole}")
                limits = ("%begin", self._new(scope, f"select i1 {inside}, i64 %end, i64 {whole}"))
            elif bounds is not None:
                last = self._new(scope, f"icmp sgt i64 %end, {whole}")
                limits = ("0", self._new(scope, f"zext i1 {last} to i64"))
            self._loop(scope, block, limits, self._plain(rest, [(None, stores)]))

    def _plain(self, rest: list[Axis], parts: Any) -> Body:
        """Return a loop body without carried values."""

        def body(inner: Scope, _: list[str]) -> list[str]:
            self._loops(inner, rest, parts)
            return []

        return body

    # -- loops -------------------------------------------------------------------------------------
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
        inner.positions[axis] = position
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
    ) -> list[str]:
        """Emit whole vectors, then one masked turn for the rest."""
        begin, end = bounds if bounds is not None else ("0", self._size(axis.extent))
        kinds = [kind for kind, _ in carried]
        values = [value for _, value in carried]
        if begin == "0" and end.isdigit():
            tail = int(end) % lanes
            main = str(int(end) - tail)
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
        if self._needs_scalar_tail(axis):
            pairs = list(zip(kinds, values, strict=True))
            return self._scalar_tail(scope, axis, (main, end), body, pairs)
        return self._masked_tail(scope, axis, lanes, (main, end), tail, body, kinds, values)

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
        numbers = ", ".join(f"i32 {k}" for k in range(lanes))
        if count > 0:
            bits = ", ".join(f"i1 {'true' if k < count else 'false'}" for k in range(lanes))
            mask = f"<{bits}>"
        else:
            rest = self._new(scope, f"sub i64 {end}, {first}")
            rest = self._new(scope, f"trunc i64 {rest} to i32")
            wide = self._broadcast(scope, "i32", rest, lanes)
            mask = self._new(scope, f"icmp sgt <{lanes} x i32> {wide}, <{numbers}>")
        vector = Vector(axis, lanes, mask)
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

    def _scalar_tail(
        self, scope: Scope, axis: Axis, bounds: tuple[str, str], body: Body, carried: Any
    ) -> list[str]:
        """Run the rest one element at a time (vectors of one lane)."""
        if carried:
            raise AssertionError("a reduction always has a masked tail")
        return self._loop(scope, axis, bounds, body, (), 1, Vector(axis, 1, None))

    def _needs_scalar_tail(self, axis: Axis) -> bool:
        """Masked stores are cheap only for contiguous elements of 32 or 64 bits."""
        if axis is not self.schedule.vector:
            return False
        return any(
            stride(t.address, axis) != 1 or t.buffer.dtype.bits < 32 or t.accumulate
            for t in self.nest.stores
        )

    # -- stores ------------------------------------------------------------------------------------
    def _stores(self, scope: Scope, stores: Sequence[Store]) -> None:
        """Store all values; every value is computed before the first store of this point."""
        pending = []
        for t in stores:
            pending.append((t, self.value(t.value, scope)))
        for t, value in pending:
            self._store(scope, t, value)

    def _store(self, scope: Scope, t: Store, value: str) -> None:
        element = memory_type(t.buffer.dtype)
        vector = scope.vector
        lanes = vector.lanes if vector is not None else 1
        moves = vector is not None and bool(t.address.free & vector.axis.bit)
        if vector is not None and not self.is_vector(t.value, scope) and moves:
            value = self.splatted(t.value, scope)
        if t.accumulate:
            loaded = self._load_at(scope, t.buffer, t.address, None)
            value = self._add(scope, t.buffer.dtype, loaded, value, lanes if moves else 1)
        if t.buffer.dtype is BOOL:
            kind = vector_type("i1", lanes if moves else 1)
            value = self._new(
                scope, f"zext {kind} {value} to {vector_type('i8', lanes if moves else 1)}"
            )
        if not moves:
            pointer = self.pointer(t.buffer, t.address, scope)
            scope.lines.append(
                f"  store {element} {value}, ptr {pointer}, align {t.buffer.dtype.itemsize}"
            )
            return
        assert vector is not None
        step = stride(t.address, vector.axis)
        kind = vector_type(element, lanes)
        align = t.buffer.dtype.itemsize
        if step == 1 or lanes == 1:
            pointer = self.pointer(t.buffer, t.address, scope)
            if vector.mask is None:
                scope.lines.append(f"  store {kind} {value}, ptr {pointer}, align {align}")
            else:
                name = f"@llvm.masked.store.{shape_suffix(element, lanes)}.p0"
                self.declared.add(f"declare void {name}({kind}, ptr, i32, <{lanes} x i1>)")
                scope.lines.append(
                    f"  call void {name}({kind} {value}, ptr {pointer}, i32 {align}, "
                    f"<{lanes} x i1> {vector.mask})"
                )
            return
        for k, pointer in enumerate(self._lane_pointers(scope, t.buffer, t.address)):
            part = self._new(scope, f"extractelement {kind} {value}, i32 {k}")
            scope.lines.append(f"  store {element} {part}, ptr {pointer}, align {align}")

    def _add(self, scope: Scope, dtype: DType, x: str, y: str, lanes: int) -> str:
        kind = vector_type(register_type(dtype), lanes)
        if dtype is BOOL:
            return self._new(scope, f"or {kind} {x}, {y}")
        return self._new(scope, f"{'fadd' if dtype.is_float else 'add'} {kind} {x}, {y}")

    # -- running combination -----------------------------------------------------------------------
    def _running(self, scope: Scope, axis: Axis, stores: Sequence[Store]) -> None:
        """Loop in order, storing the running combination at each point."""
        kind = self.nest.scan or "sum"
        vector = scope.vector
        lanes = vector.lanes if vector is not None else 1
        dtypes = [t.value.dtype for t in stores]
        types = [vector_type(register_type(d), lanes) for d in dtypes]
        starts = [splat(register_type(d), identity(kind, d), lanes) for d in dtypes]

        def body(inner: Scope, values: list[str]) -> list[str]:
            result = []
            for t, old, dtype in zip(stores, values, dtypes, strict=True):
                new = self.splatted(t.value, inner) if lanes > 1 else self.value(t.value, inner)
                new = self._combine(inner, kind, dtype, lanes, old, new)
                stored = new
                if t.buffer.dtype is not dtype:
                    to = vector_type(register_type(t.buffer.dtype), lanes)
                    op = cast_instruction(dtype, t.buffer.dtype)
                    stored = self._new(inner, f"{op} {types[0]} {new} to {to}")
                self._store(inner, Store(t.buffer, t.address, t.value), stored)
                result.append(new)
            return result

        self._loop(scope, axis, None, body, list(zip(types, starts, strict=True)))

    def _combine(self, scope: Scope, kind: str, dtype: DType, lanes: int, x: str, y: str) -> str:
        """Combine two partial results of a reduction."""
        t = vector_type(register_type(dtype), lanes)
        if kind == "sum":
            op = "fadd" if dtype.is_float else ("or" if dtype is BOOL else "add")
        elif kind == "prod":
            op = "fmul" if dtype.is_float else ("and" if dtype is BOOL else "mul")
        elif kind in ("any", "or"):
            op = "or"
        elif kind in ("all", "and"):
            op = "and"
        else:
            return self._extremum(scope, kind, dtype, lanes, x, y)
        return self._new(scope, f"{op} {t} {x}, {y}")

    def _extremum(self, scope: Scope, kind: str, dtype: DType, lanes: int, x: str, y: str) -> str:
        """Return the larger / smaller value; NaN wins."""
        t, c = vector_type(register_type(dtype), lanes), vector_type("i1", lanes)
        if dtype is BOOL:
            return self._new(scope, f"{'or' if kind == 'max' else 'and'} {t} {x}, {y}")
        if not dtype.is_float:
            table = UNSIGNED_COMPARE if dtype.kind == "u" else SIGNED_COMPARE
            test = self._new(scope, f"icmp {table['gt' if kind == 'max' else 'lt']} {t} {x}, {y}")
            return self._new(scope, f"select {c} {test}, {t} {x}, {t} {y}")
        test = self._new(scope, f"fcmp {'ogt' if kind == 'max' else 'olt'} {t} {x}, {y}")
        best = self._new(scope, f"select {c} {test}, {t} {x}, {t} {y}")
        nan = self._new(scope, f"fcmp uno {t} {x}, {x}")
        return self._new(scope, f"select {c} {nan}, {t} {x}, {t} {best}")

    # -- reductions --------------------------------------------------------------------------------
    def _reduce(self, e: Expr, home: Scope) -> None:
        """Emit the loop of a reduction, together with all others that can share it."""
        group = self._group(e, home)
        kind_axes: tuple[Axis, ...] = e.data[1]
        if home.vector is not None and any(g.free & home.vector.axis.bit for g in group):
            self._reduce_lanes(group, kind_axes, home)
        else:
            self._reduce_across(group, kind_axes, home)

    def _group(self, e: Expr, home: Scope) -> list[Expr]:
        """Return the reductions over the same axes, at the same place and depth, not done yet."""
        depth = self._depths
        moves = home.vector is not None and bool(e.free & home.vector.axis.bit)
        return [
            r
            for r in self._reductions
            if r.data[1] == e.data[1]
            and r not in home.env
            and depth[r] == depth[e]
            and home.home(r.free) is home
            and (home.vector is not None and bool(r.free & home.vector.axis.bit)) == moves
            and not r.free & ~home.bits
        ]

    def _reduce_lanes(self, group: list[Expr], axes: tuple[Axis, ...], home: Scope) -> None:
        """Accumulate per lane of the vector axis around; the reduced axes are plain loops."""
        assert home.vector is not None
        lanes = home.vector.lanes
        carried = self._starts(group, lanes)
        values = self._reduce_loops(home, list(axes), group, carried, lanes)
        for r, value in zip(group, values, strict=True):
            home.env[r] = value

    def _starts(self, group: list[Expr], lanes: int) -> list[tuple[str, str]]:
        result = []
        for r in group:
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
        if kind == "sum" and value.op == "mul" and r.dtype in (FLOAT32, FLOAT64):
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
        bodies = walk([r.args[0] for r in group])
        base = max(1, self.vector_bytes // element_bytes(bodies))
        registers = max(1, REDUCE_REGISTERS // len(group))
        if max(r.args[0].cost for r in group) > LONG_BODY:
            registers = min(registers, 2)  # its own latency is hidden already, its code is long
        lanes = fit_lanes(base * registers, base, axis.extent)
        if lanes == 1 or (isinstance(axis.extent, int) and axis.extent < 3):
            values = self._reduce_loops(home, list(axes), group, self._starts(group, 1), 1)
            for r, value in zip(group, values, strict=True):
                home.env[r] = value
            return
        outer = [a for a in axes if a is not axis]
        values = self._across_loops(home, outer, axis, group, self._starts(group, lanes), lanes)
        for r, value in zip(group, values, strict=True):
            home.env[r] = self._horizontal(home, r.data[0], r.dtype, lanes, value)

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

        def body(inner: Scope, values: list[str]) -> list[str]:
            return [self._step(inner, r, v, lanes) for r, v in zip(group, values, strict=True)]

        return self._vector_loop(scope, axis, lanes, None, body, carried)

    def _horizontal(self, scope: Scope, kind: str, dtype: DType, lanes: int, value: str) -> str:
        """Combine the lanes of an accumulator pairwise."""
        element = register_type(dtype)
        while lanes > 1:
            half = lanes // 2
            parts = []
            for start in (0, half):
                order = ", ".join(f"i32 {start + k}" for k in range(half))
                t = vector_type(element, lanes)
                parts.append(
                    self._new(
                        scope, f"shufflevector {t} {value}, {t} poison, <{half} x i32> <{order}>"
                    )
                    if half > 1
                    else self._new(scope, f"extractelement {t} {value}, i32 {start}")
                )
            value = self._combine(scope, kind, dtype, half, parts[0], parts[1])
            lanes = half
        return value

    # -- values ------------------------------------------------------------------------------------
    def is_vector(self, e: Expr, scope: Scope) -> bool:
        """Tell whether the value differs from lane to lane in this scope."""
        return scope.vector is not None and bool(e.free & scope.vector.axis.bit)

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
            found = home.env[e] = self._emit(e, home)
        return found

    def splatted(self, e: Expr, scope: Scope) -> str:
        """Return the value in every lane of the scope's vector."""
        vector = scope.vector
        if vector is None or vector.lanes == 1 or self.is_vector(e, scope):
            return self.value(e, scope)
        element = register_type(e.dtype)
        if e.op == "const":
            return splat(element, literal(e.data, e.dtype), vector.lanes)
        home = scope.home(e.free)
        key = ("splat", e, vector.lanes)
        found = home.env.get(key)
        if found is None:
            scalar = self.value(e, scope)
            found = home.env[key] = self._broadcast(home, element, scalar, vector.lanes)
        return found

    def _broadcast(self, scope: Scope, element: str, value: str, lanes: int) -> str:
        if lanes == 1:
            return value
        kind = vector_type(element, lanes)
        one = self._new(scope, f"insertelement {kind} poison, {element} {value}, i32 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self._new(scope, f"shufflevector {kind} {one}, {kind} poison, {zeros}")

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
            expansion = EXPANSIONS[op](e.builder, *e.args)
            if op in BRANCHED:
                self._branch_rare(expansion, scope, lanes)
            return self.value(expansion, scope)
        args = [self.splatted(a, scope) if lanes > 1 else self.value(a, scope) for a in e.args]
        return self._operation(e, scope, lanes, args)

    def _branch_rare(self, expansion: Expr, scope: Scope, lanes: int) -> None:
        """Compute what only huge arguments need behind a branch, taken if any lane has one."""
        group, rare = rare_side(expansion)
        if not group or group[0] in scope.env:
            return
        inside = set(rare)
        condition = self.value(group[0].args[0], scope)
        near = [self._wide(e.args[1], scope, lanes) for e in group]
        for x in dict.fromkeys(a for e in rare for a in e.args if a not in inside):
            self._wide(x, scope, lanes)
        if lanes > 1:
            bits = self._new(scope, f"bitcast <{lanes} x i1> {condition} to i{lanes}")
            usual = self._new(scope, f"icmp eq i{lanes} {bits}, -1")
        else:
            usual = condition
        head, exit_ = self._label("rare"), self._label("usual")
        inner = Scope(scope, head, scope.bits, scope.vector)
        for e in rare:
            args = [
                inner.env[a] if a in inside else self._wide(a, scope, lanes) for a in e.args
            ]
            inner.env[e] = self._operation(e, inner, lanes, args)
        mixed = []
        for e, usual_value in zip(group, near, strict=True):
            t, c = vector_type(register_type(e.dtype), lanes), vector_type("i1", lanes)
            far = inner.env[e.args[2]]
            mixed.append(self._new(inner, f"select {c} {condition}, {t} {usual_value}, {t} {far}"))
        before = scope.label
        scope.lines.append(f"  br i1 {usual}, label %{exit_}, label %{head}")
        scope.lines.extend([f"{head}:", *inner.lines, f"  br label %{exit_}", f"{exit_}:"])
        scope.label = exit_
        for e, usual_value, other in zip(group, near, mixed, strict=True):
            t = vector_type(register_type(e.dtype), lanes)
            scope.env[e] = self._new(
                scope, f"phi {t} [ {usual_value}, %{before} ], [ {other}, %{head} ]"
            )

    def _operation(self, e: Expr, scope: Scope, lanes: int, args: list[str]) -> str:
        op = e.op
        source = e.args[0].dtype
        element = register_type(source)
        t = vector_type(element, lanes)
        if op == "cast":
            return self._cast(scope, source, e.dtype, lanes, args[0])
        if op == "bitcast":
            to = vector_type(register_type(e.dtype), lanes)
            return self._new(scope, f"bitcast {t} {args[0]} to {to}")
        if op == "select":
            c, v = vector_type("i1", lanes), vector_type(register_type(e.dtype), lanes)
            return self._new(scope, f"select {c} {args[0]}, {v} {args[1]}, {v} {args[2]}")
        if op in SIGNED_COMPARE:
            if source.is_float:
                return self._new(scope, f"fcmp {FLOAT_COMPARE[op]} {t} {args[0]}, {args[1]}")
            table = SIGNED_COMPARE if source.kind == "i" else UNSIGNED_COMPARE
            return self._new(scope, f"icmp {table[op]} {t} {args[0]}, {args[1]}")
        if op in ("min", "max"):
            return self._extremum(scope, op, source, lanes, args[0], args[1])
        if op in ("fmin", "fmax"):
            test = self._new(
                scope, f"fcmp {'ogt' if op == 'fmax' else 'olt'} {t} {args[0]}, {args[1]}"
            )
            c = vector_type("i1", lanes)
            return self._new(scope, f"select {c} {test}, {t} {args[0]}, {t} {args[1]}")
        if op == "neg":
            if source.is_float:
                return self._new(scope, f"fneg {t} {args[0]}")
            return self._new(scope, f"sub {t} {splat(element, '0', lanes)}, {args[0]}")
        if op == "not":
            ones = "true" if source is BOOL else "-1"
            return self._new(scope, f"xor {t} {args[0]}, {splat(element, ones, lanes)}")
        if op in INTRINSICS:
            return self._call(scope, INTRINSICS[op], element, lanes, args)
        if source.is_float:
            return self._new(scope, f"{FLOAT_BINARY[op]} {t} {args[0]}, {args[1]}")
        if op in ("div", "rem"):
            sign = "s" if source.kind == "i" else "u"
            return self._new(scope, f"{sign}{op} {t} {args[0]}, {args[1]}")
        return self._new(scope, f"{INT_BINARY[op]} {t} {args[0]}, {args[1]}")

    def _call(self, scope: Scope, name: str, element: str, lanes: int, args: Sequence[str]) -> str:
        """Call an LLVM intrinsic whose operands all have one type."""
        t = vector_type(element, lanes)
        full = f"@llvm.{name}.{shape_suffix(element, lanes)}"
        self.declared.add(f"declare {t} {full}({', '.join([t] * len(args))})")
        return self._new(scope, f"call {t} {full}({', '.join(f'{t} {a}' for a in args)})")

    def _cast(self, scope: Scope, source: DType, target: DType, lanes: int, value: str) -> str:
        t, to = (vector_type(register_type(d), lanes) for d in (source, target))
        element = register_type(source)
        if target is BOOL:
            if source.is_float:
                zero = splat(element, literal(0.0, source), lanes)
                return self._new(scope, f"fcmp une {t} {value}, {zero}")
            return self._new(scope, f"icmp ne {t} {value}, {splat(element, '0', lanes)}")
        if source.is_integer and target.is_integer and source.bits == target.bits:
            return value
        if source.is_float and target.is_integer:
            if source == "float16":  # through float32: the direct conversion is not selected
                value = self._cast(scope, source, FLOAT32, lanes, value)
                return self._cast(scope, FLOAT32, target, lanes, value)
            if target.bits < 32:  # as C on this machine: to a wide integer, then cut off
                value = self._cast(scope, source, INT32, lanes, value)
                return self._cast(scope, INT32, target, lanes, value)
            if target == "uint32":
                value = self._cast(scope, source, INT64, lanes, value)
                return self._cast(scope, INT64, target, lanes, value)
        if target == "float16" and source == "float64":
            value = self._cast(scope, FLOAT64, FLOAT32, lanes, self._odd(scope, lanes, value))
            return self._cast(scope, FLOAT32, target, lanes, value)
        if target == "float16" and source.is_integer:
            value = self._cast(scope, source, FLOAT32, lanes, value)
            return self._cast(scope, FLOAT32, target, lanes, value)
        return self._new(scope, f"{cast_instruction(source, target)} {t} {value} to {to}")

    def _odd(self, scope: Scope, lanes: int, value: str) -> str:
        """Round a float64 to odd at float32's precision: a second rounding cannot go wrong."""
        wide, whole, c = (vector_type(t, lanes) for t in ("double", "i64", "i1"))
        bits = self._new(scope, f"bitcast {wide} {value} to {whole}")
        cut = splat("i64", str((1 << 29) - 1), lanes)
        low = self._new(scope, f"and {whole} {bits}, {cut}")
        high = self._new(scope, f"xor {whole} {bits}, {low}")
        inexact = self._new(scope, f"icmp ne {whole} {low}, {splat('i64', '0', lanes)}")
        last = splat("i64", str(1 << 29), lanes)
        odd = self._new(
            scope, f"select {c} {inexact}, {whole} {last}, {whole} {splat('i64', '0', lanes)}"
        )
        result = self._new(scope, f"or {whole} {high}, {odd}")
        return self._new(scope, f"bitcast {whole} {result} to {wide}")

    # -- addresses and loads -----------------------------------------------------------------------
    def _index(self, e: Expr, scope: Scope, lanes: int) -> str:
        """Emit an index value (an i64, or a vector of them when it moves with the lanes)."""
        t = vector_type("i64", lanes)
        if e.op == "axis":
            position = scope.positions[e.data]
            if lanes == 1:
                return position
            wide = self._broadcast(scope, "i64", position, lanes)
            numbers = ", ".join(f"i64 {k}" for k in range(lanes))
            return self._new(scope, f"add {t} {wide}, <{numbers}>")
        if e.op == "as_index":
            return self.splatted(e.args[0], scope) if lanes > 1 else self.value(e.args[0], scope)
        if e.op in ("ifloordiv", "imod"):
            x = self.value(e.args[0], scope)
            size = splat("i64", self._size(e.data), lanes)
            if not isinstance(e.data, int) and lanes > 1:
                size = self._broadcast(scope, "i64", self._size(e.data), lanes)
            return self._divided(e, scope, t, x, size, lanes)
        total: str | None = None
        coefficients, constant = e.data
        for atom, c in zip(e.args, coefficients, strict=True):
            term = self.splatted(atom, scope) if lanes > 1 else self.value(atom, scope)
            if not (isinstance(c, int) and c == 1):
                factor = self._wide_size(c, scope, lanes)
                term = self._new(scope, f"mul {t} {term}, {factor}")
            total = term if total is None else self._new(scope, f"add {t} {total}, {term}")
        if total is None:
            return self._wide_size(constant, scope, lanes)
        if isinstance(constant, int) and constant == 0:
            return total
        return self._new(scope, f"add {t} {total}, {self._wide_size(constant, scope, lanes)}")

    def _divided(self, e: Expr, scope: Scope, t: str, x: str, size: str, lanes: int) -> str:
        """Floor division or its remainder; unsigned where the index is never negative."""
        low, _ = self.builder.bounds(e.args[0])
        if low is not None and provably_le(0, low):
            return self._new(scope, f"{'udiv' if e.op == 'ifloordiv' else 'urem'} {t} {x}, {size}")
        quotient = self._new(scope, f"sdiv {t} {x}, {size}")
        whole = self._new(scope, f"mul {t} {quotient}, {size}")
        rest = self._new(scope, f"sub {t} {x}, {whole}")
        zero = splat("i64", "0", lanes)
        negative = self._new(scope, f"icmp slt {t} {rest}, {zero}")
        c = vector_type("i1", lanes)
        if e.op == "ifloordiv":
            down = self._new(scope, f"sub {t} {quotient}, {splat('i64', '1', lanes)}")
            return self._new(scope, f"select {c} {negative}, {t} {down}, {t} {quotient}")
        up = self._new(scope, f"add {t} {rest}, {size}")
        return self._new(scope, f"select {c} {negative}, {t} {up}, {t} {rest}")

    def _wide_size(self, n: Size, scope: Scope, lanes: int) -> str:
        text = self._size(n)
        if isinstance(n, int):
            return splat("i64", text, lanes)
        return self._broadcast(scope, "i64", text, lanes)

    def _size(self, n: Size) -> str:
        """Return a size as text: a number, or the register of a run-time size."""
        if isinstance(n, int):
            return str(n)
        if n not in self.sizes:
            self.sizes.append(n)
        return f"%n{self.sizes.index(n)}"

    def _base(self, buffer: Buffer) -> str:
        if buffer not in self.buffers:
            self.buffers.append(buffer)
        return f"%b{self.buffers.index(buffer)}"

    def pointer(self, buffer: Buffer, address: Expr, scope: Scope) -> str:
        """Return the address of an element (of lane 0 when it moves with the lanes).

        What does not depend on the innermost loop is added outside of it.
        """
        vector = scope.vector
        element = memory_type(buffer.dtype)
        if vector is None or not address.free & vector.axis.bit:
            return self._plain_pointer(buffer, address, scope)
        key = ("pointer", buffer, address)
        home = scope.home(address.free)
        found = home.env.get(key)
        if found is not None:
            return found
        s = self.builder
        axis = s.at(vector.axis)
        step: Size = 1
        for atom, c in zip(address.args, address.data[0], strict=True):
            if atom is axis:
                step = c
        rest = s.isub(address, s.imul(axis, step))
        base = self._plain_pointer(buffer, rest, home)
        position = home.positions[vector.axis]
        if not (isinstance(step, int) and step == 1):
            position = self._new(home, f"mul i64 {position}, {self._size(step)}")
        home.env[key] = self._gep(home, element, base, position)
        return home.env[key]

    def _plain_pointer(self, buffer: Buffer, address: Expr, scope: Scope) -> str:
        home = scope.home(address.free)
        key = ("pointer", buffer, address)
        if key not in home.env:
            at = self.value(address, home)
            home.env[key] = self._gep(home, memory_type(buffer.dtype), self._base(buffer), at)
        return home.env[key]

    def _gep(self, scope: Scope, element: str, base: str, at: str) -> str:
        if at == "0":
            return base
        return self._new(scope, f"getelementptr {element}, ptr {base}, i64 {at}")

    def _load_at(self, scope: Scope, buffer: Buffer, address: Expr, guard: Expr | None) -> str:
        """Load an element or a vector of elements; 0 where the guard is false."""
        vector = scope.vector
        moves = vector is not None and bool(address.free & vector.axis.bit)
        guarded = guard is not None and vector is not None and bool(guard.free & vector.axis.bit)
        if vector is None or vector.lanes == 1 or not (moves or guarded):
            pointer = self.pointer(buffer, address, scope)
            if guard is not None:
                test = self.value(guard, scope)
                pointer = self._new(scope, f"select i1 {test}, ptr {pointer}, ptr {ZEROS}")
            return self._bits(
                scope, buffer, self._new(scope, self._load_text(buffer, pointer, 1)), 1
            )
        step = stride(address, vector.axis) if moves else None
        if step == 1 and not self._slow_mask(buffer, vector, guarded):
            value = self._load_contiguous(scope, buffer, address, guard, guarded)
        elif step == -1 and guard is None and vector.mask is None:
            value = self._load_reversed(scope, buffer, address)
        elif step is not None and 1 < step <= SHUFFLE_STRIDE and not guarded and not vector.mask:
            value = self._load_strided(scope, buffer, address, guard, step)
        else:
            value = self._load_lanes(scope, buffer, address, guard, guarded, moves)
        return self._bits(scope, buffer, value, vector.lanes)

    @staticmethod
    def _slow_mask(buffer: Buffer, vector: Vector, guarded: bool) -> bool:
        """Masked loads of narrow elements are taken apart by LLVM; do it ourselves."""
        return buffer.dtype.bits < 32 and (guarded or vector.mask is not None)

    def _load_text(self, buffer: Buffer, pointer: str, lanes: int) -> str:
        kind = vector_type(memory_type(buffer.dtype), lanes)
        return f"load {kind}, ptr {pointer}, align {buffer.dtype.itemsize}"

    def _bits(self, scope: Scope, buffer: Buffer, value: str, lanes: int) -> str:
        """Turn a byte from memory into a bool in a register."""
        if buffer.dtype is not BOOL:
            return value
        kind = vector_type("i8", lanes)
        return self._new(scope, f"icmp ne {kind} {value}, {splat('i8', '0', lanes)}")

    def _load_contiguous(
        self, scope: Scope, buffer: Buffer, address: Expr, guard: Expr | None, guarded: bool
    ) -> str:
        vector = scope.vector
        assert vector is not None
        pointer = self.pointer(buffer, address, scope)
        lanes, mask = vector.lanes, vector.mask
        if guard is not None and not guarded:
            test = self.value(guard, scope)
            pointer = self._new(scope, f"select i1 {test}, ptr {pointer}, ptr {ZEROS}")
        elif guard is not None:
            test = self.value(guard, scope)
            mask = test if mask is None else self._new(scope, f"and <{lanes} x i1> {mask}, {test}")
        if mask is None:
            return self._new(scope, self._load_text(buffer, pointer, lanes))
        element = memory_type(buffer.dtype)
        kind = vector_type(element, lanes)
        name = f"@llvm.masked.load.{shape_suffix(element, lanes)}.p0"
        self.declared.add(f"declare {kind} {name}(ptr, i32, <{lanes} x i1>, {kind})")
        return self._new(
            scope,
            f"call {kind} {name}(ptr {pointer}, i32 {buffer.dtype.itemsize}, "
            f"<{lanes} x i1> {mask}, {kind} zeroinitializer)",
        )

    def _load_strided(
        self, scope: Scope, buffer: Buffer, address: Expr, guard: Expr | None, step: int
    ) -> str:
        """Load the span of a small stride (nothing behind the last element) and pick lanes."""
        assert scope.vector is not None
        lanes = scope.vector.lanes
        span = (lanes - 1) * step + 1
        pointer = self.pointer(buffer, address, scope)
        if guard is not None:
            test = self.value(guard, scope)
            pointer = self._new(scope, f"select i1 {test}, ptr {pointer}, ptr {ZEROS}")
        value = self._new(scope, self._load_text(buffer, pointer, span))
        order = ", ".join(f"i32 {k * step}" for k in range(lanes))
        kind = vector_type(memory_type(buffer.dtype), span)
        return self._new(
            scope, f"shufflevector {kind} {value}, {kind} poison, <{lanes} x i32> <{order}>"
        )

    def _load_reversed(self, scope: Scope, buffer: Buffer, address: Expr) -> str:
        assert scope.vector is not None
        lanes = scope.vector.lanes
        last = self.pointer(buffer, address, scope)
        element = memory_type(buffer.dtype)
        first = self._new(scope, f"getelementptr {element}, ptr {last}, i64 {1 - lanes}")
        value = self._new(scope, self._load_text(buffer, first, lanes))
        order = ", ".join(f"i32 {k}" for k in reversed(range(lanes)))
        kind = vector_type(element, lanes)
        return self._new(
            scope, f"shufflevector {kind} {value}, {kind} poison, <{lanes} x i32> <{order}>"
        )

    def _lane_pointers(self, scope: Scope, buffer: Buffer, address: Expr) -> list[str]:
        """Return the address of each lane's element."""
        vector = scope.vector
        assert vector is not None
        element = memory_type(buffer.dtype)
        step = stride(address, vector.axis)
        if step is not None:
            first = self.pointer(buffer, address, scope)
            return [self._gep(scope, element, first, str(k * step)) for k in range(vector.lanes)]
        index = self.value(address, scope)
        base, t = self._base(buffer), vector_type("i64", vector.lanes)
        result = []
        for k in range(vector.lanes):
            at = self._new(scope, f"extractelement {t} {index}, i32 {k}")
            result.append(self._gep(scope, element, base, at))
        return result

    def _load_lanes(
        self, scope: Scope, buffer: Buffer, address: Expr, guard: Any, guarded: bool, moves: bool
    ) -> str:
        """Load lane by lane: strided and gathered elements, narrow masked ones."""
        vector = scope.vector
        assert vector is not None
        lanes = vector.lanes
        if moves:
            pointers = self._lane_pointers(scope, buffer, address)
        else:
            pointers = [self.pointer(buffer, address, scope)] * lanes
        mask = vector.mask
        if guard is not None:
            test = self.splatted(guard, scope)
            mask = test if mask is None else self._new(scope, f"and <{lanes} x i1> {mask}, {test}")
        element = memory_type(buffer.dtype)
        kind = vector_type(element, lanes)
        value = "poison"
        for k, pointer in enumerate(pointers):
            if mask is not None:
                bit = self._new(scope, f"extractelement <{lanes} x i1> {mask}, i32 {k}")
                pointer = self._new(scope, f"select i1 {bit}, ptr {pointer}, ptr {ZEROS}")
            part = self._new(scope, self._load_text(buffer, pointer, 1))
            value = self._new(scope, f"insertelement {kind} {value}, {element} {part}, i32 {k}")
        return value

    # -- names -------------------------------------------------------------------------------------
    def _name(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def _label(self, stem: str) -> str:
        self._labels += 1
        return f"{stem}{self._labels}"

    def _new(self, scope: Scope, instruction: str) -> str:
        name = self._name()
        scope.lines.append(f"  {name} = {instruction}")
        return name
