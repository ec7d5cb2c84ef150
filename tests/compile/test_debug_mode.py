"""Debug mode finds a planted wrong rule, a planted wrong lowering, and a planted wrong aliasing."""

import numpy as np
import pytest
import symgraph as sg
from symgraph.compile import pipeline
from symgraph.core.op import ops


def make():
    x = sg.matrix("x")
    w = sg.shared(np.random.default_rng(0).normal(size=(4, 3)).astype("float32"), "w")
    y = sg.tanh(x @ w)
    loss = sg.log(1 + sg.exp(y)).sum()
    return x, w, y, loss


def call(x, w, loss):
    step = w - np.float32(0.1) * sg.grad(loss, w)
    f = sg.function([x], loss, updates={w: step}, mode="debug")
    return f(np.ones((5, 4), "float32"))


def test_honest_function_passes():
    x, w, _, loss = make()
    for _ in range(3):
        call(x, w, loss)


def test_planted_rewrite_is_found(monkeypatch):
    x, w, _, loss = make()
    honest = pipeline.prepare

    def planted(outputs, numerics):
        return [o * 2 if o.ndim == 0 and o.dtype.is_float else o for o in honest(outputs, numerics)]

    monkeypatch.setattr(pipeline, "prepare", planted)
    with pytest.raises(sg.VerifyError, match="rewriting changed result 0"):
        call(x, w, loss)


def test_planted_lowering_is_found(monkeypatch):
    x, w, _, loss = make()
    op = type(ops["tanh"])
    monkeypatch.setattr(op, "scalar", staticmethod(lambda s, v: s.unary("tanh", v) + 0.01))
    with pytest.raises(sg.VerifyError, match="the loops of `.*tanh"):
        call(x, w, loss)


def test_planted_aliasing_is_found(monkeypatch):
    a = sg.shared(np.arange(1000, dtype="float32"), "a")
    f_updates = {a: a[::-1] + 1.0}
    monkeypatch.setattr(pipeline, "_in_place", lambda *args: True)
    f = sg.function([], None, updates=f_updates, mode="debug")
    with pytest.raises(sg.VerifyError, match="native code and NumPy disagree"):
        f()
