"""The kernel that ranks rows of unsigned keys: stable, insertion for short rows, else radix.

A radix pass moves keys with their positions by one byte of the key; all histograms of a row are
taken in one reading, and a byte that all keys share costs no pass.
"""

from __future__ import annotations

from string import Template
from typing import Any

SHORT_ROW = 40  # up to this length, insertion is faster than clearing and adding up histograms
RADIX = 256


def argsort_kernel(key: Any) -> str:
    """Return the kernel for `uint32` or `uint64` keys.

    Words: out (int64), keys, spare keys, two rows of int32 positions; row length, offset of out.
    A unit is one row.
    """
    bits = key.bits
    passes = bits // 8
    texts = [_HEAD, _INSERTION, _count(bits, passes)]
    texts += [_pass(bits, b) for b in range(passes)]
    return Template("".join([*texts, _TAIL])).substitute(
        KEY=f"i{bits}", BYTES=bits // 8, SHORT=SHORT_ROW, TABLES=passes * RADIX, RADIX=RADIX,
        LAST=passes, RESULT=_sources(passes),
    )  # fmt: skip


_HEAD = """\
define internal void @KERNEL(ptr %args, i64 %begin, i64 %end) nounwind {
entry:
  %counts = alloca [$TABLES x i32], align 64
  %out = load ptr, ptr %args, align 8
  %p1 = getelementptr i64, ptr %args, i64 1
  %keys = load ptr, ptr %p1, align 8
  %p2 = getelementptr i64, ptr %args, i64 2
  %spare = load ptr, ptr %p2, align 8
  %p3 = getelementptr i64, ptr %args, i64 3
  %order = load ptr, ptr %p3, align 8
  %p4 = getelementptr i64, ptr %args, i64 4
  %n = load i64, ptr %p4, align 8
  %p5 = getelementptr i64, ptr %args, i64 5
  %start = load i64, ptr %p5, align 8
  %short = icmp sle i64 %n, $SHORT
  %any = icmp sgt i64 %n, 0
  %some = icmp slt i64 %begin, %end
  %work = and i1 %any, %some
  br i1 %work, label %row, label %done
row:
  %r = phi i64 [ %begin, %entry ], [ %r.next, %after ]
  %first = mul i64 %r, %n
  %first.out = add i64 %first, %start
  %first.order = mul i64 %first, 2
  %o = getelementptr i64, ptr %out, i64 %first.out
  %k0 = getelementptr $KEY, ptr %keys, i64 %first
  %k1 = getelementptr $KEY, ptr %spare, i64 %first
  %i0 = getelementptr i32, ptr %order, i64 %first.order
  %i1 = getelementptr i32, ptr %i0, i64 %n
  br i1 %short, label %insert, label %clear
"""

_INSERTION = """\
insert:
  %j = phi i64 [ 0, %row ], [ %j.next, %placed ]
  %j.at = getelementptr $KEY, ptr %k0, i64 %j
  %j.key = load $KEY, ptr %j.at, align $BYTES
  br label %seek
seek:
  %p = phi i64 [ %j, %insert ], [ %p.down, %shift ]
  %p.some = icmp sgt i64 %p, 0
  br i1 %p.some, label %look, label %placed
look:
  %p.down = sub i64 %p, 1
  %q.at = getelementptr $KEY, ptr %k0, i64 %p.down
  %q.key = load $KEY, ptr %q.at, align $BYTES
  %larger = icmp ugt $KEY %q.key, %j.key
  br i1 %larger, label %shift, label %placed
shift:
  %p.at = getelementptr $KEY, ptr %k0, i64 %p
  store $KEY %q.key, ptr %p.at, align $BYTES
  %qo.at = getelementptr i64, ptr %o, i64 %p.down
  %qo = load i64, ptr %qo.at, align 8
  %po.at = getelementptr i64, ptr %o, i64 %p
  store i64 %qo, ptr %po.at, align 8
  br label %seek
placed:
  %f.at = getelementptr $KEY, ptr %k0, i64 %p
  store $KEY %j.key, ptr %f.at, align $BYTES
  %fo.at = getelementptr i64, ptr %o, i64 %p
  store i64 %j, ptr %fo.at, align 8
  %j.next = add i64 %j, 1
  %j.more = icmp slt i64 %j.next, %n
  br i1 %j.more, label %insert, label %after
clear:
  %c = phi i64 [ 0, %row ], [ %c.next, %clear ]
  %c.at = getelementptr i32, ptr %counts, i64 %c
  store <8 x i32> zeroinitializer, ptr %c.at, align 32
  %c.next = add i64 %c, 8
  %c.more = icmp slt i64 %c.next, $TABLES
  br i1 %c.more, label %clear, label %count
"""

_COUNT_HEAD = """\
count:
  %h = phi i64 [ 0, %clear ], [ %h.next, %count ]
  %h.at = getelementptr $KEY, ptr %k0, i64 %h
  %h.key = load $KEY, ptr %h.at, align $BYTES
  %h.pos = getelementptr i32, ptr %i0, i64 %h
  %h.32 = trunc i64 %h to i32
  store i32 %h.32, ptr %h.pos, align 4
"""
_COUNT_TAIL = """\
  %h.next = add i64 %h, 1
  %h.more = icmp slt i64 %h.next, %n
  br i1 %h.more, label %count, label %pass0
"""


