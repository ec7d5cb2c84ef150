"""The result pool: large blocks of memory kept for reuse, and scratch arenas taken from it.

A fresh large array costs as much in page faults as filling it; a kept block costs nothing. The
allocator is native code that runs under the interpreter lock: results hand their block back
through the destructor of a capsule, wherever and whenever the last reference to them goes.
"""

from __future__ import annotations

import ctypes
import functools
import sys

import numpy as np

from symgraph.core.record import dataclass
from symgraph.cpu import abi
from symgraph.cpu.native import jit

KEEP_BYTES = 1 << 30  # free blocks beyond this total go back to the system
HUGE_BYTES = 4 << 20  # blocks of this size and above ask for huge pages
HUGE_PAGE = 2 << 20
SMALLEST_BITS = 14  # the smallest class is 16 KiB, so that quarter steps are whole pages
LARGEST_BITS = 47
CLASSES = 4 * (LARGEST_BITS - SMALLEST_BITS + 2)

# Words of the pool's state, then one list head per size class.
_LIMIT, _KEPT, _USED, _HITS, _MISSES, _MMAP, _MUNMAP, _MADVISE, _GET_POINTER, _GET_CONTEXT = range(
    10
)
_HEADS = 16
MAP_FLAGS = 0x22 if sys.platform == "linux" else 0x1002  # MAP_PRIVATE | MAP_ANONYMOUS
_MADV_HUGEPAGE = 14
_HUGE_LIMIT = HUGE_BYTES if sys.platform == "linux" else 1 << 62


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Bytes kept free, bytes handed out, and how often a kept block served a request."""

    kept: int
    used: int
    hits: int
    misses: int


def class_of(nbytes: int) -> tuple[int, int]:
    """Return (index, size in bytes) of the size class: powers of two and 1.25, 1.5, 1.75 of them.

    Mirrors the native `@size_class`.
    """
    last = max(nbytes, 1 << SMALLEST_BITS) - 1
    bits = last.bit_length() - 1
    quarter = (last >> (bits - 2)) & 3
    return (bits - SMALLEST_BITS + 1) * 4 + quarter, (5 + quarter) << (bits - 2)


_TEXT = f"""
@state = dso_local global [{_HEADS + CLASSES} x i64] zeroinitializer, align 64
@block_name = private constant [15 x i8] c"symgraph.block\\00"
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.umax.i64(i64, i64)

define internal {{ i64, i64 }} @size_class(i64 %bytes) {{
  %enough = call i64 @llvm.umax.i64(i64 %bytes, i64 {1 << SMALLEST_BITS})
  %last = sub i64 %enough, 1
  %zeros = call i64 @llvm.ctlz.i64(i64 %last, i1 true)
  %bits = sub i64 63, %zeros
  %shift = sub i64 %bits, 2
  %top = lshr i64 %last, %shift
  %quarter = and i64 %top, 3
  %above = sub i64 %bits, {SMALLEST_BITS - 1}
  %above4 = shl i64 %above, 2
  %index = add i64 %above4, %quarter
  %steps = add i64 %quarter, 5
  %size = shl i64 %steps, %shift
  %a = insertvalue {{ i64, i64 }} poison, i64 %index, 0
  %b = insertvalue {{ i64, i64 }} %a, i64 %size, 1
  ret {{ i64, i64 }} %b
}}

define internal ptr @word(i64 %i) {{
  %p = getelementptr i64, ptr @state, i64 %i
  ret ptr %p
}}

define internal void @count(i64 %i, i64 %change) {{
  %p = getelementptr i64, ptr @state, i64 %i
  %old = load i64, ptr %p
  %new = add i64 %old, %change
  store i64 %new, ptr %p
  ret void
}}

define internal ptr @map(i64 %size) {{
  %mmap.at = getelementptr i64, ptr @state, i64 {_MMAP}
  %mmap = load ptr, ptr %mmap.at
  %p = call ptr %mmap(ptr null, i64 %size, i32 3, i32 {MAP_FLAGS}, i32 -1, i64 0)
  %bits = ptrtoint ptr %p to i64
  %bad = icmp eq i64 %bits, -1
  %r = select i1 %bad, ptr null, ptr %p
  ret ptr %r
}}

define internal void @unmap(ptr %p, i64 %size) {{
entry:
  %none = icmp eq i64 %size, 0
  br i1 %none, label %end, label %do
do:
  %munmap.at = getelementptr i64, ptr @state, i64 {_MUNMAP}
  %munmap = load ptr, ptr %munmap.at
  %r = call i32 %munmap(ptr %p, i64 %size)
  br label %end
end:
  ret void
}}

