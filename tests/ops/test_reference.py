"""The op reference is complete, and the page in docs is the one that the generator writes."""

from __future__ import annotations

from pathlib import Path

import symgraph.ops  # noqa: F401
from symgraph.core.op import o, ops
from symgraph.debug.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "ops.md"


def test_every_function_and_op_is_named() -> None:
    text = reference()
    for name in [*o.names(), *ops]:
        assert f"`{name}" in text or f"{name}," in text or f" {name} " in text, name


def test_every_function_says_what_it_does() -> None:
    for line in reference().splitlines():
        if line.startswith("| `"):
            assert len(line.split(" | ")[2].strip(" |")) > 5, line


def test_page_is_up_to_date() -> None:
    command = "python -m symgraph.debug.reference > docs/reference/ops.md"
    assert PAGE.read_text() == reference(), f"run: {command}"
