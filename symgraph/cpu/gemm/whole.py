"""The product of matrices with any strides: its module and its entry."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm import blocks, pack, rooms, tile
from symgraph.cpu.gemm.shape import Shape
from symgraph.cpu.gemm.slices import Place, in_slices, words


def gemm_text(element: str, vector_bytes: int, second_cache: int = 1 << 20) -> str:
    """Return the module of the product of `float` or `double`; it defines `gemm`."""
    shape = Shape(element, vector_bytes, second_cache)
    return "\n".join([
        shape.declarations(),
        rooms.rooms(shape),
        *tile.tiles(shape),
        pack.pack_a(shape),
        pack.pack_sliver(shape),
        pack.pack_rows(shape),
        pack.pack_columns(shape),
        pack.pack_b(shape),
        pack.pack_panel(shape),
        pack.pack_flat(shape),
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
    w = words(f, names)
    for name in ("ar", "ac", "br", "bc", "ao", "bo", "co"):
        w[name] = f.mul(w[name], shape.size)
    for name, offset in (("a", "ao"), ("b", "bo"), ("c", "co")):
        w[name] = f.at(w[name], w[offset])
    ldc = f.mul(w["n"], shape.size)
    item_bytes = f.mul(w["m"], ldc)

    def item_at(item: str) -> Sequence[str]:
        a, b = _item(shape, f, w, item)
        return a, b, f.at(w["c"], f.mul(item, item_bytes))

    def calls(arrays: Sequence[str], place: Place) -> tuple[str, str]:
        (a, b, c), (i, m, j, n) = arrays, place
        c_at = f.at(c, f.mul(i, ldc), f.mul(j, shape.size))
        a_at, b_at = f.at(a, f.mul(i, w["ar"])), f.at(b, f.mul(j, w["bc"]))
        return (
            f"call void @clear(ptr {c_at}, i64 {m}, i64 {n}, i64 {ldc})",
            f"call void @block(ptr {a_at}, i64 {w['ar']}, i64 {w['ac']}, ptr {b_at}, "
            f"i64 {w['br']}, i64 {w['bc']}, ptr {c_at}, i64 {ldc}, i64 {m}, i64 {n}, "
            f"i64 {w['k']})",
        )

    in_slices(shape, f, (w["m"], w["n"], w["k"]), item_at, calls)
    return f.text()


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
