"""python -m symgraph and ./dev: output, exit status, options."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import symgraph as sg
from symgraph.__main__ import main
from symgraph.debug import doctor

ROOT = Path(__file__).parents[2]


def test_doctor_finds_all_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sg.config.override(cache_dir=str(tmp_path)):
        assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert text.endswith("all is well\n")
    for part in ("numpy 2", "llvmlite", "vectors of", "native entry", "can be written"):
        assert part in text


def test_doctor_reports_what_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setattr(doctor, "CHECKS", [c for c in doctor.CHECKS if c[0] == "cache folder"])
    with sg.config.override(cache_dir=str(blocked)):
        assert main(["doctor", "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert not finding["good"] and "NotADirectoryError" in finding["detail"]


def test_config_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {r["name"] for r in rows} == set(sg.config.__dataclass_fields__)
    assert all(r["doc"] and r["source"] for r in rows)
    assert main(["config"]) == 0
    assert "floatX" in capsys.readouterr().out


def test_cache_is_reported_and_cleared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "compiled"
    folder.mkdir()
    (folder / "a.sgo").write_bytes(b"1234")
    with sg.config.override(cache_dir=str(tmp_path)):
        assert main(["cache", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["files"], report["bytes"]) == (1, 4)
        assert main(["cache", "clear"]) == 0
    assert not list(folder.iterdir())


@pytest.mark.parametrize("arguments", [[], ["heal"], ["cache", "eat"], ["doctor", "--no"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2


def load_dev() -> ModuleType:
    module = ModuleType("dev")
    module.__file__ = str(ROOT / "dev")
    exec(compile((ROOT / "dev").read_text(), "dev", "exec"), vars(module))
    return module


@pytest.mark.parametrize("arguments", [[], ["demo"], ["test"], ["bench"], ["docs"], ["lint"]])
def test_dev_has_help_everywhere(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "dev"), *arguments, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "usage" in done.stdout


def test_dev_refuses_unknown_verbs() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "dev"), "dance"], capture_output=True, text=True
    )
    assert done.returncode == 2


def test_dev_installs_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dev, calls = load_dev(), []
    monkeypatch.setenv("DEV_VENV", str(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    monkeypatch.setattr(dev.subprocess, "call", lambda command, **_: calls.append(command) or 0)
    dev.install("nn")
    dev.install("nn")
    assert len(calls) == 1 and calls[0][-1].endswith("[nn]")
    dev.install("nn", "dev", torch=True)
    assert len(calls) == 2 and calls[1][-2].endswith("[dev,nn]") and calls[1][-1] == "torch==2.13.0"
    dev.install("dev")
    assert len(calls) == 2
    stamp = json.loads((tmp_path / ".dev-stamp").read_text())
    (tmp_path / ".dev-stamp").write_text(json.dumps({**stamp, "key": "older setup.py"}))
    dev.install("nn")
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("module", "verbs"),
    [("symgraph", ("doctor", "config", "cache")),
     ("benchmarks", ("list", "run", "compare", "report", "setup"))],
)  # fmt: skip
def test_help_has_an_example_for_every_verb(module: str, verbs: tuple[str, ...]) -> None:
    for verb in verbs:
        command = [sys.executable, "-m", module, verb, "--help"]
        text = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
        assert f"  python -m {module} {verb}" in text


def test_a_reader_that_has_enough_is_no_error() -> None:
    """As in `python -m benchmarks list | head -1`."""
    command = [sys.executable, "-u", "-m", "benchmarks", "list"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 0
