"""Distributions on fixed seeds: Kolmogorov-Smirnov distances, moments, gradients, streams."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats as st

import symgraph as sg
from symgraph.core.dtype import as_dtype

COUNT = 40_000
LIMIT = 1.95  # of the distance times sqrt(n): a right sampler exceeds it once in 1000


def draw(make, seed=0):
    return sg.function([], make(sg.random.RandomStream(seed)))()


CONTINUOUS = {
    "exponential": (lambda r, d: r.exponential(2.0, (COUNT,), d), st.expon(scale=2)),
    "gumbel": (lambda r, d: r.gumbel(1.0, 2.0, (COUNT,), d), st.gumbel_r(1, 2)),
    "laplace": (lambda r, d: r.laplace(1.0, 2.0, (COUNT,), d), st.laplace(1, 2)),
    "gamma 0.2": (lambda r, d: r.gamma(0.2, 2.0, (COUNT,), d), st.gamma(0.2, scale=2)),
    "gamma 1": (lambda r, d: r.gamma(1.0, 1.0, (COUNT,), d), st.gamma(1)),
    "gamma 50": (lambda r, d: r.gamma(50.0, 1.0, (COUNT,), d), st.gamma(50)),
    "chisquare": (lambda r, d: r.chisquare(3.0, (COUNT,), d), st.chi2(3)),
    "beta": (lambda r, d: r.beta(0.5, 2.0, (COUNT,), d), st.beta(0.5, 2)),
    "student": (lambda r, d: r.student_t(4.0, 1.0, 2.0, (COUNT,), d), st.t(4, 1, 2)),
    "truncated": (
        lambda r, d: r.truncated_normal(-1.0, 2.0, 0.5, 2.0, (COUNT,), d),
        st.truncnorm(-0.75, 0.75, 0.5, 2),
    ),
    "truncated tail": (
        lambda r, d: r.truncated_normal(8.0, 9.0, 0.0, 1.0, (COUNT,), d),
        st.truncnorm(8, 9),
    ),
    "von Mises 0": (
        lambda r, d: r.vonmises(0.0, 0.0, (COUNT,), d),
        st.uniform(-math.pi, 2 * math.pi),
    ),
    "von Mises": (lambda r, d: r.vonmises(0.0, 0.7, (COUNT,), d), st.vonmises(0.7)),
    "von Mises 10000": (lambda r, d: r.vonmises(0.0, 1e4, (COUNT,), d), st.vonmises(1e4)),
    "von Mises 80": (lambda r, d: r.vonmises(0.0, 80.0, (COUNT,), d), st.vonmises(80)),
    "dirichlet": (
        lambda r, d: r.dirichlet(np.array([0.5, 1.0, 2.0], d), (COUNT,), d)[:, 0],
        st.beta(0.5, 3),
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(CONTINUOUS))
def test_distribution(name, dtype):
    make, law = CONTINUOUS[name]
    x = draw(lambda r: make(r, dtype))
    assert x.dtype == dtype and x.shape == (COUNT,) and np.isfinite(x).all()
    assert st.kstest(x.astype(float), law.cdf).statistic * math.sqrt(COUNT) < LIMIT
    assert abs(x.mean(dtype=float) - law.mean()) < 4.5 * law.std() / math.sqrt(COUNT)


DISCRETE = {
    "poisson 0.3": (lambda r: r.poisson(0.3, (COUNT,)), st.poisson(0.3)),
    "poisson 9.9": (lambda r: r.poisson(9.9, (COUNT,)), st.poisson(9.9)),
    "poisson 10": (lambda r: r.poisson(10.0, (COUNT,)), st.poisson(10)),
    "poisson 3000": (lambda r: r.poisson(3000.0, (COUNT,)), st.poisson(3000)),
    "binomial few": (lambda r: r.binomial(9, 0.3, (COUNT,)), st.binom(9, 0.3)),
    "binomial flipped": (lambda r: r.binomial(60, 0.9, (COUNT,)), st.binom(60, 0.9)),
    "binomial half": (lambda r: r.binomial(24, 0.5, (COUNT,)), st.binom(24, 0.5)),
    "binomial many": (lambda r: r.binomial(10**6, 0.2, (COUNT,)), st.binom(10**6, 0.2)),
    "multinomial": (
        lambda r: r.multinomial(50, np.array([0.1, 0.2, 0.4, 0.3]), (COUNT // 4,))[:, 2],
        st.binom(50, 0.4),
    ),
    "categorical": (
        lambda r: r.categorical(np.log(np.array([0.1, 0.2, 0.7], "float32")), shape=(COUNT,)),
        st.rv_discrete(values=([0, 1, 2], [0.1, 0.2, 0.7])),
    ),
    "choice": (
        lambda r: r.choice(3, (COUNT,), p=[1.0, 2.0, 7.0]),
        st.rv_discrete(values=([0, 1, 2], [0.1, 0.2, 0.7])),
    ),
    "choice of all": (lambda r: r.choice(7, (COUNT,)), st.randint(0, 7)),
}


@pytest.mark.parametrize("name", sorted(DISCRETE))
def test_discrete_distribution(name):
    make, law = DISCRETE[name]
    x = draw(make)
    assert x.dtype == np.int64
    points = np.unique(x)
    share = np.searchsorted(np.sort(x), points, side="right") / x.size
    assert np.abs(share - law.cdf(points)).max() * math.sqrt(x.size) < LIMIT
    assert abs(x.mean() - law.mean()) < 4.5 * law.std() / math.sqrt(x.size)


def test_discrete_draws_are_quantiles():
    """Inversion is exact: each draw is the quantile at the uniform number it was made from."""
    rng = np.random.default_rng(0)
    mean = np.exp(rng.uniform(-2, 12, 4000))
    trials, chance = np.ceil(mean * 3), rng.uniform(0.01, 0.99, 4000)
    level = sg.random.RandomStream(3)._lanes((4000,), as_dtype("float64"))(0, 0)
    u = sg.function([], level)() + 2.0**-54
    m, n, p = (sg.vector(k, dtype="float64") for k in "mnp")
    # the first draw of a stream of this seed: the same uniform numbers
    counts = sg.function([m], sg.random.RandomStream(3).poisson(m, (4000,)))(mean)
    assert (counts == st.poisson.ppf(u, mean)).mean() > 0.999
    counts = sg.function([n, p], sg.random.RandomStream(3).binomial(n, p, (4000,)))(trials, chance)
    # p above 1/2 counts the failures instead
    level = np.where(chance > 0.5, 1 - u, u)
    assert (np.abs(counts - st.binom.ppf(level, trials, chance)) < 1).mean() > 0.999


def test_counts_of_outcomes():
    p = np.array([[0.1, 0.2, 0.3, 0.25, 0.15], [1.0, 0.0, 0.0, 0.0, 0.0]])
    x = draw(lambda r: r.multinomial(500, p, (4000,)))
    assert x.shape == (4000, 2, 5) and (x.sum(-1) == 500).all() and (x >= 0).all()
    assert (x[:, 1, 0] == 500).all()
    covariance = np.cov(x[:, 0].T)
    want = 500 * (np.diag(p[0]) - np.outer(p[0], p[0]))
    assert np.abs(covariance - want).max() < 8


# -- orders and choices ---------------------------------------------------------------------------
def test_permutation_and_shuffle():
    stream = sg.random.RandomStream(1)
    order, rows = stream.permutation(100), stream.shuffle(np.arange(24.0).reshape(8, 3))
    f = sg.function([], [order, rows])
    first, mixed = f()
    assert sorted(first) == list(range(100)) and sorted(mixed[:, 0]) == list(range(0, 24, 3))
    assert (mixed[:, 1] == mixed[:, 0] + 1).all()
    assert not np.array_equal(f()[0], first)
    g = sg.function([], sg.random.RandomStream(2).permutation(4))
    seen = {tuple(g()) for _ in range(400)}
    assert len(seen) == 24  # a missed order has probability 24 exp(-16)


def test_choice_without_replacement():
    p = np.arange(1.0, 6.0)
    pick = sg.random.RandomStream(5).choice(np.arange(5.0) * 10, (2,), replace=False, p=p)
    f = sg.function([], pick)
    picks = np.array([f() for _ in range(4000)])
    assert (picks[:, 0] != picks[:, 1]).all()
    first = np.bincount((picks[:, 0] / 10).astype(int), minlength=5) / 4000
    assert np.abs(first - p / p.sum()).max() < 0.03
    with pytest.raises(ValueError, match="of 4 from 3"):
        sg.random.RandomStream(0).choice(3, (4,), replace=False)


# -- gradients ------------------------------------------------------------------------------------
def test_gamma_gradient_is_that_of_the_quantile():
    a = np.array([0.05, 0.3, 0.9, 1.0, 2.5, 30.0, 400.0])
    alpha = sg.vector("alpha", dtype="float64")
    x = sg.random.RandomStream(4).gamma(alpha, shape=(50, 7), dtype="float64")
    first = sg.grad(x.sum(), alpha)
    values, slope = sg.function([alpha], [x, first])(a)
    level = scipy.special.gammainc(a, values)
    h = 1e-5 * a
    upper, lower = (scipy.special.gammaincinv(a + s * h, level) for s in (1, -1))
    usable = (level < 0.999999) & (values > 1e-250)
    total = np.where(usable, (upper - lower) / (2 * h), 0).sum(0)
    assert usable.mean() > 0.97
    np.testing.assert_allclose(slope, total, rtol=2e-4)


def test_gradient_of_means():
    """The derivative of a mean, from the same draws: d E[x] / da = 1, d E[x**2] / da = 2 a + 1."""
    a = sg.scalar("a", dtype="float64")
    x = sg.random.RandomStream(6).gamma(a, shape=(COUNT,), dtype="float64")
    d1, d2 = sg.function([a], [sg.grad(x.mean(), a), sg.grad((x**2).mean(), a)])(1.7)
    assert abs(d1 - 1) < 0.02 and abs(d2 - 4.4) < 0.2
    b = sg.scalar("b", dtype="float64")
    y = sg.random.RandomStream(7).beta(a, b, (COUNT,), "float64")
    da, db = sg.function([a, b], sg.grad(y.mean(), [a, b]))(2.0, 3.0)
    assert abs(da - 3 / 25) < 0.005 and abs(db + 2 / 25) < 0.005
    c = sg.vector("c", dtype="float64")
    z = sg.random.RandomStream(8).dirichlet(c, (COUNT,), "float64")
    slope = sg.function([c], sg.grad(z[:, 0].mean(), c))(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(slope, [5 / 36, -1 / 36, -1 / 36], atol=0.004)


def test_gradients_of_student_and_truncated_normal():
    k = sg.scalar("k", dtype="float64")
    x = sg.random.RandomStream(9).student_t(k, shape=(COUNT,), dtype="float64")
    slope = sg.function([k], sg.grad(sg.cos(x).mean(), k))(5.0)
    means = [st.t(df).expect(np.cos, limit=200) for df in (5.01, 4.99)]
    assert abs(slope - (means[0] - means[1]) / 0.02) < 0.003
    low, high, m, s = sg.scalars(*"lhms")
    y = sg.random.RandomStream(9).truncated_normal(low, high, m, s, (COUNT,), "float64")
    got = sg.function([low, high, m, s], sg.grad(y.mean(), [low, high, m, s]))(-0.5, 1.5, 0.2, 0.8)

    def mean(low, high, m, s):
        return st.truncnorm((low - m) / s, (high - m) / s, m, s).mean()

    at = np.array([-0.5, 1.5, 0.2, 0.8])
    steps = np.eye(4) * 1e-4
    want = [(mean(*(at + e)) - mean(*(at - e))) / 2e-4 for e in steps]
    np.testing.assert_allclose(got, want, atol=0.01)


def test_second_derivative_of_gamma_draws():
    a = sg.scalar("a", dtype="float64")
    x = sg.random.RandomStream(10).gamma(a, shape=(20,), dtype="float64")
    first = sg.grad(x.sum(), a)
    f = sg.function([a], [x, sg.grad(first, a)])
    values, second = f(2.3)
    level, h = scipy.special.gammainc(2.3, values), 1e-3
    ends = [scipy.special.gammaincinv(2.3 + s * h, level) for s in (-1, 0, 1)]
    assert abs(second - ((ends[0] - 2 * ends[1] + ends[2]) / h**2).sum()) < 1e-3


# -- streams --------------------------------------------------------------------------------------
def test_draws_do_not_depend_on_fusion_or_threads():
    def make(r):
        x = r.gamma(1.5, shape=(300, 7))
        return [x, (x * 2).sum(1), r.poisson(20.0, (500,)), r.vonmises(0.0, 2.0, (500,))]

    f = sg.function([], make(sg.random.RandomStream(3)))
    first = f()
    np.testing.assert_allclose(first[1], 2 * first[0].sum(1), rtol=1e-5)
    alone = sg.function([], sg.random.RandomStream(3).gamma(1.5, shape=(300, 7)))()
    np.testing.assert_allclose(alone, first[0], rtol=1e-6)
    try:
        sg.set_threads(1)
        again = sg.function([], make(sg.random.RandomStream(3)))()
    finally:
        sg.set_threads(2)
    for x, y in zip(first, again, strict=True):
        assert np.array_equal(x, y)


def test_lanes_differ_from_each_other_and_from_plain_draws():
    stream = sg.random.RandomStream(0)
    lane = stream._lanes((20_000,), as_dtype("float64"))
    x = np.array(sg.function([], [lane(0, 0), lane(0, 1), lane(0, 2), lane(1, 0)])())
    assert np.abs(np.corrcoef(x) - np.eye(4)).max() < 0.03
    assert all(st.kstest(row, "uniform").pvalue > 1e-3 for row in x)


def test_steps_of_a_loop_draw_anew():
    stream = sg.random.RandomStream(2)
    x = sg.scan(lambda s: s + stream.gamma(2.0, dtype="float64"), None, np.float64(0), n_steps=50)
    steps = np.diff(sg.function([], x)())
    assert len(np.unique(steps)) == 49


def test_parameters_broadcast_and_shapes_default_to_theirs():
    stream = sg.random.RandomStream(2)
    a, b = np.ones((3, 1), "float32"), np.full(4, 2.0, "float32")
    x = draw(lambda r: r.beta(a, b))
    assert x.shape == (3, 4) and x.dtype == np.float32 and len(np.unique(x)) == 12
    assert stream.gamma(2.0).ndim == 0 and stream.poisson(a).type.shape == (3, 1)
    with pytest.raises(TypeError, match="float"):
        stream.gamma(1.0, dtype="int32")


OUTSIDE = {
    "uniform": lambda r: r.uniform((3,), 2.0, 1.0),
    "normal": lambda r: r.normal((3,), 0.0, -1.0),
    "truncated_normal": lambda r: r.truncated_normal(2.0, 1.0),
    "exponential": lambda r: r.exponential(-1.0),
    "gumbel": lambda r: r.gumbel(0.0, -1.0),
    "laplace": lambda r: r.laplace(0.0, np.array([1.0, -1.0])),
    "gamma": lambda r: r.gamma(0.0),
    "chisquare": lambda r: r.chisquare(-1.0),
    "beta": lambda r: r.beta(1.0, -1.0),
    "dirichlet": lambda r: r.dirichlet(np.array([1.0, 0.0])),
    "student_t": lambda r: r.student_t(-1.0),
    "vonmises": lambda r: r.vonmises(0.0, -1.0),
    "bernoulli": lambda r: r.bernoulli(1.5),
    "poisson": lambda r: r.poisson(float("nan")),
    "binomial": lambda r: r.binomial(2.5, 0.5),
    "multinomial": lambda r: r.multinomial(3, np.zeros(2)),
    "choice": lambda r: r.choice(2, (3,), p=np.array([1.5, -0.5])),
    "choice without": lambda r: r.choice(4, (3,), replace=False, p=np.array([0.5, 0.5, 0, 0])),
    "choice from 0": lambda r: r.choice(0, (3,)),
    "permutation": lambda r: r.permutation(-1),
    "integers": lambda r: r.integers(np.array([1, 5]), 5),
    "the sizes": lambda r: r.uniform((-1,)),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["exponential", "gumbel", "laplace", "gamma 50", "student"])
def test_halves_have_the_tails_of_their_law(name, dtype):
    make, law = CONTINUOUS[name]
    x = np.asarray(draw(lambda r: make(r, dtype))).astype(float)
    wide = draw(lambda r: make(r, "float32")).astype(float)
    assert np.isfinite(x).all()
    np.testing.assert_allclose(x, wide, rtol=2.0**-8, atol=1e-6)  # the same numbers, rounded
    assert abs(x.std() / law.std() - 1) < 0.03


@pytest.mark.parametrize("name", list(OUTSIDE))
def test_known_parameters_outside_of_their_domain(name):
    with pytest.raises(ValueError, match=f"{name}.*(must|needs)|{name}: `p` must have"):
        OUTSIDE[name](sg.random.RandomStream(0))


def test_shapes_of_parameters_that_do_not_fit():
    stream = sg.random.RandomStream(0)
    with pytest.raises(sg.ShapeError, match="must have 3 numbers"):
        stream.choice(3, (2,), p=np.array([0.5, 0.5]))
    with pytest.raises(sg.ShapeError, match="axis of outcomes"):
        stream.dirichlet(1.0)
    with pytest.raises(sg.ShapeError, match="parameters of shape"):
        stream.gamma(np.ones(4), 1.0, (6,))
    with pytest.raises(sg.DTypeError, match="must be real"):
        stream.normal((2,), 1j)
    with pytest.raises(IndexError, match="axis 5"):
        stream.shuffle(np.ones((2, 3)), 5)


def test_variables_outside_of_the_domain_give_nan_or_minus_one():
    v = sg.vector("v", dtype="float64")
    stream = sg.random.RandomStream(0)
    reals = [
        stream.gamma(v), stream.beta(v, 1.0), stream.chisquare(v), stream.student_t(v),
        stream.vonmises(0.0, v), stream.truncated_normal(-1.0, v), stream.dirichlet(v),
    ]  # fmt: skip
    counts = [
        stream.poisson(v), stream.binomial(5, v), stream.binomial(v, 0.5),
        stream.multinomial(v, np.array([0.5, 0.5]), (2,)).max(-1),
        stream.multinomial(3, sg.stack([v, 1.0 - v], -1)).min(-1),
    ]  # fmt: skip
    f = sg.function([v], [*reals, *counts])
    for x in f(np.array([-2.0, 1.0])):
        if x.dtype.kind == "i":
            assert x[0] == -1 and x[1] >= 0
        else:
            assert np.isnan(x[0])
    good = f(np.array([1.0, 1.0]))
    assert all(np.isfinite(x).all() and (x.dtype.kind == "f" or (x >= 0).all()) for x in good)


def test_integers_between_variables_and_permuted_lists():
    low, high = sg.lvector("low"), sg.lscalar("high")
    x = sg.random.RandomStream(1).integers(low, high, (20_000, 2))
    found = sg.function([low, high], x)(np.array([-3, 2]), 6)
    assert found.min(0).tolist() == [-3, 2] and found.max(0).tolist() == [5, 5]
    np.testing.assert_allclose(found.mean(0), [1.0, 3.5], atol=0.1)
    plain = draw(lambda r: r.integers(-3, 6, (20,)), 1)
    bound = sg.random.RandomStream(1).integers(sg.as_tensor(-3), high, (20,))
    np.testing.assert_array_equal(plain, sg.function([high], bound)(6))
    assert sorted(draw(lambda r: r.permutation([4.0, 2.0, 3.0])).tolist()) == [2.0, 3.0, 4.0]


DRAWS = {
    "bernoulli": lambda s, v: s.bernoulli(v),
    "choice": lambda s, v: s.choice(3, (4,), p=v),
    "choice without replacement": lambda s, v: s.choice(3, (2,), replace=False, p=v),
    "categorical": lambda s, v: s.categorical(v),
}
WRONG = {
    "bernoulli": ([0.5, 1.5, 0.0], [0.5, -0.1, 0.0], [np.nan, 0.0, 1.0]),
    "choice": ([0.5, -0.1, 0.6], [np.nan, 0.5, 0.5], [0.0, 0.0, 0.0]),
    "choice without replacement": ([0.5, -0.1, 0.6], [np.nan, 0.5, 0.5]),
    "categorical": ([0.5, np.nan, 0.6],),
}


@pytest.mark.parametrize("mode", ["native", "eager"])
@pytest.mark.parametrize("name", list(DRAWS))
def test_probabilities_of_variables_are_checked_in_the_call(name, mode):
    v = sg.vector("v", dtype="float64")
    f = sg.function([v], DRAWS[name](sg.random.RandomStream(0), v), mode=mode)
    assert np.all(f(np.array([0.2, 0.3, 0.5])) >= 0)
    for numbers in WRONG[name]:
        with pytest.raises(ValueError, match=f"{name.split()[0]}: .*must be") as info:
            f(np.array(numbers))
        assert "test_distributions.py" in str(info.value)
    assert np.all(f(np.array([0.2, 0.3, 0.5])) >= 0)


def test_probabilities_are_checked_in_batches_and_loops():
    v = sg.matrix("v", dtype="float64")
    stream = sg.random.RandomStream(0)
    f = sg.function([v], sg.vmap(lambda p: sg.cast(stream.bernoulli(p), "int64").sum())(v))
    g = sg.function([v], sg.scan(lambda p, s: s + stream.categorical(p), v, np.int64(0)))
    good, bad = np.full((4, 3), 0.5), np.full((4, 3), np.nan)
    assert f(good).shape == g(good).shape == (4,)
    for h in (f, g):
        with pytest.raises(ValueError, match="must be"):
            h(bad)
