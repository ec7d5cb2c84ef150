"""The native entry of a compiled function: LLVM text that checks, allocates, runs and returns.

The entry has CPython's METH_FASTCALL | METH_KEYWORDS signature. It is put into the module that
defines `i32 @run(ptr bufs, ptr dims, ptr arena, ptr ctx)`; everything of the process is reached
through the table `@context` points to (see `abi.Ctx`), so the object file can be kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from symgraph.cpu import abi
from symgraph.cpu.abi import ArraySpec, Ctx, EntrySpec, Size, Slot
from symgraph.cpu.cells import SharedCell
from symgraph.cpu.entry import Entry, make_callable_class
from symgraph.cpu.entry_text import HELPERS, INTERRUPT, NO_INTERRUPT

__all__ = [
    "ArraySpec",
    "Entry",
    "EntrySpec",
    "SharedCell",
    "Slot",
    "emit_entry",
    "make_callable_class",
]

CHECK_NANOSECONDS = 50_000_000  # between two looks at pending signals

_KINDS = {
    "bool": "i8",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "uint8": "i8",
    "uint16": "i16",
    "uint32": "i32",
    "uint64": "i64",
    "float32": "float",
    "float64": "double",
}


class _Function:
    """Lines of one LLVM function, with fresh names; cold blocks go behind the others."""

    def __init__(self) -> None:
        self.allocas: list[str] = []
        self.lines: list[str] = []
        self.cold: list[str] = []
        self._count = 0

    def fresh(self, hint: str) -> str:
        self._count += 1
        return f"{hint}.{self._count}"

    def do(self, line: str) -> None:
        self.lines.append("  " + line)

    def op(self, right: str, hint: str = "t") -> str:
        name = "%" + self.fresh(hint)
        self.do(f"{name} = {right}")
        return name

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def alloca(self, kind: str, hint: str, align: int = 8) -> str:
        name = "%" + self.fresh(hint)
        self.allocas.append(f"  {name} = alloca {kind}, align {align}")
        return name

    def at(self, base: str, offset: int) -> str:
        return base if offset == 0 else self.op(f"getelementptr i8, ptr {base}, i64 {offset}")

    def load(self, kind: str, base: str, offset: int, hint: str = "t") -> str:
        return self.op(f"load {kind}, ptr {self.at(base, offset)}", hint)

    def store(self, kind: str, value: str, base: str, offset: int = 0) -> None:
        self.do(f"store {kind} {value}, ptr {self.at(base, offset)}")

    def ctx(self, word: int, kind: str = "ptr") -> str:
        return self.load(kind, "%ctx", 8 * word, "ctx")

    def set_ctx(self, word: int, kind: str, value: str) -> None:
        self.store(kind, value, "%ctx", 8 * word)

    def branch_unless(self, condition: str, otherwise: str) -> None:
        """Continue in a new block where `condition` holds."""
        name = self.fresh("go")
        self.do(f"br i1 {condition}, label %{name}, label %{otherwise}")
        self.label(name)

    def call(self, kind: str, word: int, arguments: str) -> str:
        """Call the C function at a word of the context; returns the result's name."""
        return self.op(f"call {kind} {self.ctx(word)}({arguments})", "r")

    def call_void(self, word: int, arguments: str) -> None:
        self.do(f"call void {self.ctx(word)}({arguments})")

    def all_of(self, conditions: list[str]) -> str:
        result = conditions[0]
        for condition in conditions[1:]:
            result = self.op(f"and i1 {result}, {condition}")
        return result


