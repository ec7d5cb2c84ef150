"""Whole models of the benchmark: the same losses and products in symgraph and in torch."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import nets
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
    assert all(hasattr(Losses, net.loss) for _, net in {**nets.NETS, **nets.DEPTHS}.values())
