"""Pieces of LLVM text: types, literals, the instruction for each scalar operation."""

from __future__ import annotations

import math
import struct

from symgraph.core.dtype import BOOL, DType
from symgraph.loops.expr import SUMS

_TYPES = {
    "bool": "i1",
    "float16": "half",
    "float32": "float",
    "float64": "double",
}


def register_type(dtype: DType) -> str:
    """Return the type of a value in a register: bool is one bit."""
    return _TYPES.get(dtype) or f"i{dtype.bits}"


def memory_type(dtype: DType) -> str:
    """Return the type of an element in memory: bool is one byte."""
    return "i8" if dtype is BOOL else register_type(dtype)


def vector_type(element: str, lanes: int) -> str:
    return element if lanes == 1 else f"<{lanes} x {element}>"


def literal(value: float, dtype: DType) -> str:
    """Return a scalar constant; floats as exact bit patterns."""
    if dtype is BOOL:
        return "true" if value else "false"
    if dtype.is_integer:
        n = int(value)
        return str(n - (1 << dtype.bits) if n >= 1 << (dtype.bits - 1) else n)
    x = float(value)
    if dtype == "float16":
        return f"0xH{struct.unpack('<H', struct.pack('<e', x))[0]:04X}"
    if dtype == "float32" and math.isfinite(x):
        x = struct.unpack("<f", struct.pack("<f", x))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X}"


def splat(element: str, text: str, lanes: int) -> str:
    """Return a constant in all lanes."""
    return text if lanes == 1 else f"splat ({element} {text})"


FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "rem": "frem"}
INT_BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor",
    "shl": "shl", "lshr": "lshr", "ashr": "ashr",
}  # fmt: skip
FLOAT_COMPARE = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
SIGNED_COMPARE = {"lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge", "eq": "eq", "ne": "ne"}
UNSIGNED_COMPARE = {"lt": "ult", "le": "ule", "gt": "ugt", "ge": "uge", "eq": "eq", "ne": "ne"}
INTRINSICS = {
    "abs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc",
    "rint": "rint", "copysign": "copysign", "fma": "fma",
}  # fmt: skip
IDENTITY = dict.fromkeys(SUMS, 0) | {"prod": 1, "any": 0, "all": 1, "or": 0, "and": 1}


def identity(kind: str, dtype: DType) -> str:
    """Return the value that a reduction starts from."""
    if kind in IDENTITY:
        # -0.0 is the exact identity of a float sum
        return literal(-0.0 if kind in SUMS and dtype.is_float else IDENTITY[kind], dtype)
    low = kind in ("max", "fmax")
    if kind == "nan":  # there is none
        return literal(0.0, dtype)
    if dtype.is_float:
        return literal(float("-inf") if low else float("inf"), dtype)
    if dtype is BOOL:
        return literal(not low, dtype)
    if dtype.kind == "u":
        return literal(0 if low else (1 << dtype.bits) - 1, dtype)
    limit = 1 << (dtype.bits - 1)
    return literal(-limit if low else limit - 1, dtype)


def shape_suffix(element: str, lanes: int) -> str:
    """Return the suffix of an overloaded intrinsic, e.g. v8f32."""
    name = {"half": "f16", "float": "f32", "double": "f64"}.get(element, element)
    return name if lanes == 1 else f"v{lanes}{name}"


def cast_instruction(source: DType, target: DType) -> str:
    """Return the LLVM conversion between two different number types (not to bool)."""
    if source.is_float:
        if target.is_float:
            return "fpext" if target.bits > source.bits else "fptrunc"
        return "fptoui" if target.kind == "u" and target.bits == 64 else "fptosi"
    if target.is_float:
        return "sitofp" if source.kind == "i" else "uitofp"
    if target.bits < source.bits:
        return "trunc"
    return "sext" if source.kind == "i" else "zext"
