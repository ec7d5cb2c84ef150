"""Kernels that call LAPACK for each matrix of a batch, and the table of its functions.

A kernel gets one word for the library: the address of a table whose first words say which matrix
failed and how, and whose others are function addresses. LAPACK counts columns first: a row-major
matrix is passed as its transpose, see `loops/lapack.py` for what that makes of each routine.
Complex numbers are pairs in memory; sizes and places count numbers, not parts.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from symgraph.cpu.native import blas

NAMES = ("potrf", "getrf", "syevd", "gesdd", "geqrf", "orgqr", "geev", "gehrd", "orghr", "gees")
DECLARED = "declare double @llvm.sqrt.f64(double)"  # what kernels of complex numbers call
FAILED_ITEM, FAILED_INFO, FIRST_FUNCTION = 0, 1, 2  # words of the table
COMPLEX_NAMES = {"syevd": "heevd", "orgqr": "ungqr", "orghr": "unghr"}  # those that differ
LOWER, UPPER = 122, 121  # of CBLAS
REENTRANT = {"potrf", "trsm", "getrf"}  # no work space: matrices of a batch may run in parallel
# Operations, as loops/amount.py counts them, that take some 50 ms on one core.
LONG = {
    "potrf": 10 * 10**9, "getrf": 6 * 10**9, "trsm": 4 * 10**9, "syevd": 6 * 10**9,
    "gesdd": 3 * 10**9, "geqrf": 8 * 10**9, "orgqr": 8 * 10**9, "geev": 2 * 10**9,
    "gehrd": 4 * 10**9, "gees": 2 * 10**9,
}  # fmt: skip
Values = Sequence[Any]
Factor = Sequence[str]  # a number in registers: its part, or both parts


@functools.cache
def _places() -> dict[str, int]:
    """Return the word of each function in the table."""
    names = [p + n for n in (*NAMES, "trsm") for p in "sd"]
    names += [p + COMPLEX_NAMES.get(n, n) for n in (*NAMES, "trsm") for p in "cz"]
    return {name: FIRST_FUNCTION + k for k, name in enumerate(names)}


def table_bytes() -> int:
    """Return the length of a table."""
    return 8 * (FIRST_FUNCTION + len(_places()))


def table() -> np.ndarray:
    """Return a new table: no failure, and the addresses of all functions."""
    library = blas.library()
    words = np.zeros(table_bytes() // 8, np.int64)
    for name, place in _places().items():
        symbol = f"scipy_cblas_{name}" if name.endswith("trsm") else f"scipy_{name}_"
        words[place] = ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0
    return words


class _Kind(NamedTuple):
    """The numbers of a kernel."""

    single: bool
    complex: bool


class _Kernel:
    """Text of one kernel: words loaded at its start, then a loop over the matrices.

    Everything is addressed by `%u`, the number of the matrix. After a failure the kernel stops.
    """

    def __init__(self, kind: _Kind, buffers: Sequence[str], values: Sequence[str]) -> None:
        self.single, self.complex = kind
        self.element = "float" if self.single else "double"
        self.number = f"[2 x {self.element}]" if self.complex else self.element
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.label = "loop"
        self._count = 0
        for k, name in enumerate([*buffers, "table", *values]):
            word = "i64" if name in values else "ptr"
            self.entry.append(f"  %p.{name} = getelementptr i64, ptr %args, i64 {k}")
            self.entry.append(f"  %{name} = load {word}, ptr %p.{name}, align 8")

    # -- pieces of text --------------------------------------------------------------------------
    def new(self, instruction: str, ahead: bool = False) -> str:
        self._count += 1
        name = f"%v{self._count}"
        (self.entry if ahead else self.lines).append(f"  {name} = {instruction}")
        return name

    def mul(self, *factors: str) -> str:
        found = factors[0]
        for f in factors[1:]:
            found = self.new(f"mul i64 {found}, {f}")
        return found

    def at(self, base: str, place: str, kind: str = "") -> str:
        """Return the address of number `place` of a buffer."""
        return self.new(f"getelementptr {kind or self.number}, ptr {base}, i64 {place}")

    def parts(self, place: str) -> list[str]:
        """Return the addresses of the parts of a number."""
        return [place, self.at(place, "1", self.element)] if self.complex else [place]

    def load(self, place: str) -> str:
        """Return a number, or the real part of a complex one."""
        return self.new(f"load {self.element}, ptr {place}")

    def put(self, value: str, place: str) -> None:
        """Store a real number, the imaginary part of a complex one as 0."""
        for v, p in zip((value, "0.0"), self.parts(place), strict=False):
            self.lines.append(f"  store {self.element} {v}, ptr {p}")

    def spread(self, place: str, count: str) -> None:
        """Turn real numbers that LAPACK stored one behind the other into complex ones."""

        def one(i: str) -> None:  # from the end: the places of those to come are still whole
            j = self.new(f"sub i64 {self.new(f'sub i64 {count}, {i}')}, 1")
            self.put(self.load(self.at(place, j, self.element)), self.at(place, j))

        if self.complex:
            self.loop(count, one)

    def int32(self, value: str) -> str:
        """Return a place that holds a number, at least 1 for a leading dimension's sake."""
        place = self.new("alloca i32, align 4", ahead=True)
        short = self.new(f"trunc i64 {value} to i32", ahead=True)
        self.entry.append(f"  store i32 {short}, ptr {place}, align 4")
        return place

    def least_one(self, value: str) -> str:
        some = self.new(f"icmp sgt i64 {value}, 1", ahead=True)
        return self.new(f"select i1 {some}, i64 {value}, i64 1", ahead=True)

    def char(self, letter: str) -> str:
        place = self.new("alloca i8, align 1", ahead=True)
        self.entry.append(f"  store i8 {ord(letter)}, ptr {place}, align 1")
        return place

    def function(self, name: str) -> str:
        if self.complex:
            name = COMPLEX_NAMES.get(name, name)
        word = _places()["sdcz"[2 * self.complex + (not self.single)] + name]
        at = self.new(f"getelementptr i64, ptr %table, i64 {word}", ahead=True)
        return self.new(f"load ptr, ptr {at}, align 8", ahead=True)

    def lapack(self, name: str, letters: str, arguments: Sequence[str]) -> str:
        """Call a routine: letters first, `info` last; return its info as i64."""
        f, chars = self.function(name), [self.char(c) for c in letters]
        info = self.new("alloca i32, align 4", ahead=True)
        places = [f"ptr {a}" for a in (*chars, *arguments, info)]
        lengths = ["i64 1"] * len(letters)  # of the strings, behind all arguments
        self.lines.append(f"  call void {f}({', '.join((*places, *lengths))})")
        return self.new(f"sext i32 {self.new(f'load i32, ptr {info}, align 4')} to i64")

    def jump(self, target: str) -> None:
        """Begin a block that the present one goes on to."""
        self.lines += [f"  br label %{target}", f"{target}:"]
        self.label = target

    def loop(self, count: str, body: Callable[[str], None]) -> None:
        """Repeat `body(i)` for i = 0 .. count - 1."""
        self._count += 1
        head, exit_, i = f"head{self._count}", f"exit{self._count}", f"%i{self._count}"
        turn, before = f"turn{self._count}", self.label
        self.lines += [f"  br label %{head}", f"{head}:"]
        place = len(self.lines)
        self.lines.append("")
        more = self.new(f"icmp slt i64 {i}, {count}")
        self.lines += [f"  br i1 {more}, label %{turn}, label %{exit_}", f"{turn}:"]
        self.label = turn
        body(i)
        after = self.new(f"add i64 {i}, 1")
        self.lines[place] = f"  {i} = phi i64 [ 0, %{before} ], [ {after}, %{self.label} ]"
        self.lines += [f"  br label %{head}", f"{exit_}:"]
        self.label = exit_

    def stop_on(self, info: str) -> None:
        """Store the info of a matrix; on a failure say which it was (the first one), and stop."""
        self._count += 1
        failed, on = f"failed{self._count}", f"on{self._count}"
        self.lines.append(f"  store i64 {info}, ptr {self.at('%info', '%u', 'i64')}, align 8")
        bad = self.new(f"icmp ne i64 {info}, 0")
        self.lines += [f"  br i1 {bad}, label %{failed}, label %{on}", f"{failed}:"]
        places = [self.at("%table", str(word), "i64") for word in (FAILED_ITEM, FAILED_INFO)]
        item, known = (self.new(f"load i64, ptr {place}, align 8") for place in places)
        earlier = self.new(f"icmp slt i64 {item}, %u")
        kept = self.new(f"and i1 {earlier}, {self.new(f'icmp ne i64 {known}, 0')}")
        for place, old, new in zip(places, (item, known), ("%u", info), strict=True):
            value = self.new(f"select i1 {kept}, i64 {old}, i64 {new}")
            self.lines.append(f"  store i64 {value}, ptr {place}, align 8")
        self.lines += ["  br label %done", f"{on}:"]
        self.label = on

    def stop_where_not_finite(self, x: str, count: str) -> None:
        """Stop where one of `count` numbers is no finite one: LAPACK would print a message."""
        total = self.new(f"alloca {self.element}, align 8", ahead=True)
        self.lines.append(f"  store {self.element} 0.0, ptr {total}")

        def look(i: str) -> None:
            for part in self.parts(self.at(x, i)):
                nothing = self.new(f"fmul {self.element} {self.load(part)}, 0.0")
                new = self.new(f"fadd {self.element} {self.load(total)}, {nothing}")
                self.lines.append(f"  store {self.element} {new}, ptr {total}")

        self.loop(count, look)
        bad = self.new(f"fcmp une {self.element} {self.load(total)}, 0.0")
        self.stop_on(self.new(f"zext i1 {bad} to i64"))

    def orient(
        self, count: str, row: str, length: str, flip: Callable[[str, Factor], None]
    ) -> None:
        """Give vectors, rows of `length` at `row`, the factor that makes a weighted sum positive.

        LAPACK leaves the sign (the complex factor of length 1) open and it differs between
        machines; the weights 1 / (i + 1.7) make a sum of exactly 0 improbable. `flip(j, factor)`
        multiplies what belongs to vector j.
        """
        totals = [self.new("alloca double, align 8", ahead=True) for _ in range(1 + self.complex)]

        def vector(j: str) -> None:
            for total in totals:
                self.lines.append(f"  store double 0.0, ptr {total}, align 8")
            start = self.at(row, self.mul(j, length))

            def add(i: str) -> None:
                place = self.new(f"fadd double {self.new(f'sitofp i64 {i} to double')}, 1.7")
                for part, total in zip(self.parts(self.at(start, i)), totals, strict=True):
                    term = self.new(f"fdiv double {self._wide(self.load(part))}, {place}")
                    old = self.new(f"load double, ptr {total}, align 8")
                    new = self.new(f"fadd double {old}, {term}")
                    self.lines.append(f"  store double {new}, ptr {total}, align 8")

            self.loop(length, add)
            sums = [self.new(f"load double, ptr {total}, align 8") for total in totals]
            flip(j, self._turn(*sums) if self.complex else [self._sign(sums[0])])

        self.loop(count, vector)

    def _wide(self, value: str) -> str:
        return self.new(f"fpext float {value} to double") if self.single else value

    def _sign(self, total: str) -> str:
        down = self.new(f"fcmp olt double {total}, 0.0")
        return self.new(f"select i1 {down}, {self.element} -1.0, {self.element} 1.0")

    def _turn(self, re: str, im: str) -> list[str]:
        """Return the conjugate of a complex number over its length, 1 for 0."""
        squares = [self.new(f"fmul double {v}, {v}") for v in (re, im)]
        whole = self.new(f"fadd double {squares[0]}, {squares[1]}")
        size = self.new(f"call double @llvm.sqrt.f64(double {whole})")
        some = self.new(f"fcmp ogt double {size}, 0.0")
        found = []
        for value, alone in ((re, "1.0"), (self.new(f"fneg double {im}"), "0.0")):
            part = self.new(f"fdiv double {value}, {size}")
            part = self.new(f"select i1 {some}, double {part}, double {alone}")
            found.append(self.new(f"fptrunc double {part} to float") if self.single else part)
        return found

    def scale(self, place: str, factor: Factor, conjugate: bool = False) -> None:
        """Multiply one number, by the conjugate of a complex factor if wanted."""
        places = self.parts(place)
        if not self.complex:
            new = self.new(f"fmul {self.element} {self.load(place)}, {factor[0]}")
            self.lines.append(f"  store {self.element} {new}, ptr {place}")
            return
        z, e = [self.load(p) for p in places], self.element
        same = [self.new(f"fmul {e} {v}, {factor[0]}") for v in z]
        across = [self.new(f"fmul {e} {v}, {factor[1]}") for v in reversed(z)]
        words = ("fadd", "fsub") if conjugate else ("fsub", "fadd")
        for word, a, b, p in zip(words, same, across, places, strict=True):
            self.lines.append(f"  store {e} {self.new(f'{word} {e} {a}, {b}')}, ptr {p}")

    def text(self) -> str:
        """Return the kernel."""
        return "\n".join(
            [
                "define internal void @KERNEL(ptr %args, i64 %begin, i64 %end) nounwind {",
                "entry:",
                *self.entry,
                "  %some = icmp slt i64 %begin, %end",
                "  br i1 %some, label %loop, label %done",
                "loop:",
                f"  %u = phi i64 [ %begin, %entry ], [ %next, %{self.label} ]",
                *self.lines,
                "  %next = add i64 %u, 1",
                "  %again = icmp slt i64 %next, %end",
                "  br i1 %again, label %loop, label %done",
                "done:",
                "  ret void",
                "}",
                "",
            ]
        )


