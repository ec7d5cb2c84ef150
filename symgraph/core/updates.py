"""Updates of shared variables that loops carry with them."""

from __future__ import annotations

from collections.abc import Container, Iterable

from symgraph.core.node import Node, describe


def one_each(loops: Iterable[Node], given: Container[Node]) -> list[tuple[Node, Node, Node]]:
    """Return the updates that nodes carry with them, but those of variables in `given`.

    Raises ValueError where two scans update one variable: only one of them would count.
    """
    found: dict[Node, tuple[Node, Node, Node]] = {}
    makers: dict[Node, Node] = {}
    for n in loops:
        for target, value, by in n.op.updates(n):
            if target in given:
                continue
            first = makers.setdefault(target, n)
            if found.setdefault(target, (target, value, by))[2] is not by:
                raise ValueError(
                    f"two scans update `{describe(target)}`, and only one of the new values could "
                    f"be kept\n  scan:   made at {first.source}\n  scan:   made at {n.source}\n"
                    "  mend:   do both in one scan, or give the new value as updates= of the "
                    "function (in a step: in the dict that it returns)"
                )
    return list(found.values())
