"""Which elements of a window meet an image at which places, and what follows from it.

Near a border, windows meet the zeros around an image. Places are cut into rectangles that meet the
same elements of the window, each a part of the columns of one product (cpu/gemm/terms): nothing is
multiplied by zeros. Columns are in one of two orders: images, rows, places of a row, which are cut
between rows only; or rows, places of a row, images, of copies of operand and result in that order.
The same holds for gradients by filters, where channels take the place of images, elements of the
filters that of places, and windows that of the elements of a window.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from itertools import product

from symgraph.core.node import Node
from symgraph.core.record import dataclass, replace
from symgraph.dims.dim import maximum
from symgraph.loops.expr import Size
from symgraph.loops.roots import is_size

MOST_PARTS = 128  # of a product
FEWEST = 4  # images or channels that are innermost: shorter stretches are slow to put together
PACKING = 4  # rows of a product in whose time an operand is packed

Layout = tuple[int, int, int, int]  # axes of an array, in the order in which they lie in memory
AS_THEY_ARE: Layout = (0, 1, 2, 3)
CHANNELS_FIRST: Layout = (1, 0, 2, 3)
IMAGES_INNERMOST: Layout = (1, 2, 3, 0)
CHANNELS_INNERMOST: Layout = (0, 2, 3, 1)

SMALL_IMAGE = 144  # places of an image, a tile being 16 or 32 columns wide
LONG_SUM = 1024  # terms from which another copy of the result does not count

# Costs are in multiply-adds, of which a stretch of columns takes VECTOR to read for a term.
VECTOR = 16  # columns of a tile: parts are filled up to it, and stretches are no longer
WINDOW = 6  # columns of a stretch where elements of windows are columns
SCATTERED = 3  # stretches: an element of a result, apart from its neighbours
NEAR, FAR = 1, 2  # stretches: an element of a copy, where a near cache holds all copies or not
NEAR_ELEMENTS = 1 << 17
PART = 1 << 14  # of a part: it begins anew
GAIN = 0.995  # of the usual cost: above it, it stays


@dataclass(frozen=True, slots=True)
class Phase:
    """The places a = (first + t) * stride + rest - pad of an axis, `count` of them, and the
    `taps` elements of a window that meet them: first_tap, first_tap + tap_step ... They do so in
    window first + t + ahead, in the ones before it by `back` each. Places are `stride` apart.
    """

    place: Size
    count: Size
    taps: Size
    first_tap: int
    tap_step: int
    window: Size
    back: int
    stride: int


@dataclass(frozen=True, slots=True)
class Along:
    """Along an axis: at place t, element u of the window is at origin + t * step + u * by, and
    outside of the image where that is not within `size`.
    """

    places: Size
    taps: Size
    origin: Size
    step: int
    by: int
    size: Size


@dataclass(frozen=True, slots=True)
class Stretch:
    """Places that need the same elements of the window."""

    place: Size
    places: Size
    tap: Size
    taps: Size


@dataclass(frozen=True, slots=True)
class Order:
    """Of a convolution: the layouts of the operand that windows move over and of the result, and
    along which axes places are cut. Columns are in the order of the layout of the operand.
    """

    operand: Layout = AS_THEY_ARE
    result: Layout = AS_THEY_ARE
    cut: tuple[bool, bool] = (False, False)


def axis_phases(
    size: Size, kernel: Size, stride: int, dilation: int, pad: Size, before: Size
) -> list[Phase]:
    """Return the phases of an axis: element a meets tap u in window (a + pad - u d) / s.

    With a + pad = s t + rest these are the taps with u d = rest modulo s; `before` zeros have been
    put in front of the windows.
    """
    common = math.gcd(stride, dilation)
    step = stride // common
    found = []
    for rest in range(stride):
        first = (pad - rest + stride - 1) // stride
        count = (size - 1 + pad - rest) // stride - first + 1
        tap = next((u for u in range(step) if u * dilation % stride == rest), None)
        taps: Size = 0 if tap is None else maximum(0, (kernel - tap + step - 1) // step)
        tap = tap or 0
        window = before + first + (rest - tap * dilation) // stride
        found.append(
            Phase(
                first * stride + rest - pad, count, taps, tap, step, window, dilation // common,
                stride,
            )  # fmt: skip
        )
    return found


def phases_of(node: Node, before: Sequence[Size] = (0, 0)) -> list[list[Phase]]:
    """Return the phases of both axes of a gradient by images."""
    p, w = node.params, node.inputs[1].type.shape
    return [
        axis_phases(size, kernel, stride, dilation, pad, zeros)
        for size, kernel, stride, dilation, (pad, _), zeros in zip(
            p.size, w[2:], p.stride, p.dilation, p.padding, before, strict=True
        )
    ]


def along_phase(phase: Phase, windows: Size, before: Size = 0) -> Along:
    """Return how windows meet the places of a phase; `before` zeros are in front of the windows."""
    return Along(phase.count, phase.taps, phase.window - before, 1, -phase.back, windows)


def along_image(node: Node) -> list[Along]:
    """Return how the windows of a convolution meet its images, along both axes."""
    (x, w), p = node.inputs, node.params
    return [
        Along(places, taps, -pad, stride, dilation, size)
        for places, taps, (pad, _), stride, dilation, size in zip(
            node.type.shape[2:], w.type.shape[2:], p.padding, p.stride, p.dilation,
            x.type.shape[2:], strict=True,
        )
    ]  # fmt: skip


def along_filters(node: Node) -> list[Along]:
    """Return the same for a gradient by filters: its places are the elements of a filter, each of
    which meets the image in some of the windows.
    """
    (x, g), p = node.inputs, node.params
    return [
        Along(places, windows, -pad, dilation, stride, size)
        for places, windows, (pad, _), stride, dilation, size in zip(
            node.type.shape[2:], g.type.shape[2:], p.padding, p.stride, p.dilation,
            x.type.shape[2:], strict=True,
        )
    ]  # fmt: skip


def whole(axis: Along) -> list[Stretch]:
    """Return all places as one stretch, which needs all of the window."""
    return [Stretch(0, axis.places, 0, axis.taps)]


def stretches(axis: Along) -> list[Stretch]:
    """Return the stretches of places that meet the same elements of the window, one of which may
    be none of them.
    """
    numbers = (axis.places, axis.taps, axis.origin, axis.size)
    known = [n for n in numbers if isinstance(n, int)]
    if len(known) < len(numbers) or is_size(axis.taps, 0):
        return whole(axis)
    places, taps, origin, size = known
    # the first place that meets an element, and the first behind those that do
    ends = [
        tuple(
            min(max(0, -((origin + u * axis.by - limit) // axis.step)), places)
            for limit in (0, size)
        )
        for u in range(taps)
    ]
    cuts = sorted({0, places, *(t for pair in ends for t in pair)})
    found = []
    for t, end in itertools.pairwise(cuts):
        inside = [u for u, (first, behind) in enumerate(ends) if first <= t < behind]
        found.append(Stretch(t, end - t, inside[0] if inside else 0, len(inside)))
    return found or whole(axis)


def _can_cut(axis: Along) -> bool:
    """Tell whether all places meet something: a sum over nothing is no part of a product."""
    known = [n for n in (axis.places, axis.taps) if isinstance(n, int)]
    if len(known) < 2 or min(known) > MOST_PARTS:
        return False
    return not axis.taps or not any(is_size(part.taps, 0) for part in stretches(axis))


def order_of(node: Node) -> Order:
    """Return the order in which a convolution is the least work."""
    usual, *others = orders_of(node)
    if not others:
        return usual
    products = list(product(*_axes(node)))
    few = [order for order in others if _parts(products, order) <= MOST_PARTS]
    costs = {order: _cost(node, products, order) for order in few}
    costs[usual] = GAIN * _cost(node, products, usual)
    return min(costs, key=lambda order: costs[order])


def orders_of(node: Node) -> list[Order]:
    """Return the orders that there are; the first one is that of sizes not known."""
    usual = Order(result=CHANNELS_FIRST if has_small_images(node) else AS_THEY_ARE)
    together = node.op.name == "conv2d_input" and pays_together(node)
    sizes = (*(n for x in (*node.inputs, node) for n in x.type.shape), node.params.groups)
    known = all(isinstance(n, int) and n > 0 for n in sizes)
    if together or not known or is_depthwise(node):
        return [usual]
    rows, columns = (all(map(_can_cut, several)) for several in _axes(node))
    by_filters = node.op.name == "conv2d_filter"
    inner = CHANNELS_INNERMOST if by_filters else IMAGES_INNERMOST
    found = [usual] if by_filters else [usual, replace(usual, cut=(rows, False))]
    if node.type.shape[inner[-1]] >= FEWEST:
        found.append(Order(inner, inner, (rows, columns)))
    return found


def _axes(node: Node) -> list[list[Along]]:
    """Return how windows meet images along both axes: of a gradient by images, in each phase."""
    if node.op.name == "conv2d":
        return [[axis] for axis in along_image(node)]
    if node.op.name == "conv2d_filter":
        return [[axis] for axis in along_filters(node)]
    windows = node.inputs[0].type.shape[2:]
    phases = zip(phases_of(node), windows, strict=True)
    return [[along_phase(phase, n) for phase in several] for several, n in phases]


def _parts(products: Iterable[Sequence[Along]], order: Order) -> int:
    return max(math.prod(map(len, cut_places(axes, order))) for axes in products)


def _cost(node: Node, products: Iterable[Sequence[Along]], order: Order) -> float:
    """Return about how much work a convolution is, in multiply-adds.

    Tiles are filled up; each term reads stretches of columns; arrays are copied to another order.
    """
    kind, p, (operand, w) = node.op.name, node.params, (x.type.shape for x in node.inputs)
    innermost = order.operand != AS_THEY_ARE
    by_filters, by_images = kind == "conv2d_filter", kind == "conv2d_input"
    rows = node.type.shape[0 if by_filters else 1] // p.groups
    beside = node.type.shape[1] if by_filters else operand[0]
    summed = operand[0] if by_filters else w[0] // p.groups if by_images else w[1]
    run = beside if innermost else WINDOW if by_filters else node.type.shape[3]
    scattered = SCATTERED * (by_images and p.stride[1] > 1 and not innermost)
    work = moved = 0
    for axes in products:
        for v, u in product(*cut_places(axes, order)):
            columns, terms = beside * v.places * u.places, summed * v.taps * u.taps
            work += terms * rows * -(-columns // VECTOR) * VECTOR
            moved += terms * columns // min(run, VECTOR) + scattered * rows * columns
            work += PART
    padded = w[2] * w[3] > 1 if by_images else any(map(any, p.padding))
    copied = math.prod(operand) if innermost or padded else 0
    copied += math.prod(node.type.shape) if order.result != AS_THEY_ARE else 0
    each = NEAR if copied <= NEAR_ELEMENTS else FAR
    return float(p.groups * (work + VECTOR * moved) + VECTOR * each * copied)


def cut_places(axes: Sequence[Along], order: Order) -> list[list[Stretch]]:
    """Return the stretches of both axes; a sum over nothing has one part."""
    some = not any(is_size(axis.taps, 0) for axis in axes)
    cut = zip(axes, order.cut, strict=True)
    return [stretches(axis) if cuts and some else whole(axis) for axis, cuts in cut]


def has_small_images(node: Node) -> bool:
    """Tell whether channels come first while a result is added up.

    Else most tiles would have columns of two images, which do not lie together.
    """
    p = node.params
    if node.op.name == "conv2d_filter" or (node.op.name == "conv2d_input" and p.stride != (1, 1)):
        return False
    n, _, *sizes = node.type.shape
    w = node.inputs[1].type.shape
    summed = (w[0] // p.groups if node.op.name == "conv2d_input" else w[1], *w[2:])
    if not all(isinstance(k, int) for k in (n, *sizes, *summed)) or is_size(n, 1):
        return False
    places = math.prod(sizes)
    return bool(places <= SMALL_IMAGE and places % 32 and math.prod(summed) >= LONG_SUM)


def is_depthwise(node: Node) -> bool:
    """Tell whether filters of a gradient by images meet one of several channels each."""
    return not is_size(node.params.groups, 1) and is_size(node.inputs[1].type.shape[1], 1)


def pays_together(node: Node) -> bool:
    """Tell whether one product for all places modulo the stride is less work.

    Filters are then as long as multiples of the stride, with zeros. It pays for few channels: each
    product packs the gradient anew.
    """
    w, p = node.inputs[1], node.params
    channels, *kernel = w.type.shape[1:]
    known = isinstance(channels, int) and all(isinstance(k, int) for k in kernel)
    if not known or p.stride == (1, 1) or p.dilation != (1, 1):
        return False
    if is_depthwise(node):
        return False
    phases, taps = math.prod(p.stride), math.prod(kernel)
    longest = math.prod(-(-k // s) for k, s in zip(kernel, p.stride, strict=True))
    return bool(longest * (phases * channels + PACKING) < taps * (channels + PACKING))
