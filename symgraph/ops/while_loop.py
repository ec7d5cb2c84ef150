"""`sg.while_loop`: repeat a step while a condition holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgraph.core.dtype import INT64
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe, fresh_uid, new_input
from symgraph.core.op import function, o
from symgraph.core.walk import substitute
from symgraph.ops.loop import make_loop, results_of
from symgraph.ops.scan_inputs import as_list, counters, drawn_anew, inner_updates, like
from symgraph.ops.shape import as_size


@function
def while_loop(
    condition: Callable[..., Any], fn: Callable[..., Any], initial: Any, max_steps: Any = None
) -> Any:
    """Repeat `state = fn(state)` while `condition(state)` holds; return the last state.

    `initial` is one value or a list; both functions get the values as arguments. With `max_steps`
    the loop ends after so many steps at the latest.

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
    lost = [t for t, _ in inner_updates(outputs, first_uid)]
    if lost:
        raise ValueError(
            f"a scan inside of while_loop updates `{describe(lost[0])}`, which would be lost\n"
            "  mend:   make the value a state of the loop, or use sg.scan with sg.until"
        )
    test = _scalar_condition(condition(*state))
    header = substitute([test], dict(zip(state, start, strict=True)))[0]
    go_on = substitute([test], dict(zip(state, outputs, strict=True)))[0]
    step = new_input(INT64, (), "step")
    limit = None if max_steps is None else as_size(max_steps)
    if isinstance(limit, int) and limit < 0:
        raise ValueError(f"while_loop cannot do {limit} steps; max_steps is at least 0")
    found = counters([*outputs, test], first_uid)
    body = drawn_anew([*outputs, go_on], step, found)
    node = make_loop([step, *state], body[:-1], [], [], start, limit, header, body[-1])
    *values, steps, = results_of(node)
    for s, each in found.items():
        s.data.default_update = s + o.cast(steps, s.dtype) * each
    return values[0] if len(values) == 1 and not isinstance(initial, (list, tuple)) else values


def _scalar_condition(value: Any) -> Node:
    node = as_node(value)
    if node.ndim != 0:
        raise ShapeError(
            f"the condition of a loop must be a scalar; `{describe(node)}` is {node.type}"
        )
    return o.cast(node, "bool")
