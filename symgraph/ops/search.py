"""Binary search in sorted arrays, and what is made of it: bins and linear interpolation."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import FLOAT32, INT64
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, function, o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import Size, as_nodes, batch_all, floatx
from symgraph.ops.rows import as_float

BLOCK_BITS = 14  # the ends of blocks of this many bits are counted: any length, few operations


@register
class SearchSorted(Op):
    name = "searchsorted"
    doc = "How many elements of each sorted row are below (side left) or not above each value."
    params = ("right", "lead")
    not_differentiable = "the result is an index"
    loops = True

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        long = (2 << BLOCK_BITS) + 5
        for n, shape in (*((n, (4, 5)) for n in (0, 1, 6, 7, 8, 33)), (long, (2,))):
            if n == long and dtype != "float32":
                continue
            for right in (False, True):
                a = np.sort(rng.integers(0, 2 if dtype.is_bool else 6, n))
                yield (a.astype(dtype.numpy), shape), {"right": right, "lead": 0}
        a = np.sort(rng.integers(0, 2, (3, 9)), -1).astype(dtype.numpy)
        yield (a, (3, 2)), {"right": False, "lead": 1}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return TensorType(INT64, inputs[1].type.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        a, v = arrays
        p = node.params
        side: Any = "right" if p.right else "left"
        out = np.empty(v.shape, np.int64)
        for at in np.ndindex(*v.shape[: p.lead]):
            out[at] = np.searchsorted(a[at], v[at], side)
        return out

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        """Count the blocks in front of v, then take steps that halve inside of a block.

        A step is taken where the element before its end is in front of v too.
        """
        a, p = node.inputs[0], node.params
        v, n = _single(s, read(1, index)), a.type.shape[-1]

        def in_front(at: Any, guard: Any = None) -> Any:
            where = (*index[: p.lead], at)
            e = _single(s, read(0, where) if guard is None else read(0, where, guard))
            return ~_before(s, v, e) if p.right else _before(s, e, v)

        known = isinstance(n, int) and n < 1 << BLOCK_BITS
        place = s.const(0, INT64)
        if not known:
            (block,) = s.new_axes((n // (1 << BLOCK_BITS),), index)
            last = s.iadd(s.imul(s.at(block), 1 << BLOCK_BITS), (1 << BLOCK_BITS) - 1)
            place = s.reduce("sum", (block,), s.cast(in_front(last), INT64)) << BLOCK_BITS
        reach = 0
        for k in reversed(range(n.bit_length() if known else BLOCK_BITS)):
            end = place + (1 << k)
            reach += 1 << k
            if known and reach <= n:
                go = in_front(s.as_index(end - 1))
            else:
                inside = end <= s.as_value(n, INT64)
                go = in_front(s.as_index(end - 1), inside) & inside
            place = s.select(go, end, place)
        return place

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        p = node.params
        if axes[0] is None and not p.lead:
            return self(*inputs, right=p.right, lead=0), axes[1]
        full = batch_all(o, inputs, axes)
        return self(*full, right=p.right, lead=p.lead + 1), 0


def _single(s: Any, x: Any) -> Any:
    return s.cast(x, FLOAT32) if x.dtype == "float16" else x


def _before(s: Any, x: Any, y: Any) -> Any:
    """x < y in NumPy's sorting order, where NaN is the largest."""
    if x.dtype == "bool":
        return ~x & y
    return (x < y) | (s.isnan(y) & ~s.isnan(x)) if x.dtype.is_float else x < y


@function
def searchsorted(a: Any, v: Any, side: str = "left") -> Node:
    """Return where `v` would be inserted into the sorted vector `a`, an int64 for each element.

    Side "left" gives the number of elements below v, "right" that of the elements not above it.
    """
    keys, values = as_nodes((a, v))
    if keys.ndim != 1:
        raise ShapeError(
            f"searchsorted needs a vector to search, `{describe(keys)}` is {keys.type}"
        )
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', got {side!r}")
    return SearchSorted.instance(keys, values, right=side == "right", lead=0)


