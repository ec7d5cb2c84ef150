"""Which elements of a window meet an image at which places, and what follows from it.

Near a border, windows meet the zeros around an image. Places are cut into rectangles that meet the
same elements of the window, each a part of the columns of one product (cpu/gemm/terms): nothing is
multiplied by zeros. Columns are in one of two orders: images, rows, places of a row, which are cut
between rows only; or rows, places of a row, images, from copies of operand and result in that order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product

from symgraph.core.node import Node
from symgraph.core.record import dataclass
from symgraph.dims.dim import maximum
from symgraph.loops.expr import Size
from symgraph.loops.roots import is_size

# Of the costs below the unit is a multiply-add.
VECTOR = 16  # columns of half a tile, of float32 with the widest vectors: parts are filled up to it
MOVE, MOVE_FAR, FAR = 16, 64, 1 << 22  # of an element that is copied; of a larger array than FAR
RUN = 48  # of a stretch of columns, for each term
PART = 1 << 15  # of a part, for each block of terms
BLOCK = 256  # terms
SMALL_IMAGE = 144  # places of an image, a tile being 16 or 32 columns wide
LONG_SUM = 1024  # terms from which another copy of the result does not count


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
    """Of the columns of a convolution: whether images are innermost; along which axes places are
    cut; whether the result is added up channels first, to be put in order at the end.
    """

    images_innermost: bool = False
    cut: tuple[bool, bool] = (False, False)
    channels_first: bool = False


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


def whole(axis: Along) -> list[Stretch]:
    """Return all places as one stretch, which needs all of the window."""
    return [Stretch(0, axis.places, 0, axis.taps)]


def stretches(axis: Along) -> list[Stretch]:
    """Return the stretches of places that meet the same elements of the window."""
    found: list[list[int]] = []
    for t, (tap, taps) in enumerate(_met(axis) or ()):
        if found and found[-1][2:] == [tap, taps]:
            found[-1][1] += 1
        else:
            found.append([t, 1, tap, taps])
    return [Stretch(*numbers) for numbers in found] or whole(axis)


def _met(axis: Along) -> list[tuple[int, int]] | None:
    """Return which elements of the window each place meets, from which and how many.

    None where sizes are not known.
    """
    numbers = (axis.places, axis.taps, axis.origin, axis.size)
    known = [n for n in numbers if isinstance(n, int)]
    if len(known) < len(numbers):
        return None
    places, taps, origin, size = known
    found = []
    for start in range(origin, origin + places * axis.step, axis.step):
        inside = [u for u in range(taps) if 0 <= start + u * axis.by < size]
        found.append((inside[0], len(inside)) if inside else (0, 0))
    return found


def _can_cut(axis: Along) -> bool:
    """Tell whether all places meet something: a sum over nothing is no part of a product."""
    met = _met(axis)
    return met is not None and (is_size(axis.taps, 0) or all(taps for _, taps in met))


def order_of(node: Node) -> Order:
    """Return the order of columns in which a convolution is the least work."""
    usual = Order(channels_first=has_small_images(node))
    if node.op.name == "conv2d_filter" or is_depthwise(node):
        return usual
    sizes = (*(n for x in (*node.inputs, node) for n in x.type.shape), node.params.groups)
    if not all(isinstance(n, int) and n > 0 for n in sizes):
        return usual
    if node.op.name == "conv2d":
        axes = [[axis] for axis in along_image(node)]
    else:
        windows = node.inputs[0].type.shape[2:]
        axes = [
            [along_phase(v, n) for v in phases]
            for phases, n in zip(phases_of(node), windows, strict=True)
        ]
    can_cut = [all(map(_can_cut, several)) for several in axes]
    orders = [
        usual,
        Order(cut=(can_cut[0], False), channels_first=usual.channels_first),
        Order(True, (can_cut[0], can_cut[1]), True),
    ]
    products = list(product(*axes))
    return min(orders, key=lambda order: _cost(node, products, order))


def _cost(node: Node, products: Iterable[Sequence[Along]], order: Order) -> float:
    """Return about how much work a convolution is."""
    p, (n, channels, *places) = node.params, node.type.shape
    w = node.inputs[1].type.shape
    rows = channels // p.groups
    summed = w[1] if node.op.name == "conv2d" else w[0] // p.groups
    run = n if order.images_innermost else places[1]
    total = 0.0
    for axes in products:
        for v, u in product(*cut_places(axes, order)):
            columns, terms = n * v.places * u.places, summed * v.taps * u.taps
            filled = -(-columns // VECTOR) * VECTOR
            runs = max(columns / run, columns / VECTOR)
            blocks = -(-terms // BLOCK)
            total += terms * (filled * rows + RUN * runs) + PART * blocks
    total *= p.groups
    if order.channels_first:
        total += _move(math.prod(node.type.shape))
    if order.images_innermost:
        total += _move(math.prod(node.inputs[0].type.shape))
    return total


def cut_places(axes: Sequence[Along], order: Order) -> list[list[Stretch]]:
    """Return the stretches of both axes."""
    return [
        stretches(axis) if cut else whole(axis)
        for axis, cut in zip(axes, order.cut, strict=True)
    ]


def _move(elements: int) -> int:
    return elements * (MOVE if elements < FAR else MOVE_FAR)


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
