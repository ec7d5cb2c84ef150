"""`sg.while_loop`: repeat a step while a condition holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.core.dtype import BOOL, INT64
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe, fresh_uid, new_input
from symgraph.core.op import function, o
from symgraph.core.walk import substitute
from symgraph.ops.loop import make_loop, results_of
from symgraph.ops.scan_inputs import as_list, counters, inner_updates, like
from symgraph.ops.shape import as_size

DRAWS = np.uint64(1 << 32)  # more steps than a loop does in a call


@function
def while_loop(
    condition: Callable[..., Any], fn: Callable[..., Any], initial: Any, max_steps: Any = None
) -> Any:
    """Repeat `state = fn(state)` while `condition(state)` holds; return the last state.

    `initial` is one value or a list; both functions get the values as arguments. With `max_steps`
    the loop ends after so many steps at the latest. Random draws are new in every step.

    >>> x = sg.scalar("x", dtype="float64")
    >>> float(sg.while_loop(lambda v: v < 100.0, lambda v: 2 * v, x).eval({x: 3.0}))
    192.0
    """
    start = [as_node(v) for v in as_list(initial)]
    first_uid = fresh_uid()
    state = [like(v) for v in start]
    outputs = [as_node(v) for v in as_list(fn(*state))]
    if len(outputs) != len(start):
        raise ValueError(f"the step returned {len(outputs)} values for {len(start)} states")
    test = _scalar_condition(condition(*state))
    header = substitute([test], dict(zip(state, start, strict=True)))[0]
    go_on = substitute([test], dict(zip(state, outputs, strict=True)))[0]
    step = new_input(INT64, (), "step")
    limit = None if max_steps is None else as_size(max_steps)
    if isinstance(limit, int) and limit < 0:
        raise ValueError(f"while_loop cannot do {limit} steps; max_steps is at least 0")
    origin = new_input(BOOL, (), "while_loop")
    updates = inner_updates(outputs, first_uid, origin)
    drawn = counters([*outputs, test], first_uid, {target for target, _, _ in updates})
    for s, each in drawn.items():
        s.data.default_update = s + DRAWS  # of a loop in a side of a branch; others say how many
        updates.append((s, s + each, s))
    held = {target: like(target) for target, _, _ in updates}
    body = substitute([*outputs, *(new for _, new, _ in updates), go_on], held)
    count = len(state)
    node = make_loop(
        [step, *state, *held.values()], body[:-1], [], [], [*start, *held], limit, header, body[-1],
        updates=[(target, count + k, by) for k, (target, _, by) in enumerate(updates)],
    )  # fmt: skip
    values = results_of(node)[:count]
    return values[0] if len(values) == 1 and not isinstance(initial, (list, tuple)) else values


@function
def fori_loop(lower: Any, upper: Any, body: Callable[..., Any], initial: Any) -> Any:
    """Return `value = body(i, value)` repeated for i from `lower` to `upper - 1`, as in JAX.

    `initial` is one value or a list (the body then takes it as a list). Bounds are numbers or
    integer variables; numbers make derivatives cheaper, as all steps can be kept.

    >>> x = sg.scalar("x", dtype="float64")
    >>> float(sg.fori_loop(0, 3, lambda i, v: v * x + sg.cast(i, "float64"), x).eval({x: 2.0}))
    20.0
    """
    many = isinstance(initial, (list, tuple))
    first, last = (o.cast(as_node(v, (INT64,)), INT64) for v in (lower, upper))
    known = isinstance(lower, (int, np.integer)) and isinstance(upper, (int, np.integer))

    def step(i: Node, *values: Node) -> list[Any]:
        found = body(i, list(values) if many else values[0])
        return [i + 1, *as_list(found)]

    _, *values = while_loop(
        lambda i, *_: o.lt(i, last),
        step,
        [first, *as_list(initial)],
        max(0, int(upper) - int(lower)) if known else None,
    )
    return values if many else values[0]


def _scalar_condition(value: Any) -> Node:
    node = as_node(value)
    if node.ndim != 0:
        raise ShapeError(
            f"the condition of a loop must be a scalar; `{describe(node)}` is {node.type}"
        )
    return o.cast(node, "bool")
