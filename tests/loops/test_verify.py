"""The verifier of loop programs: each kind of malformed program is rejected, with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.core.errors import VerifyError
from symgraph.loops.expr import Buffer
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Check, Loop, Nest, Program, Statement, Store
from symgraph.loops.verify import verify_program


class Parts:
    """Buffers of 8 elements, a loop over them, and its variable."""

    def __init__(self) -> None:
        self.s = Builder()
        self.x = Buffer("x", FLOAT32, (8,), "input", 0)
        self.out = Buffer("out", FLOAT32, (8,), "output", 1)
        self.t = Buffer("t", FLOAT32, (8,), "temporary")
        self.i = self.s.axis("i", 8)
        self.at = self.s.index(self.s.at(self.i))

    def load(self, place: Any) -> Any:
        return self.s.load(self.x, self.s.index(place))

    def store(self, value: Any, place: Any = None, **more: Any) -> Nest:
        place = self.at if place is None else place
        return Nest((self.i,), (Store(self.out, place, value, **more),))

    def verify(self, *statements: Statement) -> None:
        verify_program(Program(self.s, [self.x, self.out, self.t], list(statements)), "test")


MALFORMED: dict[str, Callable[[Parts], list[Statement]]] = {
    "the store to out.* may reach address 8 of 8": lambda p: [
        p.store(p.load(p.at), p.s.iadd(p.at, 1))
    ],
    "may reach address -1": lambda p: [p.store(p.load(p.s.isub(p.at, 1)))],
    "may reach address 14 of 8": lambda p: [p.store(p.load(p.s.imul(p.at, 2)))],
    "reads t.* before": lambda p: [p.store(p.s.load(p.t, p.at))],
    "depends on loops that are not there": lambda p: [
        Nest((), (Store(p.out, p.s.index(0), p.load(p.at)),))
    ],
    "stores float64 into out": lambda p: [p.store(p.s.const(1, FLOAT64))],
    "the address of a store to out.* is no index": lambda p: [p.store(p.load(0), p.load(0))],
    "the check 1 is float32, not bool": lambda p: [Check((p.i,), p.load(p.at), 1)],
    "the check 1 depends on loops": lambda p: [Check((), p.s.binary("lt", p.load(p.at), 0.0), 1)],
    "the guard of a store to out.* is float32": lambda p: [
        p.store(p.load(p.at), guard=p.load(p.at))
    ],
    "the guard of a store to out.* depends": lambda p: [
        p.store(p.load(p.at), guard=p.s.binary("lt", p.load(p.s.at(p.s.axis("j", 8))), 0.0))
    ],
    "loop i.* occurs twice": lambda p: [
        Nest((p.i, p.i), (Store(p.out, p.at, p.load(p.at)),))
    ],
    "bound twice": lambda p: [p.store(p.s.reduce("sum", (p.i,), p.load(p.at)))],
    "has no first value": lambda p: [Loop(p.s.axis("step", 3), [], carried=((p.t, p.t),))],
}


@pytest.mark.parametrize("reason", MALFORMED)
def test_a_malformed_program_is_rejected(reason):
    p = Parts()
    statements = MALFORMED[reason](p)
    with pytest.raises(VerifyError, match=f"after test, statement 0: .*{reason}"):
        p.verify(*statements)


def test_a_guarded_store_may_have_an_address_outside():
    p = Parts()
    p.verify(p.store(p.load(p.at)))
    inside = p.s.inside(p.s.iadd(p.at, 1), 8)
    p.verify(p.store(p.load(p.at), p.s.iadd(p.at, 1), guard=inside))
