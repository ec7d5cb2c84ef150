"""The native entry, once for all compiled functions: LLVM text driven by the tables of `plan`.

One object serves every function, so a function's own module holds nothing but its arithmetic. The
builtin's `self` is the context table (an ndarray: its data pointer leads to the words).

The text below has four shorthands, expanded by `entry_text`:
    %x = field TYPE %base OFFSET     load at a byte offset
    %x = item TYPE %base %index      load an element
    %x = ctx TYPE NAME               load a word of the context table
    put TYPE value %base OFFSET      store at a byte offset
"""

from __future__ import annotations

import re

from symgraph.cpu import abi
from symgraph.cpu.abi import Ctx, Plan, Record

ENTRY_NAMES = ("entry", "entry_into", "check_interrupt")
CHECK_NANOSECONDS = 50_000_000  # between two looks at pending signals

_SIZES = """
; Check a size against its description (kind, value); see plan.size_words.
define internal i1 @fits(i64 %size, ptr %want, ptr %dims) {
entry:
  %kind = field i64 %want 0
  %value = field i64 %want 8
  %constant = icmp eq i64 %kind, -1
  br i1 %constant, label %fixed, label %slot
fixed:
  %same = icmp eq i64 %size, %value
  ret i1 %same
slot:
  %word = getelementptr i64, ptr %dims, i64 %value
  %compare = icmp eq i64 %kind, -2
  br i1 %compare, label %equal, label %define
equal:
  %known = load i64, ptr %word
  %same2 = icmp eq i64 %size, %known
  ret i1 %same2
define:
  store i64 %size, ptr %word
  %enough = icmp sge i64 %size, %kind
  ret i1 %enough
}

; The value of a size that is fixed or already in dims.
define internal i64 @size_of(ptr %want, ptr %dims) {
entry:
  %kind = field i64 %want 0
  %value = field i64 %want 8
  %constant = icmp eq i64 %kind, -1
  br i1 %constant, label %fixed, label %slot
fixed:
  ret i64 %value
slot:
  %known = item i64 %dims %value
  ret i64 %known
}

; Bytes of an array, and whether their product overflowed.
define internal { i64, i1 } @nbytes(ptr %record, ptr %dims) {
entry:
  %static = field i64 %record RECORD_BYTES
  %is_static = icmp sge i64 %static, 0
  br i1 %is_static, label %known, label %begin
known:
  %k = insertvalue { i64, i1 } { i64 poison, i1 false }, i64 %static, 0
  ret { i64, i1 } %k
begin:
  %itemsize = field i64 %record RECORD_ITEMSIZE
  %nd32 = field i32 %record RECORD_ND
  %nd = sext i32 %nd32 to i64
  %sizes = field ptr %record RECORD_SIZES
  br label %loop
loop:
  %i = phi i64 [ 0, %begin ], [ %i1, %loop ]
  %total = phi i64 [ %itemsize, %begin ], [ %product, %loop ]
  %over = phi i1 [ false, %begin ], [ %over1, %loop ]
  %want = getelementptr [2 x i64], ptr %sizes, i64 %i
  %size = call i64 @size_of(ptr %want, ptr %dims)
  %pair = call { i64, i1 } @llvm.umul.with.overflow.i64(i64 %total, i64 %size)
  %product = extractvalue { i64, i1 } %pair, 0
  %flag = extractvalue { i64, i1 } %pair, 1
  %over1 = or i1 %over, %flag
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %nd
  br i1 %more, label %loop, label %end
end:
  %a = insertvalue { i64, i1 } poison, i64 %product, 0
  %b = insertvalue { i64, i1 } %a, i1 %over1, 1
  ret { i64, i1 } %b
}
"""

