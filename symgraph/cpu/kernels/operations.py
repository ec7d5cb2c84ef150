"""Single operations on registers: arithmetic, casts, combination of partial results."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.dtype import BOOL, FLOAT32, FLOAT64, INT32, INT64, DType
from symgraph.cpu.kernels.lookups import Lookups
from symgraph.cpu.kernels.scope import Scope
from symgraph.cpu.text import (
    FLOAT_BINARY,
    FLOAT_COMPARE,
    INT_BINARY,
    INTRINSICS,
    SIGNED_COMPARE,
    UNSIGNED_COMPARE,
    cast_instruction,
    literal,
    register_type,
    shape_suffix,
    splat,
    vector_type,
)
from symgraph.loops.expr import SUMS, Expr


class Operations(Lookups):
    """Emits one instruction, or the few that stand for it, on scalars or vectors."""

    def _operation(self, e: Expr, scope: Scope, lanes: int, args: list[str]) -> str:
        op = e.op
        source = e.args[0].dtype
        element = register_type(source)
        t = vector_type(element, lanes)
        if op == "cast":
            return self._cast(scope, source, e.dtype, lanes, args[0])
        if op == "lookup":
            return self._lookup(scope, e.data, e.dtype, lanes, args[0])
        if op == "scalef":
            return self._scalef(scope, lanes, *args)
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
            known = [a.op == "const" and a.data == a.data for a in e.args]
            if source.is_float and any(known):  # the other one may be NaN: it is the second operand
                first, second = args if known[0] else reversed(args)
                return self._closer(scope, op, t, lanes, first, second)
            return self._extremum(scope, op, source, lanes, args[0], args[1])
        if op in ("fmin", "fmax"):
            return self._closer(scope, op[1:], t, lanes, args[0], args[1])
        if op == "rounded":
            return args[0]
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

    def _combine(self, scope: Scope, kind: str, dtype: DType, lanes: int, x: str, y: str) -> str:
        """Combine two partial results of a reduction."""
        t = vector_type(register_type(dtype), lanes)
        if kind in SUMS:
            op = "fadd" if dtype.is_float else ("or" if dtype is BOOL else "add")
        elif kind == "prod":
            op = "fmul" if dtype.is_float else ("and" if dtype is BOOL else "mul")
        elif kind in ("any", "or"):
            op = "or"
        elif kind in ("all", "and"):
            op = "and"
        elif kind in ("fmax", "fmin"):
            return self._closer(scope, kind[1:], t, lanes, y, x)
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
        best = self._closer(scope, kind, t, lanes, x, y)
        nan = self._new(scope, f"fcmp uno {t} {x}, {x}")
        return self._new(scope, f"select {c} {nan}, {t} {x}, {t} {best}")

    def _closer(self, scope: Scope, kind: str, t: str, lanes: int, x: str, y: str) -> str:
        """Return the larger / smaller float, y where one is NaN: a single instruction."""
        test = self._new(scope, f"fcmp {'ogt' if kind == 'max' else 'olt'} {t} {x}, {y}")
        return self._new(scope, f"select {vector_type('i1', lanes)} {test}, {t} {x}, {t} {y}")

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

    def _first_lanes(self, scope: Scope, lanes: int, count: str) -> str:
        """Return the mask of the first `count` lanes, a register."""
        numbers = ", ".join(f"i32 {k}" for k in range(lanes))
        few = self._new(scope, f"trunc i64 {count} to i32")
        wide = self._broadcast(scope, "i32", few, lanes)
        return self._new(scope, f"icmp sgt <{lanes} x i32> {wide}, <{numbers}>")

    def _broadcast(self, scope: Scope, element: str, value: str, lanes: int) -> str:
        if lanes == 1:
            return value
        kind = vector_type(element, lanes)
        one = self._new(scope, f"insertelement {kind} poison, {element} {value}, i32 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self._new(scope, f"shufflevector {kind} {one}, {kind} poison, {zeros}")