@function
def isin(x: Any, test: Any, invert: bool = False) -> Node:
    """Tell for each element of x whether it is among those of `test`; NaN never is.

    By binary search in the sorted `test`: n log m comparisons.
    """
    node, other = as_nodes((x, test))
    known = o.sort(o.ravel(other))
    n = as_node(o.dim_value(known.type.shape[0]))
    place = searchsorted(known, node)
    padded = o.concatenate([known, o.zeros((1,), known.dtype)])  # `place` may be behind the last
    found = o.lt(place, n) & o.eq(o.take(padded, place, 0), node)
    return o.logical_not(found) if invert else found


@function
def digitize(x: Any, bins: Any, right: bool = False) -> Node:
    """Return the number of the bin of each element; `bins` are increasing edges.

    Bin i holds bins[i - 1] <= x < bins[i], with `right` bins[i - 1] < x <= bins[i].
    """
    return searchsorted(bins, x, "left" if right else "right")


@function
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Node:
    """Return the piecewise linear function through the points (xp, fp), at `x`.

    `xp` is an increasing vector. Outside of it the value is `left` / `right`, by default the first
    / last of `fp`. Differentiable in x (the slope of the piece), xp and fp.
    """
    at, xs, ys = (as_float(v) for v in as_nodes((x, xp, fp)))
    n: Size = xs.type.shape[0]
    if isinstance(n, int) and n < 1:
        raise ShapeError(f"interp needs at least one point, `{describe(xs)}` is {xs.type}")
    last = as_node(o.dim_value(n)) - 1
    above = o.clip(searchsorted(xs, at, "right"), o.minimum(1, last), last)
    below = o.maximum(above - 1, 0)
    x0, x1, y0, y1 = (
        o.take(v, i, 0) for v, i in ((xs, below), (xs, above), (ys, below), (ys, above))
    )
    width = o.where(o.eq(x1, x0), o.ones((), x1.dtype), x1 - x0)
    value = y0 + (y1 - y0) * ((at - x0) / width)
    first, final = xs[0], xs[-1]
    value = o.where(at < first, ys[0] if left is None else left, value)
    value = o.where(at > final, ys[-1] if right is None else right, value)
    return o.where(o.eq(at, final), ys[-1], value)


def bin_edges(x: Node, bins: Any, limits: Any) -> Node:
    """Return the edges of a histogram: as given, or `bins` equal steps over the range of x."""
    if not isinstance(bins, (int, np.integer)):
        return as_float(bins)
    if bins < 1:
        raise ValueError(f"a histogram needs at least one bin, got {bins}")
    if limits is None and any(isinstance(n, int) and n == 0 for n in x.type.shape):
        limits = (0.0, 1.0)  # as in NumPy, where there is no element
    if limits is None:
        low, high = (as_float(f(x)) for f in (o.min, o.max))
    else:
        low, high = (as_float(as_node(v, (x.dtype,))) for v in limits)
    low, high = as_nodes((low, high))
    half = o.where(o.eq(low, high), 0.5, 0.0)  # a single value gets a bin of width 1
    return o.linspace(low - half, high + half, int(bins) + 1, dtype=low.dtype)


@function
def histogram_bin_edges(x: Any, bins: Any = 10, range: Any = None) -> Node:
    """Return the edges of the bins of `histogram`."""
    flat = o.ravel(x)
    return bin_edges(flat if flat.dtype.is_float else o.cast(flat, floatx()), bins, range)


@function
def histogram(
    x: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool = False
) -> tuple[Node, Node]:
    """Return how many elements lie in each bin, and the edges.

    `bins` is a number of equal bins over `range` (by default from the least to the largest element)
    or a vector of increasing edges. The last bin includes its upper edge. Counts are int64, or sums
    of `weights`; `density` divides by the total and the widths. What lies outside does not count.
    """
    place, edges, outside = _binned(x, bins, range)
    n = edges.type.shape[0] - 1
    total = _totals(place, outside, n, weights)
    if density:
        total = total / (o.sum(total) * (edges[1:] - edges[:-1]))
    return total, edges


