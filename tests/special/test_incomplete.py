"""Incomplete gamma and beta functions at the edges of floats and for large parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import symgraph as sg

INF, NAN = np.inf, np.nan
LARGE = [1e300, 1e308, INF]
TINY = [5e-324, 1e-300, 1e-20]


def call(name: str, *columns: Any, mode: str = "native") -> Any:
    arrays = [np.asarray(c, "float64") for c in np.broadcast_arrays(*columns)]
    xs = [sg.vector(f"x{k}", dtype="float64") for k in range(len(arrays))]
    return sg.function(xs, getattr(sg.special, name)(*xs), mode=mode)(*arrays)


GAMMA = [  # a, x, P
    *[(a, x, 1.0) for a in TINY[:2] for x in (*TINY, 1.0, 1e300, INF)],
    *[(a, x, 0.0) for a in LARGE for x in (0.0, 1e-300, 1.0, 1e8, 1e299)],
    *[(a, x, 1.0) for a in (0.0, 1.0, 1e8, 1e299) for x in LARGE],
    (1e300, 1e300, 0.5), (1e300, 1e308, 1.0), (1e308, 1e300, 0.0), (1e308, 1e308, 0.5),
    (INF, 1e308, 0.0), (1e308, INF, 1.0), (INF, INF, NAN), (0.0, 0.0, NAN), (1.0, 0.0, 0.0),
    (0.0, 1e-300, 1.0), (-1.0, 1.0, NAN), (1.0, -1.0, NAN), (NAN, 1.0, NAN), (1.0, NAN, NAN),
    (INF, NAN, NAN), (1e100, 1e100, 0.5), (1e16, 1e16, 0.5 + 1.3298076013381091e-9),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["native", "eager"])
def test_edges_of_the_gamma_functions(mode: str) -> None:
    a, x, wanted = np.array(GAMMA).T
    np.testing.assert_allclose(call("gammainc", a, x, mode=mode), wanted, 1e-15, 1e-290)
    np.testing.assert_allclose(call("gammaincc", a, x, mode=mode), 1 - wanted, 1e-15, 1e-290)


BETA = [  # a, b, x, I
    *[(a, b, x, b / (a + b)) for a, b in ((1e-300, 1e-300), (1e-300, 3e-300), (5e-324, 5e-324))
      for x in (5e-324, 1e-20, 0.5, 0.999)],
    *[(5e-324, b, x, 1.0) for b in (1e-20, 1.0, 30.0, 1e300, INF) for x in (5e-324, 0.001, 0.9)],
    *[(0.0, b, x, float(x > 0)) for b in (5e-324, 1.0, 1e300, INF) for x in (0.0, 1e-20, 1.0)],
    *[(b, 0.0, x, float(x == 1)) for b in (5e-324, 1.0, 1e300, INF) for x in (0.0, 0.9, 1.0)],
    *[(a, b, x, 1.0) for a in (1e-300, 0.5, 30.0, 1e100) for b in LARGE for x in (1e-20, 0.9)],
    *[(b, a, x, 0.0) for a in (1e-300, 0.5, 30.0, 1e100) for b in LARGE for x in (1e-20, 0.9)],
    (1.0, 1e300, 1e-300, 1 - np.exp(-1)), (0.5, 1e300, 1e-300, 0.8427007929497149),
    (1.0, 1e308, 1e-308, 1 - np.exp(-1)), (1e300, 1e300, 0.5, 0.5), (1e308, 1e308, 0.499, 0.0),
    (1e308, 1e300, 0.999, 0.0), (1e300, 1e308, 1e-7, 1.0), (1e300, 1e308, 1e-9, 0.0),
    (INF, 1e308, 0.999, 0.0), (1e308, INF, 1e-300, 1.0), (1e308, INF, 0.0, 0.0),
    (INF, INF, 0.5, NAN), (0.0, 0.0, 0.5, NAN), (-1.0, 1.0, 0.5, NAN), (1.0, -1.0, 0.5, NAN),
    (1.0, 1.0, -0.1, NAN), (1.0, 1.0, 1.1, NAN), (NAN, 1.0, 0.5, NAN), (1.0, NAN, 0.5, NAN),
    (1.0, 1.0, NAN, NAN), (1e100, 1e100, 0.5, 0.5),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["native", "eager"])
def test_edges_of_the_beta_function(mode: str) -> None:
    a, b, x, wanted = np.array(BETA).T
    np.testing.assert_allclose(call("betainc", a, b, x, mode=mode), wanted, rtol=1e-12)


def lower(a: float, x: float) -> Any:
    """Return P(a, x) by its series, for x below a."""
    p, z = mp.mpf(a), mp.mpf(x)
    term, total, n = mp.mpf(1), mp.mpf(0), 0
    while n < 10 or term > total * mp.mpf(10) ** -30:
        total, n = total + term, n + 1
        term *= z / (p + n)
    return mp.exp(p * mp.log(z) - z - mp.loggamma(p + 1)) * total


def uniform(upper: bool) -> Callable[[float, float], Any]:
    """Return Temme's expansion to its first term, for a beyond 1e12."""

    def value(a: float, x: float) -> Any:
        p = mp.mpf(a)
        mu = (mp.mpf(x) - p) / p
        eta = mp.sign(mu) * mp.sqrt(2 * (mu - mp.log1p(mu)))
        rest = (1 / mu - 1 / eta) * mp.exp(-eta**2 * p / 2) / mp.sqrt(2 * mp.pi * p)
        sign = 1 if upper else -1
        return mp.erfc(sign * eta * mp.sqrt(p / 2)) / 2 + sign * rest

    return value


@pytest.mark.parametrize("size", [1e3, 1e5, 1e6])
def test_large_parameters_of_the_gamma_functions(size: float) -> None:
    x = size + np.array([-9, -5, -2, -1, -0.1]) * np.sqrt(size)
    with mp.workdps(60):
        wanted = [float(lower(size, v)) for v in x]
    np.testing.assert_allclose(call("gammainc", size, x), wanted, rtol=2e-14)


@pytest.mark.parametrize("size", [1e12, 1e14, 1e16, 1e20])
def test_huge_parameters_of_the_gamma_functions(size: float) -> None:
    x = size + np.array([-9, -5, -2, -1, 1, 2, 5, 9]) * np.sqrt(size)
    with mp.workdps(120):
        below, above = ([float(uniform(u)(size, float(v))) for v in x] for u in (False, True))
    np.testing.assert_allclose(call("gammainc", size, x), below, rtol=2e-14)
    np.testing.assert_allclose(call("gammaincc", size, x), above, rtol=2e-14)


def test_derivatives_of_large_parameters() -> None:
    a, x = (sg.vector(n, dtype="float64") for n in "ax")
    p = sg.gammainc(a, x)
    slope = sg.grad(p.sum(), a)
    size, step = 1e8, 20.0
    place = size + np.array([-3.0, 0.0, 2.0]) * 1e4
    f = sg.function([a, x], [p, slope])
    whole = np.full(3, size)
    moved = (f(whole + step, place)[0] - f(whole - step, place)[0]) / (2 * step)
    np.testing.assert_allclose(f(whole, place)[1], moved, rtol=2e-5)
