"""The native entry: checks, results, errors, shared variables, concurrency."""

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from symgraph.cpu import abi, jit, memory
from symgraph.cpu.call import (
    ArraySpec,
    Entry,
    EntrySpec,
    SharedCell,
    Slot,
    emit_entry,
    entry_names,
    make_callable_class,
)
from symgraph.cpu.plan import encode_plan

N = Slot(0, defines=True)
ELEMENT = {
    "bool": "i8",
    "float16": "half",
    "float32": "float",
    "float64": "double",
    "complex64": "i64",
    "complex128": "i128",
}


def element(dtype):
    return ELEMENT.get(dtype) or "i" + dtype.lstrip("uint")


def loop_text(dtype, source=0, target=1, n_index=0, plus_one=True, prologue="", check=""):
    """LLVM text of run: target[i] = source[i] (+ 1), i < dims[n_index]."""
    kind = element(dtype)
    change = "%y = bitcast KIND %x to KIND"
    if plus_one and dtype not in ("bool", "complex64", "complex128"):
        change = "%y = fadd KIND %x, 1.0" if dtype.startswith("float") else "%y = add KIND %x, 1"
    return f"""
define i32 @run(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx) {{
entry:
  {prologue}
  %n.at = getelementptr i64, ptr %dims, i64 {n_index}
  %n = load i64, ptr %n.at
  %src.at = getelementptr ptr, ptr %bufs, i64 {source}
  %src = load ptr, ptr %src.at
  %dst.at = getelementptr ptr, ptr %bufs, i64 {target}
  %dst = load ptr, ptr %dst.at
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %loop, label %done
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  %p = getelementptr {kind}, ptr %src, i64 %i
  %q = getelementptr {kind}, ptr %dst, i64 %i
  %x = load {kind}, ptr %p, align 1
  {change.replace("KIND", kind)}
  store {kind} %y, ptr %q, align 1
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %loop, label %done
done:
  {check}
  ret i32 0
}}
"""


DERIVE = "define void @derive(ptr %dims) {\n  ret void\n}\n"


class Slow:
    """A slow path that records its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        return "slow"


def fail(status):
    raise ArithmeticError(status)


def make(spec, text, cells=(), slow=None, on_error=fail, derive=DERIVE, **options):
    text = emit_entry(spec) + text + (derive if spec.n_dims else "")
    loaded = jit.build(text, entry_names(spec), verify=True)
    return Entry(loaded, spec, cells, slow or Slow(), on_error, **options)


def vector_spec(dtype="float32", **options):
    out = ArraySpec(dtype, (Slot(0),))
    return EntrySpec((ArraySpec(dtype, (N,)),), outputs=(out,), single=True, n_dims=1, **options)


def add_one(dtype="float32", portable=None, slow=None, **options):
    return make(vector_spec(dtype, **options), loop_text(dtype), slow=slow, portable=portable)


def test_layouts_are_known():
    assert abi.self_test() is None


def test_self_test_notices_a_wrong_offset(monkeypatch):
    monkeypatch.setattr(abi, "ARRAY_FLAGS", abi.ARRAY_FLAGS + 4)
    assert "array" in abi.self_test()


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("dtype", abi.DTYPES)
def test_every_dtype(dtype, portable):
    f = add_one(dtype, portable).function
    x = np.arange(10).astype(dtype)
    plus = 0 if np.dtype(dtype).kind in "bc" else 1
    for n in (10, 1, 0):
        y = f(x[:n])
        assert type(y) is np.ndarray and y.dtype == x.dtype and y.shape == (n,)
        np.testing.assert_array_equal(y, (x[:n] + x.dtype.type(plus)).astype(dtype))
    assert y.flags.writeable and y.flags.owndata


@pytest.mark.parametrize("portable", [False, True])
def test_mismatches_reach_the_slow_path(portable):
    slow = Slow()
    f = add_one(portable=portable, slow=slow).function
    x = np.arange(10, dtype=np.float32)
    subclass = x.view(type("Sub", (np.ndarray,), {}))
    unaligned = np.zeros(41, np.uint8)[1:].view(np.float32)
    bad = [
        x[::-1],
        x[::2],
        x.astype(">f4"),
        x.astype(np.float64),
        x.reshape(2, 5),
        x[0],
        np.float32(1),
        subclass,
        unaligned,
        [1.0, 2.0],
        None,
        1.5,
        np.ma.array(x),
        x.view(np.dtype([("a", "f4")])),
    ]
    for value in bad:
        assert f(value) == "slow"
        assert slow.calls[-1][0][0] is value and slow.calls[-1][1] == {}
    for args, kwargs in (((), {}), ((x, x), {}), ((), {"x": x}), ((x,), {"y": 1})):
        assert f(*args, **kwargs) == "slow"
        assert slow.calls[-1] == (args, kwargs)
    assert len(slow.calls) == len(bad) + 4
    empty: dict = {}
    assert f(x, **empty).shape == (10,) and len(slow.calls) == len(bad) + 4


def test_read_only_input_and_unpickled_dtype_are_fine():
    f = add_one("int64").function
    x = np.arange(5)
    x.flags.writeable = False
    assert f(x).tolist() == [1, 2, 3, 4, 5]
    copied = pickle.loads(pickle.dumps(np.arange(5, dtype=np.int64)))
    copied = copied.view(np.dtype("int64", copy=True))
    assert copied.dtype is not np.dtype("int64") and f(copied).tolist() == [1, 2, 3, 4, 5]
    assert f(np.arange(5, dtype=np.longlong)).tolist() == [1, 2, 3, 4, 5]


def test_shape_conditions():
    spec = EntrySpec(
        (
            ArraySpec("float32", (Slot(0, True, 2), 3)),
            ArraySpec("float32", (3, Slot(0))),
            ArraySpec("int32", (Slot(1, True), Slot(1), 1)),
        ),
        outputs=(ArraySpec("float32", (Slot(0), Slot(1), 2)),),
        single=True,
        n_dims=2,
    )
    f = make(spec, "define i32 @run(ptr %a, ptr %b, ptr %c, ptr %d) {\n  ret i32 0\n}\n").function

    def call(n, columns, m, square=None):
        a = np.zeros((n, columns), np.float32)
        return f(a, np.zeros((3, m), np.float32), np.zeros((4, square or 4, 1), np.int32))

    assert call(5, 3, 5).shape == (5, 4, 2)
    for bad in ((1, 3, 1), (5, 4, 5), (5, 3, 6), (5, 3, 5, 3)):
        assert call(*bad) == "slow"


def test_undefined_slot_is_refused():
    with pytest.raises(ValueError, match="dims"):
        encode_plan(EntrySpec((ArraySpec("int8", (Slot(0),)),), none=True, n_dims=1))
    with pytest.raises(ValueError, match="dims"):
        encode_plan(EntrySpec((ArraySpec("int8", (N,)),), none=True))


@pytest.mark.parametrize("portable", [False, True])
def test_derived_sizes(portable):
    derive = """
