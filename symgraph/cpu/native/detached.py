"""Long library calls on threads of their own, so that Ctrl-C can leave them; see detached_text."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

import numpy as np

from symgraph.cpu import abi
from symgraph.cpu.native import detached_text as text
from symgraph.cpu.native import jit
from symgraph.cpu.native.pool_text import futex


@functools.cache
def _coming() -> jit.Coming:
    return jit.Coming(text.detached_text(), text.EXPORTS, opt_level=0)


class Detached:
    """The code that begins such calls; one per process, never unloaded."""

    def __init__(self) -> None:
        self._code = _coming().result()
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._code))
        self.address = self._code.address("detached_for")
        self._words = (ctypes.c_int64 * text.WORDS).from_address(self._code.address("detached"))
        names = ("on_exit", "pthread_create", "pthread_detach", "fflush", "_exit")
        on_exit, *addresses = map(abi.libc_address, names)
        if not (sys.platform == "linux" and futex() and on_exit and all(addresses)):
            return  # calls run where they are made
        begin = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(on_exit)
        if begin(self._code.address("leave_process"), None) == 0:
            for word, address in enumerate(addresses, text.CREATE):
                self._words[word] = address
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._words[text.RUNNING] = 0


@functools.cache
def _detached() -> Detached:
    return Detached()


def begin() -> None:
    """Let the code be made in the background; the first function that needs it waits for it."""
    _coming()


def fill_context(words: np.ndarray) -> None:
    """Write the address that long library calls go to into a context table."""
    words[abi.Ctx.DETACHED_FOR] = _detached().address
