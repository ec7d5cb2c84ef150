"""The collector of cycles is paused inside and as it was after."""

from __future__ import annotations

import gc

import pytest

from symgraph.core.collector import paused


@pytest.fixture(autouse=True)
def as_before():
    enabled = gc.isenabled()
    gc.enable()
    yield
    gc.unfreeze()
    (gc.enable if enabled else gc.disable)()


def test_nothing_is_collected_inside():
    runs = []
    gc.callbacks.append(lambda phase, info: runs.append(phase))
    try:
        with paused():
            assert not gc.isenabled()
            kept = [[] for _ in range(10_000)]
        seen = len(runs)
    finally:
        gc.callbacks.pop()
    assert not seen and gc.isenabled() and len(kept) == 10_000


def test_it_is_enabled_again_after_an_error_and_stays_off_where_it_was_off():
    with pytest.raises(ValueError), paused():
        raise ValueError
    assert gc.isenabled()
    gc.disable()
    with paused():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_what_was_frozen_stays_frozen():
    gc.freeze()
    count = gc.get_freeze_count()
    assert count
    with paused():
        pass
    assert gc.get_freeze_count() == count


def test_cycles_made_inside_are_still_found():
    gc.collect()
    with paused():
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
    assert gc.collect() >= 1
