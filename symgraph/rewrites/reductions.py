"""Sums and extrema over repeated, scaled, single or no axes."""

from __future__ import annotations

from typing import Any

from symgraph.core.node import CONSTANT, Node, new_input
from symgraph.core.op import o, ops
from symgraph.core.pattern import const_array, rewrite_rule, ulp
from symgraph.dims.bounds import interval


def _x(*shape: int, dtype: str = "float32") -> Node:
    return new_input(dtype, shape, "x")


def _sum_to_example() -> list[Node]:
    return [o.sum_to(_x(2, 3, 4), (4,)), o.sum_to(_x(3, 4), (3, 1)), o.sum_to(_x(5), ())]


@rewrite_rule(phase="canonical", numeric="exact", roots=("sum_to",), example=_sum_to_example)
def expand_sum_to(node: Node) -> Node | None:
    """sum_to the same shape -> x; otherwise a plain sum, once it is known which axes repeat."""
    x = node.inputs[0]
    if x.type.shape == node.type.shape:
        return x
    lead = x.ndim - node.ndim
    for n, m in zip(node.type.shape, x.type.shape[lead:], strict=True):
        if n is not m and n != m and not (isinstance(n, int) and n == 1):
            return None
    expanded: Node = node.op.expand(o, node)
    return expanded


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("max", "min", "any", "all"),
    example=lambda: [o.max(_x(3), ())],
)  # fmt: skip
def extremum_over_none(node: Node) -> Node | None:
    """An extremum over no axes -> x (cast to the dtype of the result)."""
    return o.cast(node.inputs[0], node.dtype) if not node.params.axes else None


@rewrite_rule(
    phase="canonical", numeric=ulp(0), roots=("sum", "prod"),
    example=lambda: [o.sum(_x(3, 4), ()), o.prod(_x(3), ())],
)  # fmt: skip
def sum_over_none(node: Node) -> Node | None:
    """A sum or product over no axes -> x (a sum may lose the sign of -0.0)."""
    return o.cast(node.inputs[0], node.dtype) if not node.params.axes else None


def _single_example() -> list[Node]:
    return [o.max(_x(3, 1), 1), o.max(_x(1, 3, 4), (0, 2))]


@rewrite_rule(phase="canonical", numeric="exact", roots=("max", "min"), example=_single_example)
def extremum_over_one(node: Node) -> Node | None:
    """An extremum over axes of length 1 -> a view of x."""
    return _over_single(node)


def _single_sum_example() -> list[Node]:
    return [o.sum(_x(3, 1), 1), o.sum(_x(1, 3, 4), (0, 2)), o.prod(_x(1, 3), 0)]


@rewrite_rule(
    phase="canonical", numeric="reorder", roots=("sum", "prod"), example=_single_sum_example
)
def sum_over_one(node: Node) -> Node | None:
    """A sum or product over axes of length 1 -> a view of x (a sum may lose the sign of -0.0)."""
    return _over_single(node)


def _over_single(node: Node) -> Node | None:
    x, axes = node.inputs[0], node.params.axes
    single = tuple(a for a in axes if isinstance(x.type.shape[a], int) and x.type.shape[a] == 1)
    if not single or x.dtype is not node.dtype:
        return None
    rest = tuple(a - sum(s < a for s in single) for a in axes if a not in single)
    view = o.squeeze(x, single)
    return node.op(view, axes=rest, dtype=node.dtype) if rest else view


def _nested_example() -> list[Node]:
    return [o.sum(o.sum(_x(2, 3, 4), 1), 0), o.max(o.max(_x(2, 3, 4), 0), 1)]


def _merged(node: Node) -> Node | None:
    x = node.inputs[0]
    if x.op is not node.op or x.dtype is not node.dtype or x.inputs[0].dtype is not x.dtype:
        return None
    kept = [k for k in range(x.inputs[0].ndim) if k not in x.params.axes]
    axes = tuple(sorted((*x.params.axes, *(kept[a] for a in node.params.axes))))
    return node.op(x.inputs[0], axes=axes, dtype=node.dtype)


