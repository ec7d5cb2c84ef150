"""The user's source line of each node: found once, when the node is made."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Source(NamedTuple):
    """A place in the user's program; `note` says how the node came from there."""

    file: str
    line: int
    note: str = ""

    def __str__(self) -> str:
        code = linecache.getline(self.file, self.line).strip()
        place = f"{os.path.basename(self.file)}:{self.line}"
        return f"{self.note}{place}" + (f"   {code}" if code else "")


_override: list[Source | None] = []


def here() -> Source | None:
    """Return the innermost frame outside of symgraph, or the source set by `made_from`."""
    if _override:
        return _override[-1]
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE):
            return Source(name, frame.f_lineno)
        frame = frame.f_back
    return None


@contextmanager
def made_from(source: Source | None, note: str = "") -> Iterator[None]:
    """Give nodes made inside the block this source (a derivative or a rewrite keeps the line)."""
    if source is not None and note and not source.note.startswith(note):
        source = Source(source.file, source.line, note)
    _override.append(source)
    try:
        yield
    finally:
        _override.pop()
