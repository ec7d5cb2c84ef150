"""The run-time side of an entry: its context table, and the Python callables made from it."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from symgraph.core.lazy import lazy
from symgraph.cpu import abi
from symgraph.cpu.abi import Ctx, EntrySpec, Plan, Record
from symgraph.cpu.entry.cells import SharedCell, wait_until
from symgraph.cpu.entry.plan import encode_plan
from symgraph.cpu.entry.text import ENTRY_NAMES, entry_text
from symgraph.cpu.native import jit, memory, pool
from symgraph.cpu.native.jit import Loaded

leaving: Any = lazy("symgraph.cpu.native.detached")  # few programs have calls that take long
_METH_FASTCALL_KEYWORDS = 0x0082


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


@functools.cache
def _method(name: str, address: int) -> _MethodDef:
    """Return what the builtins of one name point to; it stays until the process ends.

    A builtin cannot own it: where the collector breaks a cycle, it takes apart what a builtin's
    `self` owns before it frees the builtin, and CPython reads the method's flags once more then.
    """
    return _MethodDef(name.encode(), address, _METH_FASTCALL_KEYWORDS, None)


@functools.cache
def _begun() -> jit.Coming:
    return jit.Coming(entry_text(), ENTRY_NAMES, opt_level=0)


def begin() -> None:
    """Let the entry code be made in the background; the first `Entry` waits for it."""
    _begun()


class _NativeEntry:
    """Addresses of the entry code; one per process, never unloaded."""

    def __init__(self) -> None:
        code = _begun().result()
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(code))
        self.entry, self.entry_into, self.check_interrupt = map(code.address, ENTRY_NAMES)
        new = ctypes.PYFUNCTYPE(
            ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
        )
        self.new_builtin = new(("PyCFunction_NewEx", ctypes.pythonapi))


@functools.cache
def _native_entry() -> _NativeEntry:
    return _NativeEntry()


class _Context(np.ndarray):
    """A context table that is the `self` of a builtin, and owns what its words point to."""

    owned: list[Any]


class Builtin:
    """A Python builtin function around a native entry, whose version can be changed later.

    Versions that were in use live as long as the builtin, also after a change: another thread
    may be inside.
    """

    def __init__(self, name: str, address: int, resources: _Resources) -> None:
        # The entry finds the context through the data pointer of the builtin's `self`.
        self._self = resources.words.view(_Context)
        self._self.owned = [resources]
        self.function: Callable[..., Any] = _native_entry().new_builtin(
            ctypes.addressof(_method(name, address)), self._self, None
        )

    def retarget(self, resources: _Resources) -> None:
        """Let the builtin call another version from now on."""
        self._self.owned.append(resources)
        data = ctypes.c_void_p.from_address(id(self._self) + abi.ARRAY_DATA)
        data.value = resources.words.ctypes.data


class _Resources:
    """Everything that machine code of one version points to."""

    def __init__(
        self,
        loaded: Loaded,
        spec: EntrySpec,
        words: np.ndarray,
        cells: Sequence[SharedCell],
        callables: list[Any],
        numbers: Sequence[bool],
    ) -> None:
        self.loaded = loaded
        self.plan = encode_plan(spec, numbers)
        words[Ctx.PLAN] = self.plan.ctypes.data
        words[Ctx.CODE] = id(loaded)
        words[Ctx.RUN] = loaded.address("run")
        words[Ctx.DERIVE] = loaded.address("derive") if spec.n_dims else 0
        words[Ctx.CHECK_INTERRUPT] = _native_entry().check_interrupt
        self.words = words
        self.cells = tuple(cells)
        self.callables = callables
        self.following: list[_Resources] = []
        self.result_pool = memory.result_pool() if spec.needs_pool else None
        if self.result_pool is not None:
            self.result_pool.fill_context(words)
        addresses = [(cell.address, cell.state_address) for cell in cells]
        self.table = np.array(addresses or [(0, 0)], np.uint64)
        words[Ctx.SHARED_TABLE] = self.table.ctypes.data

    def free_arena(self) -> None:
        words = self.words
        if self.result_pool is None:
            return
        if words[Ctx.ARENA] and not words[Ctx.ARENA_BUSY]:
            self.result_pool.free(int(words[Ctx.ARENA]), int(words[Ctx.ARENA_SIZE]))
            words[Ctx.ARENA] = words[Ctx.ARENA_SIZE] = 0

    def drop_kept(self) -> None:
        """Let go of the results that are kept for the next call."""
        arrays = sum(self.plan[[Plan.N_ARGS, Plan.N_SHARED, Plan.N_OUTPUTS]])
        for place in range(2 * arrays):
            index, second = divmod(place, 2)
            at = Plan.BYTES + (Record.SIZE * index + Record.KEPT) // 8 + second
            address, self.plan[at] = int(self.plan[at]), 0
            if address:
                ctypes.pythonapi.Py_DecRef(ctypes.c_void_p(address))

    def __del__(self) -> None:
        if hasattr(self, "table"):
            self.free_arena()
            self.drop_kept()


@functools.cache
def _layout_problem() -> str | None:
    return abi.self_test()


@functools.cache
def _common_words() -> np.ndarray:
    return abi.context_words()


class Entry:
    """One compiled version: machine code, context table and callables.

    loaded: built with the names of `call.entry_names(spec)`.
    cells: one per shared variable. slow: called with the same arguments where the checks fail.
    slow_into: the same for the form with outputs given. on_error: called with the status of
    `run` unless that is 0 or -1; must raise. user: words for the context from `abi.CTX_USER` on.
    threads: fill in the thread pool (and start it). detached: fill in what leaves library calls.
    portable: go through ctypes instead of the native entry; by default only where object layouts
    are not the known ones. numbers: of each argument, whether a Python number will do for a scalar;
    by default for all.
    """

    def __init__(
        self,
        loaded: Loaded,
        spec: EntrySpec,
        cells: Sequence[SharedCell],
        slow: Callable[..., Any],
        on_error: Callable[[int], Any],
        user: Sequence[int] = (),
        slow_into: Callable[..., Any] | None = None,
        name: str = "compiled",
        threads: bool = False,
        detached: bool = False,
        portable: bool | None = None,
        numbers: Sequence[bool] | None = None,
    ) -> None:
        if len(cells) != len(spec.shared):
            raise ValueError(f"{len(spec.shared)} shared variables, but {len(cells)} cells")
        self.loaded = loaded
        self.spec = spec
        self.portable = _layout_problem() is not None if portable is None else portable
        words = np.concatenate([_common_words(), np.array(user, np.uint64)])
        self._slow, self._on_error = slow, on_error
        self._slow_into = slow_into or slow
        self._next: Entry | None = None
        callables = [slow, self._slow_into, on_error, self._wait, self._wait_into]
        self._numbers = [True] * len(spec.args) if numbers is None else list(numbers)
        self._resources = _Resources(loaded, spec, words, cells, callables, self._numbers)
        for word, value in zip(
            (Ctx.SLOW, Ctx.SLOW_INTO, Ctx.ON_ERROR, Ctx.BUSY, Ctx.BUSY_INTO), callables, strict=True
        ):
            words[word] = id(value)
        if threads:
            pool.fill_context(words)
        if detached:
            leaving.fill_context(words)
        if self.portable:
            words[Ctx.LAST_CHECK] = abi.NEVER_CHECK
            self.function: Callable[..., Any] = self._portable
            self.function_into: Callable[..., Any] = self._slow_into
        else:
            native = _native_entry()
            self._call = Builtin(name, native.entry, self._resources)
            self._call_into = Builtin(name, native.entry_into, self._resources)
            self.function = self._call.function
            self.function_into = self._call_into.function

    @property
    def words(self) -> np.ndarray:
        """The context table, uint64; words from `abi.CTX_USER` on may be changed between calls."""
        return self._resources.words

    def set_next(self, other: Entry | None) -> None:
        """Set the version to try where the checks of this one fail, before the slow path."""
        self._next = other
        words = self.words
        if other is None or other.portable or self.portable:
            words[Ctx.NEXT] = 0
        else:
            self._resources.following.append(other._resources)
            words[Ctx.NEXT] = other.words.ctypes.data

    def retarget(self, other: Entry) -> None:
        """Let this entry's callables begin with another version's entry from now on."""
        if self.portable or other.portable:
            self.function = other.function
            return
        self._call.retarget(other._resources)
        self._call_into.retarget(other._resources)

    @property
    def calls(self) -> int:
        """The calls that this version has served (natively)."""
        return int(self.words[Ctx.CALLS])

    def free_arena(self) -> None:
        """Give scratch memory and kept results back; the next call takes new ones."""
        self._resources.free_arena()
        self._resources.drop_kept()

    def _ready(self) -> bool:
        pairs = zip(self._resources.cells, self.spec.shared_writes, strict=True)
        return all(cell.state == 0 if written else cell.state >= 0 for cell, written in pairs)

    def _wait(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a call that found a shared variable in use: wait, then call again."""
        wait_until(self._ready)
        return self.function(*args, **kwargs)

    def _wait_into(self, *args: Any, **kwargs: Any) -> Any:
        wait_until(self._ready)
        return self.function_into(*args, **kwargs)

    def _portable(self, *args: Any, **kwargs: Any) -> Any:
        following = self._next.function if self._next is not None else self._slow
        plain = zip(args, self._numbers, strict=False)
        if kwargs or not all(number or isinstance(value, np.ndarray) for value, number in plain):
            return following(*args, **kwargs)
        loaded, cells = self.loaded, self._resources.cells
        derive = loaded.address("derive") if self.spec.n_dims else 0
        with ExitStack() as stack:
            arrays = [
                stack.enter_context(cell.writing() if written else cell.reading())
                for cell, written in zip(cells, self.spec.shared_writes, strict=True)
            ]
            try:
                return abi.call_through_ctypes(
                    self.spec,
                    loaded.address("run"),
                    derive,
                    self.words.ctypes.data,
                    args,
                    arrays,
                    self._on_error,
                )
            except abi.GuardError:
                pass
        return following(*args)


def make_callable_class(
    name: str, function: Callable[..., Any], attributes: dict[str, Any] | None = None
) -> type:
    """Return a class whose instances are called through `function` without a Python frame.

    A builtin does not bind, so `__call__` gets the arguments alone, not the instance.
    """
    return type(name, (), {**(attributes or {}), "__call__": function})
