"""LLVM text that every entry module carries: templates for `str.format` with `abi.Ctx` words."""

HELPERS = """
@context = dso_local global ptr null
@block_name = private constant [15 x i8] c"symgraph.block\\00"
@no_exception = private constant [50 x i8] c"a compiled function failed and nothing was raised\\00"
declare {{ i64, i1 }} @llvm.umul.with.overflow.i64(i64, i64)

; Tell whether any of the ranges from `first` on meets another one.
define internal i1 @overlap(ptr %begins, ptr %ends, i64 %first, i64 %count) {{
entry:
  br label %outer
outer:
  %i = phi i64 [ %first, %entry ], [ %i1, %next ]
  %b.at = getelementptr ptr, ptr %begins, i64 %i
  %e.at = getelementptr ptr, ptr %ends, i64 %i
  %b = load ptr, ptr %b.at
  %e = load ptr, ptr %e.at
  br label %inner
inner:
  %j = phi i64 [ 0, %outer ], [ %j1, %more ]
  %last = icmp eq i64 %j, %i
  br i1 %last, label %next, label %test
test:
  %b2.at = getelementptr ptr, ptr %begins, i64 %j
  %e2.at = getelementptr ptr, ptr %ends, i64 %j
  %b2 = load ptr, ptr %b2.at
  %e2 = load ptr, ptr %e2.at
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
}}

; Set an exception for a status of `run`; -1 says that one is set already.
define internal void @raise_status(ptr %ctx, i32 %status) {{
entry:
  %set = icmp eq i32 %status, -1
  br i1 %set, label %check, label %hook
hook:
  %wide = sext i32 %status to i64
  %from.at = getelementptr i64, ptr %ctx, i64 {long_from}
  %from = load ptr, ptr %from.at
  %number = call ptr %from(i64 %wide)
  %none = icmp eq ptr %number, null
  br i1 %none, label %end, label %call
call:
  %call.at = getelementptr i64, ptr %ctx, i64 {call_one_arg}
  %call_one = load ptr, ptr %call.at
  %hook.at = getelementptr i64, ptr %ctx, i64 {on_error}
  %callable = load ptr, ptr %hook.at
  %answer = call ptr %call_one(ptr %callable, ptr %number)
  %decref.at = getelementptr i64, ptr %ctx, i64 {decref}
  %decref = load ptr, ptr %decref.at
  call void %decref(ptr %number)
  call void %decref(ptr %answer)
  br label %check
check:
  %occurred.at = getelementptr i64, ptr %ctx, i64 {err_occurred}
  %occurred = load ptr, ptr %occurred.at
  %error = call ptr %occurred()
  %missing = icmp eq ptr %error, null
  br i1 %missing, label %invent, label %end
invent:
  %class.at = getelementptr i64, ptr %ctx, i64 {runtime_error}
  %class = load ptr, ptr %class.at
  %set.at = getelementptr i64, ptr %ctx, i64 {err_set_string}
  %set_string = load ptr, ptr %set.at
  call void %set_string(ptr %class, ptr @no_exception)
  br label %end
end:
  ret void
}}
"""

INTERRUPT = """
define internal i64 @nanoseconds(ptr %ctx) {{
  %time = alloca [2 x i64]
  %clock.at = getelementptr i64, ptr %ctx, i64 {clock_id}
  %clock = load i32, ptr %clock.at
  %get.at = getelementptr i64, ptr %ctx, i64 {clock_gettime}
  %get = load ptr, ptr %get.at
  %r = call i32 %get(i32 %clock, ptr %time)
  %s = load i64, ptr %time
  %ns.at = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %ns.at
  %whole = mul i64 %s, 1000000000
  %now = add i64 %whole, %ns
  ret i64 %now
}}

; Answer -1 if a signal handler raised (a Python exception is then set), else 0. Only a call that
; gave up the interpreter lock may look: the handler is Python code.
define i32 @check_interrupt(ptr %ctx) {{
entry:
  %now = call i64 @nanoseconds(ptr %ctx)
  %last.at = getelementptr i64, ptr %ctx, i64 {last_check}
  %last = load i64, ptr %last.at
  %since = sub i64 %now, %last
  %due = icmp sgt i64 %since, {pause}
  br i1 %due, label %look, label %fine
look:
  store i64 %now, ptr %last.at
  %ensure.at = getelementptr i64, ptr %ctx, i64 {gil_ensure}
  %ensure = load ptr, ptr %ensure.at
  %check.at = getelementptr i64, ptr %ctx, i64 {check_signals}
  %check = load ptr, ptr %check.at
  %release.at = getelementptr i64, ptr %ctx, i64 {gil_release}
  %release = load ptr, ptr %release.at
  %state = call i32 %ensure()
  %signal = call i32 %check()
  call void %release(i32 %state)
  %raised = icmp ne i32 %signal, 0
  %r = sext i1 %raised to i32
  ret i32 %r
fine:
  ret i32 0
}}
"""

NO_INTERRUPT = """
define i32 @check_interrupt(ptr %ctx) {{
  ret i32 0
}}
"""
