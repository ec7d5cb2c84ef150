"""Text of the native entry: running the code of a version, signals, and what its status means."""

from __future__ import annotations

RUN = """
@no_exception = private constant [50 x i8] c"a compiled function failed and nothing was raised\\00"

; Set an exception for a status of `run`; -1 says that one is set already.
define internal void @raise_status(ptr %ctx, i32 %status) {
entry:
  %set = icmp eq i32 %status, -1
  br i1 %set, label %check, label %hook
hook:
  %wide = sext i32 %status to i64
  %number = api ptr LONG_FROM(i64 %wide)
  %none = icmp eq ptr %number, null
  br i1 %none, label %end, label %call
call:
  %callable = ctx ptr ON_ERROR
  %answer = api ptr CALL_ONE_ARG(ptr %callable, ptr %number)
  api void DECREF(ptr %number)
  api void DECREF(ptr %answer)
  br label %check
check:
  %error = api ptr ERR_OCCURRED()
  %missing = icmp eq ptr %error, null
  br i1 %missing, label %invent, label %end
invent:
  %class = ctx ptr RUNTIME_ERROR
  api void ERR_SET_STRING(ptr %class, ptr @no_exception)
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
  %record = record %records %i
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
  %r = api i32 CLOCK_GETTIME(i32 %clock, ptr %time)
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
  %thread = api ptr SAVE_THREAD()
  %status = api i32 RUN(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx)
  api void RESTORE_THREAD(ptr %thread)
  call void @lock(ptr %ctx, ptr %records, i64 %count, i1 false)
  ret i32 %status
}

; Answer -1 if a signal handler raised (a Python exception is then set), else 0.
define i32 @check_interrupt(ptr %ctx) {
entry:
  %last = ctx i64 LAST_CHECK
  %never = icmp eq i64 %last, NEVER_CHECK
  br i1 %never, label %fine, label %time
time:
  %now = call i64 @nanoseconds(ptr %ctx)
  %since = sub i64 %now, %last
  %due = icmp sgt i64 %since, CHECK_NANOSECONDS
  br i1 %due, label %look, label %fine
look:
  put i64 %now %ctx CTX_LAST_CHECK
  %state = api i32 GIL_ENSURE()
  %signal = api i32 CHECK_SIGNALS()
  api void GIL_RELEASE(i32 %state)
  %raised = icmp ne i32 %signal, 0
  %r = sext i1 %raised to i32
  ret i32 %r
fine:
  ret i32 0
}

; Scratch memory of the call: the version's own, or where that is in use or small, see memory.
"""
