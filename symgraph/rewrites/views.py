"""Views of views: one view, or none."""

from __future__ import annotations

from typing import Any

from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.core.pattern import ELEMENTWISE, rewrite_rule


def _x(*shape: Any, dtype: str = "float32") -> Node:
    return new_input(dtype, shape, "x")


def _permute_example() -> list[Node]:
    x = _x(2, 3, 4)
    return [
        o.permute_dims(o.permute_dims(x, (1, 2, 0)), (1, 0, 2)),
        o.permute_dims(o.permute_dims(x, (1, 2, 0)), (2, 0, 1)),
    ]


@rewrite_rule(phase="canonical", numeric="exact", roots=("permute_dims",), example=_permute_example)
def permute_of_permute(node: Node) -> Node | None:
    """permute(permute(x, a), b) -> permute(x, a[b]); the identity order -> x."""
    x, axes = node.inputs[0], node.params.axes
    if axes == tuple(range(node.ndim)):
        return x
    if x.op is not node.op:
        return None
    return o.permute_dims(x.inputs[0], tuple(x.params.axes[a] for a in axes))


def _reshape_example() -> list[Node]:
    x = _x(2, 3, 4)
    return [
        o.reshape(o.reshape(x, (6, 4)), (4, 6)),
        o.reshape(o.reshape(x, (6, 4)), (2, 3, 4)),
        o.reshape(o.expand_dims(x, 1), (24,)),
    ]


@rewrite_rule(phase="canonical", numeric="exact", roots=("reshape",), example=_reshape_example)
def reshape_of_reshape(node: Node) -> Node | None:
    """reshape(reshape(x)) -> reshape(x); to the same shape -> x; also over expand and squeeze."""
    x = node.inputs[0]
    if x.type.shape == node.type.shape:
        return x
    if x.op.name in ("reshape", "expand_dims", "squeeze"):
        return o.reshape(x.inputs[0], node.type.shape)
    return None


def _squeeze_example() -> list[Node]:
    x = _x(3, 1, 4)
    return [
        o.squeeze(o.expand_dims(x, (0, 2)), (0, 2)),
        o.squeeze(o.expand_dims(x, (0, 2)), (0, 3)),
        o.squeeze(o.squeeze(_x(1, 3, 1), 0), 1),
    ]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("squeeze",), children=("expand_dims", "squeeze"),
    example=_squeeze_example,
)  # fmt: skip
def squeeze_of_expand(node: Node) -> Node | None:
    """squeeze(expand_dims(x)) -> what is left of the two; squeeze(squeeze(x)) -> squeeze(x)."""
    x, axes = node.inputs[0], node.params.axes
    inner = x.inputs[0]
    if x.op is node.op:
        kept = [k for k in range(inner.ndim) if k not in x.params.axes]
        return o.squeeze(inner, tuple(sorted((*x.params.axes, *(kept[a] for a in axes)))))
    own = iter(range(inner.ndim))
    labels = [None if k in x.params.axes else next(own) for k in range(x.ndim)]
    dropped = tuple(labels[a] for a in axes if labels[a] is not None)
    rest = [label for k, label in enumerate(labels) if k not in axes]
    inserted = tuple(k for k, label in enumerate(rest) if label is None)
    return o.expand_dims(o.squeeze(inner, dropped) if dropped else inner, inserted)


def _squeezed_broadcast_example() -> list[Node]:
    return [
        o.squeeze(o.broadcast_to(_x(4), (1, 3, 4)), 0),
        o.squeeze(o.broadcast_to(_x(1, 4), (1, 3, 1, 4)), (0, 2)),
    ]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("squeeze",), children=("broadcast_to",),
    example=_squeezed_broadcast_example,
)  # fmt: skip
def squeeze_of_broadcast(node: Node) -> Node | None:
    """squeeze(broadcast(x)) -> broadcast(squeeze(x)): an axis that is not there is not inserted."""
    x, axes = node.inputs[0], node.params.axes
    inner = x.inputs[0]
    lead = x.ndim - inner.ndim
    own = tuple(a - lead for a in axes if a >= lead)
    return o.broadcast_to(o.squeeze(inner, own) if own else inner, node.type.shape)


def _merged_row_example() -> list[Node]:
    x = _x(3, 4, 5)
    return [o.slice_axis(o.reshape(x, (12, 5)), 0, k, 1) for k in (0, 7, 11)]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("slice",), children=("reshape",),
    example=_merged_row_example,
)  # fmt: skip
def row_of_merged_axes(node: Node) -> Node | None:
    """One row of two axes made one -> the row where it lies: a loop in chunks keeps its last."""
    x, q = node.inputs[0].inputs[0], node.params
    shape = x.type.shape
    if shape[2:] != q.lengths[1:] or len(shape) != node.ndim + 1 or q.lengths[0] != 1:
        return None
    if any(s != 0 for s in q.starts[1:]) or any(s != 1 for s in q.steps[1:]):
        return None
    if not (isinstance(q.starts[0], int) and isinstance(shape[1], int)) or shape[1] == 0:
        return None
    if node.inputs[0].type.shape[1:] != shape[2:]:
        return None
    row = o.slice_axis(x, 0, q.starts[0] // shape[1], 1)
    return o.squeeze(o.slice_axis(row, 1, q.starts[0] % shape[1], 1), 0)


def _expand_example() -> list[Node]:
    x = _x(3, 1)
    return [
        o.expand_dims(o.squeeze(x, 1), 1),
        o.expand_dims(o.expand_dims(x, 0), (1, 4)),
    ]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("expand_dims",), children=("expand_dims", "squeeze"),
    example=_expand_example,
)  # fmt: skip
def expand_of_expand(node: Node) -> Node | None:
    """expand_dims(expand_dims(x)) -> one; expand_dims(squeeze(x)) in the same places -> x."""
    x = node.inputs[0]
    inner = x.inputs[0]
    if x.op.name == "squeeze":
        same = x.params.axes == node.params.axes and inner.type.shape == node.type.shape
        return inner if same else None
    outer = [k for k in range(node.ndim) if k not in node.params.axes]
    axes = sorted((*node.params.axes, *(outer[a] for a in x.params.axes)))
    return o.expand_dims(inner, tuple(axes))


