"""The loop: one step, a closed body, repeated over time. `sg.scan` and its relatives make these.

A loop node is a compound: it has several results, which `result` nodes name. In the body, the
arguments are the step number, one element of each sequence, the carries, and constants:

    for t in steps:                       # or from the last to the first
        carries, rows, go_on = body(t, [x[t] for x in sequences], carries, constants)
        trace[t] = rows

Results: the final carries, the traces (rows stacked along a new first axis), the number of steps.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.core.body import Body, close, retyped
from symgraph.core.dtype import BOOL, INT64
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.node import CONSTANT, Node, describe, make
from symgraph.core.op import Op, function, o
from symgraph.core.types import TensorType
from symgraph.core.walk import toposort
from symgraph.dims.dim import Dim, must_equal, must_reach
from symgraph.dims.dim import substitute as substitute_size

FOR, COUNT, WHILE = "for", "count", "while"
LoopParams = namedtuple(  # noqa: PYI024
    "LoopParams", "kind length reverse n_carries n_sequences body updates recompute"
)
Inputs = namedtuple("Inputs", "header sequences initial constants")  # noqa: PYI024


# A shared variable, the number of the carry that is its new value, and its origin: a variable that
# stands for the scan that the user wrote, which loops that derivatives and batches make of it keep.
# The origin of the counter of a random draw is the counter: elements of a batch draw the same
# numbers, so it moves on with the one that does most steps.
Update = tuple[Node, int, Node]
Evaluate = Callable[[Body, Sequence[Node], Sequence[np.ndarray]], list[np.ndarray]]


def split_inputs(inputs: Sequence[Any], params: Any) -> Inputs:
    """Return the inputs of a loop (nodes, arrays, tangents) by what they are for."""
    head = 0 if params.kind == FOR else 1
    first = head + params.n_sequences
    last = first + params.n_carries
    header = inputs[0] if head else None
    return Inputs(header, list(inputs[head:first]), list(inputs[first:last]), list(inputs[last:]))


class Parts:
    """The inputs of a loop, and the arguments and outputs of its body, by what they are for."""

    def __init__(self, inputs: Sequence[Node], params: Any) -> None:
        self.header, self.sequences, self.initial, self.constants = split_inputs(inputs, params)
        self.set_body(params, params.body.args, params.body.outputs)

    def set_body(self, params: Any, args: Sequence[Node], outputs: Sequence[Node]) -> None:
        """Name the parts of the body, or of the same graph over other variables."""
        first, last = 1 + params.n_sequences, 1 + params.n_sequences + params.n_carries
        self.step = args[0]
        self.elements = list(args[1:first])
        self.carries = list(args[first:last])
        self.fixed = list(args[last:])
        outputs = list(outputs)
        self.go_on = outputs.pop() if params.kind == WHILE else None
        self.next = outputs[: params.n_carries]
        self.rows = outputs[params.n_carries :]

    @classmethod
    def of(cls, node: Node) -> Parts:
        """Return the parts of a loop node."""
        return cls(node.inputs, node.params)

    def argument_types(self) -> list[TensorType]:
        """Return the types of the body's arguments that follow from the inputs."""
        elements = [x.type.with_shape(x.type.shape[1:]) for x in self.sequences]
        others = [n.type for n in (*self.initial, *self.constants)]
        return [TensorType(INT64, ()), *elements, *others]


