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
FLAT_ROWS, FLAT_DEPTH = 3, 64  # tiles of rows of A, terms: see `_depth`


def block(shape: Shape) -> str:
    """Multiply a part of A with a part of B."""
    f = FunctionText(
        "define internal void @block(ptr %a, i64 %ar, i64 %ac, ptr %b, i64 %br, i64 %bc, "
        "ptr %c, i64 %ldc, i64 %m, i64 %n, i64 %k) nounwind"
    )
    packed_b = f.new(f"alloca [{PANEL * shape.depth * shape.columns * shape.size} x i8], align 64")
    pack_a = f.new(f"icmp sge i64 %n, {PACK_A_FROM}")
    few = f.new(f"icmp slt i64 %m, {PACK_B_FROM}")
    if shape.width < 64:
        few = f.new(f"and i1 {few}, {f.new(f'icmp slt i64 %br, {FAR_ROWS}')}")
        within = f.new(f"and i64 %br, {CROWDED_ROWS - 1}")
        few = f.new(f"and i1 {few}, {f.new(f'icmp ne i64 {within}, 0')}")
    else:
        close = f.new(f"icmp sle i64 %br, {CLOSE_ROWS}")
        some = f.new(f"icmp sle i64 %m, {FEW_TILES * shape.rows}")
        few = f.new(f"or i1 {few}, {f.new(f'and i1 {some}, {close}')}")
    unit = f.new(f"icmp eq i64 %bc, {shape.size}")
    direct = f.new(f"and i1 {few}, {unit}")
    deep = even(f, "%k", _depth(shape, f, direct) if shape.width == 64 else shape.depth)
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
                f"i1 {direct}, ptr {packed_b})"
            )

        f.parts("%k", deep, depth)

    f.parts("%m", high, rows)
    room.give_back(f)
    return f.text()


def _depth(shape: Shape, f: FunctionText, direct: str) -> str:
    """Return the terms that are summed at a time.

    Few, where B comes from afar for few rows of A: slivers side by side are read soon after each
    other, so that its rows are, almost, read in order.
    """
    few = f.new(f"icmp sle i64 %m, {FLAT_ROWS * shape.rows}")
    far = f.new(f"icmp sge i64 {f.mul(f.mul('%k', '%n'), shape.size)}, {shape.second_cache}")
    flat = f.new(f"and i1 {direct}, {f.new(f'and i1 {few}, {far}')}")
    return f.new(f"select i1 {flat}, i64 {FLAT_DEPTH}, i64 {shape.depth}")


def even(f: FunctionText, total: str, most: str | int, multiple: int = 1) -> str:
    """Return the length of parts of about the same size: at most `most`, then rounded up."""
    length = f.ceil_div(total, f.ceil_div(total, most))
    return length if multiple == 1 else f.mul(f.ceil_div(length, multiple), multiple)


def panels(shape: Shape) -> str:
    """Multiply a block of A with all slivers of B, packed panel by panel unless `direct`.

    With AVX-512, the next panel, or the next sliver of a `direct` one, is fetched into the second
    cache while one is worked on; with AVX2 the processor does as well by itself.
    """
    f = FunctionText(
        "define internal void @panels(ptr %a, i64 %ar, i64 %ac, i64 %as, ptr %b, i64 %br, "
        "i64 %bc, ptr %c, i64 %ldc, i64 %m, i64 %n, i64 %k, i1 %more, i1 %direct, ptr %packed) "
        "nounwind"
    )
    wide, stride = PANEL * shape.columns, shape.columns * shape.size
    apart = f.mul("%k", stride)
    unit = f.new(f"icmp eq i64 %bc, {shape.size}")
    ahead = f.new(f"select i1 %direct, i64 {stride}, i64 {wide * shape.size}")

    def panel(j: str, left: str, _: list[str]) -> None:
        b = f.at("%b", f.mul(j, "%bc"))
        whole = f.new(f"and i1 {f.new(f'icmp eq i64 {left}, {wide}')}, {unit}")
        fetched = f.new(f"select i1 {whole}, i64 %k, i64 0") if shape.width == 64 else "0"
        together = f.new(f"select i1 %direct, i1 false, i1 {whole}")
        f.when(
            together,
            lambda: f.do(f"call void @pack.panel(ptr {b}, i64 %br, i64 %k, ptr %packed)"),
        )

        def sliver(t: str, count: str, values: list[str]) -> Sequence[str]:
            b_at = f.at(b, f.mul(t, "%bc"))
            c_at = f.at("%c", f.mul(f.add(j, t), shape.size))
            full = f.new(f"icmp eq i64 {count}, {shape.columns}")
            in_place = f.new(f"and i1 %direct, {full}")
            packed = f.new(f"select i1 {together}, ptr {values[0]}, ptr %packed")
            f.when(
                f.new(f"or i1 {in_place}, {together}"),
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
