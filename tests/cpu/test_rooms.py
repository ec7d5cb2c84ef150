"""Rooms of products: little of the stack is used, and without a room the results are the same."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from product_rig import CACHES, multiply

from symgraph.cpu.gemm import compiled, rooms
from symgraph.cpu.programs.product import product_shares, product_words

SMALL_STACK = """
import threading
import numpy as np
import symgraph as sg

rng = np.random.default_rng(0)
a, images, filters = (
    rng.standard_normal(shape, np.float32)
    for shape in [(700, 700), (4, 64, 60, 60), (64, 64, 3, 3)]
)
x, i, w = sg.matrix("x"), sg.tensor4("i"), sg.tensor4("w")
calls = [
    (sg.function([x], x @ x), (a,)),
    (sg.function([i, w], sg.conv2d(i, w)), (images, filters)),
]
wanted = [f(*values) for f, values in calls]
found = []
threading.stack_size(256 << 10)
thread = threading.Thread(target=lambda: found.extend(f(*values) for f, values in calls))
thread.start()
thread.join()
assert [np.array_equal(*pair) for pair in zip(found, wanted, strict=True)] == [True, True]
"""


def product(dtype, width):
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((300, 300)).astype(dtype) for _ in range(2))
    out = np.full((300, 300), np.nan, dtype)
    words = product_words((300, 300, 300), (0, [], 300, 1), (0, [], 300, 1), 0)
    multiply("gemm", (a, b, out), words, product_shares((), 300, 300, 300).units, width)
    return out


def line(table, number):
    return (ctypes.c_int64 * 2).from_address(table + number * rooms.LINE)


def test_large_products_need_little_of_the_stack():
    subprocess.run([sys.executable, "-c", SMALL_STACK], check=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_without_a_free_room_results_are_the_same(dtype, width):
    wanted = product(dtype, width)
    full = rooms.new_table()
    for number in range(rooms.ROOMS):
        line(full, number)[0] = 1
    variable = compiled.load("gemm", dtype, width, CACHES[0], verify=True).address("rooms")
    try:
        rooms.lend(variable, full)
        np.testing.assert_array_equal(product(dtype, width), wanted)
        assert not any(line(full, number)[1] for number in range(rooms.ROOMS))
        empty = rooms.new_table()
        rooms.lend(variable, empty)
        np.testing.assert_array_equal(product(dtype, width), wanted)
        assert [line(empty, number)[0] for number in range(2)] == [0, 0]  # given back
        assert line(empty, 0)[1] and not line(empty, 1)[1]  # one is enough
    finally:
        rooms.lend(variable)


def test_threads_work_in_rooms_of_their_own():
    wanted, found = product("float32", 32), []
    threads = [
        threading.Thread(target=lambda: found.extend(product("float32", 32) for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    for one in found:
        np.testing.assert_array_equal(one, wanted)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_all_rooms():
    line(rooms.TABLE, rooms.ROOMS - 1)[0] = 1  # as if another thread were in it
    try:
        child = os.fork()
        if child == 0:
            os._exit(int(line(rooms.TABLE, rooms.ROOMS - 1)[0]))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert line(rooms.TABLE, rooms.ROOMS - 1)[0] == 1
    finally:
        line(rooms.TABLE, rooms.ROOMS - 1)[0] = 0
