"""Cut the sums of products that have few results: chunks of their terms are products of their own.

Threads share rows or columns of a result, and each packs all of the operand that it does not
share: of few results that is most of the work, and they are soon too few to share. A chunk of the
terms needs its own part of both operands.

    partial[p, i, j] = sum over the terms t of chunk p of a[i, t] * b[t, j]
    out[i, j] = (the last chunk's sum) + sum over p of partial[p, i, j]

The cut depends on sizes only: neither the number of threads nor what is known of sizes shows in
the result. Chunks are of equal length, but the last one may be shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from symgraph.core.record import dataclass
from symgraph.dims.bounds import interval
from symgraph.dims.dim import maximum, minimum
from symgraph.loops.expr import Buffer, Size
from symgraph.loops.statements import Nest

if TYPE_CHECKING:
    from symgraph.core.node import Node
    from symgraph.loops.build import Lowering

LOOP_ROWS, LOOP_COLUMNS = 3, 12  # a product with so few gains nothing: a loop nest
FEW_RESULTS = 8192  # at most, of a product whose sums are cut; and rows or columns of it:
LONG_SIDE = 192  # longer sides are shared as well, and what is packed for each share counts less
LONG_CHUNK = 384  # terms of a chunk, at least: results are stored and read again for each
CHUNK_WORK = 1 << 17  # multiply-adds of a chunk, at least: some 3 us
MOST_CHUNKS = 16


@dataclass(frozen=True, slots=True)
class Cut:
    """`whole` chunks of `length` steps (0: not cut), and a last one of `rest`."""

    whole: Size
    length: Size
    rest: Size

    @property
    def even(self) -> bool:
        """Whether all chunks are known to be of one length."""
        return isinstance(self.rest, int) and self.rest == self.length

    @property
    def known(self) -> bool:
        """Whether it is known that there is more than one chunk."""
        return isinstance(self.whole, int)


def cut_product(rows: Size, columns: Size, terms: Size) -> Cut | None:
    """Return how the sums of a product of matrices are cut; None: they are not.

    What would be a loop nest if all sizes were known is not cut.
    """
    called: Size = 1
    for few, size in ((LOOP_ROWS, rows), (LOOP_COLUMNS, columns)):
        called = called * minimum(1, size // (few + 1))
    return cut_sum(rows, columns, terms, 1, called)


def cut_sum(rows: Size, columns: Size, steps: Size, terms: Size, may: Size = 1) -> Cut | None:
    """Return how sums are cut along steps of so many terms, if they `may` (1) be cut (0: not)."""
    length = steps * terms
    number = minimum(MOST_CHUNKS, length // LONG_CHUNK)
    number = minimum(number, rows * columns * length // CHUNK_WORK)
    number = number * may * minimum(1, FEW_RESULTS // maximum(1, rows * columns))
    number = number * minimum(1, LONG_SIDE // maximum(1, maximum(rows, columns)))
    most = interval(number)[1]
    if most is not None and most < 2:
        return None
    number = maximum(1, number)
    each = maximum(1, (steps + (number - 1)) // number)
    whole = maximum(0, steps - 1) // each
    return None if whole == 0 else Cut(whole, each, steps - whole * each)


def add_chunks(
    low: Lowering,
    node: Node,
    cut: Cut,
    partial: Buffer,
    last: tuple[Buffer, Any],
    out: tuple[Buffer, Any],
    shape: Sequence[Size],
    strides: Sequence[Size],
) -> None:
    """Append the nest that adds up what the chunks gave: arrays of a shape.

    last, out: a buffer and where the array begins in it. All but `out` lie with the strides.
    """
    s, size = low.s, points_of(shape)
    # where it turns out that there is one chunk only, it is `out` already
    some = 1 if cut.known else minimum(1, cut.whole)
    axes = tuple(s.axis(f"i{k}", n if k else n * some) for k, n in enumerate(shape))
    p, at = s.axis("k0", cut.whole), s.index(0)
    for a, stride in zip(axes, strides, strict=True):
        at = s.iadd(at, s.imul(s.at(a), stride))
    others = s.load(partial, s.iadd(s.imul(s.at(p), size), at))
    value = s.load(last[0], s.iadd(at, last[1])) + s.reduce("sum", (p,), others)
    address = s.iadd(low.flat([s.at(a) for a in axes], shape), out[1])
    low.program.statements.append(Nest(axes, (low.store(out[0], address, value),), origin=(node,)))


def points_of(shape: Sequence[Size]) -> Size:
    """Return how many elements an array of a shape has."""
    total: Size = 1
    for n in shape:
        total = total * n
    return total
