"""The machine program of the thread pool: worker loops and `parallel_for`, as LLVM text."""

from __future__ import annotations

from symgraph.cpu.abi import POOL_CALLS, POOL_ENTER, Ctx
from symgraph.cpu.native import jit

MAX_WORKERS = 255

# The state in bytes: what is written by different threads is on different cache lines.
LOCK, REMAINING, CALLER_SLEEPS, KERNEL, ARGS, COUNT, PARTS = 0, 64, 68, 128, 136, 144, 152
STEP, CANCEL, MODE = 160, 168, 176
LIMIT, READY, SPIN, SYSCALL, STOP = 192, 200, 208, 216, 224
# Nanoseconds: what waking a worker has cost the caller of late, and the work of a grain; the clock.
WAKING, GRAIN, CLOCK = 232, 240, 248
# How many calls are under way that share several loops, and the address of `enter`.
CALLS, ENTER = POOL_CALLS, POOL_ENTER
# Nanoseconds that workers would have saved who slept, and how often waking for that was in vain.
MISSED, DOUBT = 272, 280
# One line a thread, the caller's first: the number of its last job, whether it sleeps, whether its
# part in the job is still on offer, and the steps that are taken from its piece.
THREADS, LINE = 320, 64
SLEEPS, OFFER, TAKEN = 4, 8, 16
ASLEEP, RUNG = 1, 2  # what SLEEPS says: 0 awake, asleep, or woken but not there yet
BYTES = THREADS + (MAX_WORKERS + 1) * LINE

MONOTONIC = 1  # the clock's number, where there is a futex
LONGEST_WAKING = 100_000  # nanoseconds that are believed
RISE, FALL = 2, 4  # a measurement is followed up by a half of the difference, down by a quarter
REPAID = 4  # times: what a job, or several, must save before sleeping workers are woken for it;
MOST_DOUBT = 4  # twice as much, so often at most, if no job meets workers woken for several
LONGEST_SPIN = 5  # times the usual one: where waking is dear, workers stay awake longer
USUAL_WAKING = 10_000  # nanoseconds for which workers spin as usual
LINGER = 50  # times the usual spin: how long workers wait for the next loop of a call under way

FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}
PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}
# The mode of arithmetic (rounding, subnormal numbers as zero): workers take on the caller's.
MODES = {
    "x86_64": """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define internal void @keep_mode(ptr %at) alwaysinline {
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  ret void
}
define internal void @take_mode(ptr %at) alwaysinline {
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
""",
}
NO_MODES = """
define internal void @keep_mode(ptr %at) alwaysinline {
  ret void
}
define internal void @take_mode(ptr %at) alwaysinline {
  ret void
}
"""

