"""Addresses, loads and stores: contiguous, strided, gathered, guarded and masked."""

from __future__ import annotations

from typing import Any

from symgraph.core.dtype import BOOL
from symgraph.cpu.kernels.operations import Operations
from symgraph.cpu.kernels.scope import Scope, Vector
from symgraph.cpu.text import (
    literal,
    memory_type,
    register_type,
    shape_suffix,
    splat,
    vector_type,
)
from symgraph.dims.bounds import interval
from symgraph.dims.dim import provably_le
from symgraph.loops.expr import Buffer, Expr, Size
from symgraph.loops.schedule import SHUFFLE_STRIDE, coefficient, stride

CLOSE = range(2, SHUFFLE_STRIDE + 1)  # strides of lanes that are loaded together
AHEAD = 1024  # bytes behind a masked load that are asked for
AVX2_BYTES = 32  # of the vectors of processors that have masked loads as extra instructions
ZEROS = "@symgraph.zeros"  # what a guarded load reads where its guard is false
ZEROS_TEXT = f"{ZEROS} = internal constant [64 x i64] zeroinitializer, align 64"


class Access(Operations):
    """Emits index arithmetic and the movement between memory and registers."""

    def is_vector(self, e: Expr, scope: Scope) -> bool:
        """Tell whether the value differs from lane to lane in this scope."""
        return scope.vector is not None and bool(e.free & scope.vector.axis.bit)

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
            divisor = self._divisor(e.data)
            size = splat("i64", divisor, lanes)
            if not isinstance(e.data, int) and lanes > 1:
                size = self._broadcast(scope, "i64", divisor, lanes)
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

    def _divisor(self, n: Size) -> str:
        """Return a size that something is divided by; 1 for 0, of an array that nothing is read of.

        The places of a guarded load are computed whether or not anything is read there.
        """
        low = interval(n)[0]
        if low is not None and low >= 1:
            return self._size(n)
        found = self.root.env.get(("divisor", n))
        if found is None:
            found = self._call(self.root, "smax", "i64", 1, [self._size(n), "1"])
            self.root.env["divisor", n] = found
        return found

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

    def pointer(self, buffer: Buffer, address: Expr, scope: Scope) -> str:
        """Return the address of an element (of lane 0 when it moves with the lanes).

        What does not depend on the innermost loop is added outside of it.
        """
        vector = scope.vector
        element = memory_type(buffer.dtype)
        if vector is None or not address.free & vector.axis.bit:
            return self._plain_pointer(buffer, address, scope)
        key = ("pointer", buffer, address)
        home = scope.home(address.free | _moving(buffer))
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
        home = scope.home(address.free | _moving(buffer))
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
        elif step == -1 and guard is None and not self._slow_mask(buffer, vector, guarded):
            value = self._load_reversed(scope, buffer, address)
        elif step is not None and step in CLOSE and not self._slow_mask(buffer, vector, guarded):
            value = self._load_strided(scope, buffer, address, guard, guarded, step)
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
        return self._load_whole(scope, buffer, pointer, mask)

    def _load_whole(self, scope: Scope, buffer: Buffer, pointer: str, mask: str | None) -> str:
        """Load adjacent elements, 0 where the mask is false."""
        assert scope.vector is not None
        lanes = scope.vector.lanes
        if mask is None:
            return self._new(scope, self._load_text(buffer, pointer, lanes))
        return self._load_first(scope, buffer, pointer, lanes, mask)

    def _load_first(
        self, scope: Scope, buffer: Buffer, pointer: str, lanes: int, mask: str
    ) -> str:
        """Load the adjacent elements of a mask."""
        self._ask_ahead(scope, pointer)
        element = memory_type(buffer.dtype)
        kind = vector_type(element, lanes)
        name = f"@llvm.masked.load.{shape_suffix(element, lanes)}.p0"
        self.declared.add(f"declare {kind} {name}(ptr, i32, <{lanes} x i1>, {kind})")
        return self._new(
            scope,
            f"call {kind} {name}(ptr {pointer}, i32 {buffer.dtype.itemsize}, "
            f"<{lanes} x i1> {mask}, {kind} zeroinitializer)",
        )

    def _ask_ahead(self, scope: Scope, pointer: str) -> None:
        """Ask for what follows a masked load of AVX2: these teach a core no stream to follow."""
        if self.machine_bytes != AVX2_BYTES:
            return
        self.declared.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        there = self._new(scope, f"getelementptr i8, ptr {pointer}, i64 {AHEAD}")
        scope.lines.append(f"  call void @llvm.prefetch.p0(ptr {there}, i32 0, i32 3, i32 1)")

    def _load_strided(
        self,
        scope: Scope,
        buffer: Buffer,
        address: Expr,
        guard: Expr | None,
        guarded: bool,
        step: int,
    ) -> str:
        raise NotImplementedError

    def _load_reversed(self, scope: Scope, buffer: Buffer, address: Expr) -> str:
        assert scope.vector is not None
        lanes, mask = scope.vector.lanes, scope.vector.mask
        last = self.pointer(buffer, address, scope)
        element = memory_type(buffer.dtype)
        first = self._new(scope, f"getelementptr {element}, ptr {last}, i64 {1 - lanes}")
        if mask is not None:
            mask = self._reversed(scope, f"<{lanes} x i1>", mask)
        value = self._load_whole(scope, buffer, first, mask)
        return self._reversed(scope, vector_type(element, lanes), value)

    def _reversed(self, scope: Scope, kind: str, value: str) -> str:
        """Return a vector with its lanes in reverse order."""
        assert scope.vector is not None
        lanes = scope.vector.lanes
        order = ", ".join(f"i32 {k}" for k in reversed(range(lanes)))
        return self._new(
            scope, f"shufflevector {kind} {value}, {kind} poison, <{lanes} x i32> <{order}>"
        )

    def _lane_pointers(self, scope: Scope, buffer: Buffer, address: Expr) -> list[str]:
        """Return the address of each lane's element."""
        vector = scope.vector
        assert vector is not None
        element = memory_type(buffer.dtype)
        step = coefficient(address, vector.axis)
        if step is not None:
            first = self.pointer(buffer, address, scope)
            places = [self._place(step, k) for k in range(vector.lanes)]
            return [self._gep(scope, element, first, at) for at in places]
        index = self.value(address, scope)
        base, t = self._base(buffer), vector_type("i64", vector.lanes)
        result = []
        for k in range(vector.lanes):
            at = self._new(scope, f"extractelement {t} {index}, i32 {k}")
            result.append(self._gep(scope, element, base, at))
        return result

    def _place(self, step: Size, lane: int) -> str:
        """Return how many elements a lane lies behind the first one."""
        if isinstance(step, int) or lane < 2:
            return self._size(step * lane)
        key = ("place", step, lane)
        found = self.root.env.get(key)
        if found is None:
            found = self._new(self.root, f"mul i64 {self._size(step)}, {lane}")
            self.root.env[key] = found
        return found

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
        for k, place in enumerate(pointers):
            pointer = place
            if mask is not None:
                bit = self._new(scope, f"extractelement <{lanes} x i1> {mask}, i32 {k}")
                pointer = self._new(scope, f"select i1 {bit}, ptr {pointer}, ptr {ZEROS}")
            part = self._new(scope, self._load_text(buffer, pointer, 1))
            value = self._new(scope, f"insertelement {kind} {value}, {element} {part}, i32 {k}")
        return value


def _moving(buffer: Buffer) -> int:
    """Return the bit of the loop from step to step of which the buffer may change its place."""
    return 0 if buffer.axis is None else buffer.axis.bit
