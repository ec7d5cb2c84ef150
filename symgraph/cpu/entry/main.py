"""Text of the native entry: a call from its arguments to its result."""

from __future__ import annotations

MAIN = """
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
  %dims = area %bufs PLAN_DIMS_AT
  %words = area %bufs PLAN_WORDS_AT
  %made = area %bufs PLAN_MADE_AT
  %records = at %plan PLAN_BYTES
  %shared_records = record %records %n_args
  %out_records = record %records %n_inputs
  %kind = field i64 %plan PLAN_KIND
  %is_list = icmp eq i64 %kind, 0
  %fresh = xor i1 %into, true
  %listed = and i1 %is_list, %fresh
  br i1 %listed, label %make_list, label %take_args
make_list:
  ; First of all: making a list may run the garbage collector, and so any Python code, which
  ; must not happen between a check and the use of what was checked.
  %new_list = api ptr LIST_NEW(i64 %n_outputs)
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
  %arg_record = record %records %a
  %arg_word = getelementptr i64, ptr %words, i64 %a
  %arg_data = call ptr @guard(ptr %ctx, ptr %arg_value, ptr %arg_record, ptr %dims, ptr %arg_word)
  %arg_bad = icmp eq ptr %arg_data, null
  br i1 %arg_bad, label %miss, label %arg_good
arg_good:
  set ptr %arg_data %bufs %a
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
  %shared_record = record %shared_records %s
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
  set ptr %shared_data %bufs %shared_index
  %s1 = add i64 %s, 1
  %more_shared = icmp slt i64 %s1, %n_shared
  br i1 %more_shared, label %shared, label %sizes

sizes:
  %derive = ctx ptr DERIVE
  %derives = icmp ne ptr %derive, null
  br i1 %derives, label %compute, label %outputs
compute:
  call void %derive(ptr %dims)
  %n_conditions = field i64 %plan PLAN_N_CONDITIONS
  %conditional = icmp sgt i64 %n_conditions, 0
  br i1 %conditional, label %conditions, label %outputs
conditions:
  %held = call i1 @conditions(ptr %plan, ptr %dims, i64 %n_conditions)
  br i1 %held, label %outputs, label %miss
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
  set ptr null %made %z
  %z1 = add i64 %z, 1
  %more_zeros = icmp slt i64 %z1, %n_outputs
  br i1 %more_zeros, label %zero, label %create
create:
  %shape = area %bufs PLAN_SHAPE_AT
  br label %output
output:
  %o = phi i64 [ 0, %create ], [ %o1, %output_good ]
  %out_record = record %out_records %o
  %array = call ptr @new_array(ptr %ctx, ptr %out_record, ptr %dims, ptr %shape)
  %no_array = icmp eq ptr %array, null
  br i1 %no_array, label %fail, label %output_good
output_good:
  set ptr %array %made %o
  %out_data = field ptr %array ARRAY_DATA
  %out_index = add i64 %n_inputs, %o
  set ptr %out_data %bufs %out_index
  %o1 = add i64 %o, 1
  %more_outputs = icmp slt i64 %o1, %n_outputs
  br i1 %more_outputs, label %output, label %arena

arena:
  %need_at = at %plan PLAN_ARENA
  %need = call i64 @size_of(ptr %need_at, ptr %dims)
  %no_arena = icmp eq i64 %need, 0
  br i1 %no_arena, label %run, label %get_arena
get_arena:
  %scratch = call ptr @take_arena(ptr %ctx, i64 %need)
  %no_scratch = icmp eq ptr %scratch, null
  br i1 %no_scratch, label %fail, label %run
run:
  %memory = phi ptr [ null, %arena ], [ %scratch, %get_arena ]
  %calls = ctx i64 CALLS
  %calls1 = add i64 %calls, 1
  put i64 %calls1 %ctx CTX_CALLS
  %work_at = at %plan PLAN_WORK
  %work = call i64 @size_of(ptr %work_at, ptr %dims)
  %locked = icmp slt i64 %work, RELEASE_WORK
  br i1 %locked, label %run_locked, label %run_free
run_locked:
  ; No look at signals is ever due: a handler is Python code, and nothing is locked here.
  put i64 NEVER_CHECK %ctx CTX_LAST_CHECK
  %status1 = api i32 RUN(ptr %bufs, ptr %dims, ptr %memory, ptr %ctx)
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
  set ptr %f.value %items %f
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
  api void INCREF(ptr %none)
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
  api void DECREF(ptr %d.value)
  %d1 = add i64 %d, 1
  br label %drop_test
failed:
  api void DECREF(ptr %list)
  ret ptr null

busy:
  api void DECREF(ptr %list)
  %wait = ctx ptr BUSY
  %wait_into = ctx ptr BUSY_INTO
  %waiter = select i1 %into, ptr %wait_into, ptr %wait
  br label %answer
miss:
  %m.list = phi ptr [ null, %entry ], [ %list, %arg ], [ %list, %shared ], [ %list, %conditions ],
                [ %list, %given ]
  api void DECREF(ptr %m.list)
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
  %answered = api ptr VECTORCALL(ptr %callable, ptr %args, i64 %nargs, ptr %kwnames)
  ret ptr %answered
}

define ptr @entry(ptr %self, ptr %args, i64 %nargs, ptr %kwnames) {
entry:
  %ctx = field ptr %self ARRAY_DATA
  %positional = icmp eq ptr %kwnames, null
  br i1 %positional, label %plain, label %named
plain:
  %r = tail call ptr @main(ptr %ctx, ptr %args, i64 %nargs, ptr %kwnames, i1 false)
  ret ptr %r
named:
  ; `out=` of a single result is the last one of the arguments: the form with outputs given
  %count = field i64 %kwnames TUPLE_SIZE
  %name = field ptr %kwnames TUPLE_ITEMS
  %out = ctx ptr OUT
  %plan = ctx ptr PLAN
  %kind = field i64 %plan PLAN_KIND
  %n_args = field i64 %plan PLAN_N_ARGS
  %one_name = icmp eq i64 %count, 1
  %is_out = icmp eq ptr %name, %out
  %is_single = icmp eq i64 %kind, 1
  %all_args = icmp eq i64 %n_args, %nargs
  %named_out = and i1 %one_name, %is_out
  %whole = and i1 %is_single, %all_args
  %simple = and i1 %named_out, %whole
  br i1 %simple, label %into, label %plain
into:
  %given = item ptr %args %nargs
  %with_out = add i64 %nargs, 1
  %answer = call ptr @main(ptr %ctx, ptr %args, i64 %with_out, ptr null, i1 true)
  %none = ctx ptr NONE
  %filled = icmp eq ptr %answer, %none
  br i1 %filled, label %return_given, label %return_answer
return_answer:
  ret ptr %answer
return_given:
  api void DECREF(ptr %none)
  api void INCREF(ptr %given)
  ret ptr %given
}

; Check output arrays given by the caller, and that they share memory with nothing.
define ptr @entry_into(ptr %self, ptr %args, i64 %nargs, ptr %kwnames) {
  %ctx = field ptr %self ARRAY_DATA
  %r = tail call ptr @main(ptr %ctx, ptr %args, i64 %nargs, ptr %kwnames, i1 true)
  ret ptr %r
}
"""
