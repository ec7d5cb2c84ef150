"""Conditions on sizes, the choice to let other threads run, and chains of versions in the entry."""

from __future__ import annotations

import contextlib
import ctypes
import timeit
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu import abi
from symgraph.cpu.abi import Condition, Ctx
from symgraph.cpu.entry.call import ArraySpec, Entry, EntrySpec, Slot, emit_entry, entry_names
from symgraph.cpu.entry.plan import encode_plan
from symgraph.cpu.native import jit

N, M = Slot(0, defines=True), Slot(1, defines=True)
RUN = "define i32 @run(ptr %a, ptr %b, ptr %c, ptr %d) {\n  ret i32 0\n}\n"
# dims[2] = 2 * dims[0] - dims[1]
DERIVE = """
define void @derive(ptr %dims) {
  %n = load i64, ptr %dims
  %at1 = getelementptr i64, ptr %dims, i64 1
  %m = load i64, ptr %at1
  %n2 = mul i64 %n, 2
  %d = sub i64 %n2, %m
  %at2 = getelementptr i64, ptr %dims, i64 2
  store i64 %d, ptr %at2
  ret void
}
"""


def entry(conditions: tuple[Condition, ...], text: str = RUN, **options: Any) -> Entry:
    """Return an entry for two vectors whose slow path says "slow"."""
    spec = EntrySpec(
        (ArraySpec("float32", (N,)), ArraySpec("int8", (M,))),
        none=True,
        n_dims=3,
        conditions=conditions,
        **{k: v for k, v in options.items() if k != "portable"},
    )
    loaded = jit.build(emit_entry(spec) + text + DERIVE, entry_names(spec), verify=True)
    return Entry(
        loaded, spec, (), lambda *a: "slow", lambda s: None, portable=options.get("portable")
    )


@pytest.mark.parametrize("portable", [False, True])
def test_conditions_on_given_and_derived_sizes(portable: bool) -> None:
    conditions = (Condition(0, 8, 64, 8), Condition(2, 0, 0))
    f = entry(conditions, portable=portable).function

    def call(n: int, m: int) -> Any:
        return f(np.zeros(n, np.float32), np.zeros(m, np.int8))

    for n, m, served in [
        (8, 16, True), (64, 128, True), (24, 48, True), (8, 15, False), (8, 17, False),
        (12, 24, False), (0, 0, False), (72, 144, False), (16, 16, False),
    ]:  # fmt: skip
        assert call(n, m) == (None if served else "slow"), (n, m)
    for n in (7, 8, 9, 64, 65):
        assert conditions[0].holds(n) == (call(n, 2 * n) is None)


def test_a_condition_on_an_unknown_size_is_refused() -> None:
    condition = Condition(1, 0, 0)
    spec = EntrySpec((ArraySpec("int8", (N,)),), none=True, n_dims=1, conditions=(condition,))
    with pytest.raises(ValueError, match=r"condition on dims\[1\]"):
        encode_plan(spec)


LOCK_TEXT = """
define i32 @run(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx) {
  %at = getelementptr i64, ptr %ctx, i64 64
  %held = load ptr, ptr %at
  %r = call i32 %held()
  ret i32 %r
}
"""


def test_the_lock_is_released_from_an_amount_of_work_on() -> None:
    spec = EntrySpec(
        (ArraySpec("float32", (N,)),), none=True, n_dims=1, release_gil=True, work=Slot(0)
    )
    derive = "define void @derive(ptr %dims) {\n  ret void\n}\n"
    loaded = jit.build(emit_entry(spec) + LOCK_TEXT + derive, entry_names(spec), verify=True)
    states: list[int] = []
    held = abi.function_address(ctypes.pythonapi.PyGILState_Check)
    e = Entry(loaded, spec, (), lambda *a: "slow", states.append, user=[held])
    for n in (1, abi.RELEASE_WORK - 1, abi.RELEASE_WORK):
        with contextlib.suppress(RuntimeError):
            e.function(np.zeros(n, np.float32))
        states.append(-n)
    assert states == [1, -1, 1, 1 - abi.RELEASE_WORK, -abi.RELEASE_WORK]
    assert e.calls == int(e.words[Ctx.CALLS]) == 3


def test_a_version_behind_others_is_found_without_python() -> None:
    x, y = sg.matrices("x", "y")
    f = sg.function([x, y], x * y)
    shapes = [((2, 8), (2, 8)), ((3, 8), (3, 8)), ((4, 8), (4, 8)), ((4, 8), (1, 8))]
    arrays = [[np.ones(s, "float32") for s in pair] for pair in shapes]
    for a, b in arrays:
        f(a, b)
    assert len(f.versions()) == 4
    f.compiled.slow = None  # whatever gets there fails
    best = []
    for (a, b), version in zip(arrays, f.compiled.version_list, strict=True):
        before = version.entry.calls
        timer = timeit.Timer("f(a, b)", globals={"f": f.raw, "a": a, "b": b})
        best.append(min(timer.repeat(7, 2000)) / 2000)
        assert version.entry.calls == before + 14000
    assert best[3] < best[0] + 500e-9  # some ten nanoseconds each, on a quiet machine
