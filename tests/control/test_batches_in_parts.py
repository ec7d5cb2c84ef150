"""Batches of loops that may stop, keep few states and draw, over sizes that are not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("until", [False, True])
@pytest.mark.parametrize("memory", ["sqrt", "log", "1MB", (4,)])
def test_a_part_that_has_no_steps_is_not_divided_by(memory: Any, until: bool, shapes: str) -> None:
    """The places of what is not read there were computed modulo its length: 0."""
    x = sg.tensor("x", (None, None, None), "float64")

    def states(memory: Any) -> Any:
        stream = sg.random.RandomStream(3)

        def step(v: Any, s: Any) -> Any:
            y = s * 0.9 + v * s + stream.normal((), dtype="float64")
            return (y, sg.until(sg.sum(y) > 20.0)) if until else y

        return sg.vmap(lambda e: sg.scan(step, e, e[0] * 0.0 + 1.0, memory=memory))(x)

    def results(memory: Any, kind: str) -> list[np.ndarray]:
        y = states(memory)
        f = sg.function([x], [y, sg.grad((y**2).sum(), x)], shapes=kind)
        return f(np.linspace(-0.5, 0.5, 54).reshape(3, 9, 2))

    found, expected = results(memory, shapes), results("save_all", "exact")
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-11)