_GUARD = """
; Check an object against its record; the address of its data, or null. A Python number that may
; stand for a 0-d array is converted into `word`.
define internal ptr @guard(ptr %ctx, ptr %value, ptr %record, ptr %dims, ptr %word) {
entry:
  %type = field ptr %value OB_TYPE
  %array_type = ctx ptr ARRAY_TYPE
  %is_array = icmp eq ptr %type, %array_type
  br i1 %is_array, label %array, label %other
array:
  %descr = field ptr %value ARRAY_DESCR
  %dtype = field ptr %record RECORD_DTYPE
  %usual = icmp eq ptr %descr, %dtype
  br i1 %usual, label %layout, label %copied
layout:
  %nd = field i32 %value ARRAY_ND
  %flags = field i32 %value ARRAY_FLAGS
  %want_nd = field i32 %record RECORD_ND
  %mask = field i32 %record RECORD_FLAGS
  %same_nd = icmp eq i32 %nd, %want_nd
  %masked = and i32 %flags, %mask
  %all_flags = icmp eq i32 %masked, %mask
  %good = and i1 %same_nd, %all_flags
  br i1 %good, label %shape, label %no
shape:
  %shape_at = field ptr %value ARRAY_DIMS
  %sizes = field ptr %record RECORD_SIZES
  %count = sext i32 %nd to i64
  %data0 = field ptr %value ARRAY_DATA
  %lone = icmp eq i32 %nd, 0
  br i1 %lone, label %found, label %loop
loop:
  %i = phi i64 [ 0, %shape ], [ %i1, %next ]
  %size = item i64 %shape_at %i
  %want = getelementptr [2 x i64], ptr %sizes, i64 %i
  %kind = field i64 %want 0
  %value_i = field i64 %want 8
  %constant = icmp eq i64 %kind, -1
  br i1 %constant, label %fixed, label %slot
fixed:
  %same_size = icmp eq i64 %size, %value_i
  br i1 %same_size, label %next, label %no
slot:
  %slot_fits = call i1 @fits(i64 %size, ptr %want, ptr %dims)
  br i1 %slot_fits, label %next, label %no
next:
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %count
  br i1 %more, label %loop, label %found
found:
  %data = phi ptr [ %data0, %shape ], [ %data0, %next ], [ %word, %number ]
  %condition = field ptr %record RECORD_VALUE
  %plain = icmp eq ptr %condition, null
  br i1 %plain, label %yes, label %measure
yes:
  ret ptr %data
measure:
  %amount = call i64 @integer(ptr %record, ptr %data)
  %right = call i1 @fits(i64 %amount, ptr %condition, ptr %dims)
  br i1 %right, label %yes, label %no
copied:
  ; An equal dtype that is not the usual object, as after unpickling.
  %code = field i32 %descr DESCR_TYPE_NUM
  %code1 = field i32 %record RECORD_CODE
  %code2 = field i32 %record RECORD_CODE2
  %is1 = icmp eq i32 %code, %code1
  %is2 = icmp eq i32 %code, %code2
  %either = or i1 %is1, %is2
  %order = field i8 %descr DESCR_BYTEORDER
  %native = icmp eq i8 %order, 61
  %no_order = icmp eq i8 %order, 124
  %usable = or i1 %native, %no_order
  %same = and i1 %either, %usable
  br i1 %same, label %layout, label %no
other:
  %scalar = field i64 %record RECORD_SCALAR
  %accepts = icmp ne i64 %scalar, 0
  br i1 %accepts, label %try, label %no
try:
  %done = call i1 @number(ptr %ctx, ptr %value, ptr %type, ptr %record, ptr %word)
  br i1 %done, label %number, label %no
number:
  br label %found
no:
  ret ptr null
}

; The value of an integer of any width and sign, as i64.
define internal i64 @integer(ptr %record, ptr %data) {
entry:
  %itemsize = field i64 %record RECORD_ITEMSIZE
  %signed = field i64 %record RECORD_SIGNED
  %is_signed = icmp ne i64 %signed, 0
  switch i64 %itemsize, label %b8 [ i64 1, label %b1  i64 2, label %b2  i64 4, label %b4 ]
b1:
  %v1 = load i8, ptr %data, align 1
  %s1 = sext i8 %v1 to i64
  %z1 = zext i8 %v1 to i64
  br label %end
b2:
  %v2 = load i16, ptr %data, align 1
  %s2 = sext i16 %v2 to i64
  %z2 = zext i16 %v2 to i64
  br label %end
b4:
  %v4 = load i32, ptr %data, align 1
  %s4 = sext i32 %v4 to i64
  %z4 = zext i32 %v4 to i64
  br label %end
b8:
  %v8 = load i64, ptr %data, align 1
  br label %end
end:
  %s = phi i64 [ %s1, %b1 ], [ %s2, %b2 ], [ %s4, %b4 ], [ %v8, %b8 ]
  %z = phi i64 [ %z1, %b1 ], [ %z2, %b2 ], [ %z4, %b4 ], [ %v8, %b8 ]
  %r = select i1 %is_signed, i64 %s, i64 %z
  ret i64 %r
}

; Convert a Python float, int or bool into `word`, if it is exactly of the type wanted.
define internal i1 @number(ptr %ctx, ptr %value, ptr %type, ptr %record, ptr %word) {
entry:
  %overflow = alloca i32
  %kind = field i64 %record RECORD_SCALAR
  switch i64 %kind, label %int [ i64 1, label %float  i64 2, label %float  i64 3, label %bool ]
float:
  %float_type = ctx ptr FLOAT_TYPE
  %is_float = icmp eq ptr %type, %float_type
  br i1 %is_float, label %convert, label %no
convert:
  %double = field double %value FLOAT_VALUE
  %single = fptrunc double %double to float
  %half = icmp eq i64 %kind, 1
  br i1 %half, label %store_single, label %store_double
store_single:
  store float %single, ptr %word
  ret i1 true
store_double:
  store double %double, ptr %word
  ret i1 true
bool:
  %true = ctx ptr TRUE
  %false = ctx ptr FALSE
  %is_true = icmp eq ptr %value, %true
  %is_false = icmp eq ptr %value, %false
  %bit = zext i1 %is_true to i8
  store i8 %bit, ptr %word
  %is_bool = or i1 %is_true, %is_false
  ret i1 %is_bool
int:
  %long_type = ctx ptr LONG_TYPE
  %is_long = icmp eq ptr %type, %long_type
  br i1 %is_long, label %read, label %no
read:
  %long_as = ctx ptr LONG_AS
  %n = call i64 %long_as(ptr %value, ptr %overflow)
  %o = load i32, ptr %overflow
  %low = field i64 %record RECORD_LOW
  %high = field i64 %record RECORD_HIGH
  %whole = icmp eq i32 %o, 0
  %not_low = icmp sge i64 %n, %low
  %not_high = icmp sle i64 %n, %high
  %within = and i1 %not_low, %not_high
  %fits = and i1 %whole, %within
  store i64 %n, ptr %word
  ret i1 %fits
no:
  ret i1 false
}
"""

