"""Versions for classes of sizes: few, visible, and never wrong."""

from __future__ import annotations

import re
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symgraph as sg
from symgraph.compile import classes, policy
from symgraph.compile.classes import size_class
from symgraph.core.errors import ShapeError
from symgraph.dims.dim import as_symbol, symbol

F32 = np.float32


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(F32)


def model(x: Any, w: Any, b: Any) -> Any:
    """Embed, attend over the length, run a recurrence over it: (batch, length, 5) to (batch,)."""
    h = sg.tanh(x @ w + b)
    weights = sg.softmax(h.sum(2), 1)
    mean = (weights[:, :, None] * h).sum(1)
    rows, start = sg.moveaxis(h, 1, 0), sg.zeros_like(mean)
    last = sg.scan(lambda row, s: sg.tanh(0.5 * s + row), rows, start)[-1]
    return (last * mean).sum(1) + (h - h.mean(1, keepdims=True)).max((1, 2))


def training(mode: str, rng: np.random.Generator, **options: Any) -> Any:
    """Return a function of (x, y) that takes a step of gradient descent, and its variables."""
    x, y = sg.tensor3("x"), sg.vector("y")
    w, b = sg.shared(normal(rng, 5, 6), "w"), sg.shared(normal(rng, 6), "b")
    out = model(x, w, b)
    loss = ((out - y) ** 2).mean()
    slopes = sg.grad(loss, [w, b])
    updates = {p: p - F32(0.01) * g for p, g in zip((w, b), slopes, strict=True)}
    return sg.function([x, y], [out, loss], updates=updates, mode=mode, **options), (w, b)


def test_fifty_sizes_compile_four_versions_and_are_never_wrong() -> None:
    rng = np.random.default_rng(0)
    f, mine = training("native", np.random.default_rng(1))
    reference, theirs = training("eager", np.random.default_rng(1))
    shapes = [(int(a), int(b)) for a, b in rng.integers(1, 40, (44, 2))]
    shapes[5:5] = [(1, 7), (1, 1), (9, 1), (12, 12), (1, 30), (2, 2)]
    assert len(shapes) == 50
    for batch, length in shapes:
        x, y = normal(rng, batch, length, 5), normal(rng, batch)
        for got, wanted in zip(f(x, y), reference(x, y), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-5)
        for p, q in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(p.get_value(), q.get_value(), rtol=2e-4, atol=2e-5)
            p.set_value(q.get_value())
    found = f.versions()
    assert len(found) <= 4 and {v["kind"] for v in found} <= {"exact", "class", "generic"}
    assert sum(v["calls"] for v in found) == 50


def test_empty_arrays_in_between() -> None:
    rng = np.random.default_rng(2)
    x = sg.matrix("x")
    value = [sg.softmax(x, 1), x.sum(0), sg.tanh(x @ x.T)]
    f, reference = sg.function([x], value), sg.function([x], value, mode="eager")
    for shape in [(3, 4), (0, 4), (5, 4), (0, 7), (7, 0), (0, 0), (6, 9), (1, 1), (0, 3), (8, 2)]:
        a = normal(rng, *shape)
        for got, wanted in zip(f(a), reference(a), strict=True):
            assert got.shape == wanted.shape and got.dtype == wanted.dtype
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert len([v for v in f.versions() if v["kind"] != "replay"]) <= 4


