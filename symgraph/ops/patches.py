"""Windows of images as columns and back, and channels as pixels."""

from __future__ import annotations

from itertools import product
from typing import Any

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.ops.control import fitting
from symgraph.ops.conv import Pair, extent, pads, pair


def _image(x: Any, rank: int, name: str) -> Node:
    node = as_node(x)
    if node.ndim != rank:
        raise ShapeError(f"{name} needs {rank} axes, `{describe(node)}` is {node.type}")
    return node


def _places(window: Pair, dilation: Pair) -> list[Pair]:
    return [(i * dilation[0], j * dilation[1]) for i, j in product(*map(range, window))]


@function
def unfold(x: Any, window: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Node:
    """Return the windows of images (n, c, h, w) as columns: (n, c * kh * kw, windows)."""
    node = _image(x, 4, "unfold")
    k, s, d = pair(window, "window"), pair(stride, "stride"), pair(dilation, "dilation")
    around = pads(padding, node.type.shape[2:], k, s, d)
    if around != ((0, 0), (0, 0)):
        node = o.pad(node, ((0, 0), (0, 0), *around))
    n, c, h, w = node.type.shape
    rows, columns = (extent(m, a, b, (0, 0), e) for m, a, b, e in zip((h, w), k, s, d, strict=True))
    for m, size in ((rows, k[0]), (columns, k[1])):
        node = fitting(node, m, f"unfold: a window of {size}")
    parts = []
    for i, j in _places(k, d):
        part = o.slice_axis(o.slice_axis(node, 2, i, rows, s[0]), 3, j, columns, s[1])
        parts.append(o.reshape(part, (n, c, 1, rows * columns)))
    return o.reshape(o.concatenate(parts, 2), (n, c * k[0] * k[1], rows * columns))


@function
def fold(
    x: Any, size: Any, window: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Node:
    """Return images of `size` whose windows are the sums of columns: the transpose of `unfold`."""
    node = _image(x, 3, "fold")
    k, s, d = pair(window, "window"), pair(stride, "stride"), pair(dilation, "dilation")
    h, w = pair(size, "size")
    (top, bottom), (left, right) = pads(padding, (h, w), k, s, d)
    high, wide = h + top + bottom, w + left + right
    rows, columns = extent(high, k[0], s[0], (0, 0), d[0]), extent(wide, k[1], s[1], (0, 0), d[1])
    n, depth, count = node.type.shape
    taps = k[0] * k[1]
    if (isinstance(depth, int) and depth % taps) or (
        isinstance(count, int) and count != rows * columns
    ):
        raise ShapeError(
            f"fold to {h} x {w} by windows {k} needs (n, channels * {taps}, {rows * columns}), "
            f"`{describe(node)}` is {node.type}"
        )
    c = depth // taps
    table = o.reshape(node, (n, c, taps, rows, columns))
    total: Any = 0
    for t, (i, j) in enumerate(_places(k, d)):
        steps = (1, 1, s[0], s[1])
        total = total + o.place(table[:, :, t], (0, 0, i, j), steps, (n, c, high, wide))
    return o.slice_axis(o.slice_axis(total, 2, top, h), 3, left, w)


@function
def pixel_shuffle(x: Any, factor: int) -> Node:
    """Return (n, c * r * r, h, w) as (n, c, h * r, w * r): channels become blocks of pixels."""
    node = _image(x, 4, "pixel_shuffle")
    n, c, h, w = node.type.shape
    r = int(factor)
    if isinstance(c, int) and c % (r * r):
        raise ShapeError(f"pixel_shuffle by {r}: {c} channels do not divide by {r * r}")
    blocks = o.reshape(node, (n, c // (r * r), r, r, h, w))
    return o.reshape(o.permute_dims(blocks, (0, 1, 4, 2, 5, 3)), (n, c // (r * r), h * r, w * r))


@function
def pixel_unshuffle(x: Any, factor: int) -> Node:
    """Return (n, c, h * r, w * r) as (n, c * r * r, h, w): the inverse of `pixel_shuffle`."""
    node = _image(x, 4, "pixel_unshuffle")
    n, c, h, w = node.type.shape
    r = int(factor)
    if any(isinstance(m, int) and m % r for m in (h, w)):
        raise ShapeError(f"pixel_unshuffle by {r}: an image of {h} x {w} does not divide")
    blocks = o.reshape(node, (n, c, h // r, r, w // r, r))
    return o.reshape(o.permute_dims(blocks, (0, 1, 3, 5, 2, 4)), (n, c * r * r, h // r, w // r))
