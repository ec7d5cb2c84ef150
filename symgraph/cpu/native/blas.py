"""Matrix products of the OpenBLAS wheel, as function pointers for compiled code."""

from __future__ import annotations

import ctypes
import functools
from types import ModuleType


def _wheel() -> ModuleType:
    """Import the wheel (heavy: it maps a 30 MB library)."""
    import scipy_openblas32

    wheel: ModuleType = scipy_openblas32
    return wheel


@functools.cache
def library() -> ctypes.CDLL:
    """Return the library, set to one thread: our pool runs pieces of a product instead."""
    wheel = _wheel()
    path = f"{wheel.get_lib_dir()}/{wheel.get_library(fullname=True)}"
    loaded = ctypes.CDLL(path)
    loaded.scipy_openblas_set_num_threads(1)
    return loaded


def address(name: str) -> int:
    """Return the address of a CBLAS function such as `sgemm`."""
    function = getattr(library(), f"scipy_cblas_{name}")
    return ctypes.cast(function, ctypes.c_void_p).value or 0
