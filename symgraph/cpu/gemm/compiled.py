"""The compiled products of this machine: made once, kept in the object cache."""

from __future__ import annotations

import functools

from symgraph.cpu.gemm.contract import contract_text
from symgraph.cpu.gemm.rooms import lend
from symgraph.cpu.gemm.whole import gemm_text
from symgraph.cpu.native import jit

ELEMENTS = {"float32": "float", "float64": "double"}
TEXTS = {"gemm": gemm_text, "contract": contract_text}


@functools.cache
def load(name: str, dtype: str, vector_bytes: int, verify: bool = False) -> jit.Loaded:
    """Return a product's machine code for a vector width, ready to be called."""
    code = jit.build(TEXTS[name](ELEMENTS[dtype], vector_bytes), (name, "rooms"), verify=verify)
    lend(code.address("rooms"))
    return code


def address(product: str) -> int:
    """Return the address of a product, such as gemm.float32: see `whole`, `contract`."""
    name, dtype = product.split(".")
    return load(name, dtype, jit.target().vector_bytes).address(name)
