"""What a program does to buffers, in order: nests of loops, calls, checks, loops around them.

nest  = axes, stores (buffer, address, value)
"""

from __future__ import annotations

from typing import Any

from symgraph.core.record import dataclass, field
from symgraph.loops.expr import Axis, Buffer, Expr
from symgraph.loops.interned import Builder


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """Write `value` to element `address` of `buffer` at every point of the nest."""

    buffer: Buffer
    address: Expr
    value: Expr
    guard: Expr | None = None
    accumulate: str = ""  # the reduction that combines it with what is there: scatters


@dataclass(frozen=True, slots=True, eq=False)
class Nest:
    """Loops over `axes` (outermost first) around a list of stores.

    `serial` nests must run their points in order (scatter with duplicates). A `scan` nest carries
    an accumulator along its last axis: each store writes the running combination. That of a
    "linear" one is its value itself, a multiply-add of what was stored before (`previous`).
    """

    axes: tuple[Axis, ...]
    stores: tuple[Store, ...]
    serial: bool = False
    scan: str | None = None
    origin: tuple[Any, ...] = ()  # the graph nodes it computes, for reports


def row_stores(nest: Nest) -> list[Store]:
    """Return the stores that are done once for each row: they do not move with the last axis."""
    if nest.serial or nest.scan or len(nest.stores) < 2 or len(nest.axes) < 2:
        return []
    moving = [(t.address.free | t.value.free) & nest.axes[-1].bit for t in nest.stores]
    return [t for t, m in zip(nest.stores, moving, strict=True) if not m] if any(moving) else []


@dataclass(frozen=True, slots=True, eq=False)
class LibraryCall:
    """A call of a library or of a generated kernel on whole buffers, e.g. a matrix product."""

    name: str
    outputs: tuple[Buffer, ...]
    inputs: tuple[Buffer, ...]
    params: Any = None
    origin: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """Stop the function with error `code` where `condition` holds at any point of `axes`."""

    axes: tuple[Axis, ...]
    condition: Expr
    code: int
    origin: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Run the statements of `body` once for each value of `axis`, in order.

    After each step the two buffers of every pair in `carried` change places: what the step wrote to
    the second is what the next one reads from the first; a pair of one buffer is updated in place.
    At the end the final state is in the first. `count` is a run-time number of steps (at most the
    axis' extent); `start` and `go_on` say whether to do the first step, and after each whether to
    go on. `steps` gets the number done. Steps of a `free` loop do not need each other: they may be
    done in any order, and at once. Temporaries that a step writes and reads itself have several
    places, along their first axis: steps that are done at once take different ones.
    """

    axis: Axis
    body: tuple[Statement, ...]
    carried: tuple[tuple[Buffer, Buffer], ...] = ()
    count: Expr | None = None
    start: Expr | None = None
    go_on: Expr | None = None
    steps: Buffer | None = None
    origin: tuple[Any, ...] = ()
    free: bool = False

    def with_body(self, body: tuple[Statement, ...]) -> Loop:
        """Return the same loop around other statements."""
        return Loop(
            self.axis, body, self.carried, self.count, self.start, self.go_on, self.steps,
            self.origin, self.free,
        )  # fmt: skip


Statement = Nest | LibraryCall | Check | Loop


@dataclass(slots=True, eq=False)
class Program:
    """What a function does: buffers and the ordered statements over them."""

    builder: Builder
    buffers: list[Buffer] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
