"""What a compilation says that takes long; loaded only then."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from symgraph.compile.phase import phase_of

if TYPE_CHECKING:
    from symgraph.compile.version import Version

log = logging.getLogger("symgraph.compile")


def say_busy(name: str, start: float, thread: int) -> None:
    """Say what the compilation of a thread, begun at `start` (`time.perf_counter`), is doing."""
    seconds = time.perf_counter() - start
    log.warning("still compiling %s after %.1f s, now at: %s", name, seconds, phase_of(thread))


def say_slow(version: Version) -> None:
    """Say what took the time of a compilation that is done."""
    parts = sorted(version.stages.seconds.items(), key=lambda t: -t[1])
    text = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts[:3])
    log.warning(
        "compiling %s took %.1f s (%d kernels; %s)",
        version.name,
        version.seconds,
        len(version.module.kernels),
        text,
    )
