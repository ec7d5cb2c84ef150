"""The machine program of calls that cannot be left: run on a thread of their own, as LLVM text.

A library call looks at no signals. A long one runs on memory of its own (a block of the result
pool), a copy of all that it is passed, while the caller waits and looks. When a signal handler
raises, the caller goes at once: the call ends later, in its own memory, which the next long call
gives back. So it never touches the arena, arrays or shared variables of anybody; only the machine
code must stay, for good.
"""

from __future__ import annotations

from symgraph.cpu.abi import CTX_USER, Ctx
from symgraph.cpu.native.pool_text import SYSCALL, WAKE, futex

# Words of `@detached`: addresses in the C library (without the first, no call is detached), how
# many calls run, and the blocks of those that were left and are done.
CREATE, DETACH, FLUSH, EXIT, RUNNING, ORPHANS, WORDS = range(7)
# A job in bytes: its state, its length, the arguments of `parallel_for` (in an orphan, first the
# next one), a context, the arguments of the kernel.
STATE, LENGTH, POOL, KERNEL, COUNT, GRAIN, STEP, CONTEXT = 0, 8, 16, 24, 32, 40, 48, 64
ARGUMENTS = CONTEXT + 8 * CTX_USER
GOING_ON, DONE, LEFT = range(3)  # states
WAIT_NANOSECONDS = 20_000_000  # between two looks at signals
COPY_BYTES = 1 << 24  # likewise

