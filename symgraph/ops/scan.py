"""`sg.scan` and its relatives: loops as the user writes them, traced into loop nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symgraph.core.dtype import BOOL, INT64
from symgraph.core.errors import MissingInputError
from symgraph.core.node import INPUT, SHARED, Node, as_node, describe, fresh_uid, new_input
from symgraph.core.op import function, o
from symgraph.core.record import dataclass
from symgraph.core.walk import substitute, toposort
from symgraph.dims.dim import minimum
from symgraph.ops.loop import make_loop, results_of
from symgraph.ops.scan_inputs import (
    Recurrent,
    as_list,
    counters,
    cut,
    drawn_anew,
    element,
    inner_updates,
    length_of,
    like,
    recurrent,
    results,
    sequence,
)
from symgraph.ops.scan_memory import Part, chunk_lengths, in_chunks


@dataclass(slots=True)
class _Trace:
    """What calling the user's function once gave, and the variables it was called with."""

    elements: list[Node]
    carries: list[list[Node]]
    outputs: list[Node]
    updates: list[tuple[Node, Node, Node]]  # shared variable, new value, origin (see `Update`)
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

    Returns the outputs stacked over the steps: (steps, *shape), one variable or a list. Shapes do
    not depend on data: `until` ends the loop (no further step is computed), but the outputs keep
    their full length and the rows behind the last step repeat it, so `[-1]` is the last step's.
    `return_steps=True` returns (outputs, steps), with which a caller cuts the arrays that the
    function returns: `rows[:int(steps)]` is what Theano's scan gives. `truncate_gradient=k` lets
    derivatives flow through the last k steps only (to the initial state, if these are all).
    `go_backwards` walks the sequences from their end. `strict` refuses outer variables that are not
    listed in `non_sequences`. Updates and random draws of the body need no care: functions that use
    the result apply them, those of a scan inside of the step after each step. Two scans that update
    the same variable are an error.

    `memory` says what reverse mode keeps: "save_all"; "sqrt" or a number k: the states at every
    k-th step, between which the steps are computed again (one more forward run); several numbers
    such as (512, 64, 8): the same on several levels, one more forward run each; "log": as many
    levels as it takes to keep 8 states each, memory that grows with the logarithm of the steps; or
    a limit such as "16MB", which chooses. All go with `until` too. Rows that are read outside are
    there whatever `memory` says: a loss of every step is best added up in a state.

    Raises ShapeError / DTypeError where a step changes the type of its state, ValueError for a
    negative number of steps.

    >>> x = sg.vector("x", dtype="float64")
    >>> total = sg.scan(lambda v, s: s + v, sequences=x, outputs_info=np.float64(0))
    >>> total.eval({x: np.array([1.0, 2.0, 3.0])})
    array([1., 3., 6.])
    """
    loop = _Scan(fn, sequences, outputs_info, non_sequences, n_steps, go_backwards, strict, memory)
    if not isinstance(truncate_gradient, (int, type(None))):
        raise TypeError(f"truncate_gradient is a number of steps, got {truncate_gradient!r}")
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
        self.constants = [as_node(n) for n in as_list(non_sequences)]
        self.strict = strict
        given = [sequence(s) for s in as_list(sequences)]
        self.length = length_of(given, n_steps)
        self.sequences = [
            cut(x, tap, taps, self.length, go_backwards) for x, taps in given for tap in taps
        ]
        infos = as_list(outputs_info)
        self.recurrent = [recurrent(i, k) for k, i in enumerate(infos)]
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
        elements = [element(x) for x in self.sequences]
        carries = [[like(c) for c in r.initial] for r in self.recurrent]
        feed = [
            values[tap] for r, values in zip(self.recurrent, carries, strict=True) for tap in r.taps
        ]
        outputs, own, condition = results(self.fn(*elements, *feed, *self.constants))
        if not self.recurrent:
            self.recurrent = [Recurrent() for _ in outputs]
            carries = [[] for _ in outputs]
        if len(outputs) != len(self.recurrent):
            raise ValueError(
                f"the function of scan returned {len(outputs)} outputs, outputs_info has "
                f"{len(self.recurrent)} entries\n  mend:   one entry per output; None where an "
                "output is not fed back"
            )
        roots = [*outputs, *(v for _, v in own), *([] if condition is None else [condition])]
        origin = new_input(BOOL, (), "scan")  # the same whatever becomes of the loop
        updates = [(target, value, origin) for target, value in own]
        updates += inner_updates(roots, first_uid, origin, {target for target, _ in own})
        drawn = counters(roots, first_uid, {target for target, _, _ in updates})
        return _Trace(elements, carries, outputs, updates, condition, drawn)

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
        chunks = chunk_lengths(self.memory, self.length, initial, found.elements)
        states = [*initial, *(s for s, _, _ in found.updates)]
        part = self._part(found, self.sequences, states, 0, self.length, chunks)
        traces = part.traces
        if found.condition is not None:
            traces = [_repeat_last(t, part.steps) for t in traces]
        return traces, part.states[: len(initial)], part.steps

    def _part(
        self,
        found: _Trace,
        sequences: Sequence[Node],
        states: Sequence[Node],
        start: Any,
        length: Any,
        chunks: Sequence[int],
        going: Node | None = None,
        final: bool = True,
    ) -> Part:
        """Return what the steps start ... start + length give, kept as `chunks` say.

        `states` are the initial states, then the shared variables that are updated. `going` tells
        whether to do the first step, of a loop with a condition; `final`: its updates count.
        """
        if found.condition is not None and going is None:
            going = o.gt(o.dim_value(length), 0)
        if not chunks:
            return self._loop(found, sequences, states, start, length, going, final)

        def inner(
            xs: Sequence[Node], after: Sequence[Node], first: Any, n: Any, go: Node | None,
            last: bool,
        ) -> Part:  # fmt: skip
            below = chunks[1:]
            if not isinstance(n, int):  # the rest: one level, or each would have a rest again
                below = below[len(below) // 2 :][:1]
            return self._part(found, xs, after, first, n, below, go, last)

        own = [(s, by) for s, _, by in found.updates] if final else []
        return in_chunks(inner, sequences, states, start, length, chunks[0], going, own)

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
        initial += [s for s, _, _ in found.updates]
        head = self._loop(found, early, initial, 0, first, None, False)
        states = [_stopped_behind(s, first) for s in head.states]
        tail = self._loop(found, late, states, first, rest, None, True)
        traces = [
            o.concatenate([o.stop_gradient(a), b], 0)
            for a, b in zip(head.traces, tail.traces, strict=True)
        ]
        return traces, tail.states, head.steps + tail.steps

    def _loop(
        self,
        found: _Trace,
        sequences: Sequence[Node],
        states: Sequence[Node],
        start: Any,
        length: Any,
        going: Node | None,
        final: bool,
    ) -> Part:
        """Return what the loop over the steps start ... start + length gives (see `_part`)."""
        step = new_input(INT64, (), "step")
        targets = [s for s, _, _ in found.updates]
        fresh = [like(s) for s in targets]
        mapping = dict(zip(targets, fresh, strict=True))
        next_: list[Node] = []
        for values, out in zip(found.carries, found.outputs, strict=True):
            next_ += [*values[1:], out] if values else []
        count = len(next_) + len(targets)
        body = [*next_, *(v for _, v, _ in found.updates), *found.outputs]
        body += [] if found.condition is None else [~found.condition]
        first = start if isinstance(start, Node) else o.dim_value(start)
        body = drawn_anew(substitute(body, mapping), step + first, found.counters)
        for s, each in found.counters.items():
            s.data.default_update = s + o.cast(o.dim_value(self.length), s.dtype) * each
        carries = [c for values in found.carries for c in values]
        variables = [step, *found.elements, *carries, *fresh]
        self._check_outer(body, variables)
        initial = list(states)
        if going is not None:  # a state tells whether the next part is to go on
            go_on = body.pop()
            flag = new_input(BOOL, (), "going")
            variables, initial = [*variables, flag], [*initial, going]
            body.insert(count, go_on)
        node = make_loop(
            variables,
            body[: len(initial)],
            body[len(initial) :],
            sequences,
            initial,
            length,
            going,
            None if going is None else go_on,
            updates=[(s, len(next_) + k, by) for k, (s, _, by) in enumerate(found.updates)]
            if final else [],
        )
        *values, steps = results_of(node)
        after = None if going is None else values[count]
        return Part(values[len(initial) :], values[:count], steps, after)

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


def _stopped_behind(state: Node, steps: Any) -> Node:
    """Return a state through which no derivative flows back to `steps` steps before it, if any."""
    stopped = o.stop_gradient(state)
    if isinstance(steps, int):
        return stopped if steps else state
    return o.where(o.gt(o.dim_value(steps), 0), stopped, state)


def _repeat_last(trace: Node, steps: Node) -> Node:
    """Return the rows of a trace, those behind the last step replaced by it."""
    n = trace.type.shape[0]
    return o.take(trace, o.maximum(o.minimum(o.arange(n), steps - 1), 0), 0)


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
