"""Matrix products in a program: what the product function is passed, and how threads share it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from symgraph.core.record import dataclass
from symgraph.cpu.gemm.shape import SLICE_BITS
from symgraph.dims.dim import maximum, minimum
from symgraph.loops.expr import Size
from symgraph.loops.statements import LibraryCall, Loop, Statement

PRODUCT_NAMES = ("gemm", "contract")
PRODUCTS = tuple(f"{name}.{dtype}" for name in PRODUCT_NAMES for dtype in ("float32", "float64"))
SLICES = 1 << SLICE_BITS  # of each product: what threads share, whatever its shape
PIECE_WORK = 125_000  # multiply-adds that a thread should have at least (some 2.5 us)
AROUND = 8  # rows, columns and terms, in whose time a product of few of them is begun and ended
STEP_WORK = 1 << 23  # multiply-adds (some 150 us) that are done at once, for each operand to be
STEP_STRIPS = 528  # packed for as many rows or columns of the result: blocks of A
SCATTERED_STEP = 528 << 10  # elements of the result in a step where packing goes through tables
LONGEST_STEP = 3 << 29  # multiply-adds (13 to 65 ms) between two looks at signals


def products_in(statements: Iterable[Statement]) -> set[str]:
    """Return which of `PRODUCTS` statements call, those in loops included."""
    found: set[str] = set()
    for statement in statements:
        if isinstance(statement, Loop):
            found |= products_in(statement.body)
        elif isinstance(statement, LibraryCall) and statement.name in PRODUCT_NAMES:
            found.add(product_name(statement))
    return found


def product_name(call: LibraryCall) -> str:
    """Return which of `PRODUCTS` a call is for."""
    return f"{call.name}.{call.outputs[0].dtype}"


@dataclass(frozen=True, slots=True)
class Shares:
    """`units`: slices of all products of a batch; of these `grain` for a thread, `step` at once."""

    units: Size
    grain: Size
    step: Size


def product_shares(
    batch: Sequence[Size], m: Size, n: Size, k: Size, together: Size = STEP_STRIPS
) -> Shares:
    """Return how a (batched) product is cut. Results do not depend on it: see cpu/gemm.

    together: rows or columns of the result that a step has at least.
    """
    units: Size = SLICES
    for b in batch:
        units = units * b
    # packing, and what a tile does once, counts as more rows, columns and terms
    work = (m + AROUND) * (n + AROUND) * (k + AROUND)
    strips = maximum(1, maximum(m, n))
    grain, least, most = (
        maximum(1, amount * SLICES // work) for amount in (PIECE_WORK, STEP_WORK, LONGEST_STEP)
    )
    steps = (strips + together - 1) // together  # of about the same size
    wide = (SLICES + steps - 1) // steps
    return Shares(units, grain, minimum(maximum(least, wide), most))


def scattered_strips(m: Size, n: Size) -> Size:
    """Return how many rows or columns a step has at least where packing goes through tables."""
    return maximum(STEP_STRIPS, SCATTERED_STEP // maximum(1, minimum(m, n)))


def product_words(sizes: Sequence[Size], left: Any, right: Any, start: Size) -> list[Size]:
    """Return what follows the three arrays in the arguments of the product function.

    `left`, `right`: (offset, strides of the batch axes, row stride, column stride), in elements.
    """
    *batch, m, n, k = sizes
    words = [m, n, k, left[2], left[3], right[2], right[3], left[0], right[0], start, len(batch)]
    for size, a, b in zip(batch, left[1], right[1], strict=True):
        words += [size, a, b]
    return words


def contraction_words(
    sizes: Sequence[Size],
    starts: Sequence[Size],
    c_row: Size,
    tables: Sequence[Sequence[Size]],
    batch: Sequence[Sequence[Size]],
    window: Sequence[Size],
    parts: Sequence[tuple[Size, Sequence[Size], Size, Size, Sequence[Size], Sequence[Size]]],
) -> list[Size]:
    """Return what follows the three arrays in the arguments of cpu/gemm/contract.

    starts: of both operands and of the result; tables: the axes of each; batch: of each axis its
    size and the strides of all three; window: its rows and columns; parts: of the columns.
    """
    words = [*sizes[-3:], c_row, *starts, *window, len(batch), len(parts)]
    for several in (*tables, *batch):
        words += several
    for count, taps, b_start, c_start, b_columns, c_columns in parts:
        words += [count, *taps, b_start, c_start, *b_columns, *c_columns]
    return words
