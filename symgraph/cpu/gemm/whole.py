"""The whole product: a batch of products, cut into slices that threads share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm import blocks, pack, tile
from symgraph.cpu.gemm.shape import SLICE_BITS, Shape

COLUMNS = 512  # of a tile of a product so large that tiles do not span it
LARGEST_TILE = 1 << 30  # multiply-adds of a block's strip, above which tiles have COLUMNS


def gemm_text(element: str, vector_bytes: int) -> str:
    """Return the module of the product of `float` or `double`; it defines `gemm`."""
    shape = Shape(element, vector_bytes)
    return "\n".join([
        shape.declarations(),
        tile.tile(shape, shape.rows, 1),
        *(tile.tile(shape, rows, 2) for rows in (shape.rows, *shape.parts)),
        pack.pack_a(shape),
        pack.pack_sliver(shape),
        pack.pack_rows(shape),
        pack.pack_columns(shape),
        pack.pack_b(shape),
        pack.pack_panel(shape),
        pack.pack_b_across(shape),
        tile.clear(shape),
        tile.copy_tile(shape),
        tile.row_of_tiles(shape),
        blocks.panels(shape),
        blocks.block(shape),
        gemm(shape),
    ])  # fmt: skip


def gemm(shape: Shape) -> str:
    """Return the entry: some slices of a (batched) product.

    Words: a, b, c; m, n, k; row and column strides of a, of b; offsets of a, b, c; batch axes,
    and for each of these size, stride of a, stride of b. All in elements.
    """
    f = FunctionText("define void @gemm(ptr %args, i64 %begin, i64 %end) nounwind")
    names = ["a", "b", "c", "m", "n", "k", "ar", "ac", "br", "bc", "ao", "bo", "co", "axes"]
    w = {}
    for i, name in enumerate(names):
        w[name] = f.load("ptr" if i < 3 else "i64", f.at("%args", 8 * i), 8)
    for name in ("ar", "ac", "br", "bc", "ao", "bo", "co"):
        w[name] = f.mul(w[name], shape.size)
    for name, offset in (("a", "ao"), ("b", "bo"), ("c", "co")):
        w[name] = f.at(w[name], w[offset])
    m, n, k = w["m"], w["n"], w["k"]
    ldc = f.mul(n, shape.size)
    item_bytes = f.mul(m, ldc)
    high, wide = tile_size(shape, f, m, n, k)
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
        a, b = _item(shape, f, w, item)
        c = f.at(w["c"], f.mul(item, item_bytes))

        def strip(t: list[str]) -> str:
            row, column = f.new(f"udiv i64 {t[0]}, {across}"), ""
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
            c_at = f.at(c, f.mul(i, ldc), f.mul(j, shape.size))
            a_at, b_at = f.at(a, f.mul(i, w["ar"])), f.at(b, f.mul(j, w["bc"]))
            f.when(
                empty,
                lambda: f.do(
                    f"call void @clear(ptr {c_at}, i64 {m_part}, i64 {n_part}, i64 {ldc})"
                ),
                lambda: f.do(
                    f"call void @block(ptr {a_at}, i64 {w['ar']}, i64 {w['ac']}, ptr {b_at}, "
                    f"i64 {w['br']}, i64 {w['bc']}, ptr {c_at}, i64 {ldc}, i64 {m_part}, "
                    f"i64 {n_part}, i64 {k})"
                ),
            )
            return f.add(t[0], f.mul(row_count, col_count))

        while_below(f, first, stop, strip)
        return f.add(u, f.sub(until, low))

    while_below(f, "%begin", last, part)
    return f.text()


def while_below(f: FunctionText, start: str, end: str, body: Callable[[list[str]], str]) -> None:
    """Repeat while a position that the body moves on is below `end`."""
    f.repeat(
        [("i64", start)], lambda at: f.new(f"icmp slt i64 {at[0]}, {end}"), lambda at: [body(at)]
    )


def tile_size(shape: Shape, f: FunctionText, m: str, n: str, k: str) -> tuple[str, str]:
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


def _item(shape: Shape, f: FunctionText, w: dict[str, str], item: str) -> tuple[str, str]:
    """Return where an item of the batch begins in both operands."""
    top = f.add(w["axes"], -1)

    def axis(t: str, values: list[str]) -> Sequence[str]:
        rest, a, b = values
        at = f.at("%args", 8 * 14, f.mul(f.sub(top, t), 24))
        size = f.load("i64", at, 8)
        whole = f.new(f"udiv i64 {rest}, {size}")
        own = f.sub(rest, f.mul(whole, size))
        step_a = f.mul(f.load("i64", f.at(at, 8), 8), shape.size)
        step_b = f.mul(f.load("i64", f.at(at, 16), 8), shape.size)
        return [whole, f.at(a, f.mul(own, step_a)), f.at(b, f.mul(own, step_b))]

    carried = [("i64", item), ("ptr", w["a"]), ("ptr", w["b"])]
    _, a, b = f.loop(0, w["axes"], 1, axis, carried)
    return a, b
