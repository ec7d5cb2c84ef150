"""What the native entry returns: kinds of results, where their memory comes from, errors."""

import gc
import sys
import weakref

import numpy as np
import pytest
from entry_rig import N, Slow, add_one, loop_text, make, vector_spec

from symgraph.cpu import abi
from symgraph.cpu.entry.call import ArraySpec, EntrySpec, SharedCell, Slot, make_callable_class
from symgraph.cpu.native import memory


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


def test_class_with_native_call():
    entry = add_one()
    Function = make_callable_class("Function", entry.function, {"answer": 42})
    g = Function()
    assert g(np.zeros(2, np.float32)).tolist() == [1, 1] and g.answer == 42
    assert type(g).__name__ == "Function"


def test_small_results_nobody_has_any_more_are_made_again():
    f = add_one().function
    x = np.arange(10, dtype=np.float32)
    first = f(x)
    address = id(first)
    second = f(x)  # the first is in use
    assert second is not first and not np.shares_memory(first, second)
    view = second[2:]
    address = id(second)
    del second
    third = f(x + 1)  # a view refers to the second
    assert id(third) != address and view.tolist() == [*range(3, 11)]
    assert first.tolist() == [*range(1, 11)] and third[0] == 2
    address = id(third)
    del third
    assert id(f(x)) == address and f(x).tolist() == [*range(1, 11)]
    assert f(np.zeros(0, np.float32)).shape == (0,) and f(x[:3]).tolist() == [1, 2, 3]


def test_a_loop_that_keeps_the_last_result_gets_two_in_turn():
    f = add_one().function
    x = np.arange(10, dtype=np.float32)
    seen = set()
    for k in range(6):
        r = f(x + k)
        seen.add(id(r))
        assert r.tolist() == [*range(k + 1, k + 11)]
    assert len(seen) == 2
    kept = [f(x + k) for k in range(5)]
    assert [r[0] for r in kept] == [1, 2, 3, 4, 5] and len({id(r) for r in kept}) == 5


def test_a_changed_or_watched_result_is_not_made_again():
    f = add_one().function
    x = np.arange(6, dtype=np.float32)

    def freeze(r):
        r.flags.writeable = False

    def reshape(r):
        r.shape = (2, 3)

    def retype(r):
        r.dtype = np.int32

    for change in (freeze, reshape, retype):
        change(f(x))
        again = f(x)
        assert again.flags.writeable and again.shape == (6,) and again.dtype == np.float32
        assert again.tolist() == [1, 2, 3, 4, 5, 6]
        del again
    seen = []
    result = f(x)
    watch = weakref.ref(result, seen.append)
    kept = result.copy()
    del result
    others = [f(x + k) for k in range(3)]
    assert [r[0] for r in others] == [1, 2, 3]
    assert watch() is None or np.array_equal(watch(), kept)


def test_kept_results_go_with_the_function():
    entry = add_one()
    result = entry.function(np.zeros(4, np.float32))
    before = sys.getrefcount(result)
    del entry
    gc.collect()
    assert sys.getrefcount(result) == before - 1 and result.tolist() == [1] * 4
