"""The way back through a loop whose number of steps is known only when it has run.

Its states cannot all be kept: their number has no bound when memory is planned. They are kept in a
fixed number of places instead (checkpoints) and computed again in between, on several levels:

    a block of S steps          keeps all that the way back reads
    a block of S^2 steps        keeps the state before each block of S steps
    a block of S^l steps        keeps the state before each of its S blocks

The last block is taken first; the steps of a block before its last part are done to find the states
to keep. So n <= S^l steps are done at most l times more; a level that has one block only costs
nothing. Above the highest level the first state alone is kept.

Griewank and Walther, Revolve (2000); Stumm and Walther, New algorithms for optimal online
checkpointing (2010): there the number of steps is not known on the way forward, here the way
forward has been run before, so that blocks of fixed lengths need no search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from symgraph.core.dtype import INT64
from symgraph.core.node import Node, new_input
from symgraph.core.op import function, o
from symgraph.core.walk import substitute
from symgraph.ops.loop import make_loop, results_of
from symgraph.ops.loop_derivative import Backward, live, or_zeros, spread

Values = Sequence[Node]

# (bytes of a state up to which this holds, places on a level, levels)
PLANS = ((1 << 14, 64, 3), (1 << 20, 32, 3), (1 << 62, 8, 4))
UNKNOWN_PLAN = (16, 4)  # of states of unknown size
NESTED_LEVELS = 2  # at most of loops in loops, as of second derivatives: their text is long


@function
def unlimited_pull_back(
    node: Node, gradients: Mapping[int, Node], accumulate: Callable[..., Any]
) -> list[Node | None]:
    """Return the derivative by each input of a loop of unknown length."""
    return _Checkpoints(node, gradients, accumulate).run()


class _Checkpoints:
    """The loops of the way back under construction; nodes over the opened body's variables."""

    def __init__(self, node: Node, gradients: Mapping[int, Node], accumulate: Any) -> None:
        self.node, self.accumulate = node, accumulate
        self.back = Backward(node, gradients, accumulate)
        self.p = self.back.p
        parts = self.back.step()
        count = len(self.p.carries)
        self.places = list(self.back.lam)  # the carries that have a derivative
        self.wanted = live(parts[count:])  # the constants that have one
        self.slots, self.levels = plan(node)

    def run(self) -> list[Node | None]:
        """Build the loops and return the derivative by each input."""
        p = self.p
        chunk = self.slots**self.levels
        steps = results_of(self.node)[-1]
        if self.node.params.length is not None:
            return self._derivatives(self._single_block(steps))
        chunks = _quotient(steps, chunk)
        turn = new_input(INT64, (), "turn")
        lam, sums = self._variables()
        first = (chunks - 1 - turn) * chunk
        states = self._advanced(p.initial, o.zeros((), INT64), first)
        found = self._block(self.levels - 1, states, first, o.minimum(steps - first, chunk), lam,
                            sums)  # fmt: skip
        fill = dict(zip(p.fixed, p.constants, strict=True))
        loop = make_loop(
            [turn, *lam, *sums],
            substitute(found, fill),
            [],
            [],
            self._at_the_end(),
            None,
            chunks,
            recompute=True,
        )
        return self._derivatives(results_of(loop))

    def _single_block(self, steps: Node) -> list[Node]:
        """Go back through a loop all of whose steps are one block."""
        p = self.p
        end = self._at_the_end()
        lam, sums = end[: len(self.places)], end[len(self.places) :]
        found = self._block(self.levels - 1, p.initial, o.zeros((), INT64), steps, lam, sums)
        return substitute(found, dict(zip(p.fixed, p.constants, strict=True)))

    def _at_the_end(self) -> list[Node]:
        """Return the derivatives by the last state, and zeros for the constants."""
        p, final = self.p, self.back.final
        return [
            *(or_zeros(final[k], p.next[k]) for k in self.places),
            *(o.zeros_like(p.constants[k]) for k in self.wanted),
        ]

    def _derivatives(self, found: Values) -> list[Node | None]:
        """Return the derivative by each input of the loop."""
        p = self.p
        return [
            None,
            *spread(self.places, found, len(p.carries)),
            *spread(self.wanted, found[len(self.places) :], len(p.fixed)),
        ]

    def _variables(self) -> tuple[list[Node], list[Node]]:
        """Return variables for the derivatives by the carries, and by the constants so far."""
        p = self.p
        lam = [p.carries[k] for k in self.places]
        sums = [p.fixed[k] for k in self.wanted]
        return (
            [new_input(x.dtype, x.type.shape, "grad") for x in lam],
            [new_input(x.dtype, x.type.shape, "sum") for x in sums],
        )

    def _block(
        self, level: int, states: Values, first: Node, count: Node, lam: Values, sums: Values
    ) -> list[Node]:
        """Go back through the `count` steps behind `states`, the first of number `first`.

        Return the derivatives by `states` and by the constants, given those after the block.
        """
        if level == 0:
            return self._kept(states, first, count, lam, sums)
        unit = self.slots**level
        blocks = _quotient(count, unit)
        before = self._states_of_blocks(states, first, blocks, unit)
        block = new_input(INT64, (), "block")
        held = [new_input(x.dtype, x.type.shape, x.name) for x in self.p.carries]
        inner_lam, inner_sums = self._variables()
        start = block * unit
        found = self._block(level - 1, held, first + start, o.minimum(count - start, unit),
                            inner_lam, inner_sums)  # fmt: skip
        loop = make_loop(
            [block, *held, *inner_lam, *inner_sums],
            found,
            [],
            before,
            [*lam, *sums],
            self.slots,
            blocks,
            reverse=True,
        )
        return results_of(loop)[:-1]

    def _states_of_blocks(
        self, states: Values, first: Node, blocks: Node, unit: int
    ) -> list[Node]:
        """Return the state before each block of `unit` steps; nothing is done in the last one."""
        block = new_input(INT64, (), "block")
        held = [new_input(x.dtype, x.type.shape, x.name) for x in self.p.carries]
        count = o.where(o.lt(block + 1, blocks), unit, o.zeros((), INT64))
        after = self._advanced(held, first + block * unit, count, unit)
        loop = make_loop([block, *held], after, held, [], states, self.slots, blocks)
        return results_of(loop)[len(held) : -1]

    def _advanced(
        self, states: Values, first: Node, count: Node, most: int | None = None
    ) -> list[Node]:
        """Return the states after `count` more steps; its own way back keeps few of them too."""
        few = most is not None and most > self.slots
        return results_of(self._forward(states, first, count, most, few))[: len(states)]

    def _forward(
        self, states: Values, first: Node, count: Node, length: int | None, few: bool = False
    ) -> Node:
        """Return the loop that does `count` steps from step `first` on, at most `length`.

        `few`: the way back through it keeps a fixed number of states.
        """
        p = self.p
        step, *carries = [new_input(x.dtype, x.type.shape, x.name) for x in (p.step, *p.carries)]
        fill = dict(zip((p.step, *p.carries), (first + step, *carries), strict=True))
        return make_loop(
            [step, *carries], substitute(p.next, fill), [], [], states, length, count,
            recompute=few,
        )  # fmt: skip

    def _kept(
        self, states: Values, first: Node, count: Node, lam: Values, sums: Values
    ) -> list[Node]:
        """Go back through at most `slots` steps, all of which are kept."""
        loop = self._forward(states, first, count, self.slots)
        given = dict(zip(self.places, lam, strict=True))
        parts = Backward(loop, given, self.accumulate).run()
        by_input: dict[Node, Node] = {}
        for x, d in zip(loop.inputs, parts, strict=True):
            if d is not None and x in self.p.fixed:
                by_input[x] = by_input[x] + d if x in by_input else d
        d_states = parts[1 : 1 + len(states)]
        found = [or_zeros(d_states[k], self.p.carries[k]) for k in self.places]
        for k, total in zip(self.wanted, sums, strict=True):
            d = by_input.get(self.p.fixed[k])
            found.append(total if d is None else total + d)
        return found


def _quotient(n: Node, unit: int) -> Node:
    """Return how many blocks of `unit` steps `n` steps are, the last of which may be short."""
    return (n + (unit - 1)) // unit


def plan(node: Node) -> tuple[int, int]:
    """Return how many states each level keeps, and the number of levels."""
    slots, levels = _by_size(node)
    length = node.params.length
    if length is not None:
        return slots, next(k for k in count(1) if slots**k >= length)
    if node.params.recompute:  # over blocks of all levels: there are few, and each is much text
        return slots, 1
    return (slots, min(levels, NESTED_LEVELS)) if node.params.body.level > 1 else (slots, levels)


def _by_size(node: Node) -> tuple[int, int]:
    size = 0
    for x in node.params.body.outputs[: node.params.n_carries]:
        if not all(isinstance(n, int) for n in x.type.shape):
            return UNKNOWN_PLAN
        size += x.dtype.itemsize * math.prod(x.type.shape)
    return next((slots, levels) for most, slots, levels in PLANS if size <= most)
