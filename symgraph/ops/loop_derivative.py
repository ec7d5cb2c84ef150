"""Derivatives of loops: both modes turn a loop into loops.

Forward mode carries the tangents beside the values. Reverse mode runs the transposed step from the
last step to the first; what it needs of the forward steps is read from traces that the forward loop
stores (dear values) or is computed again (cheap ones).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from symgraph.core.node import Node, new_input
from symgraph.core.op import function, o
from symgraph.core.walk import substitute, toposort
from symgraph.ops.loop import COUNT, FOR, RESULT, Parts, make_loop, results_of, split_inputs

DEAR = frozenset(  # elementwise ops whose values are stored for the way back
    {
        *("exp", "expm1", "exp2", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "tanh"),
        *("sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "sigmoid"),
        *("softplus", "erf", "erfc", "power", "logaddexp", "cbrt", "atan2"),
    }
)

Fill = Mapping[Node, Node]


def opened(node: Node) -> tuple[Parts, list[Node]]:
    """Return the parts of a loop with its body over fresh variables, and these variables."""
    parts = Parts.of(node)
    variables, outputs = node.params.body.open()
    parts.set_body(node.params, variables, outputs)
    return parts, variables


# -- forward mode --------------------------------------------------------------------------------
@function
def loop_push_forward(
    node: Node, tangents: Sequence[Node | None], push: Callable[..., Any]
) -> list[Node | None]:
    """Return the tangent of each result of a loop from tangents of its inputs."""
    p, _ = opened(node)
    _, d_sequences, d_initial, d_constants = split_inputs(tangents, node.params)
    moving = [t is not None for t in d_initial]
    while True:  # a carry moves if it starts to, or depends on something that does
        elements = _fresh(p.elements, [t is not None for t in d_sequences])
        carries = _fresh(p.carries, moving)
        fixed = {v: t for v, t in zip(p.fixed, d_constants, strict=True) if t is not None}
        pushed = push([*p.next, *p.rows], {**elements, **carries, **fixed})
        d_next = pushed[: len(moving)]
        now = [m or t is not None for m, t in zip(moving, d_next, strict=True)]
        if now == moving:
            break
        moving = now
    d_rows = pushed[len(moving) :]
    places = [k for k, m in enumerate(moving) if m]
    loop = _rebuilt(
        node,
        p,
        elements=list(elements.values()),
        carries=list(carries.values()),
        next_=[or_zeros(d_next[k], p.next[k]) for k in places],
        rows=[t for t in d_rows if t is not None],
        sequences=[t for t in d_sequences if t is not None],
        initial=[or_zeros(d_initial[k], p.initial[k]) for k in places],
        keep_rows=False,
    )
    found = iter(results_of(loop)[len(moving) :])
    finals: list[Node | None] = [next(found) if m else None for m in moving]
    return [*finals, *(None if t is None else next(found) for t in d_rows), None]


def _fresh(variables: Sequence[Node], wanted: Sequence[bool]) -> dict[Node, Node]:
    """Return a fresh variable of the same type for each wanted one."""
    return {
        v: new_input(v.dtype, v.type.shape, f"d{v.name}")
        for v, w in zip(variables, wanted, strict=True)
        if w and v.dtype.is_inexact
    }


def or_zeros(t: Node | None, like: Node) -> Node:
    return o.zeros_like(like) if t is None else t


def _rebuilt(
    node: Node,
    p: Parts,
    elements: Sequence[Node] = (),
    carries: Sequence[Node] = (),
    next_: Sequence[Node] = (),
    rows: Sequence[Node] = (),
    sequences: Sequence[Node] = (),
    initial: Sequence[Node] = (),
    keep_rows: bool = True,
) -> Node:
    """Return the loop with more sequences, carries and rows behind its own."""
    fill = dict(zip(p.fixed, p.constants, strict=True))
    outputs = [*p.next, *next_, *(p.rows if keep_rows else ()), *rows]
    outputs = substitute([*outputs, *([] if p.go_on is None else [p.go_on])], fill)
    go_on = None if p.go_on is None else outputs.pop()
    count = len(p.next) + len(next_)
    return make_loop(
        [p.step, *p.elements, *elements, *p.carries, *carries],
        outputs[:count],
        outputs[count:],
        [*p.sequences, *sequences],
        [*p.initial, *initial],
        node.params.length,
        p.header,
        go_on,
        node.params.reverse,
        node.params.updates,
        node.params.recompute,
    )


# -- reverse mode --------------------------------------------------------------------------------
@function
def loop_pull_back(
    node: Node, gradients: Mapping[int, Node], accumulate: Callable[..., Any]
) -> list[Node | None]:
    """Return the derivative by each input of a loop from derivatives by some of its results."""
    params = node.params
    if params.length is None or (params.kind == COUNT and params.recompute):
        return o.unlimited_pull_back(node, gradients, accumulate)
    return Backward(node, gradients, accumulate).run()


class Backward:
    """The transposed loop under construction."""

    def __init__(self, node: Node, gradients: Mapping[int, Node], accumulate: Any) -> None:
        self.node, self.accumulate = node, accumulate
        self.p, self.variables = opened(node)
        n = node.params.n_carries
        self.final = [gradients.get(k) for k in range(n)]
        self.traces = [gradients.get(n + k) for k in range(len(self.p.rows))]
        # derivatives by the carries after a step, and by the rows of a step
        self.lam: dict[int, Node] = {}
        self.rows_in = {
            k: new_input(row.dtype, row.type.shape, "grad")
            for k, row in enumerate(self.p.rows)
            if self.traces[k] is not None
        }

    def run(self) -> list[Node | None]:
        """Build both loops and return the derivative by each input."""
        parts = self.step()
        p = self.p
        n_x, n_c = len(p.elements), len(p.carries)
        d_x, d_c = live(parts[:n_x]), parts[n_x : n_x + n_c]
        d_w = live(parts[n_x + n_c :])
        places = list(self.lam)
        sums = [new_input(p.fixed[k].dtype, p.fixed[k].type.shape, "sum") for k in d_w]
        wanted = [or_zeros(d_c[k], p.carries[k]) for k in places]
        wanted += [total + t for total, t in zip(sums, d_w.values(), strict=True)]
        wanted += d_x.values()
        steps, read = self._forward_values(wanted, sums)
        outputs = substitute(wanted, read.substitution)
        outputs = substitute(outputs, dict(zip(p.fixed, p.constants, strict=True)))
        count = len(places) + len(sums)
        traces = [t for t in self.traces if t is not None]
        loop = make_loop(
            [p.step, *read.variables, *self.rows_in.values(), *self.lam.values(), *sums],
            outputs[:count],
            outputs[count:],
            [*read.traces, *traces],
            [
                *(or_zeros(self.final[k], p.next[k]) for k in places),
                *(o.zeros_like(total) for total in sums),
            ],
            self.node.params.length,
            steps,
            None,
            not self.node.params.reverse,
        )
        found = results_of(loop)
        header = [] if p.header is None else [None]
        return [
            *header,
            *spread(d_x, found[count:-1], n_x),
            *spread(places, found, n_c),
            *spread(d_w, found[len(places) : count], len(p.fixed)),
        ]

    def step(self) -> list[Node | None]:
        """Pull the derivatives back through one step; find which carries have any."""
        p = self.p
        wrt = [*p.elements, *p.carries, *p.fixed]
        self.lam = {
            k: _gradient_of(c) for k, c in enumerate(p.carries) if self.final[k] is not None
        }
        while True:
            seeds = [(p.next[k], g) for k, g in self.lam.items()]
            seeds += [(p.rows[k], g) for k, g in self.rows_in.items()]
            parts: list[Node | None] = self.accumulate(seeds, wrt)
            first = len(p.elements)
            new = [
                k
                for k, c in enumerate(p.carries)
                if parts[first + k] is not None and k not in self.lam
            ]
            if not new:
                return parts
            for k in new:
                self.lam[k] = _gradient_of(p.carries[k])
            self.lam = dict(sorted(self.lam.items()))

    def _forward_values(
        self, wanted: Sequence[Node], sums: Sequence[Node]
    ) -> tuple[Node | None, _Reads]:
        """Return how many steps were done (None: all), and what the way back reads of them."""
        p, node = self.p, self.node
        own = [*self.lam.values(), *self.rows_in.values(), *sums]
        read = _Reads(p, wanted, own, node.params.recompute)
        loop = node
        if read.stored:
            loop = _rebuilt(node, p, rows=read.stored)
            found = results_of(loop)[node.params.n_carries + len(p.rows) : -1]
            read.traces += found
        if node.params.kind == FOR:
            return None, read
        return results_of(loop)[-1], read


def live(parts: Sequence[Node | None]) -> dict[int, Node]:
    """Return the derivatives that are there, by place."""
    return {k: t for k, t in enumerate(parts) if t is not None}


def spread(places: Iterable[int], values: Sequence[Node], count: int) -> list[Node | None]:
    """Return values at their places among `count`."""
    found: list[Node | None] = [None] * count
    for k, value in zip(places, values, strict=False):
        found[k] = value
    return found


def _gradient_of(c: Node) -> Node:
    return new_input(c.dtype, c.type.shape, f"grad_{c.name}")


class _Reads:
    """What the backward step reads of the forward steps, as sequences of the backward loop.

    Values that are dear (products, reductions, transcendental functions) are stored by the forward
    loop; cheap ones are computed again from what they depend on. New states are stored too: where
    the loop becomes a recurrence they are rounded otherwise, and what was found by comparison (the
    place of a maximum) must be found again.
    """

    def __init__(
        self, p: Parts, wanted: Sequence[Node], backward: Sequence[Node], recompute: bool
    ) -> None:
        elements = dict(zip(p.elements, p.sequences, strict=True))
        carries = set(p.carries)
        forward = _dependent([*p.next, *p.rows], {*p.elements, *p.carries, p.step})
        own, new = set(backward), set(p.next)
        self.variables: list[Node] = []
        self.traces: list[Node] = []  # sequences that are there; those of `stored` are appended
        self.stored: list[Node] = []
        late: list[Node] = []
        self.substitution: dict[Node, Node] = {}
        seen: set[Node] = set()
        stack = list(reversed(wanted))
        while stack:
            v = stack.pop()
            if v in seen or v in own:
                continue
            seen.add(v)
            if v in elements:
                self.variables.append(v)
                self.traces.append(elements[v])
            elif v in carries or (
                _known(v, forward) and not recompute and (v in new or not _cheap(v))
            ):
                fresh = new_input(v.dtype, v.type.shape, v.name or v.op.name)
                self.substitution[v] = fresh
                late.append(fresh)
                self.stored.append(v)
            else:
                stack.extend(reversed(v.inputs))
        self.variables += late


def _known(v: Node, forward: set[Node]) -> bool:
    """Tell whether the forward step computes a value, if only as one more result of a loop."""
    return v in forward or (v.op is RESULT and v.inputs[0] in forward)


def _dependent(outputs: Sequence[Node], variables: set[Node]) -> set[Node]:
    """Return the nodes below `outputs` that depend on some of the variables."""
    found = set(variables)
    for n in toposort(outputs):
        if any(i in found for i in n.inputs):
            found.add(n)
    return found


def _cheap(v: Node) -> bool:
    """Tell whether a value of the forward step is computed again rather than stored."""
    op = v.op
    if op.is_leaf or op.view:
        return True
    return hasattr(op, "scalar") and op.name not in DEAR and not op.opaque
