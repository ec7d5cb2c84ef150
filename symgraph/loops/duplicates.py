"""Store one value once: two temporaries that a nest fills alike are one.

The padded images of a convolution are read by it and by the gradient of its filters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from symgraph.loops.expr import Buffer, Expr, walk
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Statement, Store
from symgraph.loops.storage import reads, writes


def without_duplicates(
    s: Builder, statements: Sequence[Statement], kept: Collection[Buffer]
) -> tuple[list[Statement], dict[Buffer, Buffer]]:
    """Return the statements with one buffer for those that are filled alike, and which is which.

    Buffers in `kept` stay, and those that a loop knows or that are written more than once.
    """
    single = _free_buffers(statements) - set(kept)
    instead: dict[Buffer, Buffer] = {}
    result: list[Statement] = []
    for given in statements:
        statement = _reading(s, given, instead) if instead else given
        if isinstance(statement, Nest) and len(statement.stores) > 1:
            statement = _merged(statement, single, instead)
        result.append(statement)
    return result, instead


def _free_buffers(statements: Sequence[Statement]) -> set[Buffer]:
    """Return the temporaries that one statement outside of loops writes."""
    count: Counter[Buffer] = Counter()
    for t in statements:
        if isinstance(t, Loop):
            count.update(2 * [*reads(t), *writes(t)])
        elif isinstance(t, Nest):
            count.update(store.buffer for store in t.stores)
        else:
            count.update(writes(t))
    return {b for b, n in count.items() if n == 1 and b.kind == "temporary"}


def _merged(nest: Nest, single: Collection[Buffer], instead: dict[Buffer, Buffer]) -> Nest:
    """Leave out the stores of what another one stores; enter their buffers into `instead`."""
    seen: dict[tuple[Expr, Expr], Buffer] = {}
    stores: list[Store] = []
    for t in nest.stores:
        plain = t.buffer in single and t.guard is None and not t.accumulate
        first = seen.setdefault((t.address, t.value), t.buffer) if plain else t.buffer
        if first is t.buffer or first.size != t.buffer.size:
            stores.append(t)
        else:
            instead[t.buffer] = first
    if len(stores) == len(nest.stores):
        return nest
    return Nest(nest.axes, tuple(stores), nest.serial, nest.scan, nest.origin)


def _reading(s: Builder, statement: Statement, instead: dict[Buffer, Buffer]) -> Statement:
    """Return a statement that reads other buffers."""
    if not any(b in instead for b in reads(statement)):
        return statement
    if isinstance(statement, LibraryCall):
        inputs = tuple(instead.get(b, b) for b in statement.inputs)
        return LibraryCall(
            statement.name, statement.outputs, inputs, statement.params, statement.origin
        )
    memo: dict[Expr, Expr] = {}

    def new(e: Expr) -> Expr:
        for x in walk([e]):
            args = tuple(memo[a] for a in x.args)
            if x.op == "load" and x.data in instead:
                memo[x] = s.load(instead[x.data], *args)
            else:
                memo[x] = x if args == x.args else s.rebuild(x, args)
        return memo[e]

    if isinstance(statement, Check):
        condition = new(statement.condition)
        return Check(statement.axes, condition, statement.code, statement.origin)
    assert isinstance(statement, Nest)
    stores = tuple(
        Store(
            t.buffer,
            new(t.address),
            new(t.value),
            None if t.guard is None else new(t.guard),
            t.accumulate,
        )
        for t in statement.stores
    )
    return Nest(statement.axes, stores, statement.serial, statement.scan, statement.origin)
