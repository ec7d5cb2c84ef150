"""Kernels that call LAPACK for each matrix of a batch, and the table of its functions.

A kernel gets one word for the library: the address of a table whose first words say which matrix
failed and how, and whose others are function addresses. LAPACK counts columns first: a row-major
matrix is passed as its transpose, see `loops/lapack.py` for what that makes of each routine.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.cpu import blas

NAMES = ("potrf", "getrf", "syevd", "gesdd", "geqrf", "orgqr", "geev")
FAILED_ITEM, FAILED_INFO, FIRST_FUNCTION = 0, 1, 2  # words of the table
LOWER, UPPER = 122, 121  # of CBLAS
REENTRANT = {"potrf", "trsm", "getrf"}  # no work space: matrices of a batch may run in parallel
Values = Sequence[Any]


@functools.cache
def _places() -> dict[str, int]:
    """Return the word of each function in the table."""
    names = [p + n for n in (*NAMES, "trsm") for p in "sd"]
    return {name: FIRST_FUNCTION + k for k, name in enumerate(names)}


def table() -> np.ndarray:
    """Return a new table: no failure, and the addresses of all functions."""
    library = blas.library()
    words = np.zeros(FIRST_FUNCTION + len(_places()), np.int64)
    for name, place in _places().items():
        symbol = f"scipy_cblas_{name}" if name.endswith("trsm") else f"scipy_{name}_"
        words[place] = ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0
    return words


class _Kernel:
    """Text of one kernel: words loaded at its start, then a loop over the matrices.

    Everything is addressed by `%u`, the number of the matrix. After a failure the kernel stops.
    """

    def __init__(self, dtype: Any, buffers: Sequence[str], values: Sequence[str]) -> None:
        self.single = dtype == "float32"
        self.element = "float" if self.single else "double"
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.label = "loop"
        self._count = 0
        for k, name in enumerate([*buffers, "table", *values]):
            kind = "i64" if name in values else "ptr"
            self.entry.append(f"  %p.{name} = getelementptr i64, ptr %args, i64 {k}")
            self.entry.append(f"  %{name} = load {kind}, ptr %p.{name}, align 8")

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
        """Return the address of element `place` of a buffer."""
        return self.new(f"getelementptr {kind or self.element}, ptr {base}, i64 {place}")

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
        word = _places()[("s" if self.single else "d") + name]
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
        """Store the info of a matrix; on a failure say which it was, and stop."""
        self._count += 1
        failed, on = f"failed{self._count}", f"on{self._count}"
        self.lines.append(f"  store i64 {info}, ptr {self.at('%info', '%u', 'i64')}, align 8")
        bad = self.new(f"icmp ne i64 {info}, 0")
        self.lines += [f"  br i1 {bad}, label %{failed}, label %{on}", f"{failed}:"]
        for word, value in ((FAILED_ITEM, "%u"), (FAILED_INFO, info)):
            self.lines.append(f"  store i64 {value}, ptr {self.at('%table', str(word), 'i64')}")
        self.lines += ["  br label %done", f"{on}:"]
        self.label = on

    def orient(self, count: str, row: str, length: str, flip: Callable[[str, str], None]) -> None:
        """Give vectors, rows of `length` at `row`, the sign that makes their weighted sum positive.

        LAPACK leaves the sign open and it differs between machines; the weights 1 / (i + 1.7) make
        a sum of exactly 0 improbable. `flip(j, sign)` multiplies what belongs to vector j.
        """
        total = self.new("alloca double, align 8", ahead=True)

        def vector(j: str) -> None:
            self.lines.append(f"  store double 0.0, ptr {total}, align 8")
            start = self.at(row, self.mul(j, length))

            def add(i: str) -> None:
                value = self.new(f"load {self.element}, ptr {self.at(start, i)}")
                if self.single:
                    value = self.new(f"fpext float {value} to double")
                place = self.new(f"fadd double {self.new(f'sitofp i64 {i} to double')}, 1.7")
                term = self.new(f"fdiv double {value}, {place}")
                old = self.new(f"load double, ptr {total}, align 8")
                new = self.new(f"fadd double {old}, {term}")
                self.lines.append(f"  store double {new}, ptr {total}, align 8")

            self.loop(length, add)
            whole = self.new(f"load double, ptr {total}, align 8")
            down = self.new(f"fcmp olt double {whole}, 0.0")
            flip(j, self.new(f"select i1 {down}, {self.element} -1.0, {self.element} 1.0"))

        self.loop(count, vector)

    def scale(self, place: str, sign: str) -> None:
        """Multiply one element."""
        value = self.new(f"load {self.element}, ptr {place}")
        new = self.new(f"fmul {self.element} {value}, {sign}")
        self.lines.append(f"  store {self.element} {new}, ptr {place}")

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

    Words: buffers, the table, sizes, as each emitter names them.
    """
    return _EMITTERS[name](dtype, *options).text()


