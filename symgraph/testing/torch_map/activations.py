"""Activations, softmaxes, normalisations, linear layers, attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph as sg
from symgraph.core.op import o
from symgraph.testing.torch_map.creation import converted
from symgraph.testing.torch_map.entry import NONE_HERE, Entry, Row, need
from symgraph.testing.torch_map.linear_algebra import first

F = "nn.functional."


def leaky(x: Any, slope: Any = 0.01) -> Any:
    return sg.where(x > 0, x, slope * x)


def elu(x: Any, alpha: float = 1.0, scale: float = 1.0) -> Any:
    return scale * sg.where(x > 0, x, alpha * sg.expm1(sg.minimum(x, 0)))


def celu(x: Any, alpha: float = 1.0) -> Any:
    return sg.where(x > 0, x, alpha * sg.expm1(sg.minimum(x, 0) / alpha))


def selu(x: Any) -> Any:
    return elu(x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


def gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return x / 2 * (1 + sg.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * sg.ndtr(x)


def glu(x: Any, dim: int = -1) -> Any:
    value, gate = sg.split(x, 2, dim % x.ndim)
    return value * sg.sigmoid(gate)


def prelu(x: Any, weight: Any) -> Any:
    if weight.ndim and x.ndim > 1:
        weight = channels(weight, x)
    return leaky(x, weight.reshape(()) if x.ndim == 0 else weight)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    return sg.where(x * beta > threshold, x, sg.softplus(beta * x) / beta)


def softmax(f: Callable[..., Any], sign: int = 1) -> Callable[..., Any]:
    """Return the adapter of a softmax along one axis, perhaps in another dtype."""

    def adapter(x: Any, dim: int, dtype: Any = None) -> Any:
        if x.ndim == 0:
            return adapter(x.reshape((1,)), 0, dtype).reshape(())
        return f(sign * (x if dtype is None else converted(x, dtype)), dim)

    return adapter


def safe_softmax(x: Any, dim: int, dtype: Any = None) -> Any:
    """Return the softmax, 0 for rows of -inf alone."""
    dead = sg.all(sg.isneginf(x), dim, keepdims=True)
    return sg.where(dead, 0, sg.softmax(sg.where(dead, 0, x), dim))


def softmax_backward(g: Any, y: Any, dim: int, dtype: str) -> Any:
    return y * (g - sg.sum(g * y, dim, keepdims=True))


ACTIVATIONS: dict[str, Row] = {
    F + "relu": sg.relu,
    F + "relu6": lambda x: sg.clip(x, 0, 6),
    F + "leaky_relu": lambda x, negative_slope=0.01: leaky(x, negative_slope),
    F + "prelu": prelu,
    F + "elu": elu,
    F + "celu": celu,
    F + "selu": selu,
    F + "glu": glu,
    F + "gelu": gelu,
    F + "silu": lambda x: x * sg.sigmoid(x),
    F + "mish": lambda x: x * sg.tanh(sg.softplus(x)),
    F + "hardswish": lambda x: x * sg.clip(x + 3, 0, 6) / 6,
    F + "hardsigmoid": Entry(
        lambda x: sg.clip(x + 3, 0, 6) / 6, loose=1e4, why="torch's derivative is float32(1/6)"),
    F + "hardtanh": lambda x, min_val=-1.0, max_val=1.0: sg.clip(
        x, *(np.array(v).astype(x.dtype.numpy) for v in (min_val, max_val))),
    F + "logsigmoid": o.log_sigmoid,
    F + "softsign": lambda x: x / (1 + sg.abs(x)),
    F + "softplus": softplus,
    F + "tanhshrink": lambda x: x - sg.tanh(x),
    F + "softshrink": lambda x, lambd=0.5: sg.sign(x) * sg.relu(sg.abs(x) - lambd),
    F + "hardshrink": lambda x, lambd=0.5: sg.where(sg.abs(x) > lambd, x, 0),
    F + "threshold": lambda x, threshold, value: sg.where(x > threshold, x, value),
    F + "softmin": softmax(sg.softmax, -1),
    F + "softmin:with_dtype": softmax(sg.softmax, -1),
    "softmax": softmax(sg.softmax),
    "softmax:with_dtype": softmax(sg.softmax),
    "log_softmax": softmax(sg.log_softmax),
    "log_softmax:with_dtype": softmax(sg.log_softmax),
    "_softmax_backward_data": softmax_backward,
    "torch.ops.aten._safe_softmax.default": safe_softmax,
    F + "feature_alpha_dropout:without_train": lambda x, p=0.5, training=False: x,
    "native_dropout_backward": lambda g, mask, scale: g * mask * scale,
}  # fmt: skip


# -- normalisations -------------------------------------------------------------------------------
def channels(v: Any, x: Any) -> Any:
    """Return a vector with one element per channel, to be broadcast along axis 1 of x."""
    return v.reshape((-1,) + (1,) * (x.ndim - 2))


def affine(y: Any, weight: Any, bias: Any) -> Any:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def standard(x: Any, over: Any, eps: float) -> tuple[Any, Any, Any]:
    """Return (x - mean) / sqrt(var + eps), mean and 1 / sqrt(var + eps) over some axes."""
    mean = sg.mean(x, over, keepdims=True)
    scale = 1 / sg.sqrt(sg.var(x, over, keepdims=True) + eps)
    return (x - mean) * scale, mean, scale


def batch_norm(
    x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    weight, bias = (None if v is None else channels(v, x) for v in (weight, bias))
    if training:
        over = tuple(k for k in range(x.ndim) if k != 1)
        return affine(standard(x, over, eps)[0], weight, bias)
    y = (x - channels(mean, x)) / sg.sqrt(channels(var, x) + eps)
    return affine(y, weight, bias)


def native_batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: Any, momentum: Any, eps: Any
) -> Any:
    return batch_norm(x, mean, var, weight, bias, training, momentum, eps)


def instance_norm(
    x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    weight, bias = (None if v is None else channels(v, x) for v in (weight, bias))
    return affine(standard(x, tuple(range(2, x.ndim)), eps)[0], weight, bias)


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return _groups(x, groups, weight, bias, eps)[0]


def _groups(x: Any, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    n, c, *rest = x.type.shape
    weight, bias = (None if v is None else channels(v, x) for v in (weight, bias))
    parts = x.reshape((n, groups, int(np.prod([c // groups, *rest]))))
    y, mean, scale = standard(parts, 2, eps)
    shape = (n, groups)
    return affine(y.reshape(x.shape), weight, bias), mean.reshape(shape), scale.reshape(shape)


def native_group_norm(
    x: Any, weight: Any, bias: Any, n: int, c: int, area: int, groups: int, eps: float
) -> Any:
    return _groups(x, groups, weight, bias, eps)


def layer_norm(x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return affine(standard(x, tuple(range(x.ndim - len(shape), x.ndim)), eps)[0], weight, bias)


def rms_norm(x: Any, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    eps = float(np.finfo(x.dtype.numpy).eps) if eps is None else eps
    over = tuple(range(x.ndim - len(shape), x.ndim))
    y = x / sg.sqrt(sg.mean(sg.square(x), over, keepdims=True) + eps)
    return affine(y, weight, None)


def response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    around = [(0, 0), (size // 2, (size - 1) // 2)] + [(0, 0)] * (x.ndim - 2)
    near = sg.pad(sg.square(x), around)
    total = sum(near[:, i : i + x.type.shape[1]] for i in range(size))
    return x / (k + alpha * total / size) ** beta


NORMALISATIONS: dict[str, Row] = {
    F + "batch_norm": batch_norm,
    F + "instance_norm": instance_norm,
    F + "group_norm": group_norm,
    F + "layer_norm": layer_norm,
    F + "rms_norm": rms_norm,
    F + "local_response_norm": response_norm,
    "native_layer_norm": Entry(layer_norm, theirs=first),
    "native_group_norm": native_group_norm,
    "native_batch_norm": Entry(native_batch_norm, theirs=first),
    "_native_batch_norm_legit": Entry(
        lambda x, w, b, *rest: native_batch_norm(
            x, w, b, *(rest if len(rest) == 5 else (None, None, *rest))),
        theirs=first),
    "_batch_norm_with_update": Entry(
        lambda x, w, b, mean, var, momentum, eps: native_batch_norm(
            x, w, b, mean, var, True, momentum, eps), theirs=first),
}  # fmt: skip


# -- layers ---------------------------------------------------------------------------------------
def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    return affine(x @ weight.T, None, bias)


def bilinear(x: Any, y: Any, weight: Any, bias: Any = None) -> Any:
    return affine(sg.einsum("...i,oij,...j->...o", x, weight, y), None, bias)


def embedding(
    weight: Any, index: Any, padding_idx: int | None = None, max_norm: Any = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    need(max_norm is None and not scale_grad_by_freq, "rows that a look-up changes")
    rows = sg.take(weight, index, 0)
    if padding_idx is None:
        return rows
    padding = sg.eq(index, padding_idx % weight.type.shape[0])[..., None]
    return sg.where(padding, sg.stop_gradient(rows), rows)


def attention(
    q: Any, k: Any, v: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    need(dropout_p == 0, "random numbers")
    if enable_gqa:
        k, v = (sg.repeat(a, q.type.shape[-3] // a.type.shape[-3], -3) for a in (k, v))
    scores = q @ k.mT * (1 / math.sqrt(q.type.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = sg.tril(sg.ones(scores.type.shape[-2:], "bool"))
    if attn_mask is not None:
        allowed = attn_mask.dtype == "bool"
        scores = sg.where(attn_mask, scores, -np.inf) if allowed else scores + attn_mask
    return sg.softmax(scores, -1) @ v


def pixel_shuffle(x: Any, upscale_factor: int) -> Any:
    return sg.pixel_shuffle(x, upscale_factor)


def channel_shuffle(x: Any, groups: int) -> Any:
    n, c, *rest = x.type.shape
    return sg.swapaxes(x.reshape((n, groups, c // groups, *rest)), 1, 2).reshape(x.shape)


LAYERS: dict[str, Row] = {
    F + "linear": linear,
    F + "bilinear": bilinear,
    F + "embedding": embedding,
    F + "embedding_bag": NONE_HERE,
    F + "scaled_dot_product_attention": attention,
    F + "multi_head_attention_forward": NONE_HERE,
    F + "pixel_shuffle": pixel_shuffle,
    F + "pixel_unshuffle": lambda x, downscale_factor: sg.pixel_unshuffle(
        x, factor=downscale_factor
    ),
    F + "channel_shuffle": channel_shuffle,
}

ACTIVATING = ACTIVATIONS | NORMALISATIONS | LAYERS
