"""The thread pool."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from symgraph.cpu.abi import CTX_USER, Ctx
from symgraph.cpu.native import jit, pool
from symgraph.cpu.native import pool_text as text

ROOT = Path(__file__).resolve().parents[2]

# args: [0] marks (i64 per element), [1] number of calls (i64), [2] depth to nest, [3] pool,
# [4] parallel_for, [5] shortest piece, [6] context; of `slow`: [7] microseconds a step, [8] of the
# first one, [9] usleep
KERNEL = """
define void @mark(ptr %args, i64 %begin, i64 %end) {
entry:
  %marks = load ptr, ptr %args
  %calls.at = getelementptr ptr, ptr %args, i64 1
  %calls = load ptr, ptr %calls.at
  %old = atomicrmw add ptr %calls, i64 1 seq_cst, align 8
  %size = sub i64 %end, %begin
  %short.at = getelementptr i64, ptr %args, i64 5
  %short = atomicrmw min ptr %short.at, i64 %size seq_cst, align 8
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %loop, label %done
loop:
  %i = phi i64 [ %begin, %entry ], [ %i1, %loop ]
  %p = getelementptr i64, ptr %marks, i64 %i
  %x = load i64, ptr %p
  %y = add i64 %x, 1
  store i64 %y, ptr %p
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

define void @slow(ptr %args, i64 %begin, i64 %end) {
  call void @mark(ptr %args, i64 %begin, i64 %end)
  %first = icmp eq i64 %begin, 0
  %which = select i1 %first, i64 8, i64 7
  %time.at = getelementptr i64, ptr %args, i64 %which
  %time = load i32, ptr %time.at
  %usleep.at = getelementptr ptr, ptr %args, i64 9
  %usleep = load ptr, ptr %usleep.at
  %r = call i32 %usleep(i32 %time)
  ret void
}

define void @outer(ptr %args, i64 %begin, i64 %end) {
entry:
  %pool.at = getelementptr ptr, ptr %args, i64 3
  %pool = load ptr, ptr %pool.at
  %for.at = getelementptr ptr, ptr %args, i64 4
  %for = load ptr, ptr %for.at
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %i1, %loop ]
  %ctx.at = getelementptr ptr, ptr %args, i64 6
  %ctx = load ptr, ptr %ctx.at
  %r = call i32 %for(ptr %pool, ptr @mark, ptr %args, i64 10, i64 1, i64 0, ptr %ctx)
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

define void @nothing(ptr %args, i64 %begin, i64 %end) {
  ret void
}

; Call parallel_for many times from native code.
define void @repeat(ptr %for, ptr %pool, ptr %kernel, ptr %args, i64 %n, i64 %times, ptr %ctx) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  %r = call i32 %for(ptr %pool, ptr %kernel, ptr %args, i64 %n, i64 1, i64 0, ptr %ctx)
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


class Rig:
    """Kernels, their arguments, and `parallel_for` as a Python function."""

    def __init__(self, size=1000):
        self.code = jit.build(KERNEL, ["mark", "slow", "outer", "nothing", "repeat"])
        self.pool = pool.thread_pool()
        self.marks = np.zeros(size, np.int64)
        self.calls = np.zeros(1, np.int64)
        self.args = np.zeros(10, np.int64)
        self.context = np.zeros(CTX_USER, np.uint64)
        self.args[:2] = self.marks.ctypes.data, self.calls.ctypes.data
        self.args[3:5] = self.pool.state_address, self.pool.parallel_for_address
        self.args[5] = 1 << 60
        self.args[6] = self.context.ctypes.data
        self.args[9] = ctypes.cast(ctypes.CDLL(None).usleep, ctypes.c_void_p).value
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[pointer] * 3, *[number] * 3, pointer)
        self._for = kind(self.pool.parallel_for_address)
        self._repeat = ctypes.CFUNCTYPE(None, *[pointer] * 4, number, number, pointer)(
            self.code.address("repeat")
        )

    def forget(self, doubt=0):
        """Forget the jobs that went without workers, and how often waking was in vain."""
        self.pool._set(text.MISSED, 0)
        self.pool._set(text.DOUBT, doubt)

    def grain(self, nanoseconds):
        self.pool._set(text.GRAIN, nanoseconds)

    def waking(self, nanoseconds=None):
        """Return what waking is thought to cost, or set it."""
        if nanoseconds is not None:
            self.pool._set(text.WAKING, nanoseconds)
        return self.pool._get(text.WAKING)

    def run(self, n, grain=1, kernel="mark", step=0):
        address, args = self.code.address(kernel), self.args.ctypes.data
        context = self.context.ctypes.data
        return self._for(self.pool.state_address, address, args, n, grain, step, context)

    def repeat(self, n, times, kernel="nothing"):
        state, address = self.pool.state_address, self.code.address(kernel)
        start = time.perf_counter()
        data = self.args.ctypes.data
        context = self.context.ctypes.data
        self._repeat(self.pool.parallel_for_address, state, address, data, n, times, context)
        return (time.perf_counter() - start) / times


