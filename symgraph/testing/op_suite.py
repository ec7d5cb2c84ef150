"""The checks that every op passes on its generated cases.

Each check takes a case and an evaluator, so that the same suite runs on the NumPy references and on
native code. A check returns None or raises `AssertionError` with the case and what differs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.autodiff.grad import Lop, Rop, grad
from symgraph.compile import eager
from symgraph.core.dtype import FLOAT64, as_dtype
from symgraph.core.errors import NotDifferentiableError
from symgraph.core.node import Node, new_input
from symgraph.core.op import Op, o
from symgraph.ops.base import floatx
from symgraph.testing import tolerances as tol
from symgraph.testing.cases import Case, cases
from symgraph.testing.lowering import run_lowering
from symgraph.testing.oracles import expected_dtype, oracle

Evaluator = Callable[[Sequence[Node], Mapping[Node, np.ndarray]], list[np.ndarray]]
Check = Callable[[Case, Evaluator], None]
BATCH = 3
STEP = 1e-5  # of central differences: the error h**2 and the rounding eps / h are both 1e-10


def numpy_evaluator(outputs: Sequence[Node], arrays: Mapping[Node, np.ndarray]) -> list[np.ndarray]:
    """Evaluate with the NumPy reference of each op."""
    return eager.evaluate(outputs, arrays)


# -- values -------------------------------------------------------------------------------------
def check_type(case: Case, evaluate: Evaluator = numpy_evaluator) -> None:
    """The inferred dtype and shape are those of the computed array, and of the promotion rules."""
    inputs = case.inputs()
    node = case.apply(inputs)
    (value,) = evaluate([node], _bound(inputs, case.arrays))
    _require(case, value.dtype == node.dtype.numpy, f"dtype {value.dtype}, type says {node.type}")
    _require(case, value.shape == node.type.shape, f"shape {value.shape}, type says {node.type}")
    if inputs:
        stated = expected_dtype(case.op.name, [x.dtype for x in inputs], floatx())
        _require(case, stated in (None, node.dtype), f"type says {node.type}, rules say {stated}")


def check_value(case: Case, evaluate: Evaluator = numpy_evaluator) -> None:
    """The value is that of the independent oracle; native code is compared with NumPy."""
    inputs = case.inputs()
    node = case.apply(inputs)
    arrays = _bound(inputs, case.arrays)
    (value,) = evaluate([node], arrays)
    if evaluate is numpy_evaluator:
        expected = oracle(case, node)
        if expected is None:
            return
    else:
        (expected,) = numpy_evaluator([node], arrays)
    zero_sign = hasattr(case.op, "arity") and case.op.name not in tol.FREE_ZERO_SIGN
    limit = tol.ulp_limit(case.op, node.dtype)
    _agree(case, value, expected, ulp=limit, zero_sign=zero_sign and case.kind == "special")


def check_lowering(case: Case, evaluate: Evaluator = numpy_evaluator) -> None:
    """The loop expression of the op has the value of its NumPy reference at every index."""
    if case.op.lower is None or any(a.dtype.kind == "c" for a in case.arrays):
        return  # complex nodes are replaced by real ones before anything is lowered
    node = case.apply(case.inputs())
    if node.op is not case.op or "bfloat16" in (node.dtype, *(i.dtype for i in node.inputs)):
        return  # bfloat16 nodes are replaced by float32 ones
    arrays = [a.astype(i.dtype.numpy) for a, i in zip(case.arrays, node.inputs, strict=True)]
    with np.errstate(all="ignore"):
        expected = np.asarray(case.op.numpy(node, *arrays))
        value = run_lowering(node, arrays)
    limit = tol.ulp_limit(case.op, node.dtype)
    zero_sign = limit is not None and case.op.name not in tol.FREE_ZERO_SIGN
    _agree(case, value, expected, "lowering", ulp=limit, zero_sign=zero_sign)


def check_symbolic(case: Case, evaluate: Evaluator = numpy_evaluator) -> None:
    """With symbolic lengths the result has the same value, dtype and rank."""
    fixed, free = case.inputs(), case.inputs(symbolic=True)
    a, b = case.apply(fixed), case.apply(free)
    (expected,) = evaluate([a], _bound(fixed, case.arrays))
    (value,) = evaluate([b], _bound(free, case.arrays))
    _require(case, a.dtype is b.dtype and a.ndim == b.ndim, f"symbolic {b.type}, static {a.type}")
    _agree(case, value, expected)


def check_test_value(case: Case, evaluate: Evaluator = numpy_evaluator) -> None:
    """An input with a test value gives the result its own."""
    inputs = case.inputs()
    for x, a in zip(inputs, case.arrays, strict=True):
        x.test_value = a
    node = case.apply(inputs)
    if inputs:
        _require(case, node.test_value is not None, "no test value")
        _agree(case, node.test_value, evaluate([node], _bound(inputs, case.arrays))[0])


def check_node(case: Case, evaluate: Evaluator = numpy_evaluator) -> None:
    """Equal applications are the same node; the name stands in the text forms."""
    inputs = case.inputs()
    node = case.apply(inputs)
    _require(case, case.apply(inputs) is node, "the same expression gave two nodes")
    _require(case, str(node.type) in repr(node), "repr without the type")
    _require(case, repr(case.op) == case.op.name, "repr of the op is not its name")
    again = node.op.rebuild(node, node.inputs)
    _require(case, again is node, "rebuild on the same inputs gave another node")


# -- derivatives ---------------------------------------------------------------------------------
def check_gradient(case: Case, evaluate: Evaluator = numpy_evaluator) -> None:
    """Reverse and forward mode agree with central differences and with each other."""
    found = _smooth(case)
    if found is None:
        return
    inputs, moving, node = found
    arrays = _bound(inputs, case.arrays)
    rng = np.random.default_rng(7)
    v = new_input(FLOAT64, node.type.shape, "v")
    arrays[v] = rng.normal(size=node.type.shape)
    us = [new_input(FLOAT64, x.type.shape, "u") for x in moving]
    gradients = grad((node * v).sum(), moving, disconnected_inputs="ignore")
    tangent = Rop(node, moving, us)
    for _ in range(2):
        for x, u in zip(moving, us, strict=True):
            arrays[u] = rng.normal(size=x.type.shape)
        *gs, moved = evaluate([*gradients, tangent], arrays)
        steps = {x: arrays[u] for x, u in zip(moving, us, strict=True)}
        (difference,) = central(evaluate, [node], arrays, steps, STEP)
        _agree(case, moved, difference, "forward mode", relative=tol.GRADIENT, floor=1.0)
        reverse = sum(float((g * arrays[u]).sum()) for g, u in zip(gs, us, strict=True))
        scale = float(np.abs(arrays[v] * moved).sum()) + 1.0
        _near(case, reverse, (arrays[v] * difference).sum(), tol.GRADIENT * scale, "reverse mode")
        _near(case, reverse, (arrays[v] * moved).sum(), tol.DUALITY * scale, "duality")


def check_second(case: Case, evaluate: Evaluator = numpy_evaluator) -> None:
    """The derivative of a gradient agrees with differences of that gradient, in both modes."""
    found = _smooth(case)
    if found is None:
        return
    inputs, moving, node = found
    arrays = _bound(inputs, case.arrays)
    rng = np.random.default_rng(8)
    v = new_input(FLOAT64, node.type.shape, "v")
    arrays[v] = rng.normal(size=node.type.shape)
    gradients = grad((node * v).sum(), moving, disconnected_inputs="ignore")
    us = [new_input(FLOAT64, x.type.shape, "u") for x in moving]
    ws = [new_input(FLOAT64, x.type.shape, "w") for x in moving]
    for x, u, w in zip(moving, us, ws, strict=True):
        arrays[u], arrays[w] = rng.normal(size=x.type.shape), rng.normal(size=x.type.shape)
    curved = Lop(gradients, moving, us, disconnected_inputs="ignore")
    forward = Rop(gradients, moving, ws)
    values = evaluate([*curved, *forward], arrays)
    steps = {x: arrays[w] for x, w in zip(moving, ws, strict=True)}
    differences = central(evaluate, gradients, arrays, steps, STEP)
    expected = sum(float((d * arrays[u]).sum()) for d, u in zip(differences, us, strict=True))
    scale = (
        sum(float(np.abs(d * arrays[u]).sum()) for d, u in zip(differences, us, strict=True)) + 1
    )
    n = len(moving)
    over = sum(float((c * arrays[w]).sum()) for c, w in zip(values[:n], ws, strict=True))
    _near(case, over, expected, tol.SECOND * scale, "reverse over reverse")
    for d, f in zip(differences, values[n:], strict=True):
        _agree(case, f, d, "forward over reverse", relative=tol.SECOND, floor=1.0)


def check_flat(case: Case, evaluate: Evaluator = numpy_evaluator) -> None:
    """An op that states why it has no derivative is refused, or counts as a constant."""
    if not case.op.not_differentiable or case.kind != "value":
        return
    inputs = case.inputs()
    moving = [x for x in inputs if x.dtype.is_float]
    node = case.apply(inputs)
    if not moving:
        return
    try:
        cost = o.cast(node, moving[0].dtype).sum()
        gradients = grad(cost, moving, disconnected_inputs="ignore")
    except NotDifferentiableError:
        return
    for g in evaluate(gradients, _bound(inputs, case.arrays)):
        _require(case, not np.any(g), "a derivative flows through an op that states it has none")


def central(
    evaluate: Evaluator,
    outputs: Sequence[Node],
    arrays: Mapping[Node, np.ndarray],
    steps: Mapping[Node, np.ndarray],
    h: float,
) -> list[np.ndarray]:
    """Return (f(x + h d) - f(x - h d)) / 2h of each output along the direction `steps`."""
    ends = []
    for sign in (1, -1):
        moved = {x: a + sign * h * steps[x] if x in steps else a for x, a in arrays.items()}
        ends.append(evaluate(outputs, moved))
    return [np.asarray((a - b) / (2 * h)) for a, b in zip(*ends, strict=True)]


def _smooth(case: Case) -> tuple[list[Node], list[Node], Node] | None:
    """Return inputs, float inputs and the result of a case that derivatives are checked on."""
    if case.kind != "smooth" or case.op.not_differentiable:
        return None
    inputs = case.inputs()
    moving = [x for x in inputs if x.dtype is FLOAT64]
    node = case.apply(inputs)
    return (inputs, moving, node) if moving and node.dtype is FLOAT64 else None


# -- batching ------------------------------------------------------------------------------------
def check_batch(case: Case, evaluate: Evaluator = numpy_evaluator) -> None:
    """The batch rule gives what a loop over single calls gives, whichever inputs are batched."""
    if case.kind != "value" or not case.arrays:
        return
    choices = [c for c in itertools.product((0, 1), repeat=len(case.arrays)) if any(c)]
    for choice in choices[:7]:
        for last in (False, True):
            _check_one_batch(case, choice, last, evaluate)


def _check_one_batch(case: Case, choice: Sequence[int], last: bool, evaluate: Evaluator) -> None:
    """Batch the chosen inputs along their first or last axis."""
    inputs = case.inputs()
    node = case.apply(inputs)
    rng = np.random.default_rng(9)
    singles, batched, axes, arrays = [], [], [], {}
    for x, a, chosen in zip(inputs, case.arrays, choice, strict=True):
        stack = [_other_values(case.op, a, b, rng) for b in range(BATCH)]
        stack = stack if chosen else [a] * BATCH
        axis = (a.ndim if last else 0) if chosen else None
        full = a if axis is None else np.stack(stack, axis)
        y = new_input(as_dtype(a.dtype), full.shape, x.name)
        arrays[y] = full
        singles.append(stack)
        batched.append(y)
        axes.append(axis)
    result, place = _apply_batched(node, inputs, batched, axes)
    (value,) = evaluate([result], arrays)
    expected = [
        evaluate([node], {x: s[b] for x, s in zip(inputs, singles, strict=True)})[0]
        for b in range(BATCH)
    ]
    if place is None:
        _agree(case, value, expected[0], "unbatched result")
    else:
        _agree(case, value, np.stack(expected, place), f"batched {choice} last={last}")


def _other_values(op: Op, a: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Return an array like `a`: the same elements in another order, or scaled ones.

    Ops whose input has a structure (`permutes` is False) get it scaled.
    """
    if not getattr(op, "permutes", True):
        return np.asarray(a * (1 + 0.25 * number)).astype(a.dtype)
    return np.asarray(rng.permuted(a.ravel()).reshape(a.shape))


