"""Layers of whole models in torch; `step` serves eager torch and torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as nnf

from benchmarks.losses import Activation, Losses, Sizes, Tensors
from benchmarks.nets import BETAS, EPSILON, RATES, Net, NetData
from benchmarks.program import STEPS, Program

RULES = {
    "sgd": lambda p: torch.optim.SGD(p, RATES["sgd"], fused=True),
    "sgd_slow": lambda p: torch.optim.SGD(p, RATES["sgd_slow"], fused=True),
    "adam": lambda p: torch.optim.Adam(p, RATES["adam"], BETAS, EPSILON, fused=True),
}


class TorchLosses(Losses):
    """Layers in torch; recurrent ones are its own, which want two biases."""

    exp = staticmethod(torch.exp)
    relu = staticmethod(torch.relu)
    sigmoid = staticmethod(torch.sigmoid)
    tanh = staticmethod(torch.tanh)
    gelu = staticmethod(nnf.gelu)

    def zeros(self, shape: Sequence[int], like: Any) -> Any:
        return like.new_zeros(shape)

    def stack(self, arrays: Sequence[Any]) -> Any:
        return torch.stack(arrays)

    def parts(self, x: Any, number: int, width: int) -> Sequence[Any]:
        return x.chunk(number, 1)

    def constant(self, x: Any) -> Any:
        return x.detach()

    def log_softmax(self, x: Any) -> Any:
        return torch.log_softmax(x, -1)

    def take(self, x: Any, columns: Any) -> Any:
        return x.gather(1, columns[:, None])[:, 0]

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        return nnf.cross_entropy(logits.flatten(0, -2), targets.flatten())

    def binary_cross_entropy(self, logits: Any, targets: Any) -> Any:
        return nnf.binary_cross_entropy_with_logits(logits, targets, reduction="none")

    def embedding(self, table: Any, words: Any) -> Any:
        return nnf.embedding(words, table)

    def linear(self, x: Any, weights: Any, bias: Any) -> Any:
        return torch.addmm(bias, x, weights)

    def conv(self, x: Any, filters: Any, stride: int, padding: int) -> Any:
        return nnf.conv2d(x, filters, None, stride, padding)

    def biased_conv(self, x: Any, filters: Any, bias: Any, stride: int, padding: int = 0) -> Any:
        return nnf.conv2d(x, filters, bias, stride, padding)

    def max_pool(self, x: Any, size: int, stride: int, padding: int) -> Any:
        return nnf.max_pool2d(x, size, stride, padding)

    def join_channels(self, arrays: Sequence[Any]) -> Any:
        return torch.cat(arrays, 1)

    def layer_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        return nnf.layer_norm(x, x.shape[-1:], scale, shift)

    def batch_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        return nnf.batch_norm(x, None, None, scale, shift, True)

    def attention(self, x: Any, qkv: Any, heads: int) -> Any:
        batch, steps, width = x.shape
        parts = (x @ qkv).view(batch, steps, 3, heads, width // heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        y = nnf.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).reshape(batch, steps, width)

    def lstm_layers(self, sizes: Sizes, p: Tensors, h: Any) -> Any:
        state = h.new_zeros(sizes["layers"], sizes["batch"], sizes["width"])
        weights = []
        for k in range(sizes["layers"]):
            second = torch.zeros_like(p[f"b{k}"])
            weights += [p[f"w{k}"].T, p[f"u{k}"].T, p[f"b{k}"], second]
        options = (True, sizes["layers"], 0.0, True, False, False)
        return torch.lstm(h, (state, state), weights, *options)[0]

    def recurrence(self, cell: Callable[..., Any], rows: Any, start: Any) -> Any:
        h, c, states = start, start, []
        for row in rows:
            h, c = cell(row, h, c)
            states.append(h)
        return torch.stack(states)

    def tanh_layer(self, rows: Any, u: Any, bias: Any, start: Any) -> Any:
        weights = [torch.eye(len(u)), u.T, bias, torch.zeros_like(bias)]
        return torch.rnn_tanh(rows, start[None], weights, True, 1, 0.0, True, False, False)[0]

    def derivatives(self, network: Activation, t: Any, x: Any) -> tuple[Any, Any, Any, Any]:
        t, x = (v.detach().requires_grad_() for v in (t, x))
        u = network(torch.cat([t, x], 1))
        by_t, by_x = torch.autograd.grad(u.sum(), [t, x], create_graph=True)
        (by_xx,) = torch.autograd.grad(by_x.sum(), x, create_graph=True)
        return u, by_t, by_x, by_xx


LOSSES = TorchLosses()


def arrays(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of named arrays as tensors."""
    return {name: torch.tensor(a) for name, a in given.items()}


def step(net: Net, data: NetData, made: Callable[[Any], Any] = lambda f: f) -> Program:
    """A step with a fused optimiser; the loss is what `made` makes of the function."""
    x, p = arrays(data.inputs), arrays(data.params)
    optimiser = RULES[net.rule]([v.requires_grad_() for v in p.values()])
    loss_of = made(lambda p, x: LOSSES.of(net, p, x))

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
        loss = LOSSES.of(net, p, x)
        grads = torch.autograd.grad(loss, params, create_graph=True)
        return torch.autograd.grad(grads, params, direction)

    return Program("f()", {"f": product}, product)


def ggn(net: Net, data: NetData, made: Callable[[Any], Any] = lambda f: f) -> Program:
    """The Gauss-Newton matrix of a dense network times a direction."""
    x, p, v = (arrays(given) for given in (data.inputs, data.params, data.direction))

    def logits_of(p: Tensors) -> Any:
        return LOSSES.dense_logits(net.sizes, p, x)

    def product(p: Tensors, v: Tensors) -> Any:
        logits, pull = torch.func.vjp(logits_of, p)
        moved = torch.func.jvp(logits_of, (p,), (v,))[1]
        slope = torch.func.grad(lambda y: LOSSES.cross_entropy(y, x["targets"]))
        return list(pull(torch.func.jvp(slope, (logits,), (moved,))[1])[0].values())

    f = made(product)
    return Program("f(p, v)", {"f": f, "p": p, "v": v}, lambda: f(p, v))


KINDS = {"step": step, "update": update, "net_hvp": net_hvp, "ggn": ggn}
