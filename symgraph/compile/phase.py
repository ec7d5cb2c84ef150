"""What the compilation of each thread is doing, for the line that a slow one prints."""

from __future__ import annotations

import threading

_phases: dict[int, str] = {}


def enter(phase: str) -> None:
    """Say what this thread begins to do."""
    _phases[threading.get_ident()] = phase


def phase_of(thread: int) -> str:
    """Return what a thread last began to do."""
    return _phases.get(thread, "the plan")
