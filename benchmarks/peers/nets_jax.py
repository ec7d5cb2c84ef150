"""Losses of whole models in JAX; a step is one jitted function that may reuse its state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.nets import BETAS, EPSILON, RATES, Net, NetData, resnet_blocks
from benchmarks.program import STEPS, Program

Sizes = Mapping[str, int]
Tensors = Mapping[str, Any]


def cross_entropy(logits: Any, targets: Any) -> Any:
    """Return the mean over all rows."""
    logp = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logp, targets[..., None], -1).mean()


def lstm_cell(gates: Any, c: Any) -> tuple[Any, Any]:
    """Return state and memory after a step, from the sums of the four gates."""
    i, f, g, o = jnp.split(gates, 4, 1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def lstm(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the language model, each layer a scan over the steps."""
    h = p["embedding"][x["words"]]
    zero = jnp.zeros((sizes["batch"], sizes["width"]), h.dtype)
    for k in range(sizes["layers"]):

        def cell(carry: Any, gates: Any, u: Any = p[f"u{k}"]) -> Any:
            h, c = lstm_cell(gates + carry[0] @ u, carry[1])
            return (h, c), h

        h = jax.lax.scan(cell, (zero, zero), h @ p[f"w{k}"] + p[f"b{k}"])[1]
    return cross_entropy(h @ p["w"] + p["b"], x["targets"])


