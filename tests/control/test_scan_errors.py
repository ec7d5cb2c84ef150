"""What scans refuse, and what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scan_rig import close

import symgraph as sg


def test_a_step_must_keep_the_type_of_its_state() -> None:
    x = sg.matrix("x", dtype="float32")
    with pytest.raises(sg.DTypeError, match="changes the dtype"):
        sg.scan(lambda v, s: sg.cast(s + v, "float64"), x, sg.zeros((3,), "float32"))
    with pytest.raises(sg.ShapeError, match="changes the shape"):
        sg.scan(lambda v, s: sg.concatenate([s, s]), x, sg.zeros((3,), "float32"))


def test_clear_errors() -> None:
    x, w = sg.vector("x"), sg.scalar("w")
    with pytest.raises(ValueError, match="cannot do -1 steps"):
        sg.scan(lambda s: s, outputs_info=w, n_steps=-1)
    with pytest.raises(ValueError, match="needs sequences or n_steps"):
        sg.scan(lambda s: s, outputs_info=w)
    with pytest.raises(sg.ShapeError, match="needs 2 values"):
        sg.scan(lambda a: a, outputs_info=dict(initial=sg.zeros((3,)), taps=[-2]), n_steps=3)
    with pytest.raises(ValueError, match="taps must be negative"):
        sg.scan(lambda a: a, outputs_info=dict(initial=w, taps=[0]), n_steps=3)
    with pytest.raises(ValueError, match="returned 2 outputs"):
        sg.scan(lambda v, s: [v, s], x, [w])
    with pytest.raises(sg.MissingInputError, match="`w`"):
        sg.scan(lambda v: v * w, x, strict=True)
    sg.scan(lambda v, c: v * c, x, non_sequences=[w], strict=True)
    with pytest.raises(sg.ShapeError, match="is a scalar"):
        sg.scan(lambda v: v, w)
    with pytest.raises(sg.ShapeError, match="sg.until needs a scalar"):
        sg.until(x > 0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (dict(input=1, tap=[1]), "'tap'"),
        (dict(taps=[1]), "input"),
        (dict(input=1, taps=[]), "at least one"),
        (dict(input=1, taps=[1.5]), "integers"),
    ],
)
def test_entries_that_are_not_understood(entry: Any, message: str) -> None:
    x = sg.vector("x", dtype="float64")
    for key, word in (("input", "sequences"), ("initial", "outputs_info")):
        given = {key if k == "input" else k: x if k == "input" else v for k, v in entry.items()}
        with pytest.raises(ValueError, match=message.replace("input", key)):
            sg.scan(lambda *a: a[0], n_steps=2, **{word: given})


def test_bad_limits() -> None:
    w = sg.scalar("w")
    with pytest.raises(ValueError, match="cannot do -1 steps"):
        sg.while_loop(lambda v: v < 3, lambda v: v + 1, w, max_steps=-1)
    with pytest.raises(TypeError, match="truncate_gradient"):
        sg.scan(lambda v: v + 1, outputs_info=w, n_steps=3, truncate_gradient=1.5)


def test_a_sequence_that_is_too_short_at_run_time() -> None:
    x = sg.vector("x", dtype="float64")
    f = sg.function([x], sg.scan(lambda v, s: v + s, x, np.float64(0), n_steps=4))
    close(f(np.ones(6)), [1.0, 2.0, 3.0, 4.0])
    with pytest.raises((sg.ShapeError, IndexError)):
        f(np.ones(3))


def test_memory_must_be_understood() -> None:
    with pytest.raises(ValueError, match="memory must be"):
        sg.scan(lambda s: s, outputs_info=np.float64(1), n_steps=3, memory="a lot")


@pytest.mark.parametrize("shapes", ["auto", "generic"])
def test_a_version_for_other_lengths_refuses_what_leaves_a_sequence(shapes: str) -> None:
    x, n = sg.vector("x", dtype="float64"), sg.scalar("n", dtype="int64")
    f = sg.function(
        [x, n], sg.scan(lambda v, s: sg.tanh(v + s), x, np.float64(0), n_steps=n), shapes=shapes
    )
    for steps in (4, 5, 3, 2):
        assert f(np.ones(5), steps).shape == (steps,)
    for steps in (6, 100_000):
        with pytest.raises(sg.ShapeError, match="x.*has no elements 0 to"):
            f(np.ones(5), steps)
    backwards = sg.scan(lambda v: v * 2.0, x, n_steps=n, go_backwards=True)
    g = sg.function([x, n], backwards, shapes=shapes)
    close(g(np.arange(5.0), 3), [8.0, 6.0, 4.0])
    with pytest.raises(sg.ShapeError, match="has no elements"):
        g(np.arange(5.0), 6)


@pytest.mark.parametrize("shapes", ["auto", "generic"])
def test_arrays_that_do_not_fit_their_taps(shapes: str) -> None:
    x = sg.vector("x", dtype="float64")
    f = sg.function([x], sg.scan(lambda a, b: a + b, dict(input=x, taps=[-2, 0])), shapes=shapes)
    assert [len(f(np.ones(k))) for k in (5, 4, 3, 2)] == [3, 2, 1, 0]
    for k in (1, 0):
        with pytest.raises(sg.ShapeError, match="too short on axis 0"):
            f(np.ones(k))
    taps = dict(initial=x, taps=[-2, -1])
    g = sg.function([x], sg.scan(lambda a, b: a + b, outputs_info=taps, n_steps=2), shapes=shapes)
    close(g(np.ones(2)), [2.0, 3.0])
    for k in (1, 3, 5):
        with pytest.raises(sg.ShapeError, match=rf"`x` of {k} elements"):
            g(np.ones(k))


def test_what_a_step_may_not_return() -> None:
    x = sg.vector("x", dtype="float64")
    with pytest.raises(TypeError, match="returned None"):
        sg.scan(lambda v: None, x)
    with pytest.raises(TypeError, match="returned Until"):
        sg.scan(lambda v: (sg.until(v > 0), v), x)
