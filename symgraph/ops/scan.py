"""`sg.scan` and its relatives: loops as the user writes them, traced into loop nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symgraph.core.dtype import INT64
from symgraph.core.errors import MissingInputError, ShapeError
from symgraph.core.node import (
    INPUT,
    SHARED,
    Node,
    as_node,
    describe,
    fresh_uid,
    new_input,
    weak_dtype,
)
from symgraph.core.op import function, o
from symgraph.core.record import dataclass, field
from symgraph.core.walk import substitute, toposort
from symgraph.dims.dim import minimum
from symgraph.ops.loop import make_loop, results_of
from symgraph.ops.shape import as_size


class Until:
    """The condition that ends a scan; the step that makes it true is the last one."""

    def __init__(self, condition: Node) -> None:
        self.condition = condition


@function
def until(condition: Any) -> Until:
    """Return the mark that ends a scan after the first step in which `condition` is true.

    The function of the step returns it as its last result: `return outputs, sg.until(c)`.
    """
    node = as_node(condition)
    if node.ndim != 0:
        raise ShapeError(
            f"sg.until needs a scalar, got `{describe(node)}` of type {node.type}\n"
            "  mend:   sg.all(c) or sg.any(c)"
        )
    return Until(o.cast(node, "bool"))


@dataclass(slots=True)
class _Recurrent:
    """One output of the step: its initial values (oldest first) and the steps it looks back."""

    initial: list[Node] = field(default_factory=list)
    taps: list[int] = field(default_factory=list)
    weak: bool = False

    @property
    def depth(self) -> int:
        return len(self.initial)


@dataclass(slots=True)
class _Trace:
    """What calling the user's function once gave, and the variables it was called with."""

    elements: list[Node]
    carries: list[list[Node]]
    outputs: list[Node]
    updates: list[tuple[Node, Node]]
    condition: Node | None
    counters: dict[Node, Node]  # of random draws made in the step -> how far a step moves them


@function
def scan(
    fn: Callable[..., Any],
    sequences: Any = None,
    outputs_info: Any = None,
    non_sequences: Any = None,
    n_steps: Any = None,
    truncate_gradient: int = -1,
    go_backwards: bool = False,
    name: str | None = None,
    strict: bool = False,
    return_list: bool = False,
    return_steps: bool = False,
    memory: Any = "save_all",
) -> Any:
    """Repeat `fn` over the first axis of `sequences`, or `n_steps` times, as one native loop.

    fn(elements..., previous outputs..., non_sequences...) returns the outputs of a step: one
    variable or a list; then, if wanted, a dict of updates of shared variables, and
    `sg.until(condition)`. Sequences: arrays, or dict(input=x, taps=[-1, 0, 2]). outputs_info has an
    entry per output: None (not fed back), the initial state (fed back as tap -1), or
    dict(initial=x, taps=[-2, -1]), whose `initial` has the oldest value first on a leading axis.

    Returns the outputs stacked over the steps: (steps, *shape), one variable or a list. After
    `until` has ended a loop, the remaining rows repeat the last one; `return_steps=True` returns
    (outputs, number of steps). `truncate_gradient=k` lets derivatives flow through the last k steps
    only. `go_backwards` walks the sequences from their end. `strict` refuses outer variables that
    are not listed in `non_sequences`. Updates and random draws of the body need no care: functions
    that use the result apply them.

    `memory` says what reverse mode keeps: "save_all"; "sqrt" or a number k: the states at every
    k-th step, between which the steps are computed again (one more forward run); or a limit such as
    "16MB", which chooses.

    Raises ShapeError / DTypeError where a step changes the type of its state, ValueError for a
    negative number of steps.

    >>> x = sg.vector("x", dtype="float64")
    >>> total = sg.scan(lambda v, s: s + v, sequences=x, outputs_info=np.float64(0))
    >>> total.eval({x: np.array([1.0, 2.0, 3.0])})
    array([1., 3., 6.])
    """
    loop = _Scan(fn, sequences, outputs_info, non_sequences, n_steps, go_backwards, strict, memory)
    if truncate_gradient is not None and truncate_gradient >= 0:
        traces, states, steps = loop.truncated(truncate_gradient)
    else:
        traces, states, steps = loop.build()
    at = 0
    for r, trace in zip(loop.recurrent, traces, strict=True):
        at += r.depth
        if r.depth:
            o.with_final_row(trace, states[at - 1])
    if name is not None:
        for t in traces:
            t.name = name
    value = traces if return_list or len(traces) != 1 else traces[0]
    return (value, steps) if return_steps else value


