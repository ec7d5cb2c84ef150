"""sg.function and state: the semantics that users of Theano expect, and every bad input."""

import importlib
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import symgraph as sg
from symgraph.compile import version

f32 = np.float32


def vec(*values):
    return np.array(values, "float32")


def test_outputs_as_variable_list_dict_and_none():
    x = sg.vector("x")
    a = vec(1, 2)
    assert sg.function([x], x + 1)(a).tolist() == [2, 3]
    both = sg.function([x], [x + 1, x * 2])(a)
    assert isinstance(both, list) and both[1].tolist() == [2, 4]
    named = sg.function([x], {"p": x + 1, "q": x.sum()})(a)
    assert named["p"].tolist() == [2, 3] and named["q"] == 3
    assert sg.function([x], [], on_unused_input="ignore")(a) == []
    assert sg.function([], None)() is None


def test_updates_are_simultaneous():
    a, b = sg.shared(vec(1, 2)), sg.shared(vec(3, 4))
    swap = sg.function([], a.sum(), updates={a: b, b: a})
    assert swap() == 3
    assert a.get_value().tolist() == [3, 4] and b.get_value().tolist() == [1, 2]
    swap()
    assert a.get_value().tolist() == [1, 2]


def test_output_shows_old_value_of_an_updated_variable():
    a = sg.shared(f32(1))
    f = sg.function([], a, updates={a: a + 1})
    assert [float(f()) for _ in range(3)] == [1, 2, 3]


def test_update_reading_other_elements_is_not_done_in_place():
    a = sg.shared(np.arange(6, dtype="float32"))
    f = sg.function([], None, updates={a: a[::-1] + a})
    f()
    assert a.get_value().tolist() == [5] * 6


def test_updates_in_place_when_safe():
    w = sg.shared(np.ones(1000, "float32"))
    before = w.get_value(borrow=True)
    f = sg.function([], None, updates={w: w * 2})
    f()
    assert w.get_value(borrow=True) is before and before[0] == 2
    assert "in place: 1" in f.explain()


def test_result_never_aliases_input_or_state():
    x = sg.vector("x")
    w = sg.shared(vec(1, 2))
    f = sg.function([x], [x, w])
    a = vec(5, 6)
    y, v = f(a)
    y[0], v[0] = 9, 9
    assert a[0] == 5 and w.get_value()[0] == 1


def test_givens_replace_inputs_and_intermediates():
    x, y = sg.vectors("x", "y")
    z = x * 2
    f = sg.function([y], z + 1, givens={x: y + 1})
    assert f(vec(1)).tolist() == [5]
    g = sg.function([y], z + 1, givens={z: y})
    assert g(vec(1)).tolist() == [2]
    with pytest.raises(TypeError, match="givens"):
        sg.function([y], z, givens={x: sg.matrix("m")})


def test_keyword_arguments_and_defaults():
    x, y = sg.scalars("x", "y")
    f = sg.function([x, sg.In(y, value=f32(10))], x - y)
    assert f(1) == -9 and f(x=3, y=1) == 2 and f(3, y=2) == 1
    for call in (f, lambda: f(1, 2, 3), lambda: f(1, z=2), lambda: f(1, x=2)):
        with pytest.raises(TypeError):
            call()


def test_out_argument():
    x = sg.vector("x")
    f = sg.function([x], x * 2)
    a, out = vec(1, 2, 3), np.zeros(3, "float32")
    assert f(a, out=out) is out and out.tolist() == [2, 4, 6]
    assert f(a, out=a) is a and a.tolist() == [2, 4, 6]
    strided = np.zeros(6, "float32")[::2]
    assert f(vec(1, 2, 3), out=strided).tolist() == [2, 4, 6]
    for bad, error in ((np.zeros(2, "float32"), ValueError), (np.zeros(3), TypeError)):
        with pytest.raises(error):
            f(vec(1, 2, 3), out=bad)