WAKE = """
define internal void @wake(ptr %pool, ptr %word) {{
  %at = getelementptr i8, ptr %pool, i64 {syscall}
  %syscall = load ptr, ptr %at
  %r = call i64 (i64, ...) %syscall(i64 {futex}, ptr %word, i32 129, i32 1)
  ret void
}}
"""
_TEMPLATE = """
@pool = dso_local global [{bytes} x i8] zeroinitializer, align 64
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
{declare_pause}

define internal void @pause() alwaysinline {{
  {pause}
  ret void
}}

define internal void @sleep_while(ptr %pool, ptr %word, i32 %value) {{
  %at = getelementptr i8, ptr %pool, i64 {syscall}
  %syscall = load ptr, ptr %at
  %r = call i64 (i64, ...) %syscall(i64 {futex}, ptr %word, i32 128, i32 %value, ptr null)
  ret void
}}

define internal i64 @now(ptr %pool) {{
  %time = alloca [2 x i64], align 8
  %at = getelementptr i8, ptr %pool, i64 {clock}
  %clock = load ptr, ptr %at
  %r = call i32 %clock(i32 {monotonic}, ptr %time)
  %s = load i64, ptr %time
  %ns.at = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %ns.at
  %whole = mul i64 %s, 1000000000
  %now = add i64 %whole, %ns
  ret i64 %now
}}

; Wake a worker that sleeps unless that was done before, and learn what it costs the caller.
define internal void @ring(ptr %pool, ptr %sleeps) {{
entry:
  %pair = cmpxchg ptr %sleeps, i32 {asleep}, i32 {rung} seq_cst seq_cst, align 4
  %first = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %first, label %call, label %end
call:
  %start = call i64 @now(ptr %pool)
  call void @wake(ptr %pool, ptr %sleeps)
  %after = call i64 @now(ptr %pool)
  %spent = sub i64 %after, %start
  %at = getelementptr i8, ptr %pool, i64 {waking}
  %old = load atomic i64, ptr %at monotonic, align 8
  %cost = call i64 @llvm.umin.i64(i64 %spent, i64 {longest_waking})
  %change = sub i64 %cost, %old
  %more = icmp sgt i64 %change, 0
  %share = select i1 %more, i64 {rise}, i64 {fall}
  %part = sdiv i64 %change, %share
  %new = add i64 %old, %part
  store atomic i64 %new, ptr %at monotonic, align 8
  br label %end
end:
  ret void
}}

; Rounds to spin before sleeping: in proportion to what waking costs.
define internal i64 @patience(ptr %pool) {{
  %spin.at = getelementptr i8, ptr %pool, i64 {spin}
  %usual = load i64, ptr %spin.at
  %at = getelementptr i8, ptr %pool, i64 {waking}
  %cost = load atomic i64, ptr %at monotonic, align 8
  %some = call i64 @llvm.umin.i64(i64 %cost, i64 {dearest})
  %dear = call i64 @llvm.umax.i64(i64 %some, i64 {usual_waking})
  %product = mul i64 %usual, %dear
  %rounds = udiv i64 %product, {usual_waking}
  ret i64 %rounds
}}

; Tell whether to wait on after some rounds: a call is under way that has more loops to share, or
; a job for which a worker came too late: the next one may follow at once.
define internal i1 @under_way(ptr %pool, i64 %rounds) {{
  %calls.at = getelementptr i8, ptr %pool, i64 {calls}
  %calls = load atomic i64, ptr %calls.at monotonic, align 8
  %called = icmp sgt i64 %calls, 0
  %lock = load atomic i32, ptr %pool monotonic, align 4
  %busy = icmp ne i32 %lock, 0
  %some = or i1 %called, %busy
  %spin.at = getelementptr i8, ptr %pool, i64 {spin}
  %usual = load i64, ptr %spin.at
  %most = mul i64 %usual, {linger}
  %soon = icmp ult i64 %rounds, %most
  %both = and i1 %some, %soon
  ret i1 %both
}}

define i64 @spin(i64 %rounds) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  call void @pause()
  %seen = load atomic i32, ptr @pool acquire, align 4
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %rounds
  br i1 %more, label %loop, label %end
end:
  ret i64 %i1
}}

; Run a kernel from 0 to `end` in steps, with a look at signals between two; -1 if that ended the
; job early, else 0.
define internal i32 @steps(ptr %kernel, ptr %args, i64 %end, i64 %step, ptr %ctx) {{
entry:
  br label %next
next:
  %at = phi i64 [ 0, %entry ], [ %to, %check ]
  %left = sub i64 %end, %at
  %size = call i64 @llvm.umin.i64(i64 %left, i64 %step)
  %to = add i64 %at, %size
  call void %kernel(ptr %args, i64 %at, i64 %to)
  %more = icmp slt i64 %to, %end
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

define internal ptr @line(ptr %pool, i64 %index) alwaysinline {{
  %offset = mul i64 %index, {line}
  %lines = getelementptr i8, ptr %pool, i64 {threads}
  %r = getelementptr i8, ptr %lines, i64 %offset
  ret ptr %r
}}

; Take steps of one of the equal contiguous pieces of the present job until none is left. The caller
; (who has `ctx`) looks at signals after each, and all look at `cancel`; -1 if that ended the job.
define internal i32 @piece(ptr %pool, i64 %index, i64 %parts, ptr %ctx) {{
entry:
  %kernel.at = getelementptr i8, ptr %pool, i64 {kernel}
  %kernel = load ptr, ptr %kernel.at
  %args.at = getelementptr i8, ptr %pool, i64 {args}
  %args = load ptr, ptr %args.at
  %count.at = getelementptr i8, ptr %pool, i64 {count}
  %count = load i64, ptr %count.at
  %step.at = getelementptr i8, ptr %pool, i64 {step}
  %wanted = load i64, ptr %step.at
  %cancel = getelementptr i8, ptr %pool, i64 {cancel}
  %own = call ptr @line(ptr %pool, i64 %index)
  %taken = getelementptr i8, ptr %own, i64 {taken}
  %after = add i64 %index, 1
  %b = mul i64 %count, %index
  %e = mul i64 %count, %after
  %begin = udiv i64 %b, %parts
  %end = udiv i64 %e, %parts
  %size = sub i64 %end, %begin
  %step = call i64 @llvm.umin.i64(i64 %size, i64 %wanted)
  br label %next
next:
  %mine = atomicrmw add ptr %taken, i64 1 monotonic, align 8
  %offset = mul i64 %mine, %step
  %some = icmp ult i64 %offset, %size
  br i1 %some, label %look, label %done
look:
  %word = load atomic i64, ptr %cancel monotonic, align 8
  %cancelled = icmp ne i64 %word, 0
  br i1 %cancelled, label %stop, label %run
run:
  %at = add i64 %begin, %offset
  %left = sub i64 %size, %offset
  %some.size = call i64 @llvm.umin.i64(i64 %left, i64 %step)
  %to = add i64 %at, %some.size
  call void %kernel(ptr %args, i64 %at, i64 %to)
  %deaf = icmp eq ptr %ctx, null
  br i1 %deaf, label %next, label %check
check:
  %check.at = getelementptr i64, ptr %ctx, i64 {check_interrupt}
  %check.code = load ptr, ptr %check.at
  %status = call i32 %check.code(ptr %ctx)
  %fine = icmp eq i32 %status, 0
  br i1 %fine, label %next, label %raised
raised:
  store atomic i64 1, ptr %cancel monotonic, align 8
  br label %stop
stop:
  ret i32 -1
done:
  ret i32 0
}}

; Do a thread's own piece, then help with what others have not begun: the one that is disturbed or
; wakes late does not keep all waiting.
define internal i32 @pieces(ptr %pool, i64 %index, ptr %ctx) {{
entry:
  %parts.at = getelementptr i8, ptr %pool, i64 {parts}
  %parts = load i64, ptr %parts.at
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %go_on ]
  %sum = add i64 %index, %i
  %which = urem i64 %sum, %parts
  %r = call i32 @piece(ptr %pool, i64 %which, i64 %parts, ptr %ctx)
  %fine = icmp eq i32 %r, 0
  br i1 %fine, label %go_on, label %end
go_on:
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %parts
  br i1 %more, label %next, label %end
end:
  ret i32 %r
}}

define void @worker(ptr %pool) {{
entry:
  %ready = getelementptr i8, ptr %pool, i64 {ready}
  %index = atomicrmw add ptr %ready, i64 1 acq_rel, align 8
  %part = add i64 %index, 1
  %box = call ptr @line(ptr %pool, i64 %part)
  %sleeps = getelementptr i8, ptr %box, i64 {sleeps}
  %offer = getelementptr i8, ptr %box, i64 {offer}
  %stop.at = getelementptr i8, ptr %pool, i64 {stop}
  %remaining = getelementptr i8, ptr %pool, i64 {remaining}
  %caller = getelementptr i8, ptr %pool, i64 {caller_sleeps}
  br label %wait
wait:
  %seen = phi i32 [ 0, %entry ], [ %now, %wait_again ], [ %job, %finished ]
  %limit = call i64 @patience(ptr %pool)
  br label %spin
spin:
  %i = phi i64 [ 0, %wait ], [ %i1, %again ]
  %until = phi i64 [ %limit, %wait ], [ %end, %again ]
  %a = load atomic i32, ptr %box acquire, align 4
  %new = icmp ne i32 %a, %seen
  br i1 %new, label %work, label %still
still:
  %i1 = add i64 %i, 1
  %on = call i1 @under_way(ptr %pool, i64 %i1)
  %later = add i64 %i1, %limit
  %end = select i1 %on, i64 %later, i64 %until
  %patient = icmp ult i64 %i1, %end
  br i1 %patient, label %again, label %sleep
again:
  call void @pause()
  br label %spin
sleep:
  ; Say so first, then look once more: the caller posts first, then looks whether we sleep.
  store atomic i32 {asleep}, ptr %sleeps seq_cst, align 4
  %b = load atomic i32, ptr %box seq_cst, align 4
  %late = icmp ne i32 %b, %seen
  br i1 %late, label %awake, label %block
block:
  call void @sleep_while(ptr %pool, ptr %sleeps, i32 {asleep})
  br label %awake
awake:
  store atomic i32 0, ptr %sleeps seq_cst, align 4
  %c = load atomic i32, ptr %box acquire, align 4
  %came = icmp ne i32 %c, %seen
  br i1 %came, label %work, label %wait_again
wait_again:
  %now = phi i32 [ %seen, %awake ]
  br label %wait
work:
  %job = phi i32 [ %a, %spin ], [ %c, %awake ]
  %stop = load atomic i64, ptr %stop.at acquire, align 8
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %leave, label %claim
claim:
  ; Too late: the others did it all, and the caller took the offer back.
  %offered = atomicrmw xchg ptr %offer, i32 0 acq_rel, align 4
  %mine = icmp ne i32 %offered, 0
  br i1 %mine, label %run, label %finished
run:
  %mode.at = getelementptr i8, ptr %pool, i64 {mode}
  call void @take_mode(ptr %mode.at)
  %status = call i32 @pieces(ptr %pool, i64 %part, ptr null)
  %before = atomicrmw sub ptr %remaining, i32 1 seq_cst, align 4
  %last = icmp eq i32 %before, 1
  br i1 %last, label %tell, label %finished
tell:
  %sleeping = load atomic i32, ptr %caller seq_cst, align 4
  %must = icmp ne i32 %sleeping, 0
  br i1 %must, label %ring, label %finished
ring:
  call void @wake(ptr %pool, ptr %remaining)
  br label %finished
finished:
  br label %wait
leave:
  ret void
}}

; Mark no step of any piece as taken. Before anybody is told of the job: who is quick helps others.
define internal void @untouched(ptr %pool, i64 %parts) {{
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %next ]
  %own = call ptr @line(ptr %pool, i64 %i)
  %taken = getelementptr i8, ptr %own, i64 {taken}
  store atomic i64 0, ptr %taken monotonic, align 8
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %parts
  br i1 %more, label %next, label %end
end:
  ret void
}}

; Offer the first workers their parts of a job, and wake those that sleep.
define internal void @post(ptr %pool, i64 %workers) {{
entry:
  %none = icmp eq i64 %workers, 0
  br i1 %none, label %end, label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %posted ]
  %i1 = add i64 %i, 1
  %box = call ptr @line(ptr %pool, i64 %i1)
  %offer = getelementptr i8, ptr %box, i64 {offer}
  store atomic i32 1, ptr %offer release, align 4
  %old = atomicrmw add ptr %box, i32 1 seq_cst, align 4
  %sleeps = getelementptr i8, ptr %box, i64 {sleeps}
  %s = load atomic i32, ptr %sleeps seq_cst, align 4
  %sleeping = icmp eq i32 %s, {asleep}
  br i1 %sleeping, label %ring, label %posted
ring:
  call void @ring(ptr %pool, ptr %sleeps)
  br label %posted
posted:
  %more = icmp ult i64 %i1, %workers
  br i1 %more, label %next, label %end
end:
  ret void
}}

; Take back the offers that no worker has accepted: nothing is left to do.
define internal void @withdraw(ptr %pool, i64 %workers) {{
entry:
  %remaining = getelementptr i8, ptr %pool, i64 {remaining}
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %next ]
  %back = phi i32 [ 0, %entry ], [ %back1, %next ]
  %i1 = add i64 %i, 1
  %box = call ptr @line(ptr %pool, i64 %i1)
  %offer = getelementptr i8, ptr %box, i64 {offer}
  %offered = atomicrmw xchg ptr %offer, i32 0 acq_rel, align 4
  %back1 = add i32 %back, %offered
  %more = icmp ult i64 %i1, %workers
  br i1 %more, label %next, label %end
end:
  %before = atomicrmw sub ptr %remaining, i32 %back1 seq_cst, align 4
  ret void
}}

define internal void @wait_for_all(ptr %pool) {{
entry:
  %remaining = getelementptr i8, ptr %pool, i64 {remaining}
  %caller = getelementptr i8, ptr %pool, i64 {caller_sleeps}
  %limit = call i64 @patience(ptr %pool)
  br label %spin
spin:
  %i = phi i64 [ 0, %entry ], [ %i1, %again ]
  %a = load atomic i32, ptr %remaining acquire, align 4
  %done = icmp eq i32 %a, 0
  br i1 %done, label %end, label %still
still:
  %i1 = add i64 %i, 1
  %patient = icmp ult i64 %i1, %limit
  br i1 %patient, label %again, label %sleep
again:
  call void @pause()
  br label %spin
sleep:
  store atomic i32 1, ptr %caller seq_cst, align 4
  %b = load atomic i32, ptr %remaining seq_cst, align 4
  %done2 = icmp eq i32 %b, 0
  br i1 %done2, label %end, label %block
block:
  call void @sleep_while(ptr %pool, ptr %remaining, i32 %b)
  br label %sleep
end:
  ret void
}}

; Return the number of threads for a job. Those that sleep are woken if it repays that, or if jobs
; that went without them add up to what would have: woken once, they are awake for the jobs that
; follow soon. Where that turns out wrong, the next jobs must add up to more.
define internal i64 @awake(ptr %pool, i64 %parts, i64 %pieces) {{
entry:
  %grain.at = getelementptr i8, ptr %pool, i64 {grain}
  %grain = load i64, ptr %grain.at
  %some = call i64 @llvm.umin.i64(i64 %pieces, i64 {slices})
  %whole = mul i64 %some, %grain
  %share = udiv i64 %whole, %parts
  %saved = sub i64 %whole, %share
  %waking.at = getelementptr i8, ptr %pool, i64 {waking}
  %waking = load atomic i64, ptr %waking.at monotonic, align 8
  %price = mul i64 %waking, {repaid}
  %missed.at = getelementptr i8, ptr %pool, i64 {missed}
  %doubt.at = getelementptr i8, ptr %pool, i64 {doubt}
  %doubt = load atomic i64, ptr %doubt.at monotonic, align 8
  %worth = icmp ugt i64 %saved, %price
  br i1 %worth, label %all, label %next
next:
  %i = phi i64 [ 1, %entry ], [ %i1, %go_on ]
  %box = call ptr @line(ptr %pool, i64 %i)
  %sleeps = getelementptr i8, ptr %box, i64 {sleeps}
  %s = load atomic i32, ptr %sleeps monotonic, align 4
  %sleeping = icmp eq i32 %s, {asleep}
  br i1 %sleeping, label %few, label %go_on
go_on:
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %parts
  br i1 %more, label %next, label %met
met:
  %trusted = icmp eq i64 %doubt, 0
  br i1 %trusted, label %all, label %trust
trust:
  store atomic i64 0, ptr %doubt.at monotonic, align 8
  br label %all
few:
  %before = load atomic i64, ptr %missed.at monotonic, align 8
  %missed = add i64 %before, %saved
  %asked = shl i64 %price, %doubt
  %enough = icmp ugt i64 %missed, %asked
  br i1 %enough, label %try, label %wait
wait:
  store atomic i64 %missed, ptr %missed.at monotonic, align 8
  ret i64 %i
try:
  %more.doubt = add i64 %doubt, 1
  %new.doubt = call i64 @llvm.umin.i64(i64 %more.doubt, i64 {most_doubt})
  store atomic i64 0, ptr %missed.at monotonic, align 8
  store atomic i64 %new.doubt, ptr %doubt.at monotonic, align 8
  br label %all
all:
  ret i64 %parts
}}

; Return how many threads a call may use: what the pool and the caller's context allow.
define internal i64 @usable(ptr %pool, ptr %ctx) {{
  %limit.at = getelementptr i8, ptr %pool, i64 {limit}
  %limit = load atomic i64, ptr %limit.at monotonic, align 8
  %ready.at = getelementptr i8, ptr %pool, i64 {ready}
  %ready = load atomic i64, ptr %ready.at acquire, align 8
  %threads = add i64 %ready, 1
  %allowed.at = getelementptr i64, ptr %ctx, i64 {max_threads}
  %allowed = load i64, ptr %allowed.at
  %any = icmp eq i64 %allowed, 0
  %most = select i1 %any, i64 -1, i64 %allowed
  %agreed = call i64 @llvm.umin.i64(i64 %limit, i64 %most)
  %usable = call i64 @llvm.umin.i64(i64 %agreed, i64 %threads)
  ret i64 %usable
}}

; Begin a call that shares several loops, of so many pieces in all: workers that are awake stay so
; until it ends (who calls counts `calls` down again), those that sleep are woken if it repays that.
define void @enter(ptr %pool, i64 %pieces, ptr %ctx) {{
entry:
  %calls = getelementptr i8, ptr %pool, i64 {calls}
  %before = atomicrmw add ptr %calls, i64 1 monotonic, align 8
  %usable = call i64 @usable(ptr %pool, ptr %ctx)
  %wanted = call i64 @llvm.umin.i64(i64 %usable, i64 %pieces)
  %two = icmp ugt i64 %wanted, 1
  br i1 %two, label %judge, label %end
judge:
  %parts = call i64 @awake(ptr %pool, i64 %wanted, i64 %pieces)
  br label %next
next:
  %i = phi i64 [ 1, %judge ], [ %i1, %go_on ]
  %more = icmp ult i64 %i, %parts
  br i1 %more, label %look, label %end
look:
  %box = call ptr @line(ptr %pool, i64 %i)
  %sleeps = getelementptr i8, ptr %box, i64 {sleeps}
  %s = load atomic i32, ptr %sleeps seq_cst, align 4
  %sleeping = icmp eq i32 %s, {asleep}
  br i1 %sleeping, label %ring, label %go_on
ring:
  call void @ring(ptr %pool, ptr %sleeps)
  br label %go_on
go_on:
  %i1 = add i64 %i, 1
  br label %next
end:
  ret void
}}

; Run a kernel over 0 to n on at most as many threads as the pool and the caller's context allow,
; each with `grain` iterations at least. With `step` > 0 the caller looks at signals every so many
; iterations; -1 if a handler raised (the rest is not done), else 0. Must not hold the interpreter.
define i32 @parallel_for(ptr %pool, ptr %kernel, ptr %args, i64 %n, i64 %grain, i64 %step,
                         ptr %ctx) {{
entry:
  %deaf = icmp eq i64 %step, 0
  %stride = select i1 %deaf, i64 -1, i64 %step
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %plan, label %end
plan:
  %g = call i64 @llvm.smax.i64(i64 %grain, i64 1)
  %pieces = udiv i64 %n, %g
  %usable = call i64 @usable(ptr %pool, ptr %ctx)
  %wanted = call i64 @llvm.umin.i64(i64 %usable, i64 %pieces)
  %two = icmp ugt i64 %wanted, 1
  br i1 %two, label %judge, label %serial
judge:
  %parts = call i64 @awake(ptr %pool, i64 %wanted, i64 %pieces)
  %many = icmp ugt i64 %parts, 1
  br i1 %many, label %lock, label %serial
lock:
  ; Also taken when a kernel asks for threads itself: the inner loop then runs serially.
  %pair = cmpxchg ptr %pool, i32 0, i32 1 acquire monotonic, align 4
  %free = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %free, label %share, label %serial
share:
  %kernel.at = getelementptr i8, ptr %pool, i64 {kernel}
  store ptr %kernel, ptr %kernel.at
  %args.at = getelementptr i8, ptr %pool, i64 {args}
  store ptr %args, ptr %args.at
  %count.at = getelementptr i8, ptr %pool, i64 {count}
  store i64 %n, ptr %count.at
  %parts.at = getelementptr i8, ptr %pool, i64 {parts}
  store i64 %parts, ptr %parts.at
  %step.at = getelementptr i8, ptr %pool, i64 {step}
  store i64 %stride, ptr %step.at
  %mode.at = getelementptr i8, ptr %pool, i64 {mode}
  call void @keep_mode(ptr %mode.at)
  %cancel = getelementptr i8, ptr %pool, i64 {cancel}
  store atomic i64 0, ptr %cancel monotonic, align 8
  %workers = sub i64 %parts, 1
  %workers32 = trunc i64 %workers to i32
  %remaining = getelementptr i8, ptr %pool, i64 {remaining}
  store atomic i32 %workers32, ptr %remaining monotonic, align 4
  %caller = getelementptr i8, ptr %pool, i64 {caller_sleeps}
  store atomic i32 0, ptr %caller monotonic, align 4
  call void @untouched(ptr %pool, i64 %parts)
  call void @post(ptr %pool, i64 %workers)
  %listener = select i1 %deaf, ptr null, ptr %ctx
  %shared = call i32 @pieces(ptr %pool, i64 0, ptr %listener)
  call void @withdraw(ptr %pool, i64 %workers)
  call void @wait_for_all(ptr %pool)
  store atomic i32 0, ptr %pool release, align 4
  br label %end
serial:
  %alone = call i32 @steps(ptr %kernel, ptr %args, i64 %n, i64 %stride, ptr %ctx)
  br label %end
end:
  %r = phi i32 [ 0, %entry ], [ %shared, %share ], [ %alone, %serial ]
  ret i32 %r
}}

; Take the pool out of use; 0 if a job is running in it.
define i32 @try_lock(ptr %pool) {{
  %pair = cmpxchg ptr %pool, i32 0, i32 1 acquire monotonic, align 4
  %free = extractvalue {{ i32, i1 }} %pair, 1
  %r = zext i1 %free to i32
  ret i32 %r
}}

define void @stop(ptr %pool) {{
  %stop.at = getelementptr i8, ptr %pool, i64 {stop}
  store atomic i64 1, ptr %stop.at seq_cst, align 8
  %ready.at = getelementptr i8, ptr %pool, i64 {ready}
  %ready = load atomic i64, ptr %ready.at acquire, align 8
  call void @post(ptr %pool, i64 %ready)
  ret void
}}
"""