@rewrite_rule(
    phase="canonical", numeric="reorder", roots=("sum", "prod"), children=("sum", "prod"),
    example=lambda: _nested_example()[:1],
)  # fmt: skip
def sum_of_sum(node: Node) -> Node | None:
    """sum(sum(x, a), b) -> one sum over the axes of both."""
    return _merged(node)


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("max", "min", "any", "all"),
    children=("max", "min", "any", "all"), example=lambda: _nested_example()[1:],
)  # fmt: skip
def extremum_of_extremum(node: Node) -> Node | None:
    """max(max(x, a), b) -> one maximum over the axes of both."""
    return _merged(node)


def _repeated_example() -> list[Node]:
    x = _x(1, 4)
    return [
        o.sum(o.broadcast_to(x, (3, 4)), 0),
        o.sum(o.broadcast_to(x, (2, 3, 4)), (0, 2)),
        o.sum(o.broadcast_to(_x(), (5,))),
    ]


@rewrite_rule(
    phase="canonical", numeric="reorder", roots=("sum",), children=("broadcast_to",),
    example=_repeated_example,
)  # fmt: skip
def sum_of_broadcast(node: Node) -> Node | None:
    """sum over axes that a broadcast repeated n times -> n * x (n is known not to be 0)."""
    x = node.inputs[0]
    inner, axes = x.inputs[0], node.params.axes
    lead = x.ndim - inner.ndim
    count: Any = 1
    dropped, rest = [], []
    for a in axes:
        n = x.type.shape[a]
        repeated = a < lead or (inner.type.shape[a - lead] == 1)
        if repeated and (interval(n)[0] or 0) > 0:
            count *= n
            dropped.append(a)
        else:
            rest.append(a)
    if not dropped or x.dtype is not node.dtype or x.dtype.kind not in "fiu":
        return None
    single = tuple(a - lead for a in dropped if a >= lead)
    new = o.squeeze(inner, single) if single else inner
    shape = tuple(n for k, n in enumerate(x.type.shape) if k not in dropped)
    new = o.broadcast_to(new, shape)
    left = tuple(a - sum(d < a for d in dropped) for a in rest)
    new = node.op(new, axes=left, dtype=node.dtype) if left else new
    return o.mul(new, ops["dim_value"](dim=count, dtype=node.dtype))


def _expanded_example() -> list[Node]:
    x = _x(3, 4)
    return [o.sum(o.expand_dims(x, 1), (1, 2)), o.max(o.expand_dims(x, (0, 3)), (0, 1, 3))]


@rewrite_rule(
    phase="canonical", numeric="reorder", roots=("sum", "prod", "max", "min"),
    children=("expand_dims",), example=_expanded_example,
)  # fmt: skip
def reduce_of_expand(node: Node) -> Node | None:
    """A reduction over inserted axes -> over the other ones only; kept inserted axes go outside."""
    x, axes = node.inputs[0], node.params.axes
    inserted, inner = x.params.axes, x.inputs[0]
    if x.dtype is not node.dtype:
        return None
    own = [k for k in range(x.ndim) if k not in inserted]
    rest = tuple(k for k, place in enumerate(own) if place in axes)
    result = [k for k in range(x.ndim) if k not in axes]
    put_back = tuple(k for k, place in enumerate(result) if place in inserted)
    new = node.op(inner, axes=rest, dtype=node.dtype) if rest else inner
    return o.expand_dims(new, put_back) if put_back else new


def _permuted_example() -> list[Node]:
    x = _x(2, 3, 4)
    return [o.sum(o.permute_dims(x, (2, 0, 1))), o.max(o.permute_dims(x, (2, 1, 0)), (0, 1))]