def lstm_unrolled(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the language model, written out step by step."""
    h = p["embedding"][x["words"]]
    for k in range(sizes["layers"]):
        gates = h @ p[f"w{k}"] + p[f"b{k}"]
        state = c = jnp.zeros((sizes["batch"], sizes["width"]), h.dtype)
        states = []
        for t in range(sizes["steps"]):
            state, c = lstm_cell(gates[t] + state @ p[f"u{k}"], c)
            states.append(state)
        h = jnp.stack(states)
    return cross_entropy(h @ p["w"] + p["b"], x["targets"])


def char_rnn(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the network over characters."""

    def cell(h: Any, row: Any) -> Any:
        new = jnp.tanh(row + h @ p["u"])
        return new, new

    rows = p["embedding"][x["words"]] + p["b"]
    h = jax.lax.scan(cell, jnp.zeros((sizes["batch"], sizes["width"]), rows.dtype), rows)[1]
    return cross_entropy(h @ p["w"] + p["c"], x["targets"])


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    """Return rows of mean 0 and variance 1, scaled and shifted."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * scale + shift


def attention(x: Any, qkv: Any, heads: int) -> Any:
    """Return causal attention of x (batch, steps, width) to itself, before the last product."""
    batch, steps, width = x.shape
    q, k, v = jnp.moveaxis((x @ qkv).reshape(batch, steps, 3, heads, width // heads), 2, 0)
    return jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(batch, steps, width)


def transformer(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the decoder."""
    h = p["embedding"][x["words"]] + p["positions"]
    for k in range(sizes["layers"]):
        normal = layer_norm(h, p[f"g{k}"], p[f"h{k}"])
        h = h + attention(normal, p[f"qkv{k}"], sizes["heads"]) @ p[f"out{k}"]
        wide = layer_norm(h, p[f"s{k}"], p[f"t{k}"]) @ p[f"up{k}"] + p[f"a{k}"]
        h = h + jax.nn.gelu(wide, approximate=False) @ p[f"down{k}"] + p[f"c{k}"]
    return cross_entropy(layer_norm(h, p["g"], p["h"]) @ p["embedding"].T, x["targets"])


def autoencoder(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the negative lower bound of the likelihood, a mean over the batch."""
    hidden = jax.nn.relu(x["x"] @ p["ew1"] + p["eb1"]) @ p["ew2"] + p["eb2"]
    mean, spread = hidden[:, : sizes["latent"]], hidden[:, sizes["latent"] :]
    z = mean + jnp.exp(0.5 * spread) * x["noise"]
    logits = jax.nn.relu(z @ p["dw1"] + p["db1"]) @ p["dw2"] + p["db2"]
    likelihood = (jax.nn.softplus(logits) - x["x"] * logits).sum(1)
    divergence = 0.5 * (mean**2 + jnp.exp(spread) - 1 - spread).sum(1)
    return (likelihood + divergence).mean()


def physics(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean squared residual of Burgers' equation: derivatives at a point, batched."""

    def network(t: Any, at: Any) -> Any:
        return dense_layers(jnp.stack([t, at]), p, sizes["layers"], jnp.tanh)[0]

    def residual(t: Any, at: Any) -> Any:
        u, (by_t, by_x) = jax.value_and_grad(network, (0, 1))(t, at)
        by_xx = jax.grad(jax.grad(network, 1), 1)(t, at)
        return by_t + u * by_x - 0.01 * by_xx

    return (jax.vmap(residual)(x["t"][:, 0], x["x"][:, 0]) ** 2).mean()


def actor_critic(heads: Any, x: Tensors, actions: int) -> Any:
    """Return the loss of policy and value: `heads` has the logits of actions, then the value."""
    logp = jax.nn.log_softmax(heads[:, :actions])
    value = heads[:, actions]
    taken = jnp.take_along_axis(logp, x["actions"][:, None], 1)[:, 0]
    advantage = jax.lax.stop_gradient(x["returns"] - value)
    entropy = -(jnp.exp(logp) * logp).sum(1)
    error = (x["returns"] - value) ** 2
    return (-taken * advantage + 0.5 * error - 0.01 * entropy).mean()


def dense_layers(h: Any, p: Tensors, layers: int, activation: Any) -> Any:
    """Return the result of dense layers; the last one has no activation."""
    for k in range(1, layers + 1):
        h = h @ p[f"w{k}"] + p[f"b{k}"]
        h = h if k == layers else activation(h)
    return h


def conv(x: Any, filters: Any, stride: int, padding: int = 0) -> Any:
    """Return the correlation of images and filters."""
    return jax.lax.conv_general_dilated(x, filters, (stride, stride), [(padding, padding)] * 2)


def nature(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the policy network of frames."""
    h = x["x"]
    for k, stride in ((1, 4), (2, 2), (3, 1)):
        h = jax.nn.relu(conv(h, p[f"f{k}"], stride) + p[f"c{k}"][:, None, None])
    h = dense_layers(h.reshape(len(h), -1), p, 2, jax.nn.relu)
    return actor_critic(h, x, sizes["actions"])


def policy(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the loss of the small policy network."""
    return actor_critic(dense_layers(x["x"], p, sizes["layers"], jnp.tanh), x, sizes["actions"])


def batch_norm(x: Any, scale: Any, shift: Any) -> Any:
    """Return channels of mean 0 and variance 1 over the batch, scaled and shifted."""
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-5) * scale[:, None, None] + shift[:, None, None]


def resnet18(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean cross-entropy of ResNet-18."""

    def layer(name: str, h: Any, stride: int, padding: int) -> Any:
        return batch_norm(conv(h, p[f"f{name}"], stride, padding), p[f"g{name}"], p[f"b{name}"])

    h = jax.nn.relu(layer("stem", x["x"], 1, 1))
    for name, _, _, stride in resnet_blocks():
        inner = layer(f"{name}b", jax.nn.relu(layer(f"{name}a", h, stride, 1)), 1, 1)
        h = jax.nn.relu(inner + (layer(f"{name}c", h, stride, 0) if stride > 1 else h))
    return cross_entropy(h.mean((2, 3)) @ p["w1"] + p["b1"], x["targets"])


def dense(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean cross-entropy of a network of dense layers."""
    return cross_entropy(dense_layers(x["x"], p, sizes["layers"], jnp.tanh), x["targets"])


def unrolled(sizes: Sizes, p: Tensors, x: Tensors) -> Any:
    """Return the mean square of the last state of a recurrent network, step by step."""
    h = jnp.zeros_like(x["x"][0])
    for t in range(sizes["steps"]):
        h = jnp.tanh(x["x"][t] @ p["w"] + h @ p["u"] + p["b"])
    return (h * h).mean()


LOSSES: dict[str, Callable[[Sizes, Tensors, Tensors], Any]] = {
    f.__name__: f
    for f in (
        lstm, lstm_unrolled, char_rnn, transformer, autoencoder, physics, nature, policy, resnet18,
        dense, unrolled,
    )
}  # fmt: skip


def sgd(state: dict[str, Any], grads: Any) -> dict[str, Any]:
    """Return the state after a step of gradient descent."""
    return {"p": jax.tree.map(lambda p, g: p - RATES["sgd"] * g, state["p"], grads)}


def adam(state: dict[str, Any], grads: Any) -> dict[str, Any]:
    """Return the state after a step of Adam."""
    (b1, b2), t = BETAS, state["t"] + 1
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state["m"], grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state["v"], grads)
    # 1 - b**t in float32, to the last digits
    first, second = (-jnp.expm1(t * math.log(b)) for b in BETAS)
    rate, scale = RATES["adam"] / first, 1 / jnp.sqrt(second)
    p = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) * scale + EPSILON), state["p"], m, v
    )
    return {"p": p, "m": m, "v": v, "t": t}