class _Scan:
    """The parts of one call of scan, normalised."""

    def __init__(
        self,
        fn: Callable[..., Any],
        sequences: Any,
        outputs_info: Any,
        non_sequences: Any,
        n_steps: Any,
        go_backwards: bool,
        strict: bool,
        memory: Any = "save_all",
    ) -> None:
        self.fn, self.memory = fn, memory
        self.constants = [as_node(n) for n in _as_list(non_sequences)]
        self.strict = strict
        given = [_sequence(s) for s in _as_list(sequences)]
        self.length = _length(given, n_steps)
        self.sequences = [
            _cut(x, tap, taps, self.length, go_backwards) for x, taps in given for tap in taps
        ]
        infos = _as_list(outputs_info)
        self.recurrent = [_recurrent(i, k) for k, i in enumerate(infos)]
        if not self.sequences and n_steps is None:
            raise ValueError("scan needs sequences or n_steps to know how many steps to do")

    # -- tracing -----------------------------------------------------------------------------
    def trace(self) -> _Trace:
        """Call the user's function on fresh variables; weak initial values take its dtype."""
        for _ in range(3):
            found = self._call()
            if not self._adapted(found):
                return found
        return found

    def _call(self) -> _Trace:
        first_uid = fresh_uid()
        elements = [_element(x) for x in self.sequences]
        carries = [[_like(c) for c in r.initial] for r in self.recurrent]
        feed = [
            values[tap] for r, values in zip(self.recurrent, carries, strict=True) for tap in r.taps
        ]
        outputs, updates, condition = _results(self.fn(*elements, *feed, *self.constants))
        if not self.recurrent:
            self.recurrent = [_Recurrent() for _ in outputs]
            carries = [[] for _ in outputs]
        if len(outputs) != len(self.recurrent):
            raise ValueError(
                f"the function of scan returned {len(outputs)} outputs, outputs_info has "
                f"{len(self.recurrent)} entries\n  mend:   one entry per output; None where an "
                "output is not fed back"
            )
        roots = [*outputs, *(v for _, v in updates), *([] if condition is None else [condition])]
        return _Trace(elements, carries, outputs, updates, condition, counters(roots, first_uid))

    def _adapted(self, found: _Trace) -> bool:
        """Give initial values that are Python numbers the dtype that the step returns."""
        changed = False
        for r, out in zip(self.recurrent, found.outputs, strict=True):
            if r.weak and r.initial and r.initial[0].dtype is not out.dtype:
                r.initial = [o.cast(c, out.dtype) for c in r.initial]
                changed = True
        return changed

    # -- building ----------------------------------------------------------------------------
    def build(self) -> tuple[list[Node], list[Node], Node]:
        """Return the traces, the final states, and the number of steps."""
        found = self.trace()
        initial = [c for r in self.recurrent for c in r.initial]
        chunk = chunk_length(self.memory, self.length, initial, found.elements)
        if chunk is None:
            return self._loop(found, self.sequences, initial, 0, self.length)
        if found.condition is not None:
            raise ValueError(f"memory={self.memory!r} does not go with sg.until")
        return self._chunked(found, initial, chunk)

    def _chunked(
        self, found: _Trace, initial: list[Node], chunk: int
    ) -> tuple[list[Node], list[Node], Node]:
        """Run loops of `chunk` steps inside of a loop that keeps nothing but its states."""
        count = self.length // chunk
        whole, rest = count * chunk, self.length - count * chunk
        heads = [o.slice_axis(x, 0, 0, whole, 1) for x in self.sequences]
        blocks = [o.reshape(x, (count, chunk, *x.type.shape[1:])) for x in heads]
        step = new_input(INT64, (), "chunk")
        elements = [_element(x) for x in blocks]
        targets = [s for s, _ in found.updates]
        states = [_like(c) for c in (*initial, *targets)]
        first = step * chunk
        traces, after, _ = self._loop(found, elements, states, first, chunk, final=False)
        own = [(s, len(initial) + k) for k, s in enumerate(targets)]
        outer = make_loop(
            [step, *elements, *states],
            after,
            traces,
            blocks,
            [*initial, *targets],
            count,
            updates=own if _is_zero(rest) else [],
            recompute=True,
        )
        *values, _ = results_of(outer)
        rows = [
            o.reshape(t, (whole, *t.type.shape[2:])) for t in values[len(states) :]
        ]
        states = values[: len(states)]
        if not _is_zero(rest):
            tails = [o.slice_axis(x, 0, whole, rest, 1) for x in self.sequences]
            more, states, _ = self._loop(found, tails, states, whole, rest)
            rows = [o.concatenate([a, b], 0) for a, b in zip(rows, more, strict=True)]
        return rows, states, o.dim_value(self.length)

    def truncated(self, last: int) -> tuple[list[Node], list[Node], Node]:
        """Run in two loops; derivatives flow through the second one, of the `last` steps, only."""
        found = self.trace()
        if found.condition is not None:
            raise ValueError("truncate_gradient does not go with sg.until")
        n = self.length
        rest = min(n, last) if isinstance(n, int) else minimum(n, last)
        first = n - rest
        early = [o.stop_gradient(o.slice_axis(x, 0, 0, first, 1)) for x in self.sequences]
        late = [o.slice_axis(x, 0, first, rest, 1) for x in self.sequences]
        initial = [c for r in self.recurrent for c in r.initial]
        head, states, done = self._loop(found, early, initial, 0, first)
        states = [o.stop_gradient(s) for s in states]
        tail, states, more = self._loop(found, late, states, first, rest)
        traces = [
            o.concatenate([o.stop_gradient(a), b], 0) for a, b in zip(head, tail, strict=True)
        ]
        return traces, states, done + more

    def _loop(
        self,
        found: _Trace,
        sequences: Sequence[Node],
        states: list[Node],
        start: Any,
        length: Any,
        final: bool = True,
    ) -> tuple[list[Node], list[Node], Node]:
        """Return traces, final states and steps of the loop over steps start ... start + length.

        `states` are the initial states, shared variables that are updated last (their old values
        where they are left out). `start` is a size or a node; `final`: its updates count.
        """
        step = new_input(INT64, (), "step")
        targets = [s for s, _ in found.updates]
        fresh = [_like(s) for s in targets]
        mapping = dict(zip(targets, fresh, strict=True))
        next_: list[Node] = []
        for values, out in zip(found.carries, found.outputs, strict=True):
            next_ += [*values[1:], out] if values else []
        count = len(next_) + len(targets)
        body = [*next_, *(v for _, v in found.updates), *found.outputs]
        body += [] if found.condition is None else [~found.condition]
        first = start if isinstance(start, Node) else o.dim_value(start)
        body = _drawn_anew(substitute(body, mapping), step + first, found.counters)
        for s, each in found.counters.items():
            s.data.default_update = s + o.cast(o.dim_value(self.length), s.dtype) * each
        carries = [c for values in found.carries for c in values]
        variables = [step, *found.elements, *carries, *fresh]
        self._check_outer(body, variables)
        header = go_on = None
        if found.condition is not None:
            header, go_on = o.gt(o.dim_value(length), 0), body.pop()
        node = make_loop(
            variables,
            body[:count],
            body[count:],
            sequences,
            [*states, *targets][:count],
            length,
            header,
            go_on,
            updates=[(s, len(next_) + k) for k, s in enumerate(targets)] if final else [],
        )
        *values, steps = results_of(node)
        traces = values[count:]
        if go_on is not None:
            traces = [_repeat_last(t, steps) for t in traces]
        return traces, values[:count], steps

    def _check_outer(self, body: Sequence[Node], own: Sequence[Node]) -> None:
        if not self.strict:
            return
        listed = {*own, *self.constants}
        for n in toposort(body, stop=listed.__contains__):
            if n.op in (INPUT, SHARED) and n not in listed:
                raise MissingInputError(
                    f"the step of a strict scan uses `{describe(n)}` ({n.type}, made at "
                    f"{n.source}), which is not in non_sequences\n"
                    "  mend:   list it there, or strict=False"
                )