def lapack_kernel(name: str, dtype: Any, options: tuple[Any, ...]) -> str:
    """Return the kernel that calls routine `name` for matrices `begin` to `end` of a batch.

    dtype: that of the parts; options: whether numbers are complex, then those of the emitter.
    Words: buffers, the table, sizes, as each emitter names them.
    """
    return _EMITTERS[name](_Kind(dtype == "float32", options[0]), *options[1:]).text()


def _potrf(kind: _Kind) -> _Kernel:
    """x (n, n), row-major: its lower triangle is LAPACK's upper one."""
    k = _Kernel(kind, ["x", "info"], ["n"])
    x = k.at("%x", k.mul("%u", "%n", "%n"))
    n = k.int32("%n")
    k.stop_on(k.lapack("potrf", "U", [n, x, k.int32(k.least_one("%n"))]))
    return k


def _trsm(kind: _Kind, lower: bool, trans: bool, unit: bool) -> _Kernel:
    """x (n, k) becomes the solution; matrix u of `a` begins at offset + u * stride."""
    k = _Kernel(kind, ["x", "info", "a"], ["n", "k", "ld", "offset", "stride"])
    at = k.new(f"add i64 {k.mul('%u', '%stride')}, %offset")
    a = k.at("%a", at)
    x = k.at("%x", k.mul("%u", "%n", "%k"))
    info = k.at("%info", "%u", "i64")
    k.lines.append(f"  store i64 0, ptr {info}, align 8")
    if not unit:
        step = k.new("add i64 %ld, 1", ahead=True)

        def look(i: str) -> None:
            places = k.parts(k.at(a, k.mul(i, step)))
            zeros = [k.new(f"fcmp oeq {k.element} {k.load(p)}, 0.0") for p in places]
            zero = k.new(f"and i1 {zeros[0]}, {zeros[-1]}") if k.complex else zeros[0]
            old = k.new(f"load i64, ptr {info}, align 8")
            first = k.new(f"and i1 {zero}, {k.new(f'icmp eq i64 {old}, 0')}")
            new = k.new(f"select i1 {first}, i64 {k.new(f'add i64 {i}, 1')}, i64 {old}")
            k.lines.append(f"  store i64 {new}, ptr {info}, align 8")

        k.loop("%n", look)
    k.stop_on(k.new(f"load i64, ptr {info}, align 8"))
    n, m = (k.new(f"trunc i64 {v} to i32", ahead=True) for v in ("%n", "%k"))
    ld = [k.new(f"trunc i64 {k.least_one(v)} to i32", ahead=True) for v in ("%ld", "%k")]
    flags = f"i32 101, i32 141, i32 {LOWER if lower else UPPER}, i32 {112 if trans else 111}"
    alpha = f"{k.element} 1.0"
    if k.complex:
        one = k.new(f"alloca {k.number}, align 8", ahead=True)
        k.entry.append(f"  store {k.number} [{k.element} 1.0, {k.element} 0.0], ptr {one}")
        alpha = f"ptr {one}"
    k.lines.append(
        f"  call void {k.function('trsm')}({flags}, i32 {132 if unit else 131}, i32 {n}, i32 {m}, "
        f"{alpha}, ptr {a}, i32 {ld[0]}, ptr {x}, i32 {ld[1]})"
    )
    return k


