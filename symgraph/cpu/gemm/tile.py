"""The register tile of a product, a row of tiles, and what stands at the edges of C."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from symgraph.cpu.function_text import Carried, FunctionText
from symgraph.cpu.gemm import parted
from symgraph.cpu.gemm.shape import Shape, prefetch

ZERO = "0x8000000000000000"  # -0.0 adds to nothing
# With AVX-512 (processors with AVX2 only do better with all of the next tile of C at once):
FEW = 16  # steps between two times that parts of A and C are fetched
A_AHEAD, B_AHEAD = 32, 8  # steps that what is fetched of A and B lies ahead
# bytes. The ends of vectors are fetched: where rows of B begin within a line, the first line of a
# sliver is the last one of the sliver before it.
LINE = 64


def tile(shape: Shape, rows: int, vectors: int, runs: int = 0) -> str:
    """Return the product of `rows` rows of A and a sliver of B, added to C if `more`.

    Without `runs`, B begins at %b and has rows %br apart. Else %br points at the offset of each row
    and %b at the block of the sliver (`parted`): a vector is put together from so many runs. The
    offsets of the columns of A are `shape.table` words behind those of the rows of B.
    """
    kind = "ptr" if runs else "i64"
    f = FunctionText(
        f"define internal void @{_name(rows, vectors, runs)}(ptr %a, i64 %ar, i64 %ac, ptr %b, "
        f"{kind} %br, ptr %c, i64 %ldc, i64 %k, i1 %more) nounwind"
    )
    t = _Tile(shape, f, rows, vectors, runs)
    if shape.width < 64:
        t.fetch_next()
    first = t.sums()
    last = t.in_one_loop(first) if shape.width < 64 else t.with_fetching(first)
    for at, value in zip(t.places, last, strict=True):
        f.store(shape.vector, value, at, shape.size)
    return f.text()


class _Tile:
    """What `tile` consists of: the sums, a step of k, and ways to go through all steps."""

    def __init__(self, shape: Shape, f: FunctionText, rows: int, vectors: int, runs: int) -> None:
        self.shape, self.f, self.rows, self.runs = shape, f, rows, runs
        self.lines = range(0, vectors * shape.width, LINE)  # of a row of the tile, and of B
        self._vectors = [j * shape.width for j in range(vectors)]
        self._row = ["0", *(f.opaque(f.mul("%ar", i)) for i in range(1, rows))]
        c_row = ["%c"]
        for _ in range(1, rows):
            c_row.append(f.at(c_row[-1], "%ldc"))
        self.places = [f.at(at, j) if j else at for at in c_row for j in self._vectors]
        self._below = f.at("%c", f.mul("%ldc", rows))  # the tile that comes next
        self._read = parted.reader(shape, f, "%b", vectors, runs) if runs else None
        self._b_ahead = "" if runs else f.mul("%br", B_AHEAD)
        self._kinds = ["ptr", "ptr", *(shape.vector for _ in self.places)]

    def sums(self) -> list[str]:
        """Return what C holds so far, or zeros."""
        shape, f = self.shape, self.f
        before, (old, start) = f.label, f.labels("old", "start")
        f.do(f"br i1 %more, label %{old}, label %{start}")
        f.block(old)
        found = [f.load(shape.vector, at, shape.size) for at in self.places]
        f.do(f"br label %{start}")
        f.block(start)
        zero = f"splat ({shape.element} {ZERO})"
        return [f.new(f"phi {shape.vector} [ {zero}, %{before} ], [ {x}, %{old} ]") for x in found]

    def step(self, values: Sequence[str], chosen: bool = True) -> list[str]:
        """Add one column of A times one row of B; columns are `chosen` by a table, or all there."""
        shape, f = self.shape, self.f
        a, b, *sums = values
        if self._read is not None:
            right = self._read(f.load("i64", b, 8))
        else:
            right = [shape.load(f, f.at(b, j) if j else b) for j in self._vectors]
            for line in self.lines if shape.width == 64 else ():
                prefetch(f, f.at(b, self._b_ahead, line + LINE - 1), near=True)
        after: list[str] = []
        for i in range(self.rows):
            one = shape.load_one(f, f.at(a, self._row[i]) if i else a)
            low = f.new(f"insertelement {shape.vector} poison, {shape.element} {one}, i64 0")
            left = f.new(
                f"shufflevector {shape.vector} {low}, {shape.vector} poison, "
                f"<{shape.lanes} x i32> zeroinitializer"
            )
            for y in right:
                after.append(_fma(shape, f, left, y, sums[len(after)]))
        b = f.at(b, 8 if self.runs else "%br")
        return [self._column(b) if chosen else f.at(a, "%ac"), b, *after]

    def _column(self, b: str) -> str:
        """Return where the column of A of a step begins.

        That of the next step is found a step before it is read: else the compiler reads all rows of
        a column at once, and has no registers for them.
        """
        return self.f.at("%a", self.f.load("i64", self.f.at(b, 8 * self.shape.table), 8))

    def fetch_next(self) -> None:
        """Fetch the tile that comes next."""
        for i in range(self.rows):
            for line in self.lines:
                at = self.f.at(self._below, self.f.mul("%ldc", i), line)
                prefetch(self.f, at, write=True)

    def in_one_loop(self, sums: Sequence[str]) -> list[str]:
        """Do all steps."""
        return self._steps("%k", self._carried(sums), self._has_all())[2:]

    def with_fetching(self, sums: Sequence[str]) -> list[str]:
        """Do all steps, FEW at a time; before these, fetch some of A and a row of the next tile.

        All of that tile at once would fill the buffers that A and B need.
        """
        f, every = self.f, self._has_all()
        a_ahead = f.mul("%ac", A_AHEAD)

        def some(p: str, count: str, values: list[str]) -> Sequence[str]:
            c, *now = values
            for line in range(0, FEW * self.rows * self.shape.size, LINE):
                prefetch(f, f.at(now[0], a_ahead, line), near=True)
            for line in self.lines:
                prefetch(f, f.at(c, line), write=True)
            left = f.new(f"icmp slt i64 {p}, {FEW * (self.rows - 1)}")
            down = f.new(f"select i1 {left}, i64 %ldc, i64 0")
            carried = list(zip(self._kinds, now, strict=True))
            return [f.at(c, down), *self._steps(count, carried, every)]

        return f.parts("%k", FEW, some, [("ptr", self._below), *self._carried(sums)])[3:]

    def _steps(self, count: str, carried: Carried, every: str) -> list[str]:
        """Do some steps. Where `every` column of A is there, its offsets are not loaded."""
        f = self.f
        if every == "true":
            return f.loop(0, count, 1, lambda _, v: self.step(v, False), carried)
        if every == "false":
            return f.loop(0, count, 1, lambda _, v: self.step(v), carried)
        number = f.new(f"select i1 {every}, i64 {count}, i64 0")
        values = f.loop(0, number, 1, lambda _, v: self.step(v, False), carried)
        carried = list(zip(self._kinds, values, strict=True))
        return f.loop(number, count, 1, lambda _, v: self.step(v), carried)

    def _has_all(self) -> str:
        """Return a test whether no column of A is left out, where a load less in each step counts:
        not in tiles of many rows with AVX-512.
        """
        f = self.f
        if not self.runs:
            return "true"
        if self.shape.width == 64 and self.rows >= self.shape.fewer_rows:
            return "false"
        all_but_one = f.sub("%k", 1)
        first, last = (self._column(f.at("%br", f.mul(t, 8))) for t in ("0", all_but_one))
        ends = (f.new(f"ptrtoint ptr {at} to i64") for at in (last, first))
        return f.new(f"icmp eq i64 {f.sub(*ends)}, {f.mul(all_but_one, '%ac')}")

    def _carried(self, sums: Sequence[str]) -> list[tuple[str, str]]:
        starts = [self._column("%br"), "%br"] if self.runs else ["%a", "%b"]
        return list(zip(self._kinds, [*starts, *sums], strict=True))


def _name(rows: int, vectors: int, runs: int) -> str:
    return f"tile.{rows}.{vectors}{'.masked' if runs > 1 else ''}"


def tiles(shape: Shape, runs: int = 0) -> list[str]:
    """Return the tiles that a product of any size is made up of."""
    narrow = [tile(shape, n, 1, runs) for n in (shape.rows, shape.fewer_rows) if runs < 2]
    return [*narrow, *(tile(shape, rows, 2, runs) for rows in (shape.rows, *shape.parts))]


def clear(shape: Shape) -> str:
    """Set C to zero: the sum over no k."""
    f = FunctionText("define internal void @clear(ptr %c, i64 %m, i64 %n, i64 %ldc) nounwind")

    def row(i: str, _: list[str]) -> None:
        start = f.at("%c", f.mul(i, "%ldc"))

        def element(j: str, _: list[str]) -> None:
            shape.store_one(f, "0.0", f.at(start, f.mul(j, shape.size)))

        f.loop(0, "%n", 1, element)

    f.loop(0, "%m", 1, row)
    return f.text()


def copy_tile(shape: Shape) -> str:
    """Copy a part of C from or to a whole tile."""
    f = FunctionText(
        "define internal void @copy.tile(ptr %from, i64 %fs, ptr %to, i64 %ts, i64 %rows, "
        "i64 %count) nounwind"
    )
    copy_pieces(shape, f, ("%from", "%fs"), ("%to", "%ts"), "%rows", "%count")
    return f.text()


def copy_pieces(
    shape: Shape,
    f: FunctionText,
    source: tuple[str, str],
    target: tuple[str, str],
    rows: str,
    count: str,
    ahead: str = "",
) -> None:
    """Copy fewer columns than two vectors have, a power of two at a time: masked stores are slow.

    source, target: where rows begin, and the bytes between them. With `ahead`, lines so many bytes
    behind the target are fetched for writing.
    """
    size = shape.lanes
    while size:
        kind, behind = f"<{size} x {shape.element}>", f.new(f"and i64 {count}, {-2 * size}")
        start = f.mul(behind, shape.size)

        def piece(kind: str = kind, start: str = start) -> None:
            def row(_: str, at: list[str]) -> Sequence[str]:
                if ahead:
                    prefetch(f, f.at(at[1], ahead), write=True)
                f.store(kind, f.load(kind, at[0], shape.size), at[1], shape.size)
                return [f.at(at[0], source[1]), f.at(at[1], target[1])]

            firsts = [("ptr", f.at(source[0], start)), ("ptr", f.at(target[0], start))]
            f.loop(0, rows, 1, row, firsts)

        f.when(f.new(f"icmp ne i64 {f.new(f'and i64 {count}, {size}')}, 0"), piece)
        size //= 2


def row_of_tiles(shape: Shape, runs: int = 0) -> str:
    """Multiply one sliver of B with all slivers of a block of A.

    The next sliver is fetched meanwhile: %rest rows from %next on, %ns apart. With `runs`, %b is
    the block of the sliver (`parted`), whose vectors have two runs if `masked`; %next are the ends
    of the next one, %ns points at the offsets of %rest rows of it.
    """
    b_row = f"{'ptr' if runs else 'i64'} %br"
    masked = ", i1 %masked" if runs else ""
    f = FunctionText(
        f"define internal void @tiles(ptr %a, i64 %ar, i64 %ac, i64 %as, ptr %b, {b_row}, "
        "ptr %c, i64 %ldc, i64 %m, i64 %count, i64 %k, i1 %more, ptr %next, "
        f"{'ptr' if runs else 'i64'} %ns, i64 %rest{masked}) nounwind"
    )
    per = f.least(f.ceil_div(f.mul("%rest", shape.rows), "%m"), "%rest")
    starts = [f.load("ptr", f.at("%next", 8 * k), 8) for k in range(parted.ENDS)] if runs else []
    spare = f.new(f"alloca [{shape.rows * shape.columns} x {shape.element}], align 64")
    whole = f.new(f"icmp eq i64 %count, {shape.columns}")
    narrow = f.new(f"icmp sle i64 %count, {shape.lanes}")
    one_vector = f.new(f"icmp eq i64 %count, {shape.lanes}")
    stride = shape.columns * shape.size

    def sliver(_: str, rows: str, values: list[str]) -> Sequence[str]:
        a, c, ahead = values

        def fetch(_: str, at: list[str]) -> Sequence[str]:
            if not runs:
                for line in range(0, stride, LINE):
                    prefetch(f, f.at(at[0], line + LINE - 1))
                return [f.at(at[0], "%ns")]
            offset = f.load("i64", at[0], 8)
            for start in starts:
                prefetch(f, f.at(start, offset), near=True)
            return [f.at(at[0], 8)]

        after = f.loop(0, per, 1, fetch, [("ptr", ahead)])

        def straight() -> None:
            if not runs:
                _choose(shape, f, rows, a, b_row, c, "%ldc", 2)
                return
            f.when(
                "%masked",
                lambda: _choose(shape, f, rows, a, b_row, c, "%ldc", 2, runs=2),
                lambda: _choose(shape, f, rows, a, b_row, c, "%ldc", 2),
            )

        def around() -> None:
            f.when(
                "%more",
                lambda: f.do(
                    f"call void @copy.tile(ptr {c}, i64 %ldc, ptr {spare}, i64 {stride}, "
                    f"i64 {rows}, i64 %count)"
                ),
            )
            f.when(
                narrow,
                lambda: _choose(shape, f, rows, a, b_row, spare, str(stride), 1),
                lambda: _choose(shape, f, rows, a, b_row, spare, str(stride), 2),
            )
            f.do(
                f"call void @copy.tile(ptr {spare}, i64 {stride}, ptr {c}, i64 %ldc, "
                f"i64 {rows}, i64 %count)"
            )

        def narrower() -> None:
            f.when(
                f.new(f"and i1 {one_vector}, {has_narrow_tile(shape, f, rows)}"),
                lambda: _choose(shape, f, rows, a, b_row, c, "%ldc", 1),
                around,
            )

        f.when(whole, straight, narrower)
        return [next_sliver(f, a, rows), f.at(c, f.mul("%ldc", rows)), *after]

    ahead = "%ns" if runs else "%next"
    shape.slivers(f, "%m", sliver, [("ptr", "%a"), ("ptr", "%c"), ("ptr", ahead)])
    return f.text()


def has_narrow_tile(shape: Shape, f: FunctionText, rows: str) -> str:
    """Tell whether there is a tile of one vector for so many rows of A."""
    fits = (f.new(f"icmp eq i64 {rows}, {n}") for n in (shape.rows, shape.fewer_rows))
    return f.new(f"or i1 {next(fits)}, {next(fits)}")


def next_sliver(f: FunctionText, a: str, rows: str) -> str:
    """Return where the sliver of A behind one of `rows` rows begins.

    %as: the bytes of a packed one; 0 where A is read as it lies.
    """
    packed = f.new("icmp ne i64 %as, 0")
    return f.at(a, f.new(f"select i1 {packed}, i64 %as, i64 {f.mul('%ar', rows)}"))


def _choose(
    shape: Shape,
    f: FunctionText,
    rows: str,
    a: str,
    b_row: str,
    c: str,
    ldc: str,
    vectors: int,
    runs: int = 1,
) -> None:
    """Call the tile of `rows` rows, or those that make it up."""

    def call(size: int, a_at: str, c_at: str, wide: int) -> None:
        f.do(
            f"call void @{_name(size, wide, runs)}(ptr {a_at}, i64 %ar, i64 %ac, ptr %b, {b_row}, "
            f"ptr {c_at}, i64 {ldc}, i64 %k, i1 %more)"
        )

    def parts() -> None:
        for size in shape.parts:
            done = f.new(f"and i64 {rows}, {-2 * size}")
            a_at, c_at = f.at(a, f.mul(done, "%ar")), f.at(c, f.mul(done, ldc))
            some = f.new(f"icmp ne i64 {f.new(f'and i64 {rows}, {size}')}, 0")
            wide = vectors if size == shape.fewer_rows else 2
            f.when(some, functools.partial(call, size, a_at, c_at, wide))

    full = f.new(f"icmp eq i64 {rows}, {shape.rows}")
    f.when(full, lambda: call(shape.rows, a, c, vectors), parts)


def _fma(shape: Shape, f: FunctionText, x: str, y: str, z: str) -> str:
    v = shape.vector
    return f.new(f"call {v} @llvm.fma.{shape.suffix}({v} {x}, {v} {y}, {v} {z})")
