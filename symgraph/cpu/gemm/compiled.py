"""The compiled products of this machine: made once, kept in the object cache."""

from __future__ import annotations

import functools

from symgraph.cpu import jit
from symgraph.cpu.gemm.whole import gemm_text

_ELEMENTS = {"float32": "float", "float64": "double"}


@functools.cache
def _code(dtype: str) -> jit.Loaded:
    return jit.build(gemm_text(_ELEMENTS[dtype], jit.target().vector_bytes), ("gemm",))


def address(dtype: str) -> int:
    """Return the address of the product of `float32` or `float64`: see `whole.gemm`."""
    return _code(dtype).address("gemm")