def _potrf(dtype: Any) -> _Kernel:
    """x (n, n), row-major: its lower triangle is LAPACK's upper one."""
    k = _Kernel(dtype, ["x", "info"], ["n"])
    x = k.at("%x", k.mul("%u", "%n", "%n"))
    n = k.int32("%n")
    k.stop_on(k.lapack("potrf", "U", [n, x, k.int32(k.least_one("%n"))]))
    return k


def _trsm(dtype: Any, lower: bool, trans: bool, unit: bool) -> _Kernel:
    """x (n, k) becomes the solution; matrix u of `a` begins at offset + u * stride."""
    k = _Kernel(dtype, ["x", "info", "a"], ["n", "k", "ld", "offset", "stride"])
    at = k.new(f"add i64 {k.mul('%u', '%stride')}, %offset")
    a = k.at("%a", at)
    x = k.at("%x", k.mul("%u", "%n", "%k"))
    info = k.at("%info", "%u", "i64")
    k.lines.append(f"  store i64 0, ptr {info}, align 8")
    if not unit:
        step = k.new("add i64 %ld, 1", ahead=True)

        def look(i: str) -> None:
            value = k.new(f"load {k.element}, ptr {k.at(a, k.mul(i, step))}")
            zero = k.new(f"fcmp oeq {k.element} {value}, 0.0")
            old = k.new(f"load i64, ptr {info}, align 8")
            first = k.new(f"and i1 {zero}, {k.new(f'icmp eq i64 {old}, 0')}")
            new = k.new(f"select i1 {first}, i64 {k.new(f'add i64 {i}, 1')}, i64 {old}")
            k.lines.append(f"  store i64 {new}, ptr {info}, align 8")

        k.loop("%n", look)
    k.stop_on(k.new(f"load i64, ptr {info}, align 8"))
    n, m = (k.new(f"trunc i64 {v} to i32", ahead=True) for v in ("%n", "%k"))
    ld = [k.new(f"trunc i64 {k.least_one(v)} to i32", ahead=True) for v in ("%ld", "%k")]
    flags = f"i32 101, i32 141, i32 {LOWER if lower else UPPER}, i32 {112 if trans else 111}"
    k.lines.append(
        f"  call void {k.function('trsm')}({flags}, i32 {132 if unit else 131}, i32 {n}, i32 {m}, "
        f"{k.element} 1.0, ptr {a}, i32 {ld[0]}, ptr {x}, i32 {ld[1]})"
    )
    return k


def _getrf(dtype: Any) -> _Kernel:
    """x (n + 3, m): n columns of length m become those of L and U; then three rows about the order.

    Row n: which row of A is row i of L U; row n + 1: the inverse order; row n + 2: -1 where step i
    exchanged two rows, else 1. `pivots` are m integers per matrix.
    """
    k = _Kernel(dtype, ["x", "pivots"], ["m", "n", "least"])
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
        k.lines.append(f"  store {k.element} {number(i)}, ptr {k.at(order, i)}")
        k.lines.append(f"  store {k.element} 1.0, ptr {k.at(sign, i)}")

    def exchange(i: str) -> None:
        pivot = k.new(f"load i32, ptr {k.at(pivots, i, 'i32')}, align 4")
        j = k.new(f"sub i64 {k.new(f'sext i32 {pivot} to i64')}, 1")
        here, there = k.at(order, i), k.at(order, j)
        a, b = (k.new(f"load {k.element}, ptr {p}") for p in (here, there))
        k.lines.append(f"  store {k.element} {b}, ptr {here}")
        k.lines.append(f"  store {k.element} {a}, ptr {there}")
        same = k.new(f"icmp eq i64 {i}, {j}")
        value = k.new(f"select i1 {same}, {k.element} 1.0, {k.element} -1.0")
        k.lines.append(f"  store {k.element} {value}, ptr {k.at(sign, i)}")

    def invert(i: str) -> None:
        value = k.new(f"load {k.element}, ptr {k.at(order, i)}")
        j = k.new(f"fptosi {k.element} {value} to i64")
        k.lines.append(f"  store {k.element} {number(i)}, ptr {k.at(inverse, j)}")

    k.loop("%m", start)
    k.loop("%least", exchange)
    k.loop("%m", invert)
    return k


def _syevd(dtype: Any, vectors: bool) -> _Kernel:
    """x (n + 1, n): n rows of a symmetric matrix become its eigenvectors, the last row the values.

    Without vectors `x` is (n, n) and `w` (n,) per matrix.
    """
    k = _Kernel(dtype, ["x", "info", "work", "iwork", "w"], ["n", "lwork", "liwork"])
    rows = k.new("add i64 %n, 1", ahead=True) if vectors else "%n"
    x = k.at("%x", k.mul("%u", "%n", rows))
    w = k.at(x, k.mul("%n", "%n")) if vectors else k.at("%w", k.mul("%u", "%n"))
    n, ld = k.int32("%n"), k.int32(k.least_one("%n"))
    places = [n, x, ld, w, "%work", k.int32("%lwork"), "%iwork", k.int32("%liwork")]
    k.stop_on(k.lapack("syevd", "VU" if vectors else "NU", places))
    if vectors:

        def flip(j: str, sign: str) -> None:
            start = k.at(x, k.mul(j, "%n"))
            k.loop("%n", lambda i: k.scale(k.at(start, i), sign))

        k.orient("%n", x, "%n", flip)
    return k


