"""The kernel that transforms rows and columns in the cache: lengths, layouts, real transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.butterfly import passes, twiddles
from symgraph.cpu.kernels.dft import block, dft_kernel
from symgraph.ops.dft import kernel_radices

LENGTHS = (16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 60, 64, 96, 100, 128, 144, 240, 260, 512, 1000,
           1024, 2048, 4096, 16384)  # fmt: skip
LIMIT = {"complex64": 1e-6, "complex128": 2e-15, "float32": 1e-6, "float64": 2e-15}


def drawn(shape: Any, dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    if dtype.startswith("c"):
        x = x + 1j * rng.normal(size=shape)
    return np.asarray(x).astype(dtype)


def run(f: Any, *arrays: np.ndarray, **options: Any) -> Any:
    inputs = [sg.tensor(f"x{k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
    return sg.function(inputs, f(*inputs), on_unused_input="ignore", **options)(*arrays)


def near(value: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    assert value.shape == expected.shape
    assert np.abs(value - expected).max() <= 5 * LIMIT[dtype] * np.abs(expected).max()


def uses_kernel(f: Any, *shapes: Any, dtype: str = "complex128") -> int:
    """Return how many calls of the kernel a function has."""
    inputs = [sg.tensor(f"x{k}", s, dtype) for k, s in enumerate(shapes)]
    g = sg.function(inputs, f(*inputs))
    g(*(np.zeros(s, dtype) for s in shapes))
    return g.explain().count("dft_passes")


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("n", LENGTHS)
def test_rows(n: int, dtype: str) -> None:
    x = drawn((3, n), dtype)
    forward, back = run(lambda x: [sg.fft.fft(x), sg.fft.ifft(x)], x)
    near(forward, np.fft.fft(x.astype("complex128")), dtype)
    near(back, np.fft.ifft(x.astype("complex128")), dtype)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("n", [16, 20, 36, 64, 100, 1024, 2048])
@pytest.mark.parametrize("columns", [4, 5, 8, 13, 33])
def test_columns(n: int, columns: int, dtype: str) -> None:
    x = drawn((2, n, columns), dtype)
    value = run(lambda x: sg.fft.ifft(x, axis=1), x)
    near(value, np.fft.ifft(x.astype("complex128"), axis=1), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 7, 30, 34, 36, 62, 66, 32, 40, 64, 72, 200, 1000, 32768])
def test_real_rows(n: int, dtype: str) -> None:
    x = drawn((2, n), dtype)
    y = drawn((2, n // 2 + 1), "complex64" if dtype == "float32" else "complex128")
    forward, back = run(lambda x, y: [sg.fft.rfft(x), sg.fft.irfft(y, n)], x, y)
    near(forward, np.fft.rfft(x.astype("float64")), dtype)
    near(back, np.fft.irfft(y.astype("complex128"), n), dtype)


def test_kernel_is_used_without_copies() -> None:
    for f in (sg.fft.fft, sg.fft.ifft, lambda x: sg.fft.fft(x, axis=0)):
        inputs = [sg.tensor("x", (64, 64), "complex128")]
        g = sg.function(inputs, f(inputs[0]))
        g(np.zeros((64, 64), "complex128"))
        assert "kernels: 1 call" in g.explain() and "dft_passes" in g.explain()
    assert uses_kernel(sg.fft.fft2, (64, 64)) >= 2
    assert uses_kernel(sg.fft.fft, (4, 17)) == 0  # a prime
    assert uses_kernel(sg.fft.fft, (1 << 16,)) == 0  # longer than its scratch


def test_operands_that_are_views_or_computed() -> None:
    x = drawn((6, 5, 64), "complex128")
    found = run(
        lambda x: [
            sg.fft.fft(x[::2, 1:, ::-1]),
            sg.fft.fft(sg.conj(x) * x),
            sg.fft.fft(sg.transpose(x, (2, 0, 1)), axis=0),
            sg.fft.fft(x * 2.5, axis=-1) + 1,
            sg.fft.fft(sg.roll(x, 3, 0), n=100),
            sg.fft.fft(x, n=32, norm="ortho"),
            sg.fft.fftn(x, axes=(2, 0)),
        ],
        x,
    )
    expected = [
        np.fft.fft(x[::2, 1:, ::-1]), np.fft.fft(x.conj() * x),
        np.fft.fft(x.transpose(2, 0, 1), axis=0), np.fft.fft(x * 2.5) + 1,
        np.fft.fft(np.roll(x, 3, 0), n=100), np.fft.fft(x, n=32, norm="ortho"),
        np.fft.fftn(x, axes=(2, 0)),
    ]  # fmt: skip
    for value, other in zip(found, expected, strict=True):
        near(value, other, "complex128")


def test_ends_of_a_spectrum_are_real() -> None:
    y = drawn((3, 33), "complex128")
    z = y.copy()
    z[:, [0, -1]] = z[:, [0, -1]].real
    assert np.array_equal(run(sg.fft.irfft, y), run(sg.fft.irfft, z))


def test_infinities_stay_in_their_row_and_column() -> None:
    x = drawn((4, 64), "complex128")
    x[1, 3] = np.nan
    value = run(sg.fft.fft, x)
    assert np.isnan(value[1]).all() and np.isfinite(value[[0, 2, 3]]).all()
    y = drawn((64, 6), "complex128") * [1, 1, np.nan, 1, 1, 1]
    value = run(lambda y: sg.fft.fft(y, axis=0), y)
    assert np.isnan(value[:, 2]).all() and np.isfinite(np.delete(value, 2, 1)).all()


def test_lengths_of_batches_that_vary_and_loops_and_vmap() -> None:
    x = sg.tensor("x", (None, 64), "complex128")
    f = sg.function([x], [sg.fft.fft(x), sg.vmap(sg.fft.ifft)(x)])
    for rows in (1, 5, 0, 7):
        a = drawn((rows, 64), "complex128", rows)
        one, two = f(a)
        assert np.allclose(one, np.fft.fft(a)) and np.allclose(two, np.fft.ifft(a))
    a = drawn((5, 64), "complex128")
    looped = run(
        lambda x: sg.scan(lambda row, s: sg.fft.fft(row + s * 0.01), sequences=x,
                          outputs_info=sg.zeros((64,), "complex128")), a
    )  # fmt: skip
    state = np.zeros(64, complex)
    for k in range(5):
        state = np.fft.fft(a[k] + state * 0.01)
        assert np.allclose(looped[k], state)


@pytest.mark.parametrize("mode", ["debug", "eager"])
def test_other_modes(mode: str) -> None:
    x, r = drawn((4, 64), "complex128"), drawn((4, 64), "float64")

    def build(x: Any, r: Any) -> list[Any]:
        return [sg.fft.fft2(x), sg.fft.rfft(r), sg.fft.irfft(x)]

    for value, other in zip(run(build, x, r, mode=mode), run(build, x, r), strict=True):
        near(value, other, "complex128")


def test_many_threads_give_the_same_bits() -> None:
    x = drawn((257, 256), "complex128")
    one = run(sg.fft.fft2, x, threads=1)
    assert np.array_equal(one, run(sg.fft.fft2, x, threads=2))


@pytest.mark.parametrize("n", [64, 100, 37, 40])
def test_derivatives(n: int) -> None:
    """Adjoints of both real transforms, first and second order, against inner products."""
    x, u = drawn((2, n), "float64"), drawn((2, n), "float64", 1)
    m = n // 2 + 1
    g, y = drawn((2, m), "complex128", 2), drawn((2, m), "complex128", 3)

    def build(x: Any, y: Any) -> list[Any]:
        forward = sg.sum(sg.real(sg.fft.rfft(x) * g))
        back = sg.sum(sg.fft.irfft(y, n) * u)
        energy = sg.sum(sg.abs2(sg.fft.rfft(x)) ** 2)
        return [sg.grad(forward, x), sg.grad(back, y), sg.hvp(energy, x, u)]

    gx, gy, curved = run(build, x, y)
    assert np.allclose((gx * u).sum(), (np.fft.rfft(u) * g).sum().real)
    v = drawn((2, m), "complex128", 4)
    assert np.allclose((gy.conj() * v).real.sum(), (np.fft.irfft(v, n) * u).sum())
    step = 1e-5

    def slope(a: np.ndarray) -> np.ndarray:
        return np.asarray(run(lambda x: sg.grad(sg.sum(sg.abs2(sg.fft.rfft(x)) ** 2), x), a))

    ends = (slope(x + step * u) - slope(x - step * u)) / (2 * step)
    assert np.allclose(curved, ends, rtol=1e-6, atol=1e-6 * np.abs(ends).max())


def test_parts_of_the_kernel() -> None:
    assert kernel_radices(1024) == [4] * 5 and kernel_radices(2048) == [8, 4, 4, 4, 4]
    assert kernel_radices(60) == [4, 3, 5]
    assert passes(60, [4, 3, 5]) == [(4, 15, 1), (3, 5, 4), (5, 1, 12)]
    assert twiddles(16, [4, 4], -1).shape == (2 * 3 * 4,)
    assert block(1024, 1, 8) == 1 and block(1024, 100, 8) == 16 and block(2048, 6, 8) == 4
    assert "<8 x float>" in dft_kernel("float32", (-1, 1.0, (4, 4, 4), 1, False), 32)
