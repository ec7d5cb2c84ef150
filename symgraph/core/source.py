"""The user's source line of each node: found once, when the node is made."""

from __future__ import annotations

import linecache
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Source(NamedTuple):
    """A place in the user's program; `note`, after the place, says how the node came from it."""

    file: str
    line: int
    note: str = ""

    def __str__(self) -> str:
        code = linecache.getline(self.file, self.line).strip()
        place = f"{os.path.basename(self.file)}:{self.line}"
        return f"{place}{self.note}" + (f"   {code}" if code else "")


_override: list[Source | None] = []


_warned: dict[Any, Any] = {}  # what was said, for the filter "once per place"


def warn(message: str) -> None:
    """Warn at the user's line."""
    place = _user_line() or Source("<unknown>", 0)
    warnings.warn_explicit(message, UserWarning, place.file, place.line, registry=_warned)


def here() -> Source | None:
    """Return the innermost frame outside of symgraph, or the source set by `made_from`."""
    return _override[-1] if _override else _user_line()


def _user_line() -> Source | None:
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
    if source is not None and note and source.note != note:
        source = Source(source.file, source.line, note)
    _override.append(source)
    try:
        yield
    finally:
        _override.pop()
