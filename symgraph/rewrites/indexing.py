"""Slices, their transposes, concatenations, gathers and scatters that meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.node import CONSTANT, Node, make, new_input
from symgraph.core.op import o, ops
from symgraph.core.pattern import is_number, rewrite_rule

MOST_LEADING = 32  # positions of an order that are found without sorting all


def _x(*shape: Any, dtype: str = "float32") -> Node:
    return new_input(dtype, shape, "x")


def _is_whole(starts: Any, steps: Any) -> bool:
    """Tell whether a region starts at 0 with step 1 along every axis."""
    return all(isinstance(s, int) and s == 0 for s in starts) and all(s == 1 for s in steps)


def _slice_example() -> list[Node]:
    x = _x(7, 9)
    return [
        o.getitem(x, (slice(None), slice(None))),
        o.getitem(o.getitem(x, (slice(1, 6), slice(0, 9, 2))), (slice(1, 4), slice(3, 0, -1))),
    ]


@rewrite_rule(phase="canonical", numeric="exact", roots=("slice",), example=_slice_example)
def slice_of_slice(node: Node) -> Node | None:
    """A slice of everything -> x; slice(slice(x)) -> one slice."""
    x, q = node.inputs[0], node.params
    if _is_whole(q.starts, q.steps) and x.type.shape == node.type.shape:
        return x
    if x.op is not node.op:
        return None
    inner = x.params
    starts = tuple(a + s * b for a, s, b in zip(inner.starts, inner.steps, q.starts, strict=True))
    steps = tuple(s * t for s, t in zip(inner.steps, q.steps, strict=True))
    return node.op(x.inputs[0], starts=starts, steps=steps, lengths=q.lengths)


def _slice_broadcast_example() -> list[Node]:
    return [o.getitem(o.broadcast_to(_x(1, 4), (3, 4)), (slice(1, 3), slice(1, 3)))]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("slice",), children=("broadcast_to",),
    example=_slice_broadcast_example,
)  # fmt: skip
def slice_of_broadcast(node: Node) -> Node | None:
    """slice(broadcast(x)) -> broadcast(slice(x)): repeated axes need no start."""
    x, q = node.inputs[0], node.params
    inner = x.inputs[0]
    lead = x.ndim - inner.ndim
    starts, steps, lengths = [], [], []
    for k, n in enumerate(inner.type.shape):
        same = n is x.type.shape[lead + k] or n == x.type.shape[lead + k]
        if not same and not (isinstance(n, int) and n == 1):
            return None  # the sizes may turn out to be equal
        # an axis of length 1 that is sliced to nothing must stay 1 to be repeated 0 times
        starts.append(q.starts[lead + k] if same and n != 1 else 0)
        steps.append(q.steps[lead + k] if same and n != 1 else 1)
        lengths.append(q.lengths[lead + k] if same and n != 1 else n)
    new = node.op(inner, starts=tuple(starts), steps=tuple(steps), lengths=tuple(lengths))
    return o.broadcast_to(new, node.type.shape)


def _slice_written_example() -> list[Node]:
    x, y = _x(7, 9), _x(3, 9)
    part = o.getitem(x, slice(1, 4))
    return [
        o.getitem(o.set_subtensor(part, y), slice(1, 4)),
        o.getitem(o.pad(y, ((1, 3), (0, 0))), (slice(1, 4),)),
    ]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("slice",), children=("set_slice", "place"),
    example=_slice_written_example,
)  # fmt: skip
def slice_of_written(node: Node) -> Node | None:
    """Reading the region that was just written -> what was written."""
    x, q = node.inputs[0], node.params
    if x.params.starts != q.starts or x.params.steps != q.steps:
        return None
    y = x.inputs[-1]
    return y if y.type.shape == node.type.shape else None


def _slice_joined_example() -> list[Node]:
    x, y = _x(3, 4), _x(5, 4)
    z = o.concatenate([x, y])
    return [o.getitem(z, slice(0, 3)), o.getitem(z, slice(4, 8, 2))]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("slice",), children=("concatenate",),
    example=_slice_joined_example,
)  # fmt: skip
def slice_of_concatenate(node: Node) -> Node | None:
    """A slice inside one part of a concatenation -> a slice of that part."""
    z, q = node.inputs[0], node.params
    axis = z.params.axis
    start, step, n = q.starts[axis], q.steps[axis], q.lengths[axis]
    if not isinstance(start, int) or not isinstance(n, int) or n == 0:
        return None
    ends = sorted((start, start + (n - 1) * step))
    at = 0
    for part in z.inputs:
        size = part.type.shape[axis]
        if not isinstance(size, int):
            return None
        if at <= ends[0] and ends[1] < at + size:
            starts = (*q.starts[:axis], start - at, *q.starts[axis + 1 :])
            return node.op(part, starts=starts, steps=q.steps, lengths=q.lengths)
        at += size
    return None


def _slice_sorted_example() -> list[Node]:
    return [o.getitem(o.argsort(_x(9)), slice(0, 3)), o.topk(_x(3, 40), 2)[1]]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("slice",), children=("argsort",),
    example=_slice_sorted_example, differentiable=False,
)  # fmt: skip
def slice_of_argsort(node: Node) -> Node | None:
    """The first few positions of an order -> argsort_first: no sort of what nobody reads."""
    order, q = node.inputs[0], node.params
    n, count = order.type.shape[-1], q.lengths[-1]
    if not isinstance(n, int) or not isinstance(count, int):
        return None
    if (q.starts[-1], q.steps[-1]) != (0, 1) or not 0 < 2 * count <= min(n, 2 * MOST_LEADING):
        return None
    descending = order.params.descending
    few = ops["argsort_first"](order.inputs[0], descending=descending, count=count)
    return node.op(few, starts=q.starts, steps=q.steps, lengths=q.lengths)


def _neighbours_example() -> list[Node]:
    x, y, z = _x(3, 4), _x(2, 4), _x(4, 4)
    first, last = o.pad(x, ((0, 6), (0, 0))), o.pad(z, ((5, 0), (0, 0)))
    return [first + last + o.pad(y, ((3, 4), (0, 0))), o.pad(y, ((4, 1), (0, 0))) + o.pad(
        y, ((2, 3), (0, 0)))]  # fmt: skip


@rewrite_rule(
    phase="canonical", numeric="reorder", roots=("add",), children=("place",),
    example=_neighbours_example,
)  # fmt: skip
def sum_of_neighbours(node: Node) -> Node | None:
    """Adding arrays placed side by side in zeros -> one place of them joined.

    Gradients by slices of one vector of parameters are such sums.
    """
    places, others = [], []
    axis = None
    for term in _terms(node):
        found = _placed_axis(term)
        if found is not None and (axis is None or axis == found):
            axis = found
            places.append(term)
        else:
            others.append(term)
    if axis is None or len(places) < 2:
        return None
    places.sort(key=lambda t: t.params.starts[axis])
    runs: list[list[Node]] = []
    end = -1
    for t in places:
        start = t.params.starts[axis]
        if start < end:
            return None
        if runs and start == end:
            runs[-1].append(t)
        else:
            runs.append([t])
        end = start + t.inputs[0].type.shape[axis]
    if len(runs) == len(places):
        return None
    total: Any = None
    for term in (*others, *(_side_by_side(run, axis) for run in runs)):
        total = term if total is None else total + term
    return total  # type: ignore[no-any-return]


def _terms(x: Node) -> list[Node]:
    if x.op.name == "add" and all(i.type.shape == x.type.shape for i in x.inputs):
        return [t for i in x.inputs for t in _terms(i)]
    return [x]


def _placed_axis(term: Node) -> int | None:
    """Return the one axis along which an array lies inside of zeros, element by element."""
    if term.op.name != "place":
        return None
    p, inner = term.params, term.inputs[0].type.shape
    axes = [k for k, n in enumerate(term.type.shape) if inner[k] is not n and inner[k] != n]
    if len(axes) != 1 or not all(isinstance(s, int) and s == 1 for s in p.steps):
        return None
    (axis,) = axes
    known = isinstance(p.starts[axis], int) and isinstance(inner[axis], int)
    return axis if known and inner[axis] > 0 else None


def _side_by_side(run: Sequence[Node], axis: int) -> Node:
    if len(run) == 1:
        return run[0]
    first = run[0]
    whole = o.concatenate([t.inputs[0] for t in run], axis)
    if whole.type.shape == first.type.shape:
        return whole
    return first.op(whole, **first.params._asdict())


def _concatenate_example() -> list[Node]:
    x, y = _x(5, 4), _x(2, 4)
    one = make(o.concatenate([x, y]).op, (x,), o.concatenate([x, y]).params)
    pieces = o.concatenate(o.split(x, [2, 3]))
    return [one, pieces, o.concatenate([o.concatenate([x, y]), x])]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("concatenate",), example=_concatenate_example
)
def concatenate_parts(node: Node) -> Node | None:
    """Joining one array -> it; joining neighbouring slices of x -> one slice; nested -> flat."""
    axis = node.params.axis
    if len(node.inputs) == 1:
        return node.inputs[0]
    flat: list[Node] = []
    for part in node.inputs:
        if part.op is node.op and part.params.axis == axis:
            flat.extend(part.inputs)
            continue
        joined = _joined(flat[-1], part, axis) if flat else None
        if joined is None:
            flat.append(part)
        else:
            flat[-1] = joined
    if len(flat) == len(node.inputs) and tuple(flat) == node.inputs:
        return None
    return node.op(*flat, axis=axis) if len(flat) > 1 else flat[0]


def _joined(a: Node, b: Node, axis: int) -> Node | None:
    """Return one slice of x for two slices of x that touch along `axis`, or None."""
    if a.op.name != "slice" or b.op is not a.op or a.inputs[0] is not b.inputs[0]:
        return None
    p, q = a.params, b.params
    if p.steps != q.steps or p.steps[axis] != 1:
        return None
    for k in range(a.ndim):
        if k != axis and (p.starts[k] != q.starts[k] or p.lengths[k] != q.lengths[k]):
            return None
    end = p.starts[axis] + p.lengths[axis]
    if end is not q.starts[axis] and end != q.starts[axis]:
        return None
    lengths = (*p.lengths[:axis], p.lengths[axis] + q.lengths[axis], *p.lengths[axis + 1 :])
    return a.op(a.inputs[0], starts=p.starts, steps=p.steps, lengths=lengths)


def _written_example() -> list[Node]:
    x, y = _x(3, 4), _x(3, 4)
    whole = o.getitem(x, slice(None))
    part = o.getitem(x, slice(1, 3))
    return [o.set_subtensor(whole, y), o.set_subtensor(part, part)]


@rewrite_rule(phase="canonical", numeric="exact", roots=("set_slice",), example=_written_example)
def set_whole_slice(node: Node) -> Node | None:
    """Writing every element -> what is written; writing back what was read -> x."""
    x, y = node.inputs
    q = node.params
    if _is_whole(q.starts, q.steps) and x.type.shape == y.type.shape:
        return y
    if y.op.name == "slice" and y.inputs[0] is x:
        return x if (y.params.starts, y.params.steps) == (q.starts, q.steps) else None
    return None


def _place_example() -> list[Node]:
    x = _x(3, 4)
    return [o.pad(x, 0), o.pad(o.pad(x, 1), ((0, 2), (3, 0)))]


@rewrite_rule(phase="canonical", numeric="exact", roots=("place",), example=_place_example)
def place_of_place(node: Node) -> Node | None:
    """Placing into the same shape -> x; placing what was placed with step 1 -> once."""
    x, q = node.inputs[0], node.params
    if _is_whole(q.starts, q.steps) and x.type.shape == node.type.shape:
        return x
    steps = {*q.steps, *x.params.steps} if x.op is node.op else {0}
    if steps != {1}:
        return None
    starts = tuple(a + b for a, b in zip(q.starts, x.params.starts, strict=True))
    return node.op(x.inputs[0], starts=starts, steps=q.steps, shape=q.shape)


def _zero_slice_example() -> list[Node]:
    x, y = _x(5, 4), _x(2, 4)
    zeros = o.zeros_like(x)
    return [o.set_subtensor(o.getitem(zeros, slice(1, 3)), y)]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("set_slice",), children=("broadcast_to", "constant"),
    example=_zero_slice_example,
)  # fmt: skip
def set_slice_of_zeros(node: Node) -> Node | None:
    """Writing y into zeros -> y placed among zeros."""
    x, y = node.inputs
    if not is_number(x, 0):
        return None
    q = node.params
    return ops["place"](y, starts=q.starts, steps=q.steps, shape=x.type.shape)


def _gather_example() -> list[Node]:
    x = _x(5, 4)
    number = o.iota((5,), 0)
    return [o.getitem(x, number)]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("gather",), children=("iota",),
    example=_gather_example,
)  # fmt: skip
def gather_everything(node: Node) -> Node | None:
    """x[0, 1, ..., n - 1] -> x."""
    x, i = node.inputs[0], node.inputs[1]
    if len(node.inputs) != 2 or i.op.name != "iota" or i.ndim != 1:
        return None
    return x if i.type.shape[0] is x.type.shape[0] or i.type.shape[0] == x.type.shape[0] else None


def _gather_constant_example() -> list[Node]:
    x = _x(5, 4)
    return [o.take(x, np.asarray(-2), 0)]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("gather",), children=("constant",),
    example=_gather_constant_example,
)  # fmt: skip
def gather_constant(node: Node) -> Node | None:
    """x[i] for constant scalars i -> a slice, which is a view."""
    x, indices = node.inputs[0], node.inputs[1:]
    starts, lengths = [0] * x.ndim, list(x.type.shape)
    for k, i in enumerate(indices):
        n = x.type.shape[k]
        if i.op is not CONSTANT or i.ndim or not isinstance(n, int):
            return None
        starts[k], lengths[k] = int(i.data) % n if n else 0, 1
    key = tuple(slice(s, s + n) for s, n in zip(starts[: len(indices)], lengths, strict=False))
    return o.squeeze(o.getitem(x, key), tuple(range(len(indices))))
