"""Functions that are made of others take complex numbers as NumPy does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

import symgraph as sg

RNG = np.random.default_rng(5)


def numbers(*shape, scale=1.0):
    return scale * (RNG.normal(size=shape) + 1j * RNG.normal(size=shape))


CASES = {
    "cov": (sg.cov, np.cov, numbers(3, 9)),
    "cov of columns": (lambda z: sg.cov(z, rowvar=False), lambda z: np.cov(z, rowvar=False),
                       numbers(9, 2)),
    "corrcoef": (sg.corrcoef, np.corrcoef, numbers(4, 9)),
    "gradient": (sg.gradient, np.gradient, numbers(7)),
    "gradient of order 2": (lambda z: sg.gradient(z, 0.5, axis=1, edge_order=2),
                            lambda z: np.gradient(z, 0.5, axis=1, edge_order=2), numbers(3, 6)),
    "trapezoid": (sg.trapezoid, np.trapezoid, numbers(3, 6)),
    "trapezoid along a path": (lambda z: sg.trapezoid(z[0], z[1]),
                               lambda z: np.trapezoid(z[0], z[1]), numbers(2, 9)),
    "linspace": (lambda z: sg.linspace(z[0], z[1], 7, dtype="complex128"),
                 lambda z: np.linspace(z[0], z[1], 7), numbers(2)),
    "float_power": (lambda z: sg.float_power(z, 1.5), lambda z: np.float_power(z, 1.5),
                    numbers(8)),
    "sinc": (sg.sinc, np.sinc, np.append(numbers(40, scale=0.5), [0, 1e-9, 0.5, 3, 2j])),
    "sigmoid": (sg.sigmoid, lambda z: 0.5 + 0.5 * np.tanh(z / 2), numbers(40, scale=3)),
    "logaddexp": (lambda z: sg.logaddexp(z[0], z[1]),
                  lambda z: np.log(np.exp(z[0]) + np.exp(z[1])), numbers(2, 30) * 0.5),
    "logsumexp": (lambda z: sg.logsumexp(z, 1), lambda z: logsumexp(z, 1), numbers(4, 9)),
    "logsumexp kept": (lambda z: sg.logsumexp(z, (0, 1), keepdims=True),
                       lambda z: logsumexp(z, (0, 1), keepdims=True), numbers(4, 9)),
    "logcumsumexp": (lambda z: sg.exp(sg.logcumsumexp(z, 0)),
                     lambda z: np.cumsum(np.exp(z), 0), numbers(9, 3)),
    "convolve": (lambda z: sg.convolve(z[0], z[1, :5]),
                 lambda z: np.convolve(z[0], z[1, :5]), numbers(2, 12)),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["native", "eager"])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_numpy(name, dtype, mode):
    ours, theirs, z = CASES[name]
    z = z.astype(dtype)
    x = sg.tensor("x", z.shape if name == "convolve" else (None,) * z.ndim, dtype)
    found = sg.function([x], ours(x), mode=mode)(z)
    loose = 1e-4 if dtype == "complex64" else 1e-11
    np.testing.assert_allclose(found, theirs(z.astype("complex128")), rtol=loose, atol=loose)


def test_what_overflows_in_the_formula_does_not_here():
    z = np.array([800 + 1j, -800 + 2j, 0j, 900 - 3j])
    x = sg.vector("x", dtype="complex128")
    f = sg.function([x], [sg.sigmoid(x), sg.logsumexp(x), sg.logaddexp(x, -x)])
    sigmoid, total, pair = f(z)
    np.testing.assert_allclose(sigmoid, [1, 0, 0.5, 1], atol=1e-300)
    np.testing.assert_allclose(total, 900 - 3j)
    np.testing.assert_allclose(pair, [800 + 1j, 800 - 2j, np.log(2), 900 - 3j])


def test_logaddexp_of_equal_numbers_has_its_derivative():
    x = sg.vector("x", dtype="complex128")
    slope = sg.function([x], sg.grad(sg.real(sg.logaddexp(x, x[::-1])).sum(), x))
    np.testing.assert_allclose(slope(np.array([2 + 1j, 2 + 1j])), [1, 1])
    minus = sg.function([x], sg.logaddexp(x, x))
    assert minus(np.array([-np.inf + 0j]))[0].real == -np.inf


def test_second_derivative_of_sinc_at_zero():
    x = sg.vector("x", dtype="complex128")
    slope = sg.grad(sg.real(sg.sinc(x)).sum(), x)
    bent = sg.function([x], sg.grad(sg.real(slope).sum(), x))
    np.testing.assert_allclose(bent(np.zeros(2, complex)), [-np.pi**2 / 3] * 2)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_angle_of_real_numbers_has_their_precision(dtype):
    x = sg.vector("x", dtype=dtype)
    values = np.array([-2, 0, 3], dtype)
    found = sg.function([x], sg.angle(x))(values)
    assert found.dtype == (dtype if dtype != "int32" else "float32")
    np.testing.assert_array_equal(found, np.angle(values).astype(found.dtype))
