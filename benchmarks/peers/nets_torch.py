"""Losses of whole models in torch; `step` serves eager torch and torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as nnf

from benchmarks.nets import BETAS, EPSILON, RATES, Net, NetData, resnet_blocks
from benchmarks.program import STEPS, Program

Sizes = Mapping[str, int]
Tensors = Mapping[str, Any]
RULES = {
    "sgd": lambda p: torch.optim.SGD(p, RATES["sgd"], fused=True),
    "adam": lambda p: torch.optim.Adam(p, RATES["adam"], BETAS, EPSILON, fused=True),
}


def cross_entropy(logits: Any, targets: Any) -> Any:
    """Return the mean over all rows."""
    return nnf.cross_entropy(logits.flatten(0, -2), targets.flatten())


def lstm(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the language model by torch's own LSTM, which wants two biases."""
    h = nnf.embedding(x["words"], p["embedding"])
    state = h.new_zeros(sizes["layers"], sizes["batch"], sizes["width"])
    weights = []
    for k in range(sizes["layers"]):
        second = torch.zeros_like(p[f"b{k}"])
        weights += [p[f"w{k}"].T, p[f"u{k}"].T, p[f"b{k}"], second]
    options = (True, sizes["layers"], 0.0, True, False, False)
    h, _, _ = torch.lstm(h, (state, state), weights, *options)
    return cross_entropy(h @ p["w"] + p["b"], x["targets"])


