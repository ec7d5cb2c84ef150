"""Text of the native entry: the checks of objects against their records."""

from __future__ import annotations

SIZES = """
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

; Tell whether the sizes satisfy the conditions of a plan.
define internal i1 @conditions(ptr %plan, ptr %dims, i64 %count) {
entry:
  %records = field ptr %plan PLAN_CONDITIONS
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %next ]
  %c = getelementptr [4 x i64], ptr %records, i64 %i
  %slot = field i64 %c 0
  %low = field i64 %c 8
  %high = field i64 %c 16
  %multiple = field i64 %c 24
  %size = item i64 %dims %slot
  %not_low = icmp sge i64 %size, %low
  %not_high = icmp sle i64 %size, %high
  %inside = and i1 %not_low, %not_high
  br i1 %inside, label %divide, label %no
divide:
  %any = icmp eq i64 %multiple, 1
  br i1 %any, label %next, label %rest
rest:
  %r = srem i64 %size, %multiple
  %whole = icmp eq i64 %r, 0
  br i1 %whole, label %next, label %no
next:
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %count
  br i1 %more, label %loop, label %yes
yes:
  ret i1 true
no:
  ret i1 false
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

OBJECTS = """
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
  %n = api i64 LONG_AS(ptr %value, ptr %overflow)
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

GIVEN = """
define internal i1 @given(ptr %ctx, ptr %plan, ptr %args, ptr %bufs, ptr %dims) {
entry:
  %n_args = field i64 %plan PLAN_N_ARGS
  %n_shared = field i64 %plan PLAN_N_SHARED
  %n_outputs = field i64 %plan PLAN_N_OUTPUTS
  %n_inputs = add i64 %n_args, %n_shared
  %total = add i64 %n_inputs, %n_outputs
  %records = at %plan PLAN_BYTES
  %ends = area %bufs PLAN_ENDS_AT
  br label %check
check:
  %i = phi i64 [ 0, %entry ], [ %i1, %checked ]
  %all = icmp eq i64 %i, %n_outputs
  br i1 %all, label %measure, label %one
one:
  %index = add i64 %n_inputs, %i
  %value = item ptr %args %i
  %record = record %records %index
  %data = call ptr @guard(ptr %ctx, ptr %value, ptr %record, ptr %dims, ptr null)
  %bad = icmp eq ptr %data, null
  br i1 %bad, label %no, label %checked
checked:
  set ptr %data %bufs %index
  %i1 = add i64 %i, 1
  br label %check
measure:
  %k = phi i64 [ 0, %check ], [ %k1, %measured ]
  %done = icmp eq i64 %k, %total
  br i1 %done, label %compare, label %measured
measured:
  %start = item ptr %bufs %k
  %record_k = record %records %k
  %pair = call { i64, i1 } @nbytes(ptr %record_k, ptr %dims)
  %bytes = extractvalue { i64, i1 } %pair, 0
  %end = getelementptr i8, ptr %start, i64 %bytes
  set ptr %end %ends %k
  %k1 = add i64 %k, 1
  br label %measure
compare:
  %meet = call i1 @overlap(ptr %bufs, ptr %ends, i64 %n_inputs, i64 %total)
  %apart = xor i1 %meet, true
  ret i1 %apart
no:
  ret i1 false
}


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
