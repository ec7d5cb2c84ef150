"""The kernel of Fourier transforms: all passes over one row while it is in the cache.

A unit is one row, or (`inner` > 1) a block of neighbouring columns. The passes are Stockham's, see
ops/dft.py: before a pass of radix r the numbers lie as (r, m, s), after it as (m, r, s). They lie
in two scratch arrays, real parts apart from imaginary ones; the first pass reads pairs and the last
one stores pairs. Vectors run along s (over columns, over results of earlier passes), in the first
pass over a row along m, where the r results of each place are brought together by shuffles.

A row of 2 n real numbers is one of n pairs (even elements, odd ones): its transform comes apart by
symmetry after the passes, and the inverse one is put together before them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from symgraph.core.butterfly import butterfly, passes

STRIP = 256  # bytes of pairs side by side in a block of columns: whole cache lines
SCRATCH = 1 << 19  # bytes of the scratch arrays of a unit; they lie on the stack


def block(n: int, inner: int, itemsize: int) -> int:
    """Return how many columns a unit has: as many as fit into a strip and into the scratch."""
    if inner == 1:
        return 1
    room = max(1, SCRATCH // (4 * n * itemsize))
    most = min(STRIP // (2 * itemsize), room, inner)
    return 1 << (most.bit_length() - 1)


class _Vector:
    """A register; arithmetic on it appends instructions."""

    def __init__(self, text: _Text, name: str, lanes: int) -> None:
        self.text, self.name, self.lanes = text, name, lanes

    def _with(self, word: str, other: Any, swap: bool = False) -> _Vector:
        if not isinstance(other, _Vector):
            if word in ("fadd", "fsub") and other == 0 and not (swap and word == "fsub"):
                return self
            if word == "fmul" and other == 1:
                return self
            other = self.text.constant(float(other), self.lanes)
        a, b = (other, self) if swap else (self, other)
        kind = self.text.kind(self.lanes)
        return self.text.value(f"{word} contract {kind} {a.name}, {b.name}", self.lanes)

    def __add__(self, other: Any) -> _Vector:
        return self._with("fadd", other)

    def __sub__(self, other: Any) -> _Vector:
        return self._with("fsub", other)

    def __mul__(self, other: Any) -> _Vector:
        return self._with("fmul", other)

    def __radd__(self, other: Any) -> _Vector:
        return self._with("fadd", other, True)

    def __rsub__(self, other: Any) -> _Vector:
        return self._with("fsub", other, True)

    def __rmul__(self, other: Any) -> _Vector:
        return self._with("fmul", other, True)

    def __neg__(self) -> _Vector:
        return self.text.value(f"fneg {self.text.kind(self.lanes)} {self.name}", self.lanes)


class _Text:
    """Lines of a kernel, and the pieces that they are made of."""

    def __init__(self, single: bool) -> None:
        self.element = "float" if single else "double"
        self.size = 4 if single else 8
        self.lines: list[str] = []
        self.label = "entry"
        self._count = 0

    def kind(self, lanes: int) -> str:
        return f"<{lanes} x {self.element}>"

    def new(self, instruction: str) -> str:
        self._count += 1
        self.lines.append(f"  %v{self._count} = {instruction}")
        return f"%v{self._count}"

    def value(self, instruction: str, lanes: int) -> _Vector:
        return _Vector(self, self.new(instruction), lanes)

    def constant(self, number: float, lanes: int) -> _Vector:
        if self.size == 4:
            number = float(np.float32(number))
        bits = f"0x{np.float64(number).view(np.uint64):016X}"
        each = ", ".join([f"{self.element} {bits}"] * lanes)
        return _Vector(self, f"<{each}>", lanes)

    def at(self, base: str, place: str) -> str:
        return self.new(f"getelementptr {self.element}, ptr {base}, i64 {place}")

    def add(self, a: str, b: str | int) -> str:
        return a if str(b) == "0" else self.new(f"add i64 {a}, {b}")

    def mul(self, a: str, b: int) -> str:
        return a if b == 1 else self.new(f"mul i64 {a}, {b}")

    def load(self, base: str, place: str, lanes: int) -> _Vector:
        address = self.at(base, place)
        return self.value(f"load {self.kind(lanes)}, ptr {address}, align {self.size}", lanes)

    def store(self, v: _Vector, base: str, place: str) -> None:
        address = self.at(base, place)
        self.lines.append(
            f"  store {self.kind(v.lanes)} {v.name}, ptr {address}, align {self.size}"
        )

    def spread(self, base: str, place: str, lanes: int) -> _Vector:
        """Return one number in all lanes."""
        one = self.new(f"load {self.element}, ptr {self.at(base, place)}, align {self.size}")
        kind = self.kind(lanes)
        first = self.new(f"insertelement {kind} poison, {self.element} {one}, i32 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.value(f"shufflevector {kind} {first}, {kind} poison, {zeros}", lanes)

    def shuffle(self, a: _Vector, b: _Vector, places: Sequence[int]) -> _Vector:
        kind = self.kind(a.lanes)
        mask = ", ".join(f"i32 {k}" for k in places)
        text = f"shufflevector {kind} {a.name}, {kind} {b.name}, <{len(places)} x i32> <{mask}>"
        return self.value(text, len(places))

    def zipped(self, a: _Vector, b: _Vector) -> tuple[_Vector, _Vector]:
        """Return the elements of both in turns, in two registers."""
        n = a.lanes
        order = [k // 2 + (k % 2) * n for k in range(2 * n)]
        return self.shuffle(a, b, order[:n]), self.shuffle(a, b, order[n:])

    def interleaved(self, vectors: Sequence[_Vector]) -> list[_Vector]:
        """Return the elements of 2^k registers in turns: a shuffle network of k stages."""
        found, half = list(vectors), len(vectors) // 2
        for _ in range(len(vectors).bit_length() - 1):
            found = [v for a, b in zip(found[:half], found[half:], strict=True)
                     for v in self.zipped(a, b)]  # fmt: skip
        return found

    def turned(self, v: _Vector) -> _Vector:
        """Return the elements in the opposite order."""
        return self.shuffle(v, v, range(v.lanes - 1, -1, -1))

    def load_pairs(self, base: str, place: str, lanes: int) -> tuple[_Vector, _Vector]:
        first = self.load(base, place, lanes)
        second = self.load(base, self.add(place, lanes), lanes)
        even, odd = (self.shuffle(first, second, range(k, 2 * lanes, 2)) for k in (0, 1))
        return even, odd

    def store_pairs(self, z: tuple[_Vector, _Vector], base: str, place: str) -> None:
        first, second = self.zipped(*z)
        self.store(first, base, place)
        self.store(second, base, self.add(place, first.lanes))

    def loop(self, count: int, body: Callable[[str], None]) -> None:
        """Repeat `body(i)` for i = 0 .. count - 1."""
        if count == 1:
            body("0")
            return
        self._count += 1
        head, i, before = f"loop{self._count}", f"%i{self._count}", self.label
        self.lines += [f"  br label %{head}", f"{head}:"]
        place = len(self.lines)
        self.lines.append("")
        self.label = head
        body(i)
        after = self.new(f"add nuw nsw i64 {i}, 1")
        more = self.new(f"icmp ult i64 {after}, {count}")
        self.lines[place] = f"  {i} = phi i64 [ 0, %{before} ], [ {after}, %{self.label} ]"
        self._count += 1
        self.lines += [f"  br i1 {more}, label %{head}, label %past{self._count}",
                       f"past{self._count}:"]
        self.label = f"past{self._count}"

    def steps(self, length: int, lanes: int, body: Callable[[str], None]) -> None:
        """Repeat `body(place)` for vectors that cover a length; the last may overlap the others."""
        count = -(-length // lanes)

        def one(i: str) -> None:
            place = self.mul(i, lanes)
            if length % lanes and count > 1:
                last = length - lanes
                late = self.new(f"icmp ugt i64 {place}, {last}")
                place = self.new(f"select i1 {late}, i64 {last}, i64 {place}")
            body(place)

        self.loop(count, one)


def _lanes(length: int, most: int) -> int:
    return min(most, 1 << (length.bit_length() - 1))


class _Rows:
    """Emits the passes; `columns` numbers lie side by side in every place."""

    def __init__(self, single: bool, n: int, radixes: Sequence[int], sign: int, scale: float,
                 lanes: int, columns: int, stride: int, real: bool) -> None:  # fmt: skip
        self.text = _Text(single)
        self.n, self.sign, self.scale, self.real = n, sign, scale, real
        self.lanes, self.columns, self.stride = lanes, columns, stride
        self.passes = passes(n, radixes)

    def emit(self) -> None:
        """Append the passes over the unit at %from, whose results belong at %to."""
        table = 0
        if self.real and self.sign > 0:
            self._joined(2 * sum((r - 1) * m for r, m, _ in self.passes[:-1]))
        for k, (r, m, s) in enumerate(self.passes):
            last = k == len(self.passes) - 1
            target, source = (("%a", "%b") if k % 2 == 0 else ("%b", "%a"))
            if k == 0 and self.columns == 1:
                self._first(r, m, target)
            else:
                self._later(k == 0, last, (r, m, s), source, target, table)
            table += 0 if last else 2 * (r - 1) * m
        if self.real and self.sign < 0:
            self._taken_apart(target, table)

    def _mirrored(self, k: str, lanes: int) -> str:
        """Return the place whose vector, turned around, has the numbers n - k, n - k - 1 ..."""
        return self.text.new(f"sub i64 {self.n - lanes + 1}, {k}")

    def _rotation(self, k: str, table: int, lanes: int) -> list[_Vector]:
        t = self.text
        return [t.load("%table", t.add(k, table + c * (self.n + 1)), lanes) for c in (0, 1)]

    def _taken_apart(self, source: str, table: int) -> None:
        """Store n + 1 results of 2 n real numbers; the scale of the first pass has the half."""
        t, lanes = self.text, self.lanes
        parts = self._parts(source)
        for base in parts:  # number n is number 0
            one = t.new(f"load {t.element}, ptr {base}, align {t.size}")
            t.lines.append(f"  store {t.element} {one}, ptr {t.at(base, str(self.n))}")

        def vector(k: str) -> None:
            place = self._mirrored(k, lanes)
            (a, b), (c, d) = (
                (t.load(base, k, lanes), t.turned(t.load(base, place, lanes))) for base in parts
            )
            turned = _product((c + d, b - a), self._rotation(k, table, lanes))
            t.store_pairs((a + b + turned[0], c - d + turned[1]), "%to", t.mul(k, 2))

        t.steps(self.n + 1, lanes, vector)

    def _joined(self, table: int) -> None:
        """Put the transforms of even and odd elements together from n + 1 results."""
        t, lanes = self.text, self.lanes
        parts = self._parts("%b")

        def vector(k: str) -> None:
            place = self._mirrored(k, lanes)
            a, c = t.load_pairs("%from", t.mul(k, 2), lanes)
            b, d = (t.turned(v) for v in t.load_pairs("%from", t.mul(place, 2), lanes))
            turned = _product((a - b, c + d), self._rotation(k, table, lanes))
            t.store(a + b - turned[1], parts[0], k)
            t.store(c - d + turned[0], parts[1], k)

        t.steps(self.n, lanes, vector)
        ends = [t.new(f"load {t.element}, ptr {t.at('%from', place)}, align {t.size}")
                for place in ("0", str(2 * self.n))]  # fmt: skip
        # number 0 anew: the imaginary parts of both ends do not count
        for word, base in zip(("fadd", "fsub"), parts, strict=True):
            value = t.new(f"{word} {t.element} {ends[0]}, {ends[1]}")
            t.lines.append(f"  store {t.element} {value}, ptr {base}, align {t.size}")

    def _parts(self, scratch: str) -> tuple[str, str]:
        return scratch, f"{scratch}.im"

    def _scaled(self, z: tuple[_Vector, _Vector]) -> tuple[_Vector, _Vector]:
        return z[0] * self.scale, z[1] * self.scale

    def _first(self, r: int, m: int, target: str) -> None:
        t, lanes = self.text, _lanes(m, self.lanes)

        def vector(p: str) -> None:
            twice = t.mul(p, 2)
            if self.real and self.sign > 0:
                places = [t.add(p, i * m) for i in range(r)]
                legs = [(t.load("%b", at, lanes), t.load("%b.im", at, lanes)) for at in places]
            else:
                legs = [t.load_pairs("%from", t.add(twice, 2 * i * m), lanes) for i in range(r)]
            sums = butterfly([self._scaled(z) for z in legs], self.sign)
            turned = sums[:1]
            for k in range(1, r):
                w = [t.load("%table", t.add(p, (c * (r - 1) + k - 1) * m), lanes) for c in (0, 1)]
                turned.append(_product(sums[k], w))
            place = t.mul(p, r)
            for base, c in zip(self._parts(target), (0, 1), strict=True):
                for j, v in enumerate(t.interleaved([z[c] for z in turned])):
                    t.store(v, base, t.add(place, j * lanes))

        t.steps(m, lanes, vector)

    def _later(self, first: bool, last: bool, sizes: tuple[int, int, int], source: str,
               target: str, table: int) -> None:  # fmt: skip
        t, (r, m, s) = self.text, sizes
        width = s * self.columns
        run = self.columns if first or (last and self.columns > 1) else width
        lanes = _lanes(run, self.lanes)

        def place(p: str) -> None:
            factors = [] if last else [
                [t.spread("%table", t.add(p, table + (c * (r - 1) + k - 1) * m), lanes)
                 for c in (0, 1)] for k in range(1, r)
            ]  # fmt: skip

            def vector(q: str, d: str = "0") -> None:
                legs = [self._leg(first, (r, m, width), source, i, p, q, lanes) for i in range(r)]
                sums = butterfly(legs, self.sign)
                if last:
                    for k in range(r):
                        self._result(sums[k], k * s, d, q, target)
                    return
                turned = [sums[0], *map(_product, sums[1:], factors)]
                at = t.add(t.mul(p, r * width), 0) if q == "0" else t.new(
                    f"add i64 {t.mul(p, r * width)}, {q}")
                for k in range(r):
                    for base, v in zip(self._parts(target), turned[k], strict=True):
                        t.store(v, base, t.add(at, k * width))

            if last and self.columns > 1:
                t.loop(s, lambda d: t.steps(self.columns, lanes, lambda c: vector(
                    t.new(f"add i64 {t.mul(d, self.columns)}, {c}"), d)))
            else:
                t.steps(run, lanes, vector)

        t.loop(m, place)

    def _leg(self, first: bool, sizes: tuple[int, int, int], source: str, i: int, p: str, q: str,
             lanes: int) -> tuple[_Vector, _Vector]:  # fmt: skip
        t, (_, m, width) = self.text, sizes
        if first:
            row = t.add(p, i * m)
            at = t.new(f"add i64 {t.mul(row, self.stride)}, {t.mul(q, 2)}")
            return self._scaled(t.load_pairs("%from", at, lanes))
        at = t.new(f"add i64 {t.mul(p, width)}, {q}")
        parts = [t.load(base, t.add(at, i * m * width), lanes) for base in self._parts(source)]
        return parts[0], parts[1]

    def _result(self, z: tuple[_Vector, _Vector], row: int, d: str, q: str, target: str) -> None:
        """Store results of the last pass: q is a place of a row, or of a block of columns."""
        t = self.text
        if self.real and self.sign < 0:
            for base, v in zip(self._parts(target), z, strict=True):
                t.store(v, base, t.add(q, row))
            return
        if self.columns == 1:
            t.store_pairs(z, "%to", t.mul(t.add(q, row), 2))
            return
        column = t.new(f"sub i64 {q}, {t.mul(d, self.columns)}")
        at = t.new(f"add i64 {t.mul(t.add(d, row), self.stride)}, {t.mul(column, 2)}")
        t.store_pairs(z, "%to", at)


def _product(z: tuple[_Vector, _Vector], w: Sequence[_Vector]) -> tuple[_Vector, _Vector]:
    return z[0] * w[0] - z[1] * w[1], z[0] * w[1] + z[1] * w[0]


def dft_kernel(dtype: Any, options: tuple[Any, ...], vector_bytes: int) -> str:
    """Return the kernel for transforms of length n = the product of the radixes.

    dtype: float32 or float64; options: (sign, scale, radixes, inner, real). Arrays are
    (outer, n, inner) pairs; with `real`, where inner is 1, the side of the spectrum has n + 1.
    Words: out, x, table; offset of out, offset of x. A unit is one row of `outer`, or one of its
    blocks of columns.
    """
    sign, scale, radixes, inner, real = options
    single = dtype == "float32"
    size = 4 if single else 8
    n = prod(radixes)
    columns = block(n, inner, size)
    rows = _Rows(
        single, n, radixes, sign, scale * (0.5 if real and sign < 0 else 1.0),
        _lanes(n, vector_bytes // size) if real else vector_bytes // size, columns, 2 * inner, real,
    )  # fmt: skip
    more = {"from": 2 * (real and sign > 0), "to": 2 * (real and sign < 0)}
    rows.text.label = "unit"
    rows.emit()
    t, blocks = rows.text, -(-inner // columns)
    length = (n + 1) * columns if real else n * columns
    return "\n".join([
        "define internal void @KERNEL(ptr %args, i64 %begin, i64 %end) nounwind {",
        "entry:",
        *_words(["out", "x", "table"], ["to.offset", "from.offset"]),
        *(f"  %{name} = alloca [{length} x {t.element}], align 64"
          for name in ("a", "a.im", "b", "b.im")),
        "  %some = icmp slt i64 %begin, %end",
        "  br i1 %some, label %unit, label %done",
        "unit:",
        f"  %u = phi i64 [ %begin, %entry ], [ %next, %{t.label} ]",
        f"  %outer = udiv i64 %u, {blocks}",
        f"  %column.block = urem i64 %u, {blocks}",
        f"  %column.any = mul i64 %column.block, {columns}",
        f"  %late = icmp ugt i64 %column.any, {inner - columns}",
        f"  %column = select i1 %late, i64 {inner - columns}, i64 %column.any",
        "  %column.start = mul i64 %column, 2",
        *(line for side, base in (("from", "x"), ("to", "out")) for line in (
            f"  %{side}.row = mul i64 %outer, {2 * n * inner + more[side]}",
            f"  %{side}.start = add i64 %{side}.row, %column.start",
            f"  %{side}.place = add i64 %{side}.start, %{side}.offset",
            f"  %{side} = getelementptr {t.element}, ptr %{base}, i64 %{side}.place")),
        *t.lines,
        "  %next = add i64 %u, 1",
        "  %again = icmp slt i64 %next, %end",
        "  br i1 %again, label %unit, label %done",
        "done:",
        "  ret void",
        "}",
        "",
    ])  # fmt: skip


def _words(buffers: Sequence[str], values: Sequence[str]) -> list[str]:
    lines = []
    for k, name in enumerate([*buffers, *values]):
        kind = "ptr" if name in buffers else "i64"
        lines.append(f"  %p.{name} = getelementptr i64, ptr %args, i64 {k}")
        lines.append(f"  %{name} = load {kind}, ptr %p.{name}, align 8")
    return lines
