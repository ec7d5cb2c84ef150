"""Several loops as one: loops over the same steps, where neither needs the other's results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.core.node import CONSTANT, Node
from symgraph.core.source import made_from
from symgraph.core.walk import substitute, toposort
from symgraph.ops.loop import RESULT, WHILE, Parts, loops
from symgraph.rewrites.opened import Opened, steps_index


def merged(outputs: Sequence[Node]) -> list[Node]:
    """Run loops over the same steps as one, where neither needs the other's results."""
    outputs = list(outputs)
    while True:
        found = loops(outputs)
        below = {n: set(toposort([n])) for n in found}
        pair = next(
            (
                (a, b)
                for j, b in enumerate(found)
                for a in found[:j]
                if _mergeable(a, b) and a not in below[b] and b not in below[a]
            ),
            None,
        )
        if pair is None:
            return outputs
        outputs = substitute(outputs, _merge(*pair))


def _mergeable(a: Node, b: Node) -> bool:
    """Tell whether two loops do the same steps, in one order, on a common input or carry."""
    p, q = a.params, b.params
    if (p.kind, p.length, p.reverse, p.recompute) != (q.kind, q.length, q.reverse, q.recompute):
        return False
    x, y = Parts.of(a), Parts.of(b)
    if x.header is not y.header:
        return False
    if p.kind == WHILE:
        return _same_condition(a, b)
    mine = {*x.sequences, *x.initial}
    common = [n for n in (*y.sequences, *y.initial) if n in mine]
    return any(n.op is not CONSTANT for n in common) or (bool(common) and _same_carry(a, b))


def _same_carry(a: Node, b: Node) -> bool:
    """Tell whether some carry is the same in two loops, all along."""
    second = Opened(b)
    shared = _shared_variables(Opened(a), second)
    return any(x in shared for x, _, _ in second.carries.values())


def _same_condition(a: Node, b: Node) -> bool:
    first, second = Opened(a), Opened(b)
    mapping = _shared_variables(first, second)
    assert first.go_on is not None and second.go_on is not None
    return substitute([second.go_on], mapping)[0] is first.go_on


def _shared_variables(a: Opened, b: Opened) -> dict[Node, Node]:
    """Return the variables of b that are those of a: same sequence, or a carry that stays equal."""
    mapping: dict[Node, Node] = {b.step: a.step}
    arrays = {array: x for x, array in reversed(a.sequences.items())}
    mapping |= {x: arrays[array] for x, array in b.sequences.items() if array in arrays}
    carries = [*a.carries.values(), *b.carries.values()]
    numbers: dict[Any, int] = {}
    kinds = [numbers.setdefault(start, len(numbers)) for _, start, _ in carries]
    equal: dict[Node, Node] = {}
    while len(set(equal.values())) < len(numbers):
        # carries of a kind are equal, until a step parts them: the first one stands for all
        firsts: dict[int, Node] = {}
        equal = {x: firsts.setdefault(k, x) for k, (x, _, _) in zip(kinds, carries, strict=True)}
        nexts = substitute([new for _, _, new in carries], mapping | equal)
        numbers = {}
        pairs = zip(kinds, nexts, strict=True)
        kinds = [numbers.setdefault(pair, len(numbers)) for pair in pairs]
    mine = {x for x, _, _ in a.carries.values()}
    others = (x for x, _, _ in b.carries.values())
    return mapping | {x: equal[x] for x in others if equal[x] in mine}


def _merge(a: Node, b: Node) -> dict[Node, Node]:
    with made_from(a.source):
        first, second = Opened(a), Opened(b)
        mapping = _shared_variables(first, second)
        mine = {x: k for k, (x, _, _) in first.carries.items()}
        where: dict[int, Any] = {}
        new = substitute([n for _, _, n in second.carries.values()], mapping)
        for (k, (x, start, _)), value in zip(second.carries.items(), new, strict=True):
            if x in mapping:
                where[k] = mine[mapping[x]]
            else:
                where[k] = ("other", k)
                first.carries[where[k]] = (x, start, value)
        rows = substitute(list(second.rows.values()), mapping)
        for k, row in zip(second.rows, rows, strict=True):
            where[k] = ("other", k)
            first.rows[where[k]] = row
        first.sequences |= {x: s for x, s in second.sequences.items() if x not in mapping}
        first.updates += [(t, where[k], by) for t, k, by in second.updates]
        own, others = first.build_with(where)
        found = {RESULT(b, index=k): n for k, n in others.items()}
        found[RESULT(b, index=steps_index(b))] = own[RESULT(a, index=steps_index(a))]
        return own | found