def _getrf(kind: _Kind) -> _Kernel:
    """x (n + 3, m): n columns of length m become those of L and U; then three rows about the order.

    Row n: which row of A is row i of L U; row n + 1: the inverse order; row n + 2: -1 where step i
    exchanged two rows, else 1. `pivots` are m integers per matrix.
    """
    k = _Kernel(kind, ["x", "pivots"], ["m", "n", "least"])
    rows = k.new("add i64 %n, 3", ahead=True)
    x = k.at("%x", k.mul("%u", "%m", rows))
    pivots = k.at("%pivots", k.mul("%u", "%m"), "i32")
    m, n, ld = k.int32("%m"), k.int32("%n"), k.int32(k.least_one("%m"))
    k.lapack("getrf", "", [m, n, x, ld, pivots])
    order = k.at(x, k.mul("%n", "%m"))
    inverse, sign = k.at(order, "%m"), k.at(order, k.mul("%m", "2"))

    def number(i: str) -> str:
        return k.new(f"sitofp i64 {i} to {k.element}")

    def start(i: str) -> None:
        k.put(number(i), k.at(order, i))
        k.put("1.0", k.at(sign, i))

    def exchange(i: str) -> None:
        pivot = k.new(f"load i32, ptr {k.at(pivots, i, 'i32')}, align 4")
        j = k.new(f"sub i64 {k.new(f'sext i32 {pivot} to i64')}, 1")
        here, there = k.at(order, i), k.at(order, j)
        a, b = (k.new(f"load {k.element}, ptr {p}") for p in (here, there))
        k.lines.append(f"  store {k.element} {b}, ptr {here}")
        k.lines.append(f"  store {k.element} {a}, ptr {there}")
        same = k.new(f"icmp eq i64 {i}, {j}")
        value = k.new(f"select i1 {same}, {k.element} 1.0, {k.element} -1.0")
        k.put(value, k.at(sign, i))

    def invert(i: str) -> None:
        value = k.new(f"load {k.element}, ptr {k.at(order, i)}")
        j = k.new(f"fptosi {k.element} {value} to i64")
        k.put(number(i), k.at(inverse, j))

    k.loop("%m", start)
    k.loop("%least", exchange)
    k.loop("%m", invert)
    return k


