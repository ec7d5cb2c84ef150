"""Batches: axes in and out, nesting, loops and branches, derivatives, errors."""

from __future__ import annotations

import re

import numpy as np
import pytest

import symgraph as sg

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 5)), RNG.normal(size=(5, 4))


def state(row, start):
    return sg.scan(lambda v, h: sg.tanh(h * 0.5 + v), sequences=[row], outputs_info=[start])


def grown(v):
    return sg.while_loop(lambda s: abs(s) < 10.0, lambda s: s * 1.5 + 0.1, v)


# name: (function of elements, in_axes, out_axes, arrays)
CASES = {
    "axes 0 and 1": (lambda u, v: sg.outer(u, v * u), (0, 1), 0, (X, Y)),
    "out at the end": (sg.cumsum, 0, -1, (X,)),
    "in from the end": (lambda u: u / u.sum(), -1, 1, (X,)),
    "one for all": (lambda u, v: (v * 2.0, u.sum()), (0, None), (1, 0), (X, Y)),
    "a scan": (lambda u, v: state(u, v.sum()), (0, 1), 1, (X, Y)),
    "a scan's gradient": (
        lambda u, v: sg.grad((state(u, v.sum()) ** 2).sum(), [u, v]), (0, 1), 0, (X, Y),
    ),
    "a scan's Hessian": (
        lambda u: sg.hessian((state(u, sg.as_tensor(0.3)) ** 2).sum(), u), 0, 0, (X,),
    ),
    "a condition": (
        lambda u: sg.grad(sg.cond(u.sum() > 0, lambda: sg.log(abs(u)), lambda: u**2).sum(), u),
        0, 0, (X,),
    ),
    "a while": (lambda u: [grown(u[0]), sg.grad(grown(u[0]) ** 2, u)], 0, 0, (X,)),
    "in a vmap": (
        lambda u, w: sg.vmap(lambda v: sg.tanh(u @ v), in_axes=1)(w), (0, None), 0, (X, Y),
    ),
    "places of each": (lambda u: sg.inc_subtensor(u[sg.argsort(u)[:2]], 3.0), 0, 0, (X,)),
}  # fmt: skip


@pytest.mark.parametrize("shapes", ["static", "auto", "generic"])
@pytest.mark.parametrize("name", list(CASES))
def test_a_batch_is_a_loop_over_its_elements(name: str, shapes: str) -> None:
    fn, in_axes, out_axes, arrays = CASES[name]
    axes = [in_axes] * len(arrays) if isinstance(in_axes, int) else in_axes
    sizes = [a.shape if shapes == "static" else (None,) * a.ndim for a in arrays]
    inputs = [sg.tensor("x", s, "float64") for s in sizes]
    value = sg.vmap(fn, in_axes=in_axes, out_axes=out_axes)(*inputs)
    several = isinstance(value, (list, tuple))
    kind = "auto" if shapes == "static" else shapes
    got = sg.function(inputs, list(value) if several else [value], shapes=kind)(*arrays)

    elements = [
        sg.tensor("e", a.shape if k is None else np.delete(a.shape, k).tolist(), "float64")
        for a, k in zip(arrays, axes, strict=True)
    ]
    alone = fn(*elements)
    single = sg.function(elements, list(alone) if several else [alone], on_unused_input="ignore")
    count = next(a.shape[k] for a, k in zip(arrays, axes, strict=True) if k is not None)
    each = [
        single(*(a if k is None else a.take(b, k) for a, k in zip(arrays, axes, strict=True)))
        for b in range(count)
    ]
    places = [out_axes] * len(got) if isinstance(out_axes, int) else out_axes
    for k, (value, place) in enumerate(zip(got, places, strict=True)):
        np.testing.assert_allclose(value, np.stack([e[k] for e in each], place), rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"in_axes": (0, 1)}, "in_axes has 2 entries for 1 arguments"),
        ({"in_axes": 3}, "vmap, argument 0: axis 3 is out of bounds"),
        ({"in_axes": None}, "at least one argument with an axis"),
        ({"out_axes": (0, 1)}, "out_axes is (0, 1) for 1 results"),
        ({"out_axes": None}, "out_axes is None for 1 results"),
        ({"out_axes": 2}, "vmap, out_axes: axis 2 is out of bounds"),
    ],
)
def test_axes_that_do_not_fit(options: dict[str, object], text: str) -> None:
    with pytest.raises((ValueError, IndexError), match=re.escape(text)):
        sg.vmap(lambda row: row.sum(), **options)(sg.matrix("x"))
