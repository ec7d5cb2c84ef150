"""Loops over states of unknown length as they are where a state fits some registers.

Such a state goes from step to step in registers under one mask, as it does where its length is
known. Through memory, a step would wait until what the one before has stored is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.core.record import dataclass, replace
from symgraph.dims.bounds import interval
from symgraph.dims.dim import Atom, Dim, symbol
from symgraph.loops.expr import Axis, Expr, Size, walk
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Statement, Store

WIDE_STATE = 4  # registers of a state that is carried as one vector
NEAR = 4096  # elements of a state up to which no thread helps in a cheap step
CHEAP = 12  # operations of a step up to which states of several registers are worth a form
COSTLY = 300  # the same for states of one register: forms are compiled, and long ones take long


@dataclass(frozen=True, slots=True)
class ShortStates:
    """A loop whose states of a `size` fit some registers: so do its nests of the size `short`."""

    size: Dim
    short: Dim  # the same size in the loop
    loop: Loop

    @property
    def most(self) -> int:
        """The elements that there are at most."""
        most = interval(self.short)[1]
        assert most is not None
        return most

    @property
    def originals(self) -> dict[Atom, Size]:
        """What the new symbol stands for."""
        return {self.short.terms[0][0][0]: self.size}


def short_states(s: Builder, loop: Loop, vector_bytes: int) -> Iterator[ShortStates]:
    """Yield the forms of a loop for states of few elements, the shortest first."""
    inside = list(_statements(loop))
    nests = [t for t in inside if isinstance(t, Nest)]
    looped = {a.extent for t in nests for a in t.axes}
    states = [
        now for now, _ in loop.carried
        if now.dtype in (FLOAT32, FLOAT64) and isinstance(now.size, Dim) and now.size in looped
    ]  # fmt: skip
    values = walk([t.value for nest in nests for t in nest.stores])
    products = any(e.op == "reduce" and e.data[0] in ("dot", "free") for e in values)
    if products or any(isinstance(t, LibraryCall) for t in inside):
        return  # factors are read one by one, from memory
    cost = sum(e.cost for e in {t.value: None for nest in nests for t in nest.stores})
    if not states or cost > COSTLY:
        return
    size = states[0].size
    assert isinstance(size, Dim)
    base = vector_bytes // max(now.dtype.itemsize for now in states if now.size == size)
    low, high = interval(size)
    for most in (base, WIDE_STATE * base, NEAR)[: 3 if cost <= CHEAP else 1]:
        if (low is None or low <= most) and (high is None or high > most):
            new = symbol("short state", max(low or 0, 1), most)
            short = _Shortened(s, loop, size, new).loop(loop)
            yield ShortStates(size, new, short)


def _statements(loop: Loop) -> Iterator[Statement]:
    for t in loop.body:
        yield t
        if isinstance(t, Loop):
            yield from _statements(t)


class _Shortened:
    """Puts axes of another length in the place of those of one length, but of no loop."""

    def __init__(self, s: Builder, loop: Loop, old: Dim, new: Dim) -> None:
        self.s, self.old, self.new = s, old, new
        self.loops = {loop.axis, *(t.axis for t in _statements(loop) if isinstance(t, Loop))}
        self.memo: dict[Expr, Expr] = {}

    def loop(self, loop: Loop) -> Loop:
        """Return a loop with the same steps."""
        return loop.with_body(tuple(map(self._statement, loop.body)))

    def _statement(self, t: Statement) -> Statement:
        if isinstance(t, Nest):
            return Nest(
                self._axes(t.axes), tuple(map(self._store, t.stores)), t.serial, t.scan, t.origin
            )
        if isinstance(t, Check):
            return Check(self._axes(t.axes), self._value(t.condition), t.code, t.origin)
        return self.loop(t) if isinstance(t, Loop) else t

    def _axes(self, axes: Sequence[Axis]) -> tuple[Axis, ...]:
        return tuple(map(self._axis, axes))

    def _axis(self, axis: Axis) -> Axis:
        if axis in self.loops or axis.extent != self.old:
            return axis
        return self.s.axis(axis.name, self.new)

    def _store(self, t: Store) -> Store:
        guard = None if t.guard is None else self._value(t.guard)
        address = self.s.index(self._value(t.address))
        return replace(t, address=address, value=self._value(t.value), guard=guard)

    def _value(self, root: Expr) -> Expr:
        for e in walk([root]):
            if e not in self.memo:
                self.memo[e] = self._one(e)
        return self.memo[root]

    def _one(self, e: Expr) -> Expr:
        if e.op == "axis":
            return self.s.at(self._axis(e.data))
        args = tuple(self.memo[a] for a in e.args)
        if e.op == "reduce":
            return self.s.reduce(e.data[0], self._axes(e.data[1]), args[0])
        return e if args == e.args else self.s.rebuild(e, args)