# -- what reverse mode keeps -------------------------------------------------------------------
RESIDUALS = 4  # states' worth of values that a step leaves for the way back, as a first guess
UNKNOWN_CHUNK = 128  # steps of a chunk where the number of steps is not known
UNITS = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def chunk_length(
    memory: Any, length: Any, states: Sequence[Node], elements: Sequence[Node]
) -> int | None:
    """Return after how many steps the states are kept; None where all is kept."""
    if memory == "save_all":
        return None
    if isinstance(memory, int) and memory > 0:
        return memory
    if memory == "sqrt":
        return max(1, math.isqrt(length)) if isinstance(length, int) else UNKNOWN_CHUNK
    unit = UNITS.get(str(memory)[-2:].upper())
    if unit is None or not str(memory)[:-2].strip().replace(".", "", 1).isdigit():
        raise ValueError(
            f'memory must be "save_all", "sqrt", a number of steps, or a limit such as "16MB", got '
            f"{memory!r}"
        )
    limit = float(str(memory)[:-2]) * unit
    sizes = [_bytes(n) for n in (*states, *elements)]
    if not isinstance(length, int) or any(s is None for s in sizes):
        return UNKNOWN_CHUNK
    step = RESIDUALS * max(1, sum(s for s in sizes if s is not None))
    if length * step <= limit:
        return None
    return max(1, math.isqrt(length))


