"""Pack parts of the operands, so that the register tile reads them in order."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm.shape import Shape

PANEL = 4  # slivers of B that are packed together: whole cache lines of it side by side


def pack_a(shape: Shape) -> str:
    """Pack all slivers of a block of A: of each column, the elements of a tile's rows together."""
    f = FunctionText(
        "define internal void @pack.a(ptr %a, i64 %ar, i64 %ac, i64 %m, i64 %k, ptr %to) nounwind"
    )
    unit = f.new(f"icmp eq i64 %ac, {shape.size}")

    def sliver(i: str, values: list[str]) -> Sequence[str]:
        source, target = values
        rows = f.least(f.sub("%m", i), shape.rows)
        f.when(
            unit,
            lambda: f.do(
                f"call void @pack.rows(ptr {source}, i64 %ar, i64 {rows}, i64 %k, ptr {target})"
            ),
            lambda: f.do(
                f"call void @pack.columns(ptr {source}, i64 %ar, i64 %ac, i64 {rows}, i64 %k, "
                f"ptr {target})"
            ),
        )
        step = f.mul("%k", shape.rows * shape.size)
        return [f.at(source, f.mul("%ar", shape.rows)), f.at(target, step)]

    f.loop(0, "%m", shape.rows, sliver, [("ptr", "%a"), ("ptr", "%to")])
    return f.text()


def pack_sliver(shape: Shape) -> str:
    """Pack one sliver of B, whatever its layout."""
    f = FunctionText(
        "define internal void @pack.sliver(ptr %b, i64 %br, i64 %bc, i64 %count, i64 %k, ptr %to) "
        "nounwind"
    )
    by_rows = f.new(f"icmp ne i64 %bc, {shape.size}")
    by_columns = f.new(f"icmp eq i64 %br, {shape.size}")
    f.when(
        f.new(f"and i1 {by_rows}, {by_columns}"),
        lambda: f.do("call void @pack.b.across(ptr %b, i64 %bc, i64 %count, i64 %k, ptr %to)"),
        lambda: f.do("call void @pack.b(ptr %b, i64 %br, i64 %bc, i64 %count, i64 %k, ptr %to)"),
    )
    return f.text()


def pack_rows(shape: Shape) -> str:
    """Pack a sliver of A whose rows are contiguous: squares are transposed in registers.

    Missing rows repeat the last one; what they give is not used.
    """
    f = FunctionText(
        "define internal void @pack.rows(ptr %a, i64 %ar, i64 %rows, i64 %k, ptr %to) nounwind"
    )
    whole = f.new(f"and i64 %k, {-shape.lanes}")
    last = f.sub("%rows", 1)
    starts = [f.at("%a", f.mul(f.least(str(i), last), "%ar")) for i in range(shape.rows)]
    stride = shape.rows * shape.size

    def square(p: str, _: list[str]) -> Sequence[str]:
        at = f.mul(p, shape.size)
        target = f.at("%to", f.mul(p, stride))
        columns = []
        for first, count in shape.pieces(shape.rows):
            rows = [shape.load(f, f.at(s, at)) for s in starts[first : first + count]]
            rows += ["poison"] * (shape.lanes - count)
            columns.append(transposed(shape, f, rows))
        # in order: what a store writes behind its rows is overwritten by the next
        for c in range(shape.lanes):
            for t, column in enumerate(columns):
                place = f.at(target, c * stride + t * shape.lanes * shape.size)
                f.store(shape.vector, column[c], place, shape.size)
        return []

    def single(p: str, _: list[str]) -> Sequence[str]:
        at = f.mul(p, shape.size)
        target = f.at("%to", f.mul(p, stride))
        for i, start in enumerate(starts):
            value = shape.load_one(f, f.at(start, at))
            shape.store_one(f, value, f.at(target, i * shape.size))
        return []

    f.loop(0, whole, shape.lanes, square)
    f.loop(whole, "%k", 1, single)
    return f.text()


def pack_columns(shape: Shape) -> str:
    """Copy a sliver of A so that the `rows` elements of each column lie together."""
    f = FunctionText(
        "define internal void @pack.columns(ptr %a, i64 %ar, i64 %ac, i64 %rows, i64 %k, "
        "ptr %to) nounwind"
    )
    full = f.new(f"icmp eq i64 %rows, {shape.rows}")
    unit = f.new(f"icmp eq i64 %ar, {shape.size}")
    quick = f.new(f"and i1 {full}, {unit}")
    stride = shape.rows * shape.size
    pieces = shape.pieces(shape.rows)

    def vectors() -> None:
        def column(_: str, values: list[str]) -> Sequence[str]:
            source, target = values
            for first, count in pieces:
                at = f.at(source, first * shape.size)
                value = shape.load_some(f, at, count)
                f.store(shape.vector, value, f.at(target, first * shape.size), shape.size)
            return [f.at(source, "%ac"), f.at(target, stride)]

        f.loop(0, "%k", 1, column, [("ptr", "%a"), ("ptr", "%to")])

    def scalars() -> None:
        def column(_: str, values: list[str]) -> Sequence[str]:
            source, target = values

            def element(i: str, values: list[str]) -> Sequence[str]:
                value = shape.load_one(f, values[0])
                shape.store_one(f, value, f.at(target, f.mul(i, shape.size)))
                return [f.at(values[0], "%ar")]

            f.loop(0, "%rows", 1, element, [("ptr", source)])
            return [f.at(source, "%ac"), f.at(target, stride)]

        f.loop(0, "%k", 1, column, [("ptr", "%a"), ("ptr", "%to")])

    f.when(quick, vectors, scalars)
    return f.text()