RULES = {"sgd": sgd, "adam": adam}


def arrays(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of named arrays as JAX's own."""
    return {name: jnp.array(a) for name, a in given.items()}


def start(net: Net, data: NetData) -> dict[str, Any]:
    """Return parameters and the optimiser's state."""
    state: dict[str, Any] = {"p": arrays(data.params)}
    if net.rule == "adam":
        zeros = [jax.tree.map(jnp.zeros_like, state["p"]) for _ in range(2)]
        state |= {"m": zeros[0], "v": zeros[1], "t": jnp.float32(0)}
    return state


def step(net: Net, data: NetData) -> Program:
    """A step of optimisation, the old state given to XLA for reuse."""
    x, kept = arrays(data.inputs), {"state": start(net, data)}

    def update(state: Any, x: Any) -> Any:
        loss, grads = jax.value_and_grad(lambda p: LOSSES[net.loss](net.sizes, p, x))(state["p"])
        return loss, RULES[net.rule](state, grads)

    compiled = jax.jit(update, donate_argnums=0)

    def once() -> Any:
        loss, kept["state"] = compiled(kept["state"], x)
        return loss.block_until_ready()

    return Program("step()", {"step": once}, lambda: [once() for _ in range(STEPS)])


def update(net: Net, data: NetData) -> Program:
    """A step of the optimiser with the gradient as an argument."""
    kept, grads = {"state": start(net, data)}, {"p": jnp.array(data.inputs["g"])}
    compiled = jax.jit(RULES[net.rule], donate_argnums=0)

    def once() -> None:
        kept["state"] = jax.block_until_ready(compiled(kept["state"], grads))

    def results() -> Any:
        for _ in range(STEPS):
            once()
        return [kept["state"]["p"]["p"]]

    return Program("step()", {"step": once}, results)


def net_hvp(net: Net, data: NetData) -> Program:
    """The Hessian of the loss times a direction, forward over reverse."""

    def product(p: Tensors, v: Tensors, x: Tensors) -> Any:
        gradient = jax.grad(lambda p: LOSSES[net.loss](net.sizes, p, x))
        return jax.jvp(gradient, (p,), (v,))[1]

    return _product(data, product)


def ggn(net: Net, data: NetData) -> Program:
    """The Gauss-Newton matrix of a dense network times a direction."""

    def product(p: Tensors, v: Tensors, x: Tensors) -> Any:
        def logits_of(p: Tensors) -> Any:
            return dense_layers(x["x"], p, net.sizes["layers"], jnp.tanh)

        logits, push = jax.linearize(logits_of, p)
        slope = jax.grad(lambda y: cross_entropy(y, x["targets"]))
        curved = jax.jvp(slope, (logits,), (push(v),))[1]
        return jax.linear_transpose(push, p)(curved)[0]

    return _product(data, product)


def _product(data: NetData, product: Callable[..., Any]) -> Program:
    values = tuple(arrays(given) for given in (data.params, data.direction, data.inputs))
    f = jax.jit(product)
    names = {"f": f, "a": values, "wait": jax.block_until_ready}
    return Program("wait(f(*a))", names, lambda: [f(*values)[k] for k in data.params])


KINDS = {"step": step, "update": update, "net_hvp": net_hvp, "ggn": ggn}
