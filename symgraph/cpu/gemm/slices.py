"""A batch of products, cut into slices that threads share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm.shape import SLICE_BITS, Shape

COLUMNS = 512  # of a tile of a product so large that tiles do not span it
LARGEST_TILE = 1 << 31  # multiply-adds of a block's strip, above which tiles have COLUMNS

# first row, number of rows, first column, number of columns
Place = tuple[str, str, str, str]
# (where the arrays of an item begin, place) -> calls for sums over nothing, and for others
Calls = Callable[[Sequence[str], Place], tuple[str, str]]


def words(f: FunctionText, names: Sequence[str]) -> dict[str, str]:
    """Load the first words of the arguments: addresses of a, b and c, then numbers."""
    return {
        name: f.load("ptr" if i < 3 else "i64", f.at("%args", 8 * i), 8)
        for i, name in enumerate(names)
    }


def in_slices(
    shape: Shape,
    f: FunctionText,
    sizes: tuple[str, str, str],
    item_at: Callable[[str], Sequence[str]],
    calls: Calls,
) -> None:
    """Do slices %begin to %end of a batch of products of m, n and k."""
    m, n, k = sizes
    high, wide = _tile_size(shape, f, m, n, k)
    across = f.ceil_div(n, wide)
    tiles = f.mul(f.ceil_div(m, high), across)
    some = f.new(f"icmp sgt i64 {f.mul(m, n)}, 0")
    last = f.new(f"select i1 {some}, i64 %end, i64 %begin")
    empty = f.new(f"icmp sle i64 {k}, 0")
    slices = 1 << SLICE_BITS

    def part(values: list[str]) -> str:
        """Do what lies in one item; return where the next one begins."""
        u = values[0]
        item = f.new(f"lshr i64 {u}, {SLICE_BITS}")
        low = f.new(f"and i64 {u}, {slices - 1}")
        until = f.least(f.add(low, f.sub(last, u)), slices)
        first = f.new(f"lshr i64 {f.mul(tiles, low)}, {SLICE_BITS}")
        stop = f.new(f"lshr i64 {f.mul(tiles, until)}, {SLICE_BITS}")
        arrays = item_at(item)

        def strip(t: list[str]) -> str:
            row = f.new(f"udiv i64 {t[0]}, {across}")
            column = f.sub(t[0], f.mul(row, across))
            left = f.sub(stop, t[0])
            # whole rows of tiles at once where there are no others before them
            rows = f.new(f"udiv i64 {left}, {across}")
            aligned = f.new(f"icmp eq i64 {column}, 0")
            many = f.new(f"icmp sgt i64 {rows}, 0")
            whole = f.new(f"and i1 {aligned}, {many}")
            rest = f.least(f.sub(across, column), left)
            row_count = f.new(f"select i1 {whole}, i64 {rows}, i64 1")
            col_count = f.new(f"select i1 {whole}, i64 {across}, i64 {rest}")
            i, j = f.mul(row, high), f.mul(column, wide)
            m_part = f.least(f.sub(m, i), f.mul(row_count, high))
            n_part = f.least(f.sub(n, j), f.mul(col_count, wide))
            nothing, product = calls(arrays, (i, m_part, j, n_part))
            f.when(empty, lambda: f.do(nothing), lambda: f.do(product))
            return f.add(t[0], f.mul(row_count, col_count))

        _while_below(f, first, stop, strip)
        return f.add(u, f.sub(until, low))

    _while_below(f, "%begin", last, part)


def _while_below(f: FunctionText, start: str, end: str, body: Callable[[list[str]], str]) -> None:
    """Repeat while a position that the body moves on is below `end`."""
    f.repeat(
        [("i64", start)], lambda at: f.new(f"icmp slt i64 {at[0]}, {end}"), lambda at: [body(at)]
    )


def _tile_size(shape: Shape, f: FunctionText, m: str, n: str, k: str) -> tuple[str, str]:
    """Return rows and columns of the tiles that threads share: strips along the longer side."""
    by_rows = f.new(f"icmp sge i64 {m}, {n}")
    one = f.new(f"add i64 {shape.rows}, 0")
    high = f.new(f"select i1 {by_rows}, i64 {one}, i64 {m}")
    wide = f.new(f"select i1 {by_rows}, i64 {n}, i64 {shape.columns}")
    shorter = f.new(f"select i1 {by_rows}, i64 {n}, i64 {m}")
    work = f.mul(f.mul(shorter, k), shape.block_rows)
    huge = f.new(f"icmp sgt i64 {work}, {LARGEST_TILE}")
    high = f.new(f"select i1 {huge}, i64 {shape.block_rows}, i64 {high}")
    wide = f.new(f"select i1 {huge}, i64 {COLUMNS}, i64 {wide}")
    one_high = f.new(f"icmp slt i64 {high}, 1")
    one_wide = f.new(f"icmp slt i64 {wide}, 1")
    return (
        f.new(f"select i1 {one_high}, i64 1, i64 {high}"),
        f.new(f"select i1 {one_wide}, i64 1, i64 {wide}"),
    )