@pytest.fixture
def rig():
    before, found = pool.get_threads(), Rig()
    found.grain(1_000_000)  # nanoseconds: any job is worth waking sleepers
    yield found
    found.grain(pool.GRAIN_NANOSECONDS)
    pool.set_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_every_element_once(rig, threads):
    pool.set_threads(threads)
    assert pool.get_threads() == threads and rig.pool.wait_ready()
    for n in (1000, 999, 7, 1, 0, -3):
        for grain in (1, 10, 400, 5000, 0):
            rig.marks[:] = rig.calls[:] = 0
            rig.args[5] = 1 << 60
            rig.run(n, grain)
            assert rig.marks.sum() == max(n, 0) and rig.marks[: max(n, 0)].all()
            assert rig.calls[0] == (min(threads, max(n // max(grain, 1), 1)) if n > 0 else 0)
            assert n <= 0 or rig.args[5] >= min(grain, n)


def test_threads_work_at_once(rig):
    pool.set_threads(2)
    rig.pool.wait_ready()
    text = """
define void @sleep(ptr %args, i64 %b, i64 %e) {
  %usleep = load ptr, ptr %args
  %r = call i32 %usleep(i32 50000)
  ret void
}
"""
    code = jit.build(text, ["sleep"])
    from_libc = ctypes.cast(ctypes.CDLL(None).usleep, ctypes.c_void_p).value
    rig.args[0] = from_libc
    for _ in range(3):
        start = time.perf_counter()
        address, context = code.address("sleep"), rig.context.ctypes.data
        rig._for(rig.pool.state_address, address, rig.args.ctypes.data, 2, 1, 0, context)
        assert time.perf_counter() - start < 0.095


def test_many_jobs_in_a_row(rig):
    for threads in (2, 5):
        pool.set_threads(threads)
        rig.pool.wait_ready()
        rig.marks[:] = 0
        rig.repeat(1000, 2000, "mark")
        assert (rig.marks == 2000).all()


def test_jobs_after_sleep(rig):
    pool.set_threads(3)
    rig.pool.wait_ready()
    for count in range(1, 60):
        rig.run(300)
        time.sleep(0.0005 * (count % 4))
        assert (rig.marks[:300] == count).all()


def becomes(rig, asleep, looks=5000):
    """Wait until the first worker sleeps, or does not, at ten looks in a row."""
    at = rig.pool.state_address + text.THREADS + text.LINE + text.SLEEPS
    same = 0
    for _ in range(looks):
        same = same + 1 if ctypes.c_int32.from_address(at).value == asleep else 0
        if same == 10:
            return True
        time.sleep(1e-3)
    return False


def under_way(rig, change=0):
    """Return how many calls are under way that share several loops, and change it."""
    rig.pool._set(text.CALLS, rig.pool._get(text.CALLS) + change)
    return rig.pool._get(text.CALLS)


def test_workers_stay_awake_while_a_call_is_under_way(rig):
    pool.set_threads(2)
    rig.pool.wait_ready()
    usual = rig.pool._get(text.SPIN)
    try:
        rig.pool._set(text.SPIN, 10_000_000)  # some tenths of a second
        rig.waking(1)
        under_way(rig, 1)
        rig.run(1000)  # wakes the worker, if need be
        rig.pool._set(text.SPIN, 100_000)  # read again after a job: 50 times some milliseconds
        rig.run(1000)
        assert not becomes(rig, asleep=True, looks=100)
        under_way(rig, -1)
        assert becomes(rig, asleep=True)
    finally:
        rig.pool._set(text.SPIN, usual)
        rig.pool._set(text.CALLS, 0)


def test_a_call_wakes_workers_for_all_its_loops(rig):
    pool.set_threads(2)
    rig.pool.wait_ready()
    rig.grain(5000)
    pointer = ctypes.c_void_p
    enter = ctypes.CFUNCTYPE(None, pointer, ctypes.c_int64, pointer)(rig.pool._get(text.ENTER))
    usual = rig.pool._get(text.SPIN)

    def stays_awake(pieces, waking, limit=0):
        assert becomes(rig, asleep=True)
        rig.context[Ctx.MAX_THREADS] = limit
        rig.waking(waking)
        rig.forget()
        rig.pool._set(text.SPIN, 1_000_000)
        enter(rig.pool.state_address, pieces, rig.context.ctypes.data)
        assert rig.pool._get(text.CALLS) == 1
        awake = becomes(rig, asleep=False, looks=50)
        rig.pool._set(text.CALLS, 0)
        rig.pool._set(text.SPIN, usual)
        return awake

    try:
        assert stays_awake(1000, 1000)
        assert not stays_awake(2, 100_000)  # 5 us are saved, 400 would have to be
        assert not stays_awake(1, 0)  # nothing to share
        assert not stays_awake(1000, 1000, limit=1)
    finally:
        rig.pool._set(text.SPIN, usual)
        rig.pool._set(text.CALLS, 0)


def test_sleeping_workers_are_woken_for_what_repays_it(rig):
    pool.set_threads(2)
    rig.pool.wait_ready()
    rig.grain(5000)

    def threads_of(pieces, waking):
        assert becomes(rig, asleep=True)
        rig.waking(waking)
        rig.forget()
        rig.calls[:] = 0
        rig.run(pieces)
        return rig.calls[0]

    assert threads_of(2, 100) == 2  # 5 us saved, four times 0.1 paid
    assert threads_of(2, 3000) == 1
    assert threads_of(20, 3000) == 2
    assert threads_of(20, 100_000) == 1
    assert threads_of(1000, 100_000) == 2


def test_what_waking_costs_is_measured(rig):
    pool.set_threads(2)
    rig.pool.wait_ready()
    assert becomes(rig, asleep=True)
    rig.waking(0)
    rig.run(100)
    first = rig.waking()
    assert 0 < first <= text.LONGEST_WAKING // 2
    for _ in range(20):  # a busy machine may take as long as that once
        assert becomes(rig, asleep=True)
        rig.waking(text.LONGEST_WAKING)
        rig.run(100)
        if rig.waking() < text.LONGEST_WAKING:  # a high value is followed down
            return
    raise AssertionError(rig.waking())


def test_jobs_that_go_without_workers_add_up(rig):
    """A job of 10 us never wakes anybody; a row of them does, unless that was in vain before."""
    pool.set_threads(2)
    rig.pool.wait_ready()
    rig.grain(5000)

    def jobs_until_awake(doubt):
        assert becomes(rig, asleep=True)
        rig.waking(10_000)
        rig.forget(doubt)
        for count in range(1, 1000):
            rig.calls[:] = 0
            rig.run(2)
            if rig.calls[0] == 2:
                return count
        return 0

    assert jobs_until_awake(0) == 9  # each saves 5 us, and 40 are not enough
    assert rig.pool._get(text.DOUBT) == 1
    assert jobs_until_awake(2) == 33
    assert jobs_until_awake(text.MOST_DOUBT) == 8 * 2**text.MOST_DOUBT + 1
    assert rig.pool._get(text.DOUBT) == text.MOST_DOUBT


def test_workers_that_jobs_meet_are_trusted(rig):
    pool.set_threads(2)
    rig.pool.wait_ready()
    usual = rig.pool._get(text.SPIN)
    try:
        rig.pool._set(text.SPIN, 1 << 30)
        rig.run(100)
        assert becomes(rig, asleep=False)
        rig.forget(doubt=3)
        rig.grain(1)
        rig.run(2)
        assert rig.pool._get(text.DOUBT) == 0
    finally:
        rig.pool._set(text.SPIN, usual)
        rig.run(2)


def test_workers_wait_for_the_end_of_a_job_and_then_for_the_next(rig):
    """Who was done early slept when the others were done: the next job had to wake him."""
    pool.set_threads(2)
    rig.pool.wait_ready()
    usual = rig.pool._get(text.SPIN)
    try:
        rig.pool._set(text.SPIN, usual * 500)  # some 10 ms
        rig.waking(1)
        rig.run(2)
        rig.args[7], rig.args[8] = 0, 60_000  # microseconds of the steps, and of the first one
        rig.run(2, kernel="slow")
        asleep = rig.pool.state_address + text.THREADS + text.LINE + text.SLEEPS
        assert ctypes.c_int32.from_address(asleep).value == 0
        assert becomes(rig, asleep=True)
    finally:
        rig.pool._set(text.SPIN, usual)


def test_workers_that_are_awake_are_used_for_any_job(rig):
    pool.set_threads(2)
    rig.pool.wait_ready()
    assert becomes(rig, asleep=True)
    rig.pool._set(text.SPIN, 1 << 30)  # it does not sleep again
    try:
        rig.run(100)
        assert becomes(rig, asleep=False)
        rig.grain(0)
        rig.waking(100_000)
        rig.calls[:] = 0
        rig.run(2)
        assert rig.calls[0] == 2
    finally:
        rig.pool._set(text.SPIN, rig.pool._rounds())
        rig.run(2)


def test_nested_and_concurrent_calls_run_serially(rig):
    pool.set_threads(2)
    rig.pool.wait_ready()
    rig.run(1, kernel="outer")
    assert rig.marks[:10].tolist() == [1] * 10
    others = [Rig() for _ in range(3)]
    running = [threading.Thread(target=r.repeat, args=(100, 3000, "mark")) for r in others]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert all((r.marks[:100] == 3000).all() for r in others)


def test_set_threads_checks_its_argument(rig):
    for bad in (0, -1, pool.MAX_WORKERS + 2):
        with pytest.raises(ValueError):
            pool.set_threads(bad)
    assert 1 <= pool.default_threads() <= (os.cpu_count() or 1)


def test_fork_starts_afresh(rig):
    pool.set_threads(3)
    rig.run(100)
    child = os.fork()
    if child == 0:
        good = rig.pool.wait_ready(5)
        rig.calls[:] = 0
        rig.repeat(100, 50, "mark")
        os._exit(0 if good and (rig.marks[:100] == 51).all() and rig.calls[0] == 150 else 1)
    assert os.waitpid(child, 0)[1] == 0
    rig.run(100)
    assert (rig.marks[:100] == 2).all()


def test_fork_while_another_thread_is_inside(rig):
    pool.set_threads(2)
    rig.pool.wait_ready()
    busy = threading.Thread(target=rig.repeat, args=(1000, 20000, "mark"))
    busy.start()
    other = Rig()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            other.pool.wait_ready(5)
            other.repeat(100, 20, "mark")
            os._exit(0 if (other.marks[:100] == 20).all() and other.calls[0] == 40 else 1)
        assert os.waitpid(child, 0)[1] == 0
    busy.join()
    assert (rig.marks == 20000).all()


@pytest.mark.parametrize("ending", ["pass", "raise SystemExit(0)", "import atexit; P.close()"])
def test_clean_exit(ending):
    script = f"""
import threading
from symgraph.cpu.native import pool as P
P.set_threads(4)
assert threading.active_count() == 1 and P.get_threads() == 4  # none before one is needed
P.close = P.thread_pool().close
assert threading.active_count() == 4
{ending}
"""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0 and not done.stderr
    assert time.perf_counter() - start < 1.9  # no wait ran into its limit


def check_after(rig, calls):
    """Let the look at signals raise at the given call; returns the calls made so far."""
    made = []

    def check(context):
        made.append(context)
        return -1 if len(made) == calls else 0

    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(check)
    rig.context[Ctx.CHECK_INTERRUPT] = ctypes.cast(function, ctypes.c_void_p).value
    return made, function


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_steps_are_taken_and_do_everything_once(rig, threads):
    pool.set_threads(threads)
    rig.pool.wait_ready()
    made, _keep = check_after(rig, 0)
    assert rig.run(900, 10, step=7) == 0
    assert (rig.marks[:900] == 1).all() and not rig.marks[900:].any()
    steps = threads * -(-900 // threads // 7)
    assert rig.calls[0] == steps
    assert set(made) <= {rig.context.ctypes.data}
    assert len(made) == steps - 1 if threads == 1 else len(made) <= steps


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_job_that_is_stopped_ends_early_and_the_next_is_whole(rig, threads):
    pool.set_threads(threads)
    rig.pool.wait_ready()
    made, _keep = check_after(rig, 3)
    rig.args[7] = 500  # microseconds a step
    assert rig.run(300, 10, "slow", step=1) == -1
    assert len(made) == 3 and rig.marks.max() == 1
    assert rig.marks[:300].sum() < 100 and rig.marks[0] == 1
    rig.marks[:] = rig.args[7] = 0
    assert rig.run(300, 10, "slow", step=1) == 0 and (rig.marks[:300] == 1).all()


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_that_are_done_help_the_others(rig, threads):
    """The caller is held at its first step: the others do the rest of its piece."""
    pool.set_threads(threads)
    rig.pool.wait_ready()
    made, _keep = check_after(rig, 0)
    rig.args[8] = 60_000  # microseconds the first element takes
    assert rig.run(900, 10, "slow", step=10) == 0
    assert (rig.marks[:900] == 1).all() and rig.calls[0] == 90
    assert 1 <= len(made) < 45 // threads  # the caller had 90 / threads steps of its own


def test_nobody_waits_for_workers_that_came_too_late(rig):
    """More threads than cores: what some cannot begin is done by the others, each time."""
    pool.set_threads(16)
    rig.pool.wait_ready()
    rig.context[Ctx.MAX_THREADS] = 0
    for n in (16, 100, 1000):
        rig.marks[:] = 0
        rig.repeat(n, 300, "mark")
        assert (rig.marks[:n] == 300).all() and not rig.marks[n:].any()


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_context_limits_threads(rig, limit):
    pool.set_threads(3)
    rig.pool.wait_ready()
    rig.context[Ctx.MAX_THREADS] = limit
    rig.run(900, 1)
    assert rig.calls[0] == min(limit, 3)
