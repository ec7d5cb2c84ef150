"""The parts that columns of a contraction consist of, and the terms of each.

Terms are a window of two axes within others. A part needs a rectangle of the window only: for its
columns, the other terms would be products with zeros around an image. All parts share the packed
blocks of A: its columns and the rows of B are gone through by tables, from which terms are missing.

Words of a part: how many columns; rows of the window, from and how many, and columns of it; where
the part begins in B and in C; the axes of two tables, of columns of B and of C.
"""

from __future__ import annotations

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm.offsets import AXIS_WORDS, offset_at
from symgraph.cpu.gemm.shape import Shape

TABLES_AT = 7
PART_BYTES = 8 * (TABLES_AT + 2 * AXIS_WORDS)

Table = tuple[str, str]  # offsets of both operands, and runs of those of B


class Part:
    """A part in a function being written."""

    def __init__(self, shape: Shape, f: FunctionText, at: str) -> None:
        words = [f.load("i64", f.at(at, 8 * k), 8) for k in range(TABLES_AT)]
        self._f, self._at = f, at
        self.count, self._row, self._rows, self._column, self._columns, b, c = words
        self.b_start, self.c_start = f.mul(b, shape.size), f.mul(c, shape.size)

    def choose(
        self, p: str, k: str, window: tuple[str, str], steps: Table, some: Table
    ) -> tuple[Table, str]:
        """Return the table of its terms among `k` from `p` on, and how many these are.

        steps: the table of all of them; some: room for another.
        """
        f = self._f
        every = f.new(f"icmp eq i64 {f.mul(self._rows, self._columns)}, {f.mul(*window)}")
        f.when(
            every,
            lambda: None,
            lambda: f.do(
                f"call void @terms.of.part(ptr {self._at}, i64 {window[0]}, i64 {window[1]}, "
                f"i64 {p}, i64 {k}, ptr {steps[0]}, ptr {some[0]}, ptr {some[1]})"
            ),
        )
        offsets, runs = (
            f.new(f"select i1 {every}, ptr {a}, ptr {b}") for a, b in zip(steps, some, strict=True)
        )
        return (offsets, runs), offset_at(f, runs, f.add(f.load("i64", runs, 8), 1))

    def has_terms_before(self, p: str, window: tuple[str, str]) -> str:
        """Tell whether some of its terms come before the one at `p`."""
        f = self._f
        first = f.add(f.mul(self._row, window[1]), self._column)
        return f.new(f"icmp sgt i64 {p}, {first}")


def tables_of_part(f: FunctionText, part: str) -> tuple[str, str]:
    """Return where the axes of its columns are, in B and in C."""
    start = f.at(part, 8 * TABLES_AT)
    return start, f.at(start, 8 * AXIS_WORDS)


def columns_of_a(shape: Shape, f: FunctionText, k: str, apart: str, table: str) -> None:
    """Store the offsets of the columns of A behind those of the rows of B."""

    def column(t: str, _: list[str]) -> None:
        f.store("i64", f.mul(t, apart), f.at(table, f.mul(t, 8), 8 * shape.table), 8)

    f.loop(0, k, 1, column)


def terms_of_part(shape: Shape) -> str:
    """Copy a table of terms from position `p` on, without those that a part does not need."""
    f = FunctionText(
        "define internal void @terms.of.part(ptr %part, i64 %rows, i64 %columns, i64 %p, i64 %k, "
        "ptr %from, ptr %to, ptr %runs) nounwind"
    )
    row, rows, column, columns = (f.load("i64", f.at("%part", 8 * k), 8) for k in range(1, 5))
    outer = f.new("udiv i64 %p, %columns")
    x = f.sub("%p", f.mul(outer, "%columns"))
    y = f.sub(outer, f.mul(f.new(f"udiv i64 {outer}, %rows"), "%rows"))
    list_ = f.at("%runs", 8)

    def term(t: str, values: list[str]) -> list[str]:
        y, x, found, number, begun, behind = values
        inside = [
            f.new(f"icmp ult i64 {f.sub(i, first)}, {count}")
            for i, first, count in ((y, row, rows), (x, column, columns))
        ]
        needed = f.new(f"and i1 {inside[0]}, {inside[1]}")
        source, target = f.at("%from", f.mul(t, 8)), f.at("%to", f.mul(found, 8))
        offset = f.load("i64", source, 8)
        f.store("i64", offset, target, 8)
        a_column = f.load("i64", f.at(source, 8 * shape.table), 8)
        f.store("i64", a_column, f.at(target, 8 * shape.table), 8)
        f.store("i64", found, f.at(list_, f.mul(number, 8)), 8)
        meets = f.new(f"icmp eq i64 {offset}, {behind}")
        room = f.new(f"icmp slt i64 {f.sub(found, begun)}, {shape.lanes}")
        other = f.new(f"xor i1 {f.new(f'and i1 {meets}, {room}')}, true")
        begins = f.new(f"and i1 {needed}, {other}")

        def chosen(test: str, new: str, old: str) -> str:
            return f.new(f"select i1 {test}, i64 {new}, i64 {old}")

        last = f.new(f"icmp eq i64 {f.add(x, 1)}, %columns")
        below = chosen(f.new(f"icmp eq i64 {f.add(y, 1)}, %rows"), "0", f.add(y, 1))
        return [
            chosen(last, below, y),
            chosen(last, "0", f.add(x, 1)),
            chosen(needed, f.add(found, 1), found),
            chosen(begins, f.add(number, 1), number),
            chosen(begins, found, begun),
            chosen(needed, f.add(offset, shape.size), behind),
        ]

    start = [("i64", value) for value in (y, x, "0", "0", "0", "-1")]
    _, _, found, number, *_ = f.loop(0, "%k", 1, term, start)
    f.store("i64", number, "%runs", 8)
    f.store("i64", found, f.at(list_, f.mul(number, 8)), 8)
    return f.text()
