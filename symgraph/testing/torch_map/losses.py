"""Losses, each with its reduction: mean, sum or none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import symgraph as sg
from symgraph.testing.torch_map.entry import NONE_HERE, Convention, Entry, Row, need
from symgraph.testing.torch_map.products import pairwise

F = "nn.functional."


def reduce(values: Any, reduction: str) -> Any:
    if reduction == "batchmean":
        return sg.sum(values) / values.type.shape[0]
    return {"mean": sg.mean, "sum": sg.sum, "none": lambda v: v}[reduction](values)


def loss(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the adapter of a loss given by its values for each element."""

    def adapter(*args: Any, weight: Any = None, reduction: str = "mean", **options: Any) -> Any:
        values = f(*args, **options)
        return reduce(values if weight is None else values * weight, reduction)

    return adapter


def huber(x: Any, y: Any, delta: float = 1.0) -> Any:
    d = sg.abs(x - y)
    return sg.where(d <= delta, sg.square(d) / 2, delta * (d - delta / 2))


def smooth_l1(x: Any, y: Any, beta: float = 1.0) -> Any:
    return sg.abs(x - y) if beta == 0 else huber(x, y, beta) / beta


def cross_of(x: Any, y: Any) -> Any:
    """Torch bounds the logarithms of a binary cross entropy below by -100."""
    return -(y * sg.maximum(sg.log(x), -100) + (1 - y) * sg.maximum(sg.log1p(-x), -100))


def with_logits(x: Any, y: Any, pos_weight: Any = None) -> Any:
    if pos_weight is None:
        return sg.binary_cross_entropy(x, y)
    return (1 - y) * x + (1 + (pos_weight - 1) * y) * sg.softplus(-x)


def kl_div(x: Any, y: Any, log_target: bool = False) -> Any:
    return sg.exp(y) * (y - x) if log_target else sg.xlogy(y, y) - y * x


def poisson(x: Any, y: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8) -> Any:
    value = sg.exp(x) - y * x if log_input else x - y * sg.log(x + eps)
    if full:
        stirling = y * sg.log(y) - y + sg.log(2 * math.pi * y) / 2
        value = value + sg.where(y > 1, stirling, 0)
    return value


def gaussian(x: Any, y: Any, var: Any, full: bool = False, eps: float = 1e-6) -> Any:
    if isinstance(var, sg.Variable) and var.ndim < x.ndim:
        var = var[..., None]
    bounded = var + sg.stop_gradient(sg.maximum(var, eps) - var)
    value = (sg.log(bounded) + sg.square(x - y) / bounded) / 2
    return value + math.log(2 * math.pi) / 2 if full else value


def hinge_embedding(x: Any, y: Any, margin: float = 1.0) -> Any:
    apart = sg.where(sg.ne(y, 1), sg.clip(margin - x, 0, None), 0)
    return apart + sg.where(sg.ne(y, -1), x, 0)


def cosine_embedding(x: Any, y: Any, target: Any, margin: float = 0.0) -> Any:
    eps = 1e-12
    sizes = [sg.sum(sg.square(v), -1) + eps for v in (x, y)]
    angle = sg.sum(x * y, -1) / sg.sqrt(sizes[0] * sizes[1])
    apart = sg.where(sg.eq(target, -1), sg.clip(angle - margin, 0, None), 0)
    return sg.where(sg.eq(target, 1), 1 - angle, apart)


def triplet(
    anchor: Any, near: Any, far: Any, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    swap: bool = False, distance_function: Any = None,
) -> Any:  # fmt: skip
    """The samples' only distance function is torch's PairwiseDistance with its defaults."""
    away = pairwise(anchor, far, p, eps)
    if swap:
        away = sg.minimum(away, pairwise(near, far, p, eps))
    return sg.clip(pairwise(anchor, near, p, eps) - away + margin, 0, None)