class _Entry:
    """The text of one entry function; `into` takes the outputs as trailing arguments."""

    def __init__(self, spec: EntrySpec, into: bool) -> None:
        self.spec = spec
        self.into = into
        self.fn = _Function()
        self.sizes: dict[int, str] = {}  # dims index -> name of its value
        self.nbytes: list[str] = []  # bytes of each argument and shared array (into only)
        self.states: list[str] = []  # address of each shared variable's state word
        self.listed = not into and not spec.single and not spec.none
        self.n_inputs = len(spec.args) + len(spec.shared)
        self.bufs = self._table("ptr", self.n_inputs + len(spec.outputs), "bufs")
        self.dims = self._table("i64", spec.n_dims, "dims")
        self.made: list[str] = []  # stack words that hold the outputs made so far

    def _table(self, kind: str, count: int, hint: str) -> str:
        return self.fn.alloca(f"[{max(count, 1)} x {kind}]", hint, 16)

    def text(self) -> str:
        name = "entry_into" if self.into else "entry"
        self._begin()
        for index, arg in enumerate(self.spec.args):
            value = self.fn.load("ptr", "%args", 8 * index, "arg")
            self._input(index, value, arg, 0, scalar=True)
        self._shared()
        if self.spec.n_dims:
            self.fn.do(f"call void @derive(ptr {self.dims})")
        self._given_outputs() if self.into else self._new_outputs()
        arena = self._take_arena()
        status = self._run(arena)
        self._give_arena(arena)
        self._finish(status)
        self._tails()
        head = f"define ptr @{name}(ptr %self, ptr %args, i64 %nargs, ptr %kwnames) {{\nstart:"
        return "\n".join((head, *self.fn.allocas, *self.fn.lines, *self.fn.cold, "}\n"))

    def _begin(self) -> None:
        fn = self.fn
        fn.do("%ctx = load ptr, ptr @context")
        if self.listed:
            list_at = fn.alloca("ptr", "list")
            fn.store("ptr", "null", list_at)
            self.list_at = list_at
        count = len(self.spec.args) + (len(self.spec.outputs) if self.into else 0)
        plain = fn.op("icmp eq ptr %kwnames, null")
        right = fn.op(f"icmp eq i64 %nargs, {count}")
        fn.branch_unless(fn.all_of([plain, right]), "miss")
        if self.listed:
            # First of all: making a list may run the garbage collector, and so any Python
            # code, which must not happen between a check and the use of what was checked.
            self.list = fn.call("ptr", Ctx.LIST_NEW, f"i64 {len(self.spec.outputs)}")
            fn.store("ptr", self.list, self.list_at)
            fn.branch_unless(fn.op(f"icmp ne ptr {self.list}, null"), "fail")

    # -- inputs -------------------------------------------------------------------------------

    def _input(
        self, position: int, value: str, spec: ArraySpec, flags: int, scalar: bool = False
    ) -> None:
        data = self._guard(value, spec, flags, self._given, scalar)
        self.fn.store("ptr", data, self.bufs, 8 * position)
        if spec.value is not None:
            kind = _KINDS[spec.dtype]
            number = self.fn.op(f"load {kind}, ptr {data}, align 1")
            if kind != "i64":
                widen = "sext" if spec.dtype.startswith("int") else "zext"
                number = self.fn.op(f"{widen} {kind} {number} to i64")
            self.fn.branch_unless(self._given(number, spec.value), "miss")
        if self.into:
            self.nbytes.append(self._nbytes(spec, self._known)[0])

    def _given(self, value: str, size: Size) -> str:
        """Return the condition that a size of an input is as described; note what it defines."""
        if isinstance(size, int):
            return self.fn.op(f"icmp eq i64 {value}, {size}")
        if size.defines:
            self.sizes[size.index] = value
            self.fn.store("i64", value, self.dims, 8 * size.index)
            return self.fn.op(f"icmp sge i64 {value}, {size.minimum}")
        if size.index not in self.sizes:
            raise ValueError(f"dims[{size.index}] is compared before an argument defines it")
        return self.fn.op(f"icmp eq i64 {value}, {self.sizes[size.index]}")

    def _known(self, size: Size) -> str:
        return str(size) if isinstance(size, int) else self.sizes[size.index]

    def _derived(self, size: Size) -> str:
        if isinstance(size, int):
            return str(size)
        return self.fn.load("i64", self.dims, 8 * size.index, "size")

    def _guard(
        self,
        value: str,
        spec: ArraySpec,
        flags: int,
        check: Callable[[str, Size], str],
        scalar: bool = False,
    ) -> str:
        """Check an object against its description; return the address of its data.

        flags: demanded besides contiguity and alignment. scalar: a Python number will do.
        """
        fn = self.fn
        kind = fn.load("ptr", value, abi.OB_TYPE, "type")
        is_array = fn.op(f"icmp eq ptr {kind}, {fn.ctx(Ctx.ARRAY_TYPE)}")
        scalar = scalar and spec.shape == () and spec.dtype in _KINDS
        number = fn.fresh("number")
        fn.branch_unless(is_array, number if scalar else "miss")
        self._guard_dtype(value, spec.dtype)
        nd = fn.load("i32", value, abi.ARRAY_ND, "nd")
        has = fn.load("i32", value, abi.ARRAY_FLAGS, "flags")
        mask = abi.FLAG_C_CONTIGUOUS | abi.FLAG_ALIGNED | flags
        same_nd = fn.op(f"icmp eq i32 {nd}, {len(spec.shape)}")
        masked = fn.op(f"and i32 {has}, {mask}")
        fn.branch_unless(fn.all_of([same_nd, fn.op(f"icmp eq i32 {masked}, {mask}")]), "miss")
        if spec.shape:
            dims = fn.load("ptr", value, abi.ARRAY_DIMS, "dims")
            good = [
                check(fn.load("i64", dims, 8 * axis, "dim"), size)
                for axis, size in enumerate(spec.shape)
            ]
            fn.branch_unless(fn.all_of(good), "miss")
        data = fn.load("ptr", value, abi.ARRAY_DATA, "data")
        return self._or_number(value, kind, spec.dtype, data, number) if scalar else data

    def _guard_dtype(self, value: str, dtype: str) -> None:
        """Check the dtype; equal ones that are not the singleton (after unpickling) pass too."""
        fn = self.fn
        descr = fn.load("ptr", value, abi.ARRAY_DESCR, "descr")
        usual = fn.op(f"icmp eq ptr {descr}, {fn.ctx(Ctx.DTYPE + abi.DTYPES.index(dtype))}")
        good, other = fn.fresh("dtype"), fn.fresh("copy")
        fn.do(f"br i1 {usual}, label %{good}, label %{other}")
        hot, fn.lines = fn.lines, []
        fn.label(other)
        number = fn.load("i32", descr, abi.DESCR_TYPE_NUM)
        order = fn.load("i8", descr, abi.DESCR_BYTEORDER)
        names = {np.dtype(dtype).num}
        names |= {np.dtype(c).num for c in "qQlL" if np.dtype(c) == np.dtype(dtype)}
        either = "false"
        for code in sorted(names):
            either = fn.op(f"or i1 {either}, {fn.op(f'icmp eq i32 {number}, {code}')}")
        native = fn.op(f"icmp eq i8 {order}, {ord('=')}")
        native = fn.op(f"or i1 {native}, {fn.op(f'icmp eq i8 {order}, {ord("|")}')}")
        fn.do(f"br i1 {fn.all_of([either, native])}, label %{good}, label %miss")
        fn.cold += fn.lines
        fn.lines = hot
        fn.label(good)

    def _or_number(self, value: str, kind: str, dtype: str, data: str, label: str) -> str:
        """Accept a Python number in place of a 0-d array: convert it into a stack word."""
        fn = self.fn
        word = fn.alloca("i64", "number")
        array_end, join = fn.fresh("array"), fn.fresh("join")
        fn.do(f"br label %{array_end}")
        fn.label(array_end)
        fn.do(f"br label %{join}")
        hot, fn.lines = fn.lines, []
        fn.label(label)
        native = _KINDS[dtype]
        if native in ("float", "double"):
            fn.branch_unless(fn.op(f"icmp eq ptr {kind}, {fn.ctx(Ctx.FLOAT_TYPE)}"), "miss")
            number = fn.load("double", value, abi.FLOAT_VALUE)
            if native == "float":
                number = fn.op(f"fptrunc double {number} to float")
        elif dtype == "bool":
            true = fn.op(f"icmp eq ptr {value}, {fn.ctx(Ctx.TRUE)}")
            false = fn.op(f"icmp eq ptr {value}, {fn.ctx(Ctx.FALSE)}")
            fn.branch_unless(fn.op(f"or i1 {true}, {false}"), "miss")
            number = fn.op(f"zext i1 {true} to i8")
        else:
            number = self._python_int(value, kind, dtype)
        fn.store(native, number, word)
        end = fn.fresh("number_end")
        fn.do(f"br label %{end}")
        fn.label(end)
        fn.do(f"br label %{join}")
        fn.cold += fn.lines
        fn.lines = hot
        fn.label(join)
        return fn.op(f"phi ptr [ {data}, %{array_end} ], [ {word}, %{end} ]")

    def _python_int(self, value: str, kind: str, dtype: str) -> str:
        fn = self.fn
        fn.branch_unless(fn.op(f"icmp eq ptr {kind}, {fn.ctx(Ctx.LONG_TYPE)}"), "miss")
        overflow_at = fn.alloca("i32", "overflow", 4)
        number = fn.call("i64", Ctx.LONG_AS, f"ptr {value}, ptr {overflow_at}")
        overflow = fn.load("i32", overflow_at, 0)
        info = np.iinfo(dtype)
        fits = [
            fn.op(f"icmp eq i32 {overflow}, 0"),
            fn.op(f"icmp sge i64 {number}, {info.min}"),
            fn.op(f"icmp sle i64 {number}, {min(info.max, 2**63 - 1)}"),
        ]
        fn.branch_unless(fn.all_of(fits), "miss")
        native = _KINDS[dtype]
        return number if native == "i64" else fn.op(f"trunc i64 {number} to {native}")

    def _shared(self) -> None:
        fn, spec = self.fn, self.spec
        if not spec.shared:
            return
        table = fn.ctx(Ctx.SHARED_TABLE)
        free = []
        for index, (array, written) in enumerate(zip(spec.shared, spec.shared_writes, strict=True)):
            cell = fn.load("ptr", table, 16 * index, "cell")
            self.states.append(fn.load("ptr", table, 16 * index + 8, "state"))
            value = fn.load("ptr", cell, 0, "shared")
            flags = abi.FLAG_WRITEABLE if written else 0
            self._input(len(spec.args) + index, value, array, flags)
        for state, written in zip(self.states, spec.shared_writes, strict=True):
            now = fn.load("i64", state, 0)
            free.append(fn.op(f"icmp {'eq' if written else 'sge'} i64 {now}, 0"))
        fn.branch_unless(fn.all_of(free), "busy")

    def _nbytes(self, spec: ArraySpec, value: Callable[[Size], str]) -> tuple[str, str]:
        """Return the bytes of an array and the condition that the product overflowed."""
        fn = self.fn
        if spec.static_bytes is not None:
            return str(spec.static_bytes), "false"
        fixed = math.prod(size for size in spec.shape if isinstance(size, int))
        total, over = str(fixed * spec.itemsize), "false"
        for size in spec.shape:
            if isinstance(size, Slot):
                mul = "@llvm.umul.with.overflow.i64"
                pair = fn.op(f"call {{ i64, i1 }} {mul}(i64 {total}, i64 {value(size)})")
                total = fn.op(f"extractvalue {{ i64, i1 }} {pair}, 0", "bytes")
                over = fn.op(f"or i1 {over}, {fn.op(f'extractvalue {{ i64, i1 }} {pair}, 1')}")
        return total, over

    # -- outputs ------------------------------------------------------------------------------

    def _given_outputs(self) -> None:
        """Check output arrays given by the caller, and that they share memory with nothing."""
        fn, spec = self.fn, self.spec

        def same(value: str, size: Size) -> str:
            return fn.op(f"icmp eq i64 {value}, {self._derived(size)}")

        for index, out in enumerate(spec.outputs):
            value = fn.load("ptr", "%args", 8 * (len(spec.args) + index), "out")
            data = self._guard(value, out, abi.FLAG_WRITEABLE, same)
            fn.store("ptr", data, self.bufs, 8 * (self.n_inputs + index))
            self.nbytes.append(self._nbytes(out, self._derived)[0])
        if not spec.outputs:
            return
        ends = self._table("ptr", len(self.nbytes), "ends")
        for index, nbytes in enumerate(self.nbytes):
            start = fn.load("ptr", self.bufs, 8 * index)
            end = fn.op(f"getelementptr i8, ptr {start}, i64 {nbytes}")
            fn.store("ptr", end, ends, 8 * index)
        count = len(self.nbytes)
        clash = f"call i1 @overlap(ptr {self.bufs}, ptr {ends}, i64 {self.n_inputs}, i64 {count})"
        fn.branch_unless(fn.op(f"xor i1 {fn.op(clash)}, true"), "miss")

    def _new_outputs(self) -> None:
        fn = self.fn
        if not self.listed:
            self.made = [fn.alloca("ptr", "made") for _ in self.spec.outputs]
            for word in self.made:
                fn.store("ptr", "null", word)
        for index, out in enumerate(self.spec.outputs):
            array = self._new_array(out)
            if self.listed:
                items = fn.load("ptr", self.list, abi.LIST_ITEMS)
                fn.store("ptr", array, items, 8 * index)
            else:
                fn.store("ptr", array, self.made[index])
            data = fn.load("ptr", array, abi.ARRAY_DATA)
            fn.store("ptr", data, self.bufs, 8 * (self.n_inputs + index))

    def _new_array(self, out: ArraySpec) -> str:
        """Make an array: small ones in NumPy's memory, large ones in a block of the pool."""
        fn = self.fn
        shape = self._table("i64", len(out.shape), "shape")
        for axis, size in enumerate(out.shape):
            fn.store("i64", self._derived(size), shape, 8 * axis)
        nbytes, over = self._nbytes(out, self._derived)
        if out.static_bytes is not None:
            small = out.static_bytes < abi.POOL_BYTES
            return self._small_array(out, shape) if small else self._large(out, shape, nbytes)
        result = fn.alloca("ptr", "result")
        small, large, done = fn.fresh("small"), fn.fresh("large"), fn.fresh("made")
        # NumPy itself raises for sizes that are negative or too large together.
        big = fn.op(f"icmp sge i64 {nbytes}, {abi.POOL_BYTES}")
        pooled = fn.op(f"and i1 {big}, {fn.op(f'xor i1 {over}, true')}")
        fn.do(f"br i1 {pooled}, label %{large}, label %{small}")
        fn.label(large)
        fn.store("ptr", self._large(out, shape, nbytes), result)
        fn.do(f"br label %{done}")
        fn.label(small)
        fn.store("ptr", self._small_array(out, shape), result)
        fn.do(f"br label %{done}")
        fn.label(done)
        return fn.load("ptr", result, 0)

    def _small_array(self, out: ArraySpec, shape: str) -> str:
        array = self._numpy_array(out, shape, "null", 0)
        self.fn.branch_unless(self.fn.op(f"icmp ne ptr {array}, null"), "fail")
        return array

    def _large(self, out: ArraySpec, shape: str, nbytes: str) -> str:
        """Make an array over a pool block; whatever fails, the block goes back."""
        fn = self.fn
        block = fn.call("ptr", Ctx.POOL_ALLOC, f"i64 {nbytes}")
        fn.branch_unless(fn.op(f"icmp ne ptr {block}, null"), "no_memory")
        release = fn.ctx(Ctx.POOL_RELEASE)
        capsule = fn.call(
            "ptr", Ctx.CAPSULE_NEW, f"ptr {block}, ptr @block_name, ptr {release}"
        )
        self._or_else(
            fn.op(f"icmp ne ptr {capsule}, null"), Ctx.POOL_FREE, f"ptr {block}, i64 {nbytes}"
        )
        size = fn.op(f"inttoptr i64 {nbytes} to ptr")
        fn.call("i32", Ctx.CAPSULE_SET_CONTEXT, f"ptr {capsule}, ptr {size}")
        array = self._numpy_array(out, shape, block, abi.FLAGS_NEW)
        self._or_else(fn.op(f"icmp ne ptr {array}, null"), Ctx.DECREF, f"ptr {capsule}")
        based = fn.call("i32", Ctx.ARRAY_SET_BASE, f"ptr {array}, ptr {capsule}")
        self._or_else(fn.op(f"icmp eq i32 {based}, 0"), Ctx.DECREF, f"ptr {array}")
        return array

    def _or_else(self, condition: str, word: int, arguments: str) -> None:
        """Where `condition` does not hold, call a function to clean up and fail."""
        fn = self.fn
        clean = fn.fresh("clean")
        fn.branch_unless(condition, clean)
        hot, fn.lines = fn.lines, []
        fn.label(clean)
        fn.call_void(word, arguments)
        fn.do("br label %fail")
        fn.cold += fn.lines
        fn.lines = hot

    def _numpy_array(self, out: ArraySpec, shape: str, data: str, flags: int) -> str:
        fn = self.fn
        descr = fn.ctx(Ctx.DTYPE + abi.DTYPES.index(out.dtype))
        fn.call_void(Ctx.INCREF, f"ptr {descr}")  # the array takes over this reference
        arguments = (
            f"ptr {fn.ctx(Ctx.ARRAY_TYPE)}, ptr {descr}, i32 {len(out.shape)}, ptr {shape}, "
            f"ptr null, ptr {data}, i32 {flags}, ptr null"
        )
        return fn.call("ptr", Ctx.ARRAY_NEW, arguments)

    # -- running ------------------------------------------------------------------------------

    def _take_arena(self) -> str:
        fn, need = self.fn, self.spec.arena
        if need == 0:
            return "null"
        self.arena_bytes = self._derived(need)
        busy, size = fn.ctx(Ctx.ARENA_BUSY, "i64"), fn.ctx(Ctx.ARENA_SIZE, "i64")
        is_free = fn.op(f"icmp eq i64 {busy}, 0")
        enough = fn.op(f"icmp uge i64 {size}, {self.arena_bytes}")
        ready, slow, go = fn.fresh("ready"), fn.fresh("take"), fn.fresh("arena")
        fn.do(f"br i1 {fn.all_of([is_free, enough])}, label %{ready}, label %{slow}")
        fn.label(ready)
        kept = fn.ctx(Ctx.ARENA)
        fn.set_ctx(Ctx.ARENA_BUSY, "i64", "1")
        fn.do(f"br label %{go}")
        hot, fn.lines = fn.lines, []
        fn.label(slow)
        words = fn.at("%ctx", 8 * Ctx.ARENA)
        taken = fn.call("ptr", Ctx.ARENA_TAKE, f"ptr {words}, i64 {self.arena_bytes}")
        got = fn.op(f"icmp ne ptr {taken}, null")
        fn.do(f"br i1 {got}, label %{go}, label %no_memory")
        fn.cold += fn.lines
        fn.lines = hot
        fn.label(go)
        return fn.op(f"phi ptr [ {kept}, %{ready} ], [ {taken}, %{slow} ]", "arena")

    def _give_arena(self, arena: str) -> None:
        if arena == "null":
            return
        fn = self.fn
        own = fn.op(f"icmp eq ptr {arena}, {fn.ctx(Ctx.ARENA)}")
        keep, give, go = fn.fresh("keep"), fn.fresh("give"), fn.fresh("go")
        fn.do(f"br i1 {own}, label %{keep}, label %{give}")
        fn.label(keep)
        fn.set_ctx(Ctx.ARENA_BUSY, "i64", "0")
        fn.do(f"br label %{go}")
        hot, fn.lines = fn.lines, []
        fn.label(give)
        fn.call_void(Ctx.POOL_FREE, f"ptr {arena}, i64 {self.arena_bytes}")
        fn.do(f"br label %{go}")
        fn.cold += fn.lines
        fn.lines = hot
        fn.label(go)

    def _run(self, arena: str) -> str:
        fn, spec = self.fn, self.spec
        call = f"call i32 @run(ptr {self.bufs}, ptr {self.dims}, ptr {arena}, ptr %ctx)"
        if not spec.release_gil:
            return fn.op(call, "status")
        # The state words change only under the interpreter lock, so plain accesses are enough.
        locks = list(zip(self.states, spec.shared_writes, strict=True))
        for state, written in locks:
            now = "-1" if written else fn.op(f"add i64 {fn.load('i64', state, 0)}, 1")
            fn.store("i64", now, state)
        fn.set_ctx(Ctx.LAST_CHECK, "i64", fn.op("call i64 @nanoseconds(ptr %ctx)"))
        thread = fn.call("ptr", Ctx.SAVE_THREAD, "")
        status = fn.op(call, "status")
        fn.call_void(Ctx.RESTORE_THREAD, f"ptr {thread}")
        for state, written in locks:
            now = "0" if written else fn.op(f"sub i64 {fn.load('i64', state, 0)}, 1")
            fn.store("i64", now, state)
        return status

    def _finish(self, status: str) -> None:
        fn = self.fn
        fn.branch_unless(fn.op(f"icmp eq i32 {status}, 0"), "error")
        if self.into or self.spec.none:
            none = fn.ctx(Ctx.NONE)
            fn.call_void(Ctx.INCREF, f"ptr {none}")
            fn.do(f"ret ptr {none}")
        elif self.listed:
            fn.do(f"ret ptr {self.list}")
        else:
            fn.do(f"ret ptr {fn.load('ptr', self.made[0], 0)}")
        fn.label("error")
        fn.do(f"call void @raise_status(ptr %ctx, i32 {status})")
        fn.do("br label %fail")

    def _tails(self) -> None:
        """The ways out: failure with an exception set, and the calls that others answer."""
        fn = self.fn
        fn.label("no_memory")
        fn.call("ptr", Ctx.ERR_NO_MEMORY, "")
        fn.do("br label %fail")
        fn.label("fail")
        for word in [self.list_at] if self.listed else self.made:
            fn.call_void(Ctx.DECREF, f"ptr {fn.load('ptr', word, 0)}")
        fn.do("ret ptr null")
        slow, busy = (Ctx.SLOW_INTO, Ctx.BUSY_INTO) if self.into else (Ctx.SLOW, Ctx.BUSY)
        if self.spec.shared:
            fn.label("busy")
            self._drop_list()
            self._answer(busy)
        fn.label("miss")
        self._drop_list()
        following = fn.ctx(Ctx.NEXT_INTO if self.into else Ctx.NEXT_ENTRY)
        fn.branch_unless(fn.op(f"icmp ne ptr {following}, null"), "slow")
        same = "ptr %self, ptr %args, i64 %nargs, ptr %kwnames"
        fn.do(f"ret ptr {fn.op(f'tail call ptr {following}({same})')}")
        fn.label("slow")
        self._answer(slow)

    def _drop_list(self) -> None:
        if self.listed:
            self.fn.call_void(Ctx.DECREF, f"ptr {self.fn.load('ptr', self.list_at, 0)}")

    def _answer(self, word: int) -> None:
        fn = self.fn
        arguments = f"ptr {fn.ctx(word)}, ptr %args, i64 %nargs, ptr %kwnames"
        fn.do(f"ret ptr {fn.call('ptr', Ctx.VECTORCALL, arguments)}")


def emit_entry(spec: EntrySpec) -> str:
    """Return LLVM text of `@entry`, `@entry_into` and `@check_interrupt`, with their helpers.

    The module must also define `@run`, and `void @derive(ptr dims)` if `spec.n_dims` is not 0.
    `@derive` is called after all checks and before anything is allocated. A size that no argument
    defines, yet another compares, raises ValueError.
    """
    words = {slot.name.lower(): int(slot) for slot in Ctx}
    interrupt = INTERRUPT if spec.release_gil else NO_INTERRUPT
    helpers = (HELPERS + interrupt).format(pause=CHECK_NANOSECONDS, **words)
    return "\n".join((helpers, _Entry(spec, into=False).text(), _Entry(spec, into=True).text()))