def _syevd(kind: _Kind, vectors: bool) -> _Kernel:
    """x (n + 1, n): n rows of a symmetric matrix become its eigenvectors, the last row the values.

    Without vectors `x` is (n, n) and `w`, real, (n,) per matrix. LAPACK sees the conjugate of a
    Hermitian matrix, so the rows are conjugates of eigenvectors.
    """
    buffers, values = ["x", "info", "work", "iwork", "w"], ["n", "lwork", "liwork"]
    if kind.complex:
        buffers, values = [*buffers, "rwork"], [*values, "lrwork"]
    k = _Kernel(kind, buffers, values)
    rows = k.new("add i64 %n, 1", ahead=True) if vectors else "%n"
    x = k.at("%x", k.mul("%u", "%n", rows))
    w = k.at(x, k.mul("%n", "%n")) if vectors else k.at("%w", k.mul("%u", "%n"), k.element)
    n, ld = k.int32("%n"), k.int32(k.least_one("%n"))
    more = ["%rwork", k.int32("%lrwork")] if kind.complex else []
    places = [n, x, ld, w, "%work", k.int32("%lwork"), *more, "%iwork", k.int32("%liwork")]
    k.stop_on(k.lapack("syevd", "VU" if vectors else "NU", places))
    if vectors:
        k.spread(w, "%n")

        def flip(j: str, factor: Factor) -> None:
            start = k.at(x, k.mul(j, "%n"))
            k.loop("%n", lambda i: k.scale(k.at(start, i), factor))

        k.orient("%n", x, "%n", flip)
    return k


