"""Every op against its generated cases, and the suite against ops that are wrong on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from symgraph.core.dtype import FLOAT32
from symgraph.core.op import Op, ops
from symgraph.ops import load_all
from symgraph.ops.base import to_float
from symgraph.testing import op_suite as suite
from symgraph.testing.cases import cases
from symgraph.testing.oracles import SCALAR, oracle
from symgraph.testing.oracles_structured import STRUCTURED

load_all()  # the tests are named after what is registered by now


@pytest.mark.parametrize("name", sorted(ops))
def test_op(name: str) -> None:
    found = suite.failures(ops[name])
    assert not found, f"{len(found)} failures, the first ones:\n" + "\n".join(found[:5])


# -- the suite itself: ops that are wrong on purpose ---------------------------------------------
def _wrong(base: str, **rules: Any) -> Op:
    """Return an unregistered copy of an op, under its name, with some rules replaced."""
    good = ops[base]
    body = {k: staticmethod(f) if k in STATIC else f for k, f in rules.items()}
    op = type(f"Wrong{base.title()}", (type(good),), body)()
    vars(op).update({k: v for k, v in vars(good).items() if k not in rules})
    rule = getattr(op, "types", None)
    if rule is not None and rule is to_float:  # nothing converts the operands of the copy
        op.dtypes = "float"
    return op


STATIC = {"partials", "transpose", "jvp", "vjp", "types", "reference", "scalar"}
FAULTS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "derivative of an elementwise op": (
        "tanh",
        {"partials": lambda o, n: (1 - n,)},
        suite.check_gradient,
    ),
    "sign of a derivative": (
        "cos",
        {"partials": lambda o, n: (o.sin(n.inputs[0]),)},
        suite.check_gradient,
    ),
    "a missing partial": (
        "mul",
        {"partials": lambda o, n: (n.inputs[1], None)},
        suite.check_gradient,
    ),
    "transpose that is not the transpose": (
        "cumsum",
        {"transpose": lambda o, n, k, g: o.cumsum(g, n.params.axis)},
        suite.check_gradient,
    ),
    "reverse rule only": ("softmax", {"vjp": lambda o, n, g: (n * g,)}, suite.check_gradient),
    "forward rule only": ("softmax", {"jvp": lambda o, n, t: n * t[0]}, suite.check_gradient),
    "first derivative right, second wrong": (
        "square",
        {"partials": lambda o, n: (2 * o.stop_gradient(n.inputs[0]),)},
        suite.check_second,
    ),
    "inferred dtype": (
        "exp",
        {"infer": lambda self, i, p: i[0].type.with_dtype(FLOAT32)},
        suite.check_type,
    ),
    "inferred shape": ("sum", {"infer": lambda self, i, p: i[0].type}, suite.check_type),
    "lowering": ("sub", {"scalar": lambda s, x, y: y - x}, suite.check_lowering),
    "lowering of a special value": (
        "maximum",
        {"scalar": lambda s, x, y: s.select(x > y, x, y)},
        suite.check_lowering,
    ),
    "batch rule": (
        "sum",
        {"batch": lambda self, o, n, x, a: (self(x[0], **n.params._asdict()), 0)},
        suite.check_batch,
    ),
    "reference": ("conv2d", {"numpy": lambda self, n, *x: np.zeros(n.type.shape)}, None),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_suite_reports_fault(fault: str) -> None:
    base, rules, check = FAULTS[fault]
    found = suite.failures(_wrong(base, **rules), checks=suite.CHECKS if check is None else [check])
    assert found, "the planted fault was not found"


def test_suite_accepts_the_unchanged_copy() -> None:
    for base in ("tanh", "mul", "cumsum", "softmax", "square", "maximum", "matmul", "conv2d"):
        assert not suite.failures(_wrong(base))


def test_wrong_value_is_found_by_the_oracle() -> None:
    op = ops["tanh"]
    case = next(iter(cases(op)))

    def off(outputs: Any, arrays: Any) -> Any:
        return [np.asarray(v * v.dtype.type(1.001)) for v in suite.numpy_evaluator(outputs, arrays)]

    with pytest.raises(AssertionError):
        suite.check_value(case, off)


@pytest.mark.parametrize("name", sorted(n for n in STRUCTURED | SCALAR if n in ops))
def test_oracle_is_used(name: str) -> None:
    """Each oracle gives a value on some case, so that no op is compared with nothing."""
    values = (oracle(c, c.apply(c.inputs())) for c in cases(ops[name]))
    assert any(v is not None for v in values)


def test_every_op_has_an_oracle() -> None:
    assert set(ops) == {n for n in STRUCTURED | SCALAR if n in ops}


def test_halves_are_met_alike() -> None:
    """bfloat16 has cases wherever float16 has any, so that no op goes without them."""
    pytest.importorskip("ml_dtypes")
    for op in ops.values():
        met = {str(a.dtype) for c in cases(op) for a in c.arrays}
        assert ("float16" in met) == ("bfloat16" in met), op.name