def test_parts_that_are_empty_for_some_sizes() -> None:
    x = sg.matrix("x")
    value = [x[3:] * 2, x[:, 3:].sum(1), (x[3:, 3:] + 1).sum(), sg.tanh(x[2:, :-2]).T]
    f = sg.function([x], value, shapes="generic")
    for m, n in [(9, 8), (3, 8), (4, 3), (2, 2), (1, 1), (1, 9), (9, 1), (700, 900)]:
        a = normal(np.random.default_rng(m), m, n)
        with np.errstate(all="ignore"):
            parts = [a[3:] * 2, a[:, 3:].sum(1), (a[3:, 3:] + 1).sum(), np.tanh(a[2:, :-2]).T]
        for got, want in zip(f(a), parts, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    assert len(f.versions()) <= 4


def test_a_product_of_one_row_has_a_version_of_its_own() -> None:
    """One row adds up in another order than many: the bits of a class are those of exact code."""
    x, w = sg.matrices("x", "w")
    f, exact = (sg.function([x, w], x @ w.T, shapes=s) for s in ("auto", "exact"))
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((40, 64)).astype(F32)
    for batch in (5, 9, 13, 1, 2, 1, 30, 1):
        rows = rng.standard_normal((batch, 64)).astype(F32)
        np.testing.assert_array_equal(f(rows, weights), exact(rows, weights))
    assert [v["kind"] for v in f.versions()] == ["exact", "exact", "class", "exact"]


def test_what_never_changed_stays_constant() -> None:
    x, w = sg.matrices("x", "w")
    f = sg.function([x, w], sg.tanh(x @ w))
    weights = np.ones((7, 3), F32)
    for batch in (4, 9, 13, 2, 30, 31):
        assert f(np.ones((batch, 7), F32), weights).shape == (batch, 3)
    kinds = [v["kind"] for v in f.versions()]
    assert kinds == ["exact", "exact", "class"]
    last = f.versions()[-1]
    assert last["facts"] == ["x.1 == 7", "w.0 == 7", "w.1 == 3", "x.0 >= 1 and <= 4032", "x.0 >= 2"]
    assert last["why"] == "third shape: x.0 is 13 after 4, 9"
    assert last["calls"] == 4 and last["seconds"] > 0
    f(np.ones((5, 8), F32), np.ones((8, 3), F32))
    assert f.versions()[-1]["kind"] == "generic"
    assert "x.1 is 8 after 7" in f.versions()[-1]["why"]
    assert "x.1 == w.0" in f.versions()[-1]["facts"]
    assert "third shape" in f.explain() and "run-time sizes: x.0" in f.explain()


def test_a_size_beyond_its_bound_makes_a_wider_class() -> None:
    x = sg.matrix("x")
    f = sg.function([x], [sg.softmax(x, 1), x.sum()])
    for n in (3, 5, 9, 4032, 4033, 32767, 32768, 100_000, 7):
        a = normal(np.random.default_rng(n), 2, n)
        soft, total = f(a)
        z = np.exp(a - a.max(1, keepdims=True))
        np.testing.assert_allclose(soft, z / z.sum(1, keepdims=True), rtol=2e-5, atol=1e-7)
        np.testing.assert_allclose(total, a.sum(dtype="f8"), rtol=1e-3, atol=1e-3)
    found = [v["facts"][1:] for v in f.versions() if v["kind"] == "class"]
    assert found == [["x.1 >= 1 and <= 4032"], ["x.1 >= 1 and <= 32767"], []]
    assert len(f.versions()) == 4


def test_broadcasting_patterns_each_cost_a_version_and_then_are_replayed() -> None:
    rng = np.random.default_rng(3)
    a, b = sg.matrices("a", "b")
    f = sg.function([a, b], a * b + 1)
    pairs = [((m, n), (p, q)) for m, n, p, q in rng.integers(1, 4, (200, 4))]
    good = [
        (s, t) for s, t in pairs if all(i == j or 1 in (i, j) for i, j in zip(s, t, strict=True))
    ]
    assert len(good) > 40
    for s, t in good:
        x, y = normal(rng, *s), normal(rng, *t)
        np.testing.assert_allclose(f(x, y), x * y + 1, rtol=1e-6)
    versions = [v for v in f.versions() if v["kind"] != "replay"]
    assert len(versions) == policy.MOST_LIVE
    assert f.versions()[-1]["kind"] == "replay" and f.versions()[-1]["calls"] > 0
    assert len(f.compiled.made) == policy.MOST_MADE


def test_replay_updates_and_writes_into_arrays() -> None:
    a, b = sg.matrices("a", "b")
    total = sg.shared(np.zeros((), F32))
    f = sg.function([a, b], a + b, updates={total: total + (a + b).sum()})
    f(np.ones((2, 2), F32), np.ones((2, 2), F32))
    f(np.ones((3, 2), F32), np.ones((3, 2), F32))
    assert total.get_value() == 20
    empty = np.zeros((0, 2), F32)
    assert f(empty, empty).shape == (0, 2)
    assert f.versions()[-1] == {
        "kind": "replay", "why": "empty arrays: nothing to compile for", "calls": 1,
    }  # fmt: skip
    out = np.zeros((0, 2), F32)
    x = sg.matrix("x")
    g = sg.function([x], x + 1)
    for n in (2, 3):
        g(np.ones((n, 2), F32))
    assert g.compiled.slow(empty, out=out) is out
    with pytest.raises(sg.ShapeError, match=r"out\[0\] has shape \(1, 2\)"):
        g.compiled.slow(empty, out=np.zeros((1, 2), F32))


@pytest.mark.parametrize("shapes", ["auto", "generic"])
def test_a_clash_names_the_users_line(shapes: str) -> None:
    a, b = sg.vectors("a", "b")
    c = a * b  # the clash is here
    f = sg.function([a, b], c.sum(), shapes=shapes)
    for n in (2, 5, 7, 9):
        f(np.ones(n, F32), np.ones(n, F32))
    assert f.versions()[-1]["kind"] == "generic"
    with pytest.raises(sg.ShapeError) as info:
        f(np.ones(6, F32), np.ones(4, F32))
    text = str(info.value) + "".join(info.value.__notes__)
    assert "axis 0 has length 6 in `a` and 4 in `b`" in text
    assert re.search(r"made at .*test_shape_classes\.py:\d+", text)
    assert f(np.ones(6, F32), np.ones(6, F32)) == 6


def test_calls_that_fail_leave_no_trace() -> None:
    a, b = sg.vectors("a", "b")
    f = sg.function([a, b], a + b[:3])
    for n in (7, 8, 9, 10_000):
        with pytest.raises(sg.ShapeError):
            f(np.ones(n, F32), np.ones(3, F32))
    for n in (5, 6, 7):
        f(np.ones(3, F32), np.ones(n, F32))
    assert f.versions()[-1]["facts"][:1] == ["a.0 == 3"]
    assert f.versions()[-1]["why"] == "third shape: b.0 is 7 after 5, 6"


def test_history_keeps_the_first_and_the_last_values() -> None:
    atom = as_symbol(symbol("n"))
    assert atom is not None
    history = policy.History()
    for n in (4, 9, 4, 2, 30, 8):
        history = history.with_call({atom: n})
    assert history.values[atom] == [4, 30, 8] and history.largest[atom] == 30
    assert history.describe([atom], {atom: 8}) == "n is 8 after 4, 30"


def test_sizes_that_are_computed_become_conditions() -> None:
    a, b = sg.vectors("a", "b")
    f = sg.function([a, b], sg.concatenate([a, a]) * b, shapes="generic")
    for n in (2, 3, 5, 40):
        np.testing.assert_array_equal(f(np.ones(n, F32), np.arange(2 * n, dtype=F32)),
                                      np.arange(2 * n, dtype=F32))
    (version,) = f.versions()
    assert version["kind"] == "generic" and "2*a.0 == b.0" in version["facts"]
    with pytest.raises(sg.ShapeError):
        f(np.ones(3, F32), np.ones(7, F32))


def test_sizes_from_values() -> None:
    n, x = sg.lscalar("n"), sg.matrix("x")
    f = sg.function([n, x], sg.arange(n) + x.sum())
    for k, rows in [(3, 4), (5, 6), (9, 2), (1, 3), (12, 1), (2, 2)]:
        np.testing.assert_array_equal(f(k, np.ones((rows, 2), F32)), np.arange(k) + 2 * rows)
    assert len(f.versions()) <= 4


# -- facts that users state ------------------------------------------------------------------------
def test_facts_of_a_dim_are_checked_at_every_call() -> None:
    batch = sg.Dim("batch", multiple_of=8, low=1, high=64)
    x, y = sg.tensor("x", (batch, 3)), sg.tensor("y", (batch,))
    f = sg.function([x, y], x * y[:, None])
    for n in (8, 16, 24, 64, 32):
        assert f(np.ones((n, 3), F32), np.full(n, 2, F32)).sum() == 6 * n
    assert [v["kind"] for v in f.versions()] == ["exact", "exact", "generic"]
    assert "batch >= 8 and % 8 == 0 and <= 64" in f.versions()[-1]["facts"]
    message = "axis 0 of `x` has length {}, but `batch` is a multiple of 8 and at least 8 and"
    for n in (7, 0, 72):
        with pytest.raises(sg.ShapeError, match=re.escape(message.format(n))):
            f(np.ones((n, 3), F32), np.ones(n, F32))
    with pytest.raises(sg.ShapeError, match=r"(?s)both are `batch`.*test_shape_classes"):
        f(np.ones((8, 3), F32), np.ones(16, F32))


def test_a_dim_that_no_size_satisfies_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3, at most 7 and a multiple of 8"):
        sg.Dim("n", multiple_of=8, low=3, high=7)
    with pytest.raises(ValueError, match="multiple_of"):
        sg.Dim("n", multiple_of=0)
    with pytest.raises(TypeError, match="name"):
        sg.Dim(3)  # type: ignore[arg-type]
    with pytest.raises(sg.ShapeError, match="computed"):
        sg.tensor("x", (sg.Dim("n") + 1,))


def test_a_planted_wrong_condition_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above would see a class that forgets what the graph needs."""
    found = (AssertionError, ShapeError, ValueError, pytest.fail.Exception)
    monkeypatch.setattr(classes, "_needed", lambda *a: ({}, []))
    with sg.config.override(plans=False):  # the class is in the plan
        with pytest.raises(found):
            test_a_clash_names_the_users_line("generic")
        with pytest.raises(found):
            test_sizes_that_are_computed_become_conditions()


# -- the parts -------------------------------------------------------------------------------------
def test_class_of_a_graph() -> None:
    x, y = sg.matrices("x", "y")
    atoms = [as_symbol(n) for v in (x, y) for n in v.type.shape]
    found = size_class([x + y], dict(zip(atoms, (5, 3, 5, 1), strict=True)), atoms)
    assert found.kind == "generic"
    bounds = ["x.0 >= 1 and <= 4032", "x.1 >= 1 and <= 4032"]
    assert found.describe() == ["y.1 == 1", "x.0 == y.0", *bounds]
    assert size_class([x + y], dict.fromkeys(atoms, 4), []).kind == "exact"
    with pytest.raises(sg.ShapeError):
        size_class([x + y], dict(zip(atoms, (5, 3, 4, 3), strict=True)), atoms)


def test_a_need_that_no_fact_can_say_makes_an_exact_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = sg.vector("x")
    atom = as_symbol(x.type.shape[0])
    assert atom is not None
    assert size_class([x], {atom: 4}, [atom]).kind == "generic"
    unknown = symbol("of no argument")
    monkeypatch.setattr(classes, "_needed", lambda v, s, stored: ({(s[atom], unknown): None}, []))
    assert size_class([x], {atom: 4}, [atom]).kind == "exact"


sizes = st.integers(1, 6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(sizes, sizes, st.booleans(), st.booleans()), min_size=5, max_size=12))
def test_any_order_of_sizes(calls: list[tuple[int, int, bool, bool]]) -> None:
    x, y = sg.matrices("x", "y")
    value = [sg.softmax(x - y, 1), (x * y).sum(0), sg.grad(((x - y) ** 2).sum(), y)]
    f = sg.function([x, y], value)
    rng = np.random.default_rng(4)
    for m, n, first, second in calls:
        a, b = normal(rng, m, n), normal(rng, 1 if first else m, 1 if second else n)
        z = np.exp(a - b - (a - b).max(1, keepdims=True))
        slope = -2 * (a - b)
        for axis in (0, 1):
            if b.shape[axis] == 1:
                slope = slope.sum(axis, keepdims=True)
        wanted = [z / z.sum(1, keepdims=True), (a * b).sum(0), slope]
        for got, want in zip(f(a, b), wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert len(f.compiled.version_list) <= policy.MOST_LIVE


def test_threads_that_meet_new_sizes_at_once() -> None:
    x = sg.matrix("x")
    f = sg.function([x], [sg.softmax(x, 1), x.sum(0)])
    wrong: list[Any] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(30):
            a = normal(rng, *rng.integers(1, 30, 2))
            soft, total = f(a)
            good = soft.shape == a.shape and np.allclose(soft.sum(1), 1, atol=1e-5)
            if not good or not np.allclose(total, a.sum(0), atol=1e-4):
                wrong.append(a.shape)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and len(f.versions()) <= 4


def _clashing(x: Any, y: Any) -> dict[str, Any]:
    """Return values of which the clash of x and y shows in a size, before or without an op."""
    return {
        "a product by one": sg.ones_like(y) * x,
        "a choice that is known": sg.where(True, x, y),
        "a gradient": sg.grad((x * y).sum(), x),
        "a size": (x + y).shape[0] * 1,
        "repeated twice": sg.broadcast_to(sg.ones(4), x.shape) + y,
    }


@pytest.mark.parametrize("name", list(_clashing(*sg.vectors("x", "y"))))
@pytest.mark.parametrize("shapes", ["generic", "exact", "eager"])
def test_a_clash_names_the_line(name: str, shapes: str) -> None:
    x, y = sg.vectors("x", "y")
    value = _clashing(x, y)[name]
    state = sg.shared(np.float32(0))
    mode, kind = (shapes, "auto") if shapes == "eager" else (None, shapes)
    updates = {state: state + 1}
    f = sg.function([x, y], value, updates=updates, mode=mode, shapes=kind)
    for n in (4,) if name == "repeated twice" else (4, 5, 6):
        f(np.ones(n, F32), np.ones(n, F32))
    before = state.get_value()
    other = 5 if name == "repeated twice" else 4
    with pytest.raises(ShapeError) as caught:
        f(np.ones(5, F32), np.ones(other, F32))
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "test_shape_classes.py" in text and "4" in text and "5" in text
    assert state.get_value() == before


def test_repeats_and_products_with_vectors_are_the_loops_of_an_exact_version() -> None:
    x, v = sg.matrix("x"), sg.vector("v")
    rng = np.random.default_rng(5)
    a, b = normal(rng, 37, 129), normal(rng, 129)
    values = [sg.repeat(x, 2, axis=1), x @ v, x[:, ::-1] * 2]
    exact, generic = (sg.function([x, v], values, shapes=s) for s in ("exact", "generic"))
    for got, want in zip(generic(a, b), exact(a, b), strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(generic(a, b)[0], np.repeat(a, 2, 1))
    loops = generic.explain("loops")
    assert "//" not in loops and "%" not in loops and "gemm" not in loops


@pytest.mark.parametrize("dtype", ["bool", "int8", "float16", "int32", "float32", "complex128"])
def test_rows_read_backwards(dtype: str) -> None:
    x = sg.matrix("x", dtype=dtype)
    f = sg.function([x], [sg.eq(x[:, ::-1], x), x[::-1, ::-1][1:]], shapes="generic")
    rng = np.random.default_rng(6)
    for m, n in ((3, 2), (5, 17), (4, 33), (2, 129)):
        a = rng.integers(0, 2, (m, n)).astype(dtype)
        same, turned = f(a)
        np.testing.assert_array_equal(same, a[:, ::-1] == a)
        np.testing.assert_array_equal(turned, a[::-1, ::-1][1:])
