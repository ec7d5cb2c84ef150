"""The order of statements: what frees memory first, updates last, nothing before its checks."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.dtype import FLOAT32
from symgraph.dims.dim import symbol
from symgraph.loops import order
from symgraph.loops.expr import Buffer
from symgraph.loops.storage import reads, writes


def buffer(name: str, elements: int = 1 << 16, kind: str = "temporary") -> Buffer:
    return Buffer(name, FLOAT32, (elements,), kind)


def in_order(monkeypatch, accesses, updates=(), failing=()):
    monkeypatch.setattr(order, "can_fail", lambda s: s in failing)
    sets = [(set(r), set(w)) for r, w in accesses]
    return order.run_order(range(len(sets)), sets, updates)


def test_readers_that_free_a_temporary_together_come_first(monkeypatch):
    dz, dx, more = buffer("dz"), buffer("dx"), buffer("more")
    dw, db = buffer("dw", 10, "output"), buffer("db", 10, "output")
    accesses = [((), (dz,)), ((dz,), (dx,)), ((dx,), (more,)), ((dz,), (dw,)), ((dz,), (db,))]
    accesses.append(((more, dx), (buffer("end", 10, "output"),)))
    assert in_order(monkeypatch, accesses) == [0, 1, 3, 4, 2, 5]
    large = [((), (dz,)), ((dz,), (dx,)), ((dx,), (more,)), ((dz,), (buffer("new", 1 << 20),))]
    assert in_order(monkeypatch, large) == [0, 1, 2, 3]  # they would need more than they free
    near = {b: buffer(b.name, 100) for b in (dz, dx, more)}
    small = [[[near.get(b, b) for b in some] for some in pair] for pair in accesses]
    assert in_order(monkeypatch, small) == [0, 1, 2, 3, 4, 5]  # in a near cache anyway


def test_nothing_passes_a_check(monkeypatch):
    a, b, out = buffer("a"), buffer("b"), buffer("out", 10, "output")
    accesses = [((), (a,)), ((), (b,)), ((b,), ()), ((a,), (out,))]
    assert in_order(monkeypatch, accesses) == [0, 3, 1, 2]
    assert in_order(monkeypatch, accesses, failing=(2,)) == [0, 1, 2, 3]


def test_updates_come_behind_readers_of_the_old_value_and_checks(monkeypatch):
    old, new = buffer("old", kind="shared"), buffer("new")
    out = buffer("out", 10, "output")
    accesses = [((old,), (new,)), ((old,), (out,)), ((), ()), ((out,), (buffer("y"),))]
    assert in_order(monkeypatch, accesses, [(new, old)], failing=(2,)) == [1, 2, 3, 0]


def test_writes_stay_behind_reads_of_what_was_there(monkeypatch):
    t, x, y = buffer("t"), buffer("x"), buffer("y")
    accesses = [((), (t,)), ((t,), (x,)), ((), (t,)), ((t,), (y,)), ((x, y), ())]
    found = in_order(monkeypatch, accesses)
    assert found.index(1) < found.index(2) < found.index(3)


def test_sizes_that_mean_nothing_at_the_usual_numbers(monkeypatch):
    n = symbol("n")
    odd = Buffer("odd", FLOAT32, (n // (n - order.USUAL), 8), "temporary")
    assert in_order(monkeypatch, [((), (odd,)), ((odd,), ())]) == [0, 1]
    x, y = sg.matrix("x"), sg.vector("y")
    z = sg.exp(y.reshape((x[order.USUAL :].shape[0], -1))) @ sg.exp(x[order.USUAL :].T)
    f = sg.function([x, y], sg.sum(sg.exp(z) @ z), shapes="generic")
    wide, long = np.zeros((order.USUAL + 6, 4), "float32"), np.zeros(24, "float32")
    assert f(wide, long) > 0


@pytest.mark.parametrize("shapes", ["exact", "generic"])
def test_a_gradient_keeps_two_gradients_of_activations_at_a_time(shapes):
    x = sg.matrix("x")
    ws = [sg.tensor(f"w{k}", (64, 64), "float32") for k in range(12)]
    h = x
    for w in ws:
        h = sg.tanh(h @ w)
    f = sg.function([x, *ws], sg.grad((h * h).sum(), ws), shapes=shapes)
    rng = np.random.default_rng(0)
    f(rng.normal(size=(1024, 64)).astype("float32"), *(np.eye(64, dtype="float32"),) * 12)
    statements = f.compiled.version_list[0].stages.program.statements
    users: dict[Buffer, list[int]] = {}
    for k, s in enumerate(statements):
        for b in {*reads(s), *writes(s)}:
            if b.kind == "temporary":
                users.setdefault(b, []).append(k)
    most = max(sum(u[0] <= k <= u[-1] for u in users.values()) for k in range(len(statements)))
    assert most <= 12 + 3