def multi_margin(
    x: Any, y: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Any:
    x, flat = sg.atleast_2d(x), sg.ravel(y)
    own = sg.take_along_axis(x, flat[:, None], 1)
    values = sg.clip(margin - own + x, 0, None) ** p
    if weight is not None:
        values = values * sg.take(weight, flat)[:, None]
    classes = x.type.shape[1]
    others = sg.where(sg.cast(sg.one_hot(flat, classes), "bool"), 0, values)
    value = sg.sum(others, 1) / classes
    return reduce(value if y.ndim else value.reshape(()), reduction)


def multilabel_margin(x: Any, y: Any, reduction: str = "mean") -> Any:
    """The targets of a row are the classes before the first negative number."""
    rows, labels = sg.atleast_2d(x), sg.atleast_2d(y)
    valid = sg.eq(sg.cumsum(sg.cast(labels < 0, "int64"), -1), 0)
    wanted = sg.where(valid, labels, 0)
    hit = sg.one_hot(wanted, rows.type.shape[1], dtype="bool") & valid[..., None]
    other = ~sg.any(hit, 1)
    own = sg.take_along_axis(rows, wanted, 1)
    excess = sg.clip(1 - own[:, :, None] + rows[:, None, :], 0, None)
    counted = valid[:, :, None] & other[:, None, :]
    value = sg.sum(sg.where(counted, excess, 0), (1, 2)) / rows.type.shape[1]
    return reduce(value if x.ndim == 2 else value.reshape(()), reduction)


def multilabel_soft_margin(x: Any, y: Any, weight: Any = None, reduction: str = "mean") -> Any:
    value = sg.binary_cross_entropy(x, y)
    return reduce(sg.mean(value if weight is None else value * weight, -1), reduction)


# -- classes --------------------------------------------------------------------------------------
def nll(
    logp: Any, target: Any, weight: Any = None, ignore_index: int | None = -100,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """Return -logp at the target class, classes on axis 1; some targets do not count."""
    if logp.ndim == 1:
        alone = nll(logp[None], target.reshape((1,)), weight, ignore_index, "none")
        shares = class_shares(target.reshape((1,)), logp[None], weight, ignore_index)
        total = sg.sum(alone)
        return total / sg.sum(shares) if reduction == "mean" else total
    shares = class_shares(target, logp, weight, ignore_index)
    safe = sg.where(sg.eq(target, -100 if ignore_index is None else ignore_index), 0, target)
    at = sg.expand_dims(safe, 1)
    values = -sg.squeeze(sg.take_along_axis(logp, at, 1), 1)
    values = sg.where(sg.eq(shares, 0), 0, values * shares)
    return sg.sum(values) / sg.sum(shares) if reduction == "mean" else reduce(values, reduction)


def class_shares(target: Any, logp: Any, weight: Any, ignore_index: int | None) -> Any:
    """Return the weight of each target, 0 for those that do not count."""
    ignored = sg.eq(target, -100 if ignore_index is None else ignore_index)
    w = sg.ones((logp.type.shape[1],), logp.dtype) if weight is None else weight
    return sg.where(ignored, 0, sg.take(w, sg.where(ignored, 0, target)))


def cross_entropy(
    x: Any, target: Any, weight: Any = None, ignore_index: int | None = -100,
    reduction: str = "mean", label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    axis = min(1, x.ndim - 1)
    logp = sg.log_softmax(x, axis)
    s, classes = label_smoothing, x.type.shape[axis]
    w = None if weight is None else weight.reshape((-1,) + (1,) * (x.ndim - axis - 1))
    weighted = logp if w is None else logp * w
    if target.dtype.is_float:
        soft = target * (1 - s) + s / classes
        values = -sg.sum(weighted * soft, axis)
        return reduce(values, reduction)
    hard = nll(logp, target, weight, ignore_index, reduction)
    if s == 0:
        return hard
    shares = class_shares(target, logp, weight, ignore_index)
    counted = class_shares(target, logp, None, ignore_index)
    smooth = -sg.sum(weighted, axis) * counted
    if reduction == "mean":
        smooth = sg.sum(smooth) / sg.sum(shares)
    else:
        smooth = reduce(smooth, reduction)
    return (1 - s) * hard + s / classes * smooth


def linear_cross_entropy(
    x: Any, matrix: Any, target: Any, linear_bias: Any = None, options: Any = None, **more: Any
) -> Any:
    need(matrix.ndim == 2, "weights with more than two axes")
    logits = x @ matrix.T
    return cross_entropy(logits if linear_bias is None else logits + linear_bias, target, **more)


CHUNKED = Entry(linear_cross_entropy, conventions=(
    Convention("torch's second derivative of the chunked form is 0", 2),))  # fmt: skip
LOSSES: dict[str, Row] = {
    F + "l1_loss": loss(lambda x, y: sg.abs(x - y)),
    F + "mse_loss": loss(lambda x, y: sg.square(x - y)),
    F + "smooth_l1_loss": loss(smooth_l1),
    F + "huber_loss": loss(huber),
    F + "binary_cross_entropy": loss(cross_of),
    F + "binary_cross_entropy_with_logits": loss(with_logits),
    F + "soft_margin_loss": loss(lambda x, y: sg.softplus(-y * x)),
    F + "kl_div": loss(kl_div),
    F + "poisson_nll_loss": loss(poisson),
    F + "gaussian_nll_loss": loss(gaussian),
    F + "hinge_embedding_loss": loss(hinge_embedding),
    F + "cosine_embedding_loss": loss(cosine_embedding),
    F + "margin_ranking_loss": loss(
        lambda x, y, target, margin=0.0: sg.clip(-target * (x - y) + margin, 0, None)),
    F + "triplet_margin_loss": loss(triplet),
    F + "triplet_margin_with_distance_loss": loss(triplet),
    F + "multi_margin_loss": multi_margin,
    F + "multilabel_soft_margin_loss": multilabel_soft_margin,
    F + "multilabel_margin_loss": multilabel_margin,
    F + "nll_loss": nll,
    F + "cross_entropy": cross_entropy,
    F + "linear_cross_entropy": linear_cross_entropy,
    F + "linear_cross_entropy:chunked": CHUNKED,
    F + "linear_cross_entropy:chunked_none": CHUNKED,
    F + "ctc_loss": NONE_HERE,
}  # fmt: skip
