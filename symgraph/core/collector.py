"""Python's collector of cycles, paused while graphs are compiled.

A compilation makes many objects that stay, so each run of the collector walks through more of them
and finds nothing: a tenth of the time of compiling.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Let no collection run inside, unless another thread asks for them.

    What was made inside counts as old at the end: it is not gone through at once, but in the next
    full collection.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # what the user froze would be thawed too
            gc.freeze()
            gc.unfreeze()
        gc.enable()
