"""Stable forms of the gradients of hand-written losses.

The derivative of log(softmax(x)) by the chain rule divides by a probability and multiplies by it
again: 0 / 0 where it underflows, though the value is fine. Here such quotients are taken out. What
is left still depends on x everywhere, so that a NaN in x stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.core.node import CONSTANT, Node, new_input
from symgraph.core.op import o, ops
from symgraph.core.pattern import rewrite_rule
from symgraph.core.record import dataclass
from symgraph.rewrites.rows import reduced

DEPTH = 8  # of nested products that are seen as one


@dataclass(frozen=True, slots=True)
class Quotient:
    """A product of factors over a product of divisors."""

    negative: bool
    factors: tuple[Node, ...]
    divisors: tuple[Node, ...]

    def times(self, *others: Node) -> Quotient:
        return Quotient(self.negative, (*self.factors, *others), self.divisors)

    def without(self, factor: Node | None = None, divisor: Node | None = None) -> Quotient:
        """Return the quotient with one factor and one divisor less."""
        return Quotient(
            self.negative, _without(self.factors, factor), _without(self.divisors, divisor)
        )

    def node(self, like: Node) -> Node:
        """Return the quotient as a node of the type of `like`."""
        value: Node | None = None
        for f in (*self.factors, *(o.reciprocal(d) for d in self.divisors)):
            value = f if value is None else value * f
        value = o.ones((), like.dtype) if value is None else value
        value = -value if self.negative else value
        same = value.type.shape == like.type.shape
        return value if same else o.broadcast_to(value, like.type.shape)


def _without(nodes: tuple[Node, ...], gone: Node | None) -> tuple[Node, ...]:
    if gone is None:
        return nodes
    k = next(k for k, n in enumerate(nodes) if n is gone)
    return (*nodes[:k], *nodes[k + 1 :])


def quotient(x: Node) -> Quotient:
    """Return nested products, quotients and negations as one quotient."""
    sides: tuple[list[Node], list[Node]] = ([], [])
    negative, stack = False, [(x, 0, DEPTH)]
    while stack:
        node, side, depth = stack.pop()
        name = node.op.name if depth else ""
        if name in ("mul", "div"):
            a, b = node.inputs
            stack += [(b, side if name == "mul" else 1 - side, depth - 1), (a, side, depth - 1)]
        elif name in ("neg", "reciprocal"):
            negative ^= name == "neg"
            stack.append((node.inputs[0], side if name == "neg" else 1 - side, depth - 1))
        else:
            sides[side].append(node)
    return Quotient(negative, tuple(sides[0]), tuple(sides[1]))


def is_one(x: Node) -> bool:
    return x.op is CONSTANT and x.data.ndim == 0 and x.data == 1


# -- the logistic function ------------------------------------------------------------------------
def _is_complement(c: Node, s: Node) -> bool:
    """Tell whether c is 1 - s for s = sigmoid(x), in one of its forms."""
    if c.op.name == "sub":
        return is_one(c.inputs[0]) and c.inputs[1] is s
    x, y = s.inputs[0], c.inputs[0] if c.op.name == "sigmoid" else None
    if y is None:
        return False
    return any(a.op.name == "neg" and a.inputs[0] is b for a, b in ((x, y), (y, x)))


def _spread(g: Node, s: Node, c: Node) -> Node | None:
    """Return g * s * c, where g is a sum with terms that are divided by s or by c; else None."""
    if g.op.name in ("add", "sub"):
        parts = [_spread(i, s, c) for i in g.inputs]
        if all(part is None for part in parts):
            return None
        terms = [i * s * c if q is None else q for i, q in zip(g.inputs, parts, strict=True)]
        return terms[0] + terms[1] if g.op.name == "add" else terms[0] - terms[1]
    q = quotient(g)
    for divisor, other in ((s, c), (c, s)):
        if any(d is divisor for d in q.divisors):
            return q.without(divisor=divisor).times(other).node(g * s)
    return None


def _sigmoid_example() -> list[Node]:
    x, a, b = (new_input("float32", (7,), n) for n in "xab")
    s = o.sigmoid(x)
    sums = o.square(a) / s + o.square(b) / (1 - s)  # of one sign: nothing cancels
    return [a / s * (s * (1 - s)), sums * (s * (1 - s))]


@rewrite_rule(phase="stable", numeric="stable", roots=("mul",), example=_sigmoid_example)
def sigmoid_over_itself(node: Node) -> Node | None:
    """s c (a / s + b / c) -> a c + b s for s = sigmoid(x), c = 1 - s: gradients of log(s)."""
    q = quotient(node)
    for s in q.factors:
        if s.op.name != "sigmoid":
            continue
        c = next((c for c in q.factors if _is_complement(c, s)), None)
        if c is None:
            continue
        rest = q.without(s).without(c)
        for divisor, other in ((s, c), (c, s)):
            if any(d is divisor for d in rest.divisors):
                return rest.without(divisor=divisor).times(other).node(node)
        for g in rest.factors:
            spread = _spread(g, s, c) if g.op.name in ("add", "sub") else None
            if spread is not None:
                return rest.without(g).times(spread).node(node)
    return None


def _logistic_example() -> list[Node]:
    x, a = (new_input("float32", (7,), n) for n in "xa")
    u = o.exp(-x) + 1
    return [
        a / u / u * o.exp(-x),
        o.exp(x) * a * o.reciprocal(o.exp(x) + 1),
        a * o.sigmoid(-x) * o.exp(x),
    ]


@rewrite_rule(phase="stable", numeric="stable", roots=("mul", "div"), example=_logistic_example)
def exp_over_one_plus_itself(node: Node) -> Node | None:
    """a exp(x) / (1 + exp(x)) -> a sigmoid(x), with the parts anywhere in a product.

    The divisor may be sigmoid(-x), a factor, already.
    """
    q = quotient(node)
    for e in q.factors:
        if e.op.name != "exp":
            continue
        s = o.sigmoid(e.inputs[0])
        for c in q.factors:
            if c.op.name == "sigmoid" and _is_complement(c, s):
                return q.without(e).without(c).times(s).node(node)
        for d in q.divisors:
            ones = [i for i in d.inputs if is_one(i)] if d.op.name == "add" else []
            if len(ones) == 1 and any(i is e for i in d.inputs):
                return q.without(e, d).times(s).node(node)
    return None


# -- the error function ---------------------------------------------------------------------------
def _error_example() -> list[Node]:
    x, a = (new_input("float32", (7,), n) for n in "xa")
    return [a * o.reciprocal(o.erfc(x)) * o.exp(-o.square(x)), o.exp(-(x * x)) / o.erfc(x)]


@rewrite_rule(phase="stable", numeric="stable", roots=("mul", "div"), example=_error_example)
def exp_over_erfc(node: Node) -> Node | None:
    """a exp(-x * x) / erfc(x) -> a / erfcx(x): the gradient of log(erfc(x))."""
    q = quotient(node)
    for d in q.divisors:
        for e in q.factors if d.op.name == "erfc" else ():
            if e.op.name == "exp" and _is_minus_square(e.inputs[0], d.inputs[0]):
                return q.without(e, d).times(o.reciprocal(o.erfcx(d.inputs[0]))).node(node)
    return None


def _is_minus_square(y: Node, x: Node) -> bool:
    if y.op.name != "neg":
        return False
    square = y.inputs[0]
    return square.op.name in ("square", "mul") and all(i is x for i in square.inputs)


# -- rows -----------------------------------------------------------------------------------------
def _rows() -> tuple[Node, Node, Node]:
    x, a = (new_input("float32", (3, 4), n) for n in "xa")
    return x, a, o.softmax(x, 1)


def _is_zero(x: Node) -> bool:
    x = x.inputs[0] if x.op.name == "broadcast_to" else x
    return x.op is CONSTANT and not x.data.any()


def _times(g: Node, p: Node) -> Node | None:
    """Return g * p, where g is a sum of terms that are divided by p; else None."""
    name = g.op.name
    if name in ("add", "sub"):
        a, b = (_times(i, p) for i in g.inputs)
        if a is None or b is None:
            return None
        return a + b if name == "add" else a - b
    if name == "scatter" and g.params.mode == "add" and _is_zero(g.inputs[0]):
        base, values, *indices = g.inputs
        q = quotient(values)
        picked = ops["gather"](p, *indices)
        if not any(d is picked for d in q.divisors):
            return None
        return g.op(base, q.without(divisor=picked).node(values), *indices, mode="add")
    q = quotient(g)
    return q.without(divisor=p).node(g) if any(d is p for d in q.divisors) else None


def _row_sum(total: Node, p: Node) -> Node | None:
    """Return what is added up over the rows of p in `total`, which is broadcast against p."""
    axes = p.params.axes
    if len(axes) == p.ndim and total.op.name == "sum" and total.params.axes == axes:
        return total.inputs[0] if total.dtype is p.dtype else None
    found = reduced(total, "sum")
    return found[0] if found is not None and found[1] == axes else None


def _same_product(x: Node, factors: Sequence[Node]) -> bool:
    """Tell whether x is the product of the factors, in any order."""
    found, wanted = quotient(x), quotient(factors[0])
    for f in factors[1:]:
        wanted = wanted.times(f)
    return (
        found.negative == wanted.negative
        and sorted(map(id, found.factors)) == sorted(map(id, wanted.factors))
        and sorted(map(id, found.divisors)) == sorted(map(id, wanted.divisors))
    )


def _pull_back_example() -> list[Node]:
    x, a, p = _rows()
    labels = o.mod(new_input("int64", (3,), "labels"), 4)
    rows = o.iota((3,))
    picked = ops["gather"](p, rows, labels)
    one = ops["scatter"](o.zeros((3, 4), x.dtype), 1 / picked, rows, labels, mode="add")
    v = o.softmax(x[0])
    whole = v * (a[0] / v - o.sum(a[0] / v * v))
    return [whole, *(p * (g - o.sum(g * p, 1, keepdims=True)) for g in (a / p, -a / p, one))]


@rewrite_rule(
    phase="stable", numeric="stable", roots=("mul",), children=("softmax",),
    example=_pull_back_example,
)  # fmt: skip
def gradient_of_log_of_softmax(node: Node) -> Node | None:
    """p (a / p - sum(a / p p)) -> a - p sum(a) for p = softmax(x): the gradient of log(p)."""
    for p, difference in (node.inputs, node.inputs[::-1]):
        if p.op.name != "softmax" or difference.op.name != "sub":
            continue
        g, total = difference.inputs
        summed = _row_sum(total, p)
        if summed is None or not _same_product(summed, (g, p)):
            continue
        a = _times(g, p)
        if a is not None:
            return a - p * o.sum(a, p.params.axes, keepdims=True)
    return None


def _push_forward_example() -> list[Node]:
    _, a, p = _rows()
    return [p * (a - o.sum(a * p, 1, keepdims=True)) / p]


@rewrite_rule(phase="stable", numeric="stable", roots=("mul", "div"), example=_push_forward_example)
def tangent_of_log_of_softmax(node: Node) -> Node | None:
    """p (t - sum(t p)) / p -> t - sum(t p) for p = softmax(x): the tangent of log(p)."""
    q = quotient(node)
    for p in q.divisors:
        if p.op.name != "softmax" or not any(f is p for f in q.factors):
            continue
        for f in q.factors:
            summed = _row_sum(f.inputs[1], p) if f.op.name == "sub" else None
            if summed is not None and any(g is p for g in quotient(summed).factors):
                return q.without(p, p).node(node)
    return None


def _exp_example() -> list[Node]:
    x, a, _ = _rows()
    e = o.exp(x)
    return [
        o.expand_dims(o.sum(a, 1) * o.reciprocal(o.sum(e, 1)), 1) * e,
        a * o.reciprocal(o.sum(e)) * e,
    ]


@rewrite_rule(phase="stable", numeric="stable", roots=("mul", "div"), example=_exp_example)
def exp_over_its_sum(node: Node) -> Node | None:
    """a exp(x) / sum(exp(x)) -> a softmax(x), with the parts anywhere in a product."""
    q = quotient(node)
    for e in q.factors:
        if e.op.name != "exp":
            continue
        for d in q.divisors:
            if _is_sum(d, e, tuple(range(e.ndim))):
                return q.without(e, d).times(_softmax(e, d)).node(node)
        for f in q.factors:
            inner = quotient(f.inputs[0]) if f.op.name == "expand_dims" else None
            for d in inner.divisors if inner is not None else ():
                if inner is not None and _is_sum(d, e, f.params.axes):
                    rest = inner.without(divisor=d).node(f.inputs[0])
                    new = (o.expand_dims(rest, f.params.axes), _softmax(e, d))
                    return q.without(e).without(f).times(*new).node(node)
    return None


def _is_sum(d: Node, e: Node, axes: tuple[int, ...]) -> bool:
    same = d.op.name == "sum" and d.inputs[0] is e and d.dtype is e.dtype
    return same and bool(axes) and d.params.axes == axes


def _softmax(e: Node, total: Node) -> Any:
    return ops["softmax"](e.inputs[0], axes=total.params.axes)


# -- parts of rows --------------------------------------------------------------------------------
def _picked_example() -> list[Node]:
    _, _, p = _rows()
    labels = new_input("int64", (3,), "labels")
    return [o.log(ops["gather"](p, o.iota((3,)), o.mod(labels, 4)))]


@rewrite_rule(
    phase="stable", numeric="stable", roots=("log",), children=("gather",), example=_picked_example
)
def log_of_picked_softmax(node: Node) -> Node | None:
    """log(softmax(x)[i]) -> log_softmax(x)[i]: finite where a probability underflows."""
    p, *indices = node.inputs[0].inputs
    if p.op.name != "softmax":
        return None
    table = ops["log_softmax"](p.inputs[0], axes=p.params.axes)
    new: Node = node.inputs[0].op(table, *indices)
    return new
