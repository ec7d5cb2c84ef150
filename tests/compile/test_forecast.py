"""What `f.explain()` says of costs and of values that are not fused."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.compile import op_costs
from symgraph.compile.forecast import forecast
from symgraph.core.op import o
from symgraph.cpu.machine import Machine
from symgraph.cpu.native.pool import get_threads
from symgraph.debug import op_costs as measure
from symgraph.loops.expr import MATH, MATH2
from symgraph.loops.statements import Loop

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
    out = sg.scan(lambda row, state: sg.maximum(state, row) * 0.5, x, h)
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


# -- what operations and threads cost ------------------------------------------------------------
COMPUTING = Machine(1e9, {1 << 30: 1e15})  # so much bandwidth that arithmetic alone counts
MOVING = Machine(1e15, {1 << 20: 4e9, 1 << 25: 1e9})


def predicted(f, dtype, shape=(50, 20), machine=COMPUTING, count=1, **how):
    """Return the seconds that the kernels of f(x, ...) should take, calls of them left out."""
    inputs = [sg.tensor(f"x{k}", shape, dtype) for k in range(count)]
    arrays = [np.ones(shape, dtype)] * count
    _, found = statements(inputs, f(*inputs), *arrays)
    return sum(forecast(s, {}, machine, **how).seconds - 5e-9 for s in found)


def test_every_function_has_a_measured_cost():
    assert set(op_costs.MEASURED) >= MATH | MATH2 | {"div", "sqrt", "rem"}
    assert all(double > single > op_costs.SIMPLE for single, double in op_costs.MEASURED.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ["exp", "tanh", "erf", "sin", "log1p", "sqrt"])
def test_functions_cost_what_was_measured(op, dtype):
    own = predicted(getattr(sg, op), dtype) * 1e9 / 1000
    assert own == pytest.approx(op_costs.MEASURED[op][dtype == "float64"])
    assert own > 3 * predicted(lambda x: x + 1, dtype) * 1e9 / 1000


def test_parts_of_a_kernel_add_up():
    both = predicted(lambda x, y: sg.exp(x) * sg.log(y) + 1, "float32", count=2)
    parts = sum(op_costs.MEASURED[f][0] for f in ("exp", "log")) + 2 * op_costs.SIMPLE
    assert both == pytest.approx(parts * 1000 / 1e9)
    # exp is taken once for the row sum and once for the result, as the kernels do
    rows = predicted(lambda x: sg.logsumexp(x, 1), "float32") * 1e9 / 1000
    assert op_costs.MEASURED["exp"][0] < rows < 3 * op_costs.MEASURED["exp"][0]


def test_what_waits_costs_more():
    across = predicted(lambda x: sg.cumsum(x, 0), "float32")
    along = predicted(lambda x: sg.cumsum(x, 1), "float32")
    assert along > 5 * across
    divided = predicted(lambda x, y: x // y, "int32", count=2)
    assert divided > 10 * predicted(lambda x, y: x + y, "int32", count=2)


def test_a_product_is_the_unit():
    seconds = predicted(lambda x, y: x @ y, "float32", (100, 100), count=2)
    assert seconds == pytest.approx(2 * 100**3 / 1e9)
    wide = predicted(lambda x, y: x @ y, "float64", (100, 100), count=2)
    assert wide == pytest.approx(2 * seconds)


def test_threads_share_arithmetic_and_caches_but_less_of_memory():
    def one(machine, shape, threads):
        wake = 5e-6 if threads > 1 else 0.0
        return predicted(sg.exp, "float32", shape, machine, threads=threads) - wake

    assert one(COMPUTING, (1000, 1000), 4) == pytest.approx(one(COMPUTING, (1000, 1000), 1) / 4)
    small, large = (100, 100), (4000, 1000)
    assert one(MOVING, small, 2) == pytest.approx(one(MOVING, small, 1) / 2)
    assert one(MOVING, large, 8) == pytest.approx(one(MOVING, large, 1) / 1.5)


def test_explain_says_for_how_many_threads():
    x = sg.tensor("x", (2000, 1000), "float32")
    f = sg.function([x], sg.exp(x))
    f(np.ones((2000, 1000), "float32"))
    before = get_threads()
    try:
        sg.set_threads(2)
        assert "on 2 threads" in f.explain()
        sg.set_threads(1)
        assert "on one core" in f.explain()
    finally:
        sg.set_threads(before)
    g = sg.function([x], sg.exp(x), threads=1)
    g(np.ones((2000, 1000), "float32"))
    assert "on one core" in g.explain()


def test_costs_are_measured():
    assert 0 <= measure.seconds_per_element(o.exp, "float32", 1) < 1e-6
