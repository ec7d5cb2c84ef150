"""The binary interface: object layouts, C addresses, the context table, the entry's description."""

from __future__ import annotations

import ctypes
import math
import os
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import as_dtype
from symgraph.core.record import dataclass

# CPython objects, in bytes from the start of the object.
OB_REFCNT = 0
OB_TYPE = 8
FLOAT_VALUE = 16
LIST_ITEMS = 24
TUPLE_SIZE = 16
TUPLE_ITEMS = 24
# PyArrayObject.
ARRAY_DATA = 16
ARRAY_ND = 24
ARRAY_DIMS = 32
ARRAY_STRIDES = 40
ARRAY_BASE = 48
ARRAY_DESCR = 56
ARRAY_FLAGS = 64
ARRAY_WEAKREFS = 72
# PyArray_Descr.
DESCR_BYTEORDER = 26
DESCR_TYPE_NUM = 28

FLAG_C_CONTIGUOUS = 0x1
FLAG_ALIGNED = 0x100
FLAG_WRITEABLE = 0x400
FLAGS_NEW = FLAG_C_CONTIGUOUS | FLAG_ALIGNED | FLAG_WRITEABLE

POOL_BYTES = 256 * 1024  # results of this size and above come from the result pool
NEVER_CHECK = 1 << 62  # a time of last check that makes the next one never due
# In the state of the thread pool, in bytes: how many calls are under way that share several loops,
# and the address of what such a call begins with (`native/pool_text`).
POOL_CALLS, POOL_ENTER = 256, 264
RELEASE_WORK = 500_000  # operations (some 20 us) from which other Python threads may run meanwhile

DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
# Indices of the NumPy C API table; fixed by NumPy's binary compatibility.
_API_ARRAY_TYPE = 2
_API_NEW_FROM_DESCR = 94
_API_SET_BASE_OBJECT = 282


class Ctx:
    """Positions (in 8-byte words) of the context table of one compiled version."""

    NEXT = 0  # context of the version to try where a check fails, or 0
    PLAN = 1  # tables of plan.py
    RUN = 2
    DERIVE = 3  # 0 if there are no run-time sizes
    SLOW = 4  # Python callables of last resort
    SLOW_INTO = 5
    BUSY = 6  # Python callables that wait for a shared variable and call again
    BUSY_INTO = 7
    ON_ERROR = 8  # Python callable: raises for a status
    SHARED_TABLE = 9  # address of pairs (cell address, state address)
    ARENA = 10  # these three words are one unit, see memory.arena_take
    ARENA_SIZE = 11
    ARENA_BUSY = 12
    LAST_CHECK = 13  # nanoseconds of the last look at pending signals
    CLOCK_ID = 14
    POOL_ALLOC = 15
    POOL_FREE = 16
    POOL_RELEASE = 17  # capsule destructor
    ARENA_TAKE = 18
    PARALLEL_FOR = 19
    THREAD_POOL = 20
    ARRAY_TYPE = 21
    FLOAT_TYPE = 22
    LONG_TYPE = 23
    TRUE = 24
    FALSE = 25
    NONE = 26
    RUNTIME_ERROR = 27
    ARRAY_NEW = 28
    ARRAY_SET_BASE = 29
    LIST_NEW = 30
    VECTORCALL = 31
    CALL_ONE_ARG = 32
    INCREF = 33
    DECREF = 34
    SAVE_THREAD = 35
    RESTORE_THREAD = 36
    GIL_ENSURE = 37
    GIL_RELEASE = 38
    CHECK_SIGNALS = 39
    ERR_OCCURRED = 40
    ERR_SET_STRING = 41
    ERR_NO_MEMORY = 42
    LONG_FROM = 43
    LONG_AS = 44
    CAPSULE_NEW = 45
    CAPSULE_SET_CONTEXT = 46
    CLOCK_GETTIME = 47
    CHECK_INTERRUPT = 48
    MAX_THREADS = 49  # of one call's loops, the caller's included; 0: as many as the pool has
    CALLS = 50  # that this version has served
    DETACHED_FOR = 51
    CODE = 52  # the Python object that owns the machine code
    OUT = 53  # the name of the argument `out`


