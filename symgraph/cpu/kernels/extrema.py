"""The largest or smallest float of a row: NaN wins, but is looked for beside the comparisons.

An accumulator that may become NaN takes a test and two choices each turn, all waiting for the one
before. Here it never does, and takes one instruction; whether all numbers were ordered is kept as
bits, by one comparison for two registers: it fails if either has a NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.kernels.rests import Rests
from symgraph.cpu.kernels.scope import Scope
from symgraph.cpu.text import literal, register_type, splat, vector_type
from symgraph.loops.expr import Expr

ORDERED = "ordered"  # the part of an extremum that says whether there was no NaN


class Extrema(Rests):
    """Emits what reductions along the lanes of a vector are made of."""

    def _parts(self, r: Expr) -> list[Expr]:
        """Return the reductions that are done for one along the lanes of a vector."""
        if r.data[0] not in ("max", "min") or not r.dtype.is_float:
            return [r]
        kinds = (f"f{r.data[0]}", ORDERED)
        return [self.builder.reduce(kind, r.data[1], r.args[0]) for kind in kinds]

    def _across(self, scope: Scope, r: Expr, parts: Sequence[str], lanes: int) -> str:
        """Return the value of a reduction from the accumulators of its parts."""
        value, *ordered = parts
        kind = f"f{r.data[0]}" if ordered else r.data[0]
        value = self._horizontal(scope, kind, r.dtype, lanes, value)
        if not ordered:
            return value
        width, element = self._register_lanes(r, lanes), register_type(r.dtype)
        bits = self._new(scope, f"bitcast <{width} x i1> {ordered[0]} to i{width}")
        test = self._new(scope, f"icmp eq i{width} {bits}, -1")
        missing = literal(float("nan"), r.dtype)
        return self._new(scope, f"select i1 {test}, {element} {value}, {element} {missing}")

    def _register_lanes(self, r: Expr, lanes: int) -> int:
        return min(lanes, self.vector_bytes // max(4, r.dtype.itemsize))

    def _all_ordered(self, r: Expr, lanes: int) -> tuple[str, str]:
        """Return the type of the bits, and their start: no number yet."""
        width = self._register_lanes(r, lanes)
        return vector_type("i1", width), splat("i1", "true", width)

    def _still_ordered(self, scope: Scope, r: Expr, old: str, value: str, lanes: int) -> str:
        """Return the bits after the numbers of a turn."""
        width, element = self._register_lanes(r, lanes), register_type(r.dtype)
        wide, t = vector_type(element, lanes), vector_type(element, width)
        vector = scope.vector
        if vector is not None and vector.mask is not None and vector.axis in r.data[1]:
            # any number but 0, for which LLVM takes an expansion: 46 cycles on Zen 4
            ones = f"{wide} {splat(element, literal(1.0, r.dtype), lanes)}"
            choice = f"select <{lanes} x i1> {vector.mask}, {wide} {value}, {ones}"
            value = self._new(scope, choice)
        pieces = []
        for start in range(0, lanes, width):
            order = ", ".join(f"i32 {start + k}" for k in range(width))
            part = f"shufflevector {wide} {value}, {wide} poison, <{width} x i32> <{order}>"
            pieces.append(value if width == lanes else self._new(scope, part))
        tests = [
            self._new(scope, f"fcmp ord {t} {a}, {b}")
            for a, b in zip(pieces[::2], pieces[1::2] or pieces, strict=True)
        ]
        for test in tests[1:]:
            tests[0] = self._new(scope, f"and <{width} x i1> {tests[0]}, {test}")
        return self._new(scope, f"and <{width} x i1> {tests[0]}, {old}")

    def _both(self, scope: Scope, r: Expr, lanes: int, a: str, b: str) -> str:
        """Combine two accumulators."""
        if r.data[0] != ORDERED:
            return self._combine(scope, r.data[0], r.dtype, lanes, a, b)
        return self._new(scope, f"and <{self._register_lanes(r, lanes)} x i1> {a}, {b}")

    # -- the rest of a row, whose parts have bits of their own ---------------------------------
    def _part(self, scope: Scope, r: Expr, value: str, lanes: int, start: int, count: int) -> str:
        if r.data[0] == ORDERED:
            return self._all_ordered(r, count)[1]
        return super()._part(scope, r, value, lanes, start, count)

    def _part_type(self, r: Expr, count: int) -> str:
        if r.data[0] == ORDERED:
            return self._all_ordered(r, count)[0]
        return super()._part_type(r, count)

    def _wide_value(
        self, scope: Scope, r: Expr, parts: list[str], lanes: int, before: str
    ) -> str:
        if r.data[0] != ORDERED:
            return super()._wide_value(scope, r, parts, lanes, before)
        bits, *others = parts
        for other in others:
            bits = self._both(scope, r, lanes, bits, other)
        width, whole = self._register_lanes(r, lanes), self._register_lanes(r, lanes * len(parts))
        packed = self._new(scope, f"bitcast <{width} x i1> {bits} to i{width}")
        test = self._new(scope, f"icmp eq i{width} {packed}, -1")
        kind = vector_type("i1", whole)
        return self._new(scope, f"select i1 {test}, {kind} {before}, {kind} zeroinitializer")
