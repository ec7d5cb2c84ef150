"""Lower convolutions to products of operands that are read where they lie, without patches.

Each of the three is a sum over axes of two arrays, whose addresses are linear in all axes; the call
is told which of them are rows, columns and terms:

    forward       rows: filters; columns: images and places; terms: channels, elements of a window
    filters       rows: filters; columns: channels, elements of a window; terms: images and places
    images        rows: channels; columns: images and places; terms: filters, elements of a window

The gradient of the images is one product for each place modulo the stride: only there the elements
of a window are the same everywhere. Images are copied with zeros around them where windows leave
them; groups are a batch.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.core.node import Node
from symgraph.core.record import dataclass, replace
from symgraph.dims.dim import maximum, minimum
from symgraph.loops.expr import Buffer, Expr, Size, View
from symgraph.loops.long_products import Cut, add_chunks, cut_sum
from symgraph.loops.meetings import (
    AS_THEY_ARE,
    Along,
    Layout,
    Order,
    Phase,
    along_filters,
    along_image,
    along_phase,
    cut_places,
    is_depthwise,
    order_of,
    pays_together,
    phases_of,
)
from symgraph.loops.product import strides_of
from symgraph.loops.roots import is_size
from symgraph.loops.statements import LibraryCall, Nest, Store

if TYPE_CHECKING:
    from symgraph.loops.build import Lowering

Pads = Sequence[tuple[Size, Size]]
Axes = tuple[Size, ...]  # of a table
Columns = tuple[tuple[Size, Size], tuple[Any, ...]]  # of a product: the window, and parts
USUAL = Order()
CROWDED = 2048  # bytes: channels apart by a multiple of it would share few lines of the caches;
CROWDED_ROWS = 4096  # rows of a result, which are fewer
FEW_ROWS = 24  # of filters that are packed anew for each image, if there are several


@dataclass(frozen=True, slots=True)
class Placed:
    """An array in a buffer: where it begins, and the stride of each axis."""

    buffer: Buffer
    start: Any  # a size, or an expression of the loops around
    strides: tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """The columns of a product: how windows meet images along both axes, and how far apart places
    are there in what is read and in what is stored.
    """

    order: Order
    beside: Size  # images, or channels of a gradient by filters
    axes: tuple[Along, Along]
    read: tuple[Size, Size, Size]  # strides: of what is beside, rows, places of a row
    stored: tuple[Size, Size, Size]


def lower_convolution(low: Lowering, node: Node, out: Buffer | View) -> None:
    """Append the product that computes conv2d, or its transpose by filters or by images."""
    order = order_of(node)
    cut = _cut_images(low, node) if node.op.name == "conv2d_filter" else None
    if cut is not None:
        _filters_in_chunks(low, node, place_of(out), order, cut)
        return
    kind = {"conv2d": _forward, "conv2d_filter": _filters, "conv2d_input": _images}[node.op.name]
    if order.result == AS_THEY_ARE:
        kind(low, node, place_of(out), order)
        return
    s, target = low.s, _temporary(low, node, node.type.shape, order.result, CROWDED_ROWS)
    kind(low, node, target, order)
    axes = low.nest_axes(node)
    index = [s.at(a) for a in axes]
    value = s.load(target.buffer, _address(low, 0, *zip(index, target.strides, strict=True)))
    store = low.store(out, low.flat(index, node.type.shape), value)
    low.program.statements.append(Nest(axes, (store,), origin=(node,)))


def _temporary(
    low: Lowering, x: Node, shape: Sequence[Size], layout: Layout, crowded: int
) -> Placed:
    """Return room for an array of a shape whose axes lie in another order.

    Where what is along the outermost axis (of images as they are: channels) would be a multiple of
    `crowded` bytes apart, another row of an image is between, if that helps.
    """
    shapes = [tuple(shape), (*shape[:2], shape[2] + 1, shape[3])]
    between = layout[2 if layout == AS_THEY_ARE else 1 :]
    apart = [math.prod(each[k] for k in between) * x.dtype.itemsize for each in shapes]
    shares, still = (isinstance(n, int) and n % crowded == 0 for n in apart)
    chosen = shapes[shares and not still]
    place = place_of(low.temporary(x.dtype, tuple(chosen[k] for k in layout)))
    return Placed(place.buffer, 0, tuple(place.strides[layout.index(k)] for k in range(len(shape))))


def _forward(low: Lowering, node: Node, target: Placed, order: Order) -> None:
    (x, w), p = node.inputs, node.params
    (sh, sw), (dh, dw) = p.stride, p.dilation
    pads = _needed(p.padding, order)
    images, filters = padded(low, x, pads, order), placed(low, w)
    rows = node.type.shape[1] // p.groups
    terms = w.type.shape[1:]
    b, a, c = images.strides, filters.strides, target.strides
    if _append_product(low, node, (target, filters, images), (0, 1)):
        return
    axes = along_image(node)
    at = Places(
        order, node.type.shape[0], (axes[0], axes[1]), (b[0], b[2] * sh, b[3] * sw),
        (c[0], c[2], c[3]),
    )  # fmt: skip
    first = [axis.origin + zeros for axis, (zeros, _) in zip(axes, pads, strict=True)]
    _append(
        low, node, (target, filters, images), (rows, terms), columns_at(at),
        (0, 0, _point(first, b[2:])),
        a_rows=table((rows,), a[:1]),
        a_steps=table(terms, a[1:]),
        b_steps=table(terms, (b[1], b[2] * dh, b[3] * dw)),
        c_row=c[1],
        groups=(p.groups, a[0] * rows, b[1] * terms[0], c[1] * rows),
    )  # fmt: skip


def _needed(pads: Pads, order: Order) -> Pads:
    """Return the zeros around images: none along an axis where no part of a product meets them."""
    return [(0, 0) if cut else pair for cut, pair in zip(order.cut, pads, strict=True)]


def _point(indices: Sequence[Size], strides: Sequence[Size]) -> Size:
    total: Size = 0
    for i, stride in zip(indices, strides, strict=True):
        total = total + i * stride
    return total


def columns_at(at: Places) -> Columns:
    """Return the parts of the columns of a product (cpu/gemm/terms)."""
    parts = []
    for v, u in product(*cut_places(at.axes, at.order)):
        sizes = (at.beside, v.places, u.places)
        tables = [_column_table(sizes, strides, at.order) for strides in (at.read, at.stored)]
        starts = [_point((v.place, u.place), strides[1:]) for strides in (at.read, at.stored)]
        parts.append((_points(sizes), (v.tap, v.taps, u.tap, u.taps), *starts, *tables))
    return (at.axes[0].taps, at.axes[1].taps), tuple(parts)


def _column_table(sizes: Sequence[Size], strides: Sequence[Size], order: Order) -> Axes:
    if order.operand != AS_THEY_ARE:
        sizes, strides = (*sizes[1:], sizes[0]), (*strides[1:], strides[0])
    return table(sizes, strides)


@dataclass(frozen=True, slots=True)
class Images:
    """The images that a product adds up for `target`: `number` from the `first` one on.

    `count` products have so many each, and results that are `apart`.
    """

    target: Placed
    first: Size
    number: Size
    count: Size = 1
    apart: Size = 0


def _filters(low: Lowering, node: Node, target: Placed, order: Order) -> None:
    _filters_of(low, node, order, (Images(target, 0, node.inputs[1].type.shape[0]),))


def _cut_images(low: Lowering, node: Node) -> Cut | None:
    """Return how the images of a gradient by filters are cut, None if they are not."""
    if low.axis is not None or not is_size(node.params.groups, 1):
        return None
    rows, *columns = node.type.shape
    images, _, *places = node.inputs[1].type.shape
    return cut_sum(rows, _points(columns), images, _points(places))


def _filters_in_chunks(low: Lowering, node: Node, out: Placed, order: Order, cut: Cut) -> None:
    """Append products of some images each, and the sum of what they give."""
    shape, layout = node.type.shape, order.result
    size = _points(shape)
    stored = [shape[k] for k in layout]
    partial = low.temporary(node.dtype, (cut.whole + 1 if cut.known else cut.whole, *stored))
    apart = place_of(partial).strides[1:]
    strides = tuple(apart[layout.index(k)] for k in range(len(shape)))
    last = Placed(partial, cut.whole * size, strides) if cut.known else out
    equal = cut.whole + 1 if cut.even else cut.whole
    parts = [Images(Placed(partial, 0, strides), 0, cut.length, equal, size)]
    if not cut.even:
        parts.append(Images(last, cut.whole * cut.length, cut.rest))
    _filters_of(low, node, order, parts)
    places = (last.buffer, last.start), (out.buffer, out.start)
    add_chunks(low, node, cut, partial, *places, shape, strides)


def _filters_of(low: Lowering, node: Node, order: Order, parts: Sequence[Images]) -> None:
    (x, g), p = node.inputs, node.params
    (sh, sw), (dh, dw) = p.stride, p.dilation
    pads = _needed(p.padding, order)
    images, gradient = padded(low, x, pads, order), placed(low, g)
    rows, channels, *_ = node.type.shape
    rows = rows // p.groups
    b, a = images.strides, gradient.strides
    axes = along_filters(node)
    first = [axis.origin + zeros for axis, (zeros, _) in zip(axes, pads, strict=True)]
    for part in parts:
        c, n = part.target.strides, part.number
        terms = (n, *g.type.shape[2:])
        groups = (p.groups, a[1] * rows, b[1] * channels, c[0] * rows)
        if not is_size(part.count, 1):
            groups = (part.count, a[0] * n, b[0] * n, part.apart)
        at = Places(
            order, channels, (axes[0], axes[1]), (b[1], b[2] * dh, b[3] * dw), (c[1], c[2], c[3])
        )
        starts = (0, part.first * a[0], part.first * b[0] + _point(first, b[2:]))
        _append(
            low, node, (part.target, gradient, images), (rows, terms), columns_at(at), starts,
            a_rows=table((rows,), a[1:2]),
            a_steps=table(terms, (a[0], a[2], a[3])),
            b_steps=table(terms, (b[0], b[2] * sh, b[3] * sw)),
            c_row=c[0],
            groups=groups,
        )  # fmt: skip


def _images(low: Lowering, node: Node, target: Placed, order: Order) -> None:
    (g, w), p = node.inputs, node.params
    if pays_together(node):
        _images_together(low, node, target)
        return
    around = _needed(windows_outside(node), order)
    gradient, filters = padded(low, g, around, order), placed(low, w)
    b, a, c = gradient.strides, filters.strides, target.strides
    filter_count = w.type.shape[0] // p.groups
    channels = w.type.shape[1]
    places = (target, filters, gradient)
    if _append_product(low, node, places, (1, 0)):
        return
    phases = phases_of(node, [zeros for zeros, _ in around])
    if is_depthwise(node):
        for v, several in product(phases[0], alternate_phases(phases[1])):
            _append_depthwise(low, node, (target, filters, gradient), v, several)
        return
    for v, u in product(*phases):
        terms = (filter_count, v.taps, u.taps)
        axes = [
            along_phase(phase, n, zeros)
            for phase, n, (zeros, _) in zip((v, u), g.type.shape[2:], around, strict=True)
        ]
        at = Places(
            order, g.type.shape[0], (axes[0], axes[1]), (b[0], b[2], b[3]),
            (c[0], c[2] * p.stride[0], c[3] * p.stride[1]),
        )  # fmt: skip
        starts = (
            _point((v.place, u.place), c[2:]),
            _point((v.first_tap, u.first_tap), a[2:]),
            _point((v.window, u.window), b[2:]),
        )
        _append(
            low, node, (target, filters, gradient), (channels, terms), columns_at(at), starts,
            a_rows=table((channels,), a[1:2]),
            a_steps=table(terms, (a[0], a[2] * v.tap_step, a[3] * u.tap_step)),
            b_steps=table(terms, (b[1], -b[2] * v.back, -b[3] * u.back)),
            c_row=c[1],
            groups=(p.groups, a[0] * filter_count, b[1] * filter_count, c[1] * channels),
        )  # fmt: skip


def _append_product(
    low: Lowering, node: Node, places: tuple[Placed, Placed, Placed], along: tuple[int, int]
) -> bool:
    """Append a matrix product per image, if places meet themselves only and planes are whole.

    It needs no tables, and reads a large image in order for few rows. The sums are the same.
    along: the axes of the filters that are rows and terms.
    """
    p, (n, _, height, width), w = node.params, node.type.shape, node.inputs[1].type.shape
    (c, a, b), (row, term) = places, along
    rows, points = w[row], height * width
    points_only = all(is_size(k, 1) for k in (*w[2:], *p.stride, p.groups))
    if not points_only or is_padded(p.padding):
        return False
    if not is_size(n, 1) and not (isinstance(rows, int) and rows <= FEW_ROWS):
        return False
    if b.strides[2:] != (width, 1) or c.strides != (rows * points, points, width, 1):
        return False
    left = (a.start, (0,), a.strides[row], a.strides[term])
    right = (b.start, (b.strides[0],), b.strides[1], 1)
    params = ((n, rows, points, w[term]), left, right, c.start)
    call = LibraryCall("gemm", (c.buffer,), (a.buffer, b.buffer), params, origin=(node,))
    low.program.statements.append(call)
    return True


def _images_together(low: Lowering, node: Node, target: Placed) -> None:
    """Append one product whose rows are channels and places modulo the stride, and a copy."""
    s, (g, w), p = low.s, node.inputs, node.params
    n, channels = g.type.shape[0], w.type.shape[1]
    filter_count = w.type.shape[0] // p.groups
    taps = [-(-k // stride) for k, stride in zip(w.type.shape[2:], p.stride, strict=True)]
    firsts = [pad // stride for (pad, _), stride in zip(p.padding, p.stride, strict=True)]
    counts = [
        (size - 1 + pad) // stride - first + 1
        for size, (pad, _), stride, first in zip(p.size, p.padding, p.stride, firsts, strict=True)
    ]
    around = [
        (maximum(0, t - 1 - first), maximum(0, first + count - windows))
        for t, first, count, windows in zip(taps, firsts, counts, g.type.shape[2:], strict=True)
    ]
    gradient = padded(low, g, around)
    filters = padded(low, w, [
        (0, t * stride - k) for t, stride, k in zip(taps, p.stride, w.type.shape[2:], strict=True)
    ])  # fmt: skip
    rest = low.temporary(node.dtype, (channels * p.groups, *p.stride, n, *counts))
    b, a, c = gradient.strides, filters.strides, place_of(rest).strides
    columns, terms = (n, *counts), (filter_count, *taps)
    windows = (around[k][0] + firsts[k] for k in (0, 1))
    rows = channels * math.prod(p.stride)
    _append(
        low, node, (place_of(rest), filters, gradient), (rows, terms),
        one_part(columns, (b[0], b[2], b[3]), c[3:]),
        (0, 0, sum(k * stride for k, stride in zip(windows, b[2:], strict=True))),
        a_rows=table((channels, *p.stride), a[1:]),
        a_steps=table(terms, (a[0], a[2] * p.stride[0], a[3] * p.stride[1])),
        b_steps=table(terms, (b[1], -b[2], -b[3])),
        c_row=c[2],
        groups=(p.groups, a[0] * filter_count, b[1] * filter_count, c[0] * channels),
    )  # fmt: skip
    axes = low.nest_axes(node)
    image, channel, *at = map(s.at, axes)
    moved = [s.iadd(i, pad) for i, (pad, _) in zip(at, p.padding, strict=True)]
    phase = [s.imod(i, stride) for i, stride in zip(moved, p.stride, strict=True)]
    place = [
        s.isub(s.ifloordiv(i, stride), first)
        for i, stride, first in zip(moved, p.stride, firsts, strict=True)
    ]
    value = s.load(rest, low.flat((channel, *phase, image, *place), rest.shape))
    address = _address(low, target.start, *zip(map(s.at, axes), target.strides, strict=True))
    store = low.store(target.buffer, address, value)
    low.program.statements.append(Nest(axes, (store,), origin=(node,)))


def alternate_phases(phases: Sequence[Phase]) -> list[tuple[Phase, ...]]:
    """Join two phases whose places alternate: what they store is contiguous.

    One of them may have more places than the other: the rest of it is a phase of its own.
    """
    known = [(u.place, u.count) for u in phases]
    if len(phases) != 2 or not all(isinstance(n, int) for pair in known for n in pair):
        return [(u,) for u in phases]
    first, second = phases if known[1][0] - known[0][0] == 1 else reversed(phases)
    common = minimum(first.count, second.count)
    if second.place - first.place != 1 or is_size(common, 0):
        return [(u,) for u in phases]
    both = tuple(replace(u, count=common) for u in (first, second))
    rests = [
        replace(
            u, place=u.place + common * u.stride, count=u.count - common, window=u.window + common
        )
        for u in (first, second)
        if not is_size(u.count - common, 0)
    ]  # fmt: skip
    return [both, *((u,) for u in rests)]


def _append_depthwise(
    low: Lowering,
    node: Node,
    places: tuple[Placed, Placed, Placed],
    v: Phase,
    several: Sequence[Phase],
) -> None:
    """Append the loops of a phase along each axis, where each channel meets filters of its own.

    several: along the rows, of equally many places.
    """
    s, (target, filters, gradient), p = low.s, places, node.params
    extents = (node.type.shape[0], node.type.shape[1], v.count, several[0].count)
    axes = tuple(s.axis(f"i{k}", n) for k, n in enumerate(extents))
    each = node.inputs[1].type.shape[0] // p.groups
    n, channel, a, b = map(s.at, axes)
    w, g = filters.strides, gradient.strides

    def load(place: Placed, *terms: tuple[Any, Size]) -> Expr:
        return s.load(place.buffer, _address(low, place.start, *terms))

    def steps(t: Any, phase: Phase) -> Any:
        return s.iadd(phase.first_tap, s.imul(t, phase.tap_step))

    def window(at: Any, t: Any, phase: Phase) -> Any:
        return s.isub(s.iadd(at, phase.window), s.imul(t, phase.back))

    def store(u: Phase) -> Store:
        loops = tuple(s.axis(f"k{k}", n) for k, n in enumerate((each, v.taps, u.taps)))
        m, i, j = map(s.at, loops)
        out = s.iadd(s.imul(channel, each), m)
        term = load(filters, (out, w[0]), (steps(i, v), w[2]), (steps(j, u), w[3])) * load(
            gradient, (n, g[0]), (out, g[1]), (window(a, i, v), g[2]), (window(b, j, u), g[3])
        )
        at_places = (
            s.iadd(s.imul(at, stride), phase.place)
            for at, stride, phase in zip((a, b), p.stride, (v, u), strict=True)
        )
        address = _address(
            low, target.start, *zip((n, channel, *at_places), target.strides, strict=True)
        )
        return low.store(target.buffer, address, s.reduce("dot", loops, term))

    stores = tuple(store(u) for u in several)
    low.program.statements.append(Nest(axes, stores, origin=(node,)))


def _address(low: Lowering, start: Any, *terms: tuple[Any, Size]) -> Expr:
    address = low.s.index(start)
    for index, stride in terms:
        address = low.s.iadd(address, low.s.imul(index, stride))
    return address


def windows_outside(node: Node) -> list[tuple[Size, Size]]:
    """Return how many windows in front of the first and behind the last meet the image."""
    (g, w), p = node.inputs, node.params
    return [
        (
            maximum(0, ((kernel - 1) * dilation - pad) // stride),
            maximum(0, (size - 1 + pad) // stride - (count - 1)),
        )
        for size, kernel, count, stride, dilation, (pad, _) in zip(
            p.size, w.type.shape[2:], g.type.shape[2:], p.stride, p.dilation, p.padding,
            strict=True,
        )
    ]  # fmt: skip


def is_padded(pads: Pads) -> bool:
    """Tell whether there may be zeros around an image."""
    return not all(is_size(n, 0) for pair in pads for n in pair)


# -- operands --------------------------------------------------------------------------------------
def placed(low: Lowering, x: Node) -> Placed:
    """Return where `x` lies; it is stored first where it is no buffer seen through strides."""
    axes = low.nest_axes(x)
    value = low.value(x, [low.s.at(a) for a in axes])
    if value.op == "load" and len(value.args) == 1:
        strides = strides_of(value.args[0], axes)
        if strides is not None:
            return Placed(value.data, strides[0], tuple(strides[1]))
    buffer = low.temporary(x.dtype, x.type.shape)
    low.store_value(x, buffer)
    return place_of(buffer)


def padded(low: Lowering, x: Node, pads: Pads, order: Order = USUAL) -> Placed:
    """Return where images lie with zeros around them, in the order of columns."""
    if not is_padded(pads) and order.operand == AS_THEY_ARE:
        return placed(low, x)
    s, (images, channels, *inside) = low.s, x.type.shape
    sizes = [n + a + b for n, (a, b) in zip(inside, pads, strict=True)]
    place = _temporary(low, x, (images, channels, *sizes), order.operand, CROWDED)
    lengths = tuple(place.buffer.shape[order.operand.index(k)] for k in range(4))
    axes = tuple(s.axis(f"i{k}", n) for k, n in enumerate(lengths))
    index = [s.at(a) for a in axes]
    inner = [s.isub(i, before) for i, (before, _) in zip(index[2:], pads, strict=True)]
    guard: Expr | None = None
    for i, n in zip(inner, inside, strict=True):
        within = s.inside(i, n)
        guard = within if guard is None else guard if within is None else guard & within
    value = low.value(x, [*index[:2], *inner], guard)
    if guard is not None:
        value = s.select(guard, value, s.const(0, x.dtype))
    address = _address(low, 0, *zip(index, place.strides, strict=True))
    store = low.store(place.buffer, address, value)
    low.add(Nest(tuple(axes[k] for k in order.operand), (store,), origin=(x,)))
    return place


def place_of(out: Buffer | View) -> Placed:
    """Return where a whole buffer, or a part of one, lies."""
    strides: list[Size] = []
    stride: Size = 1
    for n in reversed(out.shape):
        strides.insert(0, stride)
        stride = stride * n
    if isinstance(out, View):
        return Placed(out.buffer, out.offset, tuple(strides))
    return Placed(out, 0, tuple(strides))


# -- the call --------------------------------------------------------------------------------------
def table(sizes: Sequence[Size], strides: Sequence[Size]) -> Axes:
    """Return the words of up to three axes (cpu/gemm/offsets): those that can be are merged."""
    found: list[tuple[Size, Size]] = []
    for n, stride in zip(sizes, strides, strict=True):
        if is_size(n, 1):
            continue
        if found and found[-1][1] == stride * n:
            found[-1] = (found[-1][0] * n, stride)
        else:
            found.append((n, stride))
    found = [(1, 0)] * (3 - len(found)) + found
    (_, s0), (n1, s1), (n2, s2) = found
    return (n1, n2, s0, s1, s2)


def _append(
    low: Lowering,
    node: Node,
    places: tuple[Placed, Placed, Placed],
    sizes: tuple[Size, tuple[Size, ...]],
    columns: Columns,
    more: tuple[Any, Any, Any] = (0, 0, 0),
    *,
    groups: tuple[Size, Size, Size, Size],
    c_row: Size,
    **tables: tuple[Size, ...],
) -> None:
    """Append the call: `places` of result and operands, which begin `more` elements further on.

    sizes: rows and terms.
    """
    (c, a, b), (rows, terms), (_, parts) = places, sizes, columns
    starts = tuple(
        _sum(low, place.start, n) for place, n in zip((a, b, c), (*more[1:], more[0]), strict=True)
    )
    batch = () if is_size(groups[0], 1) else (groups,)
    count = functools.reduce(operator.add, (part[0] for part in parts))
    whole = (*(g[0] for g in batch), rows, count, _points(terms))
    params = (whole, starts, c_row, tuple(tables[name] for name in TABLES), batch, *columns)
    call = LibraryCall("contract", (c.buffer,), (a.buffer, b.buffer), params, origin=(node,))
    low.program.statements.append(call)


TABLES = ("a_rows", "a_steps", "b_steps")


def one_part(sizes: Sequence[Size], read: Sequence[Size], stored: Sequence[Size]) -> Columns:
    """Return columns that all have all terms."""
    part = (_points(sizes), (0, 1, 0, 1), 0, 0, table(sizes, read), table(sizes, stored))
    return (1, 1), (part,)


def _sum(low: Lowering, start: Any, more: Any) -> Any:
    return low.s.iadd(start, more) if isinstance(start, Expr) else start + more


def _points(sizes: Sequence[Size]) -> Size:
    total: Size = 1
    for n in sizes:
        total = total * n
    return total


def reach(call: LibraryCall) -> list[tuple[int, int]]:
    """Return the lowest and highest address in both operands and the result; [] if not known."""
    (*_, rows, columns, terms), starts, c_row, tables, batch, window, parts = call.params
    numbers = (rows, columns, terms, *starts, c_row, *window)
    numbers = (*numbers, *(n for t in (*tables, *batch) for n in t), *_numbers(parts))
    if not all(isinstance(n, int) for n in numbers) or 0 in (rows, columns, terms):
        return []
    if any(g[0] == 0 for g in batch):
        return []
    a_rows, a_steps, b_steps = (
        _span(words, count) for words, count in zip(tables, (rows, terms, terms), strict=True)
    )
    left, right, result = [a_rows, a_steps], [], []
    for count, taps, b_start, c_start, b_columns, c_columns in parts:
        if taps != (0, window[0], 0, window[1]):
            found = _offsets(tables[2], terms)[_met_terms(window, taps, terms)]
            b_steps = int(found.min()), int(found.max())
        ends = zip(b_steps, _span(b_columns, count), strict=True)
        right.append([b_start + sum(pair) for pair in ends])
        result.append([c_start + end for end in _span(c_columns, count)])
    spans = (
        left,
        [(min(low for low, _ in right), max(high for _, high in right))],
        [(min(low for low, _ in result), max(high for _, high in result))],
    )
    spans[2].append(_span((1, rows, 0, 0, c_row), rows))
    found = []
    for k, several in enumerate(spans):
        groups = [_span((1, g[0], 0, 0, g[k + 1]), g[0]) for g in batch]
        low, high = (sum(span[end] for span in (*several, *groups)) for end in (0, 1))
        found.append((starts[k] + low, starts[k] + high))
    return found


def _numbers(value: Any) -> list[Any]:
    """Return what nested tuples hold."""
    return [n for v in value for n in _numbers(v)] if isinstance(value, tuple) else [value]


def _span(words: Sequence[int], count: int) -> tuple[int, int]:
    """Return the lowest and the highest offset of a table."""
    n1, n2, *strides = words
    ends = [(n - 1) * s for n, s in zip((count // (n1 * n2), n1, n2), strides, strict=True)]
    return sum(min(0, e) for e in ends), sum(max(0, e) for e in ends)


# -- the interpreter -------------------------------------------------------------------------------
def run_contraction(call: LibraryCall, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    """Compute the call with NumPy. Raises IndexError where it reads outside of an array."""
    (*_, rows, _, terms), starts, c_row, tables, batch, window, parts = call.params
    a_rows, a_steps, b_steps = (
        _offsets(words, count) for words, count in zip(tables, (rows, terms, terms), strict=True)
    )
    c_rows = np.arange(rows) * c_row
    for item in np.ndindex(*(g[0] for g in batch)):
        at = [
            start + sum(i * g[k + 1] for i, g in zip(item, batch, strict=True))
            for k, start in enumerate(starts)
        ]
        for count, taps, b_start, c_start, *columns in parts:
            b_columns, c_columns = (_offsets(words, count) for words in columns)
            met = _met_terms(window, taps, terms)
            left = _read(a, at[0] + a_rows[:, None] + a_steps[met])
            right = _read(b, at[1] + b_start + b_steps[met][:, None] + b_columns)
            with np.errstate(all="ignore"):
                c[at[2] + c_start + c_rows[:, None] + c_columns] = left @ right


def _met_terms(window: Sequence[int], taps: Sequence[int], terms: int) -> np.ndarray:
    """Return which terms a part has: those of a rectangle of the window."""
    (rows, columns), (row, height, column, width) = window, taps
    y, x = np.divmod(np.arange(terms) % max(1, rows * columns), max(1, columns))
    return (row <= y) & (y < row + height) & (column <= x) & (x < column + width)


def _offsets(words: Sequence[int], count: int) -> np.ndarray:
    """Return the offsets of all positions of a table."""
    n1, n2, s0, s1, s2 = words
    position = np.arange(count)
    outer, inner = np.divmod(position, max(1, n2))
    i0, i1 = np.divmod(outer, max(1, n1))
    return np.asarray(i0 * s0 + i1 * s1 + inner * s2)


def _read(flat: np.ndarray, address: np.ndarray) -> np.ndarray:
    if address.size and (address.min() < 0 or address.max() >= flat.size):
        raise IndexError(f"a contraction reads outside of {flat.size} elements")
    return np.asarray(flat[address])