@rewrite_rule(
    phase="canonical", numeric="reorder", roots=("sum", "prod", "max", "min", "any", "all"),
    children=("permute_dims",), example=_permuted_example,
)  # fmt: skip
def reduce_of_permute(node: Node) -> Node | None:
    """A reduction of permuted axes -> of x itself, in the order of memory, if the kept ones agree.

    A sum over all axes of a transposed matrix then runs along its rows.
    """
    x, axes = node.inputs[0], node.params.axes
    order = x.params.axes
    kept = [order[k] for k in range(x.ndim) if k not in axes]
    if kept != sorted(kept):
        return None
    return node.op(x.inputs[0], axes=tuple(sorted(order[a] for a in axes)), dtype=node.dtype)


def _reshaped_example() -> list[Node]:
    x = _x(2, 3, 4)
    return [o.sum(o.reshape(o.permute_dims(x, (2, 0, 1)), (6, 4))), o.max(o.reshape(x, (24,)))]


@rewrite_rule(
    phase="canonical", numeric="reorder", roots=("sum", "prod", "max", "min", "any", "all"),
    children=("reshape",), example=_reshaped_example,
)  # fmt: skip
def reduce_of_reshape(node: Node) -> Node | None:
    """A reduction over all axes of a reshaped array -> over all axes of the array."""
    x, inner = node.inputs[0], node.inputs[0].inputs[0]
    if len(node.params.axes) != x.ndim or not x.ndim:
        return None
    return node.op(inner, axes=tuple(range(inner.ndim)), dtype=node.dtype)


def _scaled_example() -> list[Node]:
    x = _x(3, 4)
    return [o.sum(x * 2.5, 1), o.sum(0.25 * x), o.sum(x / 7.0, 0), o.sum(-x, 0)]


def _moderate(c: Node) -> bool:
    """Tell whether a constant scale is an ordinary number: moving it cannot overflow by itself."""
    data = const_array(c)
    if data is None or data.size != 1 or c.dtype.kind != "f":
        return False
    return bool(1e-6 <= abs(data.item()) <= 1e6)


@rewrite_rule(
    phase="canonical", numeric="reorder", roots=("sum",), children=("mul", "div", "neg"),
    example=_scaled_example,
)  # fmt: skip
def sum_of_scaled(node: Node) -> Node | None:
    """sum(x * c) -> sum(x) * c, sum(x / c) -> sum(x) / c, sum(-x) -> -sum(x)."""
    y = node.inputs[0]
    if y.dtype is not node.dtype or not node.params.axes or y.dtype == "float16":
        return None

    def total(x: Node) -> Node:
        return node.op(x, axes=node.params.axes, dtype=node.dtype)

    name = y.op.name
    if name == "neg":
        return o.neg(total(y.inputs[0])) if y.dtype.is_float else None
    pairs = (y.inputs, y.inputs[::-1]) if name == "mul" else (y.inputs,)
    for x, c in pairs:
        if x.type.shape == y.type.shape and x.op is not CONSTANT and _moderate(c):
            scale = c if c.ndim == 0 else o.reshape(c, ())
            scaled: Node = getattr(o, name)(total(x), scale)
            return scaled
    return None


def _placed_example() -> list[Node]:
    x = _x(2, 3)
    return [o.sum(o.pad(x, ((1, 2), (0, 1))), 0)]


@rewrite_rule(
    phase="canonical", numeric="reorder", roots=("sum",), children=("place",),
    example=_placed_example,
)  # fmt: skip
def sum_of_placed(node: Node) -> Node | None:
    """sum(x among zeros) -> sum(x), among zeros along the axes that are kept."""
    y, axes = node.inputs[0], node.params.axes
    if y.dtype is not node.dtype:
        return None
    new = node.op(y.inputs[0], axes=axes, dtype=node.dtype)
    kept = [k for k in range(y.ndim) if k not in axes]
    if not kept:
        return new
    q = y.params
    return y.op(
        new,
        starts=tuple(q.starts[k] for k in kept),
        steps=tuple(q.steps[k] for k in kept),
        shape=tuple(q.shape[k] for k in kept),
    )
