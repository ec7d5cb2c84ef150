"""Functions of one number, computed in a vector of which only the first element matters.

Exponentials and logarithms work on the bits of floats. As single integers those travel to other
registers and back, which takes longer than the function; in a vector they stay where they are.
"""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.cpu.kernels.operations import Operations
from symgraph.cpu.kernels.scope import Scope
from symgraph.cpu.text import literal, register_type, splat, vector_type
from symgraph.cpu.vecmath import expanded
from symgraph.loops.expr import MATH, MATH2, Expr, walk

VECTOR_BYTES = 16  # of the smallest vectors that all machines have


class Singles(Operations):
    """Emits `_single`."""

    def _single(self, expansion: Expr, args: tuple[Expr, ...], scope: Scope) -> str | None:
        """Return an expansion of a function of `args`, None where no bits of floats are in it."""
        dtype = expansion.dtype
        inside = {e for e in walk([expansion]) if e not in args}
        if dtype not in (FLOAT32, FLOAT64) or not any(e.op == "bitcast" for e in inside):
            return None
        lanes = VECTOR_BYTES // dtype.itemsize
        value = self._in_vector(expansion, _given(args), scope, lanes)
        kind = vector_type(register_type(dtype), lanes)
        return self._new(scope, f"extractelement {kind} {value}, i32 0")

    def _in_vector(self, e: Expr, args: frozenset[Expr], scope: Scope, lanes: int) -> str:
        element = register_type(e.dtype)
        if e.op == "const":
            return splat(element, literal(e.data, e.dtype), lanes)
        home = scope.home(e.free)
        found = home.env.get((lanes, e))
        if found is None:
            if e in args:
                kind, value = vector_type(element, lanes), self.value(e, scope)
                found = self._new(home, f"insertelement {kind} poison, {element} {value}, i32 0")
            elif (e.op in MATH or e.op in MATH2) and e.dtype.is_float:
                inner = expanded(e, self.machine_bytes)
                found = self._in_vector(inner, args | _given(e.args), scope, lanes)
            else:
                operands = [self._in_vector(a, args, scope, lanes) for a in e.args]
                found = self._operation(e, home, lanes, operands)
            home.env[lanes, e] = found
        return found


def _given(args: tuple[Expr, ...]) -> frozenset[Expr]:
    """Return what an expansion may take from outside: its arguments, and x itself of -x."""
    return frozenset(args).union(*(a.args for a in args if a.op == "neg"))
