"""The state of symgraph's own source, so that results kept on disk never outlive the code."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator

_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_BEGAN = time.time_ns()
_SETTLED = 2_000_000_000  # ns that a file must be older than this process' modules

File = tuple[str, int, int, int]
Stamp = tuple[File, ...]


def read_stamp(folder: str = _FOLDER) -> Stamp:
    """Return (path, bytes, times of change of content and of status) of each source file, sorted.

    Times are in ns. The second one shows what a copy that keeps the first one hides.
    """
    return tuple(sorted(_files(folder)))


def _files(folder: str) -> Iterator[File]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                status = entry.stat()
                yield entry.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns
            elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
                yield from _files(entry.path)


@functools.cache
def source_stamp() -> Stamp | None:
    """Return the stamp of the modules that this process runs; None if it cannot be known.

    A file that is as young as the process may be another one than was imported. One that changes
    later has another time for ever, so that nobody looks for what this process keeps.
    """
    try:
        stamp = read_stamp()
    except OSError:  # such as a package inside of an archive
        return None
    settled = _BEGAN - _SETTLED
    return stamp if stamp and all(max(times) < settled for _, _, *times in stamp) else None
