"""Reverse and forward mode over a graph, from the one derivative rule of each op.

Reverse mode of an op that only states a forward rule pulls back through that rule, which is linear in
the tangent; so one rule per op is enough for both modes, and both nest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from symgraph.core.errors import NotDifferentiableError
from symgraph.core.node import CONSTANT, Node, describe, new_input
from symgraph.core.op import o
from symgraph.core.source import made_from
from symgraph.core.walk import toposort

Tangent = Node | None
GRADIENT = "in the derivative of "


def accumulate(
    seeds: Sequence[tuple[Node, Node]],
    wrt: Sequence[Node],
    constant: frozenset[Node] = frozenset(),
) -> list[Tangent]:
    """Reverse mode: return sum_k d<g_k, y_k>/dx for each x of `wrt`, None where not connected.

    `seeds` are pairs (y, g) with g of the type of y. A node of `wrt` is treated as a variable of its
    own: all equal expressions are that node, so the derivative covers every use of it.
    """
    order = toposort([y for y, _ in seeds], stop=constant.__contains__)
    targets = set(wrt)
    needed: set[Node] = set()
    for node in order:
        if node in targets or (
            node not in constant and _flows(node) and any(i in needed for i in node.inputs)
        ):
            needed.add(node)
    total: dict[Node, Node] = {}
    for y, g in seeds:
        total[y] = g if y not in total else total[y] + g
    for node in reversed(order):
        g = total.get(node)
        if g is None or node in constant or not any(i in needed for i in node.inputs):
            continue
        if not _flows(node):
            continue
        with made_from(node.source, GRADIENT):
            for x, part in zip(node.inputs, pull_back(node, g), strict=True):
                if part is not None and x in needed:
                    total[x] = part if x not in total else total[x] + part
    return [total.get(x) if x in needed else None for x in wrt]


def push(outputs: Sequence[Node], tangents: Mapping[Node, Tangent]) -> list[Tangent]:
    """Forward mode: return the tangent of each output from tangents of some nodes (None: zero)."""
    known: dict[Node, Tangent] = dict(tangents)
    for node in toposort(outputs, stop=tangents.__contains__):
        if node not in known:
            parts = tuple(known[i] for i in node.inputs)
            with made_from(node.source, GRADIENT):
                known[node] = push_forward(node, parts)
    return [known[y] for y in outputs]


def _flows(node: Node) -> bool:
    """Tell whether derivatives pass through the node (its value is real and it has a rule)."""
    return node.dtype.is_float and not node.op.is_leaf


def pull_back(node: Node, g: Node) -> tuple[Tangent, ...]:
    """Return d<g, node>/dx for each input x (None: zero, or x has no derivative)."""
    op = node.op
    if op.vjp is not None:
        return tuple(op.vjp(o, node, g))
    if op.partials is not None:
        return tuple(
            None if p is None or not x.dtype.is_float else o.sum_to(_scaled(g, p), x)
            for p, x in zip(op.partials(o, node), node.inputs, strict=True)
        )
    if op.linear:
        return tuple(
            op.transpose(o, node, k, g) if k in op.linear and x.dtype.is_float else None
            for k, x in enumerate(node.inputs)
        )
    if op.jvp is not None:
        return tuple(_transposed(node, k, g) for k in range(len(node.inputs)))
    if op.expand is not None:
        return tuple(accumulate([(op.expand(o, node), g)], list(node.inputs)))
    if any(i.dtype.is_float for i in node.inputs):
        _refuse(node)
    return (None,) * len(node.inputs)


def push_forward(node: Node, tangents: tuple[Tangent, ...]) -> Tangent:
    """Return the tangent of `node` from the tangents of its inputs (None: zero)."""
    op = node.op
    if all(t is None for t in tangents) or not _flows(node):
        return None
    if op.partials is not None:
        parts = zip(op.partials(o, node), tangents, strict=True)
        terms = [_scaled(t, p) for p, t in parts if p is not None and t is not None]
        return o.broadcast_to(_total(terms), node.type.shape) if terms else None
    if op.jvp is not None:
        result: Node = op.jvp(o, node, tangents)
        return result
    if op.linear:  # linear in each input by itself: one term per moving input
        terms = [
            op.rebuild(node, (*node.inputs[:k], t, *node.inputs[k + 1 :]))
            for k, t in enumerate(tangents)
            if t is not None and k in op.linear
        ]
        return _total(terms) if terms else None
    if op.expand is not None:
        return push([op.expand(o, node)], dict(zip(node.inputs, tangents, strict=True)))[0]
    _refuse(node)
    return None


def _refuse(node: Node) -> None:
    raise NotDifferentiableError(
        f"{node.op.name} has no derivative: {node.op.not_differentiable or 'no rule is stated'}\n"
        f"  node:   {describe(node)}, made at {node.source}\n"
        "  mend:   sg.stop_gradient(x) treats it as a constant"
    )


def _total(terms: Sequence[Node]) -> Node:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _scaled(g: Node, p: Any) -> Node:
    """Return g * p where the partial p is a node or a number.

    Where `where` has masked g with zeros the product is taken inside of the choice, so that an
    infinite or NaN partial of the side that was not chosen does not leak as 0 * inf.
    """
    if isinstance(p, Node):
        if g.op.name == "where":
            condition, x, y = g.inputs
            if _is_zero(y):
                return o.where(condition, x * p, o.zeros((), g.dtype))
            if _is_zero(x):
                return o.where(condition, o.zeros((), g.dtype), y * p)
        return g * p
    if p == 1:
        return g
    return -g if p == -1 else g * p


def _is_zero(node: Node) -> bool:
    while node.op.name in ("broadcast_to", "expand_dims"):
        node = node.inputs[0]
    return node.op is CONSTANT and node.data.size == 1 and not node.data.any()


def _transposed(node: Node, k: int, g: Node) -> Tangent:
    """Reverse mode from a forward rule: pull g back through its (linear) dependence on one tangent."""
    x = node.inputs[k]
    if not x.dtype.is_float:
        return None
    t = new_input(x.dtype, x.type.shape, "tangent")
    image = node.op.jvp(o, node, tuple(t if j == k else None for j in range(len(node.inputs))))
    result = accumulate([(image, g)], [t])[0]
    if result is not None and t in toposort([result]):
        raise NotDifferentiableError(f"the forward rule of {node.op.name} is not linear")
    return result
