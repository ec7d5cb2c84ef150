"""f.profile: kernels are counted and timed, and the reports can be read."""

from __future__ import annotations

import json
import time

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
    assert len(events) == len(rows) and all(e["dur"] >= 0 and e["ph"] == "X" for e in events)


def test_results_do_not_change_and_no_profile_says_so():
    f = profiled()
    x = np.random.default_rng(1).normal(size=(30, 20))
    plain = sg.function([v := sg.matrix("v", dtype="float64")], v.T @ v)
    np.testing.assert_array_equal(f(x)[1], plain(x))
    with pytest.raises(ValueError, match="profile=True"):
        plain.profile.table()
    assert "no profile" in repr(plain.profile)
