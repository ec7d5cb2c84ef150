"""Element types and the one promotion table.

Promotion differs from NumPy in two points: an integer with a float takes the float's own width
(`int32 + float32 -> float32`), and `int64` with `uint64` is an error instead of `float64`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from symgraph.core.errors import DTypeError
from symgraph.core.lazy import lazy

_ml_dtypes: Any = lazy("ml_dtypes")
KINDS = "biufc"  # bool, signed, unsigned, float, complex: the order of promotion


class DType(str):
    """An element type: a string such as `"float32"` that also knows its kind and its width."""

    kind: str
    bits: int
    numpy: np.dtype

    def __new__(cls, name: str) -> DType:
        self = super().__new__(cls, name)
        if name == "bfloat16":  # its NumPy dtype comes with a package that is loaded at first use
            self.kind, self.bits = "f", 16
            return self
        self.numpy = np.dtype(name)
        self.kind = self.numpy.kind
        self.bits = self.numpy.itemsize * 8
        return self

    def __getattr__(self, name: str) -> Any:
        """Load the NumPy dtype of bfloat16; raises ImportError with the cure."""
        if name != "numpy":
            raise AttributeError(name)
        try:
            self.numpy = np.dtype(_ml_dtypes.bfloat16)
        except ModuleNotFoundError:
            raise ImportError(
                'bfloat16 arrays need ml_dtypes: pip install "symgraph[bfloat16]"'
            ) from None
        return self.numpy

    @property
    def itemsize(self) -> int:
        return self.bits // 8

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_complex(self) -> bool:
        return self.kind == "c"

    @property
    def is_half(self) -> bool:
        """True for the 16-bit floats: stored, while arithmetic on them is float32's."""
        return self.bits == 16 and self.kind == "f"

    @property
    def is_inexact(self) -> bool:
        """True for what has derivatives: floats and complex numbers."""
        return self.kind in "fc"

    @property
    def part(self) -> DType:
        """The float type of the parts of a complex type; the type itself for others."""
        return _PARTS.get(self, self)

    @property
    def as_complex(self) -> DType:
        """The complex type that a float joins: complex128 for float64, else complex64."""
        if self.is_complex:
            return self
        return COMPLEX128 if self is FLOAT64 else COMPLEX64

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
BFLOAT16 = DType("bfloat16")
COMPLEX64, COMPLEX128 = DType("complex64"), DType("complex128")
COMPLEXES = (COMPLEX64, COMPLEX128)
ALL = (BOOL, *INTEGERS, *FLOATS)  # real types
_PARTS = {COMPLEX64: FLOAT32, COMPLEX128: FLOAT64}
_BY_NAME = {str(d): d for d in (*ALL, BFLOAT16, *COMPLEXES)}


def as_dtype(dtype: object) -> DType:
    """Return the `DType` of a name, a NumPy dtype or scalar type, or a Python number type.

    Raises `DTypeError` for types that symgraph does not hold.
    """
    if type(dtype) is DType:
        return dtype
    if dtype is int:
        return INT64
    if isinstance(dtype, str) and dtype in _BY_NAME:
        return _BY_NAME[dtype]
    try:
        return _BY_NAME[np.dtype(dtype).name]  # type: ignore[call-overload]
    except (KeyError, TypeError):
        raise DTypeError(
            f"{dtype!r} is not an element type of symgraph; use one of {', '.join(_BY_NAME)}"
        ) from None


@cache
def promote(a: DType, b: DType) -> DType:
    """Return the common type of `a` and `b`; raises `DTypeError` for `int64` with `uint64`."""
    if a is b:
        return a
    rank = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    if "c" in (a.kind, b.kind) and "f" in (a.kind, b.kind):
        return COMPLEX128 if 128 in (a.bits, b.bits) or FLOAT64 in (a, b) else COMPLEX64
    if BFLOAT16 in (a, b) and a.kind == b.kind == "f":
        return FLOAT64 if FLOAT64 in (a, b) else FLOAT32
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
