"""Which elements of a window meet an image at which places: `symgraph/loops/meetings.py`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from symgraph.dims.dim import Dim
from symgraph.loops.meetings import Along, Stretch, stretches


@given(
    places=st.integers(1, 12), taps=st.integers(1, 7), origin=st.integers(-6, 6),
    step=st.integers(1, 4), by=st.sampled_from([-3, -2, -1, 1, 2, 3]), size=st.integers(1, 9),
)  # fmt: skip
def test_stretches_are_what_each_place_meets(
    places: int, taps: int, origin: int, step: int, by: int, size: int
) -> None:
    found = stretches(Along(places, taps, origin, step, by, size))
    each = [(part.tap, part.taps) for part in found for _ in range(part.places)]
    inside = [
        [u for u in range(taps) if 0 <= origin + t * step + u * by < size] for t in range(places)
    ]
    assert each == [(us[0] if us else 0, len(us)) for us in inside]
    assert [part.place for part in found] == [
        sum(part.places for part in found[:k]) for k in range(len(found))
    ]


def test_sizes_that_are_not_known_are_one_stretch() -> None:
    n = Dim("n")
    assert stretches(Along(n, 3, -1, 1, 1, n)) == [Stretch(0, n, 0, 3)]
