"""The sweep of generic versions over many shapes."""

from __future__ import annotations

import pytest

from benchmarks import shapes_sweep


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["sum_rows", "gather", "--shapes", "20x3", "--repeat", "1", "--all"]
    assert shapes_sweep.main(options) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| op | shape | exact us | generic / exact |"
    assert lines[2].startswith("| sum_rows | 20x3 | ") and lines[-1].startswith("| gather | ")


def test_drawn_shapes_are_of_the_sizes_asked_for() -> None:
    shapes = list(shapes_sweep.drawn(5))
    assert shapes == list(shapes_sweep.drawn(5)) != list(shapes_sweep.drawn(6))
    assert all(m >= 1 and n >= 1 and m * n < 1.1e7 for m, n in shapes)


def test_unknown_ops_are_refused() -> None:
    with pytest.raises(SystemExit) as info:
        shapes_sweep.main(["nothing.of.this"])
    assert info.value.code == 2
