"""The rest of a row of unknown length, as accumulators in registers take it: part by part."""

from __future__ import annotations

from symgraph.cpu.kernels.loop_text import Loops
from symgraph.cpu.kernels.scope import Scope, Vector
from symgraph.cpu.text import register_type, vector_type
from symgraph.loops.expr import Axis, Expr


class Rests(Loops):
    """Emits the rest of a reduction along the lanes."""

    def _step(self, scope: Scope, r: Expr, old: str, lanes: int) -> str:
        """Combine an accumulator with the value at this point."""
        raise NotImplementedError

    def _rest_of_row(
        self,
        scope: Scope,
        axis: Axis,
        bounds: tuple[str, str],
        group: list[Expr],
        values: list[str],
        widths: tuple[int, int],
    ) -> list[str]:
        """Take a rest of unknown length in parts of one register, as far as there are elements.

        Each part of an accumulator takes what it would take in one wide masked turn.
        """
        lanes, least = widths
        pieces = range(0, lanes, least)
        begin, end = bounds
        firsts = [self._new(scope, f"add nsw i64 {begin}, {k}") if k else begin for k in pieces]
        parts = [
            self._part(scope, r, value, lanes, k, least)
            for r, value in zip(group, values, strict=False)
            for k in pieces
        ]
        blocks: list[tuple[Scope, list[str]]] = []  # each part of the rest, and all parts after it
        for k, first in enumerate(firsts):
            inner = Scope(scope, "", scope.bits | axis.bit, Vector(axis, least, None))
            inner.label = inner.entry = self._label("part")
            inner.positions[axis] = first
            inner.vector = self._rest_vector(inner, axis, least, (first, end))
            after = list(blocks[-1][1] if blocks else parts)
            for j, r in enumerate(group):
                at = j * len(pieces) + k
                after[at] = self._step(inner, r, after[at], least)
            blocks.append((inner, after))
        exit_ = self._label("done")
        edges = []
        line_scope, old = scope, parts
        for (inner, after), first in zip(blocks, firsts, strict=True):
            some = self._new(line_scope, f"icmp slt i64 {first}, {end}")
            line_scope.lines.append(f"  br i1 {some}, label %{inner.entry}, label %{exit_}")
            edges.append((line_scope.label, old))
            line_scope, old = inner, after
        edges.append((line_scope.label, old))
        for inner, _ in blocks:
            scope.lines.append(f"{inner.entry}:")
            scope.lines.extend(inner.lines)
        scope.lines.extend([f"  br label %{exit_}", f"{exit_}:"])
        scope.label = exit_
        joined = []
        for j, r in enumerate(group):
            kind = self._part_type(r, least)
            merged = []
            for at in range(j * len(pieces), (j + 1) * len(pieces)):
                values_of = ", ".join(f"[ {old[at]}, %{label} ]" for label, old in edges)
                merged.append(self._new(scope, f"phi {kind} {values_of}"))
            joined.append(merged)
        return [
            self._wide_value(scope, r, merged, least, value)
            for r, merged, value in zip(group, joined, values, strict=False)
        ]

    def _part_type(self, r: Expr, count: int) -> str:
        return vector_type(register_type(r.dtype), count)

    def _part(self, scope: Scope, r: Expr, value: str, lanes: int, start: int, count: int) -> str:
        """Return some adjacent lanes of an accumulator."""
        order = ", ".join(f"i32 {start + k}" for k in range(count))
        kind = vector_type(register_type(r.dtype), lanes)
        if count == 1:
            return self._new(scope, f"extractelement {kind} {value}, i32 {start}")
        return self._new(
            scope, f"shufflevector {kind} {value}, {kind} poison, <{count} x i32> <{order}>"
        )

    def _wide_value(
        self, scope: Scope, r: Expr, parts: list[str], lanes: int, before: str
    ) -> str:
        """Return an accumulator made of its parts, whose number is a power of two.

        before: the accumulator that they were parts of.
        """
        while len(parts) > 1:
            kind = vector_type(register_type(r.dtype), lanes)
            lanes *= 2
            order = ", ".join(f"i32 {k}" for k in range(lanes))
            parts = [
                self._new(
                    scope, f"shufflevector {kind} {a}, {kind} {b}, <{lanes} x i32> <{order}>"
                )
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
        return parts[0]
