"""A limit on the threads of one function, below what the process' pool allows."""

from __future__ import annotations

from typing import Any

from symgraph.cpu.abi import Ctx


def limit_threads(entry: Any, threads: int) -> None:
    """Let the loops behind an entry run on at most `threads` threads of the pool."""
    entry.words[Ctx.MAX_THREADS] = threads
