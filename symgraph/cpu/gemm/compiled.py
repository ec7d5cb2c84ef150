"""The compiled products of this machine: made once, kept in the object cache."""

from __future__ import annotations

import functools

from symgraph.cpu.gemm.contract import contract_text
from symgraph.cpu.gemm.whole import gemm_text
from symgraph.cpu.native import jit

_ELEMENTS = {"float32": "float", "float64": "double"}
_TEXTS = {"gemm": gemm_text, "contract": contract_text}


@functools.cache
def _code(name: str, dtype: str) -> jit.Loaded:
    return jit.build(_TEXTS[name](_ELEMENTS[dtype], jit.target().vector_bytes), (name,))


def address(product: str) -> int:
    """Return the address of a product, such as gemm.float32: see `whole`, `contract`."""
    name, dtype = product.split(".")
    return _code(name, dtype).address(name)