_TEMPLATE = """
@detached = dso_local global [{WORDS} x i64] zeroinitializer, align 64
declare i64 @llvm.umin.i64(i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal ptr @c_function(i64 %which) {{
  %at = getelementptr i64, ptr @detached, i64 %which
  %r = load ptr, ptr %at
  ret ptr %r
}}

; Copy memory, with looks at signals in between; -1 if a handler raised.
define internal i32 @copied(ptr %to, ptr %from, i64 %bytes, ptr %ctx) {{
entry:
  %some = icmp sgt i64 %bytes, 0
  br i1 %some, label %next, label %done
next:
  %at = phi i64 [ 0, %entry ], [ %at1, %check ]
  %left = sub i64 %bytes, %at
  %size = call i64 @llvm.umin.i64(i64 %left, i64 {COPY_BYTES})
  %a = getelementptr i8, ptr %to, i64 %at
  %b = getelementptr i8, ptr %from, i64 %at
  call void @llvm.memcpy.p0.p0.i64(ptr %a, ptr %b, i64 %size, i1 false)
  %at1 = add i64 %at, %size
  %more = icmp slt i64 %at1, %bytes
  br i1 %more, label %check, label %done
check:
  %check.at = getelementptr i64, ptr %ctx, i64 {check_interrupt}
  %check.code = load ptr, ptr %check.at
  %status = call i32 %check.code(ptr %ctx)
  %fine = icmp eq i32 %status, 0
  br i1 %fine, label %next, label %stop
stop:
  ret i32 -1
done:
  ret i32 0
}}

define internal ptr @in_context(ptr %ctx, i64 %word) {{
  %at = getelementptr i64, ptr %ctx, i64 %word
  %r = load ptr, ptr %at
  ret ptr %r
}}

; Give a block back, and those of jobs that were left and are done by now.
define internal void @give_back(ptr %job, ptr %ctx) {{
entry:
  %ensure = call ptr @in_context(ptr %ctx, i64 {gil_ensure})
  %release = call ptr @in_context(ptr %ctx, i64 {gil_release})
  %free = call ptr @in_context(ptr %ctx, i64 {pool_free})
  %orphans = getelementptr i64, ptr @detached, i64 {ORPHANS}
  %gil = call i32 %ensure()
  %others = atomicrmw xchg ptr %orphans, i64 0 seq_cst, align 8
  %other = inttoptr i64 %others to ptr
  br label %one
one:
  %block = phi ptr [ %job, %entry ], [ %following, %one ]
  %first = phi i1 [ true, %entry ], [ false, %one ]
  %length.at = getelementptr i8, ptr %block, i64 {LENGTH}
  %length = load i64, ptr %length.at
  %next.at = getelementptr i8, ptr %block, i64 {POOL}
  %next = load ptr, ptr %next.at
  %following = select i1 %first, ptr %other, ptr %next
  call void %free(ptr %block, i64 %length)
  %last = icmp eq ptr %following, null
  br i1 %last, label %end, label %one
end:
  call void %release(i32 %gil)
  ret void
}}

; What a job sees in place of a look at signals: between two matrices it ends if it was left.
define internal i32 @was_left(ptr %own) {{
  %job = getelementptr i8, ptr %own, i64 -{CONTEXT}
  %state = load atomic i32, ptr %job monotonic, align 4
  %left = icmp eq i32 %state, {LEFT}
  %r = sext i1 %left to i32
  ret i32 %r
}}

define internal ptr @run_job(ptr %job) {{
entry:
  %pool.at = getelementptr i8, ptr %job, i64 {POOL}
  %pool = load ptr, ptr %pool.at
  %kernel.at = getelementptr i8, ptr %job, i64 {KERNEL}
  %kernel = load ptr, ptr %kernel.at
  %count.at = getelementptr i8, ptr %job, i64 {COUNT}
  %count = load i64, ptr %count.at
  %grain.at = getelementptr i8, ptr %job, i64 {GRAIN}
  %grain = load i64, ptr %grain.at
  %step.at = getelementptr i8, ptr %job, i64 {STEP}
  %step = load i64, ptr %step.at
  %own = getelementptr i8, ptr %job, i64 {CONTEXT}
  %args = getelementptr i8, ptr %job, i64 {ARGUMENTS}
  %run = call ptr @in_context(ptr %own, i64 {parallel_for})
  %r = call i32 %run(ptr %pool, ptr %kernel, ptr %args, i64 %count, i64 %grain, i64 %step, ptr %own)
  %old = atomicrmw xchg ptr %job, i32 {DONE} seq_cst, align 4
  %left = icmp eq i32 %old, {LEFT}
  br i1 %left, label %orphan, label %tell
orphan:
  %orphans = getelementptr i64, ptr @detached, i64 {ORPHANS}
  %this = ptrtoint ptr %job to i64
  br label %push
push:
  %head = load atomic i64, ptr %orphans seq_cst, align 8
  store i64 %head, ptr %pool.at
  %swap = cmpxchg ptr %orphans, i64 %head, i64 %this seq_cst seq_cst, align 8
  %pushed = extractvalue {{ i64, i1 }} %swap, 1
  br i1 %pushed, label %end, label %push
tell:
  ; The caller may have seen it and be gone with the job: then nobody sleeps at this address.
  call void @wake(ptr %pool, ptr %job)
  br label %end
end:
  %running = getelementptr i64, ptr @detached, i64 {RUNNING}
  %before = atomicrmw sub ptr %running, i64 1 seq_cst, align 8
  ret ptr null
}}

; As `parallel_for`, but on a thread of its own and on copies. `lengths`: the number of arguments,
; the number of those that are addresses (the first ones), and of each of these 4 times its bytes,
; + 1 if they have values, + 2 if they are results. Null: here and now, as where there is no memory
; or no thread.
define i32 @detached_for(ptr %pool, ptr %kernel, ptr %args, i64 %n, i64 %grain, i64 %step, ptr %ctx,
                         ptr %lengths) {{
entry:
  %thread = alloca i64, align 8
  %time = alloca [2 x i64], align 8
  %create = call ptr @c_function(i64 {CREATE})
  %never = icmp eq ptr %create, null
  %short = icmp eq ptr %lengths, null
  %direct = or i1 %never, %short
  br i1 %direct, label %here, label %look
look:
  %words = load i64, ptr %lengths
  %places.at = getelementptr i64, ptr %lengths, i64 1
  %places = load i64, ptr %places.at
  %sizes = getelementptr i64, ptr %lengths, i64 2
  %bytes = shl i64 %words, 3
  %behind = add i64 %bytes, {ROUNDED_ARGUMENTS}
  %head = and i64 %behind, -64
  br label %measure
measure:
  %m = phi i64 [ 0, %look ], [ %m1, %measure ]
  %sum = phi i64 [ %head, %look ], [ %sum1, %measure ]
  %m.at = getelementptr i64, ptr %sizes, i64 %m
  %m.length = load i64, ptr %m.at
  %m.size = lshr i64 %m.length, 2
  %m.up = add i64 %m.size, 63
  %m.whole = and i64 %m.up, -64
  %sum1 = add i64 %sum, %m.whole
  %m1 = add i64 %m, 1
  %m.more = icmp slt i64 %m1, %places
  br i1 %m.more, label %measure, label %map
map:
  %ensure = call ptr @in_context(ptr %ctx, i64 {gil_ensure})
  %release = call ptr @in_context(ptr %ctx, i64 {gil_release})
  %alloc = call ptr @in_context(ptr %ctx, i64 {pool_alloc})
  %gil0 = call i32 %ensure()
  %job = call ptr %alloc(i64 %sum1)
  call void %release(i32 %gil0)
  %no_memory = icmp eq ptr %job, null
  br i1 %no_memory, label %here, label %fill
fill:
  store i32 {GOING_ON}, ptr %job
  %own.args = getelementptr i8, ptr %job, i64 {ARGUMENTS}
  call void @llvm.memcpy.p0.p0.i64(ptr %own.args, ptr %args, i64 %bytes, i1 false)
  %length.at = getelementptr i8, ptr %job, i64 {LENGTH}
  store i64 %sum1, ptr %length.at
  %pool.at = getelementptr i8, ptr %job, i64 {POOL}
  store ptr %pool, ptr %pool.at
  %kernel.at = getelementptr i8, ptr %job, i64 {KERNEL}
  store ptr %kernel, ptr %kernel.at
  %count.at = getelementptr i8, ptr %job, i64 {COUNT}
  store i64 %n, ptr %count.at
  %grain.at = getelementptr i8, ptr %job, i64 {GRAIN}
  store i64 %grain, ptr %grain.at
  %step.at = getelementptr i8, ptr %job, i64 {STEP}
  store i64 %step, ptr %step.at
  %own = getelementptr i8, ptr %job, i64 {CONTEXT}
  %threads.at = getelementptr i64, ptr %ctx, i64 {max_threads}
  %threads = load i64, ptr %threads.at
  %own.threads = getelementptr i64, ptr %own, i64 {max_threads}
  store i64 %threads, ptr %own.threads
  %run = call ptr @in_context(ptr %ctx, i64 {parallel_for})
  %own.run = getelementptr i64, ptr %own, i64 {parallel_for}
  store ptr %run, ptr %own.run
  %own.check = getelementptr i64, ptr %own, i64 {check_interrupt}
  store ptr @was_left, ptr %own.check
  br label %copy
copy:
  %c = phi i64 [ 0, %fill ], [ %c1, %have ]
  %c.place = phi i64 [ %head, %fill ], [ %c.place1, %have ]
  %c.at = getelementptr i64, ptr %sizes, i64 %c
  %c.length = load i64, ptr %c.at
  %c.size = lshr i64 %c.length, 2
  %c.valued = trunc i64 %c.length to i1
  %c.bytes = select i1 %c.valued, i64 %c.size, i64 0
  %c.from.at = getelementptr ptr, ptr %args, i64 %c
  %c.from = load ptr, ptr %c.from.at
  %c.to = getelementptr i8, ptr %job, i64 %c.place
  %c.status = call i32 @copied(ptr %c.to, ptr %c.from, i64 %c.bytes, ptr %ctx)
  %c.fine = icmp eq i32 %c.status, 0
  br i1 %c.fine, label %have, label %drop
have:
  %c.to.at = getelementptr ptr, ptr %own.args, i64 %c
  store ptr %c.to, ptr %c.to.at
  %c.up = add i64 %c.size, 63
  %c.whole = and i64 %c.up, -64
  %c.place1 = add i64 %c.place, %c.whole
  %c1 = add i64 %c, 1
  %c.more = icmp slt i64 %c1, %places
  br i1 %c.more, label %copy, label %begin
begin:
  %running = getelementptr i64, ptr @detached, i64 {RUNNING}
  %ran = atomicrmw add ptr %running, i64 1 seq_cst, align 8
  %failed = call i32 %create(ptr %thread, ptr null, ptr @run_job, ptr %job)
  %began = icmp eq i32 %failed, 0
  br i1 %began, label %detach, label %no_thread
no_thread:
  %ran1 = atomicrmw sub ptr %running, i64 1 seq_cst, align 8
  call void @give_back(ptr %job, ptr %ctx)
  br label %here
detach:
  %detach.code = call ptr @c_function(i64 {DETACH})
  %tid = load i64, ptr %thread
  %r1 = call i32 %detach.code(i64 %tid)
  %nanoseconds = getelementptr i64, ptr %time, i64 1
  store i64 0, ptr %time
  store i64 {WAIT_NANOSECONDS}, ptr %nanoseconds
  %syscall.at = getelementptr i8, ptr %pool, i64 {syscall}
  %syscall = load ptr, ptr %syscall.at
  %check.at = getelementptr i64, ptr %ctx, i64 {check_interrupt}
  %check.code = load ptr, ptr %check.at
  br label %wait
wait:
  %state = load atomic i32, ptr %job acquire, align 4
  %ready = icmp eq i32 %state, {DONE}
  br i1 %ready, label %back, label %sleep
sleep:
  %r2 = call i64 (i64, ...) %syscall(i64 {futex}, ptr %job, i32 128, i32 {GOING_ON}, ptr %time)
  %status = call i32 %check.code(ptr %ctx)
  %fine = icmp eq i32 %status, 0
  br i1 %fine, label %wait, label %pin
pin:
  ; The code that the job still runs stays in memory: nobody can tell when it is out of it.
  %incref = call ptr @in_context(ptr %ctx, i64 {incref})
  %code = call ptr @in_context(ptr %ctx, i64 {code})
  %gil = call i32 %ensure()
  call void %incref(ptr %code)
  call void %release(i32 %gil)
  %pair = cmpxchg ptr %job, i32 {GOING_ON}, i32 {LEFT} seq_cst seq_cst, align 4
  %early = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %early, label %leave, label %drop
drop:
  call void @give_back(ptr %job, ptr %ctx)
  br label %leave
leave:
  ret i32 -1
back:
  %b = phi i64 [ 0, %wait ], [ %b1, %next ]
  %b.at = getelementptr i64, ptr %sizes, i64 %b
  %b.length = load i64, ptr %b.at
  %b.size = lshr i64 %b.length, 2
  %b.flag = and i64 %b.length, 2
  %b.unused = icmp eq i64 %b.flag, 0
  %b.bytes = select i1 %b.unused, i64 0, i64 %b.size
  %b.from.at = getelementptr ptr, ptr %own.args, i64 %b
  %b.from = load ptr, ptr %b.from.at
  %b.to.at = getelementptr ptr, ptr %args, i64 %b
  %b.to = load ptr, ptr %b.to.at
  %b.status = call i32 @copied(ptr %b.to, ptr %b.from, i64 %b.bytes, ptr %ctx)
  %b.fine = icmp eq i32 %b.status, 0
  br i1 %b.fine, label %next, label %drop
next:
  %b1 = add i64 %b, 1
  %b.more = icmp slt i64 %b1, %places
  br i1 %b.more, label %back, label %finish
finish:
  call void @give_back(ptr %job, ptr %ctx)
  ret i32 0
here:
  %run.here = call ptr @in_context(ptr %ctx, i64 {parallel_for})
  %r = call i32 %run.here(ptr %pool, ptr %kernel, ptr %args, i64 %n, i64 %grain, i64 %step,
                          ptr %ctx)
  ret i32 %r
}}

; At the end of the process: libraries free what a job that was left still works on, so go before.
define void @leave_process(i32 %status, ptr %unused) {{
entry:
  %running = getelementptr i64, ptr @detached, i64 {RUNNING}
  %count = load atomic i64, ptr %running seq_cst, align 8
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %go, label %stay
go:
  %flush = call ptr @c_function(i64 {FLUSH})
  %r = call i32 %flush(ptr null)
  %exit = call ptr @c_function(i64 {EXIT})
  call void %exit(i32 %status)
  br label %stay
stay:
  ret void
}}
"""

EXPORTS = ("detached", "detached_for", "leave_process")


def detached_text() -> str:
    """Return the LLVM text of `EXPORTS` for this machine."""
    numbers = {name: value for name, value in globals().items() if isinstance(value, int)}
    return (WAKE + _TEMPLATE).format(
        **numbers,
        ROUNDED_ARGUMENTS=ARGUMENTS + 63,
        syscall=SYSCALL,
        futex=futex(),
        parallel_for=Ctx.PARALLEL_FOR,
        max_threads=Ctx.MAX_THREADS,
        check_interrupt=Ctx.CHECK_INTERRUPT,
        gil_ensure=Ctx.GIL_ENSURE,
        gil_release=Ctx.GIL_RELEASE,
        incref=Ctx.INCREF,
        code=Ctx.CODE,
        pool_alloc=Ctx.POOL_ALLOC,
        pool_free=Ctx.POOL_FREE,
    )
