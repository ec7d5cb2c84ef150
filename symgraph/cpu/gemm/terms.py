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

WORDS = 8  # of a table, that are copied at once
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
        self, p: str, k: str, window: tuple[str, str], unit: str, steps: Table, some: Table
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
                f"i64 {p}, i64 {k}, i1 {unit}, ptr {steps[0]}, ptr {some[0]}, ptr {some[1]})"
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
    multiples(f, k, apart, f.at(table, 8 * shape.table))


def multiples(f: FunctionText, count: str, of: str | int, to: str) -> None:
    """Store 0, `of`, 2 `of` ..."""

    def one(_: str, values: list[str]) -> list[str]:
        value, at = values
        f.store("i64", value, at, 8)
        return [f.add(value, of), f.at(at, 8)]

    f.loop(0, count, 1, one, [("i64", "0"), ("ptr", to)])


def copy_words(f: FunctionText, source: str, target: str, count: str) -> None:
    """Copy words, up to WORDS - 1 more than `count`."""

    def some(_: str, at: list[str]) -> list[str]:
        f.store(f"<{WORDS} x i64>", f.load(f"<{WORDS} x i64>", at[0], 8), at[1], 8)
        return [f.at(place, 8 * WORDS) for place in at]

    f.loop(0, count, WORDS, some, [("ptr", source), ("ptr", target)])


def terms_of_part(shape: Shape) -> str:
    """Copy a table of terms from position `p` on, without those that a part does not need.

    If `unit`, elements of a row of the window follow each other, and are runs of B. Else each term
    is one: `runs` holds their numbers already.
    """
    f = FunctionText(
        "define internal void @terms.of.part(ptr %part, i64 %rows, i64 %columns, i64 %p, i64 %k, "
        "i1 %unit, ptr %from, ptr %to, ptr %runs) nounwind"
    )
    row, rows, column, columns = (f.load("i64", f.at("%part", 8 * k), 8) for k in range(1, 5))
    behind = f.add(column, columns)
    outer = f.new("udiv i64 %p, %columns")
    x = f.sub("%p", f.mul(outer, "%columns"))
    y = f.sub(outer, f.mul(f.new(f"udiv i64 {outer}, %rows"), "%rows"))
    list_ = f.at("%runs", 8)

    def row_of_window(values: list[str]) -> list[str]:
        """Copy what is needed of a row, from its element x on."""
        t, y, x, found, number = values
        end = f.least(f.add(x, f.sub("%k", t)), "%columns")
        first, last = f.most(x, column), f.least(end, behind)
        inside = f.new(f"icmp ult i64 {f.sub(y, row)}, {rows}")
        some = f.new(f"and i1 {inside}, {f.new(f'icmp slt i64 {first}, {last}')}")
        count = f.new(f"select i1 {some}, i64 {f.sub(last, first)}, i64 0")
        source = f.at("%from", f.mul(f.add(t, f.sub(first, x)), 8))
        target = f.at("%to", f.mul(found, 8))
        for half in (0, 8 * shape.table):
            copy_words(f, f.at(source, half), f.at(target, half), count)
        together = f.new(f"select i1 %unit, i64 {count}, i64 0")

        def run(e: str, at: list[str]) -> list[str]:
            f.store("i64", f.add(found, e), f.at(list_, f.mul(at[0], 8)), 8)
            return [f.add(at[0], 1)]

        runs = f.loop(0, together, shape.lanes, run, [("i64", number)])[0]
        number = f.new(f"select i1 %unit, i64 {runs}, i64 {f.add(number, count)}")
        below = f.add(y, 1)
        below = f.new(f"select i1 {f.new(f'icmp eq i64 {below}, %rows')}, i64 0, i64 {below}")
        return [f.add(t, f.sub(end, x)), below, "0", f.add(found, count), number]

    start = [("i64", value) for value in ("0", y, x, "0", "0")]
    *_, found, number = f.repeat(start, lambda v: f.new(f"icmp slt i64 {v[0]}, %k"), row_of_window)
    f.store("i64", number, "%runs", 8)
    f.store("i64", found, f.at(list_, f.mul(number, 8)), 8)
    return f.text()