def test_copy_with_swapped_state():
    a, b = sg.shared(f32(1), "a"), sg.shared(f32(10), "b")
    f = sg.function([], a, updates={a: a + 1})
    g = f.copy(swap={a: b})
    g()
    assert b.get_value() == 11 and a.get_value() == 1


def test_layouts_that_need_conversion():
    x = sg.matrix("x")
    f = sg.function([x], x * 2 + 1)
    base = np.arange(24, dtype="float32").reshape(4, 6)
    read_only = base.copy()
    read_only.flags.writeable = False
    swapped = base.astype(base.dtype.newbyteorder())
    for a in (base, base.T, base[::-1], base[:, ::2], base[::2, ::-1], read_only, swapped):
        assert np.array_equal(f(a), np.asarray(a, "float32") * 2 + 1)
    assert np.array_equal(f([[1, 2], [3, 4]]), [[3, 5], [7, 9]])
    assert f(np.zeros((0, 3), "float32")).shape == (0, 3)


def test_dtypes_that_fit_are_converted_others_refused():
    x = sg.vector("x")
    f = sg.function([x], x)
    assert f(np.array([1, 2], "int8")).dtype == np.float32
    with pytest.raises(sg.DTypeError, match=r"astype\('float32'\)") as error:
        f(np.zeros(2))
    assert "allow_input_downcast" in str(error.value) and "test_function.py" in str(error.value)
    g = sg.function([x], x, allow_input_downcast=True)
    assert g(np.array([1.5])).dtype == np.float32
    i = sg.ivector("i")
    with pytest.raises(sg.DTypeError):
        sg.function([i], i)([1.5])
    with pytest.raises(sg.SymbolicValueError):
        f(x)


def test_rank_and_shape_errors_name_the_argument():
    x = sg.tensor("weights", (None, 3))
    f = sg.function([x], x.sum(1))
    with pytest.raises(sg.ShapeError, match="`weights`.*axis 1 has length 4, declared is 3"):
        f(np.zeros((2, 4), "float32"))
    with pytest.raises(sg.ShapeError, match="has 2 axes, got an array with 1"):
        f(np.zeros(3, "float32"))


def test_clash_met_at_the_call_names_shapes_and_lines():
    a, b = sg.vectors("a", "b")
    f = sg.function([a, b], sg.tanh(a + b))
    with pytest.raises(sg.ShapeError) as error:
        f(np.zeros(2, "float32"), np.zeros(3, "float32"))
    text = str(error.value)
    assert "2 in `a`" in text and "3 in `b`" in text and "test_function.py" in text
    assert f(vec(1), vec(1, 2)).shape == (2,)  # length 1 broadcasts at run time


def test_unused_and_missing_inputs():
    x, y = sg.vectors("x", "y")
    with pytest.raises(sg.UnusedInputError, match="`y`"):
        sg.function([x, y], x)
    with pytest.warns(UserWarning):
        sg.function([x, y], x, on_unused_input="warn")
    with pytest.raises(sg.MissingInputError, match="`y`"):
        sg.function([x], x + y)
    with pytest.raises(TypeError, match="not an input"):
        sg.function([x + 1], x)


def test_bad_updates():
    a = sg.shared(vec(1, 2), "a")
    with pytest.raises(sg.DTypeError, match="astype"):
        sg.function([], None, updates={a: a.astype("float64")})
    with pytest.raises(sg.ShapeError):
        sg.function([], None, updates={a: a.sum()})
    with pytest.raises(ValueError, match="twice"):
        sg.function([], None, updates=[(a, a), (a, a + 1)])
    with pytest.raises(TypeError, match="shared variable"):
        sg.function([], None, updates={sg.vector("x"): a})