def _gesdd(dtype: Any, vectors: bool) -> _Kernel:
    """x (m, n) is destroyed; y gets u (m, k), vh (k, n) and s (k), k = min(m, n), or s alone."""
    k = _Kernel(
        dtype, ["y", "x", "info", "work", "iwork"], ["m", "n", "least", "lwork"]
    )
    x = k.at("%x", k.mul("%u", "%m", "%n"))
    mk, kn = k.mul("%m", "%least"), k.mul("%least", "%n")
    both = k.new(f"add i64 {mk}, {kn}")
    size = k.new(f"add i64 {both}, %least") if vectors else "%least"
    y = k.at("%y", k.mul("%u", size))
    vh, s = (k.at(y, mk), k.at(y, both)) if vectors else (y, y)
    m, n = k.int32("%m"), k.int32("%n")
    ldn, ldk = k.int32(k.least_one("%n")), k.int32(k.least_one("%least"))
    places = [n, m, x, ldn, s, vh, ldn, y, ldk, "%work", k.int32("%lwork"), "%iwork"]
    k.stop_on(k.lapack("gesdd", "S" if vectors else "N", places))
    if vectors:

        def flip(j: str, sign: str) -> None:
            start, first = k.at(vh, k.mul(j, "%n")), k.at(y, j)
            k.loop("%n", lambda i: k.scale(k.at(start, i), sign))
            k.loop("%m", lambda i: k.scale(k.at(first, k.mul(i, "%least")), sign))

        k.orient("%least", vh, "%n", flip)
    return k


def _geqrf(dtype: Any) -> _Kernel:
    """x (n + 1, m): n columns of length m become the factors, the last row their scales."""
    k = _Kernel(dtype, ["x", "work"], ["m", "n", "lwork"])
    rows = k.new("add i64 %n, 1", ahead=True)
    x = k.at("%x", k.mul("%u", "%m", rows))
    tau = k.at(x, k.mul("%m", "%n"))
    m, n, ld = k.int32("%m"), k.int32("%n"), k.int32(k.least_one("%m"))
    k.lapack("geqrf", "", [m, n, x, ld, tau, "%work", k.int32("%lwork")])
    return k


def _orgqr(dtype: Any) -> _Kernel:
    """x (q, m): the first rows hold factors of `f` (n + 1, m); they become q columns of Q."""
    k = _Kernel(dtype, ["x", "work", "f"], ["m", "n", "q", "least", "lwork"])
    x = k.at("%x", k.mul("%u", "%m", "%q"))
    rows = k.new("add i64 %n, 1", ahead=True)
    tau = k.at(k.at("%f", k.mul("%u", "%m", rows)), k.mul("%m", "%n"))
    m, q, least = k.int32("%m"), k.int32("%q"), k.int32("%least")
    ld = k.int32(k.least_one("%m"))
    k.lapack("orgqr", "", [m, q, least, x, ld, tau, "%work", k.int32("%lwork")])
    return k


def _geev(dtype: Any) -> _Kernel:
    """x (n, n) is destroyed; y (2, n) gets the real and the imaginary parts of its eigenvalues."""
    k = _Kernel(dtype, ["y", "x", "info", "work"], ["n", "lwork"])
    x = k.at("%x", k.mul("%u", "%n", "%n"))
    real = k.at("%y", k.mul("%u", "%n", "2"))
    imaginary = k.at(real, "%n")
    n, ld, one = k.int32("%n"), k.int32(k.least_one("%n")), k.int32("1")
    places = [n, x, ld, real, imaginary, "%work", one, "%work", one, "%work", k.int32("%lwork")]
    total = k.new(f"alloca {k.element}, align 8", ahead=True)
    k.lines.append(f"  store {k.element} 0.0, ptr {total}")

    def look(i: str) -> None:  # LAPACK would print a message about a NaN
        value = k.new(f"load {k.element}, ptr {k.at(x, i)}")
        nothing = k.new(f"fmul {k.element} {value}, 0.0")
        old = k.new(f"load {k.element}, ptr {total}")
        new = k.new(f"fadd {k.element} {old}, {nothing}")
        k.lines.append(f"  store {k.element} {new}, ptr {total}")

    k.loop(k.mul("%n", "%n"), look)
    whole = k.new(f"load {k.element}, ptr {total}")
    k.stop_on(k.new(f"zext i1 {k.new(f'fcmp une {k.element} {whole}, 0.0')} to i64"))
    k.stop_on(k.lapack("geev", "NN", places))
    return k


_EMITTERS: dict[str, Callable[..., _Kernel]] = {
    "potrf": _potrf, "trsm": _trsm, "getrf": _getrf, "syevd": _syevd, "gesdd": _gesdd,
    "geqrf": _geqrf, "orgqr": _orgqr, "geev": _geev,
}  # fmt: skip
