"""Checkpoints: the same derivatives in all modes and orders, from less memory."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg

RNG = np.random.default_rng(0)
A, W = RNG.normal(size=4), RNG.normal(size=(4, 4))
X, WEIGHTS = sg.vector("x", dtype="float64"), sg.matrix("w", dtype="float64")


def layers(h):
    return sg.tanh(sg.tanh(h @ WEIGHTS) @ WEIGHTS)


DERIVATIVES = {
    "grad": lambda c: sg.grad(c, [X, WEIGHTS]),
    "hessian": lambda c: sg.hessian(c, X),
    "Rop": lambda c: sg.Rop(c, [X, WEIGHTS], [X, WEIGHTS * WEIGHTS]),
    "hvp": lambda c: sg.hvp(c, [X, WEIGHTS], [X, WEIGHTS]),
    "third": lambda c: sg.grad(sg.hessian(c, X).sum(), WEIGHTS),
}


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("name", sorted(DERIVATIVES))
def test_derivatives_are_those_of_the_function(name, shapes):
    found, wanted = (
        sg.function([X, WEIGHTS], DERIVATIVES[name](f(f(X)).sum()), shapes=shapes)(A, W)
        for f in (sg.checkpoint(layers), layers)
    )
    one = isinstance(found, np.ndarray)
    for a, b in zip([found] if one else found, [wanted] if one else wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def both(build) -> list[tuple[np.ndarray, np.ndarray]]:
    """What `build` makes of a checkpoint and of the function itself, pairs of results."""
    return list(zip(build(sg.checkpoint), build(lambda f: f), strict=True))


def test_under_vmap_and_in_loops():
    def build(kind):
        f = kind(layers)
        each = sg.vmap(lambda v: sg.grad(f(v).sum(), v))(sg.stack([X, 2 * X]))
        states = sg.scan(f, outputs_info=[X], n_steps=5)
        return sg.function([X, WEIGHTS], [each, sg.grad(states[-1].sum(), WEIGHTS)])(A, W)

    for found, wanted in both(build):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def test_several_results_and_arguments_without_derivative():
    i = sg.ivector("i")

    def build(kind):
        a, b, k = kind(lambda x, k: [sg.exp(x)[k], (x * x)[k], k + 1])(X, i)
        places = np.array([0, 2], "int32")
        return sg.function([X, i], [sg.grad((a * b).sum(), X), k])(A, places)

    for found, wanted in both(build):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)


def test_dropout_draws_the_same_again():
    def build(kind):
        x, stream = sg.tensor("x", (8, 16), "float64"), sg.random.RandomStream(3)
        drop = kind(lambda h: sg.tanh(h) * (stream.uniform((8, 16), dtype="float64") < 0.5))
        cost = (drop(drop(x)) ** 2).sum()
        f = sg.function([x], [cost, sg.grad(cost, x)])
        a = np.random.default_rng(0).normal(size=(8, 16))
        return [r for _ in range(3) for r in f(a)]

    pairs = both(build)
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert len({float(wanted) for _, wanted in pairs[::2]}) == 3  # each call draws anew


def test_complex():
    z = sg.zvector("z")
    f = lambda v: v * v * sg.exp(v)
    value = RNG.normal(size=3) + 1j * RNG.normal(size=3)
    found, wanted = (
        sg.grad(sg.abs(g(g(z))).sum(), z).eval({z: value}) for g in (sg.checkpoint(f), f)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def arena(group: int) -> int:
    """Bytes of the arena of 16 layers, in groups that are checkpoints."""
    x = sg.tensor("x", (512, 64), "float32")
    ws = [sg.tensor(f"w{k}", (64, 64), "float32") for k in range(16)]
    h = x

    def run(h, some):
        for w in some:
            h = sg.tanh(h @ w)
        return h

    for k in range(0, 16, group):
        some = ws[k : k + group]
        h = sg.checkpoint(lambda t, some=some: run(t, some))(h) if group > 1 else run(h, some)
    f = sg.function([x, *ws], sg.grad((h * h).sum(), ws), shapes="exact")
    arrays = [RNG.normal(size=n).astype("float32") for n in [(512, 64), *[(64, 64)] * 16]]
    f(*arrays)
    return f.compiled.version_list[0].module.arena


def test_memory():
    layer = 512 * 64 * 4
    assert arena(1) <= 19 * layer  # all activations, and two or three of their gradients
    assert arena(4) <= 11 * layer