def named(table: type) -> dict[str, int]:
    """Return the positions of `Ctx`, `Plan` or `Record` by name."""
    return {name: place for name, place in vars(table).items() if name.isupper()}


CTX_USER = 64  # first word free for the compiler: constants, library functions


class Plan:
    """Words of a plan's header."""

    N_ARGS = 0
    N_SHARED = 1
    N_OUTPUTS = 2
    KIND = 3  # of the result: list, single, none
    ARENA = 4  # two words: a size as in plan.size_words
    WORK = 6  # two words: operations, as a size
    FRAME = 8  # bytes of the entry's stack frame, and where its parts begin
    DIMS_AT = 9
    WORDS_AT = 10
    MADE_AT = 11
    ENDS_AT = 12
    SHAPE_AT = 13
    N_CONDITIONS = 14
    CONDITIONS = 15  # address of their records: slot, low, high, multiple
    BYTES = 16  # length of the header


class Record:
    """Byte offsets in the record of one array."""

    DTYPE = 0
    ND = 8  # i32
    FLAGS = 12  # i32
    SIZES = 16
    ITEMSIZE = 24
    SCALAR = 32  # Python number that will do: 0 none, 1 float32, 2 float64, 3 bool, 4 integer
    LOW = 40
    HIGH = 48
    VALUE = 56
    CODE = 64  # i32, type numbers of equal dtypes
    CODE2 = 68  # i32
    SIGNED = 72
    BYTES = 80  # -1 if known only at run time
    WRITTEN = 88
    KEPT = 96  # the last two small results, or 0: handed out again when nobody else has them
    KEPT_BEFORE = 104
    KEPT_FLAGS = 112  # i32
    SIZE = 120  # length of the record


_PYTHON_FUNCTIONS = {
    Ctx.LIST_NEW: "PyList_New",
    Ctx.VECTORCALL: "PyObject_Vectorcall",
    Ctx.CALL_ONE_ARG: "PyObject_CallOneArg",
    Ctx.INCREF: "Py_IncRef",
    Ctx.DECREF: "Py_DecRef",
    Ctx.SAVE_THREAD: "PyEval_SaveThread",
    Ctx.RESTORE_THREAD: "PyEval_RestoreThread",
    Ctx.GIL_ENSURE: "PyGILState_Ensure",
    Ctx.GIL_RELEASE: "PyGILState_Release",
    Ctx.CHECK_SIGNALS: "PyErr_CheckSignals",
    Ctx.ERR_OCCURRED: "PyErr_Occurred",
    Ctx.ERR_SET_STRING: "PyErr_SetString",
    Ctx.ERR_NO_MEMORY: "PyErr_NoMemory",
    Ctx.LONG_FROM: "PyLong_FromLongLong",
    Ctx.LONG_AS: "PyLong_AsLongLongAndOverflow",
    Ctx.CAPSULE_NEW: "PyCapsule_New",
    Ctx.CAPSULE_SET_CONTEXT: "PyCapsule_SetContext",
}


@dataclass(frozen=True, slots=True)
class Slot:
    """A size known at run time, kept in `dims[index]`.

    defines: this occurrence stores the size (which must be at least `minimum`); otherwise it
    must equal the stored one. In outputs it is only read.
    """

    index: int
    defines: bool = False
    minimum: int = 0


