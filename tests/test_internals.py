"""The examples in docs/internals are what the code makes now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from symgraph.core.op import ops
from symgraph.debug import internals

FOLDER = Path(__file__).parents[1] / "docs" / "internals"
PAGES = sorted(FOLDER.glob("*.md"))
TIMES = re.compile(r"\b\d+(?:\.\d+)? (?:ms|us|ns|seconds)\b")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_page_is_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert internals.filled(text) == text, "run python -m symgraph.debug.internals docs/internals"


def test_every_example_is_shown_and_every_page_listed() -> None:
    texts = {p.stem: p.read_text(encoding="utf-8") for p in PAGES}
    shown = [m[2] for text in texts.values() for m in internals.BLOCK.finditer(text)]
    assert sorted(shown) == sorted(internals.EXAMPLES)
    listed = set(re.findall(r"\]\(([\w-]+)\.md\)", texts["index"]))
    assert listed == texts.keys() - {"index"}


def test_examples_show_nothing_of_the_machine() -> None:
    for make, _ in internals.EXAMPLES.values():
        first = make()
        assert make() == first  # and not what was made before, by whom, or when
        assert not TIMES.search(first)


def test_stale_page_is_found_and_rewritten(tmp_path: Path) -> None:
    page = tmp_path / "graph.md"
    page.write_text("before\n<!-- made by code: graph -->\nold\n<!-- end -->\nafter\n")
    assert internals.filled(page.read_text()) != page.read_text()
    internals.main([str(tmp_path)])
    text = page.read_text()
    assert "exp(x * 2) is exp(x * 2): True" in text and "old" not in text
    assert text.startswith("before\n") and text.endswith("after\n")
    assert internals.filled(text) == text


def test_unknown_example_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        internals.filled("<!-- made by code: nothing -->\n<!-- end -->\n")


def test_examples_change_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (FOLDER / "lowering.md").read_text(encoding="utf-8")
    monkeypatch.setattr(ops["tanh"], "scalar", lambda s, v: s.unary("tanh", v) + 1.0)
    assert internals.filled(text) != text
