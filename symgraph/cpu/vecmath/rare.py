"""Find the part of an expansion that only extreme arguments need, to branch around it."""

from __future__ import annotations

from symgraph.loops.expr import Expr, walk

LEAST = 24  # operations that a branch must save


def rare_side(result: Expr) -> tuple[list[Expr], list[Expr]]:
    """Return selects on one condition (`usual where x <= limit else rare`) and the rare operations.

    The operations are those that nothing but the selects' last operands uses, arguments first. Both
    lists are empty where no such part is large enough.
    """
    groups: dict[Expr, list[Expr]] = {}
    for e in walk([result]):
        if e.op == "select" and e.args[0].op == "le":
            groups.setdefault(e.args[0], []).append(e)
    for group in groups.values():
        kept: set[Expr] = set()
        stack = [result]
        while stack:
            e = stack.pop()
            if e not in kept:
                kept.add(e)
                stack.extend(e.args[:2] if e in group else e.args)
        below = walk([e.args[2] for e in group])
        rare = [e for e in below if e not in kept and e.op != "const"]
        if len(rare) >= LEAST:
            return group, rare
    return [], []
