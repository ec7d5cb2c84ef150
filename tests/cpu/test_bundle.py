"""A text that is cut into modules computes what it did, in one thread, in several, after a fork."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.gemm.whole import gemm_text
from symgraph.cpu.native import bundle, codegen, jit
from symgraph.cpu.native.cache import ObjectCache
from symgraph.cpu.native.codegen import Part

TEXT = """
@table = private unnamed_addr constant [2 x i64] [i64 40, i64 2], align 64
@callee = internal constant ptr @two

declare i64 @llvm.smax.i64(i64, i64)

define internal i64 @forty(i64 %least) {
  %x = load i64, ptr @table
  %y = call i64 @llvm.smax.i64(i64 %x, i64 %least)
  ret i64 %y
}

define private i64 @two() nounwind {
  %at = getelementptr i64, ptr @table, i64 1
  %x = load i64, ptr %at
  ret i64 %x
}

define i64 @answer() {
  %f = load ptr, ptr @callee
  %x = call i64 @forty(i64 0)
  %y = call i64 %f()
  %z = add i64 %x, %y
  ret i64 %z
}
"""


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LONG", 1)
    monkeypatch.setattr(bundle, "ONCE", 1)
    monkeypatch.setitem(jit._state, "cache", None)


def answer(loaded: jit.Loaded) -> int:
    """Call the function of `TEXT`."""
    return int(ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.address("answer"))())


def test_short_texts_stay_whole() -> None:
    assert bundle.split(TEXT) == [Part(TEXT)]


def test_a_text_in_parts(small_parts: None) -> None:
    parts = bundle.split(TEXT, once=("answer",))
    assert [p.opt_level for p in parts] == [2, 2, 0]
    forty, two, last = (p.text for p in parts)
    assert "@llvm.smax" in forty and "@llvm.smax" not in two + last
    assert "define i64 @two() nounwind" in two and "declare i64 @two() nounwind" in last
    assert forty.count("@table = ") == two.count("@table = ") == 1
    assert "@callee = " in last and "@callee" not in forty + two
    loaded = jit.build(TEXT, ("answer",), verify=True, once=("answer",))
    assert answer(loaded) == 42
    assert loaded.times.codegen > 0 and loaded.times.parse > 0


def test_a_text_with_variables_stays_whole(small_parts: None) -> None:
    text = TEXT.replace("private unnamed_addr constant", "global")
    assert bundle.split(text) == [Part(text)]
    assert answer(jit.build(text, ("answer",))) == 42


def test_parts_are_kept_together(small_parts: None, tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path)
    first = jit.build(TEXT, ("answer",), cache=cache)
    again = jit.build(TEXT, ("answer",), cache=cache)
    assert again.times.cached and not first.times.cached
    assert answer(first) == answer(again) == 42
    assert again.object_size == first.object_size


def test_bundles() -> None:
    for codes in ([b"one"], [b"one", b"", b"three"]):
        assert bundle.unbundled(bundle.bundled(codes)) == codes


def test_a_missing_symbol_of_a_part_is_named(small_parts: None) -> None:
    text = TEXT.replace("@llvm.smax.i64", "@no_such_function")
    with pytest.raises(jit.LinkError, match="symbols this process lacks: no_such_function$"):
        jit.build(text, ("answer",))


def test_what_does_not_parse_is_said_from_any_thread(small_parts: None) -> None:
    with pytest.raises(RuntimeError, match="does not parse"):
        jit.build(TEXT.replace("ret i64 %z", "ret i32 %z"), ("answer",))


def test_threads_generate_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [TEXT.replace("40", str(40 + k)) for k in range(12)]
    serial = [jit.compile_object(text, jit.target()) for text in texts]
    makers = set()
    generate = codegen.generate

    def spy(*args: Any) -> codegen.Made:
        makers.add(threading.get_ident())
        return generate(*args)

    monkeypatch.setattr(codegen, "generate", spy)
    monkeypatch.setattr(codegen, "cores", lambda: 4)
    for _ in range(5):
        made = codegen.generate_all([Part(text) for text in texts], jit.target())
        assert [m.code for m in made] == serial
    assert len(makers) > 1


def test_functions_in_parts_compute_the_same(small_parts: None) -> None:
    rng = np.random.default_rng(0)
    x, w, v = sg.matrices("x", "w", "v")
    hidden = sg.tanh(x @ w)
    loss = ((hidden @ v).max(axis=1) + hidden.std(axis=1)).sum()
    arrays = [rng.normal(size=s).astype("float32") for s in ((64, 70), (70, 80), (80, 90))]
    f = sg.function([x, w, v], [loss, *sg.grad(loss, [w, v])], mode="debug")
    f(*arrays)  # every kernel beside NumPy
    steps = sg.function([x], sg.cumsum(sg.sin(x), axis=1), shapes="generic")
    np.testing.assert_allclose(
        steps(arrays[0]), np.cumsum(np.sin(arrays[0]), axis=1), rtol=1e-4, atol=1e-5
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_can_compile_while_its_parent_does() -> None:
    coming = jit.Coming(gemm_text("float", 64, 1 << 20), ("gemm",))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if answer(jit.build(TEXT, ("answer",))) == 42 else 2
        finally:
            os._exit(code)
    end = time.monotonic() + 60
    while not (found := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.01)
    if not found[0]:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(found[1]) == 0
    assert coming.result().address("gemm")