; A block on a huge page boundary: map more than needed and give the two ends back.
define internal ptr @map_huge(i64 %size) {{
entry:
  %more = add i64 %size, {HUGE_PAGE}
  %p = call ptr @map(i64 %more)
  %bad = icmp eq ptr %p, null
  br i1 %bad, label %fail, label %trim
trim:
  %bits = ptrtoint ptr %p to i64
  %up = add i64 %bits, {HUGE_PAGE - 1}
  %aligned = and i64 %up, -{HUGE_PAGE}
  %before = sub i64 %aligned, %bits
  %after = sub i64 {HUGE_PAGE}, %before
  call void @unmap(ptr %p, i64 %before)
  %start = inttoptr i64 %aligned to ptr
  %end = getelementptr i8, ptr %start, i64 %size
  call void @unmap(ptr %end, i64 %after)
  %madvise.at = getelementptr i64, ptr @state, i64 {_MADVISE}
  %madvise = load ptr, ptr %madvise.at
  %r = call i32 %madvise(ptr %start, i64 %size, i32 {_MADV_HUGEPAGE})
  ret ptr %start
fail:
  ret ptr null
}}

define internal ptr @fresh(i64 %size) {{
entry:
  %huge = icmp uge i64 %size, {_HUGE_LIMIT}
  br i1 %huge, label %large, label %small
large:
  %a = call ptr @map_huge(i64 %size)
  ret ptr %a
small:
  %b = call ptr @map(i64 %size)
  ret ptr %b
}}

define ptr @pool_alloc(i64 %bytes) {{
entry:
  %absurd = icmp ugt i64 %bytes, {1 << LARGEST_BITS}
  br i1 %absurd, label %fail, label %look
look:
  %class = call {{ i64, i64 }} @size_class(i64 %bytes)
  %index = extractvalue {{ i64, i64 }} %class, 0
  %size = extractvalue {{ i64, i64 }} %class, 1
  %slot = add i64 %index, {_HEADS}
  %head = call ptr @word(i64 %slot)
  %first = load ptr, ptr %head
  %empty = icmp eq ptr %first, null
  br i1 %empty, label %miss, label %hit
hit:
  %next = load ptr, ptr %first
  store ptr %next, ptr %head
  %minus = sub i64 0, %size
  call void @count(i64 {_KEPT}, i64 %minus)
  call void @count(i64 {_USED}, i64 %size)
  call void @count(i64 {_HITS}, i64 1)
  ret ptr %first
miss:
  call void @count(i64 {_MISSES}, i64 1)
  %p = call ptr @fresh(i64 %size)
  %bad = icmp eq ptr %p, null
  br i1 %bad, label %again, label %got
again:
  ; The blocks of the other classes may be what is missing.
  call void @pool_clear()
  %q = call ptr @fresh(i64 %size)
  %bad2 = icmp eq ptr %q, null
  br i1 %bad2, label %fail, label %got
got:
  %r = phi ptr [ %p, %miss ], [ %q, %again ]
  call void @count(i64 {_USED}, i64 %size)
  ret ptr %r
fail:
  ret ptr null
}}

define void @pool_free(ptr %p, i64 %bytes) {{
entry:
  %class = call {{ i64, i64 }} @size_class(i64 %bytes)
  %index = extractvalue {{ i64, i64 }} %class, 0
  %size = extractvalue {{ i64, i64 }} %class, 1
  %minus = sub i64 0, %size
  call void @count(i64 {_USED}, i64 %minus)
  %limit.at = call ptr @word(i64 {_LIMIT})
  %limit = load i64, ptr %limit.at
  %kept.at = call ptr @word(i64 {_KEPT})
  %kept = load i64, ptr %kept.at
  %total = add i64 %kept, %size
  %over = icmp ugt i64 %total, %limit
  br i1 %over, label %give, label %keep
keep:
  %slot = add i64 %index, {_HEADS}
  %head = call ptr @word(i64 %slot)
  %next = load ptr, ptr %head
  store ptr %next, ptr %p
  store ptr %p, ptr %head
  store i64 %total, ptr %kept.at
  ret void
give:
  call void @unmap(ptr %p, i64 %size)
  ret void
}}

define void @pool_clear() {{
entry:
  br label %classes
classes:
  %i = phi i64 [ 0, %entry ], [ %i1, %done ]
  %slot = add i64 %i, {_HEADS}
  %head = call ptr @word(i64 %slot)
  br label %blocks
blocks:
  %p = load ptr, ptr %head
  %empty = icmp eq ptr %p, null
  br i1 %empty, label %done, label %drop
drop:
  %next = load ptr, ptr %p
  store ptr %next, ptr %head
  %quarter = and i64 %i, 3
  %steps = add i64 %quarter, 5
  %above = lshr i64 %i, 2
  %shift = add i64 %above, {SMALLEST_BITS - 3}
  %size = shl i64 %steps, %shift
  %minus = sub i64 0, %size
  call void @count(i64 {_KEPT}, i64 %minus)
  call void @unmap(ptr %p, i64 %size)
  br label %blocks
done:
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, {CLASSES}
  br i1 %more, label %classes, label %end
end:
  ret void
}}

