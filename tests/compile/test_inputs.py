"""Options of a function: inputs that keep a value, donated inputs, threads, the device."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.abi import CTX_USER, Ctx
from symgraph.cpu.entry import context
from symgraph.cpu.native import pool

MODES = ["native", "eager", "debug"]


def accumulator(**options):
    total, x = sg.dscalar("total"), sg.dscalar("x")
    kept = sg.In(total, value=10.0, update=total + x)
    return sg.function([x, kept], [total * 2, total + x], **options)


@pytest.mark.parametrize("mode", MODES)
def test_input_with_an_update_keeps_its_value(mode):
    f = accumulator(mode=mode)
    assert [float(v) for v in f(1)] == [20, 11]
    assert [float(v) for v in f(2)] == [22, 13]
    assert f["total"] == 13
    # a passed value is used instead, and the update is computed from it
    assert [float(v) for v in f(1, total=100)] == [200, 101]
    assert f["total"] == 101
    f["total"] = 0.0
    assert [float(v) for v in f(5)] == [0, 5] and f["total"] == 5


def test_update_that_reads_other_elements_sees_the_old_value():
    x = sg.vector("x")
    start = np.arange(4, dtype="float32")
    f = sg.function([sg.In(x, value=start, update=x[::-1] + x)], x)
    assert f().tolist() == [0, 1, 2, 3]
    assert f().tolist() == [3, 3, 3, 3]
    assert start.tolist() == [0, 1, 2, 3]


def test_copies_keep_values_of_their_own():
    f = accumulator()
    f(1)
    g = f.copy()
    assert g["total"] == 11
    g(1)
    assert (f["total"], g["total"]) == (11, 12)
    f(5)
    assert (f["total"], g["total"]) == (16, 12)


def test_copy_with_a_default_and_swapped_state():
    a, b = sg.shared(np.float32(1), "a"), sg.shared(np.float32(10), "b")
    x, y = sg.scalars("x", "y")
    f = sg.function([x, sg.In(y, value=2)], x * y, updates={a: a + x})
    g = f.copy(swap={a: b})
    assert g(3) == 6 and g(3, y=1) == 3
    assert (a.get_value(), b.get_value()) == (1, 16)
    g["y"] = 5
    assert g(3) == 15 and f(3) == 6


def test_functions_with_a_value_in_common():
    state = sg.shared(np.float64(0), "state")
    x = sg.dscalar("x")
    up = sg.function([sg.In(x, value=state, update=x + 1)], x)
    down = sg.function([sg.In(x, value=state, update=x - 1)], x)
    assert [float(v) for v in (up(), up(), down(), up())] == [0, 1, 2, 1]
    assert state.get_value() == 2
    with pytest.raises(sg.DTypeError, match="state"):
        sg.function([sg.In(sg.fscalar("y"), value=state)], None, on_unused_input="ignore")


def test_update_of_an_input_beside_updates_and_other_inputs():
    w, x, k = sg.shared(np.zeros(2)), sg.dvector("x"), sg.lscalar("k")
    f = sg.function(
        [x, sg.In(k, value=0, update=k + 1)], k, updates={w: w + x * k}, on_unused_input="ignore"
    )
    for _ in range(3):
        f(np.ones(2))
    assert w.get_value().tolist() == [3, 3] and f["k"] == 3


def test_wrong_values_and_keys():
    x = sg.vector("x")
    with pytest.raises(TypeError, match="needs value="):
        sg.function([sg.In(x, update=x)], x)
    with pytest.raises(sg.ShapeError, match="has 1 axis"):
        sg.function([sg.In(x, value=0.0)], x)
    with pytest.raises(sg.DTypeError, match="does not fit without loss"):
        sg.function([sg.In(x, value=np.zeros(2, "float32"), update=x * np.ones(2))], x)
    f = sg.function([sg.In(x, value=np.zeros(2, "float32")), sg.In(sg.scalar("y"))], x,
                    on_unused_input="ignore")  # fmt: skip
    with pytest.raises(KeyError, match=r"'y' with a stored value; there are \['x'\]"):
        f["y"]
    assert f[x].tolist() == [0, 0]
    with pytest.raises(sg.ShapeError):
        f["x"] = np.zeros((2, 2), "float32")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shapes", ["exact", "generic"])
def test_update_keeps_the_shape(mode, shapes):
    w, x = sg.shared(np.zeros(4, "float32"), "w", shape=(None,)), sg.vector("x")
    f = sg.function([x], None, updates={w: x * 2}, mode=mode, shapes=shapes)
    f(np.ones(4, "float32"))
    with pytest.raises(sg.ShapeError, match=r"`w`.*has shape \(6\)"):
        f(np.ones(6, "float32"))
    assert w.get_value().tolist() == [2] * 4
    f(np.zeros(4, "float32"))
    w.set_value(np.zeros(6, "float32"))
    f(np.ones(6, "float32"))
    assert w.get_value().tolist() == [2] * 6


def test_donated_inputs():
    x, y = sg.vectors("x", "y")
    f = sg.function([x, y], x + y, donate=[x])
    a, b = np.ones(3, "float32"), np.ones(3, "float32")
    assert f(a, b).tolist() == [2, 2, 2] and f.copy()(a, b).tolist() == [2, 2, 2]
    b.flags.writeable = False
    fresh = sg.function([x, y], x + y, donate=[x])
    with pytest.raises(ValueError, match="`x` is donated, but the array is read-only"):
        fresh(b, a)
    assert fresh(a, b).tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match="not an input"):
        sg.function([x], x, donate=[y])


def test_device():
    x = sg.vector("x")
    assert sg.function([x], x, device="cpu")([1.0]).tolist() == [1]
    for device in ("cuda", "cuda:1", "cuda-sim"):
        with pytest.raises(sg.DeviceError, match=r"symgraph\[cuda\]"):
            sg.function([x], x, device=device)
    with pytest.raises(ValueError, match="device must be"):
        sg.function([x], x, device="tpu")


def pieces(threads, n, grain):
    """Return the pieces that a limited parallel loop over n elements is cut into."""
    found = []
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    kernel = kind(lambda args, begin, end: found.append((begin, end)))
    p = pool.thread_pool()
    words = np.zeros(CTX_USER, np.uint64)
    words[Ctx.MAX_THREADS] = threads
    run = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 3,
                           ctypes.c_void_p)  # fmt: skip
    address = ctypes.cast(kernel, ctypes.c_void_p).value
    loop = run(p.parallel_for_address)
    assert loop(p.state_address, address, None, n, grain, 0, words.ctypes.data) == 0
    return sorted(found)


def test_limit_of_threads_bounds_the_pieces():
    before = pool.get_threads()
    pool.set_threads(4)
    try:
        assert pool.thread_pool().wait_ready()
        assert len(pieces(8, 1000, 1)) == 4  # the limit of the pool
        for threads in (1, 2, 3):
            for n in (1000, 999, 7, 1):
                cut = pieces(threads, n, 1)
                assert 1 <= len(cut) <= threads
                assert cut[0][0] == 0 and cut[-1][1] == n
                assert all(a[1] == b[0] for a, b in zip(cut, cut[1:], strict=False))
            assert len(pieces(threads, 1000, 1)) == threads
        assert len(pieces(3, 1000, 600)) == 1 and pieces(2, 0, 1) == []
    finally:
        pool.set_threads(before)


def test_threads_of_a_function():
    x = sg.matrix("x")
    a = np.random.default_rng(0).normal(size=(512, 4096)).astype("float32")
    free = sg.function([x], [sg.exp(x) * 2, x.sum()])
    one = sg.function([x], [sg.exp(x) * 2, x.sum()], threads=1)
    for got, wanted in zip(one(a), free(a), strict=True):
        assert np.array_equal(got, wanted)
    (version,), (limited_version,) = free.compiled.version_list, one.compiled.version_list
    assert version.module.parallel
    assert version.entry.words[Ctx.MAX_THREADS] == 0
    assert limited_version.entry.words[Ctx.MAX_THREADS] == 1
    assert one.copy().compiled.threads == 1
    for wrong in (0, -1, True):
        with pytest.raises(ValueError, match="threads must be"):
            sg.function([x], x, threads=wrong)


@pytest.mark.parametrize("options", [{"strict": True}, {"allow_downcast": False}])
@pytest.mark.parametrize("portable", [False, True])
def test_numbers_are_refused_after_native_code_exists_as_before(monkeypatch, options, portable):
    monkeypatch.setattr(context, "_layout_problem", lambda: "planted" if portable else None)
    x = sg.scalar("x", dtype="float32")
    with sg.config.override(floatX="float64"):
        f = sg.function([sg.In(x, **options)], x * 2)
        assert f(np.array(1, "float32")) == 2 and f(np.float32(2)) == 4
        for _ in range(2):
            with pytest.raises(sg.DTypeError, match="argument 0 `x` is float32"):
                f(0.5)
        assert sg.function([x], x * 2)(0.5) == 1


def test_an_exact_integer_is_no_downcast():
    i = sg.scalar("i", dtype="int8")
    f = sg.function([i], i + 1, allow_input_downcast=False)
    assert [f(1), f(2)] == [2, 3]
    with pytest.raises(sg.DTypeError):
        f(300)