def _bytes(x: Node) -> int | None:
    n: Any = x.dtype.itemsize
    for size in x.type.shape:
        n = n * size
    return n if isinstance(n, int) else None


def _is_zero(n: Any) -> bool:
    return isinstance(n, int) and n == 0


# -- what the user gave ------------------------------------------------------------------------
def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _sequence(value: Any) -> tuple[Node, list[int]]:
    """Return a sequence and its taps."""
    taps: Any = [0]
    if isinstance(value, Mapping):
        taps = value.get("taps", [0])
        value = value["input"]
    taps = [taps] if isinstance(taps, int) else list(taps)
    node = as_node(value)
    if node.ndim == 0:
        raise ShapeError(
            f"scan walks the first axis of a sequence; `{describe(node)}` is a scalar\n"
            "  mend:   pass it in non_sequences"
        )
    return node, taps


def _length(given: Sequence[tuple[Node, list[int]]], n_steps: Any) -> Any:
    """Return the number of steps: what the shortest sequence allows, or `n_steps`."""
    allowed: list[Any] = []
    for x, taps in given:
        span = max(0, *taps) - min(0, *taps)
        allowed.append(x.type.shape[0] - span)
    if n_steps is not None:
        n = as_size(n_steps)
        if isinstance(n, int) and n < 0:
            raise ValueError(f"scan cannot do {n} steps")
        for (x, _), most in zip(given, allowed, strict=True):
            if isinstance(most, int) and isinstance(n, int) and most < n:
                raise ShapeError(
                    f"scan is to do {n} steps, but `{describe(x)}` of type {x.type} gives {most}"
                )
        return n
    shortest: Any = None
    for n in allowed:
        if isinstance(n, int) and n < 0:
            raise ShapeError("a sequence of scan is shorter than the span of its taps")
        shortest = n if shortest is None or shortest is n else _shorter(shortest, n)
    return shortest


def _shorter(a: Any, b: Any) -> Any:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else minimum(a, b)


def _cut(x: Node, tap: int, taps: Sequence[int], length: Any, backwards: bool) -> Node:
    """Return the rows that the steps see under one tap: row t of the result in step t."""
    lowest = min(0, *taps)
    if backwards:
        x, start = o.flip(x, 0), max(0, *taps) - tap
    else:
        start = tap - lowest
    return o.slice_axis(x, 0, start, length, 1)


def _recurrent(info: Any, place: int) -> _Recurrent:
    """Return what an entry of outputs_info says; oldest initial value first."""
    taps: list[int] = [-1]
    if isinstance(info, Mapping):
        taps = list(info.get("taps", [-1]))
        info = info.get("initial")
    if info is None:
        return _Recurrent()
    if any(t >= 0 for t in taps):
        raise ValueError(f"outputs_info {place}: taps must be negative, got {taps}")
    depth = max(-t for t in taps)
    node = as_node(info)
    weak = weak_dtype(info) is not None
    if depth == 1:
        return _Recurrent([node], [0], weak)
    have = node.type.shape[0] if node.ndim else 0
    if isinstance(have, int) and have != depth:
        raise ShapeError(
            f"outputs_info {place}: taps {taps} look back {depth} steps, so `initial` needs "
            f"{depth} values on its first axis (the oldest first); `{describe(node)}` is "
            f"{node.type}"
        )
    return _Recurrent([node[k] for k in range(depth)], [depth + t for t in taps], weak)


def _element(x: Node) -> Node:
    fresh = new_input(x.dtype, x.type.shape[1:], x.name and f"{x.name}[t]")
    if x.test_value is not None and len(x.test_value):
        fresh.test_value = x.test_value[0]
    return fresh


