"""Whole models: their numbers, parameters and inputs. The losses are in `benchmarks.losses`.

Every peer gets the same initial values and inputs by the same names, and a rule of optimisation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RATES = {"sgd": 0.01, "sgd_slow": 1e-4, "adam": 1e-3}
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam
UNIFORM, NORMAL = 0, -1  # kinds of inputs besides integers
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """Initial values: `centre` + `spread` * standard normal numbers."""

    shape: Shape
    spread: float = 0.0
    centre: float = 0.0


@dataclass(frozen=True, slots=True)
class Input:
    """An argument: integers below `below` (int64), or float32 that is UNIFORM or NORMAL."""

    shape: Shape
    below: int = NORMAL


@dataclass(frozen=True, slots=True)
class Net:
    """A model. `loss` names a method of `Losses`, `rule` one of `RATES`.

    sizes: numbers that the losses need beyond the shapes. layers: of a network on images, as in
    `benchmarks.convnets`.
    """

    loss: str
    rule: str
    params: Mapping[str, Values]
    inputs: Mapping[str, Input]
    sizes: Mapping[str, int] = field(default_factory=dict)
    layers: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class NetData:
    """Arrays of a model by name; `direction` are normal numbers like the parameters."""

    params: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    direction: dict[str, np.ndarray]


def make_net(net: Net, rng: np.random.Generator) -> NetData:
    """Return the arrays of a model."""

    def normal(shape: Shape) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    params = {
        name: np.float32(v.centre) + np.float32(v.spread) * normal(v.shape)
        if v.spread
        else np.full(v.shape, v.centre, np.float32)
        for name, v in net.params.items()
    }
    inputs = {}
    for name, given in net.inputs.items():
        if given.below > 0:
            inputs[name] = rng.integers(0, given.below, given.shape)
        elif given.below == UNIFORM:
            inputs[name] = rng.random(given.shape, dtype=np.float32)
        else:
            inputs[name] = normal(given.shape)
    return NetData(params, inputs, {name: normal(p.shape) for name, p in params.items()})


def dense_params(*widths: int) -> dict[str, Values]:
    """Return weights w1, w2 ... (in, out) and biases b1, b2 ... of dense layers."""
    found = {}
    for k, (rows, columns) in enumerate(zip(widths, widths[1:], strict=False), 1):
        found[f"w{k}"] = Values((rows, columns), 1 / math.sqrt(rows))
        found[f"b{k}"] = Values((columns,))
    return found


def lstm(loss: str, vocabulary: int, width: int, layers: int, steps: int, batch: int) -> Net:
    """Return a language model (Zaremba et al. 2014): embedding, LSTM layers, softmax over words.

    Gates are in the order input, forget, cell, output; words are (steps, batch).
    """
    params = {"embedding": Values((vocabulary, width), 0.1)}
    for k in range(layers):
        spread = 1 / math.sqrt(width)
        params[f"w{k}"] = Values((width, 4 * width), spread)
        params[f"u{k}"] = Values((width, 4 * width), spread)
        params[f"b{k}"] = Values((4 * width,))
    params["w"] = Values((width, vocabulary), 1 / math.sqrt(width))
    params["b"] = Values((vocabulary,))
    words = Input((steps, batch), vocabulary)
    sizes = {"layers": layers, "width": width, "steps": steps, "batch": batch}
    return Net(loss, "sgd", params, {"words": words, "targets": words}, sizes)


def char_rnn(characters: int, width: int, steps: int, batch: int) -> Net:
    """Return a recurrent network of tanh units over characters (Karpathy's smallest)."""
    params = {
        "embedding": Values((characters, width), 0.1),
        "u": Values((width, width), 1 / math.sqrt(width)),
        "b": Values((width,)),
        "w": Values((width, characters), 1 / math.sqrt(width)),
        "c": Values((characters,)),
    }
    text = Input((steps, batch), characters)
    sizes = {"width": width, "batch": batch}
    return Net("char_rnn", "sgd", params, {"words": text, "targets": text}, sizes)


def captions(
    vocabulary: int, width: int, frames: int, features: int, steps: int, batch: int
) -> Net:
    """Return a decoder of video captions (Yao et al. 2015): an LSTM that attends to the frames.

    Frames are given as features (batch, frames, features), words are (steps, batch).
    """

    def matrix(rows: int, columns: int) -> Values:
        return Values((rows, columns), 1 / math.sqrt(rows))

    params = {
        "embedding": Values((vocabulary, width), 0.1),
        "seen": matrix(features, width),
        "asked": matrix(width, width),
        "score": matrix(width, 1),
        "w0": matrix(width, 4 * width),
        "v0": matrix(features, 4 * width),
        "u0": matrix(width, 4 * width),
        "b0": Values((4 * width,)),
        "w": matrix(width, vocabulary),
        "b": Values((vocabulary,)),
    }
    words = Input((steps, batch), vocabulary)
    inputs = {"frames": Input((batch, frames, features)), "words": words, "targets": words}
    return Net("captions", "adam", params, inputs, {"width": width, "batch": batch})


def transformer(vocabulary: int, width: int, layers: int, steps: int, batch: int) -> Net:
    """Return a decoder (Radford et al. 2019): norms first, GELU, causal, tied embedding."""
    params = {
        "embedding": Values((vocabulary, width), 0.02),
        "positions": Values((steps, width), 0.02),
    }
    for k in range(layers):
        params |= {
            f"g{k}": Values((width,), centre=1.0),
            f"h{k}": Values((width,)),
            f"qkv{k}": Values((width, 3 * width), 0.06),
            f"out{k}": Values((width, width), 0.06),
            f"s{k}": Values((width,), centre=1.0),
            f"t{k}": Values((width,)),
            f"up{k}": Values((width, 4 * width), 0.06),
            f"a{k}": Values((4 * width,)),
            f"down{k}": Values((4 * width, width), 0.03),
            f"c{k}": Values((width,)),
        }
    params |= {"g": Values((width,), centre=1.0), "h": Values((width,))}
    words = Input((batch, steps), vocabulary)
    sizes = {"layers": layers, "heads": width // 64}
    return Net("transformer", "adam", params, {"words": words, "targets": words}, sizes)


def autoencoder(batch: int, pixels: int = 784, hidden: int = 400, latent: int = 20) -> Net:
    """Return a variational autoencoder (Kingma and Welling 2014); its noise is an input."""
    params = {
        **{f"e{k}": v for k, v in dense_params(pixels, hidden, 2 * latent).items()},
        **{f"d{k}": v for k, v in dense_params(latent, hidden, pixels).items()},
    }
    inputs = {"x": Input((batch, pixels), UNIFORM), "noise": Input((batch, latent))}
    return Net("autoencoder", "adam", params, inputs, {"latent": latent})


def physics(points: int, width: int = 50, hidden: int = 4) -> Net:
    """Return a physics-informed network for Burgers' equation (Raissi et al. 2019).

    The loss is the mean squared residual u_t + u u_x - 0.01 u_xx, with derivatives of the network.
    """
    params = dense_params(2, *([width] * hidden), 1)
    column = Input((points, 1), UNIFORM)
    return Net("physics", "adam", params, {"t": column, "x": column}, {"layers": hidden + 1})


def policy_inputs(batch: int, *observation: int, actions: int) -> dict[str, Input]:
    """Return what an advantage actor-critic step reads."""
    return {
        "x": Input((batch, *observation), UNIFORM),
        "actions": Input((batch,), actions),
        "returns": Input((batch,)),
    }


def nature(batch: int, actions: int = 6) -> Net:
    """Return the network of Mnih et al. (Nature 2015), with a policy and a value as its heads."""
    params = {}
    for k, (filters, channels, size) in enumerate(((32, 4, 8), (64, 32, 4), (64, 64, 3)), 1):
        params[f"f{k}"] = Values((filters, channels, size, size), channels**-0.5 / size)
        params[f"c{k}"] = Values((filters,))
    params |= dense_params(64 * 7 * 7, 512, actions + 1)
    inputs = policy_inputs(batch, 4, 84, 84, actions=actions)
    return Net("nature", "adam", params, inputs, {"actions": actions})


def policy(batch: int, observation: int = 17, width: int = 64, actions: int = 6) -> Net:
    """Return a policy network of four dense layers."""
    params = dense_params(observation, width, width, width, actions + 1)
    inputs = policy_inputs(batch, observation, actions=actions)
    return Net("policy", "adam", params, inputs, {"layers": 4, "actions": actions})


def resnet_blocks() -> Iterator[tuple[str, int, int, int]]:
    """Yield (name, channels in, channels out, stride) of the eight blocks of ResNet-18."""
    before = 64
    for stage, channels in enumerate((64, 128, 256, 512)):
        for k in range(2):
            yield f"{stage}{k}", before, channels, 2 if stage and not k else 1
            before = channels


def resnet18(batch: int, classes: int = 10) -> Net:
    """Return ResNet-18 (He et al. 2016) for 32x32; norms by the statistics of the batch."""
    params: dict[str, Values] = {}

    def layer(name: str, channels: int, filters: int, size: int) -> None:
        spread = math.sqrt(2 / (channels * size * size))
        params[f"f{name}"] = Values((filters, channels, size, size), spread)
        params[f"g{name}"] = Values((filters,), centre=1.0)
        params[f"b{name}"] = Values((filters,))

    layer("stem", 3, 64, 3)
    for name, before, channels, stride in resnet_blocks():
        layer(f"{name}a", before, channels, 3)
        layer(f"{name}b", channels, channels, 3)
        if stride > 1:
            layer(f"{name}c", before, channels, 1)
    params |= dense_params(512, classes)
    inputs = {"x": Input((batch, 3, 32, 32)), "targets": Input((batch,), classes)}
    return Net("resnet18", "sgd", params, inputs)


def dense_net(widths: Sequence[int], batch: int) -> Net:
    """Return a network of dense layers with tanh units and a cross-entropy."""
    inputs = {"x": Input((batch, widths[0])), "targets": Input((batch,), widths[-1])}
    sizes = {"layers": len(widths) - 1}
    return Net("dense", "sgd", dense_params(*widths), inputs, sizes)


def deep(layers: int, width: int = 64, batch: int = 32) -> Net:
    """Return a network of many dense layers, to see how compile time grows."""
    return dense_net([width] * layers + [10], batch)


def steps_unrolled(steps: int, width: int = 32, batch: int = 8) -> Net:
    """Return a recurrent network written out step by step, to see how compile time grows."""
    params = {
        "w": Values((width, width), 1 / math.sqrt(width)),
        "u": Values((width, width), 1 / math.sqrt(width)),
        "b": Values((width,)),
    }
    return Net("unrolled", "sgd", params, {"x": Input((steps, batch, width))}, {"steps": steps})


WORDS = 10000
NETS = {
    "transformer": (
        "decoder of 4 layers, 256 wide, 8x64 words of 1024, Adam",
        transformer(1024, 256, 4, 64, 8),
    ),
    "lstm_small": (
        "2 LSTM layers of 200, 20x20 words of 10000, by scan",
        lstm("lstm", WORDS, 200, 2, 20, 20),
    ),
    "lstm_small_unrolled": (
        "2 LSTM layers of 200, 20x20 words of 10000, written out",
        lstm("lstm_unrolled", WORDS, 200, 2, 20, 20),
    ),
    "lstm_medium": (
        "2 LSTM layers of 650, 35x20 words of 10000, by scan",
        lstm("lstm", WORDS, 650, 2, 35, 20),
    ),
    "char_rnn": (
        "tanh units, 128 wide, 64x32 of 65 characters, by scan",
        char_rnn(65, 128, 64, 32),
    ),
    "captions": (
        "LSTM of 512 that attends to 28 frames of 1024, 20x16 words of 2000, Adam",
        captions(2000, 512, 28, 1024, 20, 16),
    ),
    "autoencoder": ("variational autoencoder 784-400-20, batch 128, Adam", autoencoder(128)),
    "physics": ("Burgers' equation by 2-50-50-50-50-1, 1000 points, Adam", physics(1000)),
    "nature": ("policy network of 84x84x4 frames, batch 32, Adam", nature(32)),
    "policy": ("policy network 17-64-64-64-7, batch 64, Adam", policy(64)),
    "resnet18_b16": ("ResNet-18, 32x32, batch 16", resnet18(16)),
}
UPDATE = Net("", "adam", {"p": Values((10**7,), 0.1)}, {"g": Input((10**7,))})
PRODUCTS = {
    "lstm": (
        "net_hvp",
        "Hessian-vector product, 2 LSTM layers of 64, 20x16 words of 100",
        lstm("lstm", 100, 64, 2, 20, 16),
    ),
    "ggn_mlp": (
        "ggn",
        "Gauss-Newton-vector product, tanh, cross-entropy, 784-500-500-10, batch 128",
        dense_net((784, 500, 500, 10), 128),
    ),
}
DEPTHS = {
    **{f"deep_{n}": (f"{n} dense layers of 64", deep(n)) for n in (5, 20, 50, 100, 200)},
    **{f"unrolled_{n}": (f"{n} steps written out", steps_unrolled(n)) for n in (10, 50, 200, 500)},
}
