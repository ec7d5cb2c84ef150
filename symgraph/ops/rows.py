"""Composed row functions: softmax, log-softmax, log-sum-exp, cross-entropy, one-hot.

They stay one node until lowering, so that rewrites can see them, and are then expanded; the
expansion fuses to one pass structure per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import INT64, UINT64
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, function, normal_axes, normal_axis, o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import batch_front, cast_to, floatx


def as_float(x: Any) -> Node:
    """Return `x` as a float node (integers become floatX)."""
    node = as_node(x)
    return node if node.dtype.is_float else cast_to(node, floatx())


def as_inexact(x: Any) -> Node:
    """Return `x` as a float or complex node (integers become floatX)."""
    node = as_node(x)
    return node if node.dtype.is_complex else as_float(node)


class RowOp(Op):
    """Base of ops over the axes in `params.axes` that keep the shape or drop these axes."""

    params = ("axes",)
    dtypes = "float"
    keeps_shape = True

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for shape, axes in (((5,), (0,)), ((3, 40), (1,)), ((3, 4), (0,)), ((2, 3, 4), (1, 2))):
            yield (shape,), {"axes": axes}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        if not x.dtype.is_float:
            raise DTypeError(f"{self.name} needs floats, got {x.type}")
        if self.keeps_shape:
            return x.type
        return x.type.with_shape(
            tuple(n for k, n in enumerate(x.type.shape) if k not in params.axes)
        )

    def batch(self, o: Any, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, axes=tuple(a + 1 for a in node.params.axes)), 0


def _empty(x: Node, axes: Sequence[int]) -> bool:
    """Tell whether rows are known to have no element, so that there is no maximum to take out."""
    return any(isinstance(x.type.shape[a], int) and x.type.shape[a] == 0 for a in axes)


def _finite_max(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    m = x.max(axes, keepdims=True, initial=-np.inf)
    return np.where(np.isinf(m), 0, m)


@register
class LogSumExp(RowOp):
    name, doc = "logsumexp", "log(sum(exp(x))) with the maximum taken out, so nothing overflows."
    keeps_shape = False

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x, axes = arrays[0].astype(np.float64), node.params.axes
        with np.errstate(all="ignore"):
            m = _finite_max(x, axes)
            value = np.log(np.exp(x - m).sum(axes, keepdims=True)) + m
        return np.asarray(np.squeeze(value, axes), node.dtype.numpy)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, axes = node.inputs[0], node.params.axes
        if _empty(x, axes):
            return o.full(node.type.shape, -np.inf, node.dtype)
        m = o.max(x, axes, keepdims=True)
        # the sum is the same node as that of a softmax, which the derivative is made of
        total = o.log(o.sum(o.exp(x - m), axes))
        m = o.squeeze(m, axes)
        return o.where(o.isinf(m), m, total + m)  # not inf - inf

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        x, axes = node.inputs[0], node.params.axes
        return (Softmax.instance(x, axes=axes) * o.expand_dims(g, axes),)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        x, axes = node.inputs[0], node.params.axes
        p: Node = Softmax.instance(x, axes=axes)
        return o.sum(p * tangents[0], axes)


@register
class Softmax(RowOp):
    name, doc = "softmax", "exp(x) / sum(exp(x)) with the maximum taken out."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x, axes = arrays[0].astype(np.float64), node.params.axes
        with np.errstate(all="ignore"):
            e = np.exp(x - x.max(axes, keepdims=True, initial=-np.inf))
            return np.asarray(e / e.sum(axes, keepdims=True), node.dtype.numpy)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, axes = node.inputs[0], node.params.axes
        if _empty(x, axes):
            return x
        e = o.exp(x - o.max(x, axes, keepdims=True))
        return e * o.reciprocal(o.sum(e, axes, keepdims=True))

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        return (node * (g - o.sum(g * node, node.params.axes, keepdims=True)),)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        t: Node = tangents[0]
        return node * (t - o.sum(t * node, node.params.axes, keepdims=True))


@register
class LogSoftmax(RowOp):
    name, doc = "log_softmax", "x - logsumexp(x), with the maximum taken out."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x, axes = arrays[0].astype(np.float64), node.params.axes
        with np.errstate(all="ignore"):
            z = x - x.max(axes, keepdims=True, initial=-np.inf)
            value = z - np.log(np.exp(z).sum(axes, keepdims=True))
        return np.asarray(value, node.dtype.numpy)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, axes = node.inputs[0], node.params.axes
        if _empty(x, axes):
            return x
        z = x - o.max(x, axes, keepdims=True)
        return z - o.log(o.sum(o.exp(z), axes, keepdims=True))

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        axes = node.params.axes
        p: Node = Softmax.instance(node.inputs[0], axes=axes)
        return (g - p * o.sum(g, axes, keepdims=True),)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        axes: tuple[int, ...] = node.params.axes
        t: Node = tangents[0]
        p: Node = Softmax.instance(node.inputs[0], axes=axes)
        return t - o.sum(p * t, axes, keepdims=True)


@function
def softmax(x: Any, axis: int | Sequence[int] = -1) -> Node:
    """Return exp(x) / sum(exp(x)) over `axis`; finite for every finite x."""
    node = as_float(x)
    return Softmax.instance(node, axes=normal_axes(axis, node.ndim))


@function
def log_softmax(x: Any, axis: int | Sequence[int] = -1) -> Node:
    """Return log(softmax(x)) over `axis` without forming the softmax."""
    node = as_float(x)
    return LogSoftmax.instance(node, axes=normal_axes(axis, node.ndim))


@function
def logsumexp(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Node:
    """Return log(sum(exp(x))) over `axis` by the shifted maximum (of the real parts)."""
    node = as_inexact(x)
    axes = normal_axes(axis, node.ndim)
    if node.dtype.is_complex:
        return _complex_logsumexp(node, axes, keepdims)
    result = LogSumExp.instance(node, axes=axes)
    return o.expand_dims(result, axes) if keepdims and axes else result


def _complex_logsumexp(z: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
    if _empty(z, axes):
        return o.log(o.sum(o.exp(z), axes, None, keepdims))
    high = o.stop_gradient(o.max(o.real(z), axes, keepdims=True))
    high = o.where(o.isfinite(high), high, 0)
    total = o.log(o.sum(o.exp(z - high), axes, None, keepdims))
    return total + (high if keepdims or not axes else o.squeeze(high, axes))


@function
def one_hot(labels: Any, n: Any, axis: int = -1, dtype: Any = None) -> Node:
    """Return an array with a new axis of length n: 1 at the label, else 0 (also out of range)."""
    node = as_node(labels)
    size = o.as_size(n)
    axis = normal_axis(axis, node.ndim + 1)
    shape = tuple(size if k == axis else 1 for k in range(node.ndim + 1))
    if node.dtype.is_integer:  # positions beyond the labels' own type would wrap around
        node = cast_to(node, UINT64 if node.dtype == "uint64" else INT64)
    hit = o.eq(o.expand_dims(node, axis), o.iota(shape, axis, node.dtype))
    return cast_to(hit, floatx()) if dtype is None else o.cast(hit, dtype)


@register
class Label(Op):
    name = "label"
    doc = "Class numbers in [0, n); negative ones count from the end, others are an IndexError."
    params = ("n",)
    not_differentiable = "the result is an index"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield (rng.integers(-5, 5, (7,)),), {"n": 5}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        y, n = arrays[0], node.params.n
        if y.size and (y.min() < -n or y.max() >= n):
            raise IndexError(f"a label is out of bounds for {n} classes: {y.min()} to {y.max()}")
        return y if y.dtype.kind == "u" else np.where(y < 0, y + y.dtype.type(n), y)

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        y = read(0, index)
        if node.dtype.kind == "u":
            return y
        return s.select(y < 0, y + s.as_value(node.params.n, node.dtype), y)

    def checks(self, low: Any, node: Node) -> None:
        low.check_range(node, node.inputs[0], node.params.n)

    def batch(self, o: Any, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]) -> Any:
        return self(inputs[0], n=node.params.n), axes[0]


def _hits(o: Any, x: Node, y: Node) -> Node:
    """Return where the label of each row stands among the classes (the last axis)."""
    n = x.type.shape[-1]
    shape = (1,) * (x.ndim - 1) + (n,)
    labels = o.expand_dims(Label.instance(y, n=n), x.ndim - 1)
    hits: Node = o.eq(labels, o.iota(shape, x.ndim - 1, y.dtype))
    return hits


@register
class CrossEntropy(Op):
    name = "cross_entropy_rows"
    doc = "-log softmax(x)[label] over the last axis: logsumexp(x) - x[label]."
    dtypes = "float"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((7, 5), rng.integers(-5, 5, (7,))), {}
        yield ((2, 3, 40), rng.integers(0, 40, (2, 3))), {}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_shape(inputs[0].type.shape[:-1])

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x, y = arrays[0].astype(np.float64), arrays[1]
        if y.size and (y.min() < -x.shape[-1] or y.max() >= x.shape[-1]):
            raise IndexError(f"a label is out of bounds for {x.shape[-1]} classes")
        with np.errstate(all="ignore"):
            m = _finite_max(x, (-1,))
            total = np.log(np.exp(x - m).sum(-1)) + m[..., 0]
            picked = np.take_along_axis(x, y[..., None].astype(np.int64), -1)[..., 0]
            return np.asarray(total - picked, node.dtype.numpy)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        """One pass structure per row; the label is picked by comparison, so that it fuses."""
        x, y = node.inputs
        picked = o.sum(o.where(_hits(o, x, y), x, o.zeros((), x.dtype)), -1, x.dtype)
        return o.logsumexp(x, -1) - picked

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Any, ...]:
        x, y = node.inputs
        p: Node = Softmax.instance(x, axes=(x.ndim - 1,))
        one, zero = o.ones((), x.dtype), o.zeros((), x.dtype)
        return (p - o.where(_hits(o, x, y), one, zero)) * o.expand_dims(g, x.ndim - 1), None

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        x, y = node.inputs
        p: Node = Softmax.instance(x, axes=(x.ndim - 1,))
        one, zero = o.ones((), x.dtype), o.zeros((), x.dtype)
        return o.sum((p - o.where(_hits(o, x, y), one, zero)) * tangents[0], -1)

    def batch(self, o: Any, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]) -> Any:
        n = next(v.type.shape[a] for v, a in zip(inputs, axes, strict=True) if a is not None)
        full = [
            o.broadcast_to(v, (n, *v.type.shape)) if a is None else o.moveaxis(v, a, 0)
            for v, a in zip(inputs, axes, strict=True)
        ]
        return self(*full), 0


@function
def cross_entropy(logits: Any, labels: Any, axis: int = -1) -> Node:
    """Return -log softmax(logits)[label], one value per row; `labels` are integers.

    Logits of shape (..., classes) and labels of shape (...) give shape (...). No probability is
    formed, so logits of +-1e4 are fine. A label outside [-classes, classes) is an IndexError.
    """
    x, y = as_float(logits), as_node(labels)
    axis = normal_axis(axis, x.ndim)
    if not y.dtype.is_integer:
        raise DTypeError(f"labels of cross_entropy must be integers, got {y.type}")
    if y.ndim != x.ndim - 1:
        raise ShapeError(
            f"cross_entropy: logits `{describe(x)}` {x.type} need labels with {x.ndim - 1} axes, "
            f"got `{describe(y)}` {y.type}"
        )
    return CrossEntropy.instance(o.moveaxis(x, axis, -1), y)


@function
def binary_cross_entropy(logits: Any, targets: Any) -> Node:
    """Return -t log sigmoid(x) - (1 - t) log sigmoid(-x) elementwise, from logits."""
    x = as_float(logits)
    return o.softplus(x) - x * cast_to(as_node(targets, (x.dtype,)), x.dtype)
