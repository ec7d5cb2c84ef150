"""What `f.explain()` says of costs and of values that are not fused."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.compile.forecast import forecast
from symgraph.cpu.machine import Machine
from symgraph.loops.grammar import Loop

FLAT = Machine(1e9, {1 << 30: 1e9})


def statements(inputs, outputs, *arrays, **options):
    f = sg.function(inputs, outputs, **options)
    f(*arrays)
    return f, f.compiled.version_list[0].stages.program.statements


def test_bytes_count_each_element_once():
    x, v = sg.tensor("x", (30, 40), "float32"), sg.tensor("v", (40,), "float32")
    _, (nest,) = statements([x, v], x * v + v, np.ones((30, 40), "float32"), np.ones(40, "float32"))
    cost = forecast(nest, {}, FLAT)
    assert (cost.read, cost.written) == (4 * (1200 + 40), 4 * 1200)
    assert cost.operations == 2 * 1200
    assert cost.seconds == pytest.approx((cost.read + cost.written) / 1e9, abs=1e-8)


def test_products_count_two_operations_per_term():
    x, w = sg.tensor("x", (100, 200), "float64"), sg.tensor("w", (200, 300), "float64")
    _, (call,) = statements([x, w], x @ w, np.ones((100, 200)), np.ones((200, 300)))
    cost = forecast(call, {}, FLAT)
    assert cost.operations == 2 * 100 * 200 * 300
    assert (cost.read, cost.written) == (8 * (100 * 200 + 200 * 300), 8 * 100 * 300)


def test_steps_of_a_loop_add_up():
    x, h = sg.tensor("x", (50, 8), "float32"), sg.tensor("h", (8,), "float32")
    out = sg.scan(lambda row, state: state * 0.5 + row, x, h)
    _, found = statements([x, h], out, np.ones((50, 8), "float32"), np.ones(8, "float32"))
    (loop,) = [s for s in found if isinstance(s, Loop)]
    assert 50 * 8 * 2 <= forecast(loop, {}, FLAT).operations <= 50 * 8 * 4
    assert forecast(loop, {}, FLAT).read <= 50 * 8 * 4 * 4


def test_run_time_sizes_are_those_of_the_first_call():
    x = sg.tensor("x", (None, None), "float32")
    f, _ = statements([x], x * 2, np.ones((30, 40), "float32"), shapes="generic")
    assert "1,200 ops" in f.explain()


def test_reasons_name_what_keeps_two_kernels_apart():
    x, w = sg.tensor("x", (80, 80), "float32"), sg.tensor("w", (80, 80), "float32")
    y = sg.exp(x) @ (w + 1)
    one = np.ones((80, 80), "float32")
    f = sg.function([x, w], [sg.tanh(y).sum(), sg.exp(y).sum()], profile=True)
    f(one, one)
    text = f.explain()
    assert "matmul reads it as a whole array" in text and "matmul writes a whole array" in text
    assert "predicted" in text and "measured" in text
    total = sg.sum(sg.exp(x), 1)
    g = sg.function([x], [x / total[:, None], x * total])  # a row of each, a column
    g(one)
    assert "its sum would run for each of 2 readings" in g.explain()
    rows = sg.function([x], sg.softmax(x, 1))
    rows(one)
    assert "not fused" not in rows.explain()
    h = sg.function([x], sg.exp(x) + 1)
    h(one)
    assert "not fused" not in h.explain()
