"""Matrix products by the library: how a product is cut, and the kernel that computes pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.loops.grammar import Size

PIECE_WORK = 8_000_000  # a product is cut into pieces of about this many multiply-adds
MAX_PIECES = 8  # for threads
LONGEST_PIECE = 1 << 30  # multiply-adds (some 20 ms): signals are looked at between pieces
SHORTEST_SIDE = 32  # rows or columns of a piece for threads
STOP_SIDE = 256  # the same where a cut is made for signals only


def product_pieces(batch: Sequence[Size], m: Size, n: Size, k: Size) -> tuple[int, int]:
    """Return in how many pieces the rows and the columns of a product are cut.

    The cut depends on the shape only, so that results do not change with the number of threads.
    Large products are cut in both directions: each piece packs its share of both operands.
    """
    if batch or not (isinstance(m, int) and isinstance(n, int) and isinstance(k, int)):
        return 1, 1
    wanted = min(MAX_PIECES, m * n * k // PIECE_WORK, max(m, n) // SHORTEST_SIDE)
    pieces = 1 << (max(1, wanted).bit_length() - 1)
    rows, cols = (pieces, 1) if m >= n else (1, pieces)
    while m * n * k > rows * cols * LONGEST_PIECE:
        height, width = m // rows, n // cols
        if max(height, width) < 2 * STOP_SIDE:
            break
        rows, cols = (2 * rows, cols) if height >= width else (rows, 2 * cols)
    return rows, cols


def product_kernel(dtype: Any, batch_axes: int, row_pieces: int, col_pieces: int) -> str:
    """Return a kernel that calls the library for some pieces of a (batched) product.

    Words: a, b, c, function; m, n, k, row and column strides of a and b, offsets of a, b and c;
    then (size, stride of a, stride of b) per batch axis. C is contiguous. Transposed operands are
    passed with the library's transpose flag, never copied.
    """
    element = "float" if dtype == "float32" else "double"
    lines = ["define internal void @KERNEL(ptr %args, i64 %begin, i64 %end) nounwind {", "entry:"]
    lines += _load_words(batch_axes)
    lines += _layout("a", "m", "k", "ar", "ac", element)
    lines += _layout("b", "k", "n", "br", "bc", element)
    lines += _part("m", row_pieces) + _part("n", col_pieces)
    pieces = row_pieces * col_pieces
    lines += [
        "  %mn = mul i64 %m, %n",
        "  %n.one = icmp slt i64 %n, 1",
        "  %ldc0 = select i1 %n.one, i64 1, i64 %n",
        "  %ldc = trunc i64 %ldc0 to i32",
        "  %k32 = trunc i64 %k to i32",
        "  %some = icmp slt i64 %begin, %end",
        "  br i1 %some, label %loop, label %done",
        "loop:",
        "  %u = phi i64 [ %begin, %entry ], [ %next, %after ]",
        f"  %piece = srem i64 %u, {pieces}",
        f"  %item = sdiv i64 %u, {pieces}",
        f"  %m.piece = sdiv i64 %piece, {col_pieces}",
        f"  %n.piece = srem i64 %piece, {col_pieces}",
    ]
    lines += _range("m") + _range("n")
    batch, a_at, b_at = _batch_offsets(batch_axes)
    lines += batch
    lines += [
        "  %a.shift = mul i64 %m.first, %ar",
        f"  %a.from = add i64 {a_at}, %a.shift",
        f"  %a.now = getelementptr {element}, ptr %a.base, i64 %a.from",
        "  %b.shift = mul i64 %n.first, %bc",
        f"  %b.from = add i64 {b_at}, %b.shift",
        f"  %b.now = getelementptr {element}, ptr %b.base, i64 %b.from",
        "  %c.item = mul i64 %item, %mn",
        "  %c.row = mul i64 %m.first, %n",
        "  %c.rows = add i64 %c.item, %c.row",
        "  %c.cols = add i64 %c.rows, %n.first",
        "  %c.at = add i64 %c.cols, %co",
        f"  %c.now = getelementptr {element}, ptr %c, i64 %c.at",
        "  %none = or i1 %m.none, %n.none",
        "  br i1 %none, label %after, label %call",
        "call:",
        "  call void %f(i32 101, i32 %a.flag, i32 %b.flag, i32 %m.count32, i32 %n.count32, "
        f"i32 %k32, {element} 1.0, ptr %a.now, i32 %a.ld, ptr %b.now, i32 %b.ld, {element} 0.0, "
        "ptr %c.now, i32 %ldc)",
        "  br label %after",
        "after:",
        "  %next = add i64 %u, 1",
        "  %again = icmp slt i64 %next, %end",
        "  br i1 %again, label %loop, label %done",
        "done:",
        "  ret void",
        "}",
        "",
    ]
    return "\n".join(lines)


def _load_words(batch_axes: int) -> list[str]:
    names = ["a", "b", "c", "f", "m", "n", "k", "ar", "ac", "br", "bc", "ao", "bo", "co"]
    for t in range(batch_axes):
        names += [f"s{t}", f"sa{t}", f"sb{t}"]
    lines = []
    for i, name in enumerate(names):
        kind = "ptr" if i < 4 else "i64"
        lines.append(f"  %p.{name} = getelementptr i64, ptr %args, i64 {i}")
        lines.append(f"  %{name} = load {kind}, ptr %p.{name}, align 8")
    return lines


def _layout(x: str, rows: str, cols: str, r: str, c: str, element: str) -> list[str]:
    """Return transpose flag and leading dimension of an operand with strides `r` and `c`.

    A unit column stride is the plain layout; otherwise rows are contiguous: transposed.
    """
    return [
        f"  %{x}.unit = icmp eq i64 %{c}, 1",
        f"  %{x}.one = icmp sle i64 %{cols}, 1",
        f"  %{x}.rowunit = icmp eq i64 %{r}, 1",
        f"  %{x}.col = xor i1 %{x}.rowunit, true",
        f"  %{x}.either = and i1 %{x}.one, %{x}.col",
        f"  %{x}.plain = or i1 %{x}.unit, %{x}.either",
        f"  %{x}.flag = select i1 %{x}.plain, i32 111, i32 112",
        f"  %{x}.ld0 = select i1 %{x}.plain, i64 %{r}, i64 %{c}",
        f"  %{x}.least = select i1 %{x}.plain, i64 %{cols}, i64 %{rows}",
        f"  %{x}.small = icmp slt i64 %{x}.ld0, %{x}.least",
        f"  %{x}.ld1 = select i1 %{x}.small, i64 %{x}.least, i64 %{x}.ld0",
        f"  %{x}.zero = icmp slt i64 %{x}.ld1, 1",
        f"  %{x}.ld2 = select i1 %{x}.zero, i64 1, i64 %{x}.ld1",
        f"  %{x}.ld = trunc i64 %{x}.ld2 to i32",
        f"  %{x}.base = getelementptr {element}, ptr %{x}, i64 %{x}o",
    ]


def _part(length: str, pieces: int) -> list[str]:
    return [
        f"  %{length}.whole = add i64 %{length}, {pieces - 1}",
        f"  %{length}.part = sdiv i64 %{length}.whole, {pieces}",
    ]


def _range(length: str) -> list[str]:
    """Return where the present piece begins and how long it is; the last ones may be empty."""
    return [
        f"  %{length}.first = mul i64 %{length}.piece, %{length}.part",
        f"  %{length}.left = sub i64 %{length}, %{length}.first",
        f"  %{length}.more = icmp slt i64 %{length}.part, %{length}.left",
        f"  %{length}.count = select i1 %{length}.more, i64 %{length}.part, i64 %{length}.left",
        f"  %{length}.count32 = trunc i64 %{length}.count to i32",
        f"  %{length}.none = icmp slt i64 %{length}.count, 1",
    ]


def _batch_offsets(batch_axes: int) -> tuple[list[str], str, str]:
    """Return the lines that place item `%item` of the batch in both operands, and the places."""
    lines: list[str] = []
    rest, a_at, b_at = "%item", "0", "0"
    for t in reversed(range(batch_axes)):
        lines += [
            f"  %i{t} = srem i64 {rest}, %s{t}",
            f"  %q{t} = sdiv i64 {rest}, %s{t}",
            f"  %ia{t} = mul i64 %i{t}, %sa{t}",
            f"  %ib{t} = mul i64 %i{t}, %sb{t}",
            f"  %xa{t} = add i64 {a_at}, %ia{t}",
            f"  %xb{t} = add i64 {b_at}, %ib{t}",
        ]
        rest, a_at, b_at = f"%q{t}", f"%xa{t}", f"%xb{t}"
    return lines, a_at, b_at