; Destructor of a result's capsule; its context is the size in bytes.
define void @pool_release(ptr %capsule) {{
  %get.at = call ptr @word(i64 {_GET_POINTER})
  %get = load ptr, ptr %get.at
  %p = call ptr %get(ptr %capsule, ptr @block_name)
  %size.at = call ptr @word(i64 {_GET_CONTEXT})
  %get_context = load ptr, ptr %size.at
  %context = call ptr %get_context(ptr %capsule)
  %bytes = ptrtoint ptr %context to i64
  call void @pool_free(ptr %p, i64 %bytes)
  ret void
}}

; The slow side of taking a scratch arena: words are (address, size, busy). A busy arena means
; a block for this call only; a small one is replaced.
define ptr @arena_take(ptr %words, i64 %bytes) {{
entry:
  %size.at = getelementptr i64, ptr %words, i64 1
  %busy.at = getelementptr i64, ptr %words, i64 2
  %busy = load i64, ptr %busy.at
  %free = icmp eq i64 %busy, 0
  br i1 %free, label %grow, label %extra
extra:
  %temporary = call ptr @pool_alloc(i64 %bytes)
  ret ptr %temporary
grow:
  %old = load ptr, ptr %words
  %had = icmp ne ptr %old, null
  br i1 %had, label %drop, label %take
drop:
  %old_size = load i64, ptr %size.at
  store ptr null, ptr %words
  store i64 0, ptr %size.at
  call void @pool_free(ptr %old, i64 %old_size)
  br label %take
take:
  %new = call ptr @pool_alloc(i64 %bytes)
  %bad = icmp eq ptr %new, null
  br i1 %bad, label %fail, label %good
good:
  store ptr %new, ptr %words
  store i64 %bytes, ptr %size.at
  store i64 1, ptr %busy.at
  ret ptr %new
fail:
  ret ptr null
}}
"""

_EXPORTS = ("state", "pool_alloc", "pool_free", "pool_release", "pool_clear", "arena_take")


@functools.cache
def _coming() -> jit.Coming:
    return jit.Coming(_TEXT, _EXPORTS, opt_level=0)


def begin() -> None:
    """Let the allocator be made in the background; the first function that needs it waits."""
    _coming()


class ResultPool:
    """Addresses of the native allocator, and its figures. One per process: see `result_pool`.

    Every call must hold the interpreter lock; the native side does not lock.
    """

    def __init__(self) -> None:
        self._code = _coming().result()
        self.alloc_address = self._code.address("pool_alloc")
        self.free_address = self._code.address("pool_free")
        self.release_address = self._code.address("pool_release")
        self.arena_take_address = self._code.address("arena_take")
        words = (ctypes.c_int64 * (_HEADS + CLASSES)).from_address(self._code.address("state"))
        words[_LIMIT] = KEEP_BYTES
        words[_MMAP] = abi.libc_address("mmap")
        words[_MUNMAP] = abi.libc_address("munmap")
        words[_MADVISE] = abi.libc_address("madvise")
        words[_GET_POINTER] = abi.function_address(ctypes.pythonapi.PyCapsule_GetPointer)
        words[_GET_CONTEXT] = abi.function_address(ctypes.pythonapi.PyCapsule_GetContext)
        self._words = words
        # PYFUNCTYPE keeps the interpreter lock, which is what guards the lists.
        kind = ctypes.PYFUNCTYPE
        self._alloc = kind(ctypes.c_void_p, ctypes.c_int64)(self.alloc_address)
        self._free = kind(None, ctypes.c_void_p, ctypes.c_int64)(self.free_address)
        self._clear = kind(None)(self._code.address("pool_clear"))
        # Results may die after everything else, so the code that takes them back never does.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._code))

    def alloc(self, nbytes: int) -> int:
        """Return the address of a block of at least `nbytes`, 4096-byte aligned, not zeroed."""
        address: int = self._alloc(nbytes)
        if not address:
            raise MemoryError(f"no block of {nbytes} bytes")
        return address

    def free(self, address: int, nbytes: int) -> None:
        """Take a block back; `nbytes` as it was asked for."""
        self._free(address, nbytes)

    def stats(self) -> PoolStats:
        """Return the present figures."""
        words = self._words
        return PoolStats(words[_KEPT], words[_USED], words[_HITS], words[_MISSES])

    def clear(self) -> None:
        """Give all kept blocks back to the system."""
        self._clear()

    def set_limit(self, nbytes: int) -> None:
        """Set how many bytes of free blocks are kept; those kept now stay."""
        self._words[_LIMIT] = nbytes

    def fill_context(self, words: np.ndarray) -> None:
        """Write the addresses that the entry uses into a context table."""
        words[abi.Ctx.POOL_ALLOC] = self.alloc_address
        words[abi.Ctx.POOL_FREE] = self.free_address
        words[abi.Ctx.POOL_RELEASE] = self.release_address
        words[abi.Ctx.ARENA_TAKE] = self.arena_take_address


_pools: list[ResultPool] = []


def result_pool() -> ResultPool:
    """Return the result pool of this process."""
    if not _pools:
        made = ResultPool()
        if not _pools:  # another thread may have been faster
            _pools.append(made)
    return _pools[0]