def pack_b(shape: Shape) -> str:
    """Copy a sliver of B with contiguous rows: whole vectors, or element by element."""
    f = FunctionText(
        "define internal void @pack.b(ptr %b, i64 %br, i64 %bc, i64 %count, i64 %k, ptr %to) "
        "nounwind"
    )
    full = f.new(f"icmp eq i64 %count, {shape.columns}")
    unit = f.new(f"icmp eq i64 %bc, {shape.size}")
    quick = f.new(f"and i1 {full}, {unit}")
    width = shape.lanes * shape.size

    def vectors() -> None:
        def row(_: str, values: list[str]) -> Sequence[str]:
            source, target = values
            for j in range(2):
                value = shape.load(f, f.at(source, j * width))
                f.store(shape.vector, value, f.at(target, j * width), width)
            return [f.at(source, "%br"), f.at(target, 2 * width)]

        f.loop(0, "%k", 1, row, [("ptr", "%b"), ("ptr", "%to")])

    def scalars() -> None:
        def row(_: str, values: list[str]) -> Sequence[str]:
            source, target = values
            for j in range(2):
                f.store(shape.vector, "zeroinitializer", f.at(target, j * width), width)

            def element(i: str, values: list[str]) -> Sequence[str]:
                value = shape.load_one(f, values[0])
                shape.store_one(f, value, f.at(target, f.mul(i, shape.size)))
                return [f.at(values[0], "%bc")]

            f.loop(0, "%count", 1, element, [("ptr", source)])
            return [f.at(source, "%br"), f.at(target, 2 * width)]

        f.loop(0, "%k", 1, row, [("ptr", "%b"), ("ptr", "%to")])

    f.when(quick, vectors, scalars)
    return f.text()


def pack_panel(shape: Shape) -> str:
    """Copy PANEL whole slivers of B with contiguous rows."""
    f = FunctionText("define internal void @pack.panel(ptr %b, i64 %br, i64 %k, ptr %to) nounwind")
    width = shape.lanes * shape.size
    apart = f.mul("%k", 2 * width)
    starts = ["%to"]
    for _ in range(1, PANEL):
        starts.append(f.at(starts[-1], apart))

    def row(_: str, values: list[str]) -> Sequence[str]:
        source, *targets = values
        for s, target in enumerate(targets):
            for j in range(2):
                value = shape.load(f, f.at(source, (2 * s + j) * width))
                f.store(shape.vector, value, f.at(target, j * width), width)
        return [f.at(source, "%br"), *(f.at(t, 2 * width) for t in targets)]

    f.loop(0, "%k", 1, row, [("ptr", "%b"), *(("ptr", t) for t in starts)])
    return f.text()


def pack_b_across(shape: Shape) -> str:
    """Copy a sliver of B with contiguous columns: squares are transposed in registers.

    Missing columns repeat the last one; what they give is not stored.
    """
    f = FunctionText(
        "define internal void @pack.b.across(ptr %b, i64 %bc, i64 %count, i64 %k, ptr %to) nounwind"
    )
    whole = f.new(f"and i64 %k, {-shape.lanes}")
    last = f.sub("%count", 1)
    starts = [f.at("%b", f.mul(f.least(str(j), last), "%bc")) for j in range(shape.columns)]
    width = shape.lanes * shape.size

    def square(p: str, _: list[str]) -> Sequence[str]:
        at = f.mul(p, shape.size)
        target = f.at("%to", f.mul(p, 2 * width))
        for half in range(2):
            own = starts[half * shape.lanes : (half + 1) * shape.lanes]
            rows = [f.load(shape.vector, f.at(s, at), shape.size) for s in own]
            for i, value in enumerate(transposed(shape, f, rows)):
                f.store(shape.vector, value, f.at(target, i * 2 * width + half * width), width)
        return []

    def single(p: str, _: list[str]) -> Sequence[str]:
        at = f.mul(p, shape.size)
        target = f.at("%to", f.mul(p, 2 * width))
        for j, start in enumerate(starts):
            value = shape.load_one(f, f.at(start, at))
            shape.store_one(f, value, f.at(target, j * shape.size))
        return []

    f.loop(0, whole, shape.lanes, square)
    f.loop(whole, "%k", 1, single)
    return f.text()


def transposed(shape: Shape, f: FunctionText, rows: list[str]) -> list[str]:
    """Transpose a square of registers: at each stage, blocks off the diagonal are exchanged."""
    n = len(rows)
    step = n // 2
    while step:
        new = list(rows)
        for i in range(n):
            if i & step:
                continue
            low = [c if not c & step else n + (c ^ step) for c in range(n)]
            high = [c ^ step if not c & step else n + c for c in range(n)]
            for k, mask in ((i, low), (i | step, high)):
                lanes = ", ".join(f"i32 {c}" for c in mask)
                new[k] = f.new(
                    f"shufflevector {shape.vector} {rows[i]}, {shape.vector} {rows[i | step]}, "
                    f"<{n} x i32> <{lanes}>"
                )
        rows, step = new, step // 2
    return rows
