"""The product of operands with tables of offsets: convolutions, and other contractions.

As in `blocks`, except that both operands are packed through tables (`offsets`, `gather`), and that
columns of the result may lie anywhere: a tile whose columns are not contiguous goes through a spare
one. What is summed is one chain per element here too.

Columns are one or more parts, which have tables of their own, and terms of their own (`terms`).
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm import apart, gather, parted, rooms, strided, terms, tile
from symgraph.cpu.gemm.blocks import PACK_A_FROM, PACK_B_FROM, even
from symgraph.cpu.gemm.offsets import AXIS_WORDS, offset_at, offsets
from symgraph.cpu.gemm.shape import Shape
from symgraph.cpu.gemm.slices import Place, in_slices, words

TABLES = ("a_rows", "a_steps", "b_steps")
HEAD = (
    *("a", "b", "c", "m", "n", "k", "c_row", "a_start", "b_start", "c_start"),
    *("window_rows", "window_columns", "axes", "parts"),
)
BATCH_AT = len(HEAD) + len(TABLES) * AXIS_WORDS  # the word where the axes of the batch begin
AXIS_OF_BATCH = 4  # words
SHORT_SUM = 64  # terms so few that the first cache has them wherever they lie
# Where the second cache is large, slivers for many rows are packed: there, a load of two parts
# takes the place of a multiply-add. Else, with AVX-512:
FEW_LINES = 160  # beginnings of lines in a block's terms for a sliver in place
FEW_ROWS = 96  # for which a sliver is not packed though the first cache does not keep it
CHUNK = 528 << 10  # elements of the result for which a block of A is packed once


def contract_text(element: str, vector_bytes: int, second_cache: int = 1 << 20) -> str:
    """Return the module of the product of `float` or `double`; it defines `contract`."""
    shape = Shape(element, vector_bytes, second_cache)
    widths = dict.fromkeys((shape.rows, shape.columns))
    return "\n".join([
        shape.declarations(),
        rooms.rooms(shape),
        *tile.tiles(shape, runs=1),
        *tile.tiles(shape, runs=parted.RUNS),
        tile.copy_tile(shape),
        tile.row_of_tiles(shape, runs=1),
        parted.place_block(shape),
        offsets(shape),
        gather.gather_vector(shape),
        strided.gather_strided(shape),
        *(part(shape, width)
          for width in widths
          for part in (gather.gather_lanes, gather.gather_steps, gather.gather_single,
                       gather.gather)),
        *(apart.copy_apart(shape, way) for way in ("in", "out")),
        apart.tiles_apart(shape),
        clear_apart(shape),
        terms.terms_of_part(shape),
        slivers(shape),
        by_parts(shape),
        block(shape),
        contract(shape),
    ])  # fmt: skip


def _axes(f: FunctionText, name: str) -> str:
    return f.at("%args", 8 * (len(HEAD) + TABLES.index(name) * AXIS_WORDS))


def _word(f: FunctionText, name: str) -> str:
    return f.load("i64", f.at("%args", 8 * HEAD.index(name)), 8)


def _first_part(f: FunctionText) -> str:
    return f.at("%args", 8 * BATCH_AT, f.mul(_word(f, "axes"), 8 * AXIS_OF_BATCH))


def _scratch(f: FunctionText, count: int) -> tuple[str, str]:
    """Return room for a table of so many offsets, and for its runs."""
    return (
        f.new(f"alloca [{count} x i64], align 64"),
        f.new(f"alloca [{count + 2} x i64], align 64"),
    )


def _scratch_of_both(shape: Shape, f: FunctionText) -> str:
    """Return room for the offsets of both operands' terms.

    Some behind those of A are read, though not used.
    """
    return f.new(f"alloca [{shape.table + shape.depth + terms.WORDS} x i64], align 64")


def _fill(
    f: FunctionText,
    axes: str,
    start: str,
    count: str,
    aligned: bool,
    to: tuple[str, str],
    second: bool = False,
) -> None:
    f.do(
        f"call void @offsets(ptr {axes}, i64 {start}, i64 {count}, i1 {int(aligned)}, "
        f"i1 {int(second)}, ptr {to[0]}, ptr {to[1]})"
    )


def _contiguous(shape: Shape, f: FunctionText, found: tuple[str, str], count: str) -> str:
    """Tell whether all offsets of a table follow each other."""
    few = f.new(f"icmp eq i64 {f.load('i64', found[1], 8)}, {f.ceil_div(count, shape.lanes)}")
    end = f.sub(count, 1)
    ends = f.sub(offset_at(f, found[0], end), offset_at(f, found[0], 0))
    return f.new(f"and i1 {few}, {f.new(f'icmp eq i64 {ends}, {f.mul(end, shape.size)}')}")


def block(shape: Shape) -> str:
    """Multiply rows from `i` on with columns from `j` on, by chunks of columns."""
    f = FunctionText(
        "define internal void @block(ptr %args, ptr %a, ptr %b, ptr %c, i64 %i, i64 %m, i64 %j, "
        "i64 %n, i64 %k) nounwind"
    )
    a_steps, b_steps = _scratch(f, shape.depth), _scratch(f, shape.depth)
    b_steps = _scratch_of_both(shape, f), b_steps[1]
    lanes = _scratch(f, shape.rows)
    ldc = f.mul(_word(f, "c_row"), shape.size)
    row_axes = _axes(f, "a_rows")
    single = f.new(f"icmp eq i64 {f.load('i64', row_axes, 8)}, 1")
    row_stride = f.mul(f.load("i64", f.at(row_axes, 32), 8), shape.size)
    few = f.new(f"icmp slt i64 %n, {PACK_A_FROM}")
    deep = even(f, "%k", shape.depth)
    room = rooms.Room(shape, f, "%m", deep, "true")
    packed_a, high = room.address, even(f, "%m", room.rows, shape.rows)
    wide = even(f, "%n", f.new(f"udiv i64 {CHUNK}, {high}"), shape.columns)

    def columns(j: str, n: str, _: list[str]) -> None:
        first = f.add("%j", j)

        def rows(i: str, m: str, _: list[str]) -> None:
            row = f.add("%i", i)
            c = f.at("%c", f.mul(row, ldc))

            def depth(p: str, k: str, _: list[str]) -> None:
                _fill(f, _axes(f, "a_steps"), p, k, False, a_steps)
                _fill(f, _axes(f, "b_steps"), p, k, False, b_steps, second=True)
                plain = f.new(f"and i1 {few}, {single}")
                plain = f.new(f"and i1 {plain}, {_contiguous(shape, f, a_steps, k)}")

                def sliver(r: str, count: str, at: list[str]) -> Sequence[str]:
                    _fill(f, row_axes, f.add(row, r), count, True, lanes)
                    f.do(
                        f"call void @gather.{shape.rows}(ptr %a, ptr {lanes[0]}, ptr {lanes[1]}, "
                        f"ptr {a_steps[0]}, ptr {a_steps[1]}, i64 {k}, ptr {at[0]})"
                    )
                    return [f.at(at[0], f.mul(k, shape.rows * shape.size))]

                def pack() -> None:
                    shape.slivers(f, m, sliver, [("ptr", packed_a)])

                def chosen(kind: str, packed: str, direct: str) -> str:
                    return f.new(f"select i1 {plain}, {kind} {direct}, {kind} {packed}")

                f.when(plain, lambda: None, pack)
                a = f.at("%a", f.mul(row, row_stride), offset_at(f, a_steps[0], 0))
                size = shape.rows * shape.size
                start = chosen("ptr", packed_a, a)
                a_row = chosen("i64", str(shape.size), row_stride)
                a_column = chosen("i64", str(size), str(shape.size))
                between = chosen("i64", f.mul(k, size), "0")
                f.do(
                    f"call void @by.parts(ptr %args, ptr {start}, i64 {a_row}, i64 {a_column}, "
                    f"i64 {between}, ptr %b, ptr {b_steps[0]}, ptr {b_steps[1]}, ptr {c}, "
                    f"i64 {ldc}, i64 {m}, i64 {first}, i64 {n}, i64 {p}, i64 {k})"
                )

            f.parts("%k", deep, depth)

        f.parts("%m", high, rows)

    f.parts("%n", wide, columns)
    room.give_back(f)
    return f.text()


def by_parts(shape: Shape) -> str:
    """Multiply a block of A with columns from `j` on, each part of them with its own terms of B.

    The block's terms begin at `p`; their table has room for the offsets of the columns of A.
    """
    f = FunctionText(
        "define internal void @by.parts(ptr %args, ptr %a, i64 %ar, i64 %ac, i64 %as, ptr %b, "
        "ptr %steps, ptr %runs, ptr %c, i64 %ldc, i64 %m, i64 %j, i64 %n, i64 %p, i64 %k) nounwind"
    )
    some = _scratch_of_both(shape, f), _scratch(f, shape.depth)[1]
    in_order = _scratch_of_both(shape, f)
    window = _word(f, "window_rows"), _word(f, "window_columns")
    stop = f.add("%j", "%n")
    terms.columns_of_a(shape, f, "%k", "%ac", "%steps")
    terms.multiples(f, "%k", shape.columns * shape.size, in_order)
    terms.multiples(f, f.add("%k", 1), 1, f.at(some[1], 8))
    along = f.load("i64", f.at(_axes(f, "b_steps"), 8 * (AXIS_WORDS - 1)), 8)
    unit = f.new(f"icmp eq i64 {along}, 1")

    def part(_: str, values: list[str]) -> Sequence[str]:
        begin, at = values
        own = terms.Part(shape, f, at)
        end = f.add(begin, own.count)
        low, high = f.most("%j", begin), f.least(stop, end)

        def multiply() -> None:
            (steps, runs), found = own.choose("%p", "%k", window, unit, ("%steps", "%runs"), some)
            more = own.has_terms_before("%p", window)
            call = (
                f"call void @slivers(ptr %args, ptr {at}, ptr %a, i64 %ar, i64 %ac, i64 %as, "
                f"ptr {f.at('%b', own.b_start)}, ptr {steps}, ptr {runs}, ptr {in_order}, "
                f"ptr {f.at('%c', own.c_start)}, i64 %ldc, i64 %m, i64 {f.sub(low, begin)}, "
                f"i64 {f.sub(high, low)}, i64 {found}, i1 {more})"
            )
            f.when(f.new(f"icmp sgt i64 {found}, 0"), lambda: f.do(call))

        f.when(f.new(f"icmp slt i64 {low}, {high}"), multiply)
        return [end, f.at(at, terms.PART_BYTES)]

    f.loop(0, _word(f, "parts"), 1, part, [("i64", "0"), ("ptr", _first_part(f))])
    return f.text()


def slivers(shape: Shape) -> str:
    """Multiply a block of A with slivers of B, packed before or read where they lie (`parted`).

    In place are whole slivers of few runs, unless the first cache would not keep them for many
    rows of A, or their rows share lines of it; for few rows or terms these too, where each vector
    is one run. The steps of packed ones are %in.order, which gets the offsets of A. While a sliver
    is worked on, the next one is fetched: the tile looks too few steps ahead for misses of the
    second cache.
    """
    f = FunctionText(
        "define internal void @slivers(ptr %args, ptr %part, ptr %a, i64 %ar, i64 %ac, i64 %as, "
        "ptr %b, ptr %steps, ptr %step.runs, ptr %in.order, ptr %c, i64 %ldc, i64 %m, i64 %j, "
        "i64 %n, i64 %k, i1 %more) nounwind"
    )
    stride = shape.columns * shape.size
    packed = f.new(f"alloca [{(shape.depth + shape.lanes) * stride} x i8], align 64")
    tables = _scratch(f, shape.columns), _scratch(f, shape.columns)
    places = _scratch(f, shape.columns)
    ahead = f.new(f"alloca [{parted.ENDS} x ptr], align 64")
    # tiles take equal shares, rounded up: fewer than twice as many as there are
    heads = f.new(f"alloca [{2 * shape.depth} x i64], align 64")
    columns_axes, places_axes = terms.tables_of_part(f, "%part")
    far = parted.is_far(shape, f, _axes(f, "b_steps"))
    heads, lines = parted.lines(f, "%steps", "%step.runs", "%k", far, heads)
    few, in_place = _in_place(shape, f, lines)
    here, block = (f.new(f"alloca [{parted.WORDS} x i64], align 64") for _ in range(2))
    parted.packed_block(shape, f, packed, block)

    terms.copy_words(
        f, f.at("%steps", 8 * shape.table), f.at("%in.order", 8 * shape.table), "%k"
    )
    _fill(f, columns_axes, "%j", f.least("%n", shape.columns), True, tables[0])

    def sliver(t: str, count: str, values: list[str]) -> Sequence[str]:
        columns, following = (values[0], values[1]), (values[2], values[3])
        first = f.add("%j", t)
        left = f.sub(f.sub("%n", t), count)
        goes_on = f.new(f"icmp sgt i64 {left}, 0")
        fetched = f.new(f"select i1 {goes_on}, i64 {lines}, i64 0")

        def look_ahead() -> None:
            number = f.least(left, shape.columns)
            _fill(f, columns_axes, f.add(first, count), number, True, following)
            parted.store_ends(shape, f, "%b", following[0], number, ahead)

        f.when(goes_on, look_ahead)
        whole = f.new(f"icmp eq i64 {count}, {shape.columns}")
        one_vector = f.new(f"icmp eq i64 {count}, {shape.lanes}")
        filled = f.new(f"or i1 {whole}, {one_vector}")
        single, double = parted.runs_of(shape, f, columns[1], one_vector)
        single = f.new(f"and i1 {single}, {few}")
        masked = f.new(f"and i1 {double}, {in_place}")
        masked = f.new(f"and i1 {masked}, {whole}")
        direct = f.new(f"or i1 {f.new(f'and i1 {single}, {filled}')}, {masked}")
        f.when(
            direct,
            lambda: f.do(
                f"call void @place.block(ptr %b, ptr {columns[0]}, ptr {columns[1]}, ptr {here})"
            ),
            lambda: f.do(
                f"call void @gather.{shape.columns}(ptr %b, ptr {columns[0]}, ptr {columns[1]}, "
                f"ptr %steps, ptr %step.runs, i64 %k, ptr {packed})"
            ),
        )
        _fill(f, places_axes, first, count, True, places)
        b = f.new(f"select i1 {direct}, ptr {here}, ptr {block}")
        steps = f.new(f"select i1 {direct}, ptr %steps, ptr %in.order")
        operands = f"ptr %a, i64 %ar, i64 %ac, i64 %as, ptr {b}, ptr {steps}"

        def together() -> None:
            c = f.at("%c", offset_at(f, places[0], 0))
            f.do(
                f"call void @tiles({operands}, ptr {c}, i64 %ldc, i64 %m, i64 {count}, i64 %k, "
                f"i1 %more, ptr {ahead}, ptr {heads}, i64 {fetched}, i1 {masked})"
            )

        def not_together() -> None:
            f.do(
                f"call void @tiles.apart({operands}, ptr %c, i64 %ldc, ptr {places[0]}, "
                f"ptr {places[1]}, i64 %m, i64 {count}, i64 %k, i1 %more, ptr {ahead}, "
                f"ptr {heads}, i64 {fetched}, i1 {masked})"
            )

        f.when(_contiguous(shape, f, places, count), together, not_together)
        return [*following, *columns]

    f.parts("%n", shape.columns, sliver, [("ptr", x) for table in tables for x in table])
    return f.text()


def _in_place(shape: Shape, f: FunctionText, lines: str) -> tuple[str, str]:
    """Tell whether slivers of one run a vector, and whether others, are read where they lie."""
    few_lines = shape.width == 64 and not shape.large_cache
    fits = f.new(f"icmp sle i64 {lines}, {FEW_LINES}") if few_lines else "false"
    few_rows = PACK_B_FROM if shape.large_cache else FEW_ROWS
    fits = f.new(f"or i1 {fits}, {f.new(f'icmp sle i64 %m, {few_rows}')}")
    spread = parted.is_spread(shape, f, _axes(f, "b_steps"))
    in_place = f.new(f"and i1 {fits}, {spread}")
    few = f.new(f"icmp slt i64 %m, {PACK_B_FROM}")
    few = f.new(f"or i1 {few}, {f.new(f'icmp sle i64 %k, {SHORT_SUM}')}")
    return f.new(f"or i1 {few}, {in_place}"), in_place


def clear_apart(shape: Shape) -> str:
    """Set rows and columns of C, which are one part, to zero: the sum over no k."""
    f = FunctionText(
        "define internal void @clear(ptr %args, ptr %c, i64 %i, i64 %m, i64 %j, i64 %n) nounwind"
    )
    place, axes = _scratch(f, 1), terms.tables_of_part(f, _first_part(f))[1]
    ldc = f.mul(_word(f, "c_row"), shape.size)
    start = f.at("%c", f.mul("%i", ldc))

    def column(j: str, _: list[str]) -> None:
        _fill(f, axes, f.add("%j", j), "1", True, place)

        def row(_: str, at: list[str]) -> Sequence[str]:
            shape.store_one(f, "0.0", at[0])
            return [f.at(at[0], ldc)]

        f.loop(0, "%m", 1, row, [("ptr", f.at(start, offset_at(f, place[0], 0)))])

    f.loop(0, "%n", 1, column)
    return f.text()


def contract(shape: Shape) -> str:
    """Return the entry: some slices of a (batched) product.

    Words: those of HEAD (arrays, sizes, row stride of C, offsets, the window, numbers of batch axes
    and parts); the axes of the three tables (`offsets`); of each batch axis size and strides of a,
    b, c; the parts (`terms`). In elements.
    """
    f = FunctionText("define void @contract(ptr %args, i64 %begin, i64 %end) nounwind")
    w = words(f, HEAD)
    for name in "abc":
        w[name] = f.at(w[name], f.mul(w[f"{name}_start"], shape.size))

    def calls(arrays: Sequence[str], place: Place) -> tuple[str, str]:
        (a, b, c), (i, m, j, n) = arrays, place
        part = f"i64 {i}, i64 {m}, i64 {j}, i64 {n}"
        return (
            f"call void @clear(ptr %args, ptr {c}, {part})",
            f"call void @block(ptr %args, ptr {a}, ptr {b}, ptr {c}, {part}, i64 {w['k']})",
        )

    in_slices(shape, f, (w["m"], w["n"], w["k"]), lambda item: _item(shape, f, w, item), calls)
    return f.text()


def _item(shape: Shape, f: FunctionText, w: dict[str, str], item: str) -> list[str]:
    """Return where an item of the batch begins in all three arrays."""
    top = f.add(w["axes"], -1)

    def axis(t: str, values: list[str]) -> Sequence[str]:
        rest, *places = values
        at = f.at("%args", 8 * BATCH_AT, f.mul(f.sub(top, t), 8 * AXIS_OF_BATCH))
        size, *steps = (f.load("i64", f.at(at, 8 * k), 8) for k in range(AXIS_OF_BATCH))
        whole = f.new(f"udiv i64 {rest}, {size}")
        own = f.mul(f.sub(rest, f.mul(whole, size)), shape.size)
        moved = [f.at(p, f.mul(own, s)) for p, s in zip(places, steps, strict=True)]
        return [whole, *moved]

    carried = [("i64", item), *(("ptr", w[name]) for name in "abc")]
    return f.loop(0, w["axes"], 1, axis, carried)[1:]
