"""Optimizers against their formulas written in NumPy; losses; the training loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
import symgraph_nn as nn

START = np.array([1.0, -2.0, 3.0])
SCALE = np.array([1.0, 3.0, 0.5])


def run(optimizer: nn.optim.Optimizer, steps: int, dtype: str = "float64") -> np.ndarray:
    """Return the parameter after some steps on sum(SCALE * p**2) / 2."""
    p = sg.shared(START.astype(dtype), name="p")
    loss = (SCALE.astype(dtype) * p**2).sum() / 2
    step = sg.function([], updates=optimizer(loss, {"p": p}))
    for _ in range(steps):
        step()
    return p.get_value()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_follows_its_formula(momentum: float, nesterov: bool) -> None:
    p, v = START.copy(), np.zeros(3)
    for _ in range(7):
        g = SCALE * p
        v = momentum * v + g
        p = p - 0.1 * (g + momentum * v if nesterov else v)
    np.testing.assert_allclose(run(nn.optim.sgd(0.1, momentum, nesterov), 7), p, rtol=1e-12)


def test_adam_follows_its_formula() -> None:
    p, m, v = START.copy(), np.zeros(3), np.zeros(3)
    for t in range(1, 8):
        g = SCALE * p
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        p = p - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(run(nn.optim.adam(0.1), 7), p, rtol=1e-10)


@pytest.mark.parametrize("make", [nn.optim.sgd, nn.optim.adam])
def test_rate_may_be_a_shared_scalar_that_changes(make: Any) -> None:
    rate = sg.shared(np.float32(0.0), name="rate")
    p = sg.shared(START.astype("float32"), name="p")
    step = sg.function([], updates=make(rate)((p**2).sum(), [p]))
    step()
    assert p.get_value().tolist() == START.tolist()
    rate.set_value(np.float32(0.1))
    step()
    assert (np.abs(p.get_value()) < np.abs(START)).all()
    assert len(step.versions()) == 1


@pytest.mark.parametrize("make", [nn.optim.sgd(0.1, 0.9), nn.optim.adam(0.1)])
def test_float32_parameters_stay_float32(make: nn.optim.Optimizer) -> None:
    assert run(make, 2, "float32").dtype == "float32"


def test_state_is_named_after_the_parameter() -> None:
    w = sg.shared(START, name="w")
    assert [s.name for s in nn.optim.sgd(0.1, 0.9)((w**2).sum(), [w])] == ["w.momentum", "w"]


def test_no_parameters_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one parameter"):
        nn.optim.sgd(0.1)(sg.shared(1.0) ** 2, [])


def test_losses_agree_with_numpy() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    targets = rng.random((6, 4))
    x, y, t = sg.dmatrix("x"), sg.lvector("y"), sg.dmatrix("t")
    rows = -np.log((np.exp(logits) / np.exp(logits).sum(1, keepdims=True))[np.arange(6), labels])
    for reduction, want in (("mean", rows.mean()), ("sum", rows.sum()), ("none", rows)):
        got = sg.function([x, y], nn.losses.cross_entropy(x, y, reduction))(logits, labels)
        np.testing.assert_allclose(got, want, rtol=1e-12)
    s = 1 / (1 + np.exp(-logits))
    want = -(targets * np.log(s) + (1 - targets) * np.log(1 - s)).mean()
    got = sg.function([x, t], nn.losses.binary_cross_entropy(x, t))(logits, targets)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    got = sg.function([x, t], nn.losses.squared_error(x, t))(logits, targets)
    np.testing.assert_allclose(got, ((logits - targets) ** 2).mean(), rtol=1e-12)
    got = sg.function([x, y], nn.losses.accuracy(x, y))(logits, labels)
    assert got == pytest.approx((logits.argmax(1) == labels).mean())
    with pytest.raises(ValueError, match="reduction"):
        nn.losses.squared_error(x, t, "median")


def test_batches_are_disjoint_and_paired() -> None:
    a = np.arange(10)
    got = list(nn.batches((a, 10 * a), 3, np.random.default_rng(0)))
    assert len(got) == 3
    assert len({int(v) for rows, _ in got for v in rows}) == 9
    assert all((y == 10 * x).all() for x, y in got)
    assert [x.tolist() for x, _ in got] != [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize(("arrays", "size"), [((np.zeros(3), np.zeros(4)), 2), ((np.zeros(3),), 4)])
def test_batches_check_their_arguments(arrays: Any, size: int) -> None:
    with pytest.raises(ValueError, match="lengths|rows"):
        next(nn.batches(arrays, size, np.random.default_rng(0)))


def test_fit_reports_loss_and_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []

    def step(x: np.ndarray) -> float:
        seen.extend(x.tolist())
        return float(len(seen))

    h = nn.fit(
        step, (np.arange(4),), epochs=2, batch=2, evaluate=lambda: len(seen) / 8, progress=True
    )
    assert (h.loss, h.metrics, len(h.step_seconds)) == ([3.0, 7.0], [0.5, 1.0], 4)
    assert "training" in capsys.readouterr().err


def test_fit_stops_when_the_loss_is_not_finite() -> None:
    with pytest.raises(FloatingPointError, match="epoch 0"):
        nn.fit(lambda x: np.nan, (np.arange(4),), epochs=2, batch=2)


def test_predict_joins_pieces() -> None:
    assert nn.predict(lambda x: 2 * x, np.arange(7), batch=3).tolist() == list(range(0, 14, 2))
