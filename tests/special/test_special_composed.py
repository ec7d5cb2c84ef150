"""Special functions made of others against SciPy, at ordinary arguments and at the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special

import symgraph as sg

RNG = np.random.default_rng(0)
LINE = np.concatenate([RNG.uniform(-4, 4, 60), [0.0, -0.0, -1.0, -2.0, 1.0, np.inf, np.nan]])
POSITIVE = np.concatenate([RNG.uniform(0, 5, 60), 10.0 ** RNG.uniform(-200, 100, 20), [0.0, 1.0]])
PAIRS = (np.array([0.0, 0.0, 1.0, 1.0, -1.0, 2.0, np.nan, 0.3, 0.3]),
         np.array([0.0, 2.0, 0.0, -1.0, 1.0, 2.0, 1.0, 0.7, np.inf]))
CASES: dict[str, tuple[np.ndarray, ...]] = {
    "entr": (LINE,),
    "rel_entr": PAIRS,
    "kl_div": PAIRS,
    "boxcox": (POSITIVE[:60], np.tile([0.0, 1e-12, 0.005, -0.5, 1.0, 2.5], 10)),
    "boxcox1p": (POSITIVE[:60], np.tile([0.0, 1e-12, 0.005, -0.5, 1.0, 2.5], 10)),
    "gammasgn": (np.concatenate([LINE, RNG.uniform(-20, 0, 30)]),),
    "factorial": (np.concatenate([np.arange(20.0), RNG.uniform(0, 150, 20), [-1.0, -0.5, 171]]),),
    "comb": (np.repeat(np.arange(0.0, 40, 3), 6), np.tile([-1.0, 0, 1, 3, 7, 20], 14)),
    "exp1": (np.concatenate([POSITIVE, RNG.uniform(0, 700, 60), [np.inf, -1.0, np.nan]]),),
    "expit": (LINE,),
    "expi": (np.concatenate([LINE, RNG.uniform(4, 700, 40), [-np.inf, 1e-300, 720.0]]),),
    "dawsn": (np.concatenate([LINE, [-np.inf, 1e-300, 1e300]]),),
    "owens_t": (np.repeat([0.0, 0.5, -2.0, np.inf, np.nan], 6),
                np.tile([0.0, -0.0, 0.7, -3.0, np.inf, np.nan], 5)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_values_are_those_of_scipy(name: str, dtype: str) -> None:
    with np.errstate(over="ignore"):
        arrays = [a.astype(dtype) for a in CASES[name]]
    xs = [sg.tensor(f"x{k}", (None,), dtype) for k in range(len(arrays))]
    got = sg.function(xs, getattr(sg.special, name)(*xs))(*arrays)
    with np.errstate(all="ignore"):
        wanted = getattr(scipy.special, name)(*(a.astype("float64") for a in arrays))
        wanted = np.asarray(wanted).astype(dtype)
    assert got.dtype == dtype
    limit = 2e-5 if dtype == "float32" else 1e-12
    assert np.allclose(got, wanted, rtol=limit, atol=limit * 1e-3, equal_nan=True)


DERIVATIVES: dict[str, tuple[Any, ...]] = {
    "entr": ([0.3, 2.0],), "rel_entr": ([0.3, 2.0], [0.7, 1.1]), "kl_div": ([0.3], [0.7]),
    "boxcox": ([0.3, 2.0, 2.0, 1.7], [0.0, 0.001, 0.8, -0.4]),
    "boxcox1p": ([0.3, 2.0, 2.0], [0.0, 0.001, 0.8]),
    "factorial": ([0.5, 3.0],), "comb": ([5.5, 7.0], [2.0, 3.3]), "exp1": ([0.2, 1.0, 3.0],),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(DERIVATIVES))
def test_two_derivatives(name: str) -> None:
    arrays = [np.array(a) for a in DERIVATIVES[name]]
    xs = [sg.tensor(f"x{k}", a.shape, "float64") for k, a in enumerate(arrays)]
    first = sg.grad(getattr(sg.special, name)(*xs).sum(), xs)
    second = sg.grad(sum(g.sum() for g in first), xs)
    value = sg.function(xs, getattr(sg.special, name)(*xs).sum())
    slope = sg.function(xs, sum(g.sum() for g in first))
    h = 1e-5
    for f, found in ((value, first), (slope, second)):
        for k, g in enumerate(sg.function(xs, found)(*arrays)):
            ends = [f(*(a + s * h * (i == k) for i, a in enumerate(arrays))) for s in (1, -1)]
            assert np.allclose(g.sum(), (ends[0] - ends[1]) / (2 * h), rtol=1e-6, atol=1e-7)


def test_multigammaln() -> None:
    a = sg.scalar("a", dtype="float64")
    for d in (1, 2, 5):
        found = sg.function([a], sg.special.multigammaln(a, d))(3.7)
        assert np.isclose(found, scipy.special.multigammaln(3.7, d), rtol=1e-13)
    with pytest.raises(ValueError, match="whole order"):
        sg.special.multigammaln(a, 0)


@pytest.mark.parametrize("name", ["sici", "fresnel"])
def test_pairs_are_those_of_scipy(name: str) -> None:
    x = sg.vector("x", dtype="float64")
    at = np.concatenate([LINE, [1e-300, 1e8, -1e20]])
    found = sg.function([x], list(getattr(sg.special, name)(x)))(at)
    for got, want in zip(found, getattr(scipy.special, name)(at), strict=True):
        assert np.allclose(got, want, rtol=1e-12, atol=1e-15, equal_nan=True)


def test_quotients_beyond_floats() -> None:
    x = np.array([1e300, 1e-300, 1e20, 1e-20, 3.0])
    y = np.array([1e-20, 1e300, 1e-300, 1e300, 2.0])
    p, q = (sg.vector(n, dtype="float64") for n in "pq")
    value = sg.special.rel_entr(p, q)
    found = sg.function([p, q], [value, *sg.grad(value.sum(), [p, q])])(x, y)
    assert np.allclose(found[0], x * (np.log(x) - np.log(y)), rtol=1e-14, atol=0)
    assert np.allclose(found[1], np.log(x) - np.log(y) + 1, rtol=1e-14)
    assert np.allclose(found[2][[0, 4]], -x[[0, 4]] / y[[0, 4]], rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zeta_of_large_numbers_is_its_first_term(dtype: str) -> None:
    x = sg.vector("x", dtype=dtype)
    s = np.array([60.0, 300.0, 1e5, 1e30, np.inf], dtype)
    assert np.allclose(sg.function([x], sg.special.zeta(x))(s), 1, rtol=1e-6)
    value = sg.special.zeta(x, 2.0)
    found = sg.function([x], [value, sg.grad(value.sum(), x)])(s[:4])
    assert np.allclose(found[0], 2.0 ** -s[:4], rtol=1e-5)
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_zeta_of_halves(dtype: str) -> None:
    x, wide = sg.vector("x", dtype=dtype), sg.vector("w", dtype="float64")
    s = np.array([1.5, 2.0, 7.0, 30.0])
    value = sg.special.zeta(x, 1.25)
    assert value.dtype == dtype
    found = sg.function([x], [value, sg.grad(value.sum(), x)])(s.astype(x.dtype.numpy))
    exact = sg.special.zeta(wide, 1.25)
    wanted = sg.function([wide], [exact, sg.grad(exact.sum(), wide)])(s)
    for p, q in zip(found, wanted, strict=True):
        assert np.allclose(p.astype(float), q, rtol=2e-2, atol=1e-4)