def test_shared_values_are_copied_and_checked():
    value = vec(1, 2)
    a = sg.shared(value)
    value[0] = 7
    assert a.get_value()[0] == 1
    a.get_value()[0] = 9
    assert a.get_value()[0] == 1
    with pytest.raises(sg.ShapeError):
        a.set_value(vec(1, 2, 3))
    with pytest.raises(sg.DTypeError):
        a.set_value(np.zeros(2))
    grows = sg.shared(vec(1, 2), shape=(None,))
    f = sg.function([], grows.sum())
    assert f() == 3
    grows.set_value(vec(1, 2, 3))
    assert f() == 6


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int8", "bool", ">f4"])
@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (7, 3)])
def test_copies_of_shared_values_begin_with_a_cache_line(dtype, shape):
    value = np.arange(2 * int(np.prod(shape)) + 2)[: 2 * int(np.prod(shape)) : 2]
    value = value.reshape(shape).astype(dtype) if shape else np.array(3).astype(dtype)
    w = sg.shared(value)
    for _ in range(2):
        held = w.get_value(borrow=True)
        assert held.ctypes.data % 64 == 0 or not held.size
        assert held.flags.c_contiguous and held.flags.writeable and held.dtype.isnative
        np.testing.assert_array_equal(held, value)
        w.set_value(value)


def test_an_error_leaves_shared_variables_as_they_were():
    i = sg.lvector("i")
    w = sg.shared(np.zeros((4, 2), "float32"))
    count = sg.shared(np.int64(0))
    f = sg.function([i], w[i].sum(), updates={w: w[i].inc(1.0), count: count + 1})
    f(np.array([0, 0, -1]))
    assert w.get_value()[:, 0].tolist() == [2, 0, 0, 1] and count.get_value() == 1
    with pytest.raises(IndexError, match="out of bounds"):
        f(np.array([1, 4]))
    assert w.get_value()[:, 0].tolist() == [2, 0, 0, 1] and count.get_value() == 1


def test_default_updates_and_their_refusal():
    rng = sg.random.RandomStream(3)
    u = rng.uniform((4,))
    f, frozen = sg.function([], [u, u]), sg.function([], u, no_default_updates=True)
    first, again = f()
    assert np.array_equal(first, again)
    assert not np.array_equal(f()[0], first)
    assert np.array_equal(frozen(), frozen())


def test_versions_stay_bounded_and_agree():
    x = sg.vector("x")
    f = sg.function([x], sg.softmax(x) * x.sum())
    exact = sg.function([x], sg.softmax(x) * x.sum(), shapes="exact")
    for n in range(1, 40):
        a = np.linspace(-1, 1, n).astype("float32")
        assert np.array_equal(f(a), exact(a))
    kinds = [v["kind"] for v in f.versions()]
    assert kinds.count("exact") <= 4 and kinds.count("generic") <= 2


def test_generic_version_checks_sizes():
    a, b = sg.vectors("a", "b")
    f = sg.function([a, b], a + b, shapes="generic")
    assert f(vec(1, 2, 3), vec(1, 2, 3)).tolist() == [2, 4, 6]
    assert f(vec(1, 2, 3), vec(1)).tolist() == [2, 3, 4]
    with pytest.raises(sg.ShapeError):
        f(vec(1, 2, 3), vec(1, 2))


def test_size_inputs():
    n, x = sg.lscalar("n"), sg.vector("x")
    f = sg.function([n], sg.arange(n))
    assert f(3).tolist() == [0, 1, 2] and f(5).tolist() == [0, 1, 2, 3, 4]
    g = sg.function([x], x.shape[0])
    assert g(vec(1, 2, 3)) == 3
    h = sg.function([x, n], x[n * 2 : n * 2 + 2])
    assert h(np.arange(8, dtype="float32"), 2).tolist() == [4, 5]
    with pytest.raises(IndexError):
        h(np.arange(8, dtype="float32"), 4)


