"""Which axis of a nest vectors run along."""

from __future__ import annotations

import numpy as np
import pytest

import symgraph as sg
from symgraph.debug import stages
from symgraph.loops.schedule import choose_schedule
from symgraph.loops.statements import Nest


def schedules(result: sg.Variable) -> list[tuple[tuple[sg.Dim | int, ...], int, int]]:
    """Return the extents, the lanes and the rows of a tile of each nest with a sum (AVX-512)."""
    program = stages.lowered((result,))[0].program
    assert program is not None
    found = []
    for nest in program.statements:
        if isinstance(nest, Nest) and any(t.value.op == "reduce" for t in nest.stores):
            schedule = choose_schedule(nest, 64)
            found.append((tuple(a.extent for a in nest.axes), schedule.lanes, schedule.tile))
    return found


def test_three_taps_do_not_make_a_vector() -> None:
    """The gradient by depthwise filters 3 x 3 sums along the rows of images."""
    x, w, y = (
        sg.tensor(n, s)
        for n, s in (("x", (4, 8, 20, 20)), ("w", (8, 1, 3, 3)), ("y", (4, 8, 18, 18)))
    )
    (by_filters,) = sg.grad((sg.conv2d(x, w, groups=8) * y).sum(), [w])
    ((extents, lanes, tile),) = schedules(by_filters)
    assert extents[-1] == 3
    assert lanes == 1
    assert tile == 3  # rows of the gradient are read once for three taps


def test_numbers_of_a_channel_do_not_pull_vectors_across_the_images() -> None:
    """They are read once for each sum; the images are read in each of its turns."""
    x, y = (sg.tensor(n, (16, 32, 20, 20)) for n in "xy")
    a, b, c = (sg.tensor(n, (32,))[:, None, None] for n in "abc")
    (found,) = schedules((y * a * ((x - b) * c)).sum((0, 2, 3)))
    assert found == ((32,), 1, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_gradients_by_depthwise_filters(size: int) -> None:
    rng = np.random.default_rng(size)
    x, w = (rng.standard_normal(s) for s in ((3, 4, 11, 37), (4, 1, size, size)))
    a, b = sg.tensor4("a", "float64"), sg.tensor("b", w.shape, "float64")
    y = sg.conv2d(a, b, groups=4)
    f = sg.function([a, b], sg.grad((y * y).sum(), b))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    out = np.einsum("nchwpq,cpq->nchw", windows, w[:, 0])
    want = np.einsum("nchwpq,nchw->cpq", windows, 2 * out)
    np.testing.assert_allclose(f(x, w)[:, 0], want, rtol=1e-11)