def lstm_unrolled(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the language model, written out step by step."""
    h = nnf.embedding(x["words"], p["embedding"])
    for k in range(sizes["layers"]):
        gates = h @ p[f"w{k}"] + p[f"b{k}"]
        state = c = h.new_zeros(sizes["batch"], sizes["width"])
        states = []
        for t in range(sizes["steps"]):
            i, f, g, o = (gates[t] + state @ p[f"u{k}"]).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            state = torch.sigmoid(o) * torch.tanh(c)
            states.append(state)
        h = torch.stack(states)
    return cross_entropy(h @ p["w"] + p["b"], x["targets"])


def char_rnn(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the network over characters, by torch's own recurrent layer."""
    rows = nnf.embedding(x["words"], p["embedding"])
    zero = rows.new_zeros(1, sizes["batch"], sizes["width"])
    unit = torch.eye(sizes["width"])
    weights = [unit, p["u"].T, p["b"], torch.zeros_like(p["b"])]
    h, _ = torch.rnn_tanh(rows, zero, weights, True, 1, 0.0, True, False, False)
    return cross_entropy(h @ p["w"] + p["c"], x["targets"])


def attention(x: Any, qkv: Any, heads: int) -> Any:
    """Return causal attention of x (batch, steps, width) to itself, before the last product."""
    batch, steps, width = x.shape
    parts = (x @ qkv).view(batch, steps, 3, heads, width // heads)
    q, k, v = parts.permute(2, 0, 3, 1, 4)
    y = nnf.scaled_dot_product_attention(q, k, v, is_causal=True)
    return y.transpose(1, 2).reshape(batch, steps, width)


def transformer(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the decoder."""
    h = nnf.embedding(x["words"], p["embedding"]) + p["positions"]
    width = h.shape[-1:]
    for k in range(sizes["layers"]):
        normal = nnf.layer_norm(h, width, p[f"g{k}"], p[f"h{k}"])
        h = h + attention(normal, p[f"qkv{k}"], sizes["heads"]) @ p[f"out{k}"]
        wide = nnf.layer_norm(h, width, p[f"s{k}"], p[f"t{k}"]) @ p[f"up{k}"] + p[f"a{k}"]
        h = h + nnf.gelu(wide) @ p[f"down{k}"] + p[f"c{k}"]
    logits = nnf.layer_norm(h, width, p["g"], p["h"]) @ p["embedding"].T
    return cross_entropy(logits, x["targets"])


def autoencoder(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the negative lower bound of the likelihood, a mean over the batch."""
    hidden = torch.addmm(p["eb1"], x["x"], p["ew1"]).relu()
    hidden = torch.addmm(p["eb2"], hidden, p["ew2"])
    mean, spread = hidden.split(sizes["latent"], 1)
    z = mean + torch.exp(0.5 * spread) * x["noise"]
    logits = torch.addmm(p["db2"], torch.addmm(p["db1"], z, p["dw1"]).relu(), p["dw2"])
    likelihood = nnf.binary_cross_entropy_with_logits(logits, x["x"], reduction="sum")
    divergence = 0.5 * (mean**2 + torch.exp(spread) - 1 - spread).sum()
    return (likelihood + divergence) / len(mean)


def physics(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean squared residual of Burgers' equation."""
    t, at = (x[name].detach().requires_grad_() for name in ("t", "x"))
    h = torch.cat([t, at], 1)
    for k in range(1, sizes["layers"]):
        h = torch.tanh(torch.addmm(p[f"b{k}"], h, p[f"w{k}"]))
    u = torch.addmm(p[f"b{sizes['layers']}"], h, p[f"w{sizes['layers']}"])
    by_t, by_x = torch.autograd.grad(u.sum(), [t, at], create_graph=True)
    (by_xx,) = torch.autograd.grad(by_x.sum(), at, create_graph=True)
    return ((by_t + u * by_x - 0.01 * by_xx) ** 2).mean()


def actor_critic(heads: Any, x: Tensors, actions: int) -> Any:
    """Return the loss of policy and value: `heads` has the logits of actions, then the value."""
    logp = torch.log_softmax(heads[:, :actions], -1)
    value = heads[:, actions]
    taken = logp.gather(1, x["actions"][:, None])[:, 0]
    advantage = (x["returns"] - value).detach()
    entropy = -(torch.exp(logp) * logp).sum(1)
    error = (x["returns"] - value) ** 2
    return (-taken * advantage + 0.5 * error - 0.01 * entropy).mean()


def dense_layers(h: Any, p: Tensors, layers: int, activation: Any) -> Any:
    """Return the result of dense layers; the last one has no activation."""
    for k in range(1, layers + 1):
        h = torch.addmm(p[f"b{k}"], h, p[f"w{k}"])
        h = h if k == layers else activation(h)
    return h


def nature(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the policy network of frames."""
    h = x["x"]
    for k, stride in ((1, 4), (2, 2), (3, 1)):
        h = nnf.conv2d(h, p[f"f{k}"], p[f"c{k}"], stride).relu()
    return actor_critic(dense_layers(h.flatten(1), p, 2, torch.relu), x, sizes["actions"])


def policy(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the small policy network."""
    return actor_critic(dense_layers(x["x"], p, sizes["layers"], torch.tanh), x, sizes["actions"])


def resnet18(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean cross-entropy of ResNet-18."""

    def layer(name: str, h: Any, stride: int, padding: int) -> Any:
        h = nnf.conv2d(h, p[f"f{name}"], None, stride, padding)
        return nnf.batch_norm(h, None, None, p[f"g{name}"], p[f"b{name}"], True)

    h = layer("stem", x["x"], 1, 1).relu()
    for name, _, _, stride in resnet_blocks():
        inner = layer(f"{name}b", layer(f"{name}a", h, stride, 1).relu(), 1, 1)
        h = (inner + (layer(f"{name}c", h, stride, 0) if stride > 1 else h)).relu()
    return cross_entropy(torch.addmm(p["b1"], h.mean((2, 3)), p["w1"]), x["targets"])


def dense(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean cross-entropy of a network of dense layers."""
    return cross_entropy(dense_layers(x["x"], p, sizes["layers"], torch.tanh), x["targets"])


def unrolled(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean square of the last state of a recurrent network, step by step."""
    h = torch.zeros_like(x["x"][0])
    for t in range(sizes["steps"]):
        h = torch.tanh(x["x"][t] @ p["w"] + h @ p["u"] + p["b"])
    return (h * h).mean()


LOSSES: dict[str, Callable[[Sizes, Tensors, Tensors], Any]] = {
    f.__name__: f
    for f in (
        lstm, lstm_unrolled, char_rnn, transformer, autoencoder, physics, nature, policy, resnet18,
        dense, unrolled,
    )
}  # fmt: skip


def arrays(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of named arrays as tensors."""
    return {name: torch.tensor(a) for name, a in given.items()}


def step(net: Net, data: NetData, made: Callable[[Any], Any] = lambda f: f) -> Program:
    """A step with a fused optimiser; the loss is what `made` makes of the function."""
    x, p = arrays(data.inputs), arrays(data.params)
    optimiser = RULES[net.rule]([v.requires_grad_() for v in p.values()])
    loss_of = made(lambda p, x: LOSSES[net.loss](net.sizes, p, x))

    def once() -> Any:
        optimiser.zero_grad()
        loss = loss_of(p, x)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return Program("step()", {"step": once}, lambda: [once() for _ in range(STEPS)])


def update(net: Net, data: NetData) -> Program:
    """A step of the fused optimiser with a given gradient."""
    p = torch.tensor(data.params["p"]).requires_grad_()
    p.grad = torch.tensor(data.inputs["g"])
    optimiser = RULES[net.rule]([p])

    def results() -> Any:
        for _ in range(STEPS):
            optimiser.step()
        return [p.detach().numpy().copy()]

    return Program("step()", {"step": optimiser.step}, results)


def net_hvp(net: Net, data: NetData) -> Program:
    """The Hessian of the loss times a direction, by a second backward pass."""
    x, p = arrays(data.inputs), arrays(data.params)
    params = [v.requires_grad_() for v in p.values()]
    direction = list(arrays(data.direction).values())

    def product() -> Any:
        loss = LOSSES[net.loss](net.sizes, p, x)
        grads = torch.autograd.grad(loss, params, create_graph=True)
        return torch.autograd.grad(grads, params, direction)

    return Program("f()", {"f": product}, product)


def ggn(net: Net, data: NetData, made: Callable[[Any], Any] = lambda f: f) -> Program:
    """The Gauss-Newton matrix of a dense network times a direction."""
    x, p, v = (arrays(given) for given in (data.inputs, data.params, data.direction))

    def logits_of(p: Tensors) -> Any:
        return dense_layers(x["x"], p, net.sizes["layers"], torch.tanh)

    def product(p: Tensors, v: Tensors) -> Any:
        logits, pull = torch.func.vjp(logits_of, p)
        moved = torch.func.jvp(logits_of, (p,), (v,))[1]
        slope = torch.func.grad(lambda y: cross_entropy(y, x["targets"]))
        return list(pull(torch.func.jvp(slope, (logits,), (moved,))[1])[0].values())

    f = made(product)
    return Program("f(p, v)", {"f": f, "p": p, "v": v}, lambda: f(p, v))


KINDS = {"step": step, "update": update, "net_hvp": net_hvp, "ggn": ggn}
