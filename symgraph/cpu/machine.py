"""What this machine can do at best, measured once: arithmetic, and bytes moved from each cache."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np

from symgraph.core.record import dataclass
from symgraph.cpu.gemm import compiled as gemm
from symgraph.cpu.native import jit
from symgraph.cpu.programs.product import SLICES, product_words

SIDE = 96  # of a product that the caches near the core hold
FOOTPRINTS = (1 << 17, 1 << 21, 1 << 25)  # bytes read and written at a time
SECONDS = 2e-3  # of each measurement
MEMORY_GAIN = 1.5  # of several threads that read memory over one


@dataclass(frozen=True, slots=True)
class Machine:
    """Of one core: float32 operations a second (a multiply-add is two), bytes a second by size."""

    operations: float
    bandwidth: dict[int, float]

    def moving(self, footprint: int, threads: int = 1) -> float:
        """Return the bytes a second for a kernel that touches so many bytes.

        Each thread has caches of its own; memory they share, and a few of them use it up.
        """
        for size, rate in self.bandwidth.items():
            if footprint <= size * threads:
                return rate * threads if size < max(self.bandwidth) else rate * _shared(threads)
        return rate * _shared(threads)


def _shared(threads: int) -> float:
    """Return how much more memory gives to several threads than to one."""
    return min(threads, MEMORY_GAIN)


@functools.cache
def machine() -> Machine:
    """Measure this machine (some 20 ms): a product in the near caches, copies of several sizes."""
    call = _best(_copy(64))
    rates = {n: n / max(_best(_copy(n // 2)) - call, 1e-9) for n in FOOTPRINTS}
    return Machine(2 * SIDE**3 / _best(_product()), rates)


def _copy(size: int) -> Callable[[], object]:
    source, target = np.ones(size // 4, np.float32), np.ones(size // 4, np.float32)
    return lambda: np.negative(source, out=target)  # memcpy has slow cases of its own


def _product() -> Callable[[], object]:
    a, b, out = (np.ones((SIDE, SIDE), np.float32) for _ in range(3))
    layout = (0, (), SIDE, 1)
    words = product_words((SIDE, SIDE, SIDE), layout, layout, 0)
    table = np.array([*(x.ctypes.data for x in (a, b, out)), *words], np.int64)
    call = jit.callable_at(gemm.address("gemm.float32"))
    keep = (a, b, out, table)
    return lambda: call(keep[3].ctypes.data, 0, SLICES)


def _best(f: Callable[[], object]) -> float:
    """Return the shortest time of a call."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - start)
    return best