def _digit(name: str, key: str, bits: int, byte: int) -> str:
    """Return the lines that leave one byte of a key in `name` as an i64."""
    wide = f"  {name}.w = zext i32 {key} to i64\n" if bits == 32 else ""
    source = f"{name}.w" if bits == 32 else key
    return wide + (
        f"  {name}.s = lshr i64 {source}, {8 * byte}\n  {name} = and i64 {name}.s, {RADIX - 1}\n"
    )


def _count(bits: int, passes: int) -> str:
    """Return the loop that counts every byte of every key of a row."""
    lines = _COUNT_HEAD
    for b in range(passes):
        lines += _digit(f"%h{b}", "%h.key", bits, b)
        lines += f"""\
  %h{b}.slot = add i64 %h{b}, {b * RADIX}
  %h{b}.at = getelementptr i32, ptr %counts, i64 %h{b}.slot
  %h{b}.old = load i32, ptr %h{b}.at, align 4
  %h{b}.new = add i32 %h{b}.old, 1
  store i32 %h{b}.new, ptr %h{b}.at, align 4
"""
    return lines + _COUNT_TAIL


_PASS = """\
pass$B:
$SOURCES
  %key$B = load $KEY, ptr %ks$B, align $BYTES
$FIRST  %slot$B = add i64 %first$B, $OFFSET
  %one$B = getelementptr i32, ptr %counts, i64 %slot$B
  %same$B = load i32, ptr %one$B, align 4
  %same$B.w = zext i32 %same$B to i64
  %all$B = icmp eq i64 %same$B.w, %n
  br i1 %all$B, label %skip$B, label %sum$B
sum$B:
  %t$B = phi i64 [ 0, %pass$B ], [ %t$B.next, %sum$B ]
  %total$B = phi i32 [ 0, %pass$B ], [ %total$B.next, %sum$B ]
  %t$B.slot = add i64 %t$B, $OFFSET
  %t$B.at = getelementptr i32, ptr %counts, i64 %t$B.slot
  %t$B.old = load i32, ptr %t$B.at, align 4
  store i32 %total$B, ptr %t$B.at, align 4
  %total$B.next = add i32 %total$B, %t$B.old
  %t$B.next = add i64 %t$B, 1
  %t$B.more = icmp slt i64 %t$B.next, $RADIX
  br i1 %t$B.more, label %sum$B, label %move$B
move$B:
  %m$B = phi i64 [ 0, %sum$B ], [ %m$B.next, %move$B ]
  %m$B.at = getelementptr $KEY, ptr %ks$B, i64 %m$B
  %m$B.key = load $KEY, ptr %m$B.at, align $BYTES
  %m$B.pos = getelementptr i32, ptr %is$B, i64 %m$B
  %m$B.i = load i32, ptr %m$B.pos, align 4
$MOVE  %d$B.slot = add i64 %d$B, $OFFSET
  %d$B.at = getelementptr i32, ptr %counts, i64 %d$B.slot
  %d$B.to = load i32, ptr %d$B.at, align 4
  %d$B.new = add i32 %d$B.to, 1
  store i32 %d$B.new, ptr %d$B.at, align 4
  %d$B.wide = zext i32 %d$B.to to i64
  %w$B.at = getelementptr $KEY, ptr %kd$B, i64 %d$B.wide
  store $KEY %m$B.key, ptr %w$B.at, align $BYTES
  %w$B.pos = getelementptr i32, ptr %id$B, i64 %d$B.wide
  store i32 %m$B.i, ptr %w$B.pos, align 4
  %m$B.next = add i64 %m$B, 1
  %m$B.more = icmp slt i64 %m$B.next, %n
  br i1 %m$B.more, label %move$B, label %pass$NEXT
skip$B:
  br label %pass$NEXT
"""


def _pass(bits: int, b: int) -> str:
    """Return one pass over byte `b`: from the keys and positions `ks`, `is` to `kd`, `id`."""
    fields = {
        "B": b, "NEXT": b + 1, "OFFSET": b * RADIX, "SOURCES": _sources(b),
        "FIRST": _digit(f"%first{b}", f"%key{b}", bits, b),
        "MOVE": _digit(f"%d{b}", f"%m{b}.key", bits, b),
    }  # fmt: skip
    return Template(_PASS).safe_substitute(fields)


def _sources(b: int) -> str:
    """Return where a pass reads and writes: source and target changed places if keys moved."""
    if b == 0:
        names = zip(("ks", "kd", "is", "id"), ("k0", "k1", "i0", "i1"), strict=True)
        return "\n".join(f"  %{x}0 = phi ptr [ %{first}, %count ]" for x, first in names)
    a, pairs = b - 1, (("ks", "kd"), ("kd", "ks"), ("is", "id"), ("id", "is"))
    return "\n".join(
        f"  %{x}{b} = phi ptr [ %{y}{a}, %move{a} ], [ %{x}{a}, %skip{a} ]" for x, y in pairs
    )


_TAIL = """\
pass$LAST:
$RESULT
  br label %copy
copy:
  %y = phi i64 [ 0, %pass$LAST ], [ %y.next, %copy ]
  %y.from = getelementptr i32, ptr %is$LAST, i64 %y
  %y.i = load i32, ptr %y.from, align 4
  %y.wide = zext i32 %y.i to i64
  %y.to = getelementptr i64, ptr %o, i64 %y
  store i64 %y.wide, ptr %y.to, align 8
  %y.next = add i64 %y, 1
  %y.more = icmp slt i64 %y.next, %n
  br i1 %y.more, label %copy, label %after
after:
  %r.next = add i64 %r, 1
  %again = icmp slt i64 %r.next, %end
  br i1 %again, label %row, label %done
done:
  ret void
}
"""
