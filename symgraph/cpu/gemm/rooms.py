"""Rooms for packed blocks of A: memory that a product holds while it runs, kept for the next one.

A thread's stack may be too small for a block of half a megabyte and more. The rooms are in a table
that all products of the process share: who needs one takes the first free line, which most often
is the one used last and still in the caches. Where there is none (too many threads, no memory)
the product goes on in small blocks on its stack, with the same results.
"""

from __future__ import annotations

import ctypes
import os

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm.shape import A_BYTES, WIDE_A_BYTES, Shape
from symgraph.cpu.native.memory import MAP_FLAGS

ROOMS = 256
ROOM_BYTES = max(A_BYTES, WIDE_A_BYTES) + (4 << 10)  # for the products of any vector width
LINE = 64  # bytes; the first word tells whether the room is taken, the next where it is
SMALL_BYTES = 32 << 10  # a block that lies on the stack


def rooms(shape: Shape) -> str:
    """Return the module's part that takes and gives back a room; `@rooms` is set by `lend`."""
    assert shape.block_bytes + shape.spare_bytes <= ROOM_BYTES
    return f"""
@rooms = dso_local global ptr null, align 8
declare ptr @mmap(ptr, i64, i32, i32, i32, i64)

; Return an address and the line to be given back: where none is wanted or free, what is offered
; instead and null.
define internal {{ ptr, ptr }} @take.room(i1 %wanted, ptr %instead) nounwind {{
entry:
  %table = load ptr, ptr @rooms, align 8
  br i1 %wanted, label %look, label %none
look:
  %i = phi i64 [ 0, %entry ], [ %i1, %go_on ]
  %offset = mul i64 %i, {LINE}
  %line = getelementptr i8, ptr %table, i64 %offset
  %taken = load atomic i64, ptr %line monotonic, align 8
  %free = icmp eq i64 %taken, 0
  br i1 %free, label %try, label %go_on
try:
  %pair = cmpxchg ptr %line, i64 0, i64 1 acquire monotonic, align 8
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %mine, label %enter, label %go_on
go_on:
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, {ROOMS}
  br i1 %more, label %look, label %none
enter:
  %at = getelementptr i8, ptr %line, i64 8
  %old = load ptr, ptr %at, align 8
  %made = icmp ne ptr %old, null
  br i1 %made, label %done, label %make
make:
  %new = call ptr @mmap(ptr null, i64 {ROOM_BYTES}, i32 3, i32 {MAP_FLAGS}, i32 -1, i64 0)
  %word = ptrtoint ptr %new to i64
  %bad = icmp eq i64 %word, -1
  br i1 %bad, label %fail, label %keep
keep:
  store ptr %new, ptr %at, align 8
  br label %done
fail:
  store atomic i64 0, ptr %line release, align 8
  br label %none
done:
  %room = phi ptr [ %old, %enter ], [ %new, %keep ]
  %a = insertvalue {{ ptr, ptr }} poison, ptr %room, 0
  %b = insertvalue {{ ptr, ptr }} %a, ptr %line, 1
  ret {{ ptr, ptr }} %b
none:
  %c = insertvalue {{ ptr, ptr }} poison, ptr %instead, 0
  %d = insertvalue {{ ptr, ptr }} %c, ptr null, 1
  ret {{ ptr, ptr }} %d
}}

define internal void @give.room(ptr %line) nounwind {{
entry:
  %none = icmp eq ptr %line, null
  br i1 %none, label %end, label %give
give:
  store atomic i64 0, ptr %line release, align 8
  br label %end
end:
  ret void
}}
"""


class Room:
    """A block's place in a function being written: a room, or for a small block its stack."""

    def __init__(self, shape: Shape, f: FunctionText, rows: str, depth: str, wanted: str) -> None:
        """Take it for `rows` by `depth` elements; `wanted`: whether anything will be packed."""
        small = f.new(f"alloca [{SMALL_BYTES + shape.spare_bytes} x i8], align 64")
        few = SMALL_BYTES // (shape.depth * shape.size) // shape.rows * shape.rows
        padded = f.mul(f.ceil_div(rows, shape.rows), shape.rows * shape.size)
        large = f.new(f"icmp sgt i64 {f.mul(padded, depth)}, {SMALL_BYTES}")
        needed = f.new(f"and i1 {wanted}, {large}")
        pair = f.new(f"call {{ ptr, ptr }} @take.room(i1 {needed}, ptr {small})")
        self.address = f.new(f"extractvalue {{ ptr, ptr }} {pair}, 0")
        self._line = f.new(f"extractvalue {{ ptr, ptr }} {pair}, 1")
        without = f.new(f"icmp eq ptr {self._line}, null")
        poor = f.new(f"and i1 {needed}, {without}")
        # rows of a block, at most
        self.rows = f.new(f"select i1 {poor}, i64 {few}, i64 {shape.block_rows}")

    def give_back(self, f: FunctionText) -> None:
        f.do(f"call void @give.room(ptr {self._line})")


def new_table() -> int:
    """Return the address of a table, all lines free."""
    room = ctypes.create_string_buffer((ROOMS + 1) * LINE)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(room))  # threads may work until the very end
    return -(-ctypes.addressof(room) // LINE) * LINE


def _leave_all() -> None:
    """Free all lines: a forked child does not have the threads that held them."""
    for line in range(ROOMS):
        ctypes.c_int64.from_address(TABLE + line * LINE).value = 0


TABLE = new_table()  # of the process
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)


def lend(variable: int, table: int = TABLE) -> None:
    """Let a loaded product use a table: `variable` is the address of its `@rooms`."""
    ctypes.c_void_p.from_address(variable).value = table
