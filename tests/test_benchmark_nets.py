"""Whole models of the benchmark: the same losses and products in symgraph and in torch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import convnets, nets
from benchmarks.losses import Losses
from benchmarks.peers import nets_symgraph
from benchmarks.program import difference, digest

torch_nets = pytest.importorskip("benchmarks.peers.nets_torch", exc_type=ImportError)
SMALL = {
    "transformer": nets.transformer(30, 64, 2, 7, 3),
    "lstm": nets.lstm("lstm", 30, 8, 2, 5, 3),
    "lstm_unrolled": nets.lstm("lstm_unrolled", 30, 8, 2, 5, 3),
    "char_rnn": nets.char_rnn(11, 8, 6, 3),
    "autoencoder": nets.autoencoder(4, 12, 8, 3),
    "physics": nets.physics(10, 6, 2),
    "policy": nets.policy(5),
    "captions": nets.captions(30, 8, 4, 5, 6, 3),
    "convnet": convnets.convnet(
        [convnets.Conv(4, 5, 2, 2), convnets.Pool(3, 2, 1), convnets.inception(3, 2, 4, 2, 3, 2)]
        + [convnets.Pool(2, 2), convnets.Conv(5, 3)], 27, 3, (7,), 6,
    ),
    "googlenet_end": convnets.convnet([convnets.Conv(4, 3), convnets.Mean()], 8, 3, (), 6),
    "dense": nets.deep(4, 8, 5),
    "unrolled": nets.steps_unrolled(6, 4, 3),
}


@pytest.mark.parametrize("name", SMALL)
def test_losses_of_three_steps_agree(name: str) -> None:
    net = SMALL[name]
    data = nets.make_net(net, np.random.default_rng(0))
    mine = nets_symgraph.step(net, data).results()
    other = torch_nets.step(net, data).results()
    assert len({float(v) for v in mine}) == 3
    assert difference(digest(mine), digest(other)) < 1e-4


@pytest.mark.parametrize(("kind", "name"), [("net_hvp", "lstm"), ("ggn", "dense")])
def test_products_agree(kind: str, name: str) -> None:
    data = nets.make_net(SMALL[name], np.random.default_rng(0))
    mine, other = (m.KINDS[kind](SMALL[name], data).results() for m in (nets_symgraph, torch_nets))
    assert difference(digest(mine), digest([v.detach() for v in other])) < 1e-3


def test_update_agrees() -> None:
    net = nets.Net("", "adam", {"p": nets.Values((50,), 0.1)}, {"g": nets.Input((50,))})
    data = nets.make_net(net, np.random.default_rng(0))
    mine, other = (m.update(net, data).results() for m in (nets_symgraph, torch_nets))
    assert not np.array_equal(mine[0], data.params["p"])
    assert difference(digest(mine), digest(other)) < 1e-5


def test_scan_and_unrolled_are_one_model() -> None:
    data = nets.make_net(SMALL["lstm"], np.random.default_rng(1))
    losses = [nets_symgraph.step(SMALL[n], data).results() for n in ("lstm", "lstm_unrolled")]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_every_model_has_a_loss() -> None:
    models = {**nets.NETS, **nets.DEPTHS, **convnets.CONVNETS}
    assert all(hasattr(Losses, net.loss) for _, net in models.values())


def test_convnets_have_their_published_sizes() -> None:
    """Parameters of the one-tower AlexNet, of VGG-A, and of GoogLeNet without its side losses."""
    count = {
        name: sum(math.prod(v.shape) for v in net.params.values())
        for name, (_, net) in convnets.CONVNETS.items()
    }
    assert count["alexnet"] == 61_100_840
    assert count["vgg_a"] == 132_863_336
    assert 6_990_000 < count["googlenet"] < 7_000_000
    assert 140e6 < count["overfeat"] < 150e6
