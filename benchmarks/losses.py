"""Losses of the models of `benchmarks.nets`, written once; each library gives the layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.convnets import Conv, Layer, Mean, Pool
from benchmarks.nets import Net, resnet_blocks

Sizes = Mapping[str, int]
Tensors = Mapping[str, Any]
Activation = Callable[[Any], Any]


class Losses(ABC):
    """The losses by name, and below them the layers in which libraries differ."""

    exp: Activation
    relu: Activation
    sigmoid: Activation
    tanh: Activation
    gelu: Activation  # by the normal distribution function

    def of(self, net: Net, p: Tensors, x: Tensors) -> Any:
        """Return the loss of a model at parameters `p` and inputs `x`."""
        if net.layers:
            return self.convnet(net.layers, net.sizes, p, x)
        return getattr(self, net.loss)(net.sizes, p, x)

    # -- models ----------------------------------------------------------------------------------
    def lstm(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The language model, by what a library has for recurrent layers."""
        h = self.lstm_layers(sizes, p, self.embedding(p["embedding"], x["words"]))
        return self.cross_entropy(h @ p["w"] + p["b"], x["targets"])

    def lstm_unrolled(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The language model, written out step by step."""
        n = sizes["width"]
        h = self.embedding(p["embedding"], x["words"])
        for k in range(sizes["layers"]):
            gates = h @ p[f"w{k}"] + p[f"b{k}"]
            state = c = self.zeros((sizes["batch"], n), h)
            states = []
            for t in range(sizes["steps"]):
                state, c = self.lstm_cell(gates[t] + state @ p[f"u{k}"], c, n)
                states.append(state)
            h = self.stack(states)
        return self.cross_entropy(h @ p["w"] + p["b"], x["targets"])

    def char_rnn(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The network over characters."""
        rows = self.embedding(p["embedding"], x["words"])
        h = self.tanh_layer(
            rows, p["u"], p["b"], self.zeros((sizes["batch"], sizes["width"]), rows)
        )
        return self.cross_entropy(h @ p["w"] + p["c"], x["targets"])

    def transformer(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The decoder."""
        h = self.embedding(p["embedding"], x["words"]) + p["positions"]
        for k in range(sizes["layers"]):
            normal = self.layer_norm(h, p[f"g{k}"], p[f"h{k}"])
            h = h + self.attention(normal, p[f"qkv{k}"], sizes["heads"]) @ p[f"out{k}"]
            wide = self.layer_norm(h, p[f"s{k}"], p[f"t{k}"]) @ p[f"up{k}"] + p[f"a{k}"]
            h = h + self.gelu(wide) @ p[f"down{k}"] + p[f"c{k}"]
        logits = self.layer_norm(h, p["g"], p["h"]) @ p["embedding"].T
        return self.cross_entropy(logits, x["targets"])

    def autoencoder(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The negative lower bound of the likelihood, a mean over the batch."""
        hidden = self.relu(self.linear(x["x"], p["ew1"], p["eb1"]))
        mean, spread = self.parts(self.linear(hidden, p["ew2"], p["eb2"]), 2, sizes["latent"])
        z = mean + self.exp(0.5 * spread) * x["noise"]
        hidden = self.relu(self.linear(z, p["dw1"], p["db1"]))
        logits = self.linear(hidden, p["dw2"], p["db2"])
        likelihood = self.binary_cross_entropy(logits, x["x"]).sum(1)
        divergence = 0.5 * (mean**2 + self.exp(spread) - 1 - spread).sum(1)
        return (likelihood + divergence).mean()

    def physics(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The mean squared residual of Burgers' equation."""
        u, by_t, by_x, by_xx = self.derivatives(
            lambda h: self.layers(h, p, sizes["layers"], self.tanh), x["t"], x["x"]
        )
        return ((by_t + u * by_x - 0.01 * by_xx) ** 2).mean()

    def nature(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The policy network of frames."""
        h = x["x"]
        for k, stride in ((1, 4), (2, 2), (3, 1)):
            h = self.relu(self.biased_conv(h, p[f"f{k}"], p[f"c{k}"], stride))
        h = self.layers(h.reshape((h.shape[0], -1)), p, 2, self.relu)
        return self.actor_critic(h, x, sizes["actions"])

    def policy(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The small policy network."""
        heads = self.layers(x["x"], p, sizes["layers"], self.tanh)
        return self.actor_critic(heads, x, sizes["actions"])

    def resnet18(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The mean cross-entropy of ResNet-18."""

        def layer(name: str, h: Any, stride: int, padding: int) -> Any:
            h = self.conv(h, p[f"f{name}"], stride, padding)
            return self.batch_norm(h, p[f"g{name}"], p[f"b{name}"])

        h = self.relu(layer("stem", x["x"], 1, 1))
        for name, _, _, stride in resnet_blocks():
            inner = layer(f"{name}b", self.relu(layer(f"{name}a", h, stride, 1)), 1, 1)
            h = self.relu(inner + (layer(f"{name}c", h, stride, 0) if stride > 1 else h))
        return self.cross_entropy(self.linear(h.mean((2, 3)), p["w1"], p["b1"]), x["targets"])

    def convnet(self, layers: Sequence[Layer], sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The mean cross-entropy of a network on images."""
        h = self.on_images(layers, p, x["x"]).reshape((x["x"].shape[0], -1))
        return self.cross_entropy(self.layers(h, p, sizes["layers"], self.relu), x["targets"])

    def captions(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The mean cross-entropy of the words of captions."""
        frames, n = x["frames"], sizes["width"]
        seen = frames @ p["seen"]
        gates = self.embedding(p["embedding"], x["words"]) @ p["w0"] + p["b0"]

        def cell(row: Any, h: Any, c: Any) -> tuple[Any, Any]:
            scores = (self.tanh(seen + (h @ p["asked"])[:, None]) @ p["score"])[:, :, 0]
            weights = self.exp(self.log_softmax(scores))
            context = (weights[:, None] @ frames)[:, 0]
            return self.lstm_cell(row + h @ p["u0"] + context @ p["v0"], c, n)

        h = self.recurrence(cell, gates, self.zeros((sizes["batch"], n), gates))
        return self.cross_entropy(h @ p["w"] + p["b"], x["targets"])

    def dense(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The mean cross-entropy of a network of dense layers."""
        return self.cross_entropy(self.dense_logits(sizes, p, x), x["targets"])

    def dense_logits(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """Return what the cross-entropy of `dense` is taken of."""
        return self.layers(x["x"], p, sizes["layers"], self.tanh)

    def unrolled(self, sizes: Sizes, p: Tensors, x: Tensors) -> Any:
        """The mean square of the last state of a recurrent network, step by step."""
        h = self.zeros(x["x"].shape[1:], x["x"])
        for t in range(sizes["steps"]):
            h = self.tanh(x["x"][t] @ p["w"] + h @ p["u"] + p["b"])
        return (h * h).mean()

    # -- parts of models -------------------------------------------------------------------------
    def on_images(self, layers: Sequence[Layer], p: Tensors, h: Any, name: str = "") -> Any:
        """Return the result of the layers of a network on images."""
        for k, layer in enumerate(layers):
            if isinstance(layer, Conv):
                filters, bias = p[f"f{name}{k}"], p[f"c{name}{k}"]
                h = self.relu(self.biased_conv(h, filters, bias, layer.stride, layer.padding))
            elif isinstance(layer, Pool):
                h = self.max_pool(h, layer.size, layer.stride, layer.padding)
            elif isinstance(layer, Mean):
                h = h.mean((2, 3))
            else:
                branches = [
                    self.on_images(branch, p, h, f"{name}{k}.{b}.")
                    for b, branch in enumerate(layer.branches)
                ]
                h = self.join_channels(branches)
        return h

    def lstm_cell(self, gates: Any, c: Any, width: int) -> tuple[Any, Any]:
        """Return state and memory after a step, from the sums of the four gates."""
        i, f, g, o = self.parts(gates, 4, width)
        c = self.sigmoid(f) * c + self.sigmoid(i) * self.tanh(g)
        return self.sigmoid(o) * self.tanh(c), c

    def layers(self, h: Any, p: Tensors, number: int, activation: Activation) -> Any:
        """Return the result of dense layers; the last one has no activation."""
        for k in range(1, number + 1):
            h = self.linear(h, p[f"w{k}"], p[f"b{k}"])
            h = h if k == number else activation(h)
        return h

    def actor_critic(self, heads: Any, x: Tensors, actions: int) -> Any:
        """Return the loss of policy and value: `heads` has logits of actions, then the value."""
        logp = self.log_softmax(heads[:, :actions])
        value = heads[:, actions]
        taken = self.take(logp, x["actions"])
        advantage = self.constant(x["returns"] - value)
        entropy = -(self.exp(logp) * logp).sum(1)
        error = (x["returns"] - value) ** 2
        return (-taken * advantage + 0.5 * error - 0.01 * entropy).mean()

    # -- layers of a library ---------------------------------------------------------------------
    @abstractmethod
    def zeros(self, shape: Sequence[int], like: Any) -> Any:
        """Return zeros of the dtype of `like`."""

    @abstractmethod
    def stack(self, arrays: Sequence[Any]) -> Any:
        """Join arrays along a new first axis."""

    @abstractmethod
    def parts(self, x: Any, number: int, width: int) -> Sequence[Any]:
        """Cut the columns of a matrix into so many parts of `width`."""

    @abstractmethod
    def constant(self, x: Any) -> Any:
        """Return x, through which no derivative goes."""

    @abstractmethod
    def log_softmax(self, x: Any) -> Any:
        """Return the logarithms of the softmax of each row."""

    @abstractmethod
    def take(self, x: Any, columns: Any) -> Any:
        """Return the element of each row in the given column."""

    @abstractmethod
    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        """Return the mean over all rows."""

    @abstractmethod
    def binary_cross_entropy(self, logits: Any, targets: Any) -> Any:
        """Return the loss of each element."""

    @abstractmethod
    def embedding(self, table: Any, words: Any) -> Any:
        """Return the row of each word."""

    @abstractmethod
    def linear(self, x: Any, weights: Any, bias: Any) -> Any:
        """Return the result of a dense layer for rows of a matrix."""

    @abstractmethod
    def conv(self, x: Any, filters: Any, stride: int, padding: int) -> Any:
        """Return the correlation of images and filters."""

    @abstractmethod
    def biased_conv(self, x: Any, filters: Any, bias: Any, stride: int, padding: int = 0) -> Any:
        """Return the same with a bias for each channel."""

    @abstractmethod
    def max_pool(self, x: Any, size: int, stride: int, padding: int) -> Any:
        """Return the maxima of windows of images."""

    @abstractmethod
    def join_channels(self, arrays: Sequence[Any]) -> Any:
        """Join images along the channels."""

    @abstractmethod
    def layer_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        """Return rows of mean 0 and variance 1, scaled and shifted."""

    @abstractmethod
    def batch_norm(self, x: Any, scale: Any, shift: Any) -> Any:
        """Return channels of mean 0 and variance 1 over the batch, scaled and shifted."""

    @abstractmethod
    def attention(self, x: Any, qkv: Any, heads: int) -> Any:
        """Return causal attention of x (batch, steps, width) to itself, before the last product."""

    @abstractmethod
    def lstm_layers(self, sizes: Sizes, p: Tensors, h: Any) -> Any:
        """Return the states of the last of the layers, at all steps."""

    @abstractmethod
    def recurrence(self, cell: Callable[..., Any], rows: Any, start: Any) -> Any:
        """Return the states at all steps; `cell` maps (row, state, memory) to the next two."""

    @abstractmethod
    def tanh_layer(self, rows: Any, u: Any, bias: Any, start: Any) -> Any:
        """Return the states tanh(row + bias + state @ u) at all steps."""

    @abstractmethod
    def derivatives(self, network: Activation, t: Any, x: Any) -> tuple[Any, Any, Any, Any]:
        """Return u(t, x) and its derivatives by t, by x, and twice by x, at all points."""
