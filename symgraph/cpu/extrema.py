"""The largest or smallest float of a row: NaN wins, but is looked for beside the comparisons.

An accumulator that may become NaN takes a test and two choices each turn, all waiting for the one
before. Here it never does: it takes one instruction, and another accumulator keeps the last NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.operations import Operations
from symgraph.cpu.scope import Scope
from symgraph.cpu.text import literal, register_type, vector_type
from symgraph.loops.expr import Expr


class Extrema(Operations):
    """Emits what reductions along the lanes of a vector are made of."""

    def _parts(self, r: Expr) -> list[Expr]:
        """Return the reductions that are done for one along the lanes of a vector."""
        if r.data[0] not in ("max", "min") or not r.dtype.is_float:
            return [r]
        kinds = (f"f{r.data[0]}", "nan")
        return [self.builder.reduce(kind, r.data[1], r.args[0]) for kind in kinds]

    def _across(self, scope: Scope, r: Expr, parts: Sequence[str], lanes: int) -> str:
        """Return the value of a reduction from the accumulators of its parts."""
        value, *nan = parts
        kind = f"f{r.data[0]}" if nan else r.data[0]
        value = self._horizontal(scope, kind, r.dtype, lanes, value)
        return self._unless_nan(scope, r, value, nan[0], lanes) if nan else value

    def _unless_nan(self, scope: Scope, r: Expr, value: str, nan: str, lanes: int) -> str:
        """Return a value, NaN where a lane of `nan` is one."""
        element = register_type(r.dtype)
        test = self._new(scope, f"fcmp uno {vector_type(element, lanes)} {nan}, {nan}")
        bits = self._new(scope, f"bitcast <{lanes} x i1> {test} to i{lanes}")
        none = self._new(scope, f"icmp eq i{lanes} {bits}, 0")
        missing = literal(float("nan"), r.dtype)
        return self._new(scope, f"select i1 {none}, {element} {value}, {element} {missing}")
