"""Text of the native entry: result arrays and scratch memory."""

from __future__ import annotations

ARRAYS = """
@block_name = private constant [15 x i8] c"symgraph.block\\00"

define internal ptr @numpy_array(ptr %ctx, ptr %record, ptr %shape, ptr %data, i32 %flags) {
  %dtype = field ptr %record RECORD_DTYPE
  %nd = field i32 %record RECORD_ND
  api void INCREF(ptr %dtype)
  %type = ctx ptr ARRAY_TYPE
  %r = api ptr ARRAY_NEW(ptr %type, ptr %dtype, i32 %nd, ptr %shape, ptr null, ptr %data,
                         i32 %flags, ptr null)
  ret ptr %r
}

; Tell whether the array that was last made for an output can be handed out again: the record alone
; refers to it, no weak reference does, and it is as it was made.
define internal i1 @reusable(ptr %record, ptr %kept, ptr %shape, i64 %nd) {
entry:
  %none = icmp eq ptr %kept, null
  br i1 %none, label %no, label %look
look:
  %references = field i32 %kept OB_REFCNT
  %weak = field ptr %kept ARRAY_WEAKREFS
  %descr = field ptr %kept ARRAY_DESCR
  %dtype = field ptr %record RECORD_DTYPE
  %flags = field i32 %kept ARRAY_FLAGS
  %made = field i32 %record RECORD_KEPT_FLAGS
  %rank = field i32 %kept ARRAY_ND
  %rank64 = sext i32 %rank to i64
  %alone = icmp eq i32 %references, 1
  %strong = icmp eq ptr %weak, null
  %same_type = icmp eq ptr %descr, %dtype
  %same_flags = icmp eq i32 %flags, %made
  %same_rank = icmp eq i64 %rank64, %nd
  %ours = and i1 %alone, %strong
  %typed = and i1 %same_type, %same_flags
  %unchanged = and i1 %typed, %same_rank
  %good = and i1 %ours, %unchanged
  br i1 %good, label %sizes, label %no
sizes:
  %dims = field ptr %kept ARRAY_DIMS
  %lone = icmp eq i64 %nd, 0
  br i1 %lone, label %yes, label %loop
loop:
  %i = phi i64 [ 0, %sizes ], [ %i1, %next ]
  %has = item i64 %dims %i
  %wanted = item i64 %shape %i
  %same = icmp eq i64 %has, %wanted
  br i1 %same, label %next, label %no
next:
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %nd
  br i1 %more, label %loop, label %yes
yes:
  ret i1 true
no:
  ret i1 false
}

; Make an output array: small ones in NumPy's memory, large ones in a block of the pool. Null with
; an exception set where that fails; sizes that are negative or too large NumPy itself refuses.
; Making and freeing an array takes longer than a short function, so the last two small ones are
; kept: in `r = f(x)` the one before is still in use during the call.
define internal ptr @new_array(ptr %ctx, ptr %record, ptr %dims, ptr %shape) {
entry:
  %nd32 = field i32 %record RECORD_ND
  %nd = sext i32 %nd32 to i64
  %sizes = field ptr %record RECORD_SIZES
  %lone = icmp eq i64 %nd, 0
  br i1 %lone, label %choose, label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  %want = getelementptr [2 x i64], ptr %sizes, i64 %i
  %size = call i64 @size_of(ptr %want, ptr %dims)
  set i64 %size %shape %i
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %nd
  br i1 %more, label %loop, label %choose
choose:
  %pair = call { i64, i1 } @nbytes(ptr %record, ptr %dims)
  %bytes = extractvalue { i64, i1 } %pair, 0
  %over = extractvalue { i64, i1 } %pair, 1
  %big = icmp sge i64 %bytes, POOL_BYTES
  %exact = xor i1 %over, true
  %pooled = and i1 %big, %exact
  br i1 %pooled, label %large, label %small
small:
  %kept = field ptr %record RECORD_KEPT
  %again = call i1 @reusable(ptr %record, ptr %kept, ptr %shape, i64 %nd)
  br i1 %again, label %old, label %second
second:
  %before = field ptr %record RECORD_KEPT_BEFORE
  %again2 = call i1 @reusable(ptr %record, ptr %before, ptr %shape, i64 %nd)
  br i1 %again2, label %old, label %new
old:
  %free = phi ptr [ %kept, %small ], [ %before, %second ]
  %count = field i64 %free OB_REFCNT
  %count1 = add i64 %count, 1
  put i64 %count1 %free OB_REFCNT
  ret ptr %free
new:
  %nothing = icmp eq ptr %before, null
  br i1 %nothing, label %first, label %held
held:
  %weak = field ptr %before ARRAY_WEAKREFS
  %watched = icmp ne ptr %weak, null
  br i1 %watched, label %plain, label %forget
plain:
  ; Not let go of here: who watches it by a weak reference would run code after the checks.
  %unkept = call ptr @numpy_array(ptr %ctx, ptr %record, ptr %shape, ptr null, i32 0)
  ret ptr %unkept
forget:
  put ptr null %record RECORD_KEPT_BEFORE
  api void DECREF(ptr %before)
  br label %first
first:
  put ptr %kept %record RECORD_KEPT_BEFORE
  put ptr null %record RECORD_KEPT
  %array = call ptr @numpy_array(ptr %ctx, ptr %record, ptr %shape, ptr null, i32 0)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %made, label %keep
keep:
  %given = field i32 %array ARRAY_FLAGS
  put i32 %given %record RECORD_KEPT_FLAGS
  put ptr %array %record RECORD_KEPT
  api void INCREF(ptr %array)
  br label %made
made:
  ret ptr %array
large:
  %block = api ptr POOL_ALLOC(i64 %bytes)
  %none = icmp eq ptr %block, null
  br i1 %none, label %no_memory, label %wrap
no_memory:
  %ignored = api ptr ERR_NO_MEMORY()
  ret ptr null
wrap:
  %release = ctx ptr POOL_RELEASE
  %capsule = api ptr CAPSULE_NEW(ptr %block, ptr @block_name, ptr %release)
  %no_capsule = icmp eq ptr %capsule, null
  br i1 %no_capsule, label %give_back, label %fill
give_back:
  api void POOL_FREE(ptr %block, i64 %bytes)
  ret ptr null
fill:
  %context = inttoptr i64 %bytes to ptr
  %r = api i32 CAPSULE_SET_CONTEXT(ptr %capsule, ptr %context)
  %over_block = call ptr @numpy_array(ptr %ctx, ptr %record, ptr %shape, ptr %block, i32 FLAGS_NEW)
  %no_array = icmp eq ptr %over_block, null
  br i1 %no_array, label %drop, label %attach
attach:
  %s = api i32 ARRAY_SET_BASE(ptr %over_block, ptr %capsule)
  %attached = icmp eq i32 %s, 0
  br i1 %attached, label %good, label %drop
good:
  ret ptr %over_block
drop:
  %unwanted = phi ptr [ %capsule, %fill ], [ %over_block, %attach ]
  api void DECREF(ptr %unwanted)
  ret ptr null
}

; Tell whether any of the ranges from `first` on meets an earlier one.
"""

