"""Start the native side once per process: object cache on disk, thread count."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from symgraph.core.config import config
from symgraph.cpu import jit, memory, pool
from symgraph.cpu.entry_text import ENTRY_NAMES, entry_text
from symgraph.cpu.pool_text import EXPORTS, pool_text


def start() -> None:
    """Follow the settings (cache folder, threads) and begin what every call needs.

    Cheap when nothing changed.
    """
    jit.follow_settings()
    _begin()
    _apply_threads(config.threads)


@functools.cache
def _begin() -> None:
    """Let the programs of every process be made while the first function is being read.

    What only some functions need is begun where another core has nothing else to do.
    """
    programs: list[tuple[str, Sequence[str]]] = [(entry_text(), ENTRY_NAMES)]
    if pool.default_threads() > 1:
        programs += [memory.PROGRAM, (pool_text(), EXPORTS)]
    jit.begin(programs)


@functools.cache
def _apply_threads(count: int) -> None:
    if count:
        pool.set_threads(count)


def set_threads(count: int) -> None:
    """Let compiled functions run on `count` threads (results are bitwise the same for any)."""
    pool.set_threads(count)
