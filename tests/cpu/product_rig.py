"""The compiled products: what tests of both of them call and compare with."""

import ctypes
import functools

import numpy as np

from symgraph.cpu.gemm import compiled

CACHES = (1 << 20, 2 << 20)


@functools.cache
def product(name, dtype, vector_bytes, second_cache):
    loaded = compiled.load(name, dtype, vector_bytes, second_cache, verify=True)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    return loaded, kind(loaded.address(name))


def multiply(name, arrays, words, units, vector_bytes=32, cuts=()):
    """Run a product of (a, b, out) in the pieces that `cuts` (of 0 to 1) give.

    Code for a small and for a large second cache must give the same.
    """
    *operands, out = arrays
    ends = [0, *sorted(int(c * units) for c in cuts), units]
    before = out.copy()
    for cache in CACHES:
        target = out if cache == CACHES[0] else before
        args = np.array([x.ctypes.data for x in (*operands, target)] + words, np.int64)
        call = product(name, str(out.dtype), vector_bytes, cache)[1]
        for begin, end in zip(ends, ends[1:], strict=False):
            call(args.ctypes.data, begin, end)
    np.testing.assert_array_equal(before, out)


def chain(a, b):
    """Return a @ b as one chain of float32 multiply-adds per element, rounded once per step."""
    total = np.zeros((a.shape[0], b.shape[1]))
    for p in range(a.shape[1]):
        exact = a[:, p : p + 1].astype(np.float64) * b[p : p + 1].astype(np.float64)
        total = (exact + total).astype(np.float32).astype(np.float64)
    return total.astype(np.float32)
