"""sg.fft against numpy.fft and torch: values, lengths, norms, axes, derivatives, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.node import new_input
from symgraph.testing.tolerances import mismatch

RNG = np.random.default_rng(0)
LENGTHS = (1, 2, 3, 8, 31, 32, 36, 37, 64, 100, 101, 256, 1000, 1024)
NORMS = (None, "backward", "ortho", "forward")


def values(*shape: int, dtype: str = "complex128") -> np.ndarray:
    if np.dtype(dtype).kind == "c":
        return (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype(dtype)
    return RNG.normal(size=shape).astype(dtype)


def check(name: str, a: np.ndarray, *args: Any, eps: float = 1e-13, **kwargs: Any) -> None:
    x = new_input(a.dtype, a.shape, "x")
    node = getattr(sg.fft, name)(x, *args, **kwargs)
    expected = getattr(np.fft, name)(a, *args, **kwargs)
    got = sg.function([x], node)(a)
    wrong = mismatch(got, np.asarray(expected), relative=eps)
    assert wrong is None, wrong


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("name", ["fft", "ifft", "hfft"])
def test_complex_arrays(name: str, n: int) -> None:
    if name != "hfft" or n > 1:
        check(name, values(3, n))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("name", ["rfft", "fft", "ihfft"])
def test_real_arrays(name: str, n: int) -> None:
    check(name, values(3, n, dtype="float64"))


@pytest.mark.parametrize("n", LENGTHS)
def test_inverse_of_real_transform(n: int) -> None:
    check("irfft", values(3, n // 2 + 1), n)


@pytest.mark.parametrize("dtype", ["complex64", "float32"])
@pytest.mark.parametrize("name", ["fft", "ifft"])
def test_single_precision_stays(name: str, dtype: str) -> None:
    check(name, values(4, 1000, dtype=dtype), eps=5e-7)
    assert sg.fft.rfft(new_input("float32", (8,))).dtype == "complex64"
    assert sg.fft.irfft(new_input("complex64", (5,))).dtype == "float32"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_norms_and_lengths(name: str, norm: Any) -> None:
    a = values(3, 12, dtype="float64" if name in ("rfft", "ihfft") else "complex128")
    for n in (None, 7, 16):
        for axis in (0, -1):
            check(name, a, n, axis, norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2",
                                  "irfft2"])  # fmt: skip
def test_several_axes(name: str, norm: Any) -> None:
    a = values(3, 4, 6, dtype="float64" if name.startswith("rfft") else "complex128")
    check(name, a, norm=norm)
    check(name, a, (5, 8), axes=(0, 2), norm=norm)
    if not name.endswith("2"):
        check(name, a, axes=(1,), norm=norm)


def test_there_and_back() -> None:
    z, a = new_input("complex128", (4, 48), "z"), values(4, 48)
    f = sg.function([z], sg.fft.ifft2(sg.fft.fft2(z)))
    assert np.abs(f(a) - a).max() < 1e-13


def test_convolution_theorem() -> None:
    x, y = (new_input("float64", (50,), k) for k in "xy")
    a, b = values(50, dtype="float64"), values(50, dtype="float64")
    product = sg.fft.irfft(sg.fft.rfft(x, 99) * sg.fft.rfft(y, 99), 99)
    assert np.abs(sg.function([x, y], product)(a, b) - np.convolve(a, b)).max() < 1e-12


def test_frequencies_and_shifts() -> None:
    for n in (8, 9):
        assert np.allclose(sg.fft.fftfreq(n, 0.5).eval(), np.fft.fftfreq(n, 0.5))
        assert np.allclose(sg.fft.rfftfreq(n, 0.5).eval(), np.fft.rfftfreq(n, 0.5))
    check("fftshift", values(5, 6))
    check("ifftshift", values(5, 6), axes=(1,))


@pytest.mark.torch
@pytest.mark.parametrize("name", ["fft", "rfft", "irfft", "ifft"])
def test_gradient_is_that_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    a = values(2, 20, dtype="float64" if name == "rfft" else "complex128")
    x = new_input(a.dtype, a.shape, "x")
    y = getattr(sg.fft, name)(x)
    weights = values(*y.type.shape, dtype=str(y.dtype))
    cost = sg.sum(sg.abs2(y * weights + 1))
    got = sg.function([x], sg.grad(cost, x))(a)
    t = torch.tensor(a, requires_grad=True)
    (getattr(torch.fft, name)(t) * torch.tensor(weights) + 1).abs().square().sum().backward()
    wrong = mismatch(got, t.grad.numpy(), relative=1e-12)
    assert wrong is None, wrong


def test_vmap() -> None:
    z, a = new_input("complex128", (5, 12), "z"), values(5, 12)
    got = sg.function([z], sg.vmap(sg.fft.fft)(z))(a)
    assert np.abs(got - np.fft.fft(a)).max() < 1e-12


def test_errors() -> None:
    z = new_input("complex128", (4,), "z")
    with pytest.raises(DTypeError, match="real array"):
        sg.fft.rfft(z)
    with pytest.raises(ShapeError, match="known length"):
        sg.fft.fft(sg.tensor("u", (None,), "complex128"))
    with pytest.raises(ValueError, match="norm"):
        sg.fft.fft(z, norm="half")
    with pytest.raises(ShapeError, match="lengths"):
        sg.fft.fftn(z, (4, 4), axes=(0,))