ARENA = """
define internal ptr @take_arena(ptr %ctx, i64 %bytes) {
entry:
  %busy = ctx i64 ARENA_BUSY
  %size = ctx i64 ARENA_SIZE
  %free = icmp eq i64 %busy, 0
  %enough = icmp uge i64 %size, %bytes
  %ready = and i1 %free, %enough
  br i1 %ready, label %own, label %other
own:
  %arena = ctx ptr ARENA
  put i64 1 %ctx CTX_ARENA_BUSY
  ret ptr %arena
other:
  %words = at %ctx CTX_ARENA
  %taken = api ptr ARENA_TAKE(ptr %words, i64 %bytes)
  %none = icmp eq ptr %taken, null
  br i1 %none, label %no_memory, label %good
no_memory:
  %ignored = api ptr ERR_NO_MEMORY()
  ret ptr null
good:
  ret ptr %taken
}

define internal void @give_arena(ptr %ctx, ptr %arena, i64 %bytes) {
entry:
  %mine = ctx ptr ARENA
  %own = icmp eq ptr %arena, %mine
  br i1 %own, label %keep, label %give
keep:
  put i64 0 %ctx CTX_ARENA_BUSY
  ret void
give:
  api void POOL_FREE(ptr %arena, i64 %bytes)
  ret void
}
"""
