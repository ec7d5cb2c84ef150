"""Images sampled at places between their elements, and the grids of affine maps.

Positions are numbers in [-1, 1] along each axis, the last axis first, as in spatial transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from symgraph.core.dtype import INT64, DType
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.ops.base import Size, as_nodes, cast_to
from symgraph.ops.interpolate import CUBIC
from symgraph.ops.rows import as_float

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


# -- positions -----------------------------------------------------------------------------------
def _number(n: Size, dtype: DType) -> Any:
    return n if isinstance(n, int) else cast_to(as_node(o.dim_value(n)), dtype)


def _position(u: Node, n: Size, align: bool) -> Node:
    """Return the position among n elements that u in [-1, 1] stands for."""
    m = _number(n, u.dtype)
    return as_node((u + 1) * ((m - 1) / 2) if align else ((u + 1) * m - 1) / 2)


def _folded(at: Node, n: Size, padding: str, align: bool) -> Node:
    """Return positions beyond the ends moved inside, as the padding says."""
    if padding == "zeros":
        return at
    last = _number(n, at.dtype) - 1
    if padding == "reflection":
        # a single aligned element: all positions are 0 already, any span does
        low, span = (0.0, o.maximum(last, 1)) if align else (-0.5, last + 1)
        apart = o.abs(at - low)
        turns = o.floor(apart / span)
        rest = apart - turns * span
        even = o.eq(turns, 2 * o.floor(turns / 2))
        at = low + o.where(even, rest, span - rest)
    return o.clip(at, 0, last)


def _element(x: Node, places: Sequence[Node]) -> Node:
    """Return x (n, c, *lengths) at whole positions, one (n, *sizes) per axis; 0 outside."""
    lengths = x.type.shape[2:]
    inside: Any = None
    safe = []
    for at, n in zip(places, lengths, strict=True):
        fits = o.logical_and(o.ge(at, 0), o.lt(at, _number(n, at.dtype)))
        inside = fits if inside is None else o.logical_and(inside, fits)
        safe.append(cast_to(o.where(fits, at, 0), INT64))
    batch = o.iota((x.type.shape[0], *(1,) * (safe[0].ndim - 1)))
    found = o.getitem(o.moveaxis(x, 1, -1), (batch, *safe))
    return o.moveaxis(o.where(o.expand_dims(inside, -1), found, 0), -1, 1)


# -- weights -------------------------------------------------------------------------------------
def _linear(share: Node) -> list[Node]:
    return [1 - share, share]


def _cubic(t: Node) -> list[Node]:
    """Return the weights of the elements at -1, 0, 1, 2 (cubic convolution, as `interpolate`)."""
    a = CUBIC

    def near(d: Node) -> Node:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Node) -> Node:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _weighted(x: Node, places: list[list[Node]], weights: list[list[Node]]) -> Node:
    """Return the sum over all combinations of one place per axis."""
    total: Any = None
    for corner in product(*(range(len(p)) for p in places)):
        value = _element(x, [p[k] for p, k in zip(places, corner, strict=True)])
        weight: Any = None
        for w, k in zip(weights, corner, strict=True):
            weight = w[k] if weight is None else weight * w[k]
        term = value * o.expand_dims(weight, 1)
        total = term if total is None else total + term
    return as_node(total)


@function
def grid_sample(
    x: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Node:
    """Return images x (n, c, *lengths) at the places grid (n, *sizes, rank): (n, c, *sizes).

    A place is `rank` numbers, that of the last axis first; -1 and 1 are the outer edges of the
    first and last element, or their centres with `align_corners`. `mode` is "bilinear" (linear in
    each axis, any rank), "nearest" (half to even) or "bicubic" (a = -0.75). Beyond the edges there
    are zeros ("zeros"), the outermost elements ("border"), or mirrored ones ("reflection"). Both
    arguments have derivatives (that by the grid is zero for "nearest"). Raises `ShapeError`.
    """
    images, places = as_nodes((as_float(x), as_float(grid)))
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
    if padding_mode not in PADDINGS:
        raise ValueError(f"padding_mode must be one of {', '.join(PADDINGS)}; got {padding_mode!r}")
    rank = images.ndim - 2
    if rank < 1 or places.ndim != images.ndim or places.type.shape[-1] != rank:
        raise ShapeError(
            "grid_sample needs images (n, channels, *lengths) and a grid (n, *sizes, rank) with "
            f"a number per length, got `{describe(images)}` {images.type} and "
            f"`{describe(places)}` {places.type}"
        )
    lengths = images.type.shape[2:]
    at = [
        _position(places[..., rank - 1 - k], n, align_corners) for k, n in enumerate(lengths)
    ]

    def folded(positions: Sequence[Node]) -> list[Node]:
        pairs = zip(positions, lengths, strict=True)
        return [_folded(v, n, padding_mode, align_corners) for v, n in pairs]

    if mode == "nearest":
        return _element(images, [o.rint(v) for v in folded(at)])
    if mode == "bicubic":  # each of the elements is folded by itself
        low = [o.floor(v) for v in at]
        rows = [folded([v + k for v in low]) for k in (-1, 0, 1, 2)]
        taps = [list(each) for each in zip(*rows, strict=True)]
        return _weighted(images, taps, [_cubic(v - a) for v, a in zip(at, low, strict=True)])
    at = folded(at)
    low = [o.floor(v) for v in at]
    weights = [_linear(v - a) for v, a in zip(at, low, strict=True)]
    return _weighted(images, [[a, a + 1] for a in low], weights)


@function
def affine_grid(theta: Any, size: Sequence[Any], align_corners: bool = False) -> Node:
    """Return the grid (n, *sizes, rank) for `grid_sample` of affine maps theta (n, rank, rank + 1).

    `size` is (n, channels, *sizes), the shape of the images to be sampled. Each place of the result
    is theta @ (u, 1), with u the place of an element of such an image. Raises `ShapeError`.
    """
    maps = as_float(theta)
    sizes = tuple(size)[2:]
    rank = len(sizes)
    if rank < 1 or maps.ndim != 3 or maps.type.shape[1:] != (rank, rank + 1):
        raise ShapeError(
            f"affine_grid to {tuple(size)} needs maps (n, {rank}, {rank + 1}), "
            f"`{describe(maps)}` is {maps.type}"
        )
    result: Any = None
    for k, n in enumerate(sizes):
        shape = tuple(n if j == k else 1 for j in range(rank))
        along = _centres(n, shape, k, maps.dtype, align_corners)
        column = maps[:, :, rank - 1 - k].reshape((-1, *(1,) * rank, rank))
        term = o.expand_dims(along, (0, rank + 1)) * column
        result = term if result is None else result + term
    return as_node(result + maps[:, :, rank].reshape((-1, *(1,) * rank, rank)))


def _centres(n: Size, shape: tuple[Size, ...], axis: int, dtype: DType, align: bool) -> Node:
    """Return the numbers in [-1, 1] of n elements; with aligned corners one element is at 0."""
    i, m = o.iota(shape, axis, dtype), _number(n, dtype)
    if not align:
        return as_node((2 * i + 1) / m - 1)
    return as_node((2 * i - (m - 1)) / o.maximum(as_node(m - 1, (dtype,)), 1))
