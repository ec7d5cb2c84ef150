"""Tiles whose columns of the result do not follow each other: they go through a spare one."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm import strided, tile
from symgraph.cpu.gemm.offsets import offset_at, ones, run_at
from symgraph.cpu.gemm.shape import Shape, prefetch

SHORTEST = 3  # elements of a stretch that is copied by vectors


def tiles_apart(shape: Shape) -> str:
    """Multiply a sliver of B with all slivers of A; columns of C lie where a table says."""
    f = FunctionText(
        "define internal void @tiles.apart(ptr %a, i64 %ar, i64 %ac, i64 %as, ptr %b, ptr %br, "
        "ptr %c, i64 %ldc, ptr %places, ptr %runs, i64 %m, i64 %count, i64 %k, i1 %more, "
        "ptr %next, ptr %ns, i64 %rest, i1 %masked) nounwind"
    )
    per = f.least(f.ceil_div(f.mul("%rest", shape.rows), "%m"), "%rest")
    spare = f.new(f"alloca [{(shape.rows + 1) * shape.columns} x {shape.element}], align 64")
    stride = shape.columns * shape.size
    narrow = f.new(f"icmp sle i64 %count, {shape.lanes}")

    def sliver(_: str, rows: str, values: list[str]) -> Sequence[str]:
        a, c, ahead = values

        def copy(way: str) -> None:
            f.do(
                f"call void @copy.{way}(ptr {spare}, ptr {c}, i64 %ldc, ptr %places, ptr %runs, "
                f"i64 {rows}, i64 %count)"
            )

        one = f.new(f"and i1 {narrow}, {tile.has_narrow_tile(shape, f, rows)}")
        wide = f.new(f"select i1 {one}, i64 {shape.lanes}, i64 {shape.columns}")
        f.when("%more", lambda: copy("in"))
        f.do(
            f"call void @tiles(ptr {a}, i64 %ar, i64 %ac, i64 %as, ptr %b, ptr %br, ptr {spare}, "
            f"i64 {stride}, i64 {rows}, i64 {wide}, i64 %k, i1 %more, ptr %next, "
            f"ptr {ahead}, i64 {per}, i1 %masked)"
        )
        copy("out")
        after = [tile.next_sliver(f, a, rows), f.at(c, f.mul("%ldc", rows))]
        return [*after, f.at(ahead, f.mul(per, 8))]

    shape.slivers(f, "%m", sliver, [("ptr", "%a"), ("ptr", "%c"), ("ptr", "%ns")])
    return f.text()


def copy_apart(shape: Shape, way: str) -> str:
    """Copy a spare tile from ("in") or to ("out") columns of C.

    By runs, stretches of every second element, or one by one.
    """
    f = FunctionText(
        f"define internal void @copy.{way}(ptr %spare, ptr %c, i64 %ldc, ptr %places, ptr %runs, "
        "i64 %rows, i64 %count) nounwind"
    )
    number = f.load("i64", "%runs", 8)
    stride = shape.columns * shape.size
    below = f.mul("%ldc", shape.rows)  # the tile that comes next

    def ends(at: list[str]) -> list[str]:
        """Return source and target."""
        return at[::-1] if way == "in" else at

    def by_runs() -> None:
        def run(r: str, _: list[str]) -> None:
            start, end = run_at(f, "%runs", r)
            if shape.width < 64:
                there, place = (at for _kind, at in _places(shape, f, start))
                firsts, steps = ends([there, place]), ends([str(stride), "%ldc"])
                source, target = zip(firsts, steps, strict=True)
                ahead = below if way == "out" else ""
                tile.copy_pieces(shape, f, source, target, "%rows", f.sub(end, start), ahead)
                return
            mask = shape.mask(f, f.new(f"trunc i64 {ones(f, start, end)} to i32"))

            def row(_: str, at: list[str]) -> Sequence[str]:
                source, target = ends(at)
                value = shape.load_masked(f, source, mask, "zeroinitializer")
                if way == "out":
                    prefetch(f, f.at(at[1], below), write=True)
                shape.store_masked(f, value, target, mask)
                return [f.at(at[0], stride), f.at(at[1], "%ldc")]

            f.loop(0, "%rows", 1, row, _places(shape, f, start))

        f.loop(0, number, 1, run)

    def one_by_one() -> None:
        def column(j: str, _: list[str]) -> None:
            def row(_: str, at: list[str]) -> Sequence[str]:
                source, target = ends(at)
                shape.store_one(f, shape.load_one(f, source), target)
                return [f.at(at[0], stride), f.at(at[1], "%ldc")]

            f.loop(0, "%rows", 1, row, _places(shape, f, j))

        f.loop(0, "%count", 1, column)

    def not_by_runs() -> None:
        end = strided.end_of_stretch(shape, f, "%places", "0", f.least("%count", shape.lanes))
        some = f.new(f"icmp sge i64 {end}, {SHORTEST}")
        f.when(some, lambda: _copy_every_second(shape, f, way), one_by_one)

    def whole_or_not() -> None:
        whole = f.new(f"icmp eq i64 %rows, {shape.rows}")
        f.when(whole, lambda: _copy_columns(shape, f, way), one_by_one)

    others = not_by_runs if shape.width == 64 else whole_or_not
    f.when(f.new(f"icmp slt i64 {f.mul(number, 2)}, %count"), by_runs, others)
    return f.text()


def _copy_columns(shape: Shape, f: FunctionText, way: str) -> None:
    """Copy a tile of all rows element by element."""
    stride = shape.columns * shape.size
    below = f.mul("%ldc", shape.rows)

    def column(j: str, _: list[str]) -> None:
        there, place = (at for _kind, at in _places(shape, f, j))
        next_tile = f.at(place, below)

        def fetch() -> None:
            at = next_tile
            for _row in range(shape.rows):
                prefetch(f, at, write=True)
                at = f.at(at, "%ldc")

        if way == "out":
            f.when(f.new(f"icmp eq i64 {f.new(f'and i64 {j}, {shape.lanes - 1}')}, 0"), fetch)
        for i in range(shape.rows):
            spare = f.at(there, i * stride)
            source, target = (place, spare) if way == "in" else (spare, place)
            shape.store_one(f, shape.load_one(f, source), target)
            place = f.at(place, "%ldc")

    f.loop(0, "%count", 1, column)


def _copy_every_second(shape: Shape, f: FunctionText, way: str) -> None:
    """Copy stretches of every second column, each within a vector of the spare tile."""
    stride = shape.columns * shape.size
    below = f.mul("%ldc", shape.rows)

    def stretch(values: list[str]) -> list[str]:
        start = values[0]
        vector = f.new(f"and i64 {start}, {-shape.lanes}")
        most = f.least(f.add(vector, shape.lanes), "%count")
        end = strided.end_of_stretch(shape, f, "%places", start, most)
        lane = f.sub(start, vector)
        place = f.sub(offset_at(f, "%places", start), f.mul(lane, strided.STRIDE * shape.size))
        masks = strided.masks_between(shape, f, lane, f.sub(end, vector))
        bits = f.new(f"shl i64 {ones(f, start, end)}, {lane}")
        lanes = shape.mask(f, f.new(f"trunc i64 {bits} to i32"))

        def row(_: str, at: list[str]) -> Sequence[str]:
            if way == "in":
                value = strided.every_second(shape, f, at[1], masks)
                shape.store_masked(f, value, at[0], lanes)
            else:
                for v in range(strided.STRIDE):
                    prefetch(f, f.at(at[1], below, v * shape.width), write=True)
                value = shape.load(f, at[0])
                strided.store_every_second(shape, f, value, at[1], masks)
            return [f.at(at[0], stride), f.at(at[1], "%ldc")]

        spare = f.at("%spare", f.mul(vector, shape.size))
        f.loop(0, "%rows", 1, row, [("ptr", spare), ("ptr", f.at("%c", place))])
        return [end]

    f.repeat([("i64", "0")], lambda at: f.new(f"icmp slt i64 {at[0]}, %count"), stretch)


def _places(shape: Shape, f: FunctionText, j: str) -> list[tuple[str, str]]:
    """Return where column `j` begins in the spare tile and in C."""
    place = f.at("%c", offset_at(f, "%places", j))
    return [("ptr", f.at("%spare", f.mul(j, shape.size))), ("ptr", place)]