Size = int | Slot


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of `dims[index]`: low <= size <= high, and `multiple` divides it."""

    index: int
    low: int
    high: int
    multiple: int = 1

    def holds(self, size: int) -> bool:
        return self.low <= size <= self.high and size % self.multiple == 0


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """An array argument, shared variable or output: C-contiguous, aligned to its element.

    value: for a 0-d integer argument whose value is a condition (int) or a size (Slot).
    """

    dtype: str
    shape: tuple[Size, ...]
    value: Size | None = None

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return as_dtype(self.dtype).itemsize

    @property
    def static_bytes(self) -> int | None:
        """Bytes of the whole array, or None where a size is known only at run time."""
        sizes = [size for size in self.shape if isinstance(size, int)]
        return math.prod(sizes) * self.itemsize if len(sizes) == len(self.shape) else None


@dataclass(frozen=True, slots=True)
class EntrySpec:
    """What the native entry of one compiled version checks, allocates and returns.

    single: return the one output itself; none: there are no outputs, return None; otherwise
    a list. n_dims: length of `dims`. arena: bytes of scratch, or the Slot that holds them.
    release_gil: let other Python threads run meanwhile (then shared variables are locked); where
    `work` is the Slot of a number of operations, only from RELEASE_WORK of them on. conditions:
    checked once all of `dims` is known.
    """

    args: tuple[ArraySpec, ...]
    shared: tuple[ArraySpec, ...] = ()
    shared_writes: tuple[bool, ...] = ()
    outputs: tuple[ArraySpec, ...] = ()
    single: bool = False
    none: bool = False
    n_dims: int = 0
    arena: Size = 0
    release_gil: bool = False
    work: Slot | None = None
    conditions: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if len(self.shared) != len(self.shared_writes):
            raise ValueError("shared_writes needs one flag per shared variable")
        if self.single and len(self.outputs) != 1:
            raise ValueError(f"a single output, but {len(self.outputs)} are described")
        if self.none and self.outputs:
            raise ValueError("no outputs, but some are described")
        for spec in (*self.args, *self.shared, *self.outputs):
            if spec.dtype not in (*DTYPES, "bfloat16"):  # NumPy knows the latter by ml_dtypes
                raise ValueError(f"no native representation of dtype {spec.dtype!r}")

    @property
    def needs_pool(self) -> bool:
        """Tell whether a call may take memory from the result pool: scratch or a large result."""
        sizes = [out.static_bytes for out in self.outputs]
        return self.arena != 0 or any(n is None or n >= POOL_BYTES for n in sizes)


def _capsule_table() -> Any:
    core = getattr(np, "_core", None) or np.core
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    address = get(core._multiarray_umath._ARRAY_API, None)
    return (ctypes.c_void_p * (_API_SET_BASE_OBJECT + 1)).from_address(address)


def function_address(function: Any) -> int:
    """Return the machine address of a ctypes function."""
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def libc_address(name: str) -> int:
    """Return the address of a C library function; 0 if this system has none of that name."""
    try:
        return function_address(getattr(ctypes.CDLL(None), name))
    except AttributeError:
        return 0


OUT = sys.intern("out")  # as in the names of a call that is written with `out=`


def context_words() -> np.ndarray:
    """Return a new uint64 table [CTX_USER] with everything that is the same for all versions."""
    words = np.zeros(CTX_USER, np.uint64)
    for slot, name in _PYTHON_FUNCTIONS.items():
        words[slot] = function_address(getattr(ctypes.pythonapi, name))
    table = _capsule_table()
    words[Ctx.ARRAY_NEW] = table[_API_NEW_FROM_DESCR]
    words[Ctx.ARRAY_SET_BASE] = table[_API_SET_BASE_OBJECT]
    constants = {
        Ctx.ARRAY_TYPE: np.ndarray,
        Ctx.FLOAT_TYPE: float,
        Ctx.LONG_TYPE: int,
        Ctx.TRUE: True,
        Ctx.FALSE: False,
        Ctx.NONE: None,
        Ctx.RUNTIME_ERROR: RuntimeError,
        Ctx.OUT: OUT,
    }
    for slot, value in constants.items():
        words[slot] = id(value)
    words[Ctx.CLOCK_GETTIME] = libc_address("clock_gettime")
    # 6 is CLOCK_MONOTONIC_COARSE on Linux (a few nanoseconds a call, ticks often enough for
    # our use) and CLOCK_MONOTONIC on macOS; 4 is CLOCK_MONOTONIC on the BSDs.
    words[Ctx.CLOCK_ID] = 6 if sys.platform in ("linux", "darwin") else 4
    return words


def _i32(address: int) -> int:
    return ctypes.c_int32.from_address(address).value


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def self_test() -> str | None:
    """Read arrays through the stated offsets; return what does not hold here, or None.

    Where something does not hold, callers must use `call_through_ctypes`.
    """
    if struct.calcsize("P") != 8 or sys.byteorder != "little":
        return "needs a 64-bit little-endian machine"
    if sys.implementation.name != "cpython" or "t" in sys.abiflags:
        return "needs CPython with a global interpreter lock"
    if os.name != "posix":
        return "needs a POSIX system"
    for test in (_test_arrays, _test_scalars, _test_api):
        problem = test()
        if problem is not None:
            return problem
    return None


def _test_arrays() -> str | None:
    if np.ndarray.__weakrefoffset__ != ARRAY_WEAKREFS:
        return "layout of an array: place of weak references"
    base = np.zeros((3, 5, 7), np.float32)
    frozen = base[1:]
    frozen.flags.writeable = False
    for array in (base, frozen, base[:, ::2], np.zeros((), np.float32)):
        at, nd = id(array), array.ndim
        flags = _i32(at + ARRAY_FLAGS)
        dims, strides = _word(at + ARRAY_DIMS), _word(at + ARRAY_STRIDES)
        facts = (
            _word(at + OB_TYPE) == id(np.ndarray),
            _word(at + ARRAY_DATA) == array.ctypes.data,
            _i32(at + ARRAY_ND) == nd,
            tuple(_word(dims + 8 * k) for k in range(nd)) == array.shape,
            tuple(_word(strides + 8 * k) for k in range(nd)) == array.strides,
            _word(at + ARRAY_BASE) == (0 if array.base is None else id(array.base)),
            bool(flags & FLAG_C_CONTIGUOUS) == array.flags.c_contiguous,
            bool(flags & FLAG_ALIGNED) == array.flags.aligned,
            bool(flags & FLAG_WRITEABLE) == array.flags.writeable,
        )
        if not all(facts):
            return f"layout of an array: fact {facts.index(False)} does not hold"
    for name in DTYPES:
        scalar = np.zeros((), name)
        if _word(id(scalar) + ARRAY_DESCR) != id(np.dtype(name)):
            return f"layout of a {name} array"
        for dtype in (np.dtype(name), np.dtype(name).newbyteorder("S")):
            order = ctypes.c_char.from_address(id(dtype) + DESCR_BYTEORDER).value
            native = order in b"=|"
            if _i32(id(dtype) + DESCR_TYPE_NUM) != dtype.num or native != dtype.isnative:
                return f"layout of the dtype object {name}"
    return None


def _test_scalars() -> str | None:
    value = 1.0 + 2.0**-40
    if ctypes.c_double.from_address(id(value) + FLOAT_VALUE).value != value:
        return "layout of float objects"
    items = [value, None]
    at = _word(id(items) + LIST_ITEMS)
    if (_word(at), _word(at + 8)) != (id(value), id(None)):
        return "layout of list objects"
    names = (OUT, None)
    at = id(names)
    if (_word(at + TUPLE_SIZE), _word(at + TUPLE_ITEMS)) != (2, id(OUT)):
        return "layout of tuple objects"
    return None


def _test_api() -> str | None:
    words = context_words()
    table = _capsule_table()
    if table[_API_ARRAY_TYPE] != id(np.ndarray):
        return "NumPy's C API table"
    new = ctypes.PYFUNCTYPE(
        ctypes.py_object,
        ctypes.py_object,
        ctypes.py_object,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_void_p,
    )(int(words[Ctx.ARRAY_NEW]))
    set_base = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.py_object)(
        int(words[Ctx.ARRAY_SET_BASE])
    )
    dtype, dims, data = np.dtype("float32"), (ctypes.c_int64 * 2)(2, 3), (ctypes.c_float * 6)(5)
    for owner in (dtype, data):  # both functions take over a reference
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
    made = new(np.ndarray, dtype, 2, dims, None, data, FLAGS_NEW, None)
    if set_base(made, data) != 0 or made.base is not data:
        return "PyArray_SetBaseObject"
    if made.shape != (2, 3) or made.dtype is not dtype or made[0, 0] != 5:
        return "PyArray_NewFromDescr"
    return None


class GuardError(Exception):
    """The arguments are not of the kind that a compiled version was made for."""


def check_arrays(
    spec: EntrySpec, args: Sequence[Any], shared: Sequence[np.ndarray], dims: np.ndarray
) -> list[np.ndarray]:
    """Return args and shared as arrays fit for `run`, with `dims` [n_dims] int64 filled in.

    Checks what the native entry checks; GuardError on any difference.
    """
    if len(args) != len(spec.args):
        raise GuardError(f"{len(spec.args)} arguments expected, got {len(args)}")
    found = []
    for value, want in zip((*args, *shared), (*spec.args, *spec.shared), strict=True):
        array = _as_scalar(value, want)
        if type(array) is not np.ndarray or array.dtype != as_dtype(want.dtype).numpy:
            raise GuardError("type or dtype")
        if array.ndim != len(want.shape) or not (array.flags.c_contiguous and array.flags.aligned):
            raise GuardError("number of dimensions or layout")
        for size, expected in zip(array.shape, want.shape, strict=True):
            _check_size(size, expected, dims)
        if want.value is not None:
            _check_size(int(array), want.value, dims)
        found.append(array)
    writes = zip(found[len(args) :], spec.shared_writes, strict=True)
    if any(written and not array.flags.writeable for array, written in writes):
        raise GuardError("a shared variable is read-only")
    return found


def _as_scalar(value: Any, want: ArraySpec) -> Any:
    kind = as_dtype(want.dtype).numpy.kind
    if want.shape or {"f": float, "i": int, "u": int, "b": bool}.get(kind) is not type(value):
        return value
    try:
        return np.array(value, want.dtype)
    except OverflowError:
        raise GuardError("an integer out of range") from None


def _check_size(size: int, expected: Size, dims: np.ndarray) -> None:
    if isinstance(expected, int):
        good = size == expected
    elif expected.defines:
        good = size >= expected.minimum
        dims[expected.index] = size
    else:
        good = size == dims[expected.index]
    if not good:
        raise GuardError("a size")


def call_through_ctypes(
    spec: EntrySpec,
    run: int,
    derive: int,
    context: int,
    args: Sequence[Any],
    shared: Sequence[np.ndarray],
    on_error: Callable[[int], Any],
) -> Any:
    """Do what the native entry does, without any knowledge of object layouts.

    run, derive: addresses (derive 0 if there is none); context: address of the table.
    Returns the outputs as the entry would; GuardError where the entry would give up. The
    caller holds the locks of `shared`.
    """
    dims = np.zeros(max(spec.n_dims, 1), np.int64)
    inputs = check_arrays(spec, args, shared, dims)
    if derive:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(derive)(dims.ctypes.data)
    if not all(c.holds(int(dims[c.index])) for c in spec.conditions):
        raise GuardError("a condition on sizes")

    def size(value: Size) -> int:
        return value if isinstance(value, int) else int(dims[value.index])

    outputs = [np.empty([size(s) for s in out.shape], out.dtype) for out in spec.outputs]
    buffers = np.array([a.ctypes.data for a in (*inputs, *outputs)] or [0], np.uint64)
    scratch = np.empty(size(spec.arena) + 64, np.uint8)
    aligned = -(-scratch.ctypes.data // 64) * 64
    native = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)(run)
    status = native(buffers.ctypes.data, dims.ctypes.data, aligned, context)
    if status != 0:
        on_error(status)
        raise RuntimeError(f"a compiled function failed with status {status}")
    if spec.none:
        return None
    return outputs[0] if spec.single else outputs
