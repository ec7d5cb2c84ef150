"""A long reduction that loops read as one number runs once, not in each part of these loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.debug import stages
from symgraph.loops.expr import walk
from symgraph.loops.split import SPLIT
from symgraph.loops.statements import Nest

FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], Any]]] = {
    "less its sum": (lambda x: x - x.sum() / 1e4, lambda x: x - x.sum() / 1e4),
    "by its maximum": (lambda x: x / sg.max(x), lambda x: x / x.max()),
    "variance": (sg.var, np.var),
    "variance of rows": (lambda x: sg.var(x, 1), lambda x: x.var(1)),
    "variance of columns": (lambda x: sg.var(x, 0), lambda x: x.var(0)),
    "softmax": (
        lambda x: sg.softmax(sg.reshape(x, (-1,))),
        lambda x: (np.exp(x - x.max()) / np.exp(x - x.max()).sum()).ravel(),
    ),
    "of a variance": (
        lambda x: sg.sum((x - sg.var(x)) ** 2), lambda x: ((x - x.var()) ** 2).sum(),
    ),
    "within a sum of rows": (
        lambda x: sg.sum((x - sg.mean(x)) ** 2, 1), lambda x: ((x - x.mean()) ** 2).sum(1),
    ),
    "argmax": (sg.argmax, np.argmax),
    "argmax of a transpose": (lambda x: sg.argmax(x.T), lambda x: np.argmax(x.T)),
    "running": (
        lambda x: sg.cumsum(x - sg.mean(x), 1), lambda x: np.cumsum(x - x.mean(), 1),
    ),
}  # fmt: skip
SHAPES = [(3, 7), (1, 40_000), (300, 200), (40_000, 3), (2, 70_001), (1, 1)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_with_sizes_known_or_not(name: str) -> None:
    function, expected = FUNCTIONS[name]
    x = sg.matrix("x", "float64")
    exact, generic = (sg.function([x], function(x), shapes=k) for k in ("exact", "generic"))
    rng = np.random.default_rng(4)
    for shape in SHAPES:
        a = rng.standard_normal(shape)
        found = exact(a), generic(a)
        np.testing.assert_array_equal(*found, err_msg=f"{shape}")
        np.testing.assert_allclose(found[0], expected(a), rtol=1e-9, atol=1e-11, err_msg=f"{shape}")


@pytest.mark.parametrize("rows", [300, None])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_loop_repeats_a_long_reduction(name: str, rows: int | None) -> None:
    """Each of 512 chunks of the squares summed the 4 million elements of the mean again."""
    x = sg.tensor("x", (rows, 200), "float32")
    program = stages.lowered((FUNCTIONS[name][0](x),))[0].program
    assert program is not None
    for nest in program.statements:
        if not isinstance(nest, Nest):
            continue
        inner = [r.args[0] for t in nest.stores for r in walk([t.value]) if r.op == "reduce"]
        inner += [t.value for t in nest.stores if any(a.extent != 1 for a in nest.axes)]
        for r in walk(inner):
            if r.op == "reduce" and not r.free:
                lengths = [a.extent for a in r.data[1]]
                assert all(isinstance(n, int) for n in lengths), (nest, r)
                assert np.prod(lengths) < SPLIT, (nest, r)


def test_sizes_that_a_version_refuses_divide_nothing() -> None:
    """Rows of more than 8192 ended the process where another version had been made before."""
    x = sg.matrix("x", "float32")
    f = sg.function([x], [sg.sum(x), sg.sum(x * x), sg.sum(x * x * x)], shapes="generic")
    for shape in ((3, 7), (1, 40_000)):
        assert [float(v) for v in f(np.ones(shape, "float32"))] == [shape[0] * shape[1]] * 3
