"""Lanes two, three and four elements apart: the right ones, and nothing behind the last is read."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.op import ops
from symgraph.cpu.native import jit

CPUS = ["x86-64", "x86-64-v3", "x86-64-v4"]
PAGE = mmap.PAGESIZE


def use(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Generate code for another machine."""
    other = jit.target(cpu=cpu)
    if other.vector_bytes > jit.target().vector_bytes:
        pytest.skip(f"this machine does not run code for {cpu}")
    monkeypatch.setattr(jit, "target", lambda: other)


def before_a_wall(shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, Any]:
    """Return an array behind which no page may be read, and what keeps it alive."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-count // PAGE)
    memory = mmap.mmap(-1, (pages + 1) * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + pages * PAGE), ctypes.c_size_t(PAGE), 0) == 0
    view = np.frombuffer(memory, dtype, int(np.prod(shape)), pages * PAGE - count)
    return view.reshape(shape), memory


def read_before_a_wall(cpu: str) -> None:
    """Read every step-th element of rows that end where memory does; die where more is read."""
    other = jit.target(cpu=cpu)
    jit.target = lambda: other  # type: ignore[assignment, misc]
    for dtype in ("float32", "float64", "int8"):
        for step in (2, 3, 4):
            x = sg.tensor("x", (None, None), dtype)
            for shapes in ("exact", "generic"):
                f = sg.function([x], x[:, ::step] * 2, shapes=shapes)
                for count in range(1, 70):
                    a, _memory = before_a_wall((2, (count - 1) * step + 1), dtype)
                    a[:] = np.arange(a.size).reshape(a.shape) % 50
                    np.testing.assert_array_equal(f(a), a[:, ::step] * 2)


@pytest.mark.parametrize("cpu", CPUS)
def test_nothing_behind_the_last_lane_is_read(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(cpu, monkeypatch)
    done = subprocess.run([sys.executable, __file__, cpu], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_windows_some_elements_apart(dtype: str, cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(cpu, monkeypatch)
    rng = np.random.default_rng(0)
    for step in (2, 3, 4):
        x = sg.tensor("x", (None,) * 4, dtype)
        w = sg.tensor("w", (None,) * 4, dtype)
        node = sg.conv2d(x, w, stride=step, padding=2, groups=3)  # tests of places, for integers
        for shapes in ("exact", "generic"):
            f = sg.function([x, w], node, shapes=shapes)
            for size in (5, 8, 13, 28, 31, 50):
                a = rng.integers(-9, 9, (2, 3, 5, size)).astype(dtype)
                filters = rng.integers(-9, 9, (3, 1, 3, 5)).astype(dtype)
                exact = ops["conv2d"](
                    *(sg.tensor("v", v.shape, dtype) for v in (a, filters)),
                    stride=(step, step), padding=((2, 2), (2, 2)), dilation=(1, 1), groups=3,
                )  # fmt: skip
                np.testing.assert_array_equal(
                    f(a, filters), exact.op.numpy(exact, a, filters), err_msg=f"{step} {size}"
                )


@pytest.mark.parametrize("cpu", CPUS)
def test_rests_of_pairs(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(cpu, monkeypatch)
    z = sg.tensor("z", (None,), "complex64")
    f = sg.function([z], [sg.real(z) + sg.imag(z), z * z], shapes="exact")
    for count in range(1, 40):
        a = (np.arange(count) - 2j * np.arange(count)).astype("complex64")
        total, square = f(a)
        np.testing.assert_array_equal(total, a.real + a.imag)
        np.testing.assert_array_equal(square, a * a)


if __name__ == "__main__":
    read_before_a_wall(sys.argv[1])
