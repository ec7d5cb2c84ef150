"""References, memory, forks and the cost of native calls."""

import contextlib
import ctypes
import gc
import os
import sys
import time

import numpy as np
import pytest
from entry_rig import DERIVE, N, Slow, add_one, fail, loop_text, make, vector_spec

from symgraph.cpu import abi
from symgraph.cpu.entry.call import (
    ArraySpec,
    Entry,
    EntrySpec,
    SharedCell,
    Slot,
    emit_entry,
    make_callable_class,
)
from symgraph.cpu.native import jit


def test_references_stay_balanced():
    slow = Slow()
    array = ArraySpec("float32", (N,))
    out = ArraySpec("float32", (Slot(0),))
    lone, cell = ArraySpec("int64", ()), SharedCell(np.ones(3, np.float32))
    spec = EntrySpec(
        (array, lone),
        (ArraySpec("float32", (3,)),),
        (False,),
        (out, out),
        n_dims=1,
        release_gil=True,
        arena=128,
    )
    text = "define i32 @run(ptr %a, ptr %b, ptr %c, ptr %ctx) {\n  ret i32 0\n}\n"
    f = make(spec, text, (cell,), slow=slow).function
    g = make(spec, text.replace("ret i32 0", "ret i32 1000000"), (cell,)).function
    nothing = make(EntrySpec((), none=True), text).function
    x, big = np.zeros(10, np.float32), np.zeros(100_000, np.float32)
    watched = [x, big, cell.get(), None, np.dtype("float32"), np.ndarray, slow, f, 10**12]

    def calls():
        for _ in range(2500):
            f(x, 10**12)
            f(big, 1)
            f(x)
            f(x, 1.5)
            nothing()
            slow.calls.clear()
            with contextlib.suppress(ArithmeticError):
                g(x, 1)

    def resident():
        return int(open("/proc/self/statm").read().split()[1]) * 4096

    calls()
    gc.collect()
    before, memory_before = [sys.getrefcount(w) for w in watched], resident()
    blocks = sys.getallocatedblocks()
    calls()
    gc.collect()
    assert abs(sys.getallocatedblocks() - blocks) < 200
    after = [sys.getrefcount(w) for w in watched]
    assert all(abs(a - b) < 20 for a, b in zip(after, before, strict=True)), (before, after)
    assert resident() - memory_before < 2_000_000


def test_everything_is_freed():
    def resident():
        gc.collect()
        return int(open("/proc/self/statm").read().split()[1]) * 4096

    code = jit.compile_object(
        emit_entry(vector_spec(arena=1000)) + loop_text("float32") + DERIVE, jit.target()
    )

    def cycle():
        loaded = jit.load(code, ["run", "derive"])
        entry = Entry(loaded, vector_spec(arena=1000), (), Slow(), fail)
        entry.function(np.zeros(3, np.float32))

    for _ in range(100):
        cycle()
    before = resident()
    for _ in range(300):
        cycle()
    assert resident() - before < 3_000_000


def test_a_builtin_outlives_what_its_self_owns():
    """The collector clears dictionaries in a cycle before it frees a builtin that needs them."""
    builtin = add_one().function
    vars(builtin.__self__).clear()
    gc.collect()
    filling = [float(i) / 3 for i in range(20_000)]  # of the size of the method's record
    assert builtin.__name__ == "compiled" and len(filling) == 20_000


def test_call_in_forked_child():
    f = add_one().function
    x = np.arange(100_000, dtype=np.float32)
    f(x)
    child = os.fork()
    if child == 0:
        good = f(x)[5] == 6 and add_one("int32").function(np.zeros(2, np.int32))[0] == 1
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_cost_of_a_call():
    f = make_callable_class("F", add_one().function)()
    x = np.arange(10, dtype=np.float32)
    for _ in range(100):
        f(x)
    best = min(_time(f, x) for _ in range(5))
    assert best < 1.5e-6  # 0.1 microseconds where nothing else runs


def _time(f, x, rounds=5000):
    start = time.perf_counter()
    for _ in range(rounds):
        f(x)
    return (time.perf_counter() - start) / rounds


def test_ctypes_path_restores_nothing_it_does_not_know():
    with pytest.raises(abi.GuardError):
        abi.check_arrays(vector_spec(), (), (), np.zeros(1, np.int64))
    assert ctypes.sizeof(ctypes.c_void_p) == 8
