"""The sweep over recurrences of many lengths and widths."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from benchmarks import loops_sweep, rows
from benchmarks.peers import OURS, with_symgraph
from benchmarks.recurrences import RECURRENCES


def reference(row: rows.Row, arrays: list[np.ndarray]) -> np.ndarray:
    """Return the states by a Python loop over NumPy arrays."""

    class Names:
        tanh = staticmethod(np.tanh)
        sigmoid = staticmethod(lambda x: 1 / (1 + np.exp(-x)))

    def loop(step, x, starts, fixed):
        states, found = list(starts), []
        for line in x:
            states = step(line, *states, *fixed)
            found.append(states[0])
        return np.stack(found)

    made = RECURRENCES[row.kind]
    return made.states_of(Names, loop, row.shapes[0][1], [a.astype("float64") for a in arrays])


@pytest.mark.parametrize("width", [5, 48])
@pytest.mark.parametrize("kind", RECURRENCES)
def test_states_agree_with_a_loop(kind: str, width: int) -> None:
    row = rows.recurrence(kind, width, 20, False)
    arrays = rows.make(row).inputs
    inputs = [sg.tensor(f"x{k}", (None,) * a.ndim) for k, a in enumerate(arrays)]
    f = sg.function(inputs, with_symgraph.recurrence(row)(*inputs))
    np.testing.assert_allclose(f(*arrays), reference(row, arrays), rtol=2e-4, atol=2e-5)


def test_rows_are_found_by_name() -> None:
    for grad in (False, True):
        row = rows.recurrence("gru", 32, 100, grad)
        assert rows.find(row.name) == row and row.name not in rows.ROWS
    assert rows.find("scan.gru") is rows.ROWS["scan.gru"]
    with pytest.raises(KeyError):
        rows.find("scan.nothing")


def test_table_has_ratios() -> None:
    cells = {OURS: {"median": 2e-6}, "jax": {"median": 5e-6}, "pytensor": {"failed": "text"}}
    found = {"rows": [{"row": "loop.gru.8x10", "cells": cells}]}
    lines = loops_sweep.table(found, ["jax", "pytensor"]).splitlines()
    assert lines[-1] == "| loop.gru.8x10 | 2 | 5 | 2.50 |  |  |"


def test_wrong_usage_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert loops_sweep.main(["--kinds", "nothing"]) == 2
    assert "gru" in capsys.readouterr().err


def test_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--kinds", "decay", "--widths", "8", "--steps", "10", "--against", ""]
    assert loops_sweep.main([*options, "--repeat", "1", "--budget", "0.001"]) == 0
    printed = capsys.readouterr().out
    assert "| loop.decay.8x10 |" in printed and "| loop.decay_grad.8x10 |" in printed
