"""Native code against the NumPy references: all generated cases of an op in one compiled function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.autodiff.grad import grad
from symgraph.core.op import Op, ops
from symgraph.testing import tolerances as tol
from symgraph.testing.cases import Case, cases
from symgraph.testing.op_suite import numpy_evaluator


def compare(op: Op, chosen: list[Case], build: Any, limits: Any) -> list[str]:
    """Compile `build(case, inputs)` of all cases into one function; return what differs."""
    inputs, outputs, arrays, owners = [], [], [], []
    for case in chosen:
        mine = case.inputs()
        nodes = build(case, mine)
        inputs += mine
        arrays += case.arrays
        outputs += nodes
        owners += [case] * len(nodes)
    if not outputs:
        return []
    f = sg.function(inputs, outputs, on_unused_input="ignore")
    values = f(*arrays)
    expected = numpy_evaluator(outputs, dict(zip(inputs, arrays, strict=True)))
    found = []
    for case, a, b, node in zip(owners, values, expected, outputs, strict=True):
        with np.errstate(all="ignore"):
            difference = tol.mismatch(np.asarray(a), b, **limits(op, node))
        if difference:
            found.append(f"{case}: {difference}")
    return found


@pytest.mark.parametrize("name", sorted(ops))
def test_values(name: str) -> None:
    def limits(op: Op, node: Any) -> dict[str, Any]:
        return {"ulp": tol.ulp_limit(op, node.dtype)}

    found = compare(ops[name], list(cases(ops[name])), lambda c, x: [c.apply(x)], limits)
    assert not found, f"{len(found)} differences, the first ones:\n" + "\n".join(found[:5])


@pytest.mark.parametrize("name", sorted(n for n, op in ops.items() if not op.not_differentiable))
def test_gradients(name: str) -> None:
    def build(case: Case, inputs: list[Any]) -> list[Any]:
        node = case.apply(inputs)
        moving = [x for x in inputs if x.dtype == "float64"]
        if not moving or node.dtype != "float64":
            return []
        weights = np.random.default_rng(4).normal(size=node.type.shape)
        return grad((node * weights).sum(), moving, disconnected_inputs="ignore")

    chosen = [c for c in cases(ops[name]) if c.kind == "smooth"]
    found = compare(ops[name], chosen, build, lambda op, node: {"relative": 1e-11})
    assert not found, f"{len(found)} differences, the first ones:\n" + "\n".join(found[:5])
