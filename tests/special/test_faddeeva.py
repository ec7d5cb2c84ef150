"""Faddeeva's function and Voigt profiles, against mpmath and SciPy."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.special

import symgraph as sg

RNG = np.random.default_rng(3)
SIZES = 10.0 ** RNG.uniform(-12, 3, (2, 60))
PLACES = {
    "square": RNG.uniform(-8, 8, 120) + 1j * RNG.uniform(0, 8, 120),
    "near the axis": RNG.uniform(-9, 9, 60) + 1j * 10.0 ** RNG.uniform(-40, -1, 60),
    "wide": (SIZES[0] + 1j * SIZES[1]),
    "below": RNG.uniform(-8, 8, 100) - 1j * RNG.uniform(0, 8, 100),
    "far": 10.0 ** RNG.uniform(5, 150, 20) + 1j * 10.0 ** RNG.uniform(5, 150, 20),
}


def exact(z):
    if abs(z) > 1e3:
        return 1j / (math.sqrt(math.pi) * z)
    with mpmath.workdps(40 + int(abs(z) ** 2 / 2) % 2000):
        c = mpmath.mpc(z)
        if z.imag > 30:  # one term of the continued fraction after the other
            w = c
            for k in range(60, 0, -1):
                w = c - mpmath.mpf(k) / 2 / w
            return complex(mpmath.j / (mpmath.sqrt(mpmath.pi) * w))
        return complex(mpmath.exp(-c * c) * mpmath.erfc(-mpmath.j * c))


def wofz(z, mode="native"):
    x = sg.vector("x", dtype=str(np.asarray(z).dtype))
    return sg.function([x], sg.special.wofz(x), mode=mode)(z)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("place", sorted(PLACES))
def test_error_is_16_units_of_the_larger_part(place, dtype):
    with np.errstate(over="ignore"):
        z = PLACES[place].astype(dtype)
    z = z[np.isfinite(z)]
    want = np.array([exact(complex(v)) for v in z])
    got = wofz(z)
    size = np.maximum(np.abs(want.real), np.abs(want.imag)).astype(z.real.dtype)
    keep = size > np.finfo(size.dtype).tiny
    parts = np.abs(got.real - want.real), np.abs(got.imag - want.imag)
    assert (np.maximum(*parts)[keep] <= 16 * np.spacing(size[keep])).all()


def test_wings_of_the_real_part_are_accurate_by_themselves():
    z = RNG.uniform(4, 9, 60) + 1j * 10.0 ** RNG.uniform(-40, -1, 60)
    np.testing.assert_allclose(wofz(z).real, [exact(v).real for v in z], rtol=1e-13)


def test_real_numbers():
    x = RNG.uniform(-6, 6, 50)
    got = wofz(x)
    np.testing.assert_allclose(got.real, np.exp(-(x**2)), rtol=1e-14)
    np.testing.assert_allclose(got.imag, 2 / np.sqrt(np.pi) * scipy.special.dawsn(x), rtol=1e-13)
    assert wofz(x.astype("float32")).dtype == "complex64"


@pytest.mark.parametrize("mode", ["native", "eager"])
def test_edges(mode):
    z = np.array([0, np.inf, -np.inf, complex(0, np.inf), complex(np.nan, 1), complex(-np.inf, 3),
                  complex(np.inf, -2), complex(1, np.nan), 1e300j, complex(1e200, -1e150),
                  -30j, complex(0, -np.inf)])
    np.testing.assert_allclose(wofz(z, mode), scipy.special.wofz(z), rtol=1e-15)
    assert wofz(np.zeros(0, complex), mode).shape == (0,)


def _differences(f, z, h=1e-4):
    return (8 * (f(z + h) - f(z - h)) - (f(z + 2 * h) - f(z - 2 * h))) / (12 * h)


@pytest.mark.parametrize("offset", [0, 9.5 + 3j, -60 - 2j, 40 + 60j, 5 - 5j])
def test_two_derivatives_in_both_modes(offset):
    z = offset + RNG.normal(size=6) + 1j * RNG.normal(size=6)
    x, t = (sg.vector(n, dtype="complex128") for n in "xt")
    w = sg.special.wofz(x)
    first = sg.jvp(w, x, t)
    second = sg.jvp(first, x, t)
    ones = np.ones(6, complex)
    slope, bend = sg.function([x, t], [first, second])(z, ones)
    wanted = 2j / np.sqrt(np.pi) - 2 * z * scipy.special.wofz(z)
    near = abs(offset) < 20
    if not near:  # the formula cancels there
        wanted = _differences(scipy.special.wofz, z, 1e-2)
    np.testing.assert_allclose(slope, wanted, rtol=1e-11 if near else 1e-5)
    h = 1e-3
    rate = sg.function([x, t], first)
    moved = _differences(lambda v: rate(v, ones), z, h)
    np.testing.assert_allclose(bend, moved, rtol=1e-7)
    back = sg.function([x], sg.grad(sg.real(w * (0.3 + 2j)).sum(), x))(z)
    np.testing.assert_allclose(back, np.conj(slope * (0.3 + 2j)), rtol=1e-12)


def test_far_derivatives_do_not_cancel():
    x = sg.vector("x", dtype="complex128")
    t = np.array([1e4 + 1e3j, 3e6 - 1j, 40j])
    slope = sg.function([x], sg.grad(sg.real(sg.special.wofz(x)).sum(), x))(t)
    want = -1j / (np.sqrt(np.pi) * t**2) * (1 + 1.5 / t**2 + 3.75 / t**4 + 105 / 8 / t**6)
    np.testing.assert_allclose(np.conj(slope), want, rtol=1e-9)


def test_voigt_profile_is_that_of_scipy():
    x = RNG.uniform(-20, 20, 80)
    sigma, gamma = 10.0 ** RNG.uniform(-3, 1, (2, 80))
    sigma[:5], gamma[3:9] = 0, 0
    x[3:5] = 2.0
    names = [sg.vector(n, dtype="float64") for n in "xsg"]
    f = sg.function(names, sg.special.voigt_profile(*names))
    np.testing.assert_allclose(f(x, sigma, gamma), scipy.special.voigt_profile(x, sigma, gamma),
                               rtol=1e-12)  # fmt: skip
    slopes = sg.function(names, sg.grad(sg.special.voigt_profile(*names).sum(), names))
    x, sigma, gamma = np.full(3, 0.7), np.array([0.5, 0.0, 0.8]), np.array([0.3, 0.4, 0.0])
    found = slopes(x, sigma, gamma)
    assert np.isfinite(found).all()
    h = 1e-5
    v = scipy.special.voigt_profile
    np.testing.assert_allclose(found[0], (v(x + h, sigma, gamma) - v(x - h, sigma, gamma)) / 2 / h,
                               rtol=1e-8)  # fmt: skip


def test_batches_by_vmap():
    z = RNG.normal(size=(3, 4)) + 1j * RNG.normal(size=(3, 4))
    x = sg.matrix("x", dtype="complex128")
    got = sg.function([x], sg.vmap(sg.special.wofz)(x))(z)
    np.testing.assert_allclose(got, scipy.special.wofz(z), rtol=1e-12)
