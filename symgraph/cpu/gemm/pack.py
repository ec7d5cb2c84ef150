"""Pack parts of the operands, so that the register tile reads them in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from symgraph.cpu.function_text import Body, FunctionText
from symgraph.cpu.gemm.shape import Shape, prefetch

PANEL = 4  # slivers of B that are packed together: whole cache lines of it side by side


def pack_a(shape: Shape) -> str:
    """Pack all slivers of a block of A: of each column, the elements of a tile's rows together."""
    f = FunctionText(
        "define internal void @pack.a(ptr %a, i64 %ar, i64 %ac, i64 %m, i64 %k, ptr %to) nounwind"
    )
    unit = f.new(f"icmp eq i64 %ac, {shape.size}")

    def sliver(_: str, rows: str, values: list[str]) -> Sequence[str]:
        source, target = values
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
        return [f.at(source, f.mul("%ar", rows)), f.at(target, step)]

    shape.slivers(f, "%m", sliver, [("ptr", "%a"), ("ptr", "%to")])
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
    """Pack a sliver of A whose rows are contiguous. What missing rows give is not used."""
    f = FunctionText(
        "define internal void @pack.rows(ptr %a, i64 %ar, i64 %rows, i64 %k, ptr %to) nounwind"
    )
    _turn(shape, f, Lanes("%a", "%ar", "%rows", shape.rows, whole=False))
    return f.text()


def pack_columns(shape: Shape) -> str:
    """Pack a sliver of A so that the `rows` elements of each column lie together."""
    f = FunctionText(
        "define internal void @pack.columns(ptr %a, i64 %ar, i64 %ac, i64 %rows, i64 %k, "
        "ptr %to) nounwind"
    )
    _copy(shape, f, Lanes("%a", "%ar", "%rows", shape.rows, whole=False), "%ac")
    return f.text()


def pack_b(shape: Shape) -> str:
    """Pack a sliver of B with contiguous rows."""
    f = FunctionText(
        "define internal void @pack.b(ptr %b, i64 %br, i64 %bc, i64 %count, i64 %k, ptr %to) "
        "nounwind"
    )
    _copy(shape, f, Lanes("%b", "%bc", "%count", shape.columns, whole=True), "%br")
    return f.text()


def pack_b_across(shape: Shape) -> str:
    """Pack a sliver of B with contiguous columns. What missing columns give is not stored."""
    f = FunctionText(
        "define internal void @pack.b.across(ptr %b, i64 %bc, i64 %count, i64 %k, ptr %to) nounwind"
    )
    _turn(shape, f, Lanes("%b", "%bc", "%count", shape.columns, whole=True))
    return f.text()


def pack_panel(shape: Shape) -> str:
    """Copy PANEL whole slivers of B with contiguous rows."""
    f = FunctionText(
        "define internal void @pack.panel(ptr %b, i64 %br, i64 %k, i64 %apart, ptr %to) nounwind"
    )
    starts = ["%to"]
    for _ in range(1, PANEL):
        starts.append(f.at(starts[-1], "%apart"))

    def row(_: str, values: list[str]) -> Sequence[str]:
        source, *targets = values
        for s, target in enumerate(targets):
            for j in range(2):
                value = shape.load(f, f.at(source, (2 * s + j) * shape.width))
                f.store(shape.vector, value, f.at(target, j * shape.width), shape.width)
        return [f.at(source, "%br"), *(f.at(t, 2 * shape.width) for t in targets)]

    f.loop(0, "%k", 1, row, [("ptr", "%b"), *(("ptr", t) for t in starts)])
    return f.text()


def pack_flat(shape: Shape) -> str:
    """Copy `number` whole slivers of few rows of B, row by row: a long stretch of each."""
    f = FunctionText(
        "define internal void @pack.flat(ptr %b, i64 %br, i64 %k, i64 %apart, ptr %to, "
        "i64 %number) nounwind"
    )

    def row(_: str, at: list[str]) -> Sequence[str]:
        def sliver(_: str, at: list[str]) -> Sequence[str]:
            for j in range(2):
                value = shape.load(f, f.at(at[0], j * shape.width))
                f.store(shape.vector, value, f.at(at[1], j * shape.width), shape.width)
            return [f.at(at[0], 2 * shape.width), f.at(at[1], "%apart")]

        f.loop(0, "%number", 1, sliver, [("ptr", at[0]), ("ptr", at[1])])
        return [f.at(at[0], "%br"), f.at(at[1], 2 * shape.width)]

    f.loop(0, "%k", 1, row, [("ptr", "%b"), ("ptr", "%to")])
    return f.text()


class Lanes(NamedTuple):
    """A sliver: `number` of `width` lanes, `stride` bytes apart, to be packed %k deep at %to.

    A `whole` one, when packed, is of whole vectors at multiples of their size.
    """

    start: str
    stride: str
    number: str
    width: int
    whole: bool


def _turn(shape: Shape, f: FunctionText, lanes: Lanes) -> None:
    """Pack lanes that are contiguous along k; missing ones repeat the last one.

    Whole slivers go vector by vector, in a loop: transposing is long code.
    """
    if lanes.whole:
        f.loop(0, lanes.width, shape.lanes, lambda v, _: _turn_some(shape, f, lanes, v))
    else:
        _turn_some(shape, f, lanes, "0")


