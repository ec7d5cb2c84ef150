"""The result pool."""

import ctypes
import time

import pytest

from symgraph.cpu.native import memory


@pytest.fixture
def pool():
    pool = memory.result_pool()
    pool.clear()
    yield pool
    pool.set_limit(memory.KEEP_BYTES)
    pool.clear()


def test_size_classes():
    previous = 0
    for index in range(3, 80):
        size = previous + 1
        found, bound = memory.class_of(size)
        assert found == index and memory.class_of(bound) == (index, bound)
        assert bound >= size and (bound <= 1.25 * size or bound == 16384) and bound % 4096 == 0
        previous = bound
    assert memory.class_of(1 << memory.LARGEST_BITS)[0] < memory.CLASSES
    assert memory.class_of(0)[1] == memory.class_of(1)[1] == 16384


def test_native_size_class_agrees(pool):
    for nbytes in (0, 1, 16384, 16385, 20480, 20481, 10**6, 2**20, 2**20 + 1, 3 << 20, 10**7):
        before = pool.stats().used
        address = pool.alloc(nbytes)
        assert pool.stats().used - before == memory.class_of(nbytes)[1]
        assert address % 4096 == 0 and (nbytes < 4 << 20 or address % (2 << 20) == 0)
        ctypes.memset(address, 255, memory.class_of(nbytes)[1])
        pool.free(address, nbytes)
        assert pool.stats().used == before


def test_blocks_are_reused_last_first(pool):
    first, second = pool.alloc(300_000), pool.alloc(300_000)
    ctypes.memset(first, 1, 300_000)
    pool.free(first, 300_000)
    pool.free(second, 300_000)
    assert pool.stats().kept == 2 * memory.class_of(300_000)[1]
    hits = pool.stats().hits
    assert pool.alloc(310_000) == second and pool.alloc(300_000) == first
    assert pool.stats().hits == hits + 2 and pool.stats().kept == 0
    other = pool.alloc(900_000)
    assert other not in (first, second)
    for address, size in ((first, 300_000), (second, 300_000), (other, 900_000)):
        pool.free(address, size)


def test_limit_and_clear(pool):
    pool.set_limit(1 << 20)
    blocks = [pool.alloc(400_000) for _ in range(5)]
    for address in blocks:
        pool.free(address, 400_000)
    assert pool.stats().kept == 2 * memory.class_of(400_000)[1]
    pool.clear()
    assert pool.stats().kept == 0


def test_clear_covers_every_class(pool):
    sizes = [memory.class_of(1 << bits)[1] for bits in range(10, 26)] + [5 << 18, 3 << 19, 7 << 18]
    for address, size in [(pool.alloc(size), size) for size in sizes]:
        pool.free(address, size)
    assert pool.stats().kept == sum(sizes)
    pool.clear()
    assert pool.stats().kept == 0


def test_impossible_sizes(pool):
    used = pool.stats().used
    for nbytes in (1 << 46, 1 << 48, -1):
        with pytest.raises(MemoryError):
            pool.alloc(nbytes)
    assert pool.stats().used == used


def test_cost_of_a_hit(pool):
    pool.free(pool.alloc(1 << 20), 1 << 20)
    start = time.perf_counter()
    for _ in range(2000):
        pool.free(pool.alloc(1 << 20), 1 << 20)
    assert (time.perf_counter() - start) / 2000 < 20e-6  # two ctypes calls included
