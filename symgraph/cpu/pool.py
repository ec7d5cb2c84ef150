"""The thread pool: compiled worker loops, entered once per thread, and `parallel_for`.

A job goes to a fixed set of workers by raising a number in each one's mailbox; workers that take
no part are never touched, so that a late one cannot meet the next job half written. Workers spin
for some microseconds and then sleep in the kernel.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import platform
import sys
import threading
import time
from pathlib import Path

import numpy as np

from symgraph.cpu import abi, jit

MAX_WORKERS = 255
SPIN_SECONDS = 20e-6

# The state in bytes: what is written by different threads is on different cache lines.
_LOCK, _REMAINING, _CALLER_SLEEPS, _KERNEL, _ARGS, _COUNT, _PARTS = 0, 64, 68, 128, 136, 144, 152
_LIMIT, _READY, _SPIN, _SYSCALL, _STOP = 192, 200, 208, 216, 224
_MAILBOXES, _LINE = 256, 64
_BYTES = _MAILBOXES + MAX_WORKERS * _LINE

_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}
_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}

_TEMPLATE = """
@pool = dso_local global [{bytes} x i8] zeroinitializer, align 64
declare i64 @llvm.umin.i64(i64, i64)
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

define internal void @wake(ptr %pool, ptr %word) {{
  %at = getelementptr i8, ptr %pool, i64 {syscall}
  %syscall = load ptr, ptr %at
  %r = call i64 (i64, ...) %syscall(i64 {futex}, ptr %word, i32 129, i32 1)
  ret void
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

; Run one of the equal contiguous pieces of the present job.
define internal void @piece(ptr %pool, i64 %index) {{
  %kernel.at = getelementptr i8, ptr %pool, i64 {kernel}
  %kernel = load ptr, ptr %kernel.at
  %args.at = getelementptr i8, ptr %pool, i64 {args}
  %args = load ptr, ptr %args.at
  %count.at = getelementptr i8, ptr %pool, i64 {count}
  %count = load i64, ptr %count.at
  %parts.at = getelementptr i8, ptr %pool, i64 {parts}
  %parts = load i64, ptr %parts.at
  %after = add i64 %index, 1
  %b = mul i64 %count, %index
  %e = mul i64 %count, %after
  %begin = udiv i64 %b, %parts
  %end = udiv i64 %e, %parts
  call void %kernel(ptr %args, i64 %begin, i64 %end)
  ret void
}}

define void @worker(ptr %pool) {{
entry:
  %ready = getelementptr i8, ptr %pool, i64 {ready}
  %index = atomicrmw add ptr %ready, i64 1 acq_rel, align 8
  %part = add i64 %index, 1
  %offset = mul i64 %index, {line}
  %boxes = getelementptr i8, ptr %pool, i64 {mailboxes}
  %box = getelementptr i8, ptr %boxes, i64 %offset
  %sleeps = getelementptr i8, ptr %box, i64 4
  %spin.at = getelementptr i8, ptr %pool, i64 {spin}
  %stop.at = getelementptr i8, ptr %pool, i64 {stop}
  %remaining = getelementptr i8, ptr %pool, i64 {remaining}
  %caller = getelementptr i8, ptr %pool, i64 {caller_sleeps}
  br label %wait
wait:
  %seen = phi i32 [ 0, %entry ], [ %now, %wait_again ], [ %job, %finished ]
  %limit = load i64, ptr %spin.at
  br label %spin
spin:
  %i = phi i64 [ 0, %wait ], [ %i1, %again ]
  %a = load atomic i32, ptr %box acquire, align 4
  %new = icmp ne i32 %a, %seen
  br i1 %new, label %work, label %still
still:
  %i1 = add i64 %i, 1
  %patient = icmp ult i64 %i1, %limit
  br i1 %patient, label %again, label %sleep
again:
  call void @pause()
  br label %spin
sleep:
  ; Say so first, then look once more: the caller posts first, then looks whether we sleep.
  store atomic i32 1, ptr %sleeps seq_cst, align 4
  %b = load atomic i32, ptr %box seq_cst, align 4
  %late = icmp ne i32 %b, %seen
  br i1 %late, label %awake, label %block
block:
  call void @sleep_while(ptr %pool, ptr %box, i32 %seen)
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
  br i1 %stopped, label %leave, label %run
run:
  call void @piece(ptr %pool, i64 %part)
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

define internal void @post(ptr %pool, i64 %workers) {{
entry:
  %none = icmp eq i64 %workers, 0
  br i1 %none, label %end, label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %posted ]
  %offset = mul i64 %i, {line}
  %boxes = getelementptr i8, ptr %pool, i64 {mailboxes}
  %box = getelementptr i8, ptr %boxes, i64 %offset
  %old = atomicrmw add ptr %box, i32 1 seq_cst, align 4
  %sleeps = getelementptr i8, ptr %box, i64 4
  %s = load atomic i32, ptr %sleeps seq_cst, align 4
  %sleeping = icmp ne i32 %s, 0
  br i1 %sleeping, label %ring, label %posted
ring:
  call void @wake(ptr %pool, ptr %box)
  br label %posted
posted:
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %workers
  br i1 %more, label %next, label %end
end:
  ret void
}}

define internal void @wait_for_all(ptr %pool) {{
entry:
  %remaining = getelementptr i8, ptr %pool, i64 {remaining}
  %caller = getelementptr i8, ptr %pool, i64 {caller_sleeps}
  %spin.at = getelementptr i8, ptr %pool, i64 {spin}
  %limit = load i64, ptr %spin.at
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

define void @parallel_for(ptr %pool, ptr %kernel, ptr %args, i64 %n, i64 %grain) {{
entry:
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %plan, label %end
plan:
  %g = call i64 @llvm.smax.i64(i64 %grain, i64 1)
  %pieces = udiv i64 %n, %g
  %limit.at = getelementptr i8, ptr %pool, i64 {limit}
  %limit = load atomic i64, ptr %limit.at monotonic, align 8
  %ready.at = getelementptr i8, ptr %pool, i64 {ready}
  %ready = load atomic i64, ptr %ready.at acquire, align 8
  %threads = add i64 %ready, 1
  %usable = call i64 @llvm.umin.i64(i64 %limit, i64 %threads)
  %parts = call i64 @llvm.umin.i64(i64 %usable, i64 %pieces)
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
  %workers = sub i64 %parts, 1
  %workers32 = trunc i64 %workers to i32
  %remaining = getelementptr i8, ptr %pool, i64 {remaining}
  store atomic i32 %workers32, ptr %remaining monotonic, align 4
  %caller = getelementptr i8, ptr %pool, i64 {caller_sleeps}
  store atomic i32 0, ptr %caller monotonic, align 4
  call void @post(ptr %pool, i64 %workers)
  call void @piece(ptr %pool, i64 0)
  call void @wait_for_all(ptr %pool)
  store atomic i32 0, ptr %pool release, align 4
  br label %end
serial:
  call void %kernel(ptr %args, i64 0, i64 %n)
  br label %end
end:
  ret void
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

_EXPORTS = ("pool", "spin", "worker", "parallel_for", "try_lock", "stop")


def _text() -> str:
    machine = jit.target().triple.partition("-")[0]
    declare, pause = _PAUSE.get(machine, ("", ""))
    return _TEMPLATE.format(
        bytes=_BYTES,
        declare_pause=declare,
        pause=pause,
        futex=_FUTEX.get(machine, 0),
        kernel=_KERNEL,
        args=_ARGS,
        count=_COUNT,
        parts=_PARTS,
        limit=_LIMIT,
        ready=_READY,
        spin=_SPIN,
        syscall=_SYSCALL,
        stop=_STOP,
        remaining=_REMAINING,
        caller_sleeps=_CALLER_SLEEPS,
        mailboxes=_MAILBOXES,
        line=_LINE,
    )


def default_threads() -> int:
    """Return how many cores this process may use: its affinity, capped by its group's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass
    return max(1, min(cores, MAX_WORKERS + 1))


class ThreadPool:
    """The process' threads for compiled loops. One per process: see `thread_pool`."""

    def __init__(self) -> None:
        self._code = jit.build_quick(_text(), _EXPORTS)
        # Workers may still be inside at the very end of the process.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._code))
        self.state_address = self._code.address("pool")
        self.parallel_for_address = self._code.address("parallel_for")
        self._threads: list[threading.Thread] = []
        self._change = threading.Lock()
        self._closed = False
        self._worker = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._code.address("worker"))
        self._futex = sys.platform == "linux" and platform.machine() in _FUTEX
        self._set(_SYSCALL, abi.libc_address("syscall"))
        self._set(_LIMIT, 1)
        self._set(_SPIN, self._rounds())
        self._wanted = 1

    def set_threads(self, count: int) -> None:
        """Let loops run on `count` threads (the caller's included), starting what is missing."""
        if not 1 <= count <= MAX_WORKERS + 1:
            raise ValueError(f"threads must be 1 to {MAX_WORKERS + 1}, got {count}")
        if not self._futex:
            count = 1  # without a kernel wait, idle workers would burn their cores
        with self._change:
            if self._closed:
                return
            self._wanted = count
            self._start()
            self._set(_LIMIT, count)

    def get_threads(self) -> int:
        """Return how many threads loops may run on."""
        return self._wanted

    def wait_ready(self, seconds: float = 1.0) -> bool:
        """Wait until all started workers stand in their loop; loops run with fewer until then."""
        end = time.monotonic() + seconds
        while self._get(_READY) < len(self._threads):
            if time.monotonic() > end:
                return False
            time.sleep(1e-4)
        return True

    def fill_context(self, words: np.ndarray) -> None:
        """Write the addresses that compiled loops use into a context table."""
        words[abi.Ctx.PARALLEL_FOR] = self.parallel_for_address
        words[abi.Ctx.THREAD_POOL] = self.state_address

    def _start(self) -> None:
        while len(self._threads) < self._wanted - 1:
            name = f"symgraph-{len(self._threads) + 1}"
            thread = threading.Thread(
                target=self._worker, args=(self.state_address,), name=name, daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _rounds(self) -> int:
        """Return how many rounds of the spin loop take `SPIN_SECONDS`."""
        spin = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(self._code.address("spin"))
        rounds, fastest = 1000, math.inf
        for _ in range(5):
            start = time.perf_counter()
            spin(rounds)
            fastest = min(fastest, time.perf_counter() - start)
        return max(10, int(rounds * SPIN_SECONDS / fastest))

    def after_fork(self) -> None:
        """Begin afresh in a forked child, where none of the threads exist."""
        self._change = threading.Lock()
        self._threads = []
        for offset in (_LOCK, _REMAINING, _READY):
            self._set(offset, 0)
        ctypes.memset(self.state_address + _MAILBOXES, 0, MAX_WORKERS * _LINE)
        if not self._closed:
            self._start()

    def close(self, seconds: float = 2.0) -> None:
        """Send the workers home; loops run serially from then on."""
        end = time.monotonic() + seconds
        with self._change:
            if self._closed:
                return
            self._closed = True
            self._wanted = 1
            self._set(_LIMIT, 1)
            kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
            try_lock = kind(self._code.address("try_lock"))
            while not try_lock(self.state_address):
                if time.monotonic() > end:
                    return  # a loop is stuck: its threads end with the process
                time.sleep(1e-3)
            self.wait_ready(max(0.0, end - time.monotonic()))
            stop = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._code.address("stop"))
            stop(self.state_address)
            for thread in self._threads:
                thread.join(max(0.0, end - time.monotonic()))

    def _set(self, offset: int, value: int) -> None:
        ctypes.c_int64.from_address(self.state_address + offset).value = value

    def _get(self, offset: int) -> int:
        return ctypes.c_int64.from_address(self.state_address + offset).value


_pools: list[ThreadPool] = []
_making = threading.Lock()


def thread_pool() -> ThreadPool:
    """Return the thread pool of this process; made, with the default threads, at first use."""
    if not _pools:
        with _making:
            if not _pools:
                pool = ThreadPool()
                pool.set_threads(default_threads())
                atexit.register(pool.close)
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(after_in_child=pool.after_fork)
                _pools.append(pool)
    return _pools[0]


def set_threads(count: int) -> None:
    """Let compiled loops run on `count` threads; 1 is serial."""
    thread_pool().set_threads(count)


def get_threads() -> int:
    """Return how many threads compiled loops may run on, without starting any."""
    return _pools[0].get_threads() if _pools else default_threads()


def fill_context(words: np.ndarray) -> None:
    """Write the pool's addresses into a context table, starting the pool if need be."""
    thread_pool().fill_context(words)
