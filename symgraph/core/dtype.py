"""Element types and the one promotion table.

Promotion differs from NumPy in two points: an integer with a float takes the float's own width
(`int32 + float32 -> float32`), and `int64` with `uint64` is an error instead of `float64`.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from symgraph.core.errors import DTypeError

KINDS = "biuf"  # bool, signed, unsigned, float; complex follows with its ops


class DType(str):
    """An element type: a string such as `"float32"` that also knows its kind and its width."""

    kind: str
    bits: int
    numpy: np.dtype

    def __new__(cls, name: str) -> DType:
        self = super().__new__(cls, name)
        self.numpy = np.dtype(name)
        self.kind = self.numpy.kind
        self.bits = self.numpy.itemsize * 8
        return self

    @property
    def itemsize(self) -> int:
        return self.bits // 8

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    @property
    def is_bool(self) -> bool:
        return self.kind == "b"


BOOL = DType("bool")
INT8, INT16, INT32, INT64 = (DType(f"int{n}") for n in (8, 16, 32, 64))
UINT8, UINT16, UINT32, UINT64 = (DType(f"uint{n}") for n in (8, 16, 32, 64))
FLOAT16, FLOAT32, FLOAT64 = (DType(f"float{n}") for n in (16, 32, 64))
INTEGERS = (INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64)
FLOATS = (FLOAT16, FLOAT32, FLOAT64)
ALL = (BOOL, *INTEGERS, *FLOATS)
_BY_NAME = {str(d): d for d in ALL}


def as_dtype(dtype: object) -> DType:
    """Return the `DType` of a name, a NumPy dtype or scalar type, or a Python `bool/int/float`.

    Raises `DTypeError` for types that symgraph does not hold.
    """
    if type(dtype) is DType:
        return dtype
    if dtype is int:
        return INT64
    try:
        return _BY_NAME[np.dtype(dtype).name]  # type: ignore[call-overload]
    except (KeyError, TypeError):
        raise DTypeError(
            f"{dtype!r} is not an element type of symgraph; use one of {', '.join(ALL)}"
        ) from None


@cache
def promote(a: DType, b: DType) -> DType:
    """Return the common type of `a` and `b`; raises `DTypeError` for `int64` with `uint64`."""
    if a is b:
        return a
    rank = {"b": 0, "u": 1, "i": 1, "f": 2}
    if rank[a.kind] != rank[b.kind]:
        return a if rank[a.kind] > rank[b.kind] else b
    common = np.promote_types(a.numpy, b.numpy)
    if common.kind == "f" and a.kind != "f":
        raise DTypeError(
            f"{a} and {b} have no common integer type; cast one of them, e.g. x.astype('int64')"
        )
    return _BY_NAME[common.name]


def holds(target: DType, source: DType) -> bool:
    """Tell whether every value of `source` can be stored in `target` without loss."""
    return bool(np.can_cast(source.numpy, target.numpy, "safe"))
