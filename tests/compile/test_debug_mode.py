"""Debug mode finds a planted wrong rule, a planted wrong lowering, and a planted wrong aliasing."""

import threading

import numpy as np
import pytest

import symgraph as sg
from symgraph.compile import pipeline
from symgraph.core.op import ops


def make():
    x = sg.tensor("x", (None, 4))
    w = sg.shared(np.random.default_rng(0).normal(size=(4, 3)).astype("float32"), "w")
    y = sg.tanh(x @ w)
    loss = sg.log(1 + sg.exp(y)).sum()
    return x, w, y, loss


SHAPES = ["exact", "generic"]


def call(x, w, loss, shapes="exact"):
    step = w - np.float32(0.1) * sg.grad(loss, w)
    f = sg.function([x], loss, updates={w: step}, mode="debug", shapes=shapes)
    result = f(np.ones((5, 4), "float32"))
    assert f.versions()[0]["kind"] == shapes
    return result


@pytest.mark.parametrize("shapes", SHAPES)
def test_honest_function_passes(shapes):
    x, w, _, loss = make()
    for _ in range(3):
        call(x, w, loss, shapes)


def test_honest_generic_versions_of_other_graphs_pass():
    x, y = sg.matrices("x", "y")
    i, v = sg.lvector("i"), sg.vector("v")
    graphs = [
        (sg.softmax(x, 1) + x.mean(0), (x,)),
        (sg.concatenate([x[:, ::-1], x[1:] * 2], 0).T, (x,)),
        (sg.cumsum(x, 1) + sg.arange(x.shape[1]), (x,)),
        (x @ y - x.max(1, keepdims=True), (x, y)),
        (sg.grad((x[i] * v).sum(), x), (x, i, v)),
        (x.reshape((x.shape[1], x.shape[0])) * v[:, None], (x, v)),
    ]
    rng = np.random.default_rng(1)
    given = {
        x: rng.normal(size=(6, 6)).astype("float32"),
        y: rng.normal(size=(6, 6)).astype("float32"),
        i: np.array([0, 2, 2, -1]),
        v: rng.normal(size=6).astype("float32"),
    }
    for graph, inputs in graphs:
        f = sg.function(list(inputs), graph, mode="debug", shapes="generic")
        f(*(given[n] for n in inputs))
        assert f.versions()[0]["kind"] == "generic"


def test_planted_rewrite_is_found(monkeypatch):
    x, w, _, loss = make()
    honest = pipeline.prepare

    def planted(outputs, numerics):
        return [o * 2 if o.ndim == 0 and o.dtype.is_float else o for o in honest(outputs, numerics)]

    monkeypatch.setattr(pipeline, "prepare", planted)
    with pytest.raises(sg.VerifyError, match="rewriting changed result 0"):
        call(x, w, loss)


@pytest.mark.parametrize("shapes", SHAPES)
def test_planted_lowering_is_found(monkeypatch, shapes):
    x, w, _, loss = make()
    monkeypatch.setattr(ops["tanh"], "scalar", lambda s, v: s.unary("tanh", v) + 0.01)
    with pytest.raises(sg.VerifyError, match="the loops of `.*tanh"):
        call(x, w, loss, shapes)


def test_planted_aliasing_is_found(monkeypatch):
    a = sg.shared(np.arange(1000, dtype="float32"), "a")
    f_updates = {a: a[::-1] + 1.0}
    monkeypatch.setattr(pipeline, "updated_in_place", lambda *args: True)
    f = sg.function([], None, updates=f_updates, mode="debug")
    with pytest.raises(sg.VerifyError, match="native code and NumPy disagree"):
        f()


LOGITS = np.array([-1000.0, -40, 0, 40, 1000])
STABLE = {
    "sigmoid": lambda z: sg.log(sg.sigmoid(z)),
    "softplus": lambda z: sg.log(1 + sg.exp(z)),
    "softmax": lambda z: sg.log(sg.softmax(z)),
    "exponentials": lambda z: sg.log(sg.exp(z).sum()) - z,
}


@pytest.mark.parametrize("name", STABLE)
def test_stable_rewrites_may_be_finite_where_the_graph_overflows(name):
    z = sg.dvector("z")
    value = STABLE[name](z)
    f = sg.function([z], [value, sg.grad(value.sum(), z)], mode="debug")
    assert all(np.isfinite(v).all() for v in f(LOGITS))


def test_other_rewrites_may_not(monkeypatch):
    z = sg.dvector("z")
    honest = pipeline.prepare

    def planted(outputs, numerics):
        return [sg.minimum(sg.maximum(v, -5.0), 5.0) for v in honest(outputs, numerics)]

    monkeypatch.setattr(pipeline, "prepare", planted)
    f = sg.function([z], z / (z - z), mode="debug")
    with pytest.raises(sg.VerifyError, match="rewriting changed result 0"):
        f(LOGITS + 1)


def test_scatter_at_maxima():
    x = sg.dmatrix("x")
    f = sg.function([x], x[sg.arange(x.shape[0]), sg.argmax(x, 1)].inc(1.0), mode="debug")
    np.testing.assert_array_equal(f(np.eye(3, 4)), 2 * np.eye(3, 4))


def test_threads_that_update_one_variable_are_no_disagreement():
    w = sg.shared(np.zeros(1000, "float32"))
    f = sg.function([], w.sum(), updates={w: w + 1}, mode="debug")
    g = sg.function([], None, updates={w: w + 1}, mode="debug")
    found = []

    def run(function):
        try:
            for _ in range(20):
                function()
        except sg.VerifyError as error:
            found.append(error)

    threads = [threading.Thread(target=run, args=(h,)) for h in (f, f, g, g)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not found and (w.get_value() == 80).all()


def test_loops_without_turns_read_nothing():
    x = sg.tensor("x", (0, 0), "float64")
    outputs = [sg.det(x), *sg.linalg.schur(x), sg.linalg.funm(x, sg.exp)]
    found = sg.function([x], outputs, mode="debug")(np.zeros((0, 0)))
    assert found[0] == 1 and all(v.shape == (0, 0) for v in found[1:])
