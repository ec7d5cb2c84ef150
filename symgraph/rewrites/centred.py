"""Sums of which one term is a number times centred values: the term adds nothing.

The derivative of a normalisation takes the mean of such a sum off. What rounding leaves of the sum
of centred values alone is not touched: a corrected variance is made from it.
"""

from __future__ import annotations

from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.core.pattern import const_value, rewrite_rule
from symgraph.dims.dim import Dim
from symgraph.rewrites.rows import reduced
from symgraph.rewrites.stable_gradients import quotient

DEPTH = 4  # of nested sums that are seen as one
Terms = list[tuple[bool, Node]]  # with the sign: whether it is negative


def _mean_axes(x: Node, mean: Node) -> tuple[int, ...] | None:
    """Return the axes where `mean` is that of `x` over them, kept as axes of length 1."""
    if mean.op.name not in ("mul", "div"):
        return None
    total, scale = mean.inputs
    found = reduced(total, "sum")
    if found is None or found[0] is not x:
        return None
    count: int | Dim = 1
    for a in found[1]:
        count = count * x.type.shape[a]
    return found[1] if _is_count(scale, count, mean.op.name == "mul") else None


def _is_count(scale: Node, count: int | Dim, inverse: bool) -> bool:
    if scale.op.name == "dim_value":
        return not inverse and bool(scale.params.dim == count)
    value = const_value(scale)
    if value is None or not isinstance(count, int) or count == 0:
        return False
    return bool(value == scale.dtype.numpy.type(1 / count if inverse else count))


def _terms(x: Node) -> Terms:
    """Return the terms of nested sums, differences and negations, in order."""
    found: Terms = []
    stack = [(False, x, DEPTH)]
    while stack:
        negative, node, depth = stack.pop()
        name = node.op.name if depth and node.type == x.type else ""
        if name in ("add", "sub"):
            a, b = node.inputs
            stack += [(negative ^ (name == "sub"), b, depth - 1), (negative, a, depth - 1)]
        elif name == "neg":
            stack.append((not negative, node.inputs[0], depth - 1))
        else:
            found.append((negative, node))
    return found


def _added(term: Node, axes: tuple[int, ...]) -> Node | None:
    """Return what a number times centred values adds to a sum: 0, but NaN where it is NaN."""
    q = quotient(term)
    for f in q.factors:
        over = _mean_axes(*f.inputs) if f.op.name == "sub" else None
        if over != axes or f.ndim != term.ndim:
            continue
        rest = q.without(f).times(f.inputs[1] * 0.0)
        if all(_is_constant(x, axes, term.ndim) for x in (*rest.factors, *rest.divisors)):
            value: Node | None = None
            for x in (*rest.factors, *(o.reciprocal(d) for d in rest.divisors)):
                value = x if value is None else value * x
            return value
    return None


def _is_constant(x: Node, axes: tuple[int, ...], rank: int) -> bool:
    """Tell whether a factor of an array has one value along some of its axes."""
    lead = rank - x.ndim
    return all(a < lead or x.type.shape[a - lead] == 1 for a in axes)


def _example() -> list[Node]:
    x, y = new_input("float32", (3, 4), "x"), new_input("float32", (3, 4), "y")
    s, r = new_input("float32", (3, 1), "s"), new_input("float32", (4,), "r")
    rows, columns = (x - o.mean(x, k, keepdims=True) for k in (1, 0))
    positive = o.square(y) + 1  # what is left is of one sign: nothing cancels
    return [
        o.sum(positive + s * rows, 1),
        o.sum(rows / s - positive - rows, 1),
        o.sum(positive * 2 - columns * r, 0, keepdims=True),
    ]


@rewrite_rule(
    phase="stable", numeric="stable", roots=("sum",), children=("add", "sub", "neg"),
    example=_example,
)  # fmt: skip
def sum_with_centred_term(node: Node) -> Node | None:
    """sum(y + s (x - mean(x))) -> sum(y), for s constant along the axes of the sum and the mean."""
    x, axes = node.inputs[0], node.params.axes
    if not axes or x.dtype is not node.dtype or x.dtype not in ("float32", "float64"):
        return None
    kept: Node | None = None
    zeros: list[Node] = []
    for negative, term in _terms(x):
        zero = _added(term, axes)
        if zero is not None:
            zeros.append(zero)
        elif kept is None:
            kept = -term if negative else term
        else:
            kept = kept - term if negative else kept + term
    if kept is None or not zeros:
        return None
    total = o.sum(o.broadcast_to(kept, x.type.shape), axes, keepdims=True)
    for zero in zeros:
        total = total + zero
    return o.squeeze(total, axes)
