"""Closed subgraphs: what one step of a loop, or one branch of a condition, computes.

A body's arguments are `bound` leaves, numbered by the nesting depth of the body and their place. So
two bodies that compute the same are the same nodes, whatever variables they were written with
(de Bruijn levels), and the nodes that hold them are shared like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from symgraph.core.node import BOUND, CONSTANT, Node, make, new_input
from symgraph.core.record import dataclass
from symgraph.core.types import TensorType
from symgraph.core.walk import substitute, toposort


@dataclass(frozen=True, slots=True)
class Body:
    """A function from `args` to `outputs`; `level` is 1 + the depth of bodies inside of it."""

    args: tuple[Node, ...]
    outputs: tuple[Node, ...]
    level: int

    def __repr__(self) -> str:
        return f"body({len(self.args)} -> {len(self.outputs)})"

    def apply(self, values: Sequence[Node]) -> list[Node]:
        """Return the outputs with `values` in the places of the arguments."""
        return substitute(self.outputs, dict(zip(self.args, values, strict=True)))

    def open(self, types: Sequence[TensorType] | None = None) -> tuple[list[Node], list[Node]]:
        """Return fresh variables and the outputs as functions of them, to build on."""
        kinds = types or [a.type for a in self.args]
        fresh = [
            new_input(t.dtype, t.shape, a.name) for t, a in zip(kinds, self.args, strict=True)
        ]
        return fresh, self.apply(fresh)


def bodies(node: Node) -> Iterator[Body]:
    """Yield the bodies that a node holds among its parameters."""
    if isinstance(node.params, tuple):
        for p in node.params:
            if isinstance(p, Body):
                yield p


def some_node(outputs: Iterable[Node], test: Callable[[Node], bool]) -> bool:
    """Tell whether some node of a graph, or of a body in it, passes a test."""
    return any(
        test(n) or (n.op.compound and any(some_node(b.outputs, test) for b in bodies(n)))
        for n in toposort(outputs)
    )


def close(args: Sequence[Node], outputs: Sequence[Node]) -> tuple[Body, list[Node]]:
    """Turn a graph over the variables `args` into a body.

    Whatever does not depend on them is taken from outside: the largest such subexpressions become
    further arguments, and are returned in their order. So what does not change from step to step
    is computed once, before the loop. Scalar constants stay inside.
    """
    given = set(args)
    order = [n for n in toposort(outputs, stop=given.__contains__) if n not in given]
    inside = set(args)
    depth = 0
    for node in order:
        if any(i in inside for i in node.inputs):
            inside.add(node)
            depth = max([depth, *(b.level for b in bodies(node))])
    captured: dict[Node, None] = {}
    for node in order:
        if node in inside:
            for i in node.inputs:
                if i not in inside and not _immediate(i):
                    captured[i] = None
    for node in outputs:
        if node not in inside and not _immediate(node):
            captured[node] = None
    found = list(captured)
    level = depth + 1
    bound = [_bound(level, k, n) for k, n in enumerate((*args, *found))]
    mapping = dict(zip((*args, *found), bound, strict=True))
    return Body(tuple(bound), tuple(substitute(outputs, mapping)), level), found


def _immediate(node: Node) -> bool:
    return node.op is CONSTANT and node.data.size == 1


def _bound(level: int, place: int, like: Node) -> Node:
    leaf = make(BOUND, (), (level, place), type=like.type)
    leaf.name = like.name or leaf.name or f"a{place}"
    return leaf


def retyped(body: Body, types: Mapping[Node, TensorType]) -> dict[Node, Node]:
    """Return the map from each argument to the same argument of another type."""
    return {a: make(BOUND, (), a.params, type=types[a]) for a in body.args}


def with_bodies(node: Node, change: Callable[[Sequence[Node]], Sequence[Node]]) -> Node:
    """Return the node with the outputs of its bodies replaced by what `change` makes of them."""
    if not node.op.compound:
        return node
    new = [
        Body(p.args, tuple(change(p.outputs)), p.level) if isinstance(p, Body) else p
        for p in node.params
    ]
    params = type(node.params)(*new)
    return node if params == node.params else make(node.op, node.inputs, params)