def _turn_some(shape: Shape, f: FunctionText, lanes: Lanes, first: str) -> None:
    """Pack a vector of lanes, or all of them, from the first on."""
    whole = f.new(f"and i64 %k, {-shape.lanes}")
    last = f.sub(lanes.number, 1)
    places = (f.add(first, i) for i in range(shape.lanes if lanes.whole else lanes.width))
    starts = [f.at(lanes.start, f.mul(f.least(place, last), lanes.stride)) for place in places]
    stride = lanes.width * shape.size
    to = f.at("%to", f.mul(first, shape.size))
    ahead = not lanes.whole and shape.width < 64  # the rows of A that are packed next

    def square(p: str, _: list[str]) -> None:
        at = f.mul(p, shape.size)
        target = f.at(to, f.mul(p, stride))
        if ahead:
            for start in starts:
                prefetch(f, f.at(start, at, f.mul(lanes.number, lanes.stride)))

        def read(lane: str) -> str:
            return shape.load(f, f.at(lane, at))

        align = shape.width if lanes.whole else shape.size
        store_turned(shape, f, starts, read, (target, stride), align)

    def single(p: str, _: list[str]) -> None:
        at = f.mul(p, shape.size)
        target = f.at(to, f.mul(p, stride))
        for i, start in enumerate(starts):
            value = shape.load_one(f, f.at(start, at))
            shape.store_one(f, value, f.at(target, i * shape.size))

    f.loop(0, whole, shape.lanes, square)
    f.loop(whole, "%k", 1, single)


def _copy(shape: Shape, f: FunctionText, lanes: Lanes, step: str) -> None:
    """Pack steps that are `step` bytes apart: by vectors, or one element after the other.

    Missing lanes of a whole sliver are zeros, others are left as they are.
    """
    full = f.new(f"icmp eq i64 {lanes.number}, {lanes.width}")
    unit = f.new(f"icmp eq i64 {lanes.stride}, {shape.size}")
    stride = lanes.width * shape.size
    align = shape.width if lanes.whole else shape.size

    def vectors(_: str, values: list[str]) -> Sequence[str]:
        source, target = values
        for first, count in shape.pieces(lanes.width):
            value = shape.load_some(f, f.at(source, first * shape.size), count)
            f.store(shape.vector, value, f.at(target, first * shape.size), align)
        return [f.at(source, step), f.at(target, stride)]

    def scalars(_: str, values: list[str]) -> Sequence[str]:
        source, target = values
        if lanes.whole:
            for first, _count in shape.pieces(lanes.width):
                place = f.at(target, first * shape.size)
                f.store(shape.vector, "zeroinitializer", place, align)

        def element(i: str, at: list[str]) -> Sequence[str]:
            value = shape.load_one(f, at[0])
            shape.store_one(f, value, f.at(target, f.mul(i, shape.size)))
            return [f.at(at[0], lanes.stride)]

        f.loop(0, lanes.number, 1, element, [("ptr", source)])
        return [f.at(source, step), f.at(target, stride)]

    def steps(body: Body) -> None:
        f.loop(0, "%k", 1, body, [("ptr", lanes.start), ("ptr", "%to")])

    f.when(f.new(f"and i1 {full}, {unit}"), lambda: steps(vectors), lambda: steps(scalars))


def store_turned(
    shape: Shape,
    f: FunctionText,
    starts: list[str],
    read: Callable[[str], str],
    to: tuple[str, int],
    align: int,
) -> None:
    """Transpose squares in registers: vectors that are read along the depth from each lane.

    to: where the first step is stored, and the bytes between two. They are stored in order: what
    one writes behind its lanes is overwritten by the next.
    """
    squares = []
    for first, count in shape.pieces(len(starts)):
        rows = [read(lane) for lane in starts[first : first + count]]
        rows += ["poison"] * (shape.lanes - count)
        squares.append((first, transposed(shape, f, rows)))
    for c in range(shape.lanes):
        for first, columns in squares:
            place = f.at(to[0], c * to[1] + first * shape.size)
            f.store(shape.vector, columns[c], place, align)


def transposed(shape: Shape, f: FunctionText, rows: list[str]) -> list[str]:
    """Transpose a square of registers: at each stage, blocks off the diagonal are exchanged."""
    n = len(rows)
    if n == 8 and shape.width == 32:
        return _interleaved(shape, f, rows)
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


_PAIRS = ((0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15))
_FOURS = ((0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
_HALVES = ((0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))


def _interleaved(shape: Shape, f: FunctionText, rows: list[str]) -> list[str]:
    """Transpose 8 registers of 8 by the 24 exchanges that are one instruction each with AVX2."""

    def both(one: str, other: str, masks: Sequence[Sequence[int]]) -> list[str]:
        return [
            f.new(
                f"shufflevector {shape.vector} {one}, {shape.vector} {other}, "
                f"<8 x i32> <{', '.join(f'i32 {lane}' for lane in mask)}>"
            )
            for mask in masks
        ]

    pairs = [both(rows[i], rows[i + 1], _PAIRS) for i in range(0, 8, 2)]
    low, high = (
        [column for k in range(2) for column in both(pairs[i][k], pairs[i + 1][k], _FOURS)]
        for i in (0, 2)
    )
    columns = [both(one, other, _HALVES) for one, other in zip(low, high, strict=True)]
    return [column[half] for half in range(2) for column in columns]