_ARRAYS = """
@block_name = private constant [15 x i8] c"symgraph.block\\00"

define internal ptr @numpy_array(ptr %ctx, ptr %record, ptr %shape, ptr %data, i32 %flags) {
  %dtype = field ptr %record RECORD_DTYPE
  %nd = field i32 %record RECORD_ND
  %incref = ctx ptr INCREF
  call void %incref(ptr %dtype)
  %new = ctx ptr ARRAY_NEW
  %type = ctx ptr ARRAY_TYPE
  %r = call ptr %new(ptr %type, ptr %dtype, i32 %nd, ptr %shape, ptr null, ptr %data,
                     i32 %flags, ptr null)
  ret ptr %r
}

; Make an output array: small ones in NumPy's memory, large ones in a block of the pool. Null with
; an exception set where that fails; sizes that are negative or too large NumPy itself refuses.
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
  %to = getelementptr i64, ptr %shape, i64 %i
  store i64 %size, ptr %to
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
  %array = call ptr @numpy_array(ptr %ctx, ptr %record, ptr %shape, ptr null, i32 0)
  ret ptr %array
large:
  %alloc = ctx ptr POOL_ALLOC
  %block = call ptr %alloc(i64 %bytes)
  %none = icmp eq ptr %block, null
  br i1 %none, label %no_memory, label %wrap
no_memory:
  %raise = ctx ptr ERR_NO_MEMORY
  %ignored = call ptr %raise()
  ret ptr null
wrap:
  %new_capsule = ctx ptr CAPSULE_NEW
  %release = ctx ptr POOL_RELEASE
  %capsule = call ptr %new_capsule(ptr %block, ptr @block_name, ptr %release)
  %no_capsule = icmp eq ptr %capsule, null
  br i1 %no_capsule, label %give_back, label %fill
give_back:
  %free = ctx ptr POOL_FREE
  call void %free(ptr %block, i64 %bytes)
  ret ptr null
fill:
  %set_context = ctx ptr CAPSULE_SET_CONTEXT
  %context = inttoptr i64 %bytes to ptr
  %r = call i32 %set_context(ptr %capsule, ptr %context)
  %over_block = call ptr @numpy_array(ptr %ctx, ptr %record, ptr %shape, ptr %block, i32 FLAGS_NEW)
  %no_array = icmp eq ptr %over_block, null
  br i1 %no_array, label %drop, label %attach
attach:
  %set_base = ctx ptr ARRAY_SET_BASE
  %s = call i32 %set_base(ptr %over_block, ptr %capsule)
  %attached = icmp eq i32 %s, 0
  br i1 %attached, label %good, label %drop
good:
  ret ptr %over_block
drop:
  %unwanted = phi ptr [ %capsule, %fill ], [ %over_block, %attach ]
  %decref = ctx ptr DECREF
  call void %decref(ptr %unwanted)
  ret ptr null
}

; Tell whether any of the ranges from `first` on meets an earlier one.
define internal i1 @overlap(ptr %begins, ptr %ends, i64 %first, i64 %count) {
entry:
  %some = icmp ult i64 %first, %count
  br i1 %some, label %outer, label %no
outer:
  %i = phi i64 [ %first, %entry ], [ %i1, %next ]
  %b = item ptr %begins %i
  %e = item ptr %ends %i
  br label %inner
inner:
  %j = phi i64 [ 0, %outer ], [ %j1, %more ]
  %last = icmp eq i64 %j, %i
  br i1 %last, label %next, label %test
test:
  %b2 = item ptr %begins %j
  %e2 = item ptr %ends %j
  %low = icmp ult ptr %b, %e2
  %high = icmp ult ptr %b2, %e
  %both = and i1 %low, %high
  br i1 %both, label %yes, label %more
more:
  %j1 = add i64 %j, 1
  br label %inner
next:
  %i1 = add i64 %i, 1
  %end = icmp eq i64 %i1, %count
  br i1 %end, label %no, label %outer
yes:
  ret i1 true
no:
  ret i1 false
}
"""