define void @derive(ptr %dims) {
  %n = load i64, ptr %dims
  %m = mul i64 %n, 3
  %p = getelementptr i64, ptr %dims, i64 1
  store i64 %m, ptr %p
  ret void
}
"""
    spec = EntrySpec(
        (ArraySpec("int64", (N,)),),
        outputs=(ArraySpec("int64", (Slot(1),)), ArraySpec("int64", (2, Slot(0)))),
        n_dims=2,
        arena=Slot(1),
    )
    text = "define i32 @run(ptr %a, ptr %b, ptr %c, ptr %d) {\n  ret i32 0\n}\n"
    out = make(spec, text, derive=derive, portable=portable).function(np.zeros(4, np.int64))
    assert type(out) is list and [a.shape for a in out] == [(12,), (2, 4)]


SCALAR = """
define i32 @run(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx) {
  %src = load ptr, ptr %bufs
  %dst.at = getelementptr ptr, ptr %bufs, i64 1
  %dst = load ptr, ptr %dst.at
  %x = load KIND, ptr %src
  store KIND %x, ptr %dst
  ret i32 0
}
"""


@pytest.mark.parametrize("portable", [False, True])
def test_scalars(portable):
    def made(dtype):
        spec = ArraySpec(dtype, ())
        entry = EntrySpec((spec,), outputs=(spec,), single=True)
        return make(entry, SCALAR.replace("KIND", element(dtype)), portable=portable).function

    for dtype in ("float32", "float64"):
        f = made(dtype)
        for value in (0.1, -np.inf, 1e300 if dtype == "float64" else 3e38):
            y = f(value)
            assert type(y) is np.ndarray and y.shape == () and y == np.dtype(dtype).type(value)
            assert f(np.array(value, dtype)) == y
        assert np.isnan(f(np.nan))
        for bad in (True, "1", 1, np.float64(1.0), [1.0]):
            assert f(bad) == "slow"
    for dtype in ("int8", "int32", "int64", "uint8", "uint32"):
        f, info = made(dtype), np.iinfo(dtype)
        for value in (0, 1, 17, int(info.min), int(info.max)):
            y = f(value)
            assert y.shape == () and y.dtype == dtype and int(y) == value
            assert f(np.array(value, dtype)) == value
        for bad in (int(info.max) + 1, int(info.min) - 1, 10**30, True, 1.0, "1"):
            assert f(bad) == "slow"
    f = made("bool")
    assert f(True) == np.array(True) and f(False) == np.array(False)
    assert f(1) == "slow" and f(np.array(True)) == np.array(True)
    assert made("uint64")(2**63 - 1) == 2**63 - 1


@pytest.mark.parametrize("portable", [False, True])
def test_values_as_conditions_and_sizes(portable):
    spec = EntrySpec(
        (ArraySpec("int32", (), Slot(0, True, 1)), ArraySpec("uint8", (), 200)),
        outputs=(ArraySpec("float32", (Slot(0),)),),
        single=True,
        n_dims=1,
    )
    text = "define i32 @run(ptr %a, ptr %b, ptr %c, ptr %d) {\n  ret i32 0\n}\n"
    f = make(spec, text, portable=portable).function
    assert f(7, 200).shape == (7,)
    assert f(np.array(9, np.int32), np.array(200, np.uint8)).shape == (9,)
    for bad in ((0, 200), (-3, 200), (7, 199)):
        assert f(*bad) == "slow"


def test_values_of_every_integer_width():
    text = "define i32 @run(ptr %a, ptr %b, ptr %c, ptr %d) {\n  ret i32 0\n}\n"
    for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        info = np.iinfo(dtype)
        value = max(info.min, -(2**62)) if info.min else min(info.max, 2**62)
        f = make(EntrySpec((ArraySpec(dtype, (), int(value)),), none=True), text).function
        assert f(np.array(value, dtype)) is None and f(np.array(1, dtype)) == "slow"


@pytest.mark.parametrize("portable", [False, True])
def test_kinds_of_result(portable):
    text = "define i32 @run(ptr %a, ptr %b, ptr %c, ptr %d) {\n  ret i32 0\n}\n"
    out = ArraySpec("float32", (3,))
    for spec, check in (
        (EntrySpec((), outputs=(out,), single=True), lambda r: r.shape == (3,)),
        (EntrySpec((), outputs=(out,)), lambda r: type(r) is list and len(r) == 1),
        (EntrySpec((), outputs=(out, out)), lambda r: len(r) == 2 and r[0] is not r[1]),
        (EntrySpec(()), lambda r: r == []),
        (EntrySpec((), none=True), lambda r: r is None),
    ):
        assert check(make(spec, text, portable=portable).function())


def test_large_results_come_from_the_pool():
    memory.result_pool().clear()
    for n_known in (False, True):
        size = 200_000
        spec = vector_spec()
        if n_known:
            out = ArraySpec("float32", (size,))
            spec = EntrySpec((ArraySpec("float32", (N,)),), outputs=(out,), single=True, n_dims=1)
        f = make(spec, loop_text("float32")).function
        x = np.arange(size, dtype=np.float32)
        used = memory.result_pool().stats().used
        y = f(x)
        np.testing.assert_array_equal(y, x + 1)
        assert y.base is not None and y.flags.writeable and memory.result_pool().stats().used > used
        part, where = y[10:20], y.ctypes.data
        del y
        assert part[0] == 11 and memory.result_pool().stats().used > used
        del part
        assert memory.result_pool().stats().used == used
        assert f(x).ctypes.data == where
        assert memory.result_pool().stats().used == used


def test_impossible_sizes_raise():
    derive = "define void @derive(ptr %dims) {\n  store i64 SIZE, ptr %dims\n  ret void\n}\n"
    spec = EntrySpec(
        (), outputs=(ArraySpec("float64", (Slot(0), 8)), ArraySpec("int8", (4,))), n_dims=1
    )
    text = "define i32 @run(ptr %a, ptr %b, ptr %c, ptr %d) {\n  ret i32 0\n}\n"
    wraps = 2**58 + 2**13  # times 64 bytes is 512 KiB beyond a multiple of 2**64
    for size, error in (
        (2**61, ValueError),
        (wraps, ValueError),
        (-5, ValueError),
        (2**44, MemoryError),
    ):
        f = make(spec, text, derive=derive.replace("SIZE", str(size))).function
        for _ in range(3):
            with pytest.raises(error):
                f()


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("single", [False, True])
def test_errors(single, portable):
    text = "define i32 @run(ptr %a, ptr %b, ptr %c, ptr %d) {\n  ret i32 STATUS\n}\n"
    big = ArraySpec("float32", (100_000,))
    spec = EntrySpec((), outputs=(big,) if single else (big, big), single=single, arena=100)
    f = make(spec, text.replace("STATUS", "7"), portable=portable).function
    used = memory.result_pool().stats().used
    for _ in range(3):
        with pytest.raises(ArithmeticError, match="7"):
            f()
        assert memory.result_pool().stats().used <= used + memory.class_of(100)[1]
    quiet = make(
        spec, text.replace("STATUS", "-2"), on_error=lambda status: None, portable=portable
    )
    with pytest.raises(RuntimeError):
        quiet.function()
    if not portable:
        with pytest.raises(RuntimeError, match="nothing was raised"):
            make(spec, text.replace("STATUS", "-1")).function()


def test_arena():
    text = """
