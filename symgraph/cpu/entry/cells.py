"""Shared variables as native code sees them: a cell with the array, and a word that guards it."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from symgraph.cpu import abi
from symgraph.cpu.native import jit

# Words of a cell: the array (PyObject*, an owned reference), and its state: 0 free, n > 0
# readers, -1 a writer. All of it changes only under the interpreter lock.
_TEXT = """
@incref = dso_local global ptr null

define ptr @cell_get(ptr %cell) {
  %value = load ptr, ptr %cell
  %incref = load ptr, ptr @incref
  call void %incref(ptr %value)
  ret ptr %value
}

; Put `value` in and return the old content; return `none` if the cell is in use.
define ptr @cell_swap(ptr %cell, ptr %value, ptr %none) {
entry:
  %incref = load ptr, ptr @incref
  %state.at = getelementptr i64, ptr %cell, i64 1
  %state = load i64, ptr %state.at
  %free = icmp eq i64 %state, 0
  br i1 %free, label %swap, label %busy
swap:
  call void %incref(ptr %value)
  %old = load ptr, ptr %cell
  store ptr %value, ptr %cell
  ret ptr %old
busy:
  call void %incref(ptr %none)
  ret ptr %none
}

define i32 @cell_lock(ptr %cell, i32 %write) {
entry:
  %state.at = getelementptr i64, ptr %cell, i64 1
  %state = load i64, ptr %state.at
  %writing = icmp ne i32 %write, 0
  %idle = icmp eq i64 %state, 0
  %readable = icmp sge i64 %state, 0
  %good = select i1 %writing, i1 %idle, i1 %readable
  br i1 %good, label %take, label %busy
take:
  %more = add i64 %state, 1
  %new = select i1 %writing, i64 -1, i64 %more
  store i64 %new, ptr %state.at
  ret i32 1
busy:
  ret i32 0
}

define void @cell_unlock(ptr %cell) {
  %state.at = getelementptr i64, ptr %cell, i64 1
  %state = load i64, ptr %state.at
  %less = sub i64 %state, 1
  %writing = icmp slt i64 %state, 0
  %new = select i1 %writing, i64 0, i64 %less
  store i64 %new, ptr %state.at
  ret void
}
"""
_NAMES = ("incref", "cell_get", "cell_swap", "cell_lock", "cell_unlock")


class _Native:
    """The four cell operations; each is atomic, since ctypes keeps the interpreter lock."""

    def __init__(self) -> None:
        jit.follow_settings()  # variables are made before any function is
        self.code = code = jit.Coming(_TEXT, _NAMES, opt_level=0).result()
        incref = ctypes.c_void_p.from_address(code.address("incref"))
        incref.value = abi.function_address(ctypes.pythonapi.Py_IncRef)
        kind, pointer, value = ctypes.PYFUNCTYPE, ctypes.c_void_p, ctypes.py_object
        self.get = kind(value, pointer)(code.address("cell_get"))
        self.swap = kind(value, pointer, value, value)(code.address("cell_swap"))
        self.lock = kind(ctypes.c_int, pointer, ctypes.c_int)(code.address("cell_lock"))
        self.unlock = kind(None, pointer)(code.address("cell_unlock"))


_natives: list[_Native] = []


def _native() -> _Native:
    if not _natives:
        _natives.append(_Native())
    return _natives[0]


def wait_until(ready: Any) -> None:
    """Call `ready()` until it is true, letting other threads run in between."""
    pause = 1e-5
    while not ready():
        time.sleep(pause)
        pause = min(2 * pause, 1e-3)


class SharedCell:
    """The home of a shared variable's array; compiled functions hold the cell's address.

    Functions that release the interpreter lock mark the cell while they run; `set`, `reading`
    and `writing` wait for them. (A signal handler must not call them: it would wait for the
    call that it interrupts.)
    """

    __slots__ = ("__weakref__", "_native", "_words", "address", "state_address")

    def __init__(self, array: np.ndarray) -> None:
        self._native = _native()
        self._words = (ctypes.c_int64 * 2)()
        self.address = ctypes.addressof(self._words)
        self.state_address = self.address + 8
        _check(array)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(array))
        self._words[0] = id(array)

    def get(self) -> np.ndarray:
        """Return the array itself; hold `reading()` around a look at its elements."""
        array: np.ndarray = self._native.get(self.address)
        return array

    def set(self, array: np.ndarray) -> None:
        """Put another array in its place, once no function uses the present one."""
        _check(array)
        # The swap gives back the old array, or None while the cell is in use.
        swap, address = self._native.swap, self.address
        wait_until(lambda: swap(address, array, None) is not None)

    @property
    def state(self) -> int:
        """0 free, n > 0 readers, -1 a writer."""
        return self._words[1]

    @contextmanager
    def reading(self) -> Iterator[np.ndarray]:
        """Hold off writers; gives the array."""
        wait_until(lambda: self._native.lock(self.address, 0))
        try:
            yield self.get()
        finally:
            self._native.unlock(self.address)

    @contextmanager
    def writing(self) -> Iterator[np.ndarray]:
        """Hold off everyone else; gives the array."""
        wait_until(lambda: self._native.lock(self.address, 1))
        try:
            yield self.get()
        finally:
            self._native.unlock(self.address)

    def __del__(self) -> None:
        words = getattr(self, "_words", None)
        if ctypes is not None and words is not None and words[0]:  # None: the interpreter ends
            held, words[0] = words[0], 0
            ctypes.pythonapi.Py_DecRef(ctypes.cast(held, ctypes.py_object))


def _check(array: Any) -> None:
    if type(array) is not np.ndarray:
        raise TypeError(f"a shared variable holds a numpy.ndarray, got {type(array).__name__}")
