"""Random streams: the published Philox vectors, moments, distributions, reproducibility."""

import math

import numpy as np
import pytest

import symgraph as sg
from symgraph.ops.random import philox


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ],
)
def test_philox_known_answers(counter, key, words):
    """The vectors that come with Random123 (philox 4x32, 10 rounds)."""
    result = philox([np.array([c], np.uint64) for c in counter], key)
    assert tuple(int(w[0]) for w in result) == words


def draw(make, seed=0):
    return sg.function([], make(sg.random.RandomStream(seed)))()


def deviation(sample, cdf):
    """Return the Kolmogorov-Smirnov distance of a sample from a distribution."""
    x = np.sort(np.asarray(sample, np.float64).ravel())
    steps = np.arange(1, x.size + 1) / x.size
    c = cdf(x)
    return max(np.abs(c - steps).max(), np.abs(c - steps + 1 / x.size).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform(dtype):
    x = draw(lambda r: r.uniform((200, 500), -1.0, 3.0, dtype=dtype))
    assert x.dtype == dtype and x.min() >= -1 and x.max() < 3
    assert deviation(x, lambda v: (v + 1) / 4) < 1.95 / math.sqrt(x.size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal(dtype):
    x = draw(lambda r: r.normal((100_000,), 2.0, 0.5, dtype=dtype))
    erf = np.vectorize(math.erf)
    assert deviation(x, lambda v: 0.5 + 0.5 * erf((v - 2) / 0.5 / math.sqrt(2))) < 0.0062
    assert np.isfinite(x).all()


def test_bernoulli_and_integers():
    b = draw(lambda r: r.bernoulli(0.3, (100_000,)))
    assert b.dtype == bool and abs(b.mean() - 0.3) < 0.006
    i = draw(lambda r: r.integers(-3, 4, (70_000,)))
    counts = np.bincount(i + 3, minlength=7)
    assert counts.size == 7 and np.abs(counts - 10_000).max() < 450


def test_draws_are_independent_and_reproducible():
    stream = sg.random.RandomStream(7)
    a, b = stream.uniform((50_000,)), stream.uniform((50_000,))
    f = sg.function([], [a, b, a + b])
    x, y, z = f()
    assert np.array_equal(z, x + y) and abs(np.corrcoef(x, y)[0, 1]) < 0.02
    assert not np.array_equal(f()[0], x)
    stream.seed(7)
    assert np.array_equal(f()[0], x)
    assert np.array_equal(draw(lambda r: r.uniform((50_000,)), 7), x)
    assert not np.array_equal(draw(lambda r: r.uniform((50_000,)), 8), x)


def test_numbers_do_not_depend_on_fusion_or_threads():
    def make(r):
        u = r.uniform((300, 70))
        return [u, sg.exp(u).sum(1), u[::2, 1:].T + 1]

    u, rows, part = sg.function([], make(sg.random.RandomStream(3)))()
    assert np.allclose(rows, np.exp(u).sum(1), rtol=1e-5)
    assert np.allclose(part, u[::2, 1:].T + 1)


def test_gradient_flows_through_parameters():
    m, s = sg.scalars("m", "s")
    x = sg.random.RandomStream(0).normal((1000,), m, s)
    f = sg.function([m, s], [x, *sg.grad(x.sum(), [m, s])])
    values, dm, ds = f(1.0, 2.0)
    assert dm == 1000 and np.isclose(ds, ((values - 1) / 2).sum(), rtol=1e-3, atol=0.1)


def test_draws_take_the_shape_of_their_parameters():
    rs = sg.random.RandomStream(3)
    half, zeros = np.full(1000, 0.5), np.zeros((500, 2))
    draws = [rs.bernoulli(half), rs.normal(mean=zeros), rs.uniform(low=zeros), rs.normal()]
    heads, normal, uniform, one = sg.function([], draws)()
    assert heads.shape == (1000,) and 400 < heads.sum() < 600
    assert normal.shape == uniform.shape == (500, 2) and one.shape == ()
    assert len(np.unique(normal)) > 990 and len(np.unique(uniform)) > 990
    with pytest.raises(sg.ShapeError, match="share"):
        rs.bernoulli(half, shape=())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_numbers_stay_below_one(dtype):
    rs = sg.random.RandomStream(4)
    draws = [rs.uniform((300_000,), dtype=dtype), rs.normal((300_000,), dtype=dtype)]
    u, z = sg.function([], draws)()
    assert u.dtype == z.dtype == dtype
    assert u.min() >= 0 and u.max() < 1 and abs(u.astype("f8").mean() - 0.5) < 0.005
    assert np.isfinite(z).all() and abs(z.astype("f8").std() - 1) < 0.01