def _broadcast_example() -> list[Node]:
    x = _x(1, 4)
    return [
        o.broadcast_to(o.broadcast_to(x, (3, 4)), (2, 3, 4)),
        o.broadcast_to(o.expand_dims(x, (0, 1)), (2, 3, 3, 4)),
    ]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("broadcast_to",), example=_broadcast_example
)
def broadcast_of_broadcast(node: Node) -> Node | None:
    """broadcast(broadcast(x)) -> one; to the same shape -> x; of new leading axes -> of x."""
    x = node.inputs[0]
    if x.type.shape == node.type.shape:
        return x
    if x.op is node.op:
        sizes = zip(x.type.shape[::-1], node.type.shape[::-1], strict=False)
        if any(n not in (1, m) for n, m in sizes):
            return None  # the sizes may turn out to clash
        return o.broadcast_to(x.inputs[0], node.type.shape)
    if x.op.name == "expand_dims":
        axes = x.params.axes
        lead = 0
        while lead < len(axes) and axes[lead] == lead:
            lead += 1
        if lead:
            rest = tuple(a - lead for a in axes[lead:])
            inner = o.expand_dims(x.inputs[0], rest) if rest else x.inputs[0]
            return o.broadcast_to(inner, node.type.shape)
    return None


def _unary_example() -> list[Node]:
    x = _x(3, 4)
    return [o.exp(o.expand_dims(x, 1)), o.neg(o.expand_dims(x, (0, 2)))]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=(ELEMENTWISE,), children=("expand_dims",),
    example=_unary_example,
)  # fmt: skip
def unary_of_expand(node: Node) -> Node | None:
    """f(expand_dims(x)) -> expand_dims(f(x)) for a unary f, so that rules see f next to x."""
    if len(node.inputs) != 1:
        return None
    x = node.inputs[0]
    return o.expand_dims(node.op.rebuild(node, x.inputs), x.params.axes)


def _transposes_example() -> list[Node]:
    x, y = _x(3, 4), _x(3, 4)
    return [o.add(x.T, y.T), o.permute_dims(o.exp(o.permute_dims(x, (1, 0))), (1, 0))]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=(ELEMENTWISE,), children=("permute_dims",),
    example=_transposes_example,
)  # fmt: skip
def elementwise_of_permutes(node: Node) -> Node | None:
    """f(permute(x), permute(y)) -> permute(f(x, y)) when all full operands have the same order."""
    axes = None
    inner = []
    for x in node.inputs:
        if x.op.name == "permute_dims" and x.ndim == node.ndim:
            if axes is not None and x.params.axes != axes:
                return None
            axes = x.params.axes
            inner.append(x.inputs[0])
        elif x.ndim == 0:
            inner.append(x)
        else:
            return None
    if axes is None:
        return None
    return o.permute_dims(node.op.rebuild(node, tuple(inner)), axes)


# Views along whose result memory is not walked in order: behind them a reshape divides indices.
_APART = {"broadcast_to", "permute_dims", "slice"}


def _is_apart(x: Node) -> bool:
    """Tell whether a value is such a view, or made of one element by element."""
    stack, seen = [x], {x}
    while stack:
        e = stack.pop()
        if e.op.name in _APART and e.ndim > 1:
            return True
        if hasattr(e.op, "scalar"):
            new = [i for i in e.inputs if i.ndim == e.ndim and i not in seen]
            seen.update(new)
            stack += new
    return False


def _reshapes_example() -> list[Node]:
    x = _x(3, 4)
    wide = o.broadcast_to(o.expand_dims(x, 1), (3, 2, 4))
    return [o.exp(o.reshape(x.T, (2, 6))), o.reshape(wide, (6, 4)) * 2.0 + o.reshape(wide, (6, 4))]


@rewrite_rule(
    phase="late", numeric="exact", roots=(ELEMENTWISE,), children=("reshape",),
    example=_reshapes_example,
)  # fmt: skip
def elementwise_of_reshapes(node: Node) -> Node | None:
    """f(reshape(x), reshape(y)) -> reshape(f(x, y)) for x, y of one shape, views of other arrays.

    What is stored is then walked along the axes of x and y, and no index is divided.
    """
    full = [x for x in node.inputs if x.ndim]
    if not full or any(x.op.name != "reshape" for x in full):
        return None
    shape = full[0].inputs[0].type.shape
    if any(x.inputs[0].type.shape != shape or x.type.shape != node.type.shape for x in full):
        return None
    if not any(_is_apart(x.inputs[0]) for x in full):
        return None
    inner = tuple(x.inputs[0] if x.ndim else x for x in node.inputs)
    return o.reshape(node.op.rebuild(node, inner), node.type.shape)