define i32 @run(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx) {
  %dst.at = getelementptr ptr, ptr %bufs, i64 1
  %dst = load ptr, ptr %dst.at
  store ptr %arena, ptr %dst
  ret i32 0
}
"""
    spec = EntrySpec(
        (ArraySpec("int64", (), N),),
        outputs=(ArraySpec("int64", ()),),
        single=True,
        n_dims=1,
        arena=Slot(0),
    )
    gc.collect()  # functions of other tests hold arenas until then
    used = memory.result_pool().stats().used
    entry = make(spec, text)
    f = entry.function
    first = int(f(1000))
    assert first % 64 == 0 and int(f(500)) == first and int(f(1000)) == first
    f(100_000)
    assert memory.result_pool().stats().used == used + memory.class_of(100_000)[1]
    entry.words[abi.Ctx.ARENA_BUSY] = 1
    other = int(f(100_000))
    assert other != entry.words[abi.Ctx.ARENA]
    assert memory.result_pool().stats().used == used + memory.class_of(100_000)[1]
    entry.words[abi.Ctx.ARENA_BUSY] = 0
    assert int(f(100_000)) == entry.words[abi.Ctx.ARENA]
    with pytest.raises(MemoryError):
        f(1 << 50)
    f(1000)
    del entry, f
    gc.collect()
    assert memory.result_pool().stats().used == used


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


def test_outputs_given():
    slow = Slow()
    f = add_one(slow=slow).function_into
    x, y = np.arange(10, dtype=np.float32), np.zeros(10, np.float32)
    assert f(x, y) is None and y.tolist() == list(range(1, 11))
    big = np.zeros(20, np.float32)
    assert f(big[:10], big[10:]) is None  # neighbours do not overlap
    frozen = np.zeros(10, np.float32)
    frozen.flags.writeable = False
    bad = [
        (x, np.zeros(11, np.float32)),
        (x, np.zeros(10)),
        (x, np.zeros(20, np.float32)[::2]),
        (x, frozen),
        (x, x),
        (big[:10], big[9:19]),
        (big[9:19], big[:10]),
        (x,),
        (x, y, y),
        (x, 1.0),
    ]
    for args in bad:
        assert f(*args) == "slow"
    assert f(x, out=y) == "slow" and len(slow.calls) == len(bad) + 1


def test_given_outputs_do_not_overlap_each_other_or_shared():
    array = ArraySpec("float32", (4,))
    cell = SharedCell(np.zeros(4, np.float32))
    spec = EntrySpec((), (array,), (False,), outputs=(array, array))
    text = "define i32 @run(ptr %a, ptr %b, ptr %c, ptr %d) {\n  ret i32 0\n}\n"
    f = make(spec, text, (cell,)).function_into
    a, b = np.zeros(4, np.float32), np.zeros(4, np.float32)
    assert f(a, b) is None
    assert f(a, a) == "slow" and f(a, cell.get()) == "slow" and f(cell.get(), a) == "slow"


def test_versions_are_tried_in_turn_and_retargeted():
    slow = Slow()
    floats, ints = add_one("float32", slow=slow), add_one("int32", slow=slow)
    f = floats.function
    assert f(np.arange(3, dtype=np.int32)) == "slow"
    floats.set_next(ints)
    assert f(np.arange(3, dtype=np.int32)).tolist() == [1, 2, 3]
    into = np.zeros(3, np.int32)
    assert floats.function_into(np.arange(3, dtype=np.int32), into) is None and into[2] == 3
    assert f(np.arange(3)) == "slow"
    kept = weakref.ref(ints._resources)
    floats.set_next(None)
    third = add_one("int64", slow=slow)
    floats.retarget(third)
    del third, ints, floats
    gc.collect()
    assert f(np.arange(3)).tolist() == [1, 2, 3] and f(np.float32(1)) == "slow"
    assert kept() is not None  # another thread might still be inside


def test_class_with_native_call():
    entry = add_one()
    Function = make_callable_class("Function", entry.function, {"answer": 42})
    g = Function()
    assert g(np.zeros(2, np.float32)).tolist() == [1, 1] and g.answer == 42
    assert type(g).__name__ == "Function"


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
