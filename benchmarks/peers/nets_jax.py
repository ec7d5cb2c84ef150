"""Layers of whole models in JAX; a step is one jitted function that may reuse its state."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.losses import Activation, Losses, Sizes, Tensors
from benchmarks.nets import BETAS, EPSILON, RATES, Net, NetData
from benchmarks.program import STEPS, Program


class JaxLosses(Losses):
    """Layers in JAX; a recurrent layer is a scan over the steps."""

    exp = staticmethod(jnp.exp)
    relu = staticmethod(jax.nn.relu)
    sigmoid = staticmethod(jax.nn.sigmoid)
    tanh = staticmethod(jnp.tanh)
    gelu = staticmethod(functools.partial(jax.nn.gelu, approximate=False))

    def zeros(self, shape: Sequence[int], like: Any) -> Any:
        return jnp.zeros(shape, like.dtype)

    def stack(self, arrays: Sequence[Any]) -> Any:
        return jnp.stack(arrays)

    def parts(self, x: Any, number: int, width: int) -> Sequence[Any]:
        return jnp.split(x, number, 1)

    def constant(self, x: Any) -> Any:
        return jax.lax.stop_gradient(x)

    def log_softmax(self, x: Any) -> Any:
        return jax.nn.log_softmax(x)

    def take(self, x: Any, columns: Any) -> Any:
        return jnp.take_along_axis(x, columns[:, None], 1)[:, 0]

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        logp = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(logp, targets[..., None], -1).mean()

    def binary_cross_entropy(self, logits: Any, targets: Any) -> Any:
        return jax.nn.softplus(logits) - targets * logits

    def embedding(self, table: Any, words: Any) -> Any:
        return table[words]

    def linear(self, x: Any, weights: Any, bias: Any) -> Any:
        return x @ weights + bias

    def conv(self, x: Any, filters: Any, stride: int, padding: int) -> Any:
        around = [(padding, padding)] * 2
        return jax.lax.conv_general_dilated(x, filters, (stride, stride), around)

    def biased_conv(self, x: Any, filters: Any, bias: Any, stride: int, padding: int = 0) -> Any:
        return self.conv(x, filters, stride, padding) + bias[:, None, None]

    def max_pool(self, x: Any, size: int, stride: int, padding: int) -> Any:
        window, steps, around = (1, 1, size, size), (1, 1, stride, stride), (padding, padding)
        return jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, window, steps, ((0, 0), (0, 0), around, around)
        )

    def join_channels(self, arrays: Sequence[Any]) -> Any:
        return jnp.concatenate(arrays, 1)

    def layer_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        return centred / jnp.sqrt(variance + 1e-5) * scale + shift

    def batch_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        normal = (x - mean) / jnp.sqrt(variance + 1e-5)
        return normal * scale[:, None, None] + shift[:, None, None]

    def attention(self, x: Any, qkv: Any, heads: int) -> Any:
        batch, steps, width = x.shape
        q, k, v = jnp.moveaxis((x @ qkv).reshape(batch, steps, 3, heads, width // heads), 2, 0)
        return jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(batch, steps, width)

    def lstm_layers(self, sizes: Sizes, p: Tensors, h: Any) -> Any:
        n = sizes["width"]
        zero = self.zeros((sizes["batch"], n), h)
        for k in range(sizes["layers"]):

            def cell(carry: Any, gates: Any, u: Any = p[f"u{k}"]) -> Any:
                h, c = self.lstm_cell(gates + carry[0] @ u, carry[1], n)
                return (h, c), h

            h = jax.lax.scan(cell, (zero, zero), h @ p[f"w{k}"] + p[f"b{k}"])[1]
        return h

    def recurrence(self, cell: Callable[..., Any], rows: Any, start: Any) -> Any:
        def body(carry: Any, row: Any) -> Any:
            new = cell(row, *carry)
            return new, new[0]

        return jax.lax.scan(body, (start, start), rows)[1]

    def tanh_layer(self, rows: Any, u: Any, bias: Any, start: Any) -> Any:
        def cell(h: Any, row: Any) -> Any:
            new = jnp.tanh(row + h @ u)
            return new, new

        return jax.lax.scan(cell, start, rows + bias)[1]

    def derivatives(self, network: Activation, t: Any, x: Any) -> tuple[Any, Any, Any, Any]:
        def at(t: Any, x: Any) -> Any:
            return network(jnp.stack([t, x]))[0]

        def point(t: Any, x: Any) -> tuple[Any, Any, Any, Any]:
            u, (by_t, by_x) = jax.value_and_grad(at, (0, 1))(t, x)
            return u, by_t, by_x, jax.grad(jax.grad(at, 1), 1)(t, x)

        return jax.vmap(point)(t[:, 0], x[:, 0])


LOSSES = JaxLosses()


def sgd(state: dict[str, Any], grads: Any, rate: float) -> dict[str, Any]:
    """Return the state after a step of gradient descent."""
    return {"p": jax.tree.map(lambda p, g: p - rate * g, state["p"], grads)}


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


RULES = {
    "sgd": functools.partial(sgd, rate=RATES["sgd"]),
    "sgd_slow": functools.partial(sgd, rate=RATES["sgd_slow"]),
    "adam": adam,
}


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
        loss, grads = jax.value_and_grad(lambda p: LOSSES.of(net, p, x))(state["p"])
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
        gradient = jax.grad(lambda p: LOSSES.of(net, p, x))
        return jax.jvp(gradient, (p,), (v,))[1]

    return _product(data, product)


def ggn(net: Net, data: NetData) -> Program:
    """The Gauss-Newton matrix of a dense network times a direction."""

    def product(p: Tensors, v: Tensors, x: Tensors) -> Any:
        def logits_of(p: Tensors) -> Any:
            return LOSSES.dense_logits(net.sizes, p, x)

        logits, push = jax.linearize(logits_of, p)
        slope = jax.grad(lambda y: LOSSES.cross_entropy(y, x["targets"]))
        curved = jax.jvp(slope, (logits,), (push(v),))[1]
        return jax.linear_transpose(push, p)(curved)[0]

    return _product(data, product)


def _product(data: NetData, product: Callable[..., Any]) -> Program:
    values = tuple(arrays(given) for given in (data.params, data.direction, data.inputs))
    f = jax.jit(product)
    names = {"f": f, "a": values, "wait": jax.block_until_ready}
    return Program("wait(f(*a))", names, lambda: [f(*values)[k] for k in data.params])


KINDS = {"step": step, "update": update, "net_hvp": net_hvp, "ggn": ggn}
