"""Reductions over windows of all axes by any associative function, as lax.reduce_window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.ops.base import cast_to
from symgraph.ops.conv import extent


def _each(value: Any, name: str, x: Node) -> tuple[int, ...]:
    found = (value,) * x.ndim if isinstance(value, int) else tuple(value)
    if len(found) != x.ndim or not all(isinstance(n, int) and n >= 1 for n in found):
        raise ShapeError(
            f"reduce_window: {name} must be a whole number >= 1 for each of the {x.ndim} axes of "
            f"`{describe(x)}` {x.type}, got {value!r}"
        )
    return found


def _around(padding: Any, x: Node, window: Any, strides: Any, dilation: Any) -> list[Any]:
    if isinstance(padding, str):
        if padding.lower() not in ("same", "valid"):
            raise ValueError(f'padding must be "valid", "same" or pairs, got {padding!r}')
        if padding.lower() == "valid":
            return [(0, 0)] * x.ndim
        pairs = []
        for n, k, s, d in zip(x.type.shape, window, strides, dilation, strict=True):
            total = d * (k - 1)
            if s > 1 and not isinstance(n, int):
                raise ShapeError(
                    'reduce_window: padding "same" with a stride needs known sizes, '
                    f"`{describe(x)}` is {x.type}"
                )
            if s > 1:
                total = max(0, (-(-n // s) - 1) * s + total + 1 - n)
            pairs.append((total // 2, total - total // 2))
        return pairs
    pairs = [tuple(p) for p in padding]
    if len(pairs) != x.ndim or any(len(p) != 2 or min(p) < 0 for p in pairs):
        raise ShapeError(f"reduce_window: padding must be {x.ndim} pairs >= 0, got {padding!r}")
    return pairs


@function
def reduce_window(
    x: Any,
    init_value: Any,
    computation: Callable[[Any, Any], Any],
    window_dimensions: int | Sequence[int],
    window_strides: int | Sequence[int] = 1,
    padding: Any = "valid",
    window_dilation: int | Sequence[int] = 1,
) -> Node:
    """Return `computation` over the elements of every window, as jax.lax.reduce_window.

    computation(a, b) is associative and commutative, acts elementwise (sg.add, sg.maximum, a
    function of one's own), and has `init_value`, with which x is padded, as its neutral element.
    Sizes, strides and dilation are one number for each axis, or one for all; padding is "valid",
    "same" or a pair for each axis. Windows are built axis by axis, by doubling: a window of k
    elements takes about log2(k) applications. Derivatives are those of `computation`.

    Raises ShapeError where numbers do not fit the axes or an array is shorter than its window.

    >>> x = sg.vector("x", dtype="float64")
    >>> y = sg.reduce_window(x, 0.0, sg.add, 3)
    >>> y.eval({x: np.array([1.0, 2.0, 3.0, 4.0])})
    array([6., 9.])
    """
    node = as_node(x)
    window = _each(window_dimensions, "window_dimensions", node)
    strides = _each(window_strides, "window_strides", node)
    dilation = _each(window_dilation, "window_dilation", node)
    pairs = _around(padding, node, window, strides, dilation)
    if any(p != (0, 0) for p in pairs):
        fill = cast_to(as_node(init_value, (node.dtype,)), node.dtype)
        node = o.pad(node, pairs, constant_values=fill)
    for axis, (k, s, d) in enumerate(zip(window, strides, dilation, strict=True)):
        node = _along(node, computation, axis, k, s, d)
    return node


def _along(
    x: Node, computation: Callable[[Any, Any], Any], axis: int, k: int, stride: int, dilation: int
) -> Node:
    """Return windows of k elements along one axis."""
    n = x.type.shape[axis]
    if isinstance(n, int) and n < (k - 1) * dilation + 1:
        raise ShapeError(
            f"reduce_window: axis {axis} has length {n} with its padding, a window of {k} with "
            f"dilation {dilation} needs {(k - 1) * dilation + 1}"
        )
    count = extent(n, k, stride, (0, 0), dilation)
    whole: Node | None = None  # windows of the elements so far, at every place
    power, size, start = x, 1, 0  # windows of `size` elements
    rest = k
    while True:
        if rest & 1:
            part = power if start == 0 else _from(power, axis, start * dilation)
            whole = part if whole is None else computation(*_common(axis, whole, part))
            start += size
        rest >>= 1
        if not rest:
            break
        power = computation(*_common(axis, power, _from(power, axis, size * dilation)))
        size *= 2
    assert whole is not None
    return o.slice_axis(whole, axis, 0, count, stride)


def _from(x: Node, axis: int, first: int) -> Node:
    return o.slice_axis(x, axis, first, x.type.shape[axis] - first)


def _common(axis: int, a: Node, b: Node) -> tuple[Node, Node]:
    """Return both cut to the shorter one, the second."""
    return o.slice_axis(a, axis, 0, b.type.shape[axis]), b
