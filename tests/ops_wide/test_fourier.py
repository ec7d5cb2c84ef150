"""Fourier transforms of pairs against numpy.fft: every kind of length, norms, derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.errors import ShapeError
from symgraph.core.node import new_input
from symgraph.ops.fourier import DIRECT, split

RNG = np.random.default_rng(0)
# direct, two factors, three, a prime of each kind, prime times small
LENGTHS = (1, 2, 5, DIRECT, 36, 48, 64, 100, 37, 101, 74, 1000, 1024)


def pairs(z: np.ndarray) -> np.ndarray:
    return np.stack([z.real, z.imag], -1)


def values(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


def run(f: Any, *arrays: np.ndarray) -> Any:
    inputs = [new_input(a.dtype, a.shape) for a in arrays]
    return sg.function(inputs, f(*inputs), on_unused_input="ignore")(*arrays)


def close(a: np.ndarray, b: np.ndarray, eps: float = 1e-13) -> None:
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= eps * (1 + np.abs(b).max())


@pytest.mark.parametrize("n", LENGTHS)
def test_complex(n: int) -> None:
    z = values(3, n)
    close(run(sg.fft_pair, pairs(z)), pairs(np.fft.fft(z)), 4e-15 * (4 + np.log2(n)))
    close(run(sg.ifft_pair, pairs(z)), pairs(np.fft.ifft(z)))
    back = run(lambda x: sg.ifft_pair(sg.fft_pair(x)), pairs(z))
    close(back, pairs(z))


@pytest.mark.parametrize("n", LENGTHS)
def test_real(n: int) -> None:
    x = RNG.normal(size=(2, n))
    close(run(sg.rfft_pair, x), pairs(np.fft.rfft(x)))
    z = values(2, n // 2 + 1)
    close(run(lambda v: sg.irfft_pair(v, n), pairs(z)), np.fft.irfft(z, n))


def test_float32_is_accurate() -> None:
    z = values(4, 1000).astype(np.complex64)
    value = run(sg.fft_pair, pairs(z))
    assert value.dtype == np.float32
    close(value, pairs(np.fft.fft(z.astype(complex))), 5e-7)


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_norms_axes_and_lengths(norm: str) -> None:
    z, x = values(6, 5, 4), RNG.normal(size=(6, 5, 4))
    for n in (None, 4, 9):
        f = run(lambda v, n=n: sg.fft_pair(v, n, 0, norm), pairs(z))
        close(f, pairs(np.fft.fft(z, n, 0, norm)))
        f = run(lambda v, n=n: sg.ifft_pair(v, n, -2, norm), pairs(z))
        close(f, pairs(np.fft.ifft(z, n, -2, norm)))
        close(run(lambda v, n=n: sg.rfft_pair(v, n, 1, norm), x), pairs(np.fft.rfft(x, n, 1, norm)))
        close(
            run(lambda v, n=n: sg.irfft_pair(v, n, 1, norm), pairs(z)), np.fft.irfft(z, n, 1, norm)
        )


def test_several_axes() -> None:
    z, x = values(3, 6, 40), RNG.normal(size=(3, 6, 40))
    close(run(sg.fftn_pair, pairs(z)), pairs(np.fft.fftn(z)))
    close(run(sg.ifftn_pair, pairs(z)), pairs(np.fft.ifftn(z)))
    close(run(sg.fft2_pair, pairs(z)), pairs(np.fft.fft2(z)))
    close(run(sg.ifft2_pair, pairs(z)), pairs(np.fft.ifft2(z)))
    close(run(lambda v: sg.fftn_pair(v, (4, 8)), pairs(z)), pairs(np.fft.fftn(z, (4, 8), (1, 2))))
    close(run(sg.rfftn_pair, x), pairs(np.fft.rfftn(x)))
    close(run(lambda v: sg.rfftn_pair(v, None, (0, 1)), x), pairs(np.fft.rfftn(x, None, (0, 1))))
    back = run(lambda v: sg.irfftn_pair(sg.rfftn_pair(v), (3, 6, 40)), x)
    close(back, x)


def test_frequencies_and_shifts() -> None:
    for n in (7, 8):
        assert np.array_equal(sg.fftfreq(n, 0.5).eval(), np.fft.fftfreq(n, 0.5))
        assert np.array_equal(sg.rfftfreq(n, 2.0).eval(), np.fft.rfftfreq(n, 2.0))
        x = RNG.normal(size=(n, 5))
        assert np.array_equal(run(sg.fftshift, x), np.fft.fftshift(x))
        assert np.array_equal(run(lambda v: sg.ifftshift(v, 0), x), np.fft.ifftshift(x, 0))


@pytest.mark.parametrize("n", [6, 48, 37])
def test_derivative_is_the_transpose(n: int) -> None:
    """The reverse mode of a linear map has the matrix transposed; the second derivative is 0."""
    x = new_input("float64", (n, 2))
    jacobian = run(
        lambda v: sg.jacobian(sg.reshape(sg.fft_pair(v), (-1,)), v), RNG.normal(size=(n, 2))
    )
    matrix = np.stack([pairs(np.fft.fft(e)).ravel() for e in np.eye(n)], -1)
    close(jacobian.reshape(2 * n, n, 2)[..., 0], matrix, 1e-12)
    u = new_input("float64", (n, 2))
    forward = sg.Rop(sg.fft_pair(x), x, u)
    a, b = RNG.normal(size=(2, n, 2))
    value = sg.function([x, u], forward, on_unused_input="ignore")(a, b)
    close(value, run(sg.fft_pair, b), 1e-12)


def test_batching() -> None:
    z = values(3, 5, 40)
    close(run(sg.vmap(sg.fft_pair), pairs(z)), pairs(np.fft.fft(z)))
    columns = run(sg.vmap(sg.rfft_pair, in_axes=1), z.real)
    close(columns, pairs(np.fft.rfft(np.swapaxes(z.real, 0, 1))))


def test_splitting_of_lengths() -> None:
    assert split(1024) == 32 and split(100) == 10 and split(37) == 1 and split(74) == 2
    for n in range(DIRECT + 1, 400):
        first = split(n)
        assert n % first == 0 and first <= DIRECT
        if first == 1:
            assert all(n % k for k in range(2, DIRECT + 1))


def test_errors() -> None:
    with pytest.raises(ShapeError, match="length 2"):
        sg.fft_pair(np.zeros(7))
    with pytest.raises(ShapeError, match="known length"):
        sg.fft_pair(sg.tensor("float64", shape=(None, 2)))
    with pytest.raises(ValueError, match="norm"):
        sg.rfft_pair(np.zeros(4), norm="unit")
    with pytest.raises(ShapeError, match="length n"):
        sg.irfft_pair(np.zeros((1, 2)))
