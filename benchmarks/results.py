"""Result files: read them, write them, and compare two of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import FORMAT
from benchmarks.peers import OURS

ALLOWED = 1.10  # a slowdown beyond this, and beyond the spread, is a regression
Results = dict[str, Any]


def read(path: Path) -> Results:
    """Read a result file. Raises ValueError for anything else."""
    try:
        found = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a result file: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT or "rows" not in found:
        raise ValueError(f"{path} is not a result file of format {FORMAT}")
    return found


def write(results: Results, path: Path) -> None:
    """Write a result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Change:
    """One row in two files: `ratio` is new time over old time; `clear` is outside the spread."""

    row: str
    threads: int
    old: float
    new: float
    clear: bool

    @property
    def ratio(self) -> float:
        """Return new time / old time."""
        return self.new / self.old

    @property
    def verdict(self) -> str:
        """Say whether the change counts, and in which direction."""
        if self.clear and self.ratio > ALLOWED:
            return "slower"
        return "faster" if self.clear and self.ratio < 1 / ALLOWED else ""


def ours(results: Results) -> dict[tuple[str, int], dict[str, Any]]:
    """Return our cells by row and threads."""
    return {
        (line["row"], line["threads"]): line["cells"][OURS]
        for line in results["rows"]
        if OURS in line["cells"]
    }


def compare(base: Results, new: Results) -> tuple[list[Change], list[str]]:
    """Return the changes of our times, and the failures: cells that base has and new lacks.

    A change is clear where the quartile ranges of the two do not overlap.
    """
    before, after = ours(base), ours(new)
    changes, failures = [], []
    for key, old in before.items():
        cell = after.get(key)
        if cell is None or "median" not in old:
            continue
        name = f"{key[0]}, {key[1]} threads"
        if "median" not in cell:
            failures.append(f"{name}: {cell.get('failed', 'no time')}")
            continue
        if "wrong" in cell and "wrong" not in old:
            failures.append(f"{name}: {cell['wrong']}")
        clear = cell["q1"] > old["q3"] or cell["q3"] < old["q1"]
        changes.append(Change(*key, old["median"], cell["median"], clear))
    return changes, failures


def bad_cells(results: Results) -> list[str]:
    """Return what failed or came out wrong in our own column."""
    return [
        f"{row}, {threads} threads: {cell.get('failed') or cell['wrong']}"
        for (row, threads), cell in ours(results).items()
        if "failed" in cell or "wrong" in cell
    ]
