"""The thread pool: compiled worker loops, entered once per thread, and `parallel_for`.

A job is cut into equal pieces, one for each thread, and goes to the workers by raising a number in
each one's line of memory. A thread that is done takes steps of other threads' pieces, and when
nothing is left the caller takes back the offers that no worker has accepted: a worker that is late
or disturbed costs one step at most. Workers spin for some microseconds and then sleep in the
kernel.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import math
import os
import platform
import sys
import threading
import time

import numpy as np

from symgraph.cpu import abi
from symgraph.cpu.native import jit
from symgraph.cpu.native import pool_text as text
from symgraph.cpu.native.pool_text import MAX_WORKERS

SPIN_SECONDS = 20e-6
FIRST_WAKING = 2_000  # nanoseconds; measured from then on
GRAIN_NANOSECONDS = 2_500  # of work in a grain, at least: see `loops/schedule`, `programs/product`


def default_threads() -> int:
    """Return how many threads loops run on unless told otherwise: one for each core."""
    return min(jit.cores(), MAX_WORKERS + 1)


@functools.cache
def _coming() -> jit.Coming:
    return jit.Coming(text.pool_text(), text.EXPORTS, opt_level=0)


class ThreadPool:
    """The process' threads for compiled loops. One per process: see `thread_pool`."""

    def __init__(self) -> None:
        self._code = _coming().result()
        # Workers may still be inside at the very end of the process.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._code))
        self.state_address = self._code.address("pool")
        self.parallel_for_address = self._code.address("parallel_for")
        self._threads: list[threading.Thread] = []
        self._change = threading.Lock()
        self._closed = False
        self._worker = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._code.address("worker"))
        self._futex = sys.platform == "linux" and platform.machine() in text.FUTEX
        self._set(text.SYSCALL, abi.libc_address("syscall"))
        self._set(text.LIMIT, 1)
        self._set(text.CLOCK, abi.libc_address("clock_gettime"))
        self._set(text.WAKING, FIRST_WAKING)
        self._set(text.GRAIN, GRAIN_NANOSECONDS)
        self._set(text.SPIN, self._rounds())
        self._set(text.ENTER, self._code.address("enter"))
        self._wanted = 1

    def set_threads(self, count: int) -> None:
        """Let loops run on `count` threads (the caller's included), starting what is missing."""
        _check(count)
        if not self._futex:
            count = 1  # without a kernel wait, idle workers would burn their cores
        with self._change:
            if self._closed:
                return
            self._wanted = count
            self._start()
            self._set(text.LIMIT, count)

    def get_threads(self) -> int:
        """Return how many threads loops may run on."""
        return self._wanted

    def wait_ready(self, seconds: float = 1.0) -> bool:
        """Wait until all started workers stand in their loop; loops run with fewer until then."""
        end = time.monotonic() + seconds
        while self._get(text.READY) < len(self._threads):
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
        for offset in (text.LOCK, text.REMAINING, text.READY, text.CALLS):
            self._set(offset, 0)
        ctypes.memset(self.state_address + text.THREADS, 0, text.BYTES - text.THREADS)
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
            self._set(text.LIMIT, 1)
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


def _check(count: int) -> None:
    if not 1 <= count <= MAX_WORKERS + 1:
        raise ValueError(f"threads must be 1 to {MAX_WORKERS + 1}, got {count}")


_pools: list[ThreadPool] = []
_chosen: list[int] = []  # the threads that were set before there is a pool
_making = threading.Lock()


def begin() -> None:
    """Let the pool's code be made in the background; the first function with loops waits for it."""
    _coming()


def thread_pool() -> ThreadPool:
    """Return the thread pool of this process; made, with its threads, at first use."""
    if not _pools:
        with _making:
            if not _pools:
                pool = ThreadPool()
                pool.set_threads(_chosen[0] if _chosen else default_threads())
                atexit.register(pool.close)
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(after_in_child=pool.after_fork)
                _pools.append(pool)
    return _pools[0]


def set_threads(count: int) -> None:
    """Let compiled loops run on `count` threads; 1 is serial. None starts before one is needed."""
    _check(count)
    with _making:
        if not _pools:
            _chosen[:] = [count]
            return
    _pools[0].set_threads(count)


def get_threads() -> int:
    """Return how many threads compiled loops may run on, without starting any."""
    if _pools:
        return _pools[0].get_threads()
    return _chosen[0] if _chosen else default_threads()


def fill_context(words: np.ndarray) -> None:
    """Write the pool's addresses into a context table, starting the pool if need be."""
    thread_pool().fill_context(words)
