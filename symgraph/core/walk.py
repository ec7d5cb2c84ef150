"""Walks over the graph: order, substitution. Iterative, so that deep graphs do not overflow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from symgraph.core.node import Node


def toposort(outputs: Iterable[Node], stop: Callable[[Node], bool] | None = None) -> list[Node]:
    """Return all nodes that `outputs` depend on, inputs before users; `stop` cuts below a node."""
    seen: set[Node] = set()
    order: list[Node] = []
    stack: list[tuple[Node, bool]] = [(n, False) for n in reversed(list(outputs))]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
            continue
        if node in seen:
            continue
        seen.add(node)
        stack.append((node, True))
        if stop is None or not stop(node):
            stack.extend((i, False) for i in reversed(node.inputs) if i not in seen)
    return order


def leaves(outputs: Iterable[Node]) -> list[Node]:
    """Return the inputs, shared variables and constants below `outputs`, in first-use order."""
    return [n for n in toposort(outputs) if n.op.is_leaf]


def substitute(outputs: Iterable[Node], mapping: Mapping[Node, Node]) -> list[Node]:
    """Replace nodes and rebuild what depends on them; unrelated nodes stay the same objects."""
    outputs = list(outputs)
    new: dict[Node, Node] = dict(mapping)
    for node in toposort(outputs, stop=mapping.__contains__):
        if node not in new:
            new[node] = with_inputs(node, tuple(new[i] for i in node.inputs))
    return [new[n] for n in outputs]


def with_inputs(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return the same operation on other inputs; name, line and test value travel along."""
    if inputs == node.inputs:
        return node
    return inherit(node.op.rebuild(node, inputs), node)


def inherit(new: Node, old: Node) -> Node:
    """Give `new` the name and the source line of the node that it stands for."""
    if new is not old and not new.op.is_leaf:
        if new._name is None:
            new._name = old._name
        if old.source is not None:
            new.source = old.source
    return new
