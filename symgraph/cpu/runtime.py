"""Start the native side once per process: object cache on disk, thread count."""

from __future__ import annotations

import functools

from symgraph.core.config import config
from symgraph.cpu.entry import context
from symgraph.cpu.native import jit, pool


def start() -> None:
    """Follow the settings (cache folder, threads) and begin what every call needs.

    Cheap when nothing changed.
    """
    jit.follow_settings()
    context.begin()
    _apply_threads(config.threads)


@functools.cache
def _apply_threads(count: int) -> None:
    if count:
        pool.set_threads(count)


def set_threads(count: int) -> None:
    """Let compiled functions run on `count` threads (results are bitwise the same for any)."""
    pool.set_threads(count)
