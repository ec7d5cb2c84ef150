"""f.profile: kernels are counted and timed, and the reports can be read."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import numpy as np
import pytest

import symgraph as sg


def profiled():
    x = sg.matrix("x", dtype="float64")
    dear = sg.exp(sg.sin(x)).sum(1)
    y = sg.scan(lambda r, s: sg.tanh(s * 0.5 + r), dear, np.float64(0))
    return sg.function([x], [y, x.T @ x], profile=True)


def test_every_kernel_is_counted_and_timed(tmp_path):
    f = profiled()
    x = np.random.default_rng(0).normal(size=(300, 200))
    f(x)
    f.profile.reset()
    begin = time.perf_counter()
    for _ in range(20):
        f(x)
    wall = time.perf_counter() - begin
    rows = f.profile.rows()
    assert len(rows) >= 3 and {r.calls for r in rows} == {20}
    assert 0 < sum(r.seconds for r in rows) <= wall * 1.05
    table = f.profile.table()
    assert "share" in table and "loop" in f.profile.table("op")
    assert "dear = sg.exp(sg.sin(x)).sum(1)" in f.profile.table("line")
    with pytest.raises(ValueError, match="by must be"):
        f.profile.table("color")
    f.profile.to_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(events) == len([t for r in rows for t in r.walk()])
    assert all(e["dur"] >= 0 and e["ph"] == "X" for e in events)


def test_results_do_not_change_and_no_profile_says_so():
    f = profiled()
    x = np.random.default_rng(1).normal(size=(30, 20))
    plain = sg.function([v := sg.matrix("v", dtype="float64")], v.T @ v)
    np.testing.assert_array_equal(f(x)[1], plain(x))
    with pytest.raises(ValueError, match="profile=True"):
        plain.profile.table()
    assert "no profile" in repr(plain.profile)


def nested():
    """A scan of 30 steps: a product, a while loop of four steps, a choice every third step."""
    x, w = sg.matrix("x", dtype="float64"), sg.matrix("w", dtype="float64")

    def step(row, t, state):
        moved = sg.tanh(state @ w + row)
        halved = sg.while_loop(lambda a: a > 1.0, lambda a: a * 0.5, 15 + t / 100)
        chosen = sg.cond(
            sg.eq(t % 3, 0), lambda v: sg.sin(v).cumsum(), lambda v: sg.exp(v).cumsum(), moved
        )
        return chosen + halved

    rows = sg.scan(step, [x, sg.arange(30)], np.zeros(8))
    return [x, w], rows


def nested_arrays():
    r = np.random.default_rng(2)
    return r.normal(size=(30, 8)), 0.1 * r.normal(size=(8, 8))


def test_statements_of_a_loop_are_timed_inside_of_it():
    inputs, rows = nested()
    f = sg.function(inputs, rows, profile=True)
    f(*nested_arrays())
    f.profile.reset()
    for _ in range(5):
        f(*nested_arrays())
    (loop,) = [r for r in f.profile.rows() if r.inside]
    assert loop.calls == 5 and len(loop.inside) >= 3
    for timing in loop.walk():
        inside = sum(t.seconds for t in timing.inside)
        assert timing.seconds > 0 and inside <= timing.seconds * 1.01
        assert timing.own == pytest.approx(timing.seconds - inside, abs=1e-9)
    calls = {}
    for timing in loop.walk():
        for op in {n.op.name for n in timing.origin}:
            calls.setdefault(op, set()).add(timing.calls)
    assert 5 * 30 * 4 in calls["mul"]  # steps of the inner loop
    assert 5 * 10 in calls["cumsum"] and 5 * 20 in calls["cumsum"]  # sides of the branch


def test_table_counts_no_time_twice():
    inputs, rows = nested()
    f = sg.function(inputs, rows, profile=True)
    f(*nested_arrays())
    whole = sum(r.seconds for r in f.profile.rows())
    for by in ("kernel", "op", "line"):
        lines = f.profile.table(by).splitlines()[1:]
        assert sum(float(line.split()[1]) for line in lines) == pytest.approx(
            1e3 * whole, abs=1e-3 * len(lines)
        )
    assert "the loop itself" in f.profile.table()
    assert "lambda a: a * 0.5" in f.profile.table("line")
    assert "120 steps" in f.explain() and "30 steps" in f.explain()


def test_trace_has_one_event_a_statement_inside_of_its_loop(tmp_path):
    inputs, rows = nested()
    f = sg.function(inputs, rows, profile=True)
    for _ in range(3):
        f(*nested_arrays())
    f.profile.to_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    timings = [t for r in f.profile.rows() for t in r.walk()]
    assert [e["name"] for e in events] == [t.name for t in timings]
    at = next(k for k, t in enumerate(timings) if t.inside)
    loop, inner = events[at], events[at + 1 : at + len(list(timings[at].walk()))]
    end = (loop["ts"] + loop["dur"]) * 1.01
    assert inner and all(loop["ts"] <= e["ts"] and e["ts"] + e["dur"] <= end for e in inner)
    for now, following in pairwise(e for e in events if e not in inner):
        assert following["ts"] == pytest.approx(now["ts"] + now["dur"])


def test_a_profile_changes_no_bit_of_a_loop():
    inputs, rows = nested()
    timed, plain = (sg.function(inputs, rows, profile=p) for p in (True, False))
    np.testing.assert_array_equal(timed(*nested_arrays()), plain(*nested_arrays()))
    assert "readcyclecounter" in timed.explain("llvm")
    assert "readcyclecounter" not in plain.explain("llvm")


def test_checks_and_copies_are_told_from_the_values():
    x, i = sg.vector("x"), sg.lvector("i")
    f = sg.function([x, i], x[i], profile=True)
    f(np.ones(1000, "float32"), np.arange(500))
    ops = f.profile.table("op").split("\n")[1:]
    assert sorted(line.split("  ")[-1] for line in ops) == ["check of gather", "gather"]
    report = f.explain()
    assert "check of gather(x, i)" in report
    assert "2,000 bytes written" in report[report.index("k1 ") :]
