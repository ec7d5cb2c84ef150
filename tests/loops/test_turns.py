"""Large temporaries that are filled in turns: the same bits, whoever does which turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.loops import convolution, turns
from symgraph.loops.meetings import CHANNELS_FIRST, Order


def depthwise(x: Any, w: Any, stride: int = 1) -> Any:
    return sg.conv2d(sg.tanh(x), w, stride=stride, padding=2, groups=int(x.type.shape[1]))


def gradient(which: int, stride: int) -> Callable[[Any, Any], Any]:
    def made(x: Any, w: Any) -> Any:
        y = sg.conv2d(x, w, stride=stride, padding=2, groups=int(x.type.shape[1]))
        return sg.grad((y * y).sum(), [x, w][which])

    return made


CASES: dict[str, Callable[[Any, Any], Any]] = {
    "forward": depthwise,
    "forward, every second": lambda x, w: depthwise(x, w, 2),
    "by images": gradient(0, 1),
    "by images, every second": gradient(0, 2),
    "by filters": gradient(1, 1),
    "by filters, every second": gradient(1, 2),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let small temporaries count as large ones."""
    monkeypatch.setattr(turns, "FAR", 1 << 12)
    monkeypatch.setattr(turns, "NEAR", 1 << 14)
    monkeypatch.setattr(turns, "LEAST", 1)
    return monkeypatch


def made(case: str, shape: tuple[int, ...], **options: Any) -> tuple[Any, list[np.ndarray]]:
    x = sg.tensor("x", shape, "float32")
    w = sg.tensor("w", (shape[1], 1, 5, 5), "float32")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(n).astype("float32") for n in (shape, (shape[1], 1, 5, 5))]
    return sg.function([x, w], CASES[case](x, w), **options), arrays


@pytest.mark.parametrize("shape", [(8, 12, 20, 21), (2, 30, 17, 16), (9, 14, 15, 15)])
@pytest.mark.parametrize("case", CASES)
def test_turns_give_the_same_bits(
    case: str, shape: tuple[int, ...], small: pytest.MonkeyPatch
) -> None:
    f, arrays = made(case, shape)
    assert "turn t" in f.explain("loops")
    found = []
    try:
        for threads in (1, 2, 4):
            sg.set_threads(threads)
            found.append(f(*arrays))
    finally:
        sg.set_threads(2)
    small.setattr(turns, "FAR", 1 << 60)
    whole, _ = made(case, shape)
    assert "turn t" not in whole.explain("loops")
    for value in found:
        np.testing.assert_array_equal(value, whole(*arrays))


@pytest.mark.parametrize("case", CASES)
def test_debug_mode_and_profiles_know_turns(case: str, small: pytest.MonkeyPatch) -> None:
    f, arrays = made(case, (3, 5, 13, 14))
    for options in ({"mode": "debug"}, {"profile": True}):
        other, _ = made(case, (3, 5, 13, 14), **options)
        np.testing.assert_array_equal(other(*arrays), f(*arrays))


def test_what_others_read_is_stored_whole(small: pytest.MonkeyPatch) -> None:
    """A result, or what a product reads, is no temporary of turns."""
    x = sg.tensor("x", (8, 12, 20, 20), "float32")
    w = sg.tensor("w", (12, 1, 5, 5), "float32")
    v = sg.tensor("v", (6, 12, 5, 5), "float32")
    padded = sg.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    both = [sg.conv2d(padded, w, groups=12), sg.conv2d(padded, v)]
    assert "turn t" not in sg.function([x, w, v], both).explain("loops")
    both = [sg.conv2d(padded, w, groups=12), padded]
    assert "turn t" not in sg.function([x, w], both).explain("loops")


def test_parts_are_as_large_as_a_near_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 channels of 60 x 60 floats in blocks of 16; images that are larger stay whole."""
    for size, count in ((56, "turn t<16>"), (300, None)):
        x = sg.tensor("x", (4, 64, size, size), "float32")
        w = sg.tensor("w", (64, 1, 5, 5), "float32")
        loops = sg.function([x, w], depthwise(x, w)).explain("loops")
        assert (count in loops) if count else ("turn t" not in loops)


def test_turns_do_not_need_each_other(small: pytest.MonkeyPatch) -> None:
    """What reads the temporary also reads channels of another reader's result."""
    x = sg.tensor("x", (4, 12, 20, 20), "float32")
    w = sg.tensor("w", (12, 1, 5, 5), "float32")
    y = depthwise(x, w)
    z = sg.max_pool2d(sg.pad(sg.tanh(x), ((0, 0), (0, 0), (2, 2), (2, 2))), 5, stride=1)
    values = [y, z + sg.flip(y, 1)]
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(a.type.shape).astype("float32") for a in (x, w)]
    found = sg.function([x, w], values)(*arrays)
    small.setattr(turns, "FAR", 1 << 60)
    for a, b in zip(found, sg.function([x, w], values)(*arrays), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("places", [1, 3, 64])
def test_threads_at_work_have_places_of_their_own(places: int, small: pytest.MonkeyPatch) -> None:
    """A thread that finds all places taken waits."""
    small.setattr(turns, "MOST_PLACES", places)
    f, arrays = made("forward", (64, 12, 20, 21))
    small.setattr(turns, "FAR", 1 << 60)
    wanted = made("forward", (64, 12, 20, 21))[0](*arrays)
    try:
        sg.set_threads(4)
        for _ in range(200):
            np.testing.assert_array_equal(f(*arrays), wanted)
    finally:
        sg.set_threads(2)


def test_a_result_that_nothing_reads_has_one_place(small: pytest.MonkeyPatch) -> None:
    """It is a temporary that turns write, and no part of one: a copy of it was merged into them."""
    f, arrays = made("by images", (8, 12, 20, 21))
    wanted = f(*arrays)
    small.setattr(convolution, "order_of", lambda _: Order(result=CHANNELS_FIRST))
    f, _ = made("by images", (8, 12, 20, 21))
    assert "turn t" in f.explain("loops")
    np.testing.assert_array_equal(f(*arrays), wanted)


def test_turns_are_not_over_what_lies_innermost(small: pytest.MonkeyPatch) -> None:
    """Images of two convolutions of a batch do: a turn for each would use one element of a line."""
    x = sg.tensor("x", (16, 64, 7, 7), "float32")
    v, w = (sg.tensor(name, (64, 64, 3, 3), "float32") for name in "vw")
    value = sg.conv2d(sg.tanh(sg.conv2d(x, v, padding=1)), w, padding=1)
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(t.type.shape).astype("float32") for t in (x, v, w)]
    f = sg.function([x, v, w], value)
    assert "turn t<16>:\n    for i0<16>" in f.explain("loops")
    found = f(*arrays)
    small.setattr(turns, "FAR", 1 << 60)
    np.testing.assert_array_equal(found, sg.function([x, v, w], value)(*arrays))