def _like(x: Node) -> Node:
    fresh = new_input(x.dtype, x.type.shape, x.name)
    fresh.test_value = x.test_value
    return fresh


def _results(value: Any) -> tuple[list[Node], list[tuple[Node, Node]], Node | None]:
    """Return outputs, updates and the condition to end, from what the user's function returned."""
    updates: list[tuple[Node, Node]] = []
    condition = None
    parts = list(value) if isinstance(value, (list, tuple)) else [value]
    if parts and isinstance(parts[-1], Until):
        condition = parts.pop().condition
    if parts and isinstance(parts[-1], Mapping):
        found = parts.pop()
        for target, new in found.items():
            if getattr(target, "op", None) is not SHARED:
                raise TypeError(f"an update target must be a shared variable, got {target!r}")
            updates.append((target, o.cast(as_node(new, (target.dtype,)), target.dtype)))
    if len(parts) == 1 and isinstance(parts[0], (list, tuple)):
        parts = list(parts[0])
    return [as_node(p) for p in parts], updates, condition


def _repeat_last(trace: Node, steps: Node) -> Node:
    """Return the rows of a trace, those behind the last step replaced by it."""
    n = trace.type.shape[0]
    return o.take(trace, o.maximum(o.minimum(o.arange(n), steps - 1), 0), 0)


# -- random draws ------------------------------------------------------------------------------
def counters(outputs: Sequence[Node], first_uid: int) -> dict[Node, Node]:
    """Return the counters of random draws made since `first_uid`, and how far a step moves each."""
    found: dict[Node, Node] = {}
    for n in toposort(outputs):
        if n.op is SHARED and n.uid > first_uid and n.data.default_update is not None:
            update = n.data.default_update
            if update.op.name == "add" and n in update.inputs:
                a, b = update.inputs
                found[n] = b if a is n else a
    return found


def _drawn_anew(body: Sequence[Node], step: Node, found: Mapping[Node, Node]) -> list[Node]:
    """Give every step random numbers of its own: the draw number moves on with the step."""
    moved = {s: s + o.cast(step, s.dtype) * each for s, each in found.items()}
    return substitute(body, moved)


# -- relatives ---------------------------------------------------------------------------------
@function
def map_(fn: Callable[..., Any], sequences: Any, non_sequences: Any = None, **options: Any) -> Any:
    """Return fn applied to every element of the sequences, stacked (see `scan`)."""
    return scan(fn, sequences, None, non_sequences, **options)


@function
def reduce(
    fn: Callable[..., Any],
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any = None,
    go_backwards: bool = False,
) -> Any:
    """Return the last state of a scan: nothing is stacked, and 0 steps give the initial state."""
    loop = _Scan(fn, sequences, outputs_info, non_sequences, None, go_backwards, False)
    _, states, _ = loop.build()
    last: list[Node] = []
    at = 0
    for r in loop.recurrent:
        if not r.depth:
            raise ValueError("every output of reduce needs an initial state")
        at += r.depth
        last.append(states[at - 1])
    return last[0] if len(last) == 1 else last


@function
def foldl(fn: Any, sequences: Any, outputs_info: Any, non_sequences: Any = None) -> Any:
    """Return the last state of a scan from the first element to the last."""
    return reduce(fn, sequences, outputs_info, non_sequences)


@function
def foldr(fn: Any, sequences: Any, outputs_info: Any, non_sequences: Any = None) -> Any:
    """Return the last state of a scan from the last element to the first."""
    return reduce(fn, sequences, outputs_info, non_sequences, go_backwards=True)


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
    start = [as_node(v) for v in _as_list(initial)]
    first_uid = fresh_uid()
    state = [_like(v) for v in start]
    outputs = [as_node(v) for v in _as_list(fn(*state))]
    if len(outputs) != len(start):
        raise ValueError(f"the step returned {len(outputs)} values for {len(start)} states")
    test = _scalar_condition(condition(*state))
    header = substitute([test], dict(zip(state, start, strict=True)))[0]
    go_on = substitute([test], dict(zip(state, outputs, strict=True)))[0]
    step = new_input(INT64, (), "step")
    limit = None if max_steps is None else as_size(max_steps)
    found = counters([*outputs, test], first_uid)
    body = _drawn_anew([*outputs, go_on], step, found)
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
