"""Special functions of several arguments or of an order: accuracy, edges, derivatives."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.special
from accuracy_rig import native, worst

import symgraph as sg
from symgraph.core.op import ops

INF, NAN = math.inf, math.nan


def exponential_integral(n, x):
    """Return E_n(x) by its recurrence from E1, with digits enough for what it loses."""
    with mpmath.workdps(50 + int(x / 2)):
        decay, value = mpmath.exp(-x), mpmath.e1(mpmath.mpf(x))
        for k in range(1, n):
            value = (decay - x * value) / k
        return np.longdouble(mpmath.nstr(value, 25))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 3, 8, 9, 19, 20, 21, 50, 300, 10000])
def test_accuracy_of_exponential_integrals(n, dtype):
    rng = np.random.default_rng(16)
    few = 30 if n < 100 else 4
    x = np.concatenate([rng.uniform(0, 3, few), rng.uniform(3, 650, few // 2), [1e-30, 1e-5, 2.0]])
    x = x.astype(dtype)
    v = sg.vector("v", dtype=dtype)
    got = sg.function([v], sg.special.expn(n, v))(x).astype(np.longdouble)
    want = np.array([exponential_integral(n, float(v)) for v in x])
    inside = want > np.finfo(dtype).tiny * 4
    ulps = np.abs(got - want)[inside] / np.spacing(np.abs(want[inside]).astype(dtype))
    assert ulps.max() <= ops["expn"].ulp[dtype], (ulps.max(), x[inside][np.argmax(ulps)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 3, 7, 20, 60])
def test_accuracy_of_bessel_functions_of_an_order(n, dtype):
    """Within the stated ulp of the function, beside its zeros of its amplitude."""
    rng = np.random.default_rng(17)
    x = np.concatenate([rng.uniform(0, n, 40), rng.uniform(n, 60 + n, 40), rng.uniform(60, 1e4, 9)])
    x = np.concatenate([x, -x[:5], [1e-3, float(n)]]).astype(dtype)
    v = sg.vector("v", dtype=dtype)
    got = sg.function([v], sg.special.jn(n, v))(x).astype(np.longdouble)
    with mpmath.workdps(40):
        want = np.array([np.longdouble(mpmath.nstr(mpmath.besselj(n, float(t)), 25)) for t in x])
    inside = np.abs(want) > np.finfo(dtype).tiny * 4
    amplitude = np.where(np.abs(x) > n, np.sqrt(2 / np.pi / np.maximum(np.abs(x), 1)), 0)
    size = np.maximum(np.abs(want), amplitude).astype(dtype)
    ulps = (np.abs(got - want) / np.spacing(np.maximum(size, np.finfo(dtype).tiny)))[inside]
    assert ulps.max() <= ops["jn"].ulp[dtype], (ulps.max(), x[inside][np.argmax(ulps)])


def test_stack_of_bessel_functions():
    x = sg.matrix("x", dtype="float64")
    at = np.array([[0.0, 1.5, -2.0], [INF, 30.0, NAN]])
    found = sg.function([x], sg.special.bessel_jn(x, 4))(at)
    with np.errstate(all="ignore"):
        wanted = np.stack([scipy.special.jn(k, at) for k in range(5)])
    wanted[:, 1, 0] = 0
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-15)
    minus = sg.function([x], [sg.special.jn(-3, x), sg.special.jn(-2, x)])(at[:, 1:2])
    np.testing.assert_allclose(minus, [-wanted[3, :, 1:2], wanted[2, :, 1:2]], rtol=1e-13)


PAIRS = {
    "poch": [
        lambda r: (r.uniform(0, 20, 80), r.uniform(0, 20, 80)),
        lambda r: (r.uniform(0, 100, 80), r.uniform(-5, 70, 80)),
        lambda r: (10.0 ** r.uniform(1, 15, 60), r.uniform(0, 5, 60)),
        lambda r: (r.uniform(0, 8, 40), r.uniform(150, 165, 40)),
        lambda r: (r.uniform(-20, 0, 60), r.uniform(-20, 20, 60)),
        lambda r: (-np.floor(r.uniform(0, 9, 30)), -np.floor(r.uniform(0, 9, 30))),
    ],
    "owens_t": [
        lambda r: (r.uniform(-4, 4, 60), r.uniform(-3, 3, 60)),
        lambda r: (r.uniform(0, 30, 60), 10.0 ** r.uniform(-8, 8, 60)),
        lambda r: (10.0 ** r.uniform(-8, 1, 40), 10.0 ** r.uniform(-8, 8, 40)),
    ],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(PAIRS))
def test_accuracy_of_two_arguments(name, dtype, full):
    for draw in PAIRS[name]:
        arrays = [x[:: 1 if full else 3] for x in draw(np.random.default_rng(18))]
        found = worst(name, dtype, None, *arrays)
        assert found[0] <= ops[name].ulp[dtype], found


def hypergeometric(least, most, count):
    rng = np.random.default_rng(19)
    first, rest = (np.exp(rng.uniform(np.log(least), np.log(most), count)) for _ in range(2))
    large = rng.choice([-1.0, 1.0], count) * 10.0 ** rng.uniform(-2, 2.5, count)
    below = np.where(rng.random(count) < 0.5, 1 - 10.0 ** rng.uniform(-6, 0, count),
                     -(10.0 ** rng.uniform(-2, 4, count)))  # fmt: skip
    a = rng.uniform(-1, 1, count) * min(most, 60)
    return (first, first + rest, large), (a, first, first + rest, below)


@pytest.mark.parametrize(("least", "most"), [(0.05, 100), (0.05, 1)])
def test_accuracy_of_hypergeometric_functions(least, most):
    for name, arrays in zip(("hyp1f1", "hyp2f1"), hypergeometric(least, most, 150), strict=True):
        got = native(name, "float64", *arrays)
        with mpmath.workdps(40):
            f = getattr(mpmath, name)
            want = [f(*map(float, at)) for at in zip(*arrays, strict=True)]
            error = [abs(g / w - 1) for g, w in zip(got, want, strict=True) if 1e-280 < w < 1e300]
        assert max(error) < 1e-12, (name, np.argmax(error))


def test_hypergeometric_functions_are_nan_outside_of_their_domain():
    a, b = np.array([1.0, 0.0, -1.0, 2.0, NAN]), np.array([1.0, 2.0, 2.0, 1.0, 2.0])
    assert np.isnan(native("hyp1f1", "float64", a, b, np.ones(5))).all()
    one = np.ones(4)
    got = native("hyp2f1", "float64", one, 2 * one, one, np.array([0.5, 1.0, 1.5, NAN]))
    assert np.isnan(got).all()
    swapped = native("hyp2f1", "float64", one * 0.5, one * 3, one * 2, np.array([0.5, -1, 0, -9.0]))
    assert np.allclose(swapped, scipy.special.hyp2f1(0.5, 3, 2, [0.5, -1, 0, -9]), rtol=1e-13)
    ends = native("hyp2f1", "float64", one, one, one * 3.5, np.array([1.0, 1, 1, 1]))
    assert np.allclose(ends, scipy.special.hyp2f1(1, 1, 3.5, 1.0), rtol=1e-11)


EDGES = {
    "poch": [(0.0, 0.0, 1.0), (0.0, 2.0, 0.0), (-3.0, 2.0, 6.0), (-3.0, 5.0, 0.0), (2.0, -2.0, NAN),
             (-2.5, 0.0, 1.0), (-1.0, 0.5, 0.0), (0.5, -1.5, NAN), (NAN, 1.0, NAN), (3.0, NAN, NAN),
             (100.0, 200.0, INF), (INF, 2.0, INF), (INF, -2.0, 0.0), (-1.0, -700.0, 0.0)],
}  # fmt: skip


def test_poch_at_the_edges():
    z, m, want = (np.array(v) for v in zip(*EDGES["poch"], strict=True))
    np.testing.assert_allclose(native("poch", "float64", z, m), want, rtol=1e-14)


def test_expn_at_the_edges():
    x = sg.vector("x", dtype="float64")
    at = np.array([0.0, -0.0, INF, -1.0, NAN, 1e-320, 750.0])
    for n in (0, 1, 2, 5, 30):
        got = sg.function([x], sg.special.expn(n, x))(at)
        want = scipy.special.expn(n, at)
        want[3] = NAN
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("bad", [-1, 1.5, True, None])
def test_orders_are_checked(bad):
    x = sg.vector("x")
    with pytest.raises(sg.DTypeError, match="whole"):
        sg.special.expn(bad, x)
    if bad != -1:
        with pytest.raises(sg.DTypeError, match="whole order"):
            sg.special.jn(bad, x)
    else:
        with pytest.raises(sg.DTypeError, match=">= 0"):
            sg.special.bessel_jn(x, bad)


def test_slope_of_dawsons_integral_far_from_zero():
    """1 - 2 x D(x) would cancel: the series keeps the digits, of the next derivative too."""
    x = sg.vector("x", dtype="float64")
    first = sg.grad(sg.special.dawsn(x).sum(), x)
    f = sg.function([x], [first, sg.grad(first.sum(), x)])
    at = np.array([3.0, 9.9, 10.1, 1e3, -1e5])
    with mpmath.workdps(40):
        slope = [[float(mpmath.diff(dawson, mpmath.mpf(t), k)) for t in at[:3]] for k in (1, 2)]
    found = f(at)
    np.testing.assert_allclose([v[:3] for v in found], slope, rtol=2e-11)
    far, z = at[3:], at[3:] ** -2
    np.testing.assert_allclose(found[0][3:], -0.5 * z * (1 + 1.5 * z), rtol=1e-9)
    np.testing.assert_allclose(found[1][3:], z / far * (1 + 3 * z), rtol=1e-9)


def dawson(t):
    return mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(-t * t) * mpmath.erfi(t)


@pytest.mark.parametrize("name", ["gammainc", "owens_t", "hyp1f1", "hyp2f1", "poch", "expi"])
def test_complex_numbers_are_refused(name):
    z = sg.vector("z", dtype="complex128")
    count = ops[name].arity
    with pytest.raises(sg.DTypeError, match="not defined for complex"):
        getattr(sg.special, name)(*[1.0] * (count - 1), z)
