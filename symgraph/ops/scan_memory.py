"""What reverse mode keeps of a scan: all, or the states at the ends of chunks, on several levels.

A scan in chunks is a loop over chunks that keeps its states only (`recompute`), around a loop over
the steps of a chunk, which may itself be in chunks. Each level is one more run of the steps on the
way back. Of n steps, one level of chunks keeps n / k states and the values of k steps; chunks of
k^l, ..., k^2, k steps keep k states each and the values of k steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from symgraph.core.dtype import BOOL, INT64
from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.core.record import dataclass
from symgraph.ops.loop import Update, make_loop, results_of
from symgraph.ops.scan_inputs import element, like

RESIDUALS = 4  # states' worth of values that a step leaves for the way back, as a first guess
UNKNOWN_CHUNK = 128  # steps of a chunk where the number of steps is not known
RATIO = 8  # steps of a chunk to those of the chunks in it, under "log"
UNKNOWN_LEVELS = (4096, 512, 64, 8)  # under "log", where the number of steps is not known
UNITS = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


@dataclass(frozen=True, slots=True)
class Part:
    """Results of some steps: rows, final states, how many were done, whether to go on."""

    traces: list[Node]
    states: list[Node]
    steps: Node
    going: Node | None  # of a loop with a condition to end


# part(sequences, states, first step, length, going, whether its updates count)
Steps = Callable[[Sequence[Node], Sequence[Node], Any, Any, Node | None, bool], Part]


def in_chunks(
    part: Steps,
    sequences: Sequence[Node],
    states: Sequence[Node],
    start: Any,
    length: Any,
    chunk: int,
    going: Node | None,
    targets: Sequence[tuple[Node, Node]],
) -> Part:
    """Return what `length` steps give, done by `part` in chunks of `chunk` steps and a rest.

    `targets` are the shared variables whose new values the last states are, with their origin.
    """
    count = length // chunk
    whole, rest = count * chunk, length - count * chunk
    exact = isinstance(rest, int) and rest == 0
    heads = [o.slice_axis(x, 0, 0, whole, 1) for x in sequences]
    blocks = [o.reshape(x, (count, chunk, *x.type.shape[1:])) for x in heads]
    first = len(states) - len(targets)
    updates = [(s, first + k, by) for k, (s, by) in enumerate(targets)] if exact else []
    head = _over_chunks(part, blocks, states, start, chunk, count, going, updates)
    if exact:
        return head
    tails = [o.slice_axis(x, 0, whole, rest, 1) for x in sequences]
    begin = start + o.dim_value(whole) if isinstance(start, Node) else start + whole
    tail = part(tails, head.states, begin, rest, _more(head.going, rest), bool(targets))
    traces = [o.concatenate([a, b], 0) for a, b in zip(head.traces, tail.traces, strict=True)]
    return Part(traces, tail.states, head.steps + tail.steps, tail.going)


def _more(going: Node | None, rest: Any) -> Node | None:
    return None if going is None else o.logical_and(going, o.gt(o.dim_value(rest), 0))


def _over_chunks(
    part: Steps,
    blocks: Sequence[Node],
    states: Sequence[Node],
    start: Any,
    chunk: int,
    count: Any,
    going: Node | None,
    updates: Sequence[Update],
) -> Part:
    """Return what the whole chunks give."""
    step = new_input(INT64, (), "chunk")
    elements, held = [element(x) for x in blocks], [like(c) for c in states]
    begin = start if isinstance(start, Node) else o.dim_value(start)
    inner_going = None if going is None else o.eq(o.zeros((), INT64), 0)
    inner = part(elements, held, begin + step * chunk, chunk, inner_going, False)
    variables, new, initial = [*held], [*inner.states], [*states]
    header = None
    if going is not None:
        assert inner.going is not None
        header = o.logical_and(going, o.gt(o.dim_value(count), 0))
        done = new_input(INT64, (), "done")
        variables += [done, new_input(BOOL, (), "going")]
        new += [done + inner.steps, inner.going]
        initial += [o.zeros((), INT64), going]
    loop = make_loop(
        [step, *elements, *variables],
        new,
        inner.traces,
        blocks,
        initial,
        count,
        header,
        None if going is None else inner.going,
        updates=updates,
        recompute=True,
    )
    *values, _ = results_of(loop)
    traces = [o.reshape(t, (count * chunk, *t.type.shape[2:])) for t in values[len(initial) :]]
    after = values[: len(states)]
    if going is None:
        return Part(traces, after, o.dim_value(count * chunk), None)
    return Part(traces, after, values[len(states)], values[len(states) + 1])


def chunk_lengths(
    memory: Any, length: Any, states: Sequence[Node], elements: Sequence[Node]
) -> tuple[int, ...]:
    """Return after how many steps the states are kept, largest chunks first; () where all is."""
    known = isinstance(length, int)
    if memory == "save_all":
        return ()
    if isinstance(memory, int) and memory > 0:
        return (memory,)
    if isinstance(memory, (tuple, list)) and memory and _descending(memory):
        return tuple(memory)
    if memory == "sqrt":
        return (max(1, math.isqrt(length)) if known else UNKNOWN_CHUNK,)
    if memory == "log":
        return _levels(length) if known else UNKNOWN_LEVELS
    unit = UNITS.get(str(memory)[-2:].upper())
    if unit is None or not str(memory)[:-2].strip().replace(".", "", 1).isdigit():
        raise ValueError(
            'memory must be "save_all", "sqrt", "log", a number of steps, several such in '
            f'descending order, or a limit such as "16MB", got {memory!r}'
        )
    limit = float(str(memory)[:-2]) * unit
    sizes = [_bytes(n) for n in (*states, *elements)]
    if not known or any(s is None for s in sizes):
        return (UNKNOWN_CHUNK,)
    step = RESIDUALS * max(1, sum(s for s in sizes if s is not None))
    if length * step <= limit:
        return ()
    side = max(1, math.isqrt(length))
    return (side,) if side * step <= limit else _levels(length)


def _levels(length: int) -> tuple[int, ...]:
    """Return chunks of 8, 64, 512 ... steps, the largest first, all shorter than `length`."""
    found: list[int] = []
    size = RATIO
    while size < length:
        found.insert(0, size)
        size *= RATIO
    return tuple(found)


def _descending(sizes: Sequence[Any]) -> bool:
    if not all(isinstance(n, int) and n > 0 for n in sizes):
        return False
    return all(a > b for a, b in zip(sizes, sizes[1:], strict=False))


def _bytes(x: Node) -> int | None:
    n: Any = x.dtype.itemsize
    for size in x.type.shape:
        n = n * size
    return n if isinstance(n, int) else None