def _apply_batched(
    node: Node, inputs: list[Node], batched: list[Node], axes: list[int | None]
) -> tuple[Node, int | None]:
    """Apply batch rules from the inputs up (promotion may have put casts below the op)."""
    done: dict[Node, tuple[Node, int | None]] = dict(
        zip(inputs, zip(batched, axes, strict=True), strict=True)
    )

    def visit(n: Node) -> tuple[Node, int | None]:
        if n not in done:
            parts = [visit(i) for i in n.inputs]
            if all(a is None for _, a in parts):
                done[n] = n.op.rebuild(n, tuple(x for x, _ in parts)) if n.inputs else n, None
            else:
                done[n] = n.op.batch(o, n, [x for x, _ in parts], [a for _, a in parts])
        return done[n]

    return visit(node)


# -- running -------------------------------------------------------------------------------------
CHECKS: tuple[Check, ...] = (
    check_type,
    check_value,
    check_lowering,
    check_symbolic,
    check_test_value,
    check_node,
    check_gradient,
    check_second,
    check_flat,
    check_batch,
)


def failures(
    op: Op, evaluate: Evaluator = numpy_evaluator, checks: Sequence[Check] = CHECKS
) -> list[str]:
    """Run the checks on all cases of an op; return what failed, one text per failure."""
    found = []
    for case in cases(op):
        for check in checks:
            try:
                with np.errstate(all="ignore"):
                    check(case, evaluate)
            except AssertionError as error:
                found.append(f"{check.__name__}: {error}")
            except Exception as error:  # noqa: BLE001 - an op that raises has failed the check
                found.append(f"{check.__name__}: {case}: {type(error).__name__}: {error}")
    return found


def _bound(inputs: Sequence[Node], arrays: Sequence[np.ndarray]) -> dict[Node, np.ndarray]:
    return dict(zip(inputs, arrays, strict=True))


def _require(case: Case, condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(f"{case}: {message}")


def _agree(
    case: Case, actual: Any, expected: Any, what: str = "value", floor: float = 0.0, **limits: Any
) -> None:
    difference = tol.mismatch(actual, expected, **limits)
    if difference is not None and floor:  # differences of small numbers: an absolute bound
        wide = np.abs(np.asarray(actual) - np.asarray(expected)).max(initial=0)
        if np.shape(actual) == np.shape(expected) and wide <= floor * limits["relative"]:
            return
    _require(case, difference is None, f"{what}: {difference}")


def _near(case: Case, actual: float, expected: Any, limit: float, what: str) -> None:
    _require(case, abs(actual - float(expected)) <= limit, f"{what}: {actual} against {expected}")
