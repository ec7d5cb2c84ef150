"""A call of a kernel, as `run` and loops make it."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.record import dataclass
from symgraph.loops.expr import Buffer, Expr, Size


@dataclass(slots=True)
class Call:
    """A kernel to call: its name (or the word of the context that points to it), its arguments."""

    name: str | int
    buffers: Sequence[Buffer]
    values: Sequence[Size | Expr]
    library: int | None  # word of the context with the function to pass behind the buffers
    units: Size
    grain: Size
    parallel: bool
    step: Size | None = None  # units between two looks at signals, if not `grain`
    starts: Sequence[int] = ()  # first elements of the buffers, if not 0
    long: Size = 0  # not 0: one unit takes so long that the caller should be able to leave it
    reads: Sequence[Buffer] = ()  # of those that such a call is passed: what has values before,
    results: Sequence[Buffer] = ()  # what is read afterwards
    library_bytes: int = 0

    def lengths(self) -> list[Size]:
        """Return what `detached_for` must know of the arguments: see native/detached_text.py."""
        places = [
            b.size * (4 * b.dtype.itemsize) + (b in self.reads) + 2 * (b in self.results)
            for b in self.buffers
        ]
        if self.library is not None:
            places.append(4 * self.library_bytes + 3)
        return [len(places) + len(self.values), len(places), *places]
