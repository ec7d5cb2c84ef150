"""Layers of whole models in symgraph, and what is made of them: steps and products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import symgraph as sg
import symgraph_nn as nn
from benchmarks.losses import Activation, Losses, Sizes, Tensors
from benchmarks.nets import BETAS, EPSILON, RATES, Net, NetData
from benchmarks.program import STEPS, Program

RULES = {
    "sgd": nn.optim.sgd(RATES["sgd"]),
    "sgd_slow": nn.optim.sgd(RATES["sgd_slow"]),
    "adam": nn.optim.adam(RATES["adam"], *BETAS, EPSILON),
}


class OwnLosses(Losses):
    """Layers in symgraph; a recurrent layer is a scan over the steps."""

    exp = staticmethod(sg.exp)
    relu = staticmethod(sg.relu)
    sigmoid = staticmethod(sg.sigmoid)
    tanh = staticmethod(sg.tanh)

    def gelu(self, x: Any) -> Any:
        return x * (1 + sg.erf(x * 0.5**0.5)) * 0.5

    def zeros(self, shape: Sequence[int], like: Any) -> Any:
        return sg.zeros(shape, like.dtype)

    def stack(self, arrays: Sequence[Any]) -> Any:
        return sg.stack(arrays)

    def parts(self, x: Any, number: int, width: int) -> Sequence[Any]:
        return [x[:, k * width : (k + 1) * width] for k in range(number)]

    def constant(self, x: Any) -> Any:
        return sg.stop_gradient(x)

    def log_softmax(self, x: Any) -> Any:
        return sg.log_softmax(x, -1)

    def take(self, x: Any, columns: Any) -> Any:
        return sg.take_along_axis(x, columns[:, None], 1)[:, 0]

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        return sg.cross_entropy(logits, targets).mean()

    def binary_cross_entropy(self, logits: Any, targets: Any) -> Any:
        return sg.binary_cross_entropy(logits, targets)

    def embedding(self, table: Any, words: Any) -> Any:
        return table[words]

    def linear(self, x: Any, weights: Any, bias: Any) -> Any:
        return x @ weights + bias

    def conv(self, x: Any, filters: Any, stride: int, padding: int) -> Any:
        return sg.conv2d(x, filters, stride=stride, padding=padding)

    def biased_conv(self, x: Any, filters: Any, bias: Any, stride: int, padding: int = 0) -> Any:
        return self.conv(x, filters, stride, padding) + bias[:, None, None]

    def max_pool(self, x: Any, size: int, stride: int, padding: int) -> Any:
        return sg.max_pool2d(x, size, stride=stride, padding=padding)

    def join_channels(self, arrays: Sequence[Any]) -> Any:
        return sg.concatenate(arrays, 1)

    def layer_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        return centred / sg.sqrt(variance + 1e-5) * scale + shift

    def batch_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        normal = (x - mean) / sg.sqrt(variance + 1e-5)
        return normal * scale[:, None, None] + shift[:, None, None]

    def attention(self, x: Any, qkv: Any, heads: int) -> Any:
        batch, steps, width = x.shape
        parts = (x @ qkv).reshape((batch, steps, 3, heads, width // heads))
        q, k, v = parts.transpose((2, 0, 3, 1, 4))
        scores = q @ k.swapaxes(-1, -2) * (width // heads) ** -0.5
        scores = sg.where(sg.tri(steps, dtype="bool"), scores, -np.inf)
        return (sg.softmax(scores, -1) @ v).swapaxes(1, 2).reshape((batch, steps, width))

    def lstm_layers(self, sizes: Sizes, p: Tensors, h: Any) -> Any:
        n = sizes["width"]
        zero = self.zeros((sizes["batch"], n), h)
        for k in range(sizes["layers"]):
            u = p[f"u{k}"]
            gates = h @ p[f"w{k}"] + p[f"b{k}"]
            cell = lambda a, h, c, u=u: self.lstm_cell(a + h @ u, c, n)
            h, _ = sg.scan(cell, gates, [zero, zero])
        return h

    def recurrence(self, cell: Callable[..., Any], rows: Any, start: Any) -> Any:
        return sg.scan(cell, rows, [start, start])[0]

    def tanh_layer(self, rows: Any, u: Any, bias: Any, start: Any) -> Any:
        return sg.scan(lambda row, h: sg.tanh(row + h @ u), rows + bias, start)

    def derivatives(self, network: Activation, t: Any, x: Any) -> tuple[Any, Any, Any, Any]:
        u = network(sg.concatenate([t, x], 1))
        by_t, by_x = sg.grad(u.sum(), [t, x])
        return u, by_t, by_x, sg.grad(by_x.sum(), x)


LOSSES = OwnLosses()


def _inputs(data: NetData) -> dict[str, Any]:
    return {k: sg.tensor(k, (None,) * a.ndim, a.dtype) for k, a in data.inputs.items()}


def step(net: Net, data: NetData) -> Program:
    """A step of optimisation; parameters and the optimiser's state live in shared variables."""
    x = _inputs(data)
    p = {name: sg.shared(value, name) for name, value in data.params.items()}
    loss = LOSSES.of(net, p, x)
    f = sg.function(list(x.values()), loss, updates=RULES[net.rule](loss, p))
    values = list(data.inputs.values())
    call = f"f({', '.join(data.inputs)})"
    names = {"f": f, **data.inputs}
    results = lambda: [np.array(f(*values)) for _ in range(STEPS)]
    return Program(call, names, results, lambda: facts(f))


def facts(f: Any) -> dict[str, float]:
    """Return the bytes of the arena, those of all temporaries if none shared its place, and the
    seconds of compilation.
    """
    version, module = f.versions()[0], f.compiled.version_list[0].module
    return {
        "arena": version["arena_bytes"],
        "temporaries": module.plan.total_bytes,
        "compile_s": version["seconds"],
    }


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
    return _product(net, data, lambda p, x, v: sg.hvp(LOSSES.of(net, p, x), *v))


def ggn(net: Net, data: NetData) -> Program:
    """The Gauss-Newton matrix of a dense network times a direction."""

    def product(p: Tensors, x: Tensors, v: Any) -> Any:
        logits = LOSSES.dense_logits(net.sizes, p, x)
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
