"""Final states instead of traces: where only the last row of a trace is read, it is carried.

On the way back: where only the first step gets something other than zeros, the loop starts with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.core.walk import substitute, toposort
from symgraph.dims.dim import provably_le
from symgraph.ops.loop import FOR, LOOP, RESULT
from symgraph.rewrites.opened import Opened


def last_rows(outputs: Sequence[Node]) -> list[Node]:
    """Where of a trace only the last row is read, carry it instead of storing all."""
    outputs = list(outputs)
    order = toposort(outputs)
    users: dict[Node, list[Node]] = {}
    for n in order:
        for i in n.inputs:
            users.setdefault(i, []).append(n)
    plain = set(outputs)
    wanted: dict[Node, list[Node]] = {}
    for n in order:
        if n.op is RESULT and n.inputs[0].op is LOOP and n not in plain:
            loop = n.inputs[0]
            if n.params.index >= loop.params.n_carries and all(
                _reads_last(u, loop.params) for u in users.get(n, [])
            ):
                wanted.setdefault(loop, []).append(n)
    for loop, traces in wanted.items():
        if loop.params.kind != FOR or not _some_steps(loop.params.length):
            continue
        opened = Opened(loop)
        keys = {}
        for trace in traces:
            if trace.params.index in opened.rows:
                keys[trace] = _final(opened, trace.params.index)
        if not keys:
            continue
        found = opened.build_with(keys)
        mapping = dict(found[0])
        for trace, final in found[1].items():
            for u in users[trace]:
                mapping[u] = o.expand_dims(final, 0)
        return last_rows(substitute(outputs, mapping))
    return outputs


def _some_steps(length: Any) -> bool:
    return bool(provably_le(1, length))


def _reads_last(user: Node, params: Any) -> bool:
    if user.op.name != "slice":
        return False
    lengths, starts = user.params.lengths, user.params.starts
    whole = user.inputs[0].type.shape[1:]
    if lengths[0] != 1 or tuple(lengths[1:]) != tuple(whole) or any(s != 0 for s in starts[1:]):
        return False
    return bool(starts[0] == (0 if params.reverse else params.length - 1))


def _final(opened: Opened, k: int) -> Any:
    """Return the key of a carry that ends as the last row of trace k."""
    row = opened.rows[k]
    for key, (_, _, new) in opened.carries.items():
        if new is row:
            return key
    variable = new_input(row.dtype, row.type.shape, row.name)
    key = ("last", k)
    opened.carries[key] = (variable, o.zeros(row.type.shape, row.dtype), row)
    return key


# -- the way back --------------------------------------------------------------------------------
def started(opened: Opened) -> None:
    """A sequence of zeros but for the first step, added to a state -> added to the first state.

    That is the derivative by a trace of which the last row was read, when the number of steps was
    not known to be at least one.
    """
    for x, array in list(opened.sequences.items()):
        value = _only_first(array, opened.params)
        if value is None:
            continue
        roots = opened.roots()
        order = toposort(roots)
        users = [n for n in order if x in n.inputs]
        if len(users) != 1 or users[0].op.name != "add" or x in roots:
            continue
        both = users[0]
        c = next((n for n in both.inputs if n is not x), x)
        key = next((k for k, (y, _, _) in opened.carries.items() if y is c), None)
        if key is None or c in roots or any(c in n.inputs for n in order if n is not both):
            continue
        if both.type.shape != c.type.shape:
            continue
        opened.set_roots(substitute(roots, {both: c}))
        y, start, new = opened.carries[key]
        opened.carries[key] = (y, o.add(start, value), new)


def _only_first(array: Node, params: Any) -> Node | None:
    """Return the first row that a loop reads of a sequence whose other rows are zeros."""
    if array.op.name != "place":
        return None
    source, q = array.inputs[0], array.params
    first = params.length - 1 if params.reverse else 0
    whole = source.type.shape[1:] == array.type.shape[1:]
    if not whole or source.type.shape[0] != 1 or q.starts[0] != first:
        return None
    if any(s != 0 for s in q.starts[1:]) or any(s != 1 for s in q.steps[1:]):
        return None
    return o.squeeze(source, 0)
