"""What AVX-512 does in one instruction for float32: small tables, products by powers of two."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence

from symgraph.core.dtype import DType
from symgraph.cpu.kernels.scope import Emission, Scope
from symgraph.cpu.native.digest import digest
from symgraph.cpu.text import literal, register_type

REGISTER = 16  # numbers that the widest register holds
SCALEF, AS_SET = "@llvm.x86.avx512.mask.scalef.ps.512", 4  # rounded as all else is
PERMUTATIONS = {
    16: "@llvm.x86.avx512.permvar.sf.512",
    32: "@llvm.x86.avx512.vpermi2var.ps.512",
}


@functools.cache
def _registers(table: bytes, dtype: DType) -> list[str]:
    """Return a table of doubles as constant vectors: the same few are written again and again."""
    numbers = [f"float {literal(x, dtype)}" for (x,) in struct.iter_unpack("d", table)]
    return [
        f"<{REGISTER} x float> <{', '.join(numbers[k : k + REGISTER])}>"
        for k in range(0, len(numbers), REGISTER)
    ]


class Lookups(Emission):
    """Emits `lookup` and `scalef`. Vectors need AVX-512, float32 numbers and int32 places."""

    def _lookup(
        self, scope: Scope, table: Sequence[float], dtype: DType, lanes: int, place: str
    ) -> str:
        """Return the register of `table[place mod len(table)]`."""
        if lanes == 1:
            return self._from_memory(scope, table, dtype, place)
        wide = [self._cut(scope, "i32", place, lanes, k) for k in range(0, lanes, REGISTER)]
        parts = [self._permuted(scope, table, dtype, indices) for indices in wide]
        return self._side_by_side(scope, parts, lanes)

    def _scalef(self, scope: Scope, lanes: int, x: str, n: str) -> str:
        """Return the register of x * 2**floor(n)."""
        if lanes == 1:
            kind = "<4 x float>"
            first = f"insertelement {kind} poison, float"
            x, n = (self._new(scope, f"{first} {v}, i32 0") for v in (x, n))
            return self._new(scope, f"extractelement {kind} {self._scalef(scope, 4, x, n)}, i32 0")
        t = f"<{REGISTER} x float>"
        self.declared.add(f"declare {t} {SCALEF}({t}, {t}, {t}, i16, i32)")
        parts = []
        for k in range(0, lanes, REGISTER):
            a, b = (self._cut(scope, "float", v, lanes, k) for v in (x, n))
            operands = f"{t} {a}, {t} {b}, {t} poison, i16 -1, i32 {AS_SET}"
            parts.append(self._new(scope, f"call {t} {SCALEF}({operands})"))
        return self._side_by_side(scope, parts, lanes)

    def _side_by_side(self, scope: Scope, parts: list[str], lanes: int) -> str:
        """Return registers as one vector."""
        while len(parts) > 1:
            size = lanes // len(parts)
            both = ", ".join(f"i32 {k}" for k in range(2 * size))
            t = f"<{size} x float>"
            parts = [
                self._new(scope, f"shufflevector {t} {a}, {t} {b}, <{2 * size} x i32> <{both}>")
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
        return parts[0] if lanes >= REGISTER else self._cut(scope, "float", parts[0], 16, 0, lanes)

    def _cut(
        self, scope: Scope, element: str, value: str, lanes: int, start: int, count: int = REGISTER
    ) -> str:
        """Return `count` lanes of a vector from `start` on; those that it does not have are any."""
        if lanes == count:
            return value
        places = range(start, start + count)
        order = ", ".join(f"i32 {k}" if k < lanes else "i32 poison" for k in places)
        t = f"<{lanes} x {element}>"
        return self._new(scope, f"shufflevector {t} {value}, {t} poison, <{count} x i32> <{order}>")

    def _permuted(self, scope: Scope, table: Sequence[float], dtype: DType, places: str) -> str:
        name = PERMUTATIONS[len(table)]
        t, places = f"<{REGISTER} x float>", f"<{REGISTER} x i32> {places}"
        first, *second = _registers(struct.pack(f"{len(table)}d", *table), dtype)
        operands = [first, places, *second]
        kinds = [t, f"<{REGISTER} x i32>", *[t] * len(second)]
        self.declared.add(f"declare {t} {name}({', '.join(kinds)})")
        return self._new(scope, f"call {t} {name}({', '.join(operands)})")

    def _from_memory(self, scope: Scope, table: Sequence[float], dtype: DType, place: str) -> str:
        element = register_type(dtype)
        kind = f"[{len(table)} x {element}]"
        numbers = ", ".join(f"{element} {literal(x, dtype)}" for x in table)
        name = f"@table.{digest(numbers.encode()).hex()[:16]}"
        self.declared.add(f"{name} = private unnamed_addr constant {kind} [{numbers}], align 64")
        inside = self._new(scope, f"and i32 {place}, {len(table) - 1}")
        at = self._new(scope, f"getelementptr {kind}, ptr {name}, i32 0, i32 {inside}")
        return self._new(scope, f"load {element}, ptr {at}, align {dtype.itemsize}")
