"""A loop opened for rewriting: its step over variables of its own, to be built again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symgraph.core.node import Node
from symgraph.core.op import o
from symgraph.core.vectorise import Batched, vectorise
from symgraph.core.walk import substitute, toposort
from symgraph.ops.loop import RESULT, WHILE, Parts, make_loop

Results = Callable[[Any], Node]  # the result of a loop by its key


class Opened:
    """A loop with its body over variables of its own, to be changed and built again.

    Carries and rows have keys: those that were there the numbers of their results.
    """

    def __init__(self, node: Node) -> None:
        self.node, self.params = node, node.params
        p = Parts.of(node)
        variables, outputs = node.params.body.open()
        p.set_body(node.params, variables, outputs)
        fill = dict(zip(p.fixed, p.constants, strict=True))
        roots = substitute([*p.next, *p.rows, *([] if p.go_on is None else [p.go_on])], fill)
        n = len(p.carries)
        self.step, self.header = p.step, p.header
        self.go_on = None if p.go_on is None else roots.pop()
        self.sequences = dict(zip(p.elements, p.sequences, strict=True))
        # key -> (variable, initial value, next value)
        self.carries: dict[Any, tuple[Node, Node, Node]] = {
            k: c for k, c in enumerate(zip(p.carries, p.initial, roots[:n], strict=True))
        }
        self.rows: dict[Any, Node] = dict(enumerate(roots[n:], n))
        self._added = 0
        # results that are computed from others (or from none), given a function key -> result
        self.instead: dict[int, Callable[[Results], Node]] = {}
        self.updates: list[tuple[Node, Any, Node]] = list(node.params.updates)

    def roots(self) -> list[Node]:
        """Return all that a step computes."""
        found = [*(new for _, _, new in self.carries.values()), *self.rows.values()]
        return found if self.go_on is None else [*found, self.go_on]

    def set_roots(self, roots: Sequence[Node]) -> None:
        """Replace what a step computes by equal values."""
        left = iter(roots)
        self.carries = {k: (x, start, next(left)) for k, (x, start, _) in self.carries.items()}
        self.rows = {k: next(left) for k in self.rows}
        if self.go_on is not None:
            self.go_on = next(left)

    def row(self, value: Node) -> Any:
        """Return the key of a trace of `value`; a new one where there is none."""
        for k, row in self.rows.items():
            if row is value:
                return k
        self._added += 1  # rows are removed meanwhile: their number would name two alike
        key = f"row{self._added}"
        self.rows[key] = value
        return key

    def moving(self) -> set[Node]:
        """Return the nodes that depend on carries."""
        found = {x for x, _, _ in self.carries.values()}
        for n in toposort(self.roots()):
            if any(i in found for i in n.inputs):
                found.add(n)
        return found

    def build(self) -> dict[Node, Node]:
        """Return the loop's old results and what they are now."""
        return self.build_with({})[0]

    def build_with(self, keys: Mapping[Any, Any]) -> tuple[dict[Node, Node], dict[Any, Node]]:
        """Return the same, and the result of each key among the values of `keys`."""
        places: dict[Any, Node] = {}
        if self.carries or self.rows or self.go_on is not None:
            loop = self._loop()
            order = (*self.carries, *self.rows, "steps")
            places = {k: RESULT(loop, index=place) for place, k in enumerate(order)}
        else:
            places["steps"] = self._steps()
        count = steps_index(self.node)
        found = {k: places[k] for k in places if isinstance(k, int)} | {count: places["steps"]}

        def result(key: Any) -> Node:
            if key in places:
                return places[key]
            if key not in found:  # a result that is computed from others, maybe later ones
                found[key] = self.instead[key](result)
            return found[key]

        for k in self.instead:
            result(k)
        old = {RESULT(self.node, index=k): new for k, new in found.items() if isinstance(k, int)}
        return old, {name: places[key] for name, key in keys.items()}

    def _steps(self) -> Node:
        """Return how many steps a loop does that need not be run to know it."""
        length = self.params.length
        if self.header is None:
            return o.dim_value(length)
        least = o.maximum(self.header, 0)
        return least if length is None else o.minimum(least, o.dim_value(length))

    def _loop(self) -> Node:
        used = set(toposort(self.roots()))
        sequences = {x: array for x, array in self.sequences.items() if x in used}
        updates = [
            (target, list(self.carries).index(k), by)
            for target, k, by in self.updates
            if k in self.carries
        ]
        return make_loop(
            [self.step, *sequences, *(x for x, _, _ in self.carries.values())],
            [new for _, _, new in self.carries.values()],
            list(self.rows.values()),
            list(sequences.values()),
            [start for _, start, _ in self.carries.values()],
            self.params.length,
            self.header,
            self.go_on,
            self.params.reverse,
            updates,
            self.params.recompute,
        )


def for_all_steps(opened: Opened, value: Node, traces: Mapping[Node, Batched]) -> Node:
    """Return a value of the body for every step, along a new first axis."""
    steps = o.arange(opened.params.length)
    batches: dict[Node, Batched] = {opened.step: (steps, 0)}
    batches |= {x: (array, 0) for x, array in opened.sequences.items()}
    ((node, axis),) = vectorise([value], {**batches, **traces})
    if axis is None:
        return o.broadcast_to(node, (opened.params.length, *node.type.shape))
    return node if axis == 0 else o.moveaxis(node, axis, 0)


def steps_index(loop: Node) -> int:
    return len(loop.params.body.outputs) - int(loop.params.kind == WHILE)