_RUN = """
@no_exception = private constant [50 x i8] c"a compiled function failed and nothing was raised\\00"

; Set an exception for a status of `run`; -1 says that one is set already.
define internal void @raise_status(ptr %ctx, i32 %status) {
entry:
  %set = icmp eq i32 %status, -1
  br i1 %set, label %check, label %hook
hook:
  %wide = sext i32 %status to i64
  %from = ctx ptr LONG_FROM
  %number = call ptr %from(i64 %wide)
  %none = icmp eq ptr %number, null
  br i1 %none, label %end, label %call
call:
  %call_one = ctx ptr CALL_ONE_ARG
  %callable = ctx ptr ON_ERROR
  %answer = call ptr %call_one(ptr %callable, ptr %number)
  %decref = ctx ptr DECREF
  call void %decref(ptr %number)
  call void %decref(ptr %answer)
  br label %check
check:
  %occurred = ctx ptr ERR_OCCURRED
  %error = call ptr %occurred()
  %missing = icmp eq ptr %error, null
  br i1 %missing, label %invent, label %end
invent:
  %class = ctx ptr RUNTIME_ERROR
  %set_string = ctx ptr ERR_SET_STRING
  call void %set_string(ptr %class, ptr @no_exception)
  br label %end
end:
  ret void
}

; Take (1) or give back (0) the shared variables. Their state words change only under the
; interpreter lock, so plain accesses are enough.
define internal void @lock(ptr %ctx, ptr %records, i64 %count, i1 %take) {
entry:
  %table = ctx ptr SHARED_TABLE
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %loop, label %end
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  %pair = getelementptr [2 x ptr], ptr %table, i64 %i
  %state = field ptr %pair 8
  %record = getelementptr [RECORD_SIZE x i8], ptr %records, i64 %i
  %written = field i64 %record RECORD_WRITTEN
  %writes = icmp ne i64 %written, 0
  %old = load i64, ptr %state
  %full = select i1 %writes, i64 -1, i64 1
  %less = sub i64 0, %full
  %change = select i1 %take, i64 %full, i64 %less
  %new = add i64 %old, %change
  store i64 %new, ptr %state
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %count
  br i1 %more, label %loop, label %end
end:
  ret void
}

define internal i64 @nanoseconds(ptr %ctx) {
  %time = alloca [2 x i64]
  %clock = ctx i32 CLOCK_ID
  %get = ctx ptr CLOCK_GETTIME
  %r = call i32 %get(i32 %clock, ptr %time)
  %s = field i64 %time 0
  %ns = field i64 %time 8
  %whole = mul i64 %s, 1000000000
  %now = add i64 %whole, %ns
  ret i64 %now
}

define internal i32 @run_unlocked(ptr %ctx, ptr %bufs, ptr %dims, ptr %arena, ptr %records,
                                  i64 %count) {
  call void @lock(ptr %ctx, ptr %records, i64 %count, i1 true)
  %now = call i64 @nanoseconds(ptr %ctx)
  put i64 %now %ctx CTX_LAST_CHECK
  %save = ctx ptr SAVE_THREAD
  %thread = call ptr %save()
  %run = ctx ptr RUN
  %status = call i32 %run(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx)
  %restore = ctx ptr RESTORE_THREAD
  call void %restore(ptr %thread)
  call void @lock(ptr %ctx, ptr %records, i64 %count, i1 false)
  ret i32 %status
}

; Answer -1 if a signal handler raised (a Python exception is then set), else 0.
define i32 @check_interrupt(ptr %ctx) {
entry:
  %now = call i64 @nanoseconds(ptr %ctx)
  %last = ctx i64 LAST_CHECK
  %since = sub i64 %now, %last
  %due = icmp sgt i64 %since, CHECK_NANOSECONDS
  br i1 %due, label %look, label %fine
look:
  put i64 %now %ctx CTX_LAST_CHECK
  %ensure = ctx ptr GIL_ENSURE
  %check = ctx ptr CHECK_SIGNALS
  %release = ctx ptr GIL_RELEASE
  %state = call i32 %ensure()
  %signal = call i32 %check()
  call void %release(i32 %state)
  %raised = icmp ne i32 %signal, 0
  %r = sext i1 %raised to i32
  ret i32 %r
fine:
  ret i32 0
}

; Scratch memory of the call: the version's own, or where that is in use or small, see memory.
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
  %words = getelementptr i8, ptr %ctx, i64 CTX_ARENA
  %take = ctx ptr ARENA_TAKE
  %taken = call ptr %take(ptr %words, i64 %bytes)
  %none = icmp eq ptr %taken, null
  br i1 %none, label %no_memory, label %good
no_memory:
  %raise = ctx ptr ERR_NO_MEMORY
  %ignored = call ptr %raise()
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
  %free = ctx ptr POOL_FREE
  call void %free(ptr %arena, i64 %bytes)
  ret void
}
"""