@pytest.mark.parametrize("mode", ["eager", "debug", "native"])
def test_modes_agree(mode):
    x, t = sg.matrix("x"), sg.lvector("t")
    w = sg.shared(np.random.default_rng(0).normal(size=(5, 3)).astype("float32"))
    loss = sg.cross_entropy(sg.tanh(x @ w), t).mean()
    f = sg.function([x, t], loss, updates={w: w - f32(0.1) * sg.grad(loss, w)}, mode=mode)
    data = np.random.default_rng(1).normal(size=(7, 5)).astype("float32")
    values = [float(f(data, np.arange(7) % 3)) for _ in range(5)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(1.0, abs=0.6)


def test_threads_give_the_same_bits_and_may_call_at_once():
    x = sg.matrix("x")
    f = sg.function([x], [sg.exp(x).sum(), sg.softmax(x).sum(0), (x @ x.T).sum(1)])
    a = np.random.default_rng(0).normal(size=(400, 300)).astype("float32")
    results = []
    try:
        for threads in (1, 2, 4):
            sg.set_threads(threads)
            results.append(f(a))
    finally:
        sg.set_threads(2)
    for other in results[1:]:
        assert all(np.array_equal(p, q) for p, q in zip(results[0], other, strict=True))
    wrong = []

    def work():
        for _ in range(20):
            if not np.array_equal(f(a)[1], results[0][1]):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_concurrent_updates_are_serialised():
    w = sg.shared(np.zeros(300_000, "float32"))
    f = sg.function([], None, updates={w: sg.tanh(w) * 0 + w + 1})
    f()

    def work():
        for _ in range(25):
            f()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (w.get_value() == 101).all()


def test_fork_is_safe():
    x = sg.matrix("x")
    f = sg.function([x], sg.exp(x).sum(0))
    a = np.ones((600, 600), "float32")
    expected = f(a)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if np.array_equal(f(a), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert np.array_equal(f(a), expected)


INTERRUPT = """
import os, signal, threading, time
import numpy as np, symgraph as sg
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
x = sg.matrix("x")
y = x
for _ in range(60):
    y = y @ x * np.float32(1e-3)
w = sg.shared(np.zeros((1000, 1000), "float32"))
f = sg.function([x], y.sum(), updates={w: w + y})
a = np.ones((1000, 1000), "float32")
f(a)
before = w.get_value()
def stop():
    times.append(time.time())
    os.kill(os.getpid(), signal.SIGINT)
threading.Timer(0.3, stop).start()
times = []
try:
    while True:
        f(a)
except KeyboardInterrupt:
    print(time.time() - times[0])
"""


def test_interrupt_is_honoured_quickly():
    command = [sys.executable, "-c", INTERRUPT]
    out = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr[-500:]
    assert float(out.stdout) < 1.0  # 0.1 s is the aim; a loaded machine adds to it


def test_cache_is_used_and_survives_corruption(tmp_path):
    code = (
        "import symgraph as sg, numpy as np\n"
        "x = sg.vector('x')\nf = sg.function([x], sg.tanh(x) * 3)\n"
        "print(f(np.ones(3, 'float32')).sum(), f.versions()[0]['from_cache'])"
    )
    env = {**os.environ, "SYMGRAPH_FLAGS": f"cache_dir={tmp_path}"}

    def run():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr[-500:]
        return done.stdout.split()

    value, cached = run()
    assert cached == "False"
    assert run() == [value, "True"]
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            with open(os.path.join(folder, name), "r+b") as file:
                file.seek(60)
                file.write(b"garbage")
    assert run()[0] == value


def test_compile_that_takes_long_says_so(caplog, monkeypatch):
    monkeypatch.setattr(version, "SLOW_COMPILE", 0.0)
    x = sg.vector("x")
    with caplog.at_level("WARNING", logger="symgraph.compile"), sg.config.override(plans=False):
        sg.function([x], x + 1)(vec(1))
    assert "compiling" in caplog.text


def test_save_and_load(tmp_path):
    a, b = sg.shared(vec(1, 2), "a"), sg.shared(np.int64(3), "b")
    path = tmp_path / "state.safetensors"
    sg.save(path, {"a": a, "b": b})
    a.set_value(vec(8, 9))
    sg.load(path, {"a": a, "b": b})
    assert a.get_value().tolist() == [1, 2]
    with pytest.raises(ValueError, match="missing in the file: c"):
        sg.load(path, {"a": a, "c": b})
    assert sg.load(path)["b"] == 3


def test_time_of_a_call_is_small():
    """Not a benchmark: only that calls do not go through the slow path."""
    x = sg.vector("x")
    f = sg.function([x], x + 1)
    a = np.ones(10, "float32")
    f(a)
    start = time.perf_counter()
    for _ in range(10_000):
        f(a)
    assert time.perf_counter() - start < 0.2


def test_signal_module_is_untouched():
    code = (
        "import signal\nbefore = signal.getsignal(signal.SIGINT)\n"
        "import numpy as np, symgraph as sg\nx = sg.vector('x')\n"
        "sg.function([x], x + 1)(np.ones(3, 'float32'))\n"
        "assert signal.getsignal(signal.SIGINT) is before"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_settings_of_errors():
    x = sg.vector("x")
    with sg.config.override(warn_float64="raise"), pytest.raises(sg.DTypeError, match="float64"):
        x + np.zeros(3)
    f = sg.function([x], x)
    with pytest.raises(sg.ShapeError) as error:
        f(np.zeros((2, 2), "float32"))
    assert len(error.traceback) <= 3


def test_derivative_of_where_does_not_leak_from_the_other_side():
    x = sg.dvector("x")
    safe = sg.where(x > 0, sg.sqrt(x), 0.0) + sg.where(x > 0, 1.0, 1 / (x - 1))
    values = np.array([-1.0, 0.0, 1.0, 4.0])
    first = sg.function([x], sg.grad(safe.sum(), x))(values)
    assert np.allclose(first, [-0.25, -1.0, 0.5, 0.25])
    second = sg.function([x], sg.hvp(safe.sum(), x, sg.ones_like(x)))(values)
    assert np.isfinite(second).all()


def test_raw_entry_exists_before_and_after_compiling():
    x = sg.vector("x")
    f = sg.function([x], x + 1)
    assert f.raw(vec(1)).tolist() == [2] and f.raw(vec(2)).tolist() == [3]


def test_a_file_that_is_no_whole_safetensors_file_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    sg.save(path, {"w": np.arange(6.0)})
    whole = path.read_bytes()
    for data in (b"", b"abc", whole[:40], whole[:-3], b"\xff" * 16 + whole):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="w.safetensors is no whole safetensors file"):
            sg.load(path)


@pytest.mark.parametrize(
    ("place", "phase"),
    [
        ("symgraph.compile.build.pipeline.prepare", "rewriting the graph"),
        ("symgraph.compile.build.pipeline.lower", "lowering to loops"),
        ("symgraph.compile.build.pipeline.emit", "emitting LLVM"),
        ("symgraph.compile.version.jit.build", "native code"),
    ],
)
def test_a_slow_compilation_says_what_it_is_doing(monkeypatch, caplog, place, phase):
    name, _, function = place.rpartition(".")
    name, _, module = name.rpartition(".")
    owner = getattr(importlib.import_module(name), module)
    honest = getattr(owner, function)
    x = sg.vector("x")

    def late(*args, **kwargs):
        time.sleep(0.3)
        return honest(*args, **kwargs)

    monkeypatch.setattr(version, "SLOW_COMPILE", 0.15)
    monkeypatch.setattr(owner, function, late)
    with sg.config.override(plans=False, cache=False):
        sg.function([x], sg.exp(x) * 2)(np.ones(3, "float32"))
    assert f" s, now at: {phase}" in caplog.text
