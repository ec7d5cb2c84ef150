"""The tables that lead the native entry through one function's checks and results."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from symgraph.core.dtype import as_dtype
from symgraph.cpu import abi
from symgraph.cpu.abi import ArraySpec, EntrySpec, Plan, Record, Size

_LIST, _SINGLE, _NONE = range(3)
_SCALARS = {"float32": 1, "float64": 2, "bool": 3}
_INTEGER = 4


def encode_plan(spec: EntrySpec, numbers: Sequence[bool] | None = None) -> np.ndarray:
    """Return the plan of a function as int64 words; it holds addresses inside itself.

    numbers: of each argument, whether a Python number will do for a scalar; by default for all.

    Header (`abi.Plan`), then one record per argument, shared variable and output
    (`abi.Record`), then the sizes that the records point to, then the conditions. ValueError if
    a size is compared before anything defines it.
    """
    arrays = (*spec.args, *spec.shared, *spec.outputs)
    n_inputs = len(spec.args) + len(spec.shared)
    sizes_at = Plan.BYTES + Record.SIZE // 8 * len(arrays)
    sizes = sum(len(array.shape) + (array.value is not None) for array in arrays)
    conditions_at = sizes_at + 2 * sizes
    words = np.zeros(conditions_at + 4 * len(spec.conditions), np.int64)
    base = words.ctypes.data
    _check_order(spec)
    records: list[int] = []
    tail: list[int] = []
    for index, array in enumerate(arrays):
        written = index >= n_inputs
        if len(spec.args) <= index < n_inputs:
            written = spec.shared_writes[index - len(spec.args)]
        here = base + 8 * (sizes_at + len(tail))
        for size in array.shape:
            tail += size_words(size, read_only=index >= n_inputs)
        value = 0 if array.value is None else base + 8 * (sizes_at + len(tail))
        if array.value is not None:
            tail += size_words(array.value)
        number = index < len(spec.args) and (numbers is None or numbers[index])
        records += _record(array, written, number, here, value)
    words[Plan.BYTES : sizes_at] = records
    words[sizes_at:conditions_at] = tail
    checks = [(c.index, c.low, c.high, c.multiple) for c in spec.conditions]
    words[conditions_at:] = [n for check in checks for n in check]
    words[: Plan.BYTES] = _header(spec)
    words[Plan.CONDITIONS] = base + 8 * conditions_at
    return words


def size_words(size: Size, read_only: bool = False) -> tuple[int, int]:
    """Return (kind, value): -1 a constant, -2 equal to dims[value], otherwise kind is the minimum
    of a size to store in dims[value]."""
    if isinstance(size, int):
        return -1, size
    if size.defines and not read_only:
        return max(size.minimum, 0), size.index
    return -2, size.index


def _work(spec: EntrySpec) -> Size:
    """Return the operations of a call, as far as the interpreter lock is concerned."""
    if not spec.release_gil:
        return 0
    return abi.RELEASE_WORK if spec.work is None else spec.work


def _check_order(spec: EntrySpec) -> None:
    known: set[int] = set()
    for array in (*spec.args, *spec.shared):
        for size in (*array.shape, array.value):
            if isinstance(size, int) or size is None:
                continue
            if not 0 <= size.index < spec.n_dims:
                raise ValueError(f"dims[{size.index}] with {spec.n_dims} dims")
            if size.defines:
                known.add(size.index)
            elif size.index not in known:
                raise ValueError(f"dims[{size.index}] is compared before anything defines it")
    for condition in spec.conditions:
        if not 0 <= condition.index < spec.n_dims:
            raise ValueError(f"a condition on dims[{condition.index}] with {spec.n_dims} dims")


def _header(spec: EntrySpec) -> list[int]:
    total = len(spec.args) + len(spec.shared) + len(spec.outputs)
    rank = max([len(out.shape) for out in spec.outputs], default=0)
    header = [0] * Plan.BYTES
    header[Plan.N_ARGS] = len(spec.args)
    header[Plan.N_SHARED] = len(spec.shared)
    header[Plan.N_OUTPUTS] = len(spec.outputs)
    header[Plan.KIND] = _SINGLE if spec.single else _NONE if spec.none else _LIST
    header[Plan.ARENA : Plan.ARENA + 2] = size_words(spec.arena, read_only=True)
    header[Plan.WORK : Plan.WORK + 2] = size_words(_work(spec), read_only=True)
    header[Plan.N_CONDITIONS] = len(spec.conditions)
    # The entry's stack frame, in bytes: data pointers first.
    place = 8 * total
    for word, count in (
        (Plan.DIMS_AT, spec.n_dims),
        (Plan.WORDS_AT, len(spec.args)),
        (Plan.MADE_AT, len(spec.outputs)),
        (Plan.ENDS_AT, total),
        (Plan.SHAPE_AT, rank),
    ):
        header[word] = place
        place += 8 * count
    header[Plan.FRAME] = place
    return header


def _record(array: ArraySpec, written: bool, scalar: bool, sizes: int, value: int) -> list[int]:
    """Return the words of one array's record; sizes, value: addresses (value 0 if none)."""
    fixed, flags, number = _dtype_words(array.dtype)
    record = list(fixed)
    record[Record.ND // 8] = len(array.shape) | (flags | written * abi.FLAG_WRITEABLE) << 32
    record[Record.SIZES // 8] = sizes
    record[Record.VALUE // 8] = value
    static = array.static_bytes
    record[Record.BYTES // 8] = -1 if static is None else static
    record[Record.WRITTEN // 8] = int(written)
    record[Record.SCALAR // 8] = number if scalar and array.shape == () else 0
    return record


@functools.cache
def _dtype_words(name: str) -> tuple[list[int], int, int]:
    """Return what a record says about the dtype, the flags of inputs, and the kind of number."""
    dtype = as_dtype(name).numpy
    others = [np.dtype(code).num for code in "qQlL" if np.dtype(code) == dtype]
    record = [0] * (Record.SIZE // 8)
    record[Record.DTYPE // 8] = id(dtype)
    record[Record.ITEMSIZE // 8] = dtype.itemsize
    record[Record.SIGNED // 8] = int(dtype.kind == "i")
    other = next((n for n in others if n != dtype.num), dtype.num)
    record[Record.CODE // 8] = dtype.num | other << 32
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        record[Record.LOW // 8] = int(info.min)
        record[Record.HIGH // 8] = min(int(info.max), 2**63 - 1)
    number = _INTEGER if dtype.kind in "iu" else _SCALARS.get(name, 0)
    return record, abi.FLAG_C_CONTIGUOUS | abi.FLAG_ALIGNED, number
