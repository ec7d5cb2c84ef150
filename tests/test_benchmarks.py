"""The benchmark programs: rows, workers, statistics, comparison, report."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import measure, report, results, rows, worker
from benchmarks.__main__ import main
from benchmarks.peers import OURS, with_numpy, with_symgraph
from benchmarks.peers.nets_symgraph import KINDS
from benchmarks.program import Program, difference, digest

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def cell(median: float, spread: float = 0.01, **more: Any) -> dict[str, Any]:
    low, high = median * (1 - spread), median * (1 + spread)
    return {"median": median, "q1": low, "q3": high, "n": 5} | more


def file_of(**cells: dict[str, Any]) -> dict[str, Any]:
    """Return a result file with one row on one thread."""
    line = {"row": "call.add1_n10", "text": "", "threads": 1, "load": 0.0, "cells": cells}
    return {
        "format": results.FORMAT,
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        "load": [0.0, 0.0],
        "machine": {"cpu": "c", "cores": 2, "vectors": [], "system": "s", "revision": "r"},
        "versions": {"symgraph": "0"},
        "settings": {"repeat": 5, "budget_s": 0.1, "peers": list(cells)},
        "rows": [line],
    }


def test_list_names_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows.ROWS)
    assert set(report.TITLES) == {r.group for r in rows.ROWS.values()}


def test_select() -> None:
    assert [r.name for r in rows.select(["call"])] == ["call.add1_n10"]
    assert len(rows.select(["chain.1e?", "chain.1e3", "chain.1e5"])) == 3
    assert len(rows.select([])) == len(rows.ROWS)
    with pytest.raises(KeyError):
        rows.select(["no-such-row"])


def test_every_row_has_a_builder_here() -> None:
    for row in rows.ROWS.values():
        known = KINDS if row.model else with_symgraph.EXPRESSIONS
        assert row.kind in known or row.net or row.group == "conv"
    assert set(with_numpy.EXPRESSIONS) <= set(with_symgraph.EXPRESSIONS)


def test_quick_run_alone(tmp_path: Path) -> None:
    done = run("run", "call", "chain.1e3", "--quick", "--against", "none", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = results.read(tmp_path / "results.json")
    assert [(li["row"], li["threads"]) for li in found["rows"]] == [
        ("call.add1_n10", 1),
        ("chain.1e3", 1),
    ]
    for line in found["rows"]:
        assert list(line["cells"]) == [OURS]
        assert 0 < line["cells"][OURS]["median"] < 0.1
    assert "call.add1_n10" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "chart.png").stat().st_size > 5000


def test_run_compares_values_with_numpy() -> None:
    done = run("run", "chain.1e3", "train.digits_b32", "--quick", "--against", "numpy", "--json")
    assert done.returncode == 0, done.stderr
    chain, train = json.loads(done.stdout)["rows"]
    assert 0 < chain["cells"][OURS]["error"] < measure.TOLERANCE
    assert list(train["cells"]) == [OURS]


def test_start_rows(tmp_path: Path) -> None:
    plan = measure.Plan(rows.select(["compile.tanh_sum.cold"]), [OURS], repeat=1)
    with (tmp_path / "log").open("w") as log:
        found = measure.run(plan, log)
    mine = found["rows"][0]["cells"][OURS]
    assert 0 < mine["median"] < 30
    assert mine["llvm_s"] > 1e-3  # LLVM is not loaded before the first function
    assert "symgraph" in found["versions"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "no-such-row"],
        ["run", "--against", "no-such-library"],
        ["run", "--threads", "0"],
        ["run", "--threads", "two"],
        ["run", "--repeat", "0"],
        ["report", "no-such-file"],
        ["compare", "no-such-file", "no-such-file"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err


def test_unknown_verb_is_2() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["no-such-verb"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("new", "status"),
    [
        (cell(1.0), 0),
        (cell(1.09), 0),  # within 10 %
        (cell(1.2, 0.25), 0),  # within the spread
        (cell(1.2), 1),
        (cell(0.5), 0),
        ({"failed": "ValueError: x"}, 1),
        (cell(1.0, wrong="differs from numpy"), 1),
    ],
)
def test_compare_status(new: dict[str, Any], status: int, tmp_path: Path) -> None:
    paths = [tmp_path / "base.json", tmp_path / "new.json"]
    for path, value in zip(paths, (cell(1.0), new), strict=True):
        results.write(file_of(symgraph=value), path)
    assert main(["compare", *map(str, paths)]) == status


def test_compare_refuses_files_without_common_rows(tmp_path: Path) -> None:
    first, second = file_of(symgraph=cell(1.0)), file_of(symgraph=cell(1.0))
    second["rows"][0]["threads"] = 2
    for name, value in (("a", first), ("b", second)):
        results.write(value, tmp_path / name)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2


def test_wrong_results_fail_and_are_never_best() -> None:
    value = np.arange(1000, dtype=np.float32)
    cells = {OURS: {"digest": digest([value * 1.001])}, "numpy": {"digest": digest([value])}}
    measure.compare_results(rows.ROWS["chain.1e3"], cells)
    assert "wrong" in cells[OURS]
    assert "wrong" not in cells["numpy"]
    bad = file_of(symgraph=cell(1.0, wrong="differs"), numpy=cell(2.0))
    assert results.bad_cells(bad)
    table = report.markdown(bad)
    assert "**2.00 s**" in table
    assert "1.00 s ±1% wrong" in table


def test_difference_sees_shapes_and_nan() -> None:
    value = np.ones((3, 4))
    assert difference(digest([value]), digest([value])) == 0
    assert difference(digest([value]), digest([value.T])) == float("inf")
    other = value.copy()
    other[0, 0] = np.nan
    assert difference(digest([other]), digest([value])) == float("inf")


def test_statistic_leaves_out_disturbed_samples() -> None:
    calm = [{"s": s, "waited": 0.0} for s in (1.0, 2.0, 3.0)]
    busy = [{"s": 9.0, "waited": 0.5}] * 3
    found = measure.statistic(calm + busy)
    assert (found["median"], found["n"], found["disturbed"]) == (2.0, 3, False)
    found = measure.statistic(calm[:2] + busy)
    assert (found["median"], found["disturbed"]) == (9.0, True)
    assert not measure.enough(calm[:2] + busy)


def test_report_shows_a_loss_as_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = file_of(symgraph=cell(2.0), torch=cell(1.0))
    table = report.markdown(lost)
    assert "**0.50 (torch)**" in table
    won = copy.deepcopy(lost)
    won["rows"][0]["cells"]["torch"] = cell(3.0)
    assert "| 1.50 (torch) |" in report.markdown(won)
    won["rows"][0]["cells"]["torch"]["disturbed"] = True
    assert "| 1.50 (torch) ~ |" in report.markdown(won)
    for name, shown in (("chart.png", report.ROWS_SHOWN), ("groups.png", 0)):
        monkeypatch.setattr(report, "ROWS_SHOWN", shown)
        report.chart(lost, tmp_path / name)
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("file", "page"),
    [("results", "performance"), *((n, f"performance_{n}") for n in ("avx2", "avx512"))],
)
def test_documents_show_the_committed_results(file: str, page: str) -> None:
    found = results.read(ROOT / "benchmarks" / "results" / f"{file}.json")
    document = (ROOT / "docs" / f"{page}.md").read_text()
    assert document == report.insert(document, report.markdown(found))
    with pytest.raises(ValueError, match="no line"):
        report.insert("a document without the marker", "")


def test_duration_units() -> None:
    assert [report.duration(s) for s in (1.5, 2.5e-3, 12.34e-6, 244e-9)] == [
        "1.50 s",
        "2.50 ms",
        "12.3 us",
        "244 ns",
    ]


def test_memory_rows(tmp_path: Path) -> None:
    plan = measure.Plan(rows.select(["memory.policy"]), [OURS], repeat=1)
    with (tmp_path / "log").open("w") as log:
        found = measure.run(plan, log)
    mine = found["rows"][0]["cells"][OURS]
    assert 1e5 < mine["median"] < 1e9
    assert 0 < mine["facts"]["arena"] <= mine["facts"]["temporaries"]
    table = report.markdown(found)
    assert f"{mine['median'] * 1e-6:.1f} MB" in table
    assert "the sum of its temporaries, MB: policy 0." in table


def test_growth_is_the_slope_of_logarithms() -> None:
    lines = [
        {"row": f"compile.deep_{n}.cold", "cells": {OURS: cell(1e-3 * n**1.5)}}
        for n in (5, 50, 100, 200)
    ]
    lines[0]["cells"][OURS] = cell(9.0)  # too small to count
    assert report.growth(lines).endswith(f"deep, {OURS} 1.50.")
    assert not report.growth(lines[:2])


def test_warm_starts_say_what_compilation_takes() -> None:
    line = {"row": "compile.vgg.warm", "cells": {OURS: {**cell(1.0), "facts": {"compile_s": 0.02}}}}
    assert report.warm_compilations([line]).endswith("first step): vgg 20.0 ms.")
    assert not report.warm_compilations([{"row": "compile.vgg.warm", "cells": {OURS: cell(1.0)}}])


def test_operands_in_turn() -> None:
    row = dataclasses.replace(rows.find("matmul.64"), turns=3)
    data = [rows.make(row, turn) for turn in range(3)]
    assert len({d.inputs[0][0, 0].item() for d in data}) == 3
    called: list[int] = []
    programs = [Program(f"call({k})", {"call": called.append}, list) for k in range(3)]
    worker.Server("numpy", 1).in_turn(programs).timeit(7)
    assert called == [0, 1, 2, 0, 1, 2, 0]
