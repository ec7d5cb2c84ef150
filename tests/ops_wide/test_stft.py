"""Short-time Fourier transforms: inverses, errors, derivatives, and against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.errors import ShapeError
from symgraph.core.node import new_input

RNG = np.random.default_rng(12)
SIGNALS = RNG.normal(size=(3, 200))
HOW: dict[str, dict[str, Any]] = {
    "plain": {"n_fft": 16},
    "short window": {"n_fft": 16, "hop_length": 5, "win_length": 12},
    "odd, not centred": {"n_fft": 15, "hop_length": 6, "center": False, "normalized": True},
    "whole": {"n_fft": 16, "onesided": False, "pad_mode": "constant"},
    "repeated ends": {"n_fft": 16, "pad_mode": "replicate"},
    "around": {"n_fft": 16, "pad_mode": "circular"},
    "apart": {"n_fft": 20, "hop_length": 20},
    "hop beyond a half": {"n_fft": 16, "hop_length": 11, "center": False},
}


def window(how: dict[str, Any]) -> np.ndarray:
    return np.hanning(how.get("win_length", how["n_fft"]) + 2)[1:-1]


def back(how: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in how.items() if k != "pad_mode"}


@pytest.mark.torch
@pytest.mark.parametrize("case", sorted(HOW))
def test_against_torch(case: str) -> None:
    torch = pytest.importorskip("torch")
    how, w = HOW[case], window(HOW[case])
    x = new_input("float64", SIGNALS.shape, "x")
    z = sg.stft(x, window=w, **how)
    got = sg.function([x], z)(SIGNALS)
    options = {"window": torch.tensor(w), "return_complex": True}
    theirs = torch.stft(torch.tensor(SIGNALS), **how, **options)
    assert got.shape == z.type.shape
    np.testing.assert_allclose(got, theirs.numpy(), rtol=1e-10, atol=1e-12)
    for length in (None, 150, 230 if "win_length" not in how else 190):
        node = new_input("complex128", got.shape, "z")
        signal = sg.istft(node, window=w, length=length, **back(how))
        expected = torch.istft(theirs, window=torch.tensor(w), length=length, **back(how)).numpy()
        found = sg.function([node], signal)(got)
        assert found.shape == signal.type.shape
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", sorted(HOW))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_inverse_gives_the_signal_back(case: str, dtype: str) -> None:
    how, w = HOW[case], window(HOW[case]).astype(dtype)
    signals = SIGNALS.astype(dtype)
    x = new_input(dtype, SIGNALS.shape, "x")
    y = sg.istft(sg.stft(x, window=w, **how), window=w, **back(how))
    found = sg.function([x], y)(signals)
    assert found.dtype == signals.dtype
    n = found.shape[-1]
    assert n > 150
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(found, signals[:, :n], atol=tolerance)


def test_complex_signals() -> None:
    z = SIGNALS + 1j * RNG.normal(size=SIGNALS.shape)
    w = np.hanning(18)[1:-1]
    x = new_input("complex128", z.shape, "x")
    y = sg.fft.istft(sg.fft.stft(x, 16, window=w), 16, window=w, return_complex=True)
    found = sg.function([x], y)(z)
    np.testing.assert_allclose(found, z[:, : found.shape[-1]], atol=1e-12)
    with pytest.raises(ValueError, match="onesided"):
        sg.stft(x, 16, onesided=True)


def test_lengths_known_when_it_runs() -> None:
    x = sg.matrix("x", dtype="float64")
    f = sg.function([x], sg.stft(x, 16, 6, center=False), shapes="generic")
    one = sg.stft(new_input("float64", SIGNALS.shape, "x"), 16, 6, center=False)
    assert f(SIGNALS).shape == one.type.shape
    assert f(SIGNALS[:, :50]).shape == (3, 9, 6)
    np.testing.assert_allclose(f(SIGNALS)[..., 2], np.fft.rfft(SIGNALS[:, 12:28]), atol=1e-12)


def test_derivatives() -> None:
    """Of the power of the frames, by the signal and by the window, and once more."""
    x, w = new_input("float64", (40,), "x"), new_input("float64", (8,), "w")
    z = sg.stft(x, 8, 3, window=w)
    cost = (sg.abs2(z) * RNG.normal(size=z.type.shape)).sum()
    y = sg.istft(z, 8, 3, window=w)
    cost = cost + (sg.square(y) * RNG.normal(size=y.type.shape)).sum()
    gradients = sg.grad(cost, [x, w])
    u, v = new_input("float64", (40,), "u"), new_input("float64", (8,), "v")
    second = sg.Rop(gradients, [x, w], [u, v])
    f = sg.function([x, w, u, v], [sg.Rop(cost, [x, w], [u, v]), *gradients, *second])
    at, steps = [RNG.normal(size=40), 1 + RNG.random(8)], [RNG.normal(size=40), RNG.normal(size=8)]
    slope, *found = f(*at, *steps)
    h = 1e-5
    ends = [f(*(a + s * h * d for a, d in zip(at, steps, strict=True)), *steps) for s in (1, -1)]
    reverse = sum(float((g * d).sum()) for g, d in zip(found[:2], steps, strict=True))
    value = sg.function([x, w], cost)
    values = [value(*(a + s * h * d for a, d in zip(at, steps, strict=True))) for s in (1, -1)]
    assert abs(slope - reverse) < 1e-9 * (1 + abs(slope))
    assert abs((values[0] - values[1]) / (2 * h) - slope) < 1e-5 * (1 + abs(slope))
    for s, a, b in zip(found[2:], ends[0][1:3], ends[1][1:3], strict=True):
        np.testing.assert_allclose((a - b) / (2 * h), s, rtol=1e-5, atol=1e-4 * np.abs(s).max())


def test_errors() -> None:
    x = new_input("float64", (10,), "x")
    with pytest.raises(ShapeError, match="do not fit"):
        sg.stft(x, 16, center=False)
    with pytest.raises(ShapeError, match="win_length"):
        sg.stft(x, 8, win_length=6, window=np.ones(5))
    with pytest.raises(ValueError, match="hop_length"):
        sg.stft(x, 8, hop_length=0)
    z = new_input("complex128", (5, 4), "z")
    with pytest.raises(ShapeError, match="istft needs"):
        sg.istft(z, 16)
    with pytest.raises(ValueError, match="gaps"):
        sg.istft(z, 8, hop_length=9)
    with pytest.raises(ValueError, match="gaps"):
        sg.istft(z, 8, hop_length=2, window=np.hanning(8), center=False)
