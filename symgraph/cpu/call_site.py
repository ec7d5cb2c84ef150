"""A call of a kernel, as `run` and loops make it."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.record import dataclass
from symgraph.loops.grammar import Buffer, Expr, Size


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
