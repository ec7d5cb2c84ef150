"""When may a new value be stored over the old one? For updates and for carries of loops."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.loops.expr import Buffer, Expr
from symgraph.loops.statements import Check, Loop, Nest, Statement, Store, row_stores

Accesses = Sequence[tuple[set[Buffer], set[Buffer]]]


def updated_in_place(
    statements: Sequence[Statement], accesses: Accesses, new: Buffer, old: Buffer
) -> bool:
    """Tell whether `new`, stored by one statement, may lie where `old` is.

    `accesses` are the buffers that each statement reads and writes. Nothing later may read the old
    value or fail, and the statement itself must read it at the element that it stores only.
    """
    makers = [k for k, (_, w) in enumerate(accesses) if new in w]
    if len(makers) != 1:
        return False
    at = makers[0]
    for k in range(at + 1, len(statements)):
        if old in accesses[k][0] or can_fail(statements[k]):
            return False
    maker = statements[at]
    if can_fail(maker):
        return False
    if old not in accesses[at][0]:
        return True
    if not isinstance(maker, Nest) or maker.serial or maker.scan or row_stores(maker):
        return False
    own = {t.address for t in maker.stores if t.buffer is new}  # all stored after all loads
    return all(_reads_own_element(t, old, own) for t in maker.stores)


def can_fail(statement: Statement) -> bool:
    """Tell whether a statement may end the function with an error."""
    if isinstance(statement, Loop):
        return any(can_fail(t) for t in statement.body)
    return isinstance(statement, Check)


def _reads_own_element(store: Store, old: Buffer, own: set[Expr]) -> bool:
    """Tell whether every load of `old` is at a stored address, outside of reductions."""
    seen: set[Expr] = set()
    stack = [store.value]
    inside: list[Expr] = []
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        if e.op == "load" and e.data is old and e.args[0] not in own:
            return False
        if e.op == "reduce":
            inside.extend(e.args)
            continue
        stack.extend(e.args)
    loads: set[Expr] = set()
    while inside:
        e = inside.pop()
        if e in loads:
            continue
        loads.add(e)
        if e.op == "load" and e.data is old:
            return False
        inside.extend(e.args)
    return True
