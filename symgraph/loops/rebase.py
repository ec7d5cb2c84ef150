"""Move constant offsets out of the addresses of a nest: the steps of a recurrence are then alike.

A step that is written out reads its own row of an input and stores its own row of a result. With
the row in the pointer that a kernel is passed, all steps are one kernel.
"""

from __future__ import annotations

from symgraph.loops.expr import Buffer, Expr, walk
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Nest, Store


def rebased(s: Builder, nest: Nest) -> tuple[Nest, dict[Buffer, int]]:
    """Return a nest whose buffers begin at the returned offsets: whole rows that it never reaches.

    The place within a row stays in the address: which column a load reads may decide its form.
    """
    roots = [e for t in nest.stores for e in (t.address, t.value, t.guard) if e is not None]
    order = walk(roots)
    firsts: dict[Buffer, int] = {}
    for e in order:
        if e.op == "load":
            _note(firsts, e.data, e.args[0])
    for t in nest.stores:
        _note(firsts, t.buffer, t.address)
    offsets = {b: first for b, first in firsts.items() if first > 0}
    if not offsets:
        return nest, offsets
    moved: dict[Expr, Expr] = {}
    for e in order:
        args = tuple(moved[a] for a in e.args)
        if e.op == "load" and e.data in offsets:
            args = (s.iadd(args[0], -offsets[e.data]), *args[1:])
        moved[e] = e if args == e.args else s.rebuild(e, args)
    stores = []
    for t in nest.stores:
        address = s.iadd(moved[t.address], -offsets.get(t.buffer, 0))
        guard = None if t.guard is None else moved[t.guard]
        stores.append(Store(t.buffer, address, moved[t.value], guard, t.accumulate))
    return Nest(nest.axes, tuple(stores), nest.serial, nest.scan, nest.origin), offsets


def _note(firsts: dict[Buffer, int], buffer: Buffer, address: Expr) -> None:
    """Lower the first row of a buffer to that of an address; 0 where it is not known."""
    row = buffer.shape[-1] if buffer.shape else 1
    constant = address.data[1] if address.op == "affine" else 0
    first = 0
    if isinstance(row, int) and isinstance(constant, int) and row > 0:
        first = max(0, constant) // row * row
    firsts[buffer] = min(first, firsts.get(buffer, first))
