"""The kernel that finds the first few of the order of each row of unsigned keys.

The best keys so far are kept in order; a key that is no better than the last of them, as most are,
costs one comparison.
"""

from __future__ import annotations

from string import Template
from typing import Any


def leading_kernel(key: Any) -> str:
    """Return the kernel for `uint32` or `uint64` keys.

    Words: out (int64), keys, kept keys; row length, offset of out, how many are wanted (at least 1,
    at most the row length). A unit is one row.
    """
    return Template(_TEXT).substitute(KEY=f"i{key.bits}", BYTES=key.bits // 8)


_TEXT = """\
define internal void @KERNEL(ptr %args, i64 %begin, i64 %end) nounwind {
entry:
  %out = load ptr, ptr %args, align 8
  %p1 = getelementptr i64, ptr %args, i64 1
  %keys = load ptr, ptr %p1, align 8
  %p2 = getelementptr i64, ptr %args, i64 2
  %kept = load ptr, ptr %p2, align 8
  %p3 = getelementptr i64, ptr %args, i64 3
  %n = load i64, ptr %p3, align 8
  %p4 = getelementptr i64, ptr %args, i64 4
  %start = load i64, ptr %p4, align 8
  %p5 = getelementptr i64, ptr %args, i64 5
  %want = load i64, ptr %p5, align 8
  %lowest = sub i64 %want, 1
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %row, label %done
row:
  %r = phi i64 [ %begin, %entry ], [ %r.next, %after ]
  %first = mul i64 %r, %n
  %place = mul i64 %r, %want
  %place.out = add i64 %place, %start
  %k = getelementptr $KEY, ptr %keys, i64 %first
  %l = getelementptr $KEY, ptr %kept, i64 %place
  %o = getelementptr i64, ptr %out, i64 %place.out
  %last.at = getelementptr $KEY, ptr %l, i64 %lowest
  br label %next
next:
  %j = phi i64 [ 0, %row ], [ %j.next, %taken ]
  %j.at = getelementptr $KEY, ptr %k, i64 %j
  %key = load $KEY, ptr %j.at, align $BYTES
  %full = icmp sge i64 %j, %want
  br i1 %full, label %compare, label %seek
compare:
  %last = load $KEY, ptr %last.at, align $BYTES
  %better = icmp ult $KEY %key, %last
  br i1 %better, label %seek, label %taken
seek:
  %p = phi i64 [ %j, %next ], [ %lowest, %compare ], [ %p.down, %shift ]
  %p.some = icmp sgt i64 %p, 0
  br i1 %p.some, label %look, label %put
look:
  %p.down = sub i64 %p, 1
  %q.at = getelementptr $KEY, ptr %l, i64 %p.down
  %q = load $KEY, ptr %q.at, align $BYTES
  %larger = icmp ugt $KEY %q, %key
  br i1 %larger, label %shift, label %put
shift:
  %s.at = getelementptr $KEY, ptr %l, i64 %p
  store $KEY %q, ptr %s.at, align $BYTES
  %qo.at = getelementptr i64, ptr %o, i64 %p.down
  %qo = load i64, ptr %qo.at, align 8
  %so.at = getelementptr i64, ptr %o, i64 %p
  store i64 %qo, ptr %so.at, align 8
  br label %seek
put:
  %f.at = getelementptr $KEY, ptr %l, i64 %p
  store $KEY %key, ptr %f.at, align $BYTES
  %fo.at = getelementptr i64, ptr %o, i64 %p
  store i64 %j, ptr %fo.at, align 8
  br label %taken
taken:
  %j.next = add i64 %j, 1
  %j.more = icmp slt i64 %j.next, %n
  br i1 %j.more, label %next, label %after
after:
  %r.next = add i64 %r, 1
  %again = icmp slt i64 %r.next, %end
  br i1 %again, label %row, label %done
done:
  ret void
}
"""
