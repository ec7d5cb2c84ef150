"""Compile one expansion to a vector loop over contiguous arrays, to measure real machine code."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from symgraph.core.dtype import DType
from symgraph.loops.expr import Axis, Buffer, Expr, walk
from symgraph.loops.interned import Builder

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

_FLOAT = {
    "add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "neg": "fneg",
    "lt": "fcmp olt", "le": "fcmp ole", "gt": "fcmp ogt", "ge": "fcmp oge",
    "eq": "fcmp oeq", "ne": "fcmp une",
}  # fmt: skip
_INTEGER = {
    "add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor",
    "shl": "shl", "lshr": "lshr", "ashr": "ashr", "lt": "icmp slt", "le": "icmp sle",
    "gt": "icmp sgt", "ge": "icmp sge", "eq": "icmp eq", "ne": "icmp ne",
}  # fmt: skip
_CALLS = {
    "abs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc",
    "rint": "rint", "fma": "fma", "copysign": "copysign", "min": "minimum", "max": "maximum",
}  # fmt: skip


def _scalar(dtype: DType) -> str:
    return {"float32": "float", "float64": "double", "bool": "i1"}.get(dtype, f"i{dtype.bits}")


class _Emitter:
    def __init__(self, width: int) -> None:
        self.width, self.lines = width, []
        self.declared: set[str] = set()
        self.values: dict[Expr, str] = {}
        self.block = "loop"

    def type(self, dtype: DType) -> str:
        return f"<{self.width} x {_scalar(dtype)}>"

    def put(self, text: str) -> str:
        name = f"%t{len(self.lines)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def emit(self, e: Expr) -> str:
        t = self.type(e.dtype)
        if e.op == "const":
            return f"splat ({_scalar(e.dtype)} {_number(e)})"
        a = [self.values[x] for x in e.args]
        t0 = self.type(e.args[0].dtype)
        if e.op in ("fmin", "fmax"):
            test = self.put(f"fcmp {'olt' if e.op == 'fmin' else 'ogt'} {t} {a[0]}, {a[1]}")
            return self.put(f"select {self.type_bool()} {test}, {t} {a[0]}, {t} {a[1]}")
        if e.op == "select":
            return self.put(f"select {t0} {a[0]}, {t} {a[1]}, {t} {a[2]}")
        if e.op == "bitcast":
            return self.put(f"bitcast {t0} {a[0]} to {t}")
        if e.op == "cast":
            return self.put(f"{_cast(e.args[0].dtype, e.dtype)} {t0} {a[0]} to {t}")
        if e.op == "not":
            return self.put(f"xor {t} {a[0]}, splat ({_scalar(e.dtype)} -1)")
        if e.op in _CALLS and e.dtype.is_float:
            short = f"llvm.{_CALLS[e.op]}.v{self.width}f{e.dtype.bits}"
            self.declared.add(f"declare {t} @{short}({', '.join([t] * len(a))})")
            return self.put(f"call {t} @{short}({', '.join(f'{t} {x}' for x in a)})")
        if e.op == "neg":
            return self.put(f"fneg {t} {a[0]}")
        table = _FLOAT if e.args[0].dtype.is_float else _INTEGER
        return self.put(f"{table[e.op]} {t0} {a[0]}, {a[1]}")

    def emit_all(self, result: Expr, copy: int) -> None:
        """Emit `result`; the costly side of selects on one condition goes behind a branch."""
        group, rare = rare_side(result)
        before = walk([x for e in group for x in e.args[:2]] + [x for e in rare for x in e.args])
        self.emit_list([e for e in before if e not in rare])
        if group:
            condition = group[0].args[0]
            mask = self.put(f"bitcast {self.type_bool()} {self.values[condition]} to i{self.width}")
            all_true = self.put(f"icmp eq i{self.width} {mask}, -1")
            start, far, join = self.block, f"far{copy}", f"join{copy}"
            self.lines += [f"  br i1 {all_true}, label %{join}, label %{far}", f"{far}:"]
            self.emit_list([e for e in walk([e.args[2] for e in group]) if e in rare])
            mixed = [self.emit(e) for e in group]
            self.lines += [f"  br label %{join}", f"{join}:"]
            self.block = join
            for e, other in zip(group, mixed, strict=True):
                near = self.values[e.args[1]]
                self.values[e] = self.put(
                    f"phi {self.type(e.dtype)} [{near}, %{start}], [{other}, %{far}]"
                )
        self.emit_list([e for e in walk([result]) if e not in rare])

    def emit_list(self, order: list[Expr]) -> None:
        for e in order:
            if e not in self.values and e.op not in ("axis", "affine", "load"):
                self.values[e] = self.emit(e)

    def type_bool(self) -> str:
        return f"<{self.width} x i1>"


def _number(e: Expr) -> str:
    if e.dtype.is_float:
        return f"0x{struct.unpack('>Q', struct.pack('>d', float(e.data)))[0]:016X}"
    return str(e.data) if not e.dtype.is_bool else str(bool(e.data)).lower()


def _cast(source: DType, target: DType) -> str:
    if source.is_float and target.is_float:
        return "fpext" if target.bits > source.bits else "fptrunc"
    if source.is_float:
        return "fptosi"
    if target.is_float:
        return "uitofp" if source.is_bool else "sitofp"
    if target.bits <= source.bits:
        return "trunc"
    return "zext" if source.is_bool else "sext"


def rare_side(result: Expr, least: int = 24) -> tuple[list[Expr], set[Expr]]:
    """Find selects on one condition whose last operands need many operations of their own.

    Returns those selects and the operations that nothing else uses; both empty if there are none.
    """
    groups: dict[Expr, list[Expr]] = {}
    for e in walk([result]):
        if e.op == "select":
            groups.setdefault(e.args[0], []).append(e)
    for condition, group in groups.items():
        if condition.op != "le":
            continue
        kept: set[Expr] = set()
        stack = [result]
        while stack:
            e = stack.pop()
            if e not in kept:
                kept.add(e)
                stack.extend(e.args[:2] if e in group else e.args)
        rare = {e for e in walk([e.args[2] for e in group]) if e not in kept and e.op != "const"}
        if len(rare) >= least:
            return group, rare
    return [], set()


def expand(function: Callable[..., Expr], dtype: DType, arity: int) -> tuple[Expr, list[Expr]]:
    """Build the expression of `function` on `arity` loaded values."""
    s = Builder()
    i = s.at(Axis("i", 8, 1))
    loads = [s.load(Buffer(f"x{k}", dtype, (8,), "input"), i) for k in range(arity)]
    return function(s, *loads), loads


def source(function: Callable[..., Expr], dtype: DType, arity: int, unroll: int = 2) -> str:
    """Return LLVM text of `void f(out, in..., n)`; n is a multiple of 32 bytes * unroll."""
    result, loads = expand(function, dtype, arity)
    emitter = _Emitter(256 // dtype.bits)
    vector, lane = emitter.type(dtype), _scalar(dtype)
    for u in range(unroll):
        emitter.values = {}
        at = emitter.put(f"add i64 %i, {u * emitter.width}")
        for k, load in enumerate(loads):
            p = emitter.put(f"getelementptr {lane}, ptr %x{k}, i64 {at}")
            emitter.values[load] = emitter.put(f"load {vector}, ptr {p}, align {dtype.itemsize}")
        emitter.emit_all(result, u)
        p = emitter.put(f"getelementptr {lane}, ptr %out, i64 {at}")
        emitter.lines.append(
            f"  store {vector} {emitter.values[result]}, ptr {p}, align {dtype.itemsize}"
        )
    inputs = ", ".join(f"ptr noalias %x{k}" for k in range(arity))
    return "\n".join([
        *sorted(emitter.declared),
        f"define void @f(ptr noalias %out, {inputs}, i64 %n) {{", "entry:", "  br label %loop",
        "loop:", f"  %i = phi i64 [0, %entry], [%next, %{emitter.block}]", *emitter.lines,
        f"  %next = add i64 %i, {unroll * emitter.width}", "  %more = icmp slt i64 %next, %n",
        "  br i1 %more, label %loop, label %done", "done:", "  ret void", "}",
    ])  # fmt: skip


def machine() -> Any:
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )


class Compiled:
    """A native loop over arrays of one dtype; call it with arrays of any equal length."""

    def __init__(self, function: Callable[..., Expr], dtype: DType, arity: int = 1) -> None:
        module = llvm.parse_assembly(source(function, dtype, arity))
        self.dtype = dtype
        self.step = 2 * 256 // dtype.bits
        self.engine = llvm.create_mcjit_compiler(module, machine())
        self.engine.finalize_object()
        kinds = [ctypes.c_void_p] * (arity + 1) + [ctypes.c_int64]
        self.native = ctypes.CFUNCTYPE(None, *kinds)(self.engine.get_function_address("f"))

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        size = inputs[0].size
        padded = -(-max(size, 1) // self.step) * self.step
        arrays = [np.resize(x.astype(self.dtype.numpy), padded) for x in inputs]
        out = np.empty(padded, self.dtype.numpy)
        self.native(out.ctypes.data, *(a.ctypes.data for a in arrays), padded)
        return out[:size]