def _gesdd(kind: _Kind, vectors: bool) -> _Kernel:
    """x (m, n) is destroyed; y gets u (m, k), vh (k, n) and s (k), k = min(m, n), or s alone."""
    more = ["rwork"] if kind.complex else []
    k = _Kernel(kind, ["y", "x", "info", "work", "iwork", *more], ["m", "n", "least", "lwork"])
    x = k.at("%x", k.mul("%u", "%m", "%n"))
    mk, kn = k.mul("%m", "%least"), k.mul("%least", "%n")
    both = k.new(f"add i64 {mk}, {kn}")
    size = k.new(f"add i64 {both}, %least") if vectors else "%least"
    y = k.at("%y", k.mul("%u", size), "" if vectors else k.element)
    vh, s = (k.at(y, mk), k.at(y, both)) if vectors else (y, y)
    m, n = k.int32("%m"), k.int32("%n")
    ldn, ldk = k.int32(k.least_one("%n")), k.int32(k.least_one("%least"))
    places = [n, m, x, ldn, s, vh, ldn, y, ldk, "%work", k.int32("%lwork"),
              *(f"%{name}" for name in more), "%iwork"]
    k.stop_on(k.lapack("gesdd", "S" if vectors else "N", places))
    if vectors:
        k.spread(s, "%least")

        def flip(j: str, factor: Factor) -> None:
            start, first = k.at(vh, k.mul(j, "%n")), k.at(y, j)
            k.loop("%n", lambda i: k.scale(k.at(start, i), factor))
            k.loop("%m", lambda i: k.scale(k.at(first, k.mul(i, "%least")), factor, True))

        k.orient("%least", vh, "%n", flip)
    return k


