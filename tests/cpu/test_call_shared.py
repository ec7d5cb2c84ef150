"""Shared variables in the native entry, threads, signals."""

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from entry_rig import N, loop_text, make, vector_spec

from symgraph.cpu import abi
from symgraph.cpu.entry.call import ArraySpec, EntrySpec, SharedCell
from symgraph.cpu.native import memory


@pytest.mark.parametrize("portable", [False, True])
def test_shared_variables(portable):
    source, written = (SharedCell(np.arange(4, dtype=np.float32)) for _ in range(2))
    array = ArraySpec("float32", (4,))
    spec = EntrySpec((), (array, array), (False, True), none=True, n_dims=1)
    text = loop_text("float32")
    derive = "define void @derive(ptr %dims) {\n  store i64 4, ptr %dims\n  ret void\n}\n"
    f = make(spec, text, (source, written), derive=derive, portable=portable).function
    assert f() is None and written.get().tolist() == [1, 2, 3, 4]
    source.set(np.full(4, 7, np.float32))
    assert f() is None and written.get().tolist() == [8] * 4
    frozen = np.zeros(4, np.float32)
    frozen.flags.writeable = False
    written.set(frozen)
    assert f() == "slow"
    written.set(np.zeros(4, np.float32))
    source.set(np.zeros(5, np.float32))
    assert f() == "slow"
    source.set(frozen)
    assert f() is None
    assert (source.state, written.state) == (0, 0)


def test_cells_hold_one_reference():
    arrays = [np.zeros(3), np.ones(3)]
    before = [sys.getrefcount(a) for a in arrays]
    cell = SharedCell(arrays[0])
    for _ in range(100):
        cell.set(arrays[1])
        cell.set(arrays[1])
        cell.set(arrays[0])
        with cell.reading() as a, cell.reading() as b:
            assert a is b is arrays[0] and cell.state == 2
        with cell.writing():
            assert cell.state == -1
        del a, b
    assert [sys.getrefcount(a) for a in arrays] == [before[0] + 1, before[1]]
    del cell
    assert [sys.getrefcount(a) for a in arrays] == before
    with pytest.raises(TypeError):
        SharedCell([1.0])


def test_set_waits_for_readers():
    cell, log = SharedCell(np.zeros(2)), []

    def replace():
        cell.set(np.ones(2))
        log.append("set")

    with cell.reading() as array:
        thread = threading.Thread(target=replace)
        thread.start()
        time.sleep(0.03)
        assert cell.get() is array and not log
    thread.join()
    assert log == ["set"] and cell.get()[0] == 1


@pytest.mark.parametrize("release", [False, True])
def test_busy_shared_variable_is_waited_for(release):
    cell = SharedCell(np.zeros(4, np.float32))
    spec = EntrySpec(
        (ArraySpec("float32", (N,)),),
        (ArraySpec("float32", (4,)),),
        (True,),
        none=True,
        n_dims=1,
        release_gil=release,
    )
    f = make(spec, loop_text("float32"), (cell,)).function
    log = []

    def hold():
        with cell.reading():
            log.append("held")
            time.sleep(0.05)
            log.append("left")

    thread = threading.Thread(target=hold)
    thread.start()
    while not log:
        time.sleep(0.001)
    f(np.ones(4, np.float32))
    log.append("called")
    thread.join()
    assert log == ["held", "left", "called"] and cell.get().tolist() == [2] * 4
    assert cell.state == 0


SLEEP = """
  %sleep.at = getelementptr i64, ptr %ctx, i64 64
  %usleep = load ptr, ptr %sleep.at
  %slept = call i32 %usleep(i32 20000)
"""


def test_two_threads_inside_at_once():
    spec = vector_spec(arena=64, release_gil=True)
    f = make(spec, loop_text("float32", prologue=SLEEP), user=[abi.libc_address("usleep")]).function
    results = {}

    def work(key):
        x = np.full(5, key, np.float32)
        results[key] = [f(x).tolist() for _ in range(10)]

    threads = [threading.Thread(target=work, args=(key,)) for key in range(2)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.perf_counter() - start < 0.38  # 0.2 s when they overlap, 0.4 s when not
    assert results == {key: [[key + 1] * 5] * 10 for key in range(2)}


def test_threads_writing_one_shared_variable_take_turns():
    cell = SharedCell(np.zeros(1000, np.float64))
    spec = EntrySpec(
        (), (ArraySpec("float64", (1000,)),), (True,), none=True, n_dims=1, release_gil=True
    )
    derive = "define void @derive(ptr %dims) {\n  store i64 1000, ptr %dims\n  ret void\n}\n"
    f = make(spec, loop_text("float64", 0, 0), (cell,), derive=derive).function
    threads = [threading.Thread(target=lambda: [f() for _ in range(500)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cell.get().tolist() == [1500.0] * 1000 and cell.state == 0


LONG = """
define i32 @run(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx) {
entry:
  %sleep.at = getelementptr i64, ptr %ctx, i64 64
  %usleep = load ptr, ptr %sleep.at
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %next ]
  %slept = call i32 %usleep(i32 2000)
  %stop = call i32 @check_interrupt(ptr %ctx)
  %stopped = icmp ne i32 %stop, 0
  br i1 %stopped, label %leave, label %next
next:
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, 2000
  br i1 %more, label %loop, label %leave
leave:
  %r = phi i32 [ %stop, %loop ], [ 0, %next ]
  ret i32 %r
}
"""


@pytest.fixture
def listening():
    """Interrupts raise, also in a background job, which ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_interrupt():
    cell = SharedCell(np.zeros(4, np.float32))
    spec = EntrySpec(
        (),
        (ArraySpec("float32", (4,)),),
        (True,),
        outputs=(ArraySpec("float32", (100_000,)),),
        single=True,
        release_gil=True,
    )
    f = make(spec, LONG, (cell,), user=[abi.libc_address("usleep")]).function
    used = memory.result_pool().stats().used
    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        f()
    assert 0.09 < time.perf_counter() - start < 1
    assert cell.state == 0 and memory.result_pool().stats().used == used
