"""Reverse and forward mode over a graph, from the one derivative rule of each op.

Reverse mode of an op that only states a forward rule pulls back through that rule, which is linear
in the tangent; so one rule per op is enough for both modes, and both nest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from symgraph.autodiff.support import Adjoint, chosen, pull_product, spread
from symgraph.core.errors import NotDifferentiableError
from symgraph.core.node import Node, describe, new_input
from symgraph.core.op import o
from symgraph.core.source import made_from
from symgraph.core.walk import toposort

Tangent = Node | None
GRADIENT = " (its derivative)"


def accumulate(
    seeds: Sequence[tuple[Node, Node]],
    wrt: Sequence[Node],
    constant: frozenset[Node] = frozenset(),
) -> list[Tangent]:
    """Reverse mode: return sum_k d<g_k, y_k>/dx for each x of `wrt`, None where not connected.

    `seeds` are pairs (y, g) with g of the type of y. A node of `wrt` is treated as a variable of
    its own: all equal expressions are that node, so the derivative covers every use of it.
    """
    parts = _pull([(y, Adjoint(g)) for y, g in seeds], wrt, constant)
    return [None if part is None else part.node() for part in parts]


def _pull(
    seeds: Sequence[tuple[Node, Adjoint]],
    wrt: Sequence[Node],
    constant: frozenset[Node] = frozenset(),
) -> list[Adjoint | None]:
    order = toposort([y for y, _ in seeds], stop=constant.__contains__)
    targets = set(wrt)
    needed: set[Node] = set()
    for node in order:
        if node in targets or (
            node not in constant and _flows(node) and any(i in needed for i in node.inputs)
        ):
            needed.add(node)
    total: dict[Node, Adjoint] = {}
    several: dict[Node, dict[int, Node]] = {}  # compound node -> derivatives by its results
    for y, g in seeds:
        total[y] = g if y not in total else total[y] + g
    for node in reversed(order):
        if node in several:
            with made_from(node.source, GRADIENT):
                total |= _pull_compound(node, several[node], needed, total)
            continue
        adjoint = total.get(node)
        if adjoint is None or node in constant or not any(i in needed for i in node.inputs):
            continue
        if not _flows(node):
            continue
        if node.inputs[0].op.compound:
            several.setdefault(node.inputs[0], {})[node.params.index] = adjoint.node()
            continue
        with made_from(node.source, GRADIENT):
            for x, part in zip(node.inputs, _pull_back(node, adjoint), strict=True):
                if part is not None and x in needed:
                    total[x] = part if x not in total else total[x] + part
    return [total.get(x) if x in needed else None for x in wrt]


def _pull_compound(
    node: Node, gradients: dict[int, Node], needed: set[Node], total: dict[Node, Adjoint]
) -> dict[Node, Adjoint]:
    """Return new totals of a loop's inputs, from the derivatives by its results."""
    found: dict[Node, Adjoint] = {}
    op: Any = node.op
    for x, part in zip(node.inputs, op.pull_back(node, gradients, accumulate), strict=True):
        if part is not None and x in needed:
            before = found.get(x, total.get(x))
            found[x] = Adjoint(part) if before is None else before + Adjoint(part)
    return found


def push(outputs: Sequence[Node], tangents: Mapping[Node, Tangent]) -> list[Tangent]:
    """Forward mode: return the tangent of each output from tangents of some nodes (None: zero)."""
    known: dict[Node, Tangent] = dict(tangents)
    several: dict[Node, Sequence[Tangent]] = {}  # compound node -> tangents of its results
    for node in toposort(outputs, stop=tangents.__contains__):
        if node not in known:
            parts = tuple(known[i] for i in node.inputs)
            if node.inputs and node.inputs[0].op.compound:
                found = several.get(node.inputs[0])
                known[node] = None if found is None else found[node.params.index]
                continue
            if node.op.compound:
                known[node] = None
                if any(t is not None for t in parts):
                    op: Any = node.op
                    with made_from(node.source, GRADIENT):
                        several[node] = op.push_forward(node, parts, push, accumulate)
                continue
            with made_from(node.source, GRADIENT):
                known[node] = push_forward(node, parts)
    return [known[y] for y in outputs]


def _flows(node: Node) -> bool:
    """Tell whether derivatives pass through the node (its value is real and it has a rule)."""
    return (node.dtype.is_inexact or node.op.compound) and not node.op.is_leaf


def _pull_back(node: Node, g: Adjoint) -> tuple[Adjoint | None, ...]:
    """Return d<g, node>/dx for each input x (None: zero, or x has no derivative)."""
    op = node.op
    if op.name == "where":
        return chosen(node, g)
    if op.partials is not None:
        return tuple(
            None if p is None or not x.dtype.is_inexact else g.times(p).summed_to(x)
            for p, x in zip(op.partials(o, node), node.inputs, strict=True)
        )
    if op.name == "matmul":
        return pull_product(node, g, lambda at, k, part: op.transpose(o, at, k, part))
    if op.vjp is not None or op.linear:
        return _through(node, g)
    if op.jvp is not None:
        return tuple(_transposed(node, k, g) for k in range(len(node.inputs)))
    if op.expand is not None:
        inputs = list(node.inputs)  # where one is made of another, the walk ends at both
        return tuple(_pull([(op.expand(o, node), g)], inputs, frozenset(inputs)))
    if any(i.dtype.is_inexact for i in node.inputs):
        _refuse(node)
    return (None,) * len(node.inputs)


def _through(node: Node, g: Adjoint) -> tuple[Adjoint | None, ...]:
    """Pull back through a rule for whole nodes; the support of the result goes beside it."""
    op = node.op

    def pull(part: Node) -> Sequence[Tangent]:
        if op.vjp is not None:
            return tuple(op.vjp(o, node, part))
        return tuple(
            op.transpose(o, node, k, part) if k in op.linear and x.dtype.is_inexact else None
            for k, x in enumerate(node.inputs)
        )

    supports = spread(node, g.support, pull)
    return tuple(
        None if part is None else Adjoint(part, support, support is None)
        for part, support in zip(pull(g.node()), supports, strict=True)
    )


def push_forward(node: Node, tangents: tuple[Tangent, ...]) -> Tangent:
    """Return the tangent of `node` from the tangents of its inputs (None: zero)."""
    op = node.op
    if all(t is None for t in tangents) or not _flows(node):
        return None
    if op.partials is not None:
        parts = zip(op.partials(o, node), tangents, strict=True)
        terms = [_scaled(t, p) for p, t in parts if p is not None and t is not None]
        if not terms:
            return None
        total = _total(terms)
        total = total if total.dtype is node.dtype else o.cast(total, node.dtype)
        return o.broadcast_to(total, node.type.shape)
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


def _scaled(t: Node, p: Any) -> Node:
    """Return t * p where the partial p is a node or a number."""
    return Adjoint(t).times(p).value


def _transposed(node: Node, k: int, g: Adjoint) -> Adjoint | None:
    """Reverse mode from a forward rule: pull g back through its linear dependence on a tangent."""
    x = node.inputs[k]
    if not x.dtype.is_inexact:
        return None
    t = new_input(x.dtype, x.type.shape, "tangent")
    image = node.op.jvp(o, node, tuple(t if j == k else None for j in range(len(node.inputs))))
    result = _pull([(image, g)], [t])[0]
    if result is not None and t in toposort([result.node()]):
        raise NotDifferentiableError(f"the forward rule of {node.op.name} is not linear")
    return result
