"""The compiled products of this machine: made once, kept in the object cache."""

from __future__ import annotations

import functools
from pathlib import Path

from symgraph.cpu.gemm.contract import contract_text
from symgraph.cpu.gemm.rooms import lend
from symgraph.cpu.gemm.whole import gemm_text
from symgraph.cpu.native import jit

ELEMENTS = {"float32": "float", "float64": "double"}
TEXTS = {"gemm": gemm_text, "contract": contract_text}


@functools.cache
def coming(
    name: str, dtype: str, vector_bytes: int, second_cache: int, verify: bool
) -> jit.Coming:
    """Let a product's machine code be made in the background, for widths of vectors and caches."""
    text = TEXTS[name](ELEMENTS[dtype], vector_bytes, second_cache)
    return jit.Coming(text, (name, "rooms"), verify=verify)


@functools.cache
def load(
    name: str, dtype: str, vector_bytes: int, second_cache: int, verify: bool = False
) -> jit.Loaded:
    """Return a product's machine code, ready to be called."""
    code = coming(name, dtype, vector_bytes, second_cache, verify=verify).result()
    lend(code.address("rooms"))
    return code


@functools.cache
def cache_bytes() -> int:
    """Return the size of a core's second cache, a megabyte if it is not known."""
    try:
        size = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text()
        return int(size.strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        return 1 << 20


def begin(product: str) -> None:
    """Let a product, such as gemm.float32, be made in the background; `address` waits for it."""
    name, dtype = product.split(".")
    coming(name, dtype, jit.target().vector_bytes, cache_bytes(), verify=False)


def address(product: str) -> int:
    """Return the address of a product, such as gemm.float32: see `whole`, `contract`."""
    name, dtype = product.split(".")
    return load(name, dtype, jit.target().vector_bytes, cache_bytes()).address(name)