def _geqrf(kind: _Kind) -> _Kernel:
    """x (n + 1, m): n columns of length m become the factors, the last row their scales."""
    k = _Kernel(kind, ["x", "work"], ["m", "n", "lwork"])
    rows = k.new("add i64 %n, 1", ahead=True)
    x = k.at("%x", k.mul("%u", "%m", rows))
    tau = k.at(x, k.mul("%m", "%n"))
    m, n, ld = k.int32("%m"), k.int32("%n"), k.int32(k.least_one("%m"))
    k.lapack("geqrf", "", [m, n, x, ld, tau, "%work", k.int32("%lwork")])
    return k


def _orgqr(kind: _Kind) -> _Kernel:
    """x (q, m): the first rows hold factors of `f` (n + 1, m); they become q columns of Q."""
    k = _Kernel(kind, ["x", "work", "f"], ["m", "n", "q", "least", "lwork"])
    x = k.at("%x", k.mul("%u", "%m", "%q"))
    rows = k.new("add i64 %n, 1", ahead=True)
    tau = k.at(k.at("%f", k.mul("%u", "%m", rows)), k.mul("%m", "%n"))
    m, q, least = k.int32("%m"), k.int32("%q"), k.int32("%least")
    ld = k.int32(k.least_one("%m"))
    k.lapack("orgqr", "", [m, q, least, x, ld, tau, "%work", k.int32("%lwork")])
    return k


