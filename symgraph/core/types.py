"""The type of a node: dtype, rank, and one size per axis (a number or a symbol)."""

from __future__ import annotations

from typing import Any

from symgraph.core.dtype import DType
from symgraph.core.record import dataclass

Size = Any  # int | symgraph.dims.Dim; core knows no more of a size than equality


@dataclass(frozen=True, slots=True)
class TensorType:
    """An array of `dtype` whose axis k has length `shape[k]`."""

    dtype: DType
    shape: tuple[Size, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        """True when every size is a number."""
        return all(isinstance(n, int) for n in self.shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        return self if dtype is self.dtype else TensorType(dtype, self.shape)

    def with_shape(self, shape: tuple[Size, ...]) -> TensorType:
        return TensorType(self.dtype, shape)

    def __str__(self) -> str:
        word = ("scalar", "vector", "matrix")[self.ndim] if self.ndim < 3 else f"tensor{self.ndim}"
        sizes = ", ".join(str(n) if isinstance(n, int) else repr(n) for n in self.shape)
        comma = "," if self.ndim == 1 else ""
        return f"{word} {self.dtype} ({sizes}{comma})"