class Loop(Op):
    """Inputs: [header], sequences, initial carries, constants (see `Parts`).

    kind "for" runs `length` steps. "count" has a header, the number of steps to do, at most
    `length`; rows of later steps are zero. "while" has a header that says whether to do the first
    step, and the last output of its body says whether to go on; `length` None sets no limit (and
    allows neither sequences nor traces). A `reverse` loop goes from the last step to the first.
    """

    name = "loop"
    doc = "One step repeated over time; several results."
    params = LoopParams._fields
    Params = LoopParams
    opaque = True
    compound = True

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        p = Parts(inputs, params)
        for old, new in zip(p.initial, p.next, strict=True):
            same_type(old, new)
        if params.length is not None:
            if isinstance(params.length, int) and params.length < 0:
                raise ShapeError(f"a scan cannot do {params.length} steps")
            must_reach(params.length, 0)
        for x in p.sequences:
            must_equal(x.type.shape[0], params.length)
        return TensorType(BOOL, ())

    def result_types(self, node: Node) -> list[TensorType]:
        """Return the types of the results: final carries, traces, the number of steps."""
        p = Parts.of(node)
        traces = [TensorType(n.dtype, (node.params.length, *n.type.shape)) for n in p.rows]
        return [*(n.type for n in p.initial), *traces, TensorType(INT64, ())]

    def resized(
        self, node: Node, inputs: tuple[Node, ...], values: Any, specialise: Callable[..., Any]
    ) -> Node:
        """Return the loop for other sizes of its inputs; the types in its body follow."""
        params = node.params
        length = params.length
        if isinstance(length, Dim):
            length = substitute_size(length, values)
        kinds = Parts(inputs, params).argument_types()
        types = dict(zip(params.body.args, kinds, strict=True))
        outputs, _ = specialise(params.body.outputs, values, types)
        renamed = retyped(params.body, types)
        body = Body(tuple(renamed[a] for a in params.body.args), tuple(outputs), params.body.level)
        return make(self, inputs, params._replace(length=length, body=body))

    def updates(self, node: Node) -> list[tuple[Node, Node, Node]]:
        return [(target, RESULT(node, index=k), by) for target, k, by in node.params.updates]

    def numpy(self, node: Node, *arrays: np.ndarray) -> Any:
        return run_loop(node, arrays, evaluate_body)

    def compute(self, node: Node, arrays: Sequence[np.ndarray], evaluate: Evaluate) -> Any:
        """Compute the results with `evaluate` in place of `evaluate_body`."""
        return run_loop(node, arrays, evaluate)

    def test_value(self, node: Node) -> Any:
        values: list[Any] = [
            i.data if i.op is CONSTANT else i.test_value for i in node.inputs
        ]
        return None if any(v is None for v in values) else run_loop(node, values, evaluate_body)

    def repeat(self, low: Any, node: Node, wanted: dict[int, Any]) -> None:
        """Lower the loop; `wanted` are the buffers of the results that are used."""
        params, p = node.params, Parts.of(node)
        low.loop(
            node,
            wanted,
            kind=params.kind,
            length=params.length,
            reverse=params.reverse,
            level=params.body.level,
            header=p.header,
            step=p.step,
            sequences=list(zip(p.elements, p.sequences, strict=True)),
            carries=list(zip(p.carries, p.initial, p.next, strict=True)),
            constants=list(zip(p.fixed, p.constants, strict=True)),
            rows=p.rows,
            go_on=p.go_on,
        )

    def pull_back(self, node: Node, gradients: dict[int, Node], accumulate: Any) -> Any:
        """Return the derivative by each input from derivatives by some results."""
        return o.loop_pull_back(node, gradients, accumulate)

    def batch_all(
        self, o: Any, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        """Return (node, axis) of each result for a batch of some inputs."""
        return o.batched_loop(node, inputs, axes)

    def push_forward(
        self, node: Node, tangents: Sequence[Node | None], push: Any, accumulate: Any
    ) -> Any:
        """Return the tangent of each result (None: zero) from tangents of the inputs."""
        return o.loop_push_forward(node, tangents, push)


LOOP = Loop.instance = Loop()


class Result(Op):
    """One of the results of a compound node: a loop or a branch."""

    name = "result"
    doc = "One of the results of a loop or a branch."
    params = ("index",)
    opaque = True
    Params = namedtuple("Params", "index")  # noqa: PYI024

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        owner: Any = inputs[0]
        result: TensorType = owner.op.result_types(owner)[params.index]
        return result

    def numpy(self, node: Node, *arrays: Any) -> np.ndarray:
        value: np.ndarray = arrays[0][node.params.index]
        return value

    def test_value(self, node: Node) -> Any:
        values: Any = node.inputs[0].test_value
        return None if values is None else values[node.params.index]


RESULT = Result.instance = Result()


@function
def results_of(node: Node) -> list[Node]:
    """Return all results of a compound node."""
    op: Any = node.op
    return [RESULT(node, index=k) for k in range(len(op.result_types(node)))]


def make_loop(
    args: Sequence[Node],
    next_: Sequence[Node],
    rows: Sequence[Node],
    sequences: Sequence[Node],
    initial: Sequence[Node],
    length: Any,
    header: Node | None = None,
    go_on: Node | None = None,
    reverse: bool = False,
    updates: Sequence[Update] = (),
    recompute: bool = False,
) -> Node:
    """Return the loop whose step is a graph over the variables `args`.

    `args` are the step number, one element per sequence, one value per carry; `next_` the new
    carries, `rows` what is stacked. `header` and `go_on` make it a loop that may stop early.
    `updates`: see `Update`. `recompute`:
    reverse mode keeps only the carries and computes the rest of a step again.
    """
    kind = FOR if header is None else COUNT if go_on is None else WHILE
    outputs = [*next_, *rows, *([] if go_on is None else [go_on])]
    body, captured = close(args, outputs)
    head = [] if header is None else [header]
    params = LoopParams(
        kind, length, reverse, len(initial), len(sequences), body, tuple(updates), recompute
    )
    return make(LOOP, (*head, *sequences, *initial, *captured), params)


def same_type(old: Node, new: Node) -> None:
    """Raise where a step changes the dtype, rank or shape of a carry."""
    if old.dtype is not new.dtype:
        raise DTypeError(
            f"a step of a loop changes the dtype of `{describe(old)}` from {old.dtype} to "
            f"{new.dtype}\n  result: {describe(new)}, made at {new.source}\n"
            f"  mend:   give the initial state as {new.dtype}, or cast the result: "
            f".astype('{old.dtype}')"
        )
    shapes = old.type.shape, new.type.shape
    if len(shapes[0]) != len(shapes[1]) or any(
        isinstance(a, int) and isinstance(b, int) and a != b
        for a, b in zip(*shapes, strict=True)
    ):
        raise ShapeError(
            f"a step of a loop changes the shape of `{describe(old)}` from {old.type} to "
            f"{new.type}\n  result: {describe(new)}, made at {new.source}\n"
            "  mend:   the state keeps its shape; start from sg.zeros of the full shape"
        )
    for a, b in zip(*shapes, strict=True):
        must_equal(a, b)


# -- the reference -------------------------------------------------------------------------------
def run_loop(node: Node, arrays: Sequence[np.ndarray], evaluate: Evaluate) -> list[np.ndarray]:
    """Compute the results of a loop step by step with NumPy."""
    params, p = node.params, Parts.of(node)
    header, sequences, carries, constants = split_inputs(arrays, params)
    steps = params.length
    if params.kind == COUNT:
        steps = max(0, int(header) if steps is None else min(int(header), steps))
    order = toposort(params.body.outputs)
    kinds = LOOP.result_types(node)
    traces = [np.zeros(t.shape, t.dtype.numpy) for t in kinds[len(carries) : -1]]
    done, going = 0, params.kind != WHILE or bool(header)
    while going and (steps is None or done < steps):
        t = steps - 1 - done if params.reverse else done
        values = [np.asarray(t, np.int64), *(x[t] for x in sequences), *carries, *constants]
        out = evaluate(params.body, order, values)
        if p.go_on is not None:
            going = bool(out.pop())
        carries = out[: len(carries)]
        for trace, row in zip(traces, out[len(carries) :], strict=True):
            trace[t] = row
        done += 1
    return [*map(np.asarray, carries), *traces, np.asarray(done, np.int64)]


def evaluate_body(
    body: Body, order: Sequence[Node], values: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the outputs of a body (nodes in `order`) for arrays of its arguments."""
    done: dict[Node, Any] = dict(zip(body.args, values, strict=True))
    for n in order:
        if n not in done:
            done[n] = n.data if n.op is CONSTANT else n.op.numpy(n, *(done[i] for i in n.inputs))
    return [done[n] for n in body.outputs]


def loops(outputs: Sequence[Node]) -> list[Node]:
    """Return the loops of a graph (those inside of bodies apart), inputs first."""
    return [n for n in toposort(outputs) if n.op is LOOP]


def body_nodes(node: Node) -> list[Node]:
    """Return all nodes of a loop's body."""
    return toposort(node.params.body.outputs)
