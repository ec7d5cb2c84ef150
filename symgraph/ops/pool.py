"""Pooling over windows of the last two axes: maximum, its position, sum, and their transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from symgraph.core.dtype import FLOAT32, INT64, DType
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, function, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import maximum, minimum, must_equal
from symgraph.ops.base import Size, batch_front
from symgraph.ops.conv import (
    Index,
    Pair,
    axis_steps,
    both,
    check_windows,
    extent,
    guarded,
    output_sizes,
    pads,
    pair,
    positions,
    window_of,
)  # fmt: skip
from symgraph.ops.rows import as_float

NOWHERE = 2**62
WINDOWS = ("window", "stride", "padding", "dilation")
_NONE = ((0, 0), (0, 0))
# (x shape, parameters): overlapping, padded, apart, one window
_SAMPLES: tuple[Any, ...] = (
    ((2, 3, 4, 6), {"window": (2, 2), "stride": (2, 2), "padding": _NONE, "dilation": (1, 1)}),
    ((2, 5, 6),
     {"window": (3, 2), "stride": (1, 1), "padding": ((1, 1), (1, 0)), "dilation": (1, 1)}),
    ((1, 2, 7, 5),
     {"window": (2, 1), "stride": (3, 2), "padding": ((0, 1), (0, 0)), "dilation": (1, 1)}),
    ((3, 3), {"window": (3, 3), "stride": (1, 1), "padding": _NONE, "dilation": (1, 1)}),
    ((2, 7, 6),
     {"window": (2, 3), "stride": (2, 1), "padding": ((1, 0), (1, 2)), "dilation": (3, 2)}),
)  # fmt: skip


def lowest(dtype: DType) -> Any:
    """Return the smallest value of a dtype."""
    if dtype.is_float:
        return -np.inf
    return False if dtype.is_bool else int(np.iinfo(dtype.numpy).min)


def _views(x: np.ndarray, p: Any, fill: Any) -> np.ndarray:
    """Return windows (..., i, j, p, q) of x with `fill` around it."""
    width = ((0, 0),) * (x.ndim - 2) + tuple(p.padding)
    padded = np.pad(x, width, constant_values=fill)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(p.window, p.dilation, strict=True))
    view = sliding_window_view(padded, reach, (-2, -1))
    return view[..., :: p.stride[0], :: p.stride[1], :: p.dilation[0], :: p.dilation[1]]


def _elements(s: Any, x: Node, p: Any, index: Index) -> Any:
    """Return (loop axes, index of the element in x, guard that it is inside)."""
    loops = s.new_axes(p.window, index, "w")
    u, v = map(s.at, loops)
    rows, columns = axis_steps(p)
    a, b = positions(s, index[-2], u, rows), positions(s, index[-1], v, columns)
    guard = both(s.inside(a, x.type.shape[-2]), s.inside(b, x.type.shape[-1]))
    return loops, (*index[:-2], a, b), guard


def _windows_over(s: Any, g: Node, p: Any, index: Index) -> Any:
    """Return (loop axes, index of a window that covers the element, guard that it is one)."""
    loops = s.new_axes(p.window, index, "w")
    (u, v), (rows, columns) = map(s.at, loops), axis_steps(p)
    i, row = window_of(s, index[-2], u, rows, g.type.shape[-2])
    j, column = window_of(s, index[-1], v, columns, g.type.shape[-1])
    return loops, (*index[:-2], i, j), both(row, column)


class Pool(Op):
    """Base: x of shape (..., h, w) to one value per window, (..., h', w')."""

    params: tuple[str, ...] = WINDOWS
    loops = True
    dtypes = "bool int float"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x, params in _SAMPLES:
            yield (x,), params

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        if x.ndim < 2:
            raise ShapeError(f"{self.name} needs two axes; `{describe(x)}` is {x.type}")
        sizes = output_sizes(self.name, x, params.window, params)
        for n, d, pad in zip(x.type.shape[-2:], params.dilation, params.padding, strict=True):
            if d > 1 and pad != (0, 0):
                _not_stepped_over(self.name, x, n, d)
        return x.type.with_shape((*x.type.shape[:-2], *sizes))

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        n = next(x.type.shape[a] for x, a in zip(inputs, axes, strict=True) if a is not None)
        full = [
            o.broadcast_to(x, (n, *x.type.shape))
            if a is None
            else batch_front(o, x, a, node.inputs[0].ndim)
            for x, a in zip(inputs, axes, strict=True)
        ]
        return self(*full, **node.params._asdict()), 0


def _not_stepped_over(name: str, x: Node, n: Size, dilation: int) -> None:
    """Raise ShapeError where padded windows may have no element; ask for it where not known."""
    if isinstance(n, int) and n < dilation:
        raise ShapeError(
            f"{name}: with padding a window of dilation {dilation} steps over an axis of length "
            f"{n}\n  input:  `{describe(x)}` {x.type}, made at {x.source}\n"
            "  mend:   no padding, or a smaller dilation"
        )
    must_equal(minimum(n, dilation), dilation)


def _extreme(s: Any, x: Node, p: Any, index: Index, read: Any) -> Any:
    """Return (loops, element, its value, guard, the largest value of the window)."""
    loops, at, guard = _elements(s, x, p, index)
    value = read(0, at) if guard is None else read(0, at, guard)
    if value.dtype == "float16":
        value = s.cast(value, FLOAT32)
    if guard is not None:
        value = s.select(guard, value, s.const(lowest(value.dtype), value.dtype))
    kind = "any" if value.dtype.is_bool else "max"
    return loops, at, value, guard, s.reduce(kind, loops, value)


@register
class MaxPool2d(Pool):
    name, doc = "max_pool2d", "Largest element of each window; NaN wins, padding never does."

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(_views(arrays[0], node.params, lowest(node.dtype)).max((-2, -1)))

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        *_, best = _extreme(s, node.inputs[0], node.params, index, read)
        return s.cast(best, node.dtype)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        place = MaxPool2dIndex.instance(node.inputs[0], **node.params._asdict())
        return _picked(o, place, tangents[0])

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        x, p = node.inputs[0], node.params._asdict()
        place = MaxPool2dIndex.instance(x, **p)
        return (MaxPool2dGrad.instance(place, g, **p, size=x.type.shape[-2:]),)


def _picked(o: Namespace, place: Node, x: Node) -> Node:
    """Return the elements of x at the positions `place` of its flattened last two axes."""
    lead, (h, w) = x.type.shape[:-2], x.type.shape[-2:]
    rows, columns = place.type.shape[-2:]
    flat = o.reshape(place, (*lead, rows * columns))
    taken = o.take_along_axis(o.reshape(x, (*lead, h * w)), flat, -1)
    return o.reshape(taken, place.type.shape)


@register
class MaxPool2dIndex(Pool):
    name = "max_pool2d_index"
    doc = "Position (row * width + column) of the first largest element, or NaN, of each window."
    not_differentiable = "the result is an index"

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return super().infer(inputs, params).with_dtype(INT64)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x, p = arrays[0], node.params
        values = _views(x, p, lowest(node.inputs[0].dtype))
        h, w = x.shape[-2:]
        place = _views(np.arange(h * w).reshape(h, w), p, -1)
        hit = values == values.max((-2, -1), keepdims=True)
        if x.dtype.kind == "f":
            hit |= np.isnan(values)
        where = np.where(hit & (place >= 0), place, NOWHERE)
        return np.asarray(where.min((-2, -1)))

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        """The order of positions in the image is that in the window: the first is the smallest."""
        x = node.inputs[0]
        loops, at, value, guard, best = _extreme(s, x, node.params, index, read)
        hit = s.eq(value, best)
        if value.dtype.is_float:
            hit = hit | s.isnan(value)
        place = s.as_value(s.iadd(s.imul(at[-2], x.type.shape[-1]), at[-1]), INT64)
        where = s.select(both(hit, guard), place, s.const(NOWHERE, INT64))
        return s.reduce("min", loops, where)


class Spread(Pool):
    """Base of transposes: one value per window, (..., h', w'), to (..., *size)."""

    params = (*WINDOWS, "size")

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        g = inputs[-1]
        check_windows(self.name, g, params.size, params.window, params)
        return g.type.with_shape((*g.type.shape[:-2], *params.size))


def _sizes(x: tuple[int, ...], params: dict[str, Any]) -> tuple[int, ...]:
    return tuple(
        extent(n, k, s, p, d)
        for n, k, s, p, d in zip(x[-2:], *(params[name] for name in WINDOWS), strict=True)
    )


def _window_geometry(params: Any) -> dict[str, Any]:
    return {name: getattr(params, name) for name in WINDOWS}


@register
class MaxPool2dGrad(Spread):
    name = "max_pool2d_grad"
    doc = "Transpose of max_pool2d: each g is added at the position of its window's maximum."
    linear = (1,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x, params in _SAMPLES:
            y = (*x[:-2], *_sizes(x, params))
            # positions from data, so that each lies in its window
            image = rng.normal(size=x)
            p = MaxPool2dIndex.instance.Params(**params)
            values = _views(image, p, -np.inf)
            place = _views(np.arange(x[-2] * x[-1]).reshape(x[-2:]), p, -1)
            hit = values == values.max((-2, -1), keepdims=True)
            yield (np.where(hit, place, NOWHERE).min((-2, -1)), y), {**params, "size": x[-2:]}

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        place, g = arrays
        h, w = node.params.size
        wide = np.float32 if g.dtype == np.float16 else g.dtype
        out = np.zeros((*g.shape[:-2], h * w), wide)
        lead = np.indices(g.shape)[: g.ndim - 2]
        np.add.at(out, (*lead, place), g.astype(wide))
        return out.reshape(node.type.shape).astype(node.dtype.numpy)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        """Gather form: look at each window that covers the element; every place has one writer."""
        g, p = node.inputs[1], node.params
        loops, at, guard = _windows_over(s, g, p, index)
        here = s.as_value(s.iadd(s.imul(index[-2], p.size[1]), index[-1]), INT64)
        place = read(0, at) if guard is None else read(0, at, guard)
        value = guarded(s, read, 1, at, guard)
        if value.dtype == "float16":
            value = s.cast(value, FLOAT32)
        value = s.select(s.eq(place, here), value, s.const(0, value.dtype))
        kind = "any" if value.dtype.is_bool else "sum"
        return s.cast(s.reduce(kind, loops, value), node.dtype)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return _picked(o, node.inputs[0], g)


@register
class SumPool2d(Pool):
    name, doc = "sum_pool2d", "Sum of each window; padding counts as 0."
    dtypes = "int float"
    linear = (0,)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        wide = FLOAT32.numpy if node.dtype == "float16" else node.dtype.numpy
        total = _views(arrays[0].astype(wide), node.params, 0).sum((-2, -1))
        return np.asarray(total, node.dtype.numpy)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        loops, at, guard = _elements(s, node.inputs[0], node.params, index)
        return _summed(s, node, loops, guarded(s, read, 0, at, guard))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        size = node.inputs[0].type.shape[-2:]
        return SumPool2dGrad.instance(g, **node.params._asdict(), size=size)


def _summed(s: Any, node: Node, loops: Any, value: Any) -> Any:
    wide = FLOAT32 if node.dtype == "float16" else node.dtype
    return s.cast(s.reduce("sum", loops, s.cast(value, wide)), node.dtype)


@register
class SumPool2dGrad(Spread):
    name, doc = "sum_pool2d_grad", "Transpose of sum_pool2d: the sum of g over covering windows."
    dtypes = "int float"
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x, params in _SAMPLES:
            yield ((*x[:-2], *_sizes(x, params)),), {**params, "size": x[-2:]}

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        p, g = node.params, arrays[0]
        (h, w), ((t, b), (left, right)) = p.size, p.padding
        wide = np.float32 if g.dtype == np.float16 else g.dtype
        out: np.ndarray = np.zeros((*g.shape[:-2], h + t + b, w + left + right), wide)
        for i, j in np.ndindex(*p.window):
            i, j = i * p.dilation[0], j * p.dilation[1]  # noqa: PLW2901
            rows = slice(i, i + p.stride[0] * (g.shape[-2] - 1) + 1, p.stride[0])
            columns = slice(j, j + p.stride[1] * (g.shape[-1] - 1) + 1, p.stride[1])
            out[..., rows, columns] += g
        return out[..., t : t + h, left : left + w].astype(node.dtype.numpy)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        loops, at, guard = _windows_over(s, node.inputs[0], node.params, index)
        return _summed(s, node, loops, guarded(s, read, 0, at, guard))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return SumPool2d.instance(g, **_window_geometry(node.params))


# -- public functions ---------------------------------------------------------------------------
def _geometry(
    x: Node, window: Any, stride: Any, padding: Any, dilation: Any = 1, ceil_mode: bool = False
) -> dict[str, Any]:
    kernel: Pair = pair(window, "window")
    steps = kernel if stride is None else pair(stride, "stride")
    apart = pair(dilation, "dilation")
    around = pads(padding, x.type.shape[-2:], kernel, steps, apart)
    for (a, b), k, d in zip(around, kernel, apart, strict=True):
        if any(isinstance(v, int) and v > d * (k - 1) for v in (a, b)):
            raise ValueError(f"padding {padding!r} leaves a window of {window} without any element")
    if ceil_mode:
        around = tuple(
            (p[0], _complete(*geometry))
            for p, geometry in zip(
                around, zip(x.type.shape[-2:], kernel, steps, around, apart, strict=True),
                strict=True,
            )
        )
    return {"window": kernel, "stride": steps, "padding": around, "dilation": apart}


def _complete(n: Size, k: int, stride: int, pad: tuple[Size, Size], dilation: int) -> Size:
    """Return the padding behind with which the last window that begins inside is a whole one."""
    before, after = pad
    reach = dilation * (k - 1) + 1
    count = minimum(
        (n + before + after - reach + stride - 1) // stride + 1, (n + before + stride - 1) // stride
    )
    return maximum((count - 1) * stride + reach - n - before, after)


def _image(x: Any, name: str) -> Node:
    node = as_node(x)
    if node.ndim < 2:
        raise ShapeError(
            f"{name} needs (..., height, width); `{describe(node)}` is {node.type}, "
            f"made at {node.source}"
        )
    return node


@function
def max_pool2d(
    x: Any, window: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False,
) -> Node:  # fmt: skip
    """Return the largest element of each window of the last two axes; NaN wins.

    `window`, `stride` (default: the window), `padding` and `dilation` (the step between elements of
    a window) are a number or one per axis; padding never wins. With `ceil_mode` windows that begin
    inside and end outside count too. The derivative goes to the first maximum of the window in
    row-major order.
    """
    node = _image(x, "max_pool2d")
    if node.dtype.is_bool:
        raise DTypeError("max_pool2d is not defined for bool; cast it, e.g. x.astype('int8')")
    return MaxPool2d.instance(node, **_geometry(node, window, stride, padding, dilation, ceil_mode))


@function
def avg_pool2d(
    x: Any, window: Any, stride: Any = None, padding: Any = 0, include_pad: bool = True,
    ceil_mode: bool = False,
) -> Node:  # fmt: skip
    """Return the mean of each window of the last two axes; integers become floatX.

    With `include_pad` padding counts as zeros, otherwise only elements of `x` are counted. With
    `ceil_mode` windows that begin inside and end outside are there too; what lies beyond the
    padding is never counted.
    """
    node = as_float(_image(x, "avg_pool2d"))
    p = _geometry(node, window, stride, padding, 1, ceil_mode)
    total = SumPool2d.instance(node, **p)
    given = _geometry(node, window, stride, padding)["padding"] if ceil_mode else p["padding"]
    if given == p["padding"] and (include_pad or given == _NONE):
        return total / float(p["window"][0] * p["window"][1])
    counted = node.type.shape[-2:]
    if include_pad:  # the elements and their padding, with what `ceil_mode` added behind
        counted = tuple(n + a + b for n, (a, b) in zip(counted, given, strict=True))
        more = zip(p["padding"], given, strict=True)
        p = {**p, "padding": tuple((0, whole[1] - own[1]) for whole, own in more)}
    return total / SumPool2d.instance(o.ones(counted, node.dtype), **p)
