"""Losses of whole models in symgraph, and what is made of them: steps and products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import symgraph as sg
import symgraph_nn as nn
from benchmarks.nets import BETAS, EPSILON, RATES, Net, NetData, resnet_blocks
from benchmarks.program import STEPS, Program

Sizes = Mapping[str, int]
Tensors = Mapping[str, Any]
RULES = {
    "sgd": nn.optim.sgd(RATES["sgd"]),
    "adam": nn.optim.adam(RATES["adam"], *BETAS, EPSILON),
}


def lstm_cell(gates: Any, c: Any, n: int) -> tuple[Any, Any]:
    """Return state and memory after a step, from the sums of the four gates."""
    i, f, g, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
    c = sg.sigmoid(f) * c + sg.sigmoid(i) * sg.tanh(g)
    return sg.sigmoid(o) * sg.tanh(c), c


def lstm(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the language model, each layer a scan over the steps."""
    n = sizes["width"]
    h = p["embedding"][x["words"]]
    zero = sg.zeros((sizes["batch"], n), h.dtype)
    for k in range(sizes["layers"]):
        u = p[f"u{k}"]
        gates = h @ p[f"w{k}"] + p[f"b{k}"]
        h, _ = sg.scan(lambda a, h, c, u=u: lstm_cell(a + h @ u, c, n), gates, [zero, zero])
    return sg.cross_entropy(h @ p["w"] + p["b"], x["targets"]).mean()


