"""Convolutions of one and three dimensions, transposed and depthwise ones, made of conv2d.

One dimension is an image of one row. The depth of a volume becomes more channels of conv2d: slices
at the places of the filter's layers, one beside the other. All derivatives are those of conv2d.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, describe
from symgraph.core.op import function, o
from symgraph.dims.dim import maximum
from symgraph.ops.base import Size, as_nodes
from symgraph.ops.control import fitting
from symgraph.ops.conv import Conv2dInput, check_channels, extent

Pads = tuple[tuple[Size, Size], ...]


def numbers(value: Any, rank: int, what: str, low: int = 1) -> tuple[int, ...]:
    """Return one number or `rank` of them as a tuple; raises ValueError below `low`."""
    items = (value,) * rank if isinstance(value, (int, np.integer)) else tuple(value)
    if len(items) != rank or any(not isinstance(v, (int, np.integer)) or v < low for v in items):
        raise ValueError(f"{what} must be a number or {rank}, at least {low}; got {value!r}")
    return tuple(int(v) for v in items)


def around(
    padding: Any, sizes: Sequence[Size], kernel: Sequence[Size], stride: Any, dilation: Any
) -> Pads:
    """Return (before, after) for each axis, from a number, one per axis, pairs, or a word."""
    rank = len(kernel)
    if not isinstance(padding, str):
        items = (padding,) * rank if isinstance(padding, (int, np.integer)) else tuple(padding)
        if len(items) != rank:
            raise ValueError(
                f"padding must be a number or {rank} numbers or pairs; got {padding!r}"
            )
        pairs = [numbers(p, 2, "padding", 0) for p in items]
        return tuple((a, b) for a, b in pairs)
    result: list[tuple[Size, Size]] = []
    for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        reach = d * (k - 1)
        if padding == "same":  # ceil(n / s) windows; an odd rest goes to the end
            total = reach if s == 1 else maximum(((n - 1) // s) * s + reach + 1 - n, 0)
            result.append((total // 2, total - total // 2))
        elif padding in ("valid", "half", "full"):
            side = {"valid": 0, "half": (reach + 1) // 2, "full": reach}[padding]
            result.append((side, side))
        else:
            raise ValueError(f"padding must be valid, same, half, full or numbers; got {padding!r}")
    return tuple(result)


def _operands(name: str, rank: int, x: Any, w: Any, groups: int) -> tuple[Node, Node]:
    images, filters = as_nodes((x, w))
    for node in (images, filters):
        if node.ndim != rank + 2:
            raise ShapeError(
                f"{name} needs {rank + 2} axes: (n, channels, *sizes) and filters (out, channels / "
                f"groups, *window); `{describe(node)}` is {node.type}, made at {node.source}"
            )
    if groups < 1:
        raise ValueError(f"groups must be at least 1, got {groups}")
    return images, filters


def _row(x: Node) -> Node:
    return o.expand_dims(x, 2)


# -- one dimension ---------------------------------------------------------------------------------
@function
def conv1d(
    x: Any,
    w: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    groups: int = 1,
    flip: bool = False,
) -> Node:
    """Return the cross-correlation of sequences (n, c, length) with filters (o, c / groups, k).

    Arguments as in `conv2d`; the result is (n, o, length').
    """
    images, filters = _operands("conv1d", 1, x, w, groups)
    (s,), (d,) = numbers(stride, 1, "stride"), numbers(dilation, 1, "dilation")
    pads = around(padding, images.type.shape[2:], filters.type.shape[2:], (s,), (d,))
    filters = o.flip(filters, 2) if flip else filters
    result = o.conv2d(_row(images), _row(filters), (1, s), _with_row(pads), (1, d), groups=groups)
    return o.squeeze(result, 2)


def _with_row(pads: Pads) -> Any:
    return ((0, 0), *pads)


# -- transposed ------------------------------------------------------------------------------------
def _grown(x: Node, w: Node, stride: Any, pads: Pads, dilation: Any, extra: Any) -> list[Size]:
    """Return the sizes of the image of which `x` would be the convolution."""
    return [
        (n - 1) * s - a - b + d * (k - 1) + 1 + e
        for n, k, s, (a, b), d, e in zip(
            x.type.shape[2:], w.type.shape[2:], stride, pads, dilation, extra, strict=True
        )
    ]


def _check_extra(extra: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> None:
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e >= max(s, d):
            raise ValueError(f"output_padding {e} must be below the stride {s} or dilation {d}")


def _far_ends(
    pads: Pads, extra: Sequence[int], stride: Sequence[int]
) -> tuple[Pads, tuple[int, ...], list[int]]:
    """Return padding and output padding below the stride, and how many zeros come behind that.

    A longer output padding undoes padding first: there the filters reach; behind, nothing does.
    """
    new: list[tuple[Size, Size]] = []
    rest, zeros = [], []
    for (a, b), e, s in zip(pads, extra, stride, strict=True):
        undone = 0 if e < s else min(e, int(b))
        new.append((a, b - undone))
        rest.append(e if e < s else 0)
        zeros.append(0 if e < s else e - undone)
    return tuple(new), tuple(rest), zeros


def _with_zeros(x: Node, zeros: Sequence[int]) -> Node:
    if not any(zeros):
        return x
    return o.pad(x, [(0, 0), (0, 0), *((0, n) for n in zeros)])


@function
def conv_transpose2d(
    x: Any,
    w: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    *,
    groups: int = 1,
) -> Node:
    """Return the transpose of conv2d by its images: each element of `x` adds a scaled filter.

    `x` is (n, c, h, w), `w` is (c, o / groups, kh, kw), the result (n, o, h', w') with
    h' = (h - 1) * stride - top - bottom + dilation * (kh - 1) + 1 + output_padding.
    """
    images, filters = _operands("conv_transpose2d", 2, x, w, groups)
    s, d = numbers(stride, 2, "stride"), numbers(dilation, 2, "dilation")
    extra = numbers(output_padding, 2, "output_padding", 0)
    _check_extra(extra, s, d)
    pads, extra, zeros = _far_ends(_numeric_pads(padding, filters, s, d), extra, s)
    size = tuple(_grown(images, filters, s, pads, d, extra))
    result = Conv2dInput.instance(
        images, filters, stride=s, padding=pads, dilation=d, groups=groups, size=size
    )
    return _with_zeros(result, zeros)


def _numeric_pads(padding: Any, w: Node, stride: Any, dilation: Any) -> Pads:
    if isinstance(padding, str):
        raise ValueError(f"the padding of a transposed convolution is numbers, got {padding!r}")
    return around(padding, (), w.type.shape[2:], stride, dilation)


@function
def conv_transpose1d(
    x: Any,
    w: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    *,
    groups: int = 1,
) -> Node:
    """Return the transpose of conv1d by its sequences; see `conv_transpose2d`."""
    images, filters = _operands("conv_transpose1d", 1, x, w, groups)
    (s,), (d,) = numbers(stride, 1, "stride"), numbers(dilation, 1, "dilation")
    (extra,) = numbers(output_padding, 1, "output_padding", 0)
    pads = _numeric_pads(padding, filters, (s,), (d,))
    result = conv_transpose2d(
        _row(images), _row(filters), (1, s), _with_row(pads), (0, extra), (1, d), groups=groups
    )
    return o.squeeze(result, 2)


# -- three dimensions ------------------------------------------------------------------------------
def _known_depth(name: str, w: Node) -> int:
    depth = w.type.shape[2]
    if not isinstance(depth, int):
        raise ShapeError(f"{name} needs filters of known depth, `{describe(w)}` is {w.type}")
    return depth


def _flat_filters(w: Node) -> Node:
    """(o, c, depth, kh, kw) -> (o, c * depth, kh, kw)."""
    a, c, depth, kh, kw = w.type.shape
    return o.reshape(w, (a, c * depth, kh, kw))


@function
def conv3d(
    x: Any,
    w: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    groups: int = 1,
    flip: bool = False,
) -> Node:
    """Return the cross-correlation of volumes (n, c, d, h, w) with filters (o, c / groups, ...).

    Arguments as in `conv2d`, with three numbers each; the result is (n, o, d', h', w').
    """
    images, filters = _operands("conv3d", 3, x, w, groups)
    s, d = numbers(stride, 3, "stride"), numbers(dilation, 3, "dilation")
    check_channels("conv3d", images, filters, groups)
    kernel = filters.type.shape[2:]
    pads = around(padding, images.type.shape[2:], kernel, s, d)
    layers = _known_depth("conv3d", filters)
    filters = o.flip(filters, (2, 3, 4)) if flip else filters
    front = (
        o.pad(images, ((0, 0), (0, 0), pads[0], (0, 0), (0, 0))) if pads[0] != (0, 0) else images
    )
    n, c, length, h, wide = front.type.shape
    count = extent(length, layers, s[0], (0, 0), d[0])
    front = fitting(front, count, f"conv3d: a window of depth {layers}")
    parts = [o.expand_dims(o.slice_axis(front, 2, k * d[0], count, s[0]), 2) for k in range(layers)]
    whole = o.permute_dims(o.concatenate(parts, 2), (0, 3, 1, 2, 4, 5))
    flat = o.reshape(whole, (n * count, c * layers, h, wide))
    result = o.conv2d(flat, _flat_filters(filters), s[1:], pads[1:], d[1:], groups=groups)
    out, rows, columns = result.type.shape[1:]
    return o.permute_dims(o.reshape(result, (n, count, out, rows, columns)), (0, 2, 1, 3, 4))


@function
def conv_transpose3d(
    x: Any,
    w: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    *,
    groups: int = 1,
) -> Node:
    """Return the transpose of conv3d by its volumes; see `conv_transpose2d`."""
    images, filters = _operands("conv_transpose3d", 3, x, w, groups)
    s, d = numbers(stride, 3, "stride"), numbers(dilation, 3, "dilation")
    extra = numbers(output_padding, 3, "output_padding", 0)
    _check_extra(extra, s, d)
    pads, extra, zeros = _far_ends(_numeric_pads(padding, filters, s, d), extra, s)
    layers = _known_depth("conv_transpose3d", filters)
    depth, *size = _grown(images, filters, s, pads, d, extra)
    n, c, count, h, wide = images.type.shape
    flat = o.reshape(o.permute_dims(images, (0, 2, 1, 3, 4)), (n * count, c, h, wide))
    spread = Conv2dInput.instance(
        flat, _flat_filters(filters),
        stride=s[1:], padding=pads[1:], dilation=d[1:], groups=groups, size=tuple(size),
    )  # fmt: skip
    channels = spread.type.shape[1] // layers
    spread = o.reshape(spread, (n, count, channels, layers, *size))
    spread = o.permute_dims(spread, (3, 0, 2, 1, 4, 5))
    before, after = pads[0]
    shape = (n, channels, depth + before + after, *size)
    total: Any = 0
    for k in range(layers):  # each layer of the filter lands a step further on
        starts = (0, 0, k * d[0], 0, 0)
        total = total + o.place(spread[k], starts, (1, 1, s[0], 1, 1), shape)
    return _with_zeros(o.slice_axis(total, 2, before, depth), zeros)


# -- depthwise -------------------------------------------------------------------------------------
@function
def depthwise_conv2d(x: Any, w: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Node:
    """Return the convolution of each channel with filters of its own.

    `x` is (n, c, h, w), `w` is (c, m, kh, kw): m filters per channel, the result (n, c * m, ...).
    """
    images, filters = _operands("depthwise_conv2d", 2, x, w, 1)
    c, m, kh, kw = filters.type.shape
    if not isinstance(c, int):
        raise ShapeError(f"the number of channels of `{describe(filters)}` must be known")
    flat = o.reshape(filters, (c * m, 1, kh, kw))
    return o.conv2d(images, flat, stride, padding, dilation, groups=c)
