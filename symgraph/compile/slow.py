"""What a compilation says that takes long; loaded only then."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from symgraph.compile.version import Version

log = logging.getLogger("symgraph.compile")


def say_busy(name: str, start: float) -> None:
    """Say that the compilation which began at `start` (`time.perf_counter`) still runs."""
    log.warning("still compiling %s after %.1f s", name, time.perf_counter() - start)


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