_MAIN = """
define internal ptr @main(ptr %ctx, ptr %args, i64 %nargs, ptr %kwnames, i1 %into) {
entry:
  %plan = ctx ptr PLAN
  %n_args = field i64 %plan PLAN_N_ARGS
  %n_shared = field i64 %plan PLAN_N_SHARED
  %n_outputs = field i64 %plan PLAN_N_OUTPUTS
  %n_inputs = add i64 %n_args, %n_shared
  %extra = select i1 %into, i64 %n_outputs, i64 0
  %expected = add i64 %n_args, %extra
  %right = icmp eq i64 %nargs, %expected
  %positional = icmp eq ptr %kwnames, null
  %fine = and i1 %right, %positional
  br i1 %fine, label %start, label %miss
start:
  %frame = field i64 %plan PLAN_FRAME
  %bufs = alloca i8, i64 %frame, align 16
  %dims.off = field i64 %plan PLAN_DIMS_AT
  %dims = getelementptr i8, ptr %bufs, i64 %dims.off
  %words.off = field i64 %plan PLAN_WORDS_AT
  %words = getelementptr i8, ptr %bufs, i64 %words.off
  %made.off = field i64 %plan PLAN_MADE_AT
  %made = getelementptr i8, ptr %bufs, i64 %made.off
  %records = getelementptr i8, ptr %plan, i64 PLAN_BYTES
  %shared_records = getelementptr [RECORD_SIZE x i8], ptr %records, i64 %n_args
  %out_records = getelementptr [RECORD_SIZE x i8], ptr %records, i64 %n_inputs
  %kind = field i64 %plan PLAN_KIND
  %is_list = icmp eq i64 %kind, 0
  %fresh = xor i1 %into, true
  %listed = and i1 %is_list, %fresh
  br i1 %listed, label %make_list, label %take_args
make_list:
  ; First of all: making a list may run the garbage collector, and so any Python code, which
  ; must not happen between a check and the use of what was checked.
  %list_new = ctx ptr LIST_NEW
  %new_list = call ptr %list_new(i64 %n_outputs)
  %no_list = icmp eq ptr %new_list, null
  br i1 %no_list, label %return_null, label %take_args
return_null:
  ret ptr null

take_args:
  %list = phi ptr [ null, %start ], [ %new_list, %make_list ]
  %some_args = icmp sgt i64 %n_args, 0
  br i1 %some_args, label %arg, label %take_shared
arg:
  %a = phi i64 [ 0, %take_args ], [ %a1, %arg_good ]
  %arg_value = item ptr %args %a
  %arg_record = getelementptr [RECORD_SIZE x i8], ptr %records, i64 %a
  %arg_word = getelementptr i64, ptr %words, i64 %a
  %arg_data = call ptr @guard(ptr %ctx, ptr %arg_value, ptr %arg_record, ptr %dims, ptr %arg_word)
  %arg_bad = icmp eq ptr %arg_data, null
  br i1 %arg_bad, label %miss, label %arg_good
arg_good:
  %arg_to = getelementptr ptr, ptr %bufs, i64 %a
  store ptr %arg_data, ptr %arg_to
  %a1 = add i64 %a, 1
  %more_args = icmp slt i64 %a1, %n_args
  br i1 %more_args, label %arg, label %take_shared

take_shared:
  %table = ctx ptr SHARED_TABLE
  %some_shared = icmp sgt i64 %n_shared, 0
  br i1 %some_shared, label %shared, label %sizes
shared:
  %s = phi i64 [ 0, %take_shared ], [ %s1, %shared_free ]
  %pair = getelementptr [2 x ptr], ptr %table, i64 %s
  %cell = field ptr %pair 0
  %state = field ptr %pair 8
  %shared_value = load ptr, ptr %cell
  %shared_record = getelementptr [RECORD_SIZE x i8], ptr %shared_records, i64 %s
  %shared_data = call ptr @guard(ptr %ctx, ptr %shared_value, ptr %shared_record, ptr %dims,
                                 ptr null)
  %shared_bad = icmp eq ptr %shared_data, null
  br i1 %shared_bad, label %miss, label %shared_good
shared_good:
  %now = load i64, ptr %state
  %written = field i64 %shared_record RECORD_WRITTEN
  %writes = icmp ne i64 %written, 0
  %unused = icmp eq i64 %now, 0
  %readable = icmp sge i64 %now, 0
  %is_free = select i1 %writes, i1 %unused, i1 %readable
  br i1 %is_free, label %shared_free, label %busy
shared_free:
  %shared_index = add i64 %n_args, %s
  %shared_to = getelementptr ptr, ptr %bufs, i64 %shared_index
  store ptr %shared_data, ptr %shared_to
  %s1 = add i64 %s, 1
  %more_shared = icmp slt i64 %s1, %n_shared
  br i1 %more_shared, label %shared, label %sizes

sizes:
  %derive = ctx ptr DERIVE
  %derives = icmp ne ptr %derive, null
  br i1 %derives, label %compute, label %outputs
compute:
  call void %derive(ptr %dims)
  br label %outputs
outputs:
  br i1 %into, label %given, label %clear
given:
  %given_args = getelementptr ptr, ptr %args, i64 %n_args
  %given_good = call i1 @given(ptr %ctx, ptr %plan, ptr %given_args, ptr %bufs, ptr %dims)
  br i1 %given_good, label %arena, label %miss
clear:
  %some_outputs = icmp sgt i64 %n_outputs, 0
  br i1 %some_outputs, label %zero, label %arena
zero:
  %z = phi i64 [ 0, %clear ], [ %z1, %zero ]
  %z.at = getelementptr ptr, ptr %made, i64 %z
  store ptr null, ptr %z.at
  %z1 = add i64 %z, 1
  %more_zeros = icmp slt i64 %z1, %n_outputs
  br i1 %more_zeros, label %zero, label %create
create:
  %shape.off = field i64 %plan PLAN_SHAPE_AT
  %shape = getelementptr i8, ptr %bufs, i64 %shape.off
  br label %output
output:
  %o = phi i64 [ 0, %create ], [ %o1, %output_good ]
  %out_record = getelementptr [RECORD_SIZE x i8], ptr %out_records, i64 %o
  %array = call ptr @new_array(ptr %ctx, ptr %out_record, ptr %dims, ptr %shape)
  %no_array = icmp eq ptr %array, null
  br i1 %no_array, label %fail, label %output_good
output_good:
  %made.at = getelementptr ptr, ptr %made, i64 %o
  store ptr %array, ptr %made.at
  %out_data = field ptr %array ARRAY_DATA
  %out_index = add i64 %n_inputs, %o
  %out_to = getelementptr ptr, ptr %bufs, i64 %out_index
  store ptr %out_data, ptr %out_to
  %o1 = add i64 %o, 1
  %more_outputs = icmp slt i64 %o1, %n_outputs
  br i1 %more_outputs, label %output, label %arena

arena:
  %need_at = getelementptr i8, ptr %plan, i64 PLAN_ARENA
  %need = call i64 @size_of(ptr %need_at, ptr %dims)
  %no_arena = icmp eq i64 %need, 0
  br i1 %no_arena, label %run, label %get_arena
get_arena:
  %scratch = call ptr @take_arena(ptr %ctx, i64 %need)
  %no_scratch = icmp eq ptr %scratch, null
  br i1 %no_scratch, label %fail, label %run
run:
  %memory = phi ptr [ null, %arena ], [ %scratch, %get_arena ]
  %release = field i64 %plan PLAN_RELEASE
  %locked = icmp eq i64 %release, 0
  br i1 %locked, label %run_locked, label %run_free
run_locked:
  %code = ctx ptr RUN
  %status1 = call i32 %code(ptr %bufs, ptr %dims, ptr %memory, ptr %ctx)
  br label %after
run_free:
  %status2 = call i32 @run_unlocked(ptr %ctx, ptr %bufs, ptr %dims, ptr %memory,
                                    ptr %shared_records, i64 %n_shared)
  br label %after
after:
  %status = phi i32 [ %status1, %run_locked ], [ %status2, %run_free ]
  br i1 %no_arena, label %judge, label %put_arena
put_arena:
  call void @give_arena(ptr %ctx, ptr %memory, i64 %need)
  br label %judge
judge:
  %good = icmp eq i32 %status, 0
  br i1 %good, label %finish, label %error
finish:
  br i1 %listed, label %fill, label %choose
fill:
  %items = field ptr %list LIST_ITEMS
  br label %fill_test
fill_test:
  %f = phi i64 [ 0, %fill ], [ %f1, %fill_one ]
  %filled = icmp eq i64 %f, %n_outputs
  br i1 %filled, label %return_list, label %fill_one
fill_one:
  %f.value = item ptr %made %f
  %f.to = getelementptr ptr, ptr %items, i64 %f
  store ptr %f.value, ptr %f.to
  %f1 = add i64 %f, 1
  br label %fill_test
return_list:
  ret ptr %list
choose:
  %is_single = icmp eq i64 %kind, 1
  %single = and i1 %is_single, %fresh
  br i1 %single, label %return_one, label %return_none
return_one:
  %one = load ptr, ptr %made
  ret ptr %one
return_none:
  %none = ctx ptr NONE
  %incref = ctx ptr INCREF
  call void %incref(ptr %none)
  ret ptr %none

error:
  call void @raise_status(ptr %ctx, i32 %status)
  br label %fail
fail:
  br i1 %into, label %failed, label %drop_test
drop_test:
  %d = phi i64 [ 0, %fail ], [ %d1, %drop ]
  %dropped = icmp eq i64 %d, %n_outputs
  br i1 %dropped, label %failed, label %drop
drop:
  %d.value = item ptr %made %d
  %decref = ctx ptr DECREF
  call void %decref(ptr %d.value)
  %d1 = add i64 %d, 1
  br label %drop_test
failed:
  %decref_list = ctx ptr DECREF
  call void %decref_list(ptr %list)
  ret ptr null

busy:
  %decref_busy = ctx ptr DECREF
  call void %decref_busy(ptr %list)
  %wait = ctx ptr BUSY
  %wait_into = ctx ptr BUSY_INTO
  %waiter = select i1 %into, ptr %wait_into, ptr %wait
  br label %answer
miss:
  %m.list = phi ptr [ null, %entry ], [ %list, %arg ], [ %list, %shared ], [ %list, %given ]
  %decref_miss = ctx ptr DECREF
  call void %decref_miss(ptr %m.list)
  %next = ctx ptr NEXT
  %last = icmp eq ptr %next, null
  br i1 %last, label %slow, label %chain
chain:
  %chained = call ptr @main(ptr %next, ptr %args, i64 %nargs, ptr %kwnames, i1 %into)
  ret ptr %chained
slow:
  %slow_new = ctx ptr SLOW
  %slow_into = ctx ptr SLOW_INTO
  %slow_path = select i1 %into, ptr %slow_into, ptr %slow_new
  br label %answer
answer:
  %callable = phi ptr [ %waiter, %busy ], [ %slow_path, %slow ]
  %vectorcall = ctx ptr VECTORCALL
  %answered = call ptr %vectorcall(ptr %callable, ptr %args, i64 %nargs, ptr %kwnames)
  ret ptr %answered
}

; Check output arrays given by the caller, and that they share memory with nothing.
define internal i1 @given(ptr %ctx, ptr %plan, ptr %args, ptr %bufs, ptr %dims) {
entry:
  %n_args = field i64 %plan PLAN_N_ARGS
  %n_shared = field i64 %plan PLAN_N_SHARED
  %n_outputs = field i64 %plan PLAN_N_OUTPUTS
  %n_inputs = add i64 %n_args, %n_shared
  %total = add i64 %n_inputs, %n_outputs
  %records = getelementptr i8, ptr %plan, i64 PLAN_BYTES
  %ends.off = field i64 %plan PLAN_ENDS_AT
  %ends = getelementptr i8, ptr %bufs, i64 %ends.off
  br label %check
check:
  %i = phi i64 [ 0, %entry ], [ %i1, %checked ]
  %all = icmp eq i64 %i, %n_outputs
  br i1 %all, label %measure, label %one
one:
  %index = add i64 %n_inputs, %i
  %value = item ptr %args %i
  %record = getelementptr [RECORD_SIZE x i8], ptr %records, i64 %index
  %data = call ptr @guard(ptr %ctx, ptr %value, ptr %record, ptr %dims, ptr null)
  %bad = icmp eq ptr %data, null
  br i1 %bad, label %no, label %checked
checked:
  %to = getelementptr ptr, ptr %bufs, i64 %index
  store ptr %data, ptr %to
  %i1 = add i64 %i, 1
  br label %check
measure:
  %k = phi i64 [ 0, %check ], [ %k1, %measured ]
  %done = icmp eq i64 %k, %total
  br i1 %done, label %compare, label %measured
measured:
  %start = item ptr %bufs %k
  %record_k = getelementptr [RECORD_SIZE x i8], ptr %records, i64 %k
  %pair = call { i64, i1 } @nbytes(ptr %record_k, ptr %dims)
  %bytes = extractvalue { i64, i1 } %pair, 0
  %end = getelementptr i8, ptr %start, i64 %bytes
  %end_to = getelementptr ptr, ptr %ends, i64 %k
  store ptr %end, ptr %end_to
  %k1 = add i64 %k, 1
  br label %measure
compare:
  %meet = call i1 @overlap(ptr %bufs, ptr %ends, i64 %n_inputs, i64 %total)
  %apart = xor i1 %meet, true
  ret i1 %apart
no:
  ret i1 false
}

define ptr @entry(ptr %self, ptr %args, i64 %nargs, ptr %kwnames) {
  %ctx = field ptr %self ARRAY_DATA
  %r = tail call ptr @main(ptr %ctx, ptr %args, i64 %nargs, ptr %kwnames, i1 false)
  ret ptr %r
}

define ptr @entry_into(ptr %self, ptr %args, i64 %nargs, ptr %kwnames) {
  %ctx = field ptr %self ARRAY_DATA
  %r = tail call ptr @main(ptr %ctx, ptr %args, i64 %nargs, ptr %kwnames, i1 true)
  ret ptr %r
}
"""