def lstm_unrolled(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the language model, written out step by step."""
    n = sizes["width"]
    h = p["embedding"][x["words"]]
    for k in range(sizes["layers"]):
        gates = h @ p[f"w{k}"] + p[f"b{k}"]
        state = c = sg.zeros((sizes["batch"], n), h.dtype)
        states = []
        for t in range(sizes["steps"]):
            state, c = lstm_cell(gates[t] + state @ p[f"u{k}"], c, n)
            states.append(state)
        h = sg.stack(states)
    return sg.cross_entropy(h @ p["w"] + p["b"], x["targets"]).mean()


def char_rnn(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the network over characters."""
    rows = p["embedding"][x["words"]] + p["b"]
    zero = sg.zeros((sizes["batch"], sizes["width"]), rows.dtype)
    h = sg.scan(lambda row, h: sg.tanh(row + h @ p["u"]), rows, zero)
    return sg.cross_entropy(h @ p["w"] + p["c"], x["targets"]).mean()


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    """Return rows of mean 0 and variance 1, scaled and shifted."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / sg.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * scale + shift


def gelu(x: Any) -> Any:
    """Return x times the normal distribution function of x."""
    return x * (1 + sg.erf(x * 0.5**0.5)) * 0.5


def attention(x: Any, qkv: Any, heads: int) -> Any:
    """Return causal attention of x (batch, steps, width) to itself, before the last product."""
    batch, steps, width = x.shape
    parts = (x @ qkv).reshape((batch, steps, 3, heads, width // heads))
    q, k, v = parts.transpose((2, 0, 3, 1, 4))
    scores = q @ k.swapaxes(-1, -2) * (width // heads) ** -0.5
    scores = sg.where(sg.tri(steps, dtype="bool"), scores, -np.inf)
    return (sg.softmax(scores, -1) @ v).swapaxes(1, 2).reshape((batch, steps, width))


def transformer(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the decoder."""
    h = p["embedding"][x["words"]] + p["positions"]
    for k in range(sizes["layers"]):
        normal = layer_norm(h, p[f"g{k}"], p[f"h{k}"])
        h = h + attention(normal, p[f"qkv{k}"], sizes["heads"]) @ p[f"out{k}"]
        wide = layer_norm(h, p[f"s{k}"], p[f"t{k}"]) @ p[f"up{k}"] + p[f"a{k}"]
        h = h + gelu(wide) @ p[f"down{k}"] + p[f"c{k}"]
    logits = layer_norm(h, p["g"], p["h"]) @ p["embedding"].T
    return sg.cross_entropy(logits, x["targets"]).mean()


def autoencoder(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the negative lower bound of the likelihood, a mean over the batch."""
    hidden = sg.relu(x["x"] @ p["ew1"] + p["eb1"]) @ p["ew2"] + p["eb2"]
    mean, spread = hidden[:, : sizes["latent"]], hidden[:, sizes["latent"] :]
    z = mean + sg.exp(0.5 * spread) * x["noise"]
    logits = sg.relu(z @ p["dw1"] + p["db1"]) @ p["dw2"] + p["db2"]
    likelihood = sg.binary_cross_entropy(logits, x["x"]).sum(1)
    divergence = 0.5 * (mean**2 + sg.exp(spread) - 1 - spread).sum(1)
    return (likelihood + divergence).mean()


def physics(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean squared residual of Burgers' equation."""
    h = sg.concatenate([x["t"], x["x"]], 1)
    for k in range(1, sizes["layers"]):
        h = sg.tanh(h @ p[f"w{k}"] + p[f"b{k}"])
    u = h @ p[f"w{sizes['layers']}"] + p[f"b{sizes['layers']}"]
    by_t, by_x = sg.grad(u.sum(), [x["t"], x["x"]])
    by_xx = sg.grad(by_x.sum(), x["x"])
    return ((by_t + u * by_x - 0.01 * by_xx) ** 2).mean()


def actor_critic(heads: Any, x: Tensors, actions: int) -> Any:
    """Return the loss of policy and value: `heads` has the logits of actions, then the value."""
    logp = sg.log_softmax(heads[:, :actions], -1)
    value = heads[:, actions]
    taken = sg.take_along_axis(logp, x["actions"][:, None], 1)[:, 0]
    advantage = sg.stop_gradient(x["returns"] - value)
    entropy = -(sg.exp(logp) * logp).sum(1)
    error = (x["returns"] - value) ** 2
    return (-taken * advantage + 0.5 * error - 0.01 * entropy).mean()


def dense_layers(h: Any, p: Tensors, layers: int, activation: Any) -> Any:
    """Return the result of dense layers; the last one has no activation."""
    for k in range(1, layers + 1):
        h = h @ p[f"w{k}"] + p[f"b{k}"]
        h = h if k == layers else activation(h)
    return h


def nature(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the policy network of frames."""
    h = x["x"]
    for k, stride in ((1, 4), (2, 2), (3, 1)):
        h = sg.relu(sg.conv2d(h, p[f"f{k}"], stride=stride) + p[f"c{k}"][:, None, None])
    h = dense_layers(h.reshape((h.shape[0], -1)), p, 2, sg.relu)
    return actor_critic(h, x, sizes["actions"])


def policy(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the small policy network."""
    return actor_critic(dense_layers(x["x"], p, sizes["layers"], sg.tanh), x, sizes["actions"])


def batch_norm(x: Any, scale: Any, shift: Any) -> Any:
    """Return channels of mean 0 and variance 1 over the batch, scaled and shifted."""
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / sg.sqrt(variance + 1e-5) * scale[:, None, None] + shift[:, None, None]


def resnet18(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean cross-entropy of ResNet-18."""

    def layer(name: str, h: Any, stride: int, padding: int) -> Any:
        h = sg.conv2d(h, p[f"f{name}"], stride=stride, padding=padding)
        return batch_norm(h, p[f"g{name}"], p[f"b{name}"])

    h = sg.relu(layer("stem", x["x"], 1, 1))
    for name, _, _, stride in resnet_blocks():
        inner = layer(f"{name}b", sg.relu(layer(f"{name}a", h, stride, 1)), 1, 1)
        h = sg.relu(inner + (layer(f"{name}c", h, stride, 0) if stride > 1 else h))
    logits = h.mean((2, 3)) @ p["w1"] + p["b1"]
    return sg.cross_entropy(logits, x["targets"]).mean()


def dense(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean cross-entropy of a network of dense layers."""
    logits = dense_layers(x["x"], p, sizes["layers"], sg.tanh)
    return sg.cross_entropy(logits, x["targets"]).mean()


def unrolled(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean square of the last state of a recurrent network, step by step."""
    h = sg.zeros(x["x"].shape[1:], x["x"].dtype)
    for t in range(sizes["steps"]):
        h = sg.tanh(x["x"][t] @ p["w"] + h @ p["u"] + p["b"])
    return (h * h).mean()


LOSSES: dict[str, Callable[[Sizes, Tensors, Tensors], Any]] = {
    f.__name__: f
    for f in (
        lstm, lstm_unrolled, char_rnn, transformer, autoencoder, physics, nature, policy, resnet18,
        dense, unrolled,
    )
}  # fmt: skip


def _inputs(data: NetData) -> dict[str, Any]:
    return {k: sg.tensor(k, (None,) * a.ndim, a.dtype) for k, a in data.inputs.items()}


def step(net: Net, data: NetData) -> Program:
    """A step of optimisation; parameters and the optimiser's state live in shared variables."""
    x = _inputs(data)
    p = {name: sg.shared(value, name) for name, value in data.params.items()}
    loss = LOSSES[net.loss](net.sizes, p, x)
    f = sg.function(list(x.values()), loss, updates=RULES[net.rule](loss, p))
    values = list(data.inputs.values())
    call = f"f({', '.join(data.inputs)})"
    names = {"f": f, **data.inputs}
    results = lambda: [np.array(f(*values)) for _ in range(STEPS)]
    return Program(call, names, results, lambda: storage(f))


def storage(f: Any) -> dict[str, int]:
    """Return the bytes of the arena, and those of all temporaries if none shared its place."""
    version = f.compiled.version_list[0]
    return {"arena": version.module.arena, "temporaries": version.module.plan.total_bytes}


def update(net: Net, data: NetData) -> Program:
    """A step of the optimiser with the gradient as an argument."""
    p, g = sg.shared(data.params["p"], "p"), sg.vector("g")
    f = sg.function([g], updates=RULES[net.rule]((p * g).sum(), [p]))
    gradient = data.inputs["g"]

    def results() -> Any:
        for _ in range(STEPS):
            f(gradient)
        return [p.get_value()]

    return Program("f(g)", {"f": f, "g": gradient}, results)


def net_hvp(net: Net, data: NetData) -> Program:
    """The Hessian of the loss times a direction."""
    return _product(net, data, lambda p, x, v: sg.hvp(LOSSES[net.loss](net.sizes, p, x), *v))


def ggn(net: Net, data: NetData) -> Program:
    """The Gauss-Newton matrix of a dense network times a direction."""

    def product(p: Tensors, x: Tensors, v: Any) -> Any:
        logits = dense_layers(x["x"], p, net.sizes["layers"], sg.tanh)
        return sg.ggnvp(sg.cross_entropy(logits, x["targets"]).mean(), logits, *v)

    return _product(net, data, product)


def _product(net: Net, data: NetData, product: Callable[..., Any]) -> Program:
    x = _inputs(data)
    p, v = (
        {k: sg.shared(a, k) for k, a in given.items()} for given in (data.params, data.direction)
    )
    result = product(p, x, (list(p.values()), list(v.values())))
    f = sg.function(list(x.values()), result)
    values = list(data.inputs.values())
    names = {"f": f, **data.inputs}
    return Program(f"f({', '.join(data.inputs)})", names, lambda: f(*values))


KINDS = {"step": step, "update": update, "net_hvp": net_hvp, "ggn": ggn}