def _binned(x: Any, bins: Any, limits: Any) -> tuple[Node, Node, Node]:
    """Return the bin of each element, the edges, and which elements lie in none."""
    flat = o.ravel(x)
    flat = flat if flat.dtype.is_float else o.cast(flat, floatx())
    edges = bin_edges(flat, bins, limits)
    place = searchsorted(edges, flat, "right") - 1
    count = as_node(o.dim_value(edges.type.shape[0] - 1))
    place = o.where(o.eq(flat, edges[-1]), count - 1, place)
    return place, edges, (place < 0) | (place >= count) | o.isnan(flat)


def _totals(place: Node, outside: Node, n: Size, weights: Any) -> Node:
    """Return how many elements, or what weights, lie in each of n bins."""
    amount = o.ones_like(place) if weights is None else o.ravel(weights)
    place = o.where(outside, as_node(o.dim_value(n)), place)
    return o.slice_axis(o.segment_sum(amount, place, n + 1), 0, 0, n)


@function
def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool = False
) -> tuple[Node, Node, Node]:
    """Return how many points (x, y) lie in each bin of a grid, and the edges of both axes.

    `bins` and `range` are as for `histogram`, or a pair of them. Counts are of floatX, as NumPy's
    are floats; `density` divides by the total and the areas.
    """
    several = isinstance(bins, (list, tuple)) and len(bins) == 2
    first, second = bins if several else (bins, bins)
    limits = (None, None) if range is None else range
    row, across, out = _binned(x, first, limits[0])
    column, along, beside = _binned(y, second, limits[1])
    m, n = across.type.shape[0] - 1, along.type.shape[0] - 1
    place = row * as_node(o.dim_value(n)) + column
    total = o.reshape(_totals(place, out | beside, m * n, weights), (m, n))
    total = total if total.dtype.is_float else o.cast(total, floatx())
    if density:
        total = o.cast(total, across.dtype)
        widths = o.expand_dims(across[1:] - across[:-1], 1) * (along[1:] - along[:-1])
        total = total / (o.sum(total) * widths)
    return total, across, along


@function
def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool = False
) -> tuple[Node, list[Node]]:
    """Return how many points, rows of (n, d), lie in each bin of a grid, and the edges of all axes.

    `bins` and `range` are as for `histogram`, or d of them; a list of d vectors is taken
    too. Counts are of floatX; `density` divides by the total and the volumes.
    """
    if isinstance(sample, (list, tuple)):
        columns = [o.ravel(v) for v in sample]
    else:
        points = as_node(sample)
        d = points.type.shape[-1] if points.ndim == 2 else None
        if not isinstance(d, int):
            raise ShapeError(
                f"histogramdd needs points (n, d) of known d, `{describe(points)}` is {points.type}"
            )
        columns = [points[:, k] for k in builtins.range(d)]
    several = isinstance(bins, (list, tuple))
    counts = list(bins) if several else [bins] * len(columns)
    limits = [None] * len(columns) if range is None else list(range)
    if not len(counts) == len(limits) == len(columns):
        raise ShapeError(
            f"histogramdd: {len(columns)} axes, got {len(counts)} bins and {len(limits)} ranges"
        )
    found = [_binned(*v) for v in zip(columns, counts, limits, strict=True)]
    sizes = [edges.type.shape[0] - 1 for _, edges, _ in found]
    place, outside = found[0][0], found[0][2]
    total: Size = sizes[0]
    for (inner, _, beside), n in zip(found[1:], sizes[1:], strict=True):
        place, outside, total = place * as_node(o.dim_value(n)) + inner, outside | beside, total * n
    value = o.reshape(_totals(place, outside, total, weights), tuple(sizes))
    value = value if value.dtype.is_float else o.cast(value, floatx())
    edges = [e for _, e, _ in found]
    if density:
        value = o.cast(value, edges[0].dtype)
        value = value / o.sum(value)
        for k, e in enumerate(edges):
            rest = tuple(j for j in builtins.range(len(edges)) if j != k)
            value = value / o.expand_dims(e[1:] - e[:-1], rest)
    return value, edges
