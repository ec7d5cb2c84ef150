"""What the native entry checks: objects, dtypes, shapes, numbers, sizes."""

import gc
import pickle
import weakref

import numpy as np
import pytest
from entry_rig import N, Slow, add_one, element, make

from symgraph.cpu import abi
from symgraph.cpu.entry.call import ArraySpec, EntrySpec, Slot
from symgraph.cpu.entry.plan import encode_plan


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
