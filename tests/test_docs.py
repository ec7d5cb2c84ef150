"""Run every example: README, tutorial, docs/examples, docstrings."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import symgraph as sg
import symgraph_nn as nn

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")],
    key=lambda p: p.relative_to(ROOT).as_posix(),
)
QUOTING = ROOT / "docs" / "internals"  # its blocks quote the source; they are no programs
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)#]+)(?:#[^)]*)?\)")
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
EXAMPLE_SECONDS = 20
PACKAGES = ("symgraph", "symgraph_nn")


def blocks(page: Path) -> list[tuple[int, str]]:
    """Return (line, code) of each Python block of a page."""
    text = page.read_text(encoding="utf-8")
    return [(text[: m.start(1)].count("\n") + 1, m[1]) for m in BLOCK.finditer(text)]


def run_page(page: Path) -> None:
    """Run the blocks of a page in one namespace, with the page's own line numbers."""
    namespace: dict[str, object] = {"__name__": "page"}
    for line, code in blocks(page):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p) and QUOTING not in p.parents], ids=lambda p: p.stem
)
def test_page_runs(page: Path) -> None:
    run_page(page)


def test_wrong_page_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError) as error:
        run_page(page)
    assert error.traceback[-1].lineno == 7  # counted from 0: the line in the page


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = [t for t in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in t]
    assert not [t for t in links if not (page.parent / t).exists()]


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(script: Path, tmp_path: Path) -> None:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "an example begins with what it shows"
    start = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < EXAMPLE_SECONDS


def modules() -> list[str]:
    """Return the names of the modules whose text has a `>>>`."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8") and path.name != "__main__.py":
                parts = path.relative_to(ROOT).with_suffix("").parts
                found.append(".".join(p for p in parts if p != "__init__"))
    return found


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    for value in list(vars(module).values()):
        hasattr(value, "__wrapped__")  # loads what is lazy, which adds names to packages
    failed, tried = doctest.testmod(
        module,
        extraglobs={"np": np, "sg": sg, "nn": nn},
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )
    assert tried and not failed
