"""Numbers below the smallest normal one: computed with, but for `numerics="fast"`."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.config import config
from symgraph.cpu.native import jit, pool

TINY = np.finfo(np.float32).tiny
SIZE = 1 << 23  # threads share it
MODE = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define i32 @set_mode(i32 %mode) {
  %at = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  %old = load i32, ptr %at, align 4
  store i32 %mode, ptr %at, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret i32 %old
}
"""
NORMAL, FLUSH = 0x1F80, 0x1F80 | 0x8040

pytestmark = pytest.mark.skipif(not jit.target().is_x86, reason="a mode of x86-64")


@pytest.fixture
def two_threads():
    before = pool.get_threads()
    sg.set_threads(2)
    pool.thread_pool().wait_ready()
    yield
    sg.set_threads(before)


def half(numerics):
    x = sg.vector("x")
    with config.override(numerics=numerics):
        return sg.function([x], x * 0.5 + 0.0)


def test_only_fast_numerics_count_them_as_zero(two_threads):
    x = np.full(SIZE, TINY, np.float32)
    for _ in range(5):
        assert (half("default")(x) == TINY / 2).all()
        assert (half("strict")(x) == TINY / 2).all()
        assert not half("fast")(x).any()
        assert np.float32(TINY) * np.float32(0.5) != 0  # the mode ends with the call


def test_operands_count_as_zero_too():
    x = sg.vector("x")
    with config.override(numerics="fast"):
        f = sg.function([x], x * 2.0**100)
    assert not f(np.full(10, TINY / 2, np.float32)).any()


def test_an_error_ends_the_mode():
    x, i = sg.vector("x"), sg.iscalar("i")
    with config.override(numerics="fast"):
        f = sg.function([x, i], x[i] * 0.5)
    with pytest.raises(IndexError):
        f(np.ones(3, np.float32), 7)
    assert np.float32(TINY) * np.float32(0.5) != 0


def test_threads_take_on_the_mode_of_the_caller(two_threads):
    code = jit.build(MODE, ["set_mode"])
    set_mode = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32)(code.address("set_mode"))
    f, x = half("default"), np.full(SIZE, TINY, np.float32)
    f(x)
    for _ in range(10):
        set_mode(FLUSH)
        try:
            flushed = f(x)
        finally:
            set_mode(NORMAL)
        kept = f(x)
        assert np.count_nonzero(flushed) == 0 and np.count_nonzero(kept) == SIZE
