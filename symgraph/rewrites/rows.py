"""Stable forms over rows: softmax, log-softmax, log-sum-exp, cross-entropy."""

from __future__ import annotations

from typing import Any

from symgraph.core.node import Node, new_input
from symgraph.core.op import o, ops
from symgraph.core.pattern import Params, Var, p, rewrite_rule, rule


def _x(*shape: Any) -> Node:
    return new_input("float32", shape, "x")


@rule(phase="stable", numeric="stable")
def log_of_softmax(x: Var, a: Params) -> Any:
    """log(softmax(x)) -> log_softmax(x): finite where a probability underflows."""
    return p.log(p.softmax(x, a)), p.log_softmax(x, a)


@rule(phase="stable", numeric="stable")
def exp_of_log_softmax(x: Var, a: Params) -> Any:
    """exp(log_softmax(x)) -> softmax(x)."""
    return p.exp(p.log_softmax(x, a)), p.softmax(x, a)


def reduced(x: Node, op: str) -> tuple[Node, tuple[int, ...]] | None:
    """Return (y, axes) where x is expand_dims(op(y, axes), axes), the keepdims form; else None."""
    if x.op.name != "expand_dims" or x.inputs[0].op.name != op:
        return None
    inner = x.inputs[0]
    axes: tuple[int, ...] = inner.params.axes
    if axes != x.params.axes:
        return None
    if op == "sum" and inner.inputs[0].dtype is not inner.dtype:
        return None
    return inner.inputs[0], axes


def _logsumexp_example() -> list[Node]:
    return [o.log(o.sum(o.exp(_x(3, 4)), 1)), o.log(o.sum(o.exp(_x(3, 4))))]


@rewrite_rule(
    phase="stable", numeric="stable", roots=("log",), children=("sum",), example=_logsumexp_example
)
def log_of_sum_of_exp(node: Node) -> Node | None:
    """log(sum(exp(x))) -> logsumexp(x), which takes the maximum out."""
    total = node.inputs[0]
    e = total.inputs[0]
    if e.op.name != "exp" or e.dtype is not node.dtype or not total.params.axes:
        return None
    return ops["logsumexp"](e.inputs[0], axes=total.params.axes)


def _softmax_example() -> list[Node]:
    x = _x(3, 4)
    e = o.exp(x)
    return [
        e / o.sum(e, 1, keepdims=True),
        e * o.expand_dims(o.reciprocal(o.sum(e, 1)), 1),
        e / o.sum(e),
    ]


@rewrite_rule(
    phase="stable", numeric="stable", roots=("div", "mul"), children=("exp",),
    example=_softmax_example,
)  # fmt: skip
def exp_over_sum_of_exp(node: Node) -> Node | None:
    """exp(x) / sum(exp(x)) -> softmax(x), with keepdims or over all axes; also * reciprocal."""
    pairs = (node.inputs, node.inputs[::-1]) if node.op.name == "mul" else (node.inputs,)
    for e, divisor in pairs:
        if e.op.name != "exp":
            continue
        other = divisor
        axes: tuple[int, ...] = ()
        if other.op.name == "expand_dims":
            axes, other = other.params.axes, other.inputs[0]
        if node.op.name == "mul":
            if other.op.name != "reciprocal":
                continue
            other = other.inputs[0]
        if other.op.name != "sum" or other.inputs[0] is not e:
            continue
        full = not axes and len(other.params.axes) == e.ndim
        if other.dtype is e.dtype and other.params.axes and (full or axes == other.params.axes):
            return ops["softmax"](e.inputs[0], axes=other.params.axes)
    return None


def _shifted_example() -> list[Node]:
    x = _x(3, 4)
    z = x - o.max(x, 1, keepdims=True)
    return [o.softmax(z, 1), o.log_softmax(z, 1)]


@rewrite_rule(
    phase="stable", numeric="stable", roots=("softmax", "log_softmax"), children=("sub",),
    example=_shifted_example,
)  # fmt: skip
def softmax_of_shifted(node: Node) -> Node | None:
    """softmax(x - max(x)) -> softmax(x), which takes the maximum out by itself."""
    x, m = node.inputs[0].inputs
    if m.op.name in ("stop_gradient", "grad_clip"):
        m = m.inputs[0]
    if reduced(m, "max") != (x, node.params.axes):
        return None
    return node.op(x, axes=node.params.axes)


def _log_softmax_example() -> list[Node]:
    x = _x(3, 4)
    z = x - o.max(x, 1, keepdims=True)
    return [
        x - o.logsumexp(x, 1, keepdims=True),
        z - o.log(o.sum(o.exp(z), 1, keepdims=True)),
    ]


@rewrite_rule(
    phase="stable", numeric="stable", roots=("sub",), children=("expand_dims",),
    example=lambda: _log_softmax_example()[:1],
)
def minus_logsumexp(node: Node) -> Node | None:
    """x - logsumexp(x) -> log_softmax(x)."""
    x, m = node.inputs
    found = reduced(m, "logsumexp")
    if found is None or found[0] is not x:
        return None
    return ops["log_softmax"](x, axes=found[1])


def _unshifted_example() -> list[Node]:
    x = _x(3, 4)
    m = o.max(x, 1)
    return [o.logsumexp(x - o.expand_dims(m, 1), 1) + m]


@rewrite_rule(
    phase="stable", numeric="stable", roots=("add",), children=("logsumexp",),
    example=_unshifted_example,
)
def logsumexp_of_shifted(node: Node) -> Node | None:
    """logsumexp(x - max(x)) + max(x) -> logsumexp(x)."""
    for value, m in (node.inputs, node.inputs[::-1]):
        if value.op.name != "logsumexp" or value.inputs[0].op.name != "sub":
            continue
        x, shift = value.inputs[0].inputs
        found = reduced(shift, "max") == (x, value.params.axes) and shift.inputs[0] is m
        if found:
            return value.op(x, axes=value.params.axes)
    return None


def _picked_example() -> list[Node]:
    x = _x(3, 4)
    labels = new_input("int64", (3,), "labels")
    return [ops["gather"](o.log_softmax(x, 1), o.iota((3,)), o.mod(labels, 4))]


@rewrite_rule(
    phase="stable", numeric="stable", roots=("gather",), children=("log_softmax",),
    example=_picked_example,
)  # fmt: skip
def gather_of_log_softmax(node: Node) -> Node | None:
    """log_softmax(x)[..., label] -> x[..., label] - logsumexp(x): no table of all classes."""
    value, indices = node.inputs[0], node.inputs[1:]
    x, axes = value.inputs[0], value.params.axes
    if len(axes) != 1 or axes[0] >= len(indices):
        return None
    others = tuple(i for k, i in enumerate(indices) if k != axes[0])
    total = ops["logsumexp"](x, axes=axes)
    taken = node.op(total, *others) if others else total
    new: Node = node.op(x, *indices) - taken
    return new if new.type.shape == node.type.shape else None
