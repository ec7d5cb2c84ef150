"""Kernels for run-time sizes choose among forms for short rows: the same bits as exact versions."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from benchmarks import shapes_sweep as sweep
from symgraph.cpu.kernels.cases import MOST_FORMS
from symgraph.cpu.native import jit
from symgraph.cpu.native.pool import get_threads

WIDTHS = (2, 3, 4, 5, 8, 9, 16, 17, 33, 64, 65)
OPS = (
    *("row", "column", "outer", "sum_rows", "sum_columns", "max_rows", "argmax", "centred"),
    "softmax",
    *("logsumexp", "transpose", "add_transposed", "cumsum_down", "slice", "concat_columns"),
)


def check(name: str, generic: sg.Function, rows: int, columns: int) -> None:
    arrays = sweep.arrays_of(name, (rows, columns))
    for x in arrays:
        if x.dtype.kind == "f":
            x.flat[0], x.flat[-1] = 0.0, -0.0
    expected, found = sweep.compiled(name, "exact")(*arrays), generic(*arrays)
    assert expected.tobytes() == found.tobytes(), (rows, columns)


@pytest.mark.parametrize("name", OPS)
def test_same_bits(name: str) -> None:
    generic = sweep.compiled(name, "generic")
    for columns in WIDTHS:
        for rows in (1, 3, 37):
            check(name, generic, rows, columns)


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
@pytest.mark.parametrize("name", ["sum_rows", "max_rows", "add_transposed", "row"])
def test_same_bits_of_other_vectors(
    name: str, cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that whole vectors of them leave over are done by a form that is wide enough."""
    other = jit.target(cpu=cpu)
    monkeypatch.setattr(jit, "target", lambda: other)
    generic = sweep.compiled(name, "generic")
    for rows, columns in ((31, 4), (33, 3), (2, 3), (37, 9), (5, 33)):
        check(name, generic, rows, columns)


@pytest.mark.parametrize("name", ["sum_columns", "max_columns", "cumsum_down"])
def test_threads_share_no_short_rows(name: str) -> None:
    """The columns are the outermost loop of these: a form takes all of them in one turn."""
    before, generic = get_threads(), sweep.compiled(name, "generic")
    sg.set_threads(2)
    try:
        for rows, columns in ((400_001, 7), (200_000, 17), (100_000, 33), (60_000, 65)):
            check(name, generic, rows, columns)
    finally:
        sg.set_threads(before)


def test_threads_share_the_rows_of_a_form() -> None:
    """A form is passed a part of the rows, whether or not it would be shared by itself."""
    before, generic = get_threads(), sweep.compiled("sum_rows", "generic")
    sg.set_threads(2)
    try:
        check("sum_rows", generic, 2000, 5)
        for rows, columns in ((1_000_003, 3), (400_001, 7)):
            check("sum_rows", generic, rows, columns)
    finally:
        sg.set_threads(before)


def forms(f: sg.Function) -> int:
    lines = f.explain(stage="llvm").split("\n")
    return sum(t.startswith("define internal void @k") and "_" in t for t in lines)


def test_only_unknown_rows_have_forms() -> None:
    arrays = sweep.arrays_of("row", (20, 30))
    generic, exact = sweep.compiled("row", "generic"), sweep.compiled("row", "exact")
    generic(*arrays), exact(*arrays)
    assert forms(generic) >= 3 and forms(exact) == 0
    x = sg.matrix("x")
    many = sg.function([x], [sg.maximum(x + k, x[:, :1]) for k in range(20)], shapes="generic")
    many(np.ones((5, 40), "float32"))
    assert forms(many) <= MOST_FORMS + 20


def test_parts_of_a_sum_along_its_own_row_are_stored_once() -> None:
    """They were stored once for every element of the row."""
    f = sweep.compiled("centred", "generic")
    check("centred", f, 1, 100_000)
    loops = f.explain(stage="loops")
    assert loops.startswith("for c<") and "t1[0] = " in loops and loops.count("x00[") == 3
    check("centred", f, 3, 100_000)
