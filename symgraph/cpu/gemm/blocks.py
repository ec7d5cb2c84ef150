"""Go through a part of a product in blocks: a block of A in the second cache, panels of B."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm.pack import PANEL
from symgraph.cpu.gemm.rooms import Room
from symgraph.cpu.gemm.shape import Shape

PACK_A_FROM = 192  # columns that share a packed block of A before packing pays
PACK_B_FROM = 24  # rows that share a packed sliver of B
FEW_TILES = 11  # of rows: with AVX-512, B is read where it lies for so many, if its rows are
CLOSE_ROWS = 4096  # bytes apart at most: of rows farther apart, packing reads more at once
FAR_ROWS = 8192  # the same without AVX-512, for fewer than PACK_B_FROM rows; those apart by
CROWDED_ROWS = 4096  # bytes, or a multiple, share few lines of the caches: they are packed too
# Of a large B that few rows of A read once, terms of a block: see `_way`
FLAT_ROWS = 3  # tiles of rows
FLAT_DEPTH = 64  # with AVX-512
ROWS_AT_ONCE = 8  # without, in place: one tile of A, so many rows of B are followed at once
PANEL_DEPTH = 32  # and packed: four kilobytes of each row
LINE = 64  # bytes of a cache line


def block(shape: Shape) -> str:
    """Multiply a part of A with a part of B."""
    f = FunctionText(
        "define internal void @block(ptr %a, i64 %ar, i64 %ac, ptr %b, i64 %br, i64 %bc, "
        "ptr %c, i64 %ldc, i64 %m, i64 %n, i64 %k) nounwind"
    )
    packed_b = f.new(f"alloca [{_panel_bytes(shape)} x i8], align 64")
    pack_a = f.new(f"icmp sge i64 %n, {PACK_A_FROM}")
    direct, flat, most = _way(shape, f)
    deep = even(f, "%k", most)
    room = Room(shape, f, "%m", deep, pack_a)
    packed_a, high = room.address, even(f, "%m", room.rows, shape.rows)

    def rows(i: str, m: str, _: list[str]) -> None:
        a_rows, c = f.at("%a", f.mul(i, "%ar")), f.at("%c", f.mul(i, "%ldc"))

        def depth(p: str, k: str, _: list[str]) -> None:
            more = f.new(f"icmp sgt i64 {p}, 0")
            a, b = f.at(a_rows, f.mul(p, "%ac")), f.at("%b", f.mul(p, "%br"))

            def pack() -> None:
                f.do(
                    f"call void @pack.a(ptr {a}, i64 %ar, i64 %ac, i64 {m}, i64 {k}, "
                    f"ptr {packed_a})"
                )

            def chosen(kind: str, packed: str, plain: str) -> str:
                return f.new(f"select i1 {pack_a}, {kind} {packed}, {kind} {plain}")

            f.when(pack_a, pack)
            size = shape.rows * shape.size
            start = chosen("ptr", packed_a, a)
            row, column = chosen("i64", str(shape.size), "%ar"), chosen("i64", str(size), "%ac")
            step = chosen("i64", f.mul(k, size), "0")
            f.do(
                f"call void @panels(ptr {start}, i64 {row}, i64 {column}, i64 {step}, ptr {b}, "
                f"i64 %br, i64 %bc, ptr {c}, i64 %ldc, i64 {m}, i64 %n, i64 {k}, i1 {more}, "
                f"i1 {direct}, i1 {flat}, ptr {packed_b})"
            )

        f.parts("%k", deep, depth)

    f.parts("%m", high, rows)
    room.give_back(f)
    return f.text()


def _way(shape: Shape, f: FunctionText) -> tuple[str, str, str]:
    """Tell whether B is read where it lies, or packed in flat panels; return the terms of a block.

    Where a B larger than the second cache meets few rows of A, blocks have few terms: its rows are
    then read, almost, in order.
    """
    unit = f.new(f"icmp eq i64 %bc, {shape.size}")
    few = f.new(f"icmp slt i64 %m, {PACK_B_FROM}")
    far = f.new(f"icmp sge i64 {f.mul(f.mul('%k', '%n'), shape.size)}, {shape.second_cache}")
    some = f.new(f"icmp sle i64 %m, {FLAT_ROWS * shape.rows}")
    flat = f.new(f"and i1 {f.new(f'and i1 {some}, {far}')}, {unit}")
    if shape.width == 64:
        close = f.new(f"icmp sle i64 %br, {CLOSE_ROWS}")
        many = f.new(f"icmp sle i64 %m, {FEW_TILES * shape.rows}")
        few = f.new(f"or i1 {few}, {f.new(f'and i1 {many}, {close}')}")
        direct = f.new(f"and i1 {few}, {unit}")
        flat = f.new(f"and i1 {direct}, {flat}")
        return direct, "false", f.new(f"select i1 {flat}, i64 {FLAT_DEPTH}, i64 {shape.depth}")
    near = f.new(f"icmp slt i64 %br, {FAR_ROWS}")
    crowded = f.new(f"icmp eq i64 {f.new(f'and i64 %br, {CROWDED_ROWS - 1}')}, 0")
    apart = f.new(f"select i1 {crowded}, i1 false, i1 {near}")
    once = f.new(f"and i1 {f.new(f'icmp sle i64 %m, {shape.rows}')}, {flat}")
    few = f.new(f"or i1 {f.new(f'and i1 {few}, {apart}')}, {once}")
    direct = f.new(f"and i1 {few}, {unit}")
    panels = f.new(f"select i1 {direct}, i1 false, i1 {flat}")
    most = f.new(f"select i1 {once}, i64 {ROWS_AT_ONCE}, i64 {shape.depth}")
    return direct, panels, f.new(f"select i1 {panels}, i64 {PANEL_DEPTH}, i64 {most}")


def _panel_bytes(shape: Shape) -> int:
    """Return the size of a packed panel, whose slivers are a line further apart than long."""
    return PANEL * shape.depth * shape.columns * shape.size + _flat_slivers(shape) * LINE


def _flat_slivers(shape: Shape) -> int:
    """Return how many slivers a flat panel has: it is as large as a deep one."""
    return PANEL * shape.depth // PANEL_DEPTH


def even(f: FunctionText, total: str, most: str | int, multiple: int = 1) -> str:
    """Return the length of parts of about the same size: at most `most`, then rounded up."""
    length = f.ceil_div(total, f.ceil_div(total, most))
    return length if multiple == 1 else f.mul(f.ceil_div(length, multiple), multiple)


def panels(shape: Shape) -> str:
    """Multiply a block of A with all slivers of B, packed panel by panel unless `direct`.

    `flat` panels are as large as others, of few terms and many slivers.

    With AVX-512, the next panel, or the next sliver of a `direct` one, is fetched into the second
    cache while one is worked on; with AVX2 the processor does as well by itself.
    """
    f = FunctionText(
        "define internal void @panels(ptr %a, i64 %ar, i64 %ac, i64 %as, ptr %b, i64 %br, "
        "i64 %bc, ptr %c, i64 %ldc, i64 %m, i64 %n, i64 %k, i1 %more, i1 %direct, i1 %flat, "
        "ptr %packed) nounwind"
    )
    stride = shape.columns * shape.size
    slivers = f.new(f"select i1 %flat, i64 {_flat_slivers(shape)}, i64 {PANEL}")
    wide = f.mul(slivers, shape.columns)
    apart = f.add(f.mul("%k", stride), LINE)
    unit = f.new(f"icmp eq i64 %bc, {shape.size}")
    ahead = f.new(f"select i1 %direct, i64 {stride}, i64 {f.mul(wide, shape.size)}")

    def panel(j: str, left: str, _: list[str]) -> None:
        b = f.at("%b", f.mul(j, "%bc"))
        whole = f.new(f"and i1 {f.new(f'icmp eq i64 {left}, {wide}')}, {unit}")
        some = f.new(f"or i1 {whole}, {f.new(f'and i1 {unit}, %flat')}")
        fetched = f.new(f"select i1 {whole}, i64 %k, i64 0") if shape.width == 64 else "0"
        together = f.new(f"select i1 %direct, i1 false, i1 {some}")

        def pack() -> None:
            number = f.new(f"udiv i64 {left}, {shape.columns}")
            panel = f"ptr {b}, i64 %br, i64 %k, i64 {apart}, ptr %packed"
            f.when(
                "%flat",
                lambda: f.do(f"call void @pack.flat({panel}, i64 {number})"),
                lambda: f.do(f"call void @pack.panel({panel})"),
            )

        f.when(together, pack)

        def sliver(t: str, count: str, values: list[str]) -> Sequence[str]:
            b_at = f.at(b, f.mul(t, "%bc"))
            c_at = f.at("%c", f.mul(f.add(j, t), shape.size))
            full = f.new(f"icmp eq i64 {count}, {shape.columns}")
            in_place = f.new(f"and i1 %direct, {full}")
            before = f.new(f"and i1 {together}, {full}")
            packed = f.new(f"select i1 {together}, ptr {values[0]}, ptr %packed")
            f.when(
                f.new(f"or i1 {in_place}, {before}"),
                lambda: None,
                lambda: f.do(
                    f"call void @pack.sliver(ptr {b_at}, i64 %br, i64 %bc, i64 {count}, i64 %k, "
                    f"ptr {packed})"
                ),
            )
            start = f.new(f"select i1 {in_place}, ptr {b_at}, ptr {packed}")
            row = f.new(f"select i1 {in_place}, i64 %br, i64 {stride}")
            f.do(
                f"call void @tiles(ptr %a, i64 %ar, i64 %ac, i64 %as, ptr {start}, i64 {row}, "
                f"ptr {c_at}, i64 %ldc, i64 %m, i64 {count}, i64 %k, i1 %more, "
                f"ptr {f.at(b_at, ahead)}, i64 %br, i64 {fetched})"
            )
            return [f.at(values[0], apart)]

        f.parts(left, shape.columns, sliver, [("ptr", "%packed")])

    f.parts("%n", wide, panel)
    return f.text()
