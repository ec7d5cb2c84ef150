"""Temporaries that are filled alike are one: `symgraph/loops/duplicates.py`."""

from __future__ import annotations

import numpy as np

import symgraph as sg
from symgraph.debug import stages
from symgraph.loops.statements import LibraryCall, Nest


def test_padded_images_are_stored_once() -> None:
    """A convolution and the gradient by its filters read them; there is one buffer for both."""
    x, w = sg.tensor("x", (4, 16, 20, 20), "float32"), sg.tensor("w", (16, 16, 3, 3), "float32")
    y = sg.conv2d(sg.tanh(x), w, padding=1)
    dw = sg.grad((y * y).sum(), w)
    program = stages.lowered((dw,))[0].program
    assert program is not None
    seen = set()
    for t in program.statements:
        if isinstance(t, Nest):
            pairs = {(s.address, s.value) for s in t.stores if s.value.op != "const"}
            assert len(pairs) == len([s for s in t.stores if s.value.op != "const"])
            seen |= {s.buffer for s in t.stores}
    calls = [t for t in program.statements if isinstance(t, LibraryCall)]
    assert len(calls) == 2
    for call in calls:
        assert all(b in seen or b.kind != "temporary" or b is calls[0].outputs[0]
                   for b in call.inputs)  # fmt: skip
    a, k = (np.random.default_rng(j).standard_normal(n.type.shape) for j, n in enumerate((x, w)))
    f = sg.function([x, w], dw)
    padded = np.pad(np.tanh(a), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    out = np.einsum("nchwpq,ocpq->nohw", windows, k)
    wanted = np.einsum("nchwpq,nohw->ocpq", windows, 2 * out)
    found = f(a.astype("float32"), k.astype("float32"))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_updates_and_results_of_equal_values_stay_apart() -> None:
    x = sg.matrix("x")
    a, b = (sg.shared(np.zeros((40, 40), "float32")) for _ in range(2))
    value = sg.exp(x)
    f = sg.function([x], [value, value + 0], updates={a: value, b: value})
    given = np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32)
    first, second = f(given)
    first[:] = 0  # of its own memory
    for got in (second, a.get_value(), b.get_value()):
        np.testing.assert_allclose(got, np.exp(given), rtol=1e-6)
    a.set_value(given)
    np.testing.assert_allclose(b.get_value(), np.exp(given), rtol=1e-6)
