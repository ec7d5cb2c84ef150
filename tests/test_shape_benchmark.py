"""The benchmark of run-time sizes."""

from __future__ import annotations

import pytest

from benchmarks import shapes


def test_table_of_a_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert shapes.main(["sum_rows.32x32", "--repeat", "1"]) in (0, 1)
    head, _, row = capsys.readouterr().out.splitlines()
    assert head == "| case | bound by | exact us | class | generic |"
    assert row.startswith("| sum_rows.32x32 | memory | ")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SystemExit) as info:
        shapes.main(["nothing.of.this"])
    assert info.value.code == 2


def test_kinds_are_what_they_say() -> None:
    case = shapes.CASES["layer_norm.50x333"]
    arrays = [shapes.np.ones(s, "float32") for s in case.shapes]
    for count, kind in enumerate(shapes.KINDS):
        f = shapes.compiled(case, kind, arrays)
        f(*arrays)
        (version,) = f.compiled.version_list
        assert len(version.symbols) == count, kind
