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
    """Tell whether two loops do the same number of steps, in one order, on some common input."""
    p, q = a.params, b.params
    if (p.kind, p.length, p.reverse, p.recompute) != (q.kind, q.length, q.reverse, q.recompute):
        return False
    x, y = Parts.of(a), Parts.of(b)
    if x.header is not y.header:
        return False
    if p.kind == WHILE:
        return _same_condition(a, b)
    mine = {n for n in (*x.sequences, *x.initial) if n.op is not CONSTANT}
    return any(n in mine for n in (*y.sequences, *y.initial))


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
    pairs = {
        kb: ka
        for kb, (_, start, _) in b.carries.items()
        for ka, (_, other, _) in a.carries.items()
        if start is other
    }
    while True:  # assume that the pairs stay equal, until no step parts them
        trial = mapping | {b.carries[kb][0]: a.carries[ka][0] for kb, ka in pairs.items()}
        nexts = substitute([b.carries[kb][2] for kb in pairs], trial)
        parted = [
            kb
            for (kb, ka), new in zip(pairs.items(), nexts, strict=True)
            if new is not a.carries[ka][2]
        ]
        if not parted:
            return trial
        for kb in parted:
            del pairs[kb]


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
        first.updates += [(t, where[k]) for t, k in second.updates]
        own, others = first.build_with(where)
        found = {RESULT(b, index=k): n for k, n in others.items()}
        found[RESULT(b, index=steps_index(b))] = own[RESULT(a, index=steps_index(a))]
        return own | found