def _geev(kind: _Kind, vectors: bool) -> _Kernel:
    """x (n, n) is destroyed; y gets eigenvectors as n rows, if wanted, then the eigenvalues.

    These are one row of complex numbers, or two of real and imaginary parts.
    """
    k = _Kernel(kind, ["y", "x", "info", "work", *(["rwork"] if kind.complex else [])],
                ["n", "lwork"])
    x = k.at("%x", k.mul("%u", "%n", "%n"))
    count = 1 if kind.complex else 2
    rows = k.new(f"add i64 %n, {count}", ahead=True) if vectors else str(count)
    y = k.at("%y", k.mul("%u", "%n", rows))
    w = k.at(y, k.mul("%n", "%n")) if vectors else y
    n, ld, one = k.int32("%n"), k.int32(k.least_one("%n")), k.int32("1")
    values = [w] if kind.complex else [w, k.at(w, "%n")]
    right = [y, ld] if vectors else ["%work", one]
    more = ["%rwork"] if kind.complex else []
    places = [n, x, ld, *values, "%work", one, *right, "%work", k.int32("%lwork"), *more]
    k.stop_where_not_finite(x, k.mul("%n", "%n"))
    k.stop_on(k.lapack("geev", "NV" if vectors else "NN", places))
    return k


def _gehrd(kind: _Kind, basis: bool) -> _Kernel:
    """x (n, n), or (2 n, n) with the basis: columns of H with the reflections, then those of Q."""
    k = _Kernel(kind, ["x", "tau", "work"], ["n", "lwork"])
    square = k.mul("%n", "%n")
    x = k.at("%x", k.mul("%u", square, "2") if basis else k.mul("%u", square))
    n, ld, one = k.int32("%n"), k.int32(k.least_one("%n")), k.int32("1")
    more = ["%tau", "%work", k.int32("%lwork")]
    k.lapack("gehrd", "", [n, one, n, x, ld, *more])
    if basis:
        q = k.at(x, square)

        def copy(i: str) -> None:
            value = k.new(f"load {k.number}, ptr {k.at(x, i)}, align 4")
            k.lines.append(f"  store {k.number} {value}, ptr {k.at(q, i)}, align 4")

        k.loop(square, copy)
        k.lapack("orghr", "", [n, one, n, q, ld, *more])
    return k


def _gees(kind: _Kind) -> _Kernel:
    """x (2 n, n): n columns of a matrix become those of T, followed by those of Z."""
    k = _Kernel(kind, ["x", "info", "w", "work", *(["rwork"] if kind.complex else [])],
                ["n", "lwork"])
    square = k.mul("%n", "%n")
    x = k.at("%x", k.mul("%u", square, "2"))
    n, ld, sorted_ = k.int32("%n"), k.int32(k.least_one("%n")), k.int32("0")
    values = ["%w"] if kind.complex else ["%w", k.at("%w", "%n")]
    more = ["%rwork"] if kind.complex else []
    places = ["null", n, x, ld, sorted_, *values, k.at(x, square), ld, "%work", k.int32("%lwork"),
              *more, "null"]
    k.stop_where_not_finite(x, square)
    k.stop_on(k.lapack("gees", "VN", places))
    return k


_EMITTERS: dict[str, Callable[..., _Kernel]] = {
    "potrf": _potrf, "trsm": _trsm, "getrf": _getrf, "syevd": _syevd, "gesdd": _gesdd,
    "geqrf": _geqrf, "orgqr": _orgqr, "geev": _geev, "gehrd": _gehrd, "gees": _gees,
}  # fmt: skip
