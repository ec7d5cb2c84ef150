"""Special functions over their whole domain against mpmath, in units in the last place."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.special
from accuracy_rig import by_size, linear, native, points, worst

import symgraph as sg
from symgraph import special
from symgraph.core.op import ops

INF, NAN = math.inf, math.nan


# Where the stated ulp hold, of the value itself.
WHOLE = {
    "gammaln": [linear(1e-3, 12), by_size(1e-300, 1e300)],
    "gamma": [linear(1e-3, 12), linear(1, 171.6), linear(-170, 0), by_size(1e-300, 1)],
    "digamma": [linear(1e-3, 12), by_size(1e-300, 1e300)],
    "erfinv": [linear(-1, 1), by_size(1e-300, 1), lambda r: 1 - by_size(1e-15, 0.1)(r)],
    "erfcinv": [linear(0, 2), by_size(1e-300, 1)],
    "erfcx": [linear(-26, 26), linear(-1, 1), by_size(1e-3, 1e300)],
    "ndtr": [linear(-37, 9), linear(-2, 2)],
    "log_ndtr": [linear(-200, 37), linear(-2, 2)],
    "ndtri": [linear(0, 1), by_size(1e-300, 0.5)],
    "logit": [linear(0, 1), by_size(1e-300, 0.5)],
    "sinc": [linear(-10, 10), by_size(1e-300, 1e5)],
    "i0": [linear(-20, 20), linear(0, 713)],
    "i1": [linear(-20, 20), linear(0, 713), by_size(1e-300, 1)],
    "i0e": [linear(-20, 20), by_size(1e-3, 1e4)],
    "i1e": [linear(-20, 20), by_size(1e-3, 1e4)],
    "k0": [linear(0, 20), linear(0, 700), by_size(1e-300, 1)],
    "k1": [linear(0, 20), linear(0, 700), by_size(1e-300, 1)],
    "k0e": [linear(0, 20), by_size(1e-3, 1e4)],
    "k1e": [linear(0, 20), by_size(1e-3, 1e4)],
    "exp1": [linear(0, 3), linear(3, 700), by_size(1e-300, 1)],
    "expi": [
        linear(-20, 0), linear(-700, -1), linear(0.5, 12), linear(12, 715), by_size(1e-300, 0.3)
    ],
    "dawsn": [linear(-12, 12), by_size(1e-300, 1e300)],
    "sinint": [linear(-20, 20), by_size(1e-300, 1e6)],
    "fresnel_sin": [linear(-10, 10), by_size(1e-90, 1), by_size(10, 1e9)],
    "fresnel_cos": [linear(-10, 10), by_size(1e-300, 1), by_size(10, 1e9)],
}
# Functions with zeros: the ulp are those of the size beside the points.
ZEROS = {
    "gammaln": [(linear(-20, 0), np.ones_like)],
    "digamma": [(linear(-20, 0), np.ones_like)],
    "expi": [(linear(0.3, 0.5), lambda x: np.full_like(x, 0.03))],
    "cosint": [(draw, lambda x: np.minimum(1, 1 / x)) for draw in (linear(0, 20), by_size(1, 1e6))],
    **{
        n: [
            (draw, lambda x: np.sqrt(2 / np.pi / np.maximum(np.abs(x), 0.6)))
            for draw in (linear(1e-3, 8), linear(8, 50), by_size(50, 1e6))
        ]
        for n in ("j0", "j1", "y0", "y1")
    },
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(WHOLE))
def test_accuracy(name, dtype, full):
    for draw in WHOLE[name]:
        found = worst(name, dtype, None, points(dtype, draw, full))
        assert found[0] <= ops[name].ulp[dtype], found


def test_accuracy_between_poles():
    """log |Gamma| of negative x is a difference of two logarithms of that size."""
    rng = np.random.default_rng(13)
    near = [-n + s * np.exp(rng.uniform(-34, -1, 8)) for n in range(1, 60) for s in (1, -1)]
    size = lambda x: np.maximum(1, np.abs(scipy.special.gammaln(-x)))  # noqa: E731
    found = worst("gammaln", "float64", size, np.concatenate(near))
    assert found[0] <= ops["gammaln"].ulp["float64"], found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 7, 20, 50])
def test_accuracy_of_polygamma_falls_with_the_order(n, dtype):
    x = np.random.default_rng(14).uniform(0.5, 30, 60).astype(dtype)
    v = sg.vector("v", dtype=dtype)
    got = sg.function([v], sg.polygamma(n, v))(x).astype(np.longdouble)
    with mpmath.workdps(40):
        want = np.array([np.longdouble(mpmath.nstr(mpmath.polygamma(n, float(v)), 25)) for v in x])
    inside = np.abs(want) < np.finfo(dtype).max
    ulps = np.abs(got - want)[inside] / np.spacing(np.abs(want[inside]).astype(dtype))
    assert ulps.max() <= ops["polygamma"].ulp[dtype] + (n if dtype == "float64" else 0)


@pytest.mark.parametrize("name", ["gammainc", "gammaincc"])
def test_accuracy_of_incomplete_gamma_where_both_arguments_are_small(name):
    rng = np.random.default_rng(15)
    a, x = rng.uniform(0, 1.2, 150), rng.uniform(0.2, 3, 150)
    upper = name == "gammaincc"
    got = native(name, "float64", a, x).astype(np.longdouble)
    with mpmath.workdps(40):
        want = [mpmath.gammainc(p, z if upper else 0, mpmath.inf if upper else z, regularized=True)
                for p, z in zip(map(mpmath.mpf, a), map(mpmath.mpf, x), strict=True)]
        want = np.array([np.longdouble(mpmath.nstr(v, 25)) for v in want])
    ulps = np.abs(got - want) / np.spacing(want.astype(float))
    assert ulps.max() <= ops[name].ulp["float64"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(ZEROS))
def test_accuracy_beside_zeros(name, dtype, full):
    for draw, floor in ZEROS[name]:
        found = worst(name, dtype, floor, points(dtype, draw, full))
        assert found[0] <= ops[name].ulp[dtype], found


EDGES = {
    "gammaln": {0.0: INF, -1.0: INF, -7.0: INF, 1.0: 0.0, 2.0: 0.0, INF: INF, -INF: INF},
    "gamma": {0.0: INF, -1.0: NAN, -200.0: NAN, 1.0: 1.0, 5.0: 24.0, 172.0: INF,
              -180.5: 0.0, INF: INF, -INF: NAN},
    "digamma": {0.0: -INF, -3.0: NAN, INF: INF, -INF: NAN},
    "erfinv": {1.0: INF, -1.0: -INF, 1.5: NAN, -1.5: NAN, 0.0: 0.0},
    "erfcinv": {0.0: INF, 2.0: -INF, 1.0: 0.0, -0.1: NAN, 2.1: NAN},
    "erfcx": {INF: 0.0, -INF: INF, 0.0: 1.0, -30.0: INF},
    "ndtr": {INF: 1.0, -INF: 0.0, 0.0: 0.5, 50.0: 1.0, -50.0: 0.0},
    "log_ndtr": {INF: 0.0, -INF: -INF, -1e200: -INF},
    "ndtri": {0.0: -INF, 1.0: INF, 0.5: 0.0, -1.0: NAN, 2.0: NAN},
    "logit": {0.0: -INF, 1.0: INF, 0.5: 0.0, -1.0: NAN, 2.0: NAN},
    "sinc": {0.0: 1.0, INF: NAN, -INF: NAN, 3.0: 0.0},
    "i0": {0.0: 1.0, INF: INF, -INF: INF}, "i1": {0.0: 0.0, INF: INF, -INF: -INF},
    "i0e": {0.0: 1.0, INF: 0.0}, "i1e": {0.0: 0.0, -INF: 0.0},
    "k0": {0.0: INF, INF: 0.0, -1.0: NAN}, "k1": {0.0: INF, INF: 0.0, -1.0: NAN},
    "k0e": {0.0: INF, INF: 0.0, -1.0: NAN}, "k1e": {0.0: INF, INF: 0.0, -1.0: NAN},
    "j0": {0.0: 1.0, INF: 0.0, -INF: 0.0}, "j1": {0.0: 0.0, INF: 0.0, -INF: 0.0},
    "y0": {0.0: -INF, -1.0: NAN, INF: 0.0}, "y1": {0.0: -INF, -1.0: NAN, INF: 0.0},
}  # fmt: skip


@pytest.mark.parametrize("mode", ["native", "eager"])
@pytest.mark.parametrize("name", sorted(EDGES))
def test_edges(name, mode):
    x = sg.vector("x", dtype="float64")
    f = sg.function([x], getattr(sg, name)(x), **({"mode": "eager"} if mode == "eager" else {}))
    given = np.array([*EDGES[name], NAN])
    want = np.array([*EDGES[name].values(), NAN])
    np.testing.assert_allclose(f(given), want, rtol=2.5e-16, atol=0)


def test_sign_of_zero():
    zero = np.array([-0.0])
    assert native("gamma", "float64", zero) == -INF and native("digamma", "float64", zero) == INF
    for name in ("i1", "j1", "erfinv"):
        assert np.signbit(native(name, "float64", zero))


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_polygamma(n):
    rng = np.random.default_rng(0)
    for x in (rng.uniform(1e-3, 20, 100), by_size(1e-8, 1e8)(rng), rng.uniform(-6, 0, 60)):
        v = sg.vector("v", dtype="float64")
        got = sg.function([v], sg.polygamma(n, v))(x)
        with mpmath.workdps(30):
            want = np.array([float(mpmath.polygamma(n, float(t))) for t in x])
        size = np.maximum(np.abs(want), np.where(x < 0, 10.0**n, 0))
        assert (np.abs(got - want) <= 1e-13 * size).all()
    edge = sg.function([v], sg.polygamma(n, v))(np.array([0.0, INF, NAN]))
    assert edge[0] in (INF, -INF) and edge[1] == 0 and np.isnan(edge[2])


def test_beta_of_all_sizes():
    rng = np.random.default_rng(1)
    a, b = (np.exp(rng.uniform(-5, 12, 300)) for _ in range(2))
    with mpmath.workdps(50):
        pairs = [(mpmath.mpf(float(p)), mpmath.mpf(float(q))) for p, q in zip(a, b, strict=True)]
        logs = [mpmath.loggamma(p) + mpmath.loggamma(q) - mpmath.loggamma(p + q) for p, q in pairs]
        want, value = np.array([float(v) for v in logs]), [float(mpmath.exp(v)) for v in logs]
    got = native("betaln", "float64", a, b)
    assert (np.abs(got - want) <= 4e-15 * np.maximum(np.abs(want), 1)).all()
    got = native("beta", "float64", a, b)
    assert (np.abs(got - value) <= 1e-15 * (8 + np.abs(want)) * np.abs(value) + 1e-300).all()


def test_products_with_logarithms():
    x, y = np.array([0.0, 0.0, 0.0, 2.0, -1.0]), np.array([0.0, NAN, INF, 0.5, 3.0])
    for name in ("xlogy", "xlog1py"):
        np.testing.assert_allclose(
            native(name, "float64", x, y), getattr(scipy.special, name)(x, y), rtol=1e-15
        )


def series_of_p(a, x):
    """Return P(a, x) by its power series at 60 digits."""
    a, x = mpmath.mpf(a), mpmath.mpf(x)
    total = term = mpmath.mpf(1)
    k = 1
    while term > total * mpmath.mpf(10) ** -58:
        term *= x / (a + k)
        total += term
        k += 1
    return total * mpmath.exp(a * mpmath.log(x) - x - mpmath.loggamma(a + 1))


def gamma_pairs():
    rng = np.random.default_rng(2)
    a = np.exp(rng.uniform(math.log(1e-3), math.log(3e3), 120))
    x = a * np.exp(rng.normal(size=a.size) * 0.5)
    x[:50] = np.abs(a[:50] + 3 * np.sqrt(a[:50]) * rng.normal(size=50))
    return a, x


def test_incomplete_gamma():
    a, x = gamma_pairs()
    with mpmath.workdps(60):
        p = [series_of_p(*v) for v in zip(a, x, strict=True)]
        q = np.array([float(1 - v) for v in p])
        p = np.array([float(v) for v in p])
    for name, want, bad in (("gammainc", p, p < 0), ("gammaincc", q, (x < 1) & (a < 0.1))):
        got = native(name, "float64", a, x)
        usual = (want > 1e-50) & ~bad
        assert (np.abs(got - want) <= 3e-12 * want)[usual].all()
        assert (np.abs(got - want) <= 2e-13 + 3e-12 * want).all()


@pytest.mark.parametrize("upper", [False, True])
def test_incomplete_gamma_edges(upper):
    name = "gammaincc" if upper else "gammainc"
    a = np.array([0.0, 0, 1, 1, 2, -1, 1, INF, NAN, 1])
    x = np.array([0.0, 1, 0, INF, -1, 1, NAN, 1, 1, 1])
    got = native(name, "float64", a, x)
    want = np.array([NAN, 1, 0, 1, NAN, NAN, NAN, 0, NAN, 1 - math.exp(-1)])
    np.testing.assert_allclose(got, 1 - want if upper else want, rtol=1e-14)


def test_slope_of_incomplete_gamma_by_its_parameter():
    a, x = (v[::4] for v in gamma_pairs())
    p, z = sg.vector("p", dtype="float64"), sg.vector("z", dtype="float64")
    slope = sg.function([p, z], sg.grad(sg.gammainc(p, z).sum(), p))(a, x)
    with mpmath.workdps(60):
        h = mpmath.mpf(10) ** -15
        want = []
        for u, v in zip(a, x, strict=True):
            at = mpmath.mpf(float(u))
            ends = (series_of_p(at + at * h, v), series_of_p(at - at * h, v))
            want.append(float((ends[0] - ends[1]) / (2 * at * h)))
    want = np.array(want)
    np.testing.assert_allclose(slope, want, rtol=2e-11, atol=1e-14)


def test_incomplete_beta():
    rng = np.random.default_rng(3)
    a, b = (np.exp(rng.uniform(-4, 7, 400)) for _ in range(2))
    x = np.clip(rng.beta(a, b), 1e-250, 1 - 1e-16)
    x[:150] = rng.uniform(0, 1, 150)
    want = scipy.special.betainc(a, b, x)
    got = native("betainc", "float64", a, b, x)
    usual = want > 1e-50
    assert (np.abs(got - want) <= 2e-12 * want)[usual].all()
    edge = native(
        "betainc", "float64", np.array([1.0, 1, 0, 2, -1, 2]), np.array([2.0, 2, 2, 0, 1, 2]),
        np.array([0.0, 1, 0.5, 0.5, 0.5, 1.5]),
    )  # fmt: skip
    np.testing.assert_array_equal(edge, [0, 1, 1, 0, NAN, NAN])


def test_derivatives_at_removable_singularities():
    x = sg.vector("x", dtype="float64")
    at = np.array([0.0, 1e-3])
    for name, want in (("sinc", -(math.pi**2) / 3), ("j1", 0.0), ("i1", 0.0)):
        y = getattr(sg, name)(x)
        first = sg.grad(y.sum(), x)
        d1, d2 = sg.function([x], [first, sg.grad(first.sum(), x)])(at)
        assert abs(d1[0] - (0.0 if name == "sinc" else 0.5)) < 3e-16
        assert abs(d2[0] - want) < 1e-12 and np.isfinite(d2).all()


def test_module_of_special_functions():
    assert all(getattr(special, name) is getattr(sg, name) for name in special.__all__)


def test_slopes_of_incomplete_functions_at_the_ends():
    a, b, x = (sg.vector(n, dtype="float64") for n in "abx")
    shape, zero = np.array([0.5, 1.0, 2.0]), np.zeros(3)
    for f, sign in ((sg.gammainc, 1), (sg.gammaincc, -1)):
        slope = sg.function([a, x], sg.grad(f(a, x).sum(), x))(shape, zero)
        assert np.array_equal(slope, sign * np.array([INF, 1, 0]))
    slope = sg.function([a, b, x], sg.grad(sg.betainc(a, b, x).sum(), x))
    assert np.array_equal(slope(shape, zero + 3, zero), [INF, 3, 0])
    assert np.array_equal(slope(zero + 3, shape, zero + 1), [INF, 3, 0])