def futex() -> int:
    """Return the number of the system call to sleep and wake; 0 where none is known."""
    return FUTEX.get(jit.target().triple.partition("-")[0], 0)


EXPORTS = ("pool", "spin", "worker", "parallel_for", "enter", "try_lock", "stop")


def pool_text() -> str:
    """Return the LLVM text of `EXPORTS` for this machine."""
    machine = jit.target().triple.partition("-")[0]
    declare, pause = PAUSE.get(machine, ("", ""))
    text = (WAKE + _TEMPLATE).format(
        mode=MODE,
        bytes=BYTES,
        declare_pause=declare,
        pause=pause,
        futex=futex(),
        kernel=KERNEL,
        args=ARGS,
        count=COUNT,
        parts=PARTS,
        limit=LIMIT,
        ready=READY,
        spin=SPIN,
        syscall=SYSCALL,
        stop=STOP,
        remaining=REMAINING,
        caller_sleeps=CALLER_SLEEPS,
        threads=THREADS,
        sleeps=SLEEPS,
        offer=OFFER,
        taken=TAKEN,
        step=STEP,
        cancel=CANCEL,
        check_interrupt=Ctx.CHECK_INTERRUPT,
        max_threads=Ctx.MAX_THREADS,
        line=LINE,
        waking=WAKING,
        grain=GRAIN,
        clock=CLOCK,
        monotonic=MONOTONIC,
        longest_waking=LONGEST_WAKING,
        rise=RISE,
        fall=FALL,
        asleep=ASLEEP,
        rung=RUNG,
        missed=MISSED,
        doubt=DOUBT,
        most_doubt=MOST_DOUBT,
        repaid=REPAID,
        usual_waking=USUAL_WAKING,
        dearest=LONGEST_SPIN * USUAL_WAKING,
        slices=1 << 40,
        calls=CALLS,
        linger=LINGER,
    )
    return text + MODES.get(machine, NO_MODES)
