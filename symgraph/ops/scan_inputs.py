"""What the user of `sg.scan` gives, normalised: sequences, outputs_info, results of a step."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.node import SHARED, Node, as_node, describe, new_input, weak_dtype
from symgraph.core.op import function, o
from symgraph.core.record import dataclass, field
from symgraph.core.updates import one_each
from symgraph.core.walk import substitute, toposort
from symgraph.dims.dim import minimum
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
class Recurrent:
    """One output of the step: its initial values (oldest first) and the steps it looks back."""

    initial: list[Node] = field(default_factory=list)
    taps: list[int] = field(default_factory=list)
    weak: bool = False

    @property
    def depth(self) -> int:
        return len(self.initial)


def as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def sequence(value: Any) -> tuple[Node, list[int]]:
    """Return a sequence and its taps."""
    taps = [0]
    if isinstance(value, Mapping):
        _check_keys(value, "input", "a sequence")
        taps = _taps(value.get("taps", [0]), "a sequence")
        value = value["input"]
    node = as_node(value)
    if node.ndim == 0:
        raise ShapeError(
            f"scan walks the first axis of a sequence; `{describe(node)}` is a scalar\n"
            "  mend:   pass it in non_sequences"
        )
    return node, taps


def _check_keys(entry: Mapping[str, Any], needed: str, what: str) -> None:
    """Raise where an entry lacks its array, or has a key that would be passed over in silence."""
    unknown = [k for k in entry if k not in (needed, "taps")]
    if unknown or needed not in entry:
        raise ValueError(
            f"{what} has the keys {needed!r} and, if wanted, 'taps'; got {list(entry)}\n"
            f"  mend:   dict({needed}=x, taps=[...])"
        )


def _taps(value: Any, what: str) -> list[int]:
    """Return taps as a list of integers, at least one."""
    taps = list(value) if isinstance(value, (list, tuple)) else [value]
    if not taps or not all(isinstance(t, (int, np.integer)) for t in taps):
        raise ValueError(f"{what}: taps must be integers, at least one, got {value!r}")
    return [int(t) for t in taps]


def length_of(given: Sequence[tuple[Node, list[int]]], n_steps: Any) -> Any:
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
            raise ShapeError(
                "a sequence of scan is shorter than the span of its taps: "
                + ", ".join(f"`{describe(x)}` is {x.type}, taps {taps}" for x, taps in given)
            )
        shortest = n if shortest is None or shortest is n else shorter(shortest, n)
    return shortest


def shorter(a: Any, b: Any) -> Any:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else minimum(a, b)


def cut(x: Node, tap: int, taps: Sequence[int], length: Any, backwards: bool) -> Node:
    """Return the rows that the steps see under one tap: row t of the result in step t."""
    lowest = min(0, *taps)
    if backwards:
        x, start = o.flip(x, 0), max(0, *taps) - tap
    else:
        start = tap - lowest
    return o.slice_axis(x, 0, start, length, 1)


def recurrent(info: Any, place: int) -> Recurrent:
    """Return what an entry of outputs_info says; oldest initial value first."""
    taps: list[int] = [-1]
    if isinstance(info, Mapping):
        _check_keys(info, "initial", f"outputs_info {place}")
        taps = _taps(info.get("taps", [-1]), f"outputs_info {place}")
        info = info["initial"]
    if info is None:
        return Recurrent()
    if any(t >= 0 for t in taps):
        raise ValueError(f"outputs_info {place}: taps must be negative, got {taps}")
    depth = max(-t for t in taps)
    node = as_node(info)
    weak = weak_dtype(info) is not None
    if depth == 1:
        return Recurrent([node], [0], weak)
    have = node.type.shape[0] if node.ndim else 0
    if isinstance(have, int) and have != depth:
        raise ShapeError(
            f"outputs_info {place}: taps {taps} look back {depth} steps, so `initial` needs "
            f"{depth} values on its first axis (the oldest first); `{describe(node)}` is "
            f"{node.type}"
        )
    # where its length is not known yet, it is checked when it is
    initial = o.reshape(node, (depth, *node.type.shape[1:]))
    return Recurrent([initial[k] for k in range(depth)], [depth + t for t in taps], weak)


def element(x: Node) -> Node:
    fresh = new_input(x.dtype, x.type.shape[1:], x.name and f"{x.name}[t]")
    if x.test_value is not None and len(x.test_value):
        fresh.test_value = x.test_value[0]
    return fresh


def like(x: Node) -> Node:
    fresh = new_input(x.dtype, x.type.shape, x.name)
    fresh.test_value = x.test_value
    return fresh


def results(value: Any) -> tuple[list[Node], list[tuple[Node, Node]], Node | None]:
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
    for p in parts:
        if p is None or isinstance(p, (Until, Mapping)):
            raise TypeError(
                f"the function of scan returned {p if p is None else type(p).__name__} as an "
                "output\n  mend:   return the outputs, then the dict of updates, then sg.until(c)"
            )
    return [as_node(p) for p in parts], updates, condition


def inner_updates(
    outputs: Sequence[Node], first_uid: int, origin: Node, given: Container[Node] = ()
) -> list[tuple[Node, Node, Node]]:
    """Return the updates of scans made in a step, since `first_uid`: they travel with the step.

    A scan made before is done once, outside of the step. Variables in `given` are left alone.
    `origin` stands for the loop around; counters of draws stay their own.
    """
    found = one_each((n for n in toposort(outputs) if n.op.compound), given)
    return [
        (target, value, by if by is target else origin)
        for target, value, by in found
        if by.uid > first_uid
    ]


# -- random draws ------------------------------------------------------------------------------
def counters(
    outputs: Sequence[Node], first_uid: int, carried: Container[Node] = ()
) -> dict[Node, Node]:
    """Return the counters of random draws made since `first_uid`, and how far a step moves each.

    Those in `carried` are states: an inner loop moves them by steps whose number depends on data.
    """
    found: dict[Node, Node] = {}
    for n in toposort(outputs):
        if n in carried:
            continue
        if n.op is SHARED and n.uid > first_uid and n.data.default_update is not None:
            update = n.data.default_update
            if update.op.name == "add" and n in update.inputs:
                a, b = update.inputs
                found[n] = b if a is n else a
    return found


def drawn_anew(body: Sequence[Node], step: Node, found: Mapping[Node, Node]) -> list[Node]:
    """Give every step random numbers of its own: the draw number moves on with the step."""
    moved = {s: s + o.cast(step, s.dtype) * each for s, each in found.items()}
    return substitute(body, moved)