def _constants() -> dict[str, str]:
    names = ("OB_TYPE", "FLOAT_VALUE", "LIST_ITEMS", "ARRAY_", "DESCR_", "POOL_BYTES", "FLAGS_NEW")
    found = {name: str(getattr(abi, name)) for name in dir(abi) if name.startswith(names)}
    found |= {f"PLAN_{word.name}": str(8 * word) for word in Plan}
    found |= {f"RECORD_{field.name}": str(int(field)) for field in Record}
    found |= {f"CTX_{word.name}": str(8 * word) for word in Ctx}
    return found | {"CHECK_NANOSECONDS": str(CHECK_NANOSECONDS)}


def _expand(line: str, number: int) -> str:
    """Expand the shorthands of one line."""
    words = line.split()
    if words[:1] == ["put"]:
        _, kind, value, base, offset = words
        return (
            f"  %put{number} = getelementptr i8, ptr {base}, i64 {offset}\n"
            f"  store {kind} {value}, ptr %put{number}"
        )
    if len(words) < 3 or words[1] != "=" or words[2] not in ("field", "item", "ctx"):
        return line
    name, _, verb, kind, *rest = words
    if verb == "item":
        where = f"getelementptr {kind}, ptr {rest[0]}, i64 {rest[1]}"
    elif verb == "field":
        where = f"getelementptr i8, ptr {rest[0]}, i64 {rest[1]}"
    else:
        where = f"getelementptr i8, ptr %ctx, i64 {8 * Ctx[rest[0]]}"
    return f"  {name}.at = {where}\n  {name} = load {kind}, ptr {name}.at"


def entry_text() -> str:
    """Return the LLVM text of `ENTRY_NAMES`."""
    text = _SIZES + _GUARD + _ARRAYS + _RUN + _MAIN
    lines = text.splitlines()
    code = "\n".join(
        line if line.lstrip().startswith(";") else _expand(line, number)
        for number, line in enumerate(lines)
    )
    constants = _constants()
    code = re.sub(r"\b[A-Z][A-Z0-9_]+\b", lambda m: constants.get(m[0], m[0]), code)
    return "declare { i64, i1 } @llvm.umul.with.overflow.i64(i64, i64)\n" + code
