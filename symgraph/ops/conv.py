"""Two-dimensional convolution: three bilinear ops that are each other's transposes.

    y[n, o, i, j] = sum_{c, p, q} x[n, C, i * s + p * d - top, j * s + q * d - left] * w[o, c, p, q]

with C = c + (channels per group) * (group of o). The same relation solved for x and for w gives the
other two ops, so the family is closed under differentiation of any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from symgraph.core.dtype import FLOAT32
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, describe
from symgraph.core.op import Op, function, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import maximum, minimum, must_equal
from symgraph.ops.base import Size, as_nodes, batch_all

Pair = tuple[int, int]
Index = tuple[Any, ...]
GEOMETRY = ("stride", "padding", "dilation", "groups")


def extent(n: Size, k: Size, stride: int, pad: tuple[Size, Size], dilation: int = 1) -> Size:
    """Return how many windows of `k` elements fit into an axis of length `n`; below 1: none."""
    return (n + pad[0] + pad[1] - dilation * (k - 1) - 1) // stride + 1


Steps = tuple[int, int, Size]  # along one axis: stride, dilation, padding in front


def positions(s: Any, i: Any, p: Any, steps: Steps) -> Any:
    """Return the index in the unpadded axis of element `p` of window `i`."""
    stride, dilation, pad = steps
    return s.iadd(s.iadd(s.imul(i, stride), s.imul(p, dilation)), -pad)


def window_of(s: Any, a: Any, p: Any, steps: Steps, n: Size) -> Any:
    """Return the window i < n whose element `p` is at `a`, and the condition that there is one."""
    stride, dilation, pad = steps
    distance = s.isub(s.iadd(a, pad), s.imul(p, dilation))
    guard = s.inside(distance, (n - 1) * stride + 1)
    if stride == 1:
        return distance, guard
    low, _ = s.bounds(s.index(distance))
    # division and remainder of an index are for numbers that are never negative
    turns = max(0, -(low // stride)) if isinstance(low, int) else 0
    distance = s.iadd(distance, turns * stride)
    whole = s.eq(s.imod(distance, stride), s.index(0))
    return s.iadd(s.ifloordiv(distance, stride), -turns), both(guard, whole)


def axis_steps(p: Any) -> tuple[Steps, Steps]:
    """Return the steps along the vertical and the horizontal axis."""
    first, second = zip(p.stride, p.dilation, (pad[0] for pad in p.padding), strict=True)
    return first, second


def both(a: Any, b: Any) -> Any:
    """Return the conjunction of two conditions where None always holds."""
    if a is None or b is None:
        return b if a is None else a
    return a & b


def guarded(s: Any, read: Any, k: int, index: Index, guard: Any) -> Any:
    """Read input k, or 0 where the guard does not hold."""
    if guard is None:
        return read(k, index)
    value = read(k, index, guard)
    return s.select(guard, value, s.const(0, value.dtype))


def _contraction(s: Any, node: Any, loops: Any, x: Any, y: Any) -> Any:
    """Sum products: in order, so that versions for other sizes give the same bits.

    Not so for the gradient of filters, whose terms are what vectors are made of.
    """
    ordered = node.dtype in ("float32", "float64") and not node.op.result_is_filter
    if node.dtype == "float16":  # a storage type: summed in float32
        x, y = s.cast(x, FLOAT32), s.cast(y, FLOAT32)
    return s.cast(s.reduce("dot" if ordered else "sum", loops, x * y), node.dtype)


# -- NumPy references ---------------------------------------------------------------------------
def _wide(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float32) if a.dtype == np.float16 else a


def _by_group(a: np.ndarray, axis: int, groups: int) -> np.ndarray:
    """Return `a` with its channels along `axis` split into groups; there may be no images."""
    shape = a.shape
    return a.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _windows(x: np.ndarray, kernel: Pair, p: Any) -> np.ndarray:
    """Return x as (n, group, channel, i, j, p, q): a view of the padded array."""
    padded = np.pad(x, ((0, 0), (0, 0), *p.padding))
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, p.dilation, strict=True))
    view = sliding_window_view(padded, reach, (2, 3))
    view = view[:, :, :: p.stride[0], :: p.stride[1], :: p.dilation[0], :: p.dilation[1]]
    return _by_group(view, 1, p.groups)


def _einsum(rule: str, *arrays: np.ndarray) -> np.ndarray:
    """Contract; greedy pairing turns float products into BLAS calls."""
    with np.errstate(all="ignore"):
        product = np.einsum(rule, *arrays, optimize=arrays[0].dtype.kind == "f")
        return np.asarray(product)


def _spread(g: np.ndarray, w: np.ndarray, p: Any) -> np.ndarray:
    """Return the gradient by the input: each kernel element adds a strided copy of g."""
    (h, wd), (dh, dw) = p.size, p.dilation
    (t, b), (left, right) = p.padding
    n, groups, _, oh, ow = g.shape
    out = np.zeros((n, groups, w.shape[2], h + t + b, wd + left + right), g.dtype)
    for i, j in np.ndindex(*w.shape[3:]):
        rows = slice(i * dh, i * dh + p.stride[0] * (oh - 1) + 1, p.stride[0])
        columns = slice(j * dw, j * dw + p.stride[1] * (ow - 1) + 1, p.stride[1])
        out[..., rows, columns] += _einsum("ngoij,goc->ngcij", g, w[..., i, j])
    return out[..., t : t + h, left : left + wd].reshape(n, groups * w.shape[2], h, wd)


# -- the ops -------------------------------------------------------------------------------------
NO_PADDING = ((0, 0), (0, 0))


def _is_one(n: Size) -> bool:
    return isinstance(n, int) and n == 1


def _is_padded(padding: Any) -> bool:
    """Tell whether there is padding, all of it known and none negative."""
    return padding != NO_PADDING and _positive(padding)


def _positive(padding: Any) -> bool:
    return all(isinstance(v, int) and v >= 0 for pair_ in padding for v in pair_)


class Convolution(Op):
    """Base of the three: checks, and the batch rule that folds a batch into the groups."""

    dtypes = "int float complex"
    takes_complex = True
    linear = (0, 1)
    loops = True
    result_is_filter = False

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.convolution(node, out)

    def copies(self, node: Node) -> tuple[int, ...]:
        """Images that get zeros around them are read where they are made."""
        return (0,) if node.params.padding != NO_PADDING else ()

    @classmethod
    def by_loops(cls, node: Node) -> bool:
        """Tell whether a convolution is a loop nest: a product of one channel each is none."""
        filters = node if cls.result_is_filter else node.inputs[1]
        if node.dtype not in ("float32", "float64"):
            return True
        return not _is_one(node.params.groups) and _is_one(filters.type.shape[1])

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        """Fold the batch into the images where only they are batched, else into the groups."""
        p = node.params
        if axes[1] is None and not self.result_is_filter:
            x = o.moveaxis(inputs[0], axes[0], 0)
            lead = x.type.shape[:2]
            flat = o.reshape(x, (lead[0] * lead[1], *x.type.shape[2:]))
            merged = self(flat, inputs[1], **p._asdict())
            return o.reshape(merged, (*lead, *merged.type.shape[1:])), 0
        full = batch_all(o, inputs, axes)
        n = full[0].type.shape[0]
        filters = (False, not self.result_is_filter)
        folded = [
            (_fold_filters if f else _fold_images)(o, x) for x, f in zip(full, filters, strict=True)
        ]
        result = self(*folded, **{**p._asdict(), "groups": p.groups * n})
        shape = result.type.shape
        if self.result_is_filter:
            return o.reshape(result, (n, shape[0] // n, *shape[1:])), 0
        return o.reshape(result, (shape[0], n, shape[1] // n, *shape[2:])), 1


def _fold_images(o: Namespace, x: Node) -> Node:
    """(b, n, c, h, w) -> (n, b * c, h, w)."""
    b, n, c, h, w = x.type.shape
    return o.reshape(o.permute_dims(x, (1, 0, 2, 3, 4)), (n, b * c, h, w))


def _fold_filters(o: Namespace, w: Node) -> Node:
    """(b, o, c, kh, kw) -> (b * o, c, kh, kw)."""
    b, n, *rest = w.type.shape
    return o.reshape(w, (b * n, *rest))


def _require_rank(name: str, nodes: Sequence[Node]) -> None:
    for x in nodes:
        if x.ndim != 4:
            raise ShapeError(
                f"{name} needs four axes, images (n, channels, height, width) and filters (out, "
                f"channels, height, width); `{describe(x)}` is {x.type}, made at {x.source}"
            )
        if x.dtype.is_bool:
            raise DTypeError(f"{name} is not defined for bool; cast `{describe(x)}`")


def _differ(a: Size, b: Size) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a != b


def check_channels(name: str, x: Node, w: Node, groups: int) -> None:
    """Raise ShapeError where the channels of images and filters do not fit together."""
    c, per_group, out = x.type.shape[1], w.type.shape[1], w.type.shape[0]
    if _differ(c, per_group * groups):
        raise ShapeError(
            f"{name}: `{describe(x)}` has {c} channels, `{describe(w)}` takes {per_group} in each "
            f"of {groups} groups.\n  input:  {describe(x)}  {x.type}, made at {x.source}\n"
            f"  input:  {describe(w)}  {w.type}, made at {w.source}\n"
            "  mend:   filters are (out, channels / groups, height, width)"
        )
    if isinstance(out, int) and isinstance(groups, int) and out % groups:
        raise ShapeError(f"{name}: {out} filters do not divide into {groups} groups")


def output_sizes(name: str, x: Node, kernel: Sequence[Size], p: Any) -> tuple[Size, Size]:
    """Return (height, width) of the result; raises ShapeError where no window fits."""
    sizes = []
    for k in (0, 1):
        n, dilation = x.type.shape[-2 + k], p.dilation[k]
        size = extent(n, kernel[k], p.stride[k], p.padding[k], dilation)
        if isinstance(size, int) and size < 1:
            raise ShapeError(
                f"{name}: a window of {kernel[k]} (dilation {dilation}) does not fit into axis "
                f"{x.ndim - 2 + k} of `{describe(x)}`, which has length {n} and padding "
                f"{p.padding[k]}.\n  input:  {x.type}, made at {x.source}\n"
                "  mend:   pad the images, or use a smaller window"
            )
        must_equal(minimum(size, 1), 1)  # as above, of sizes known at run time only
        sizes.append(size)
    return sizes[0], sizes[1]


def _params(stride: Any, padding: Any, dilation: Any, groups: int, **more: Any) -> dict[str, Any]:
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, **more}


# x, w, y shapes with the parameters that relate them: padding, stride, dilation, groups, one pixel
_SAMPLES: tuple[Any, ...] = (
    ((2, 3, 5, 6), (4, 3, 3, 2), (2, 4, 3, 5), _params((1, 1), ((0, 0), (0, 0)), (1, 1), 1)),
    ((1, 2, 5, 4), (3, 2, 3, 3), (1, 3, 3, 2), _params((2, 2), ((1, 1), (1, 0)), (1, 1), 1)),
    ((2, 4, 6, 5), (2, 2, 2, 2), (2, 2, 6, 4), _params((1, 1), ((1, 1), (0, 1)), (2, 2), 2)),
    ((1, 2, 7, 3), (2, 1, 2, 1), (1, 2, 2, 2), _params((3, 2), ((0, 1), (0, 0)), (2, 1), 2)),
    ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1), _params((1, 1), ((0, 0), (0, 0)), (1, 1), 1)),
)


@register
class Conv2d(Convolution):
    name = "conv2d"
    doc = "Cross-correlation of images (n, c, h, w) with filters (o, c / groups, kh, kw)."
    params = GEOMETRY

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x, w, _, params in _SAMPLES:
            yield (x, w), params

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x, w = inputs
        _require_rank(self.name, inputs)
        check_channels(self.name, x, w, params.groups)
        sizes = output_sizes(self.name, x, w.type.shape[2:], params)
        return x.type.with_shape((x.type.shape[0], w.type.shape[0], *sizes))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x, w = map(_wide, arrays)
        p = node.params
        view = _windows(x, w.shape[2:], p)
        filters = _by_group(w, 0, p.groups)
        value = _einsum("ngcijpq,gocpq->ngoij", view, filters)
        return value.reshape(node.type.shape).astype(node.dtype.numpy)

    @staticmethod
    def specialise(o: Namespace, node: Node) -> Node:
        """Pad the images once, so that the inner loops need no guards."""
        (x, w), p = node.inputs, node.params._asdict()
        if not Conv2d.by_loops(node) or not _is_padded(p["padding"]):
            return node
        image = o.pad(x, (NO_PADDING[0], NO_PADDING[0], *p["padding"]))
        return Conv2d.instance(image, w, **{**p, "padding": NO_PADDING})

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        (x, w), p = node.inputs, node.params
        n, out, i, j = index
        loops = s.new_axes(w.type.shape[1:], index)
        c, u, v = map(s.at, loops)
        rows, columns = axis_steps(p)
        a, b = positions(s, i, u, rows), positions(s, j, v, columns)
        guard = both(s.inside(a, x.type.shape[2]), s.inside(b, x.type.shape[3]))
        channel = _channel(s, out, c, w, p.groups)
        image = guarded(s, read, 0, (n, channel, a, b), guard)
        return _contraction(s, node, loops, image, read(1, (out, c, u, v)))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        (x, w), p = node.inputs, node.params._asdict()
        if k == 0:
            return Conv2dInput.instance(g, w, **p, size=x.type.shape[2:])
        return Conv2dFilter.instance(x, g, **p, size=w.type.shape[1:])


def _channel(s: Any, out: Any, c: Any, w: Node, groups: int) -> Any:
    """Return the channel of the images that channel `c` of filter `out` meets."""
    if isinstance(groups, int) and groups == 1:
        return c
    group = s.ifloordiv(out, w.type.shape[0] // groups)
    return s.iadd(s.imul(group, w.type.shape[1]), c)


@register
class Conv2dInput(Convolution):
    name = "conv2d_input"
    doc = "The transpose of conv2d by its images: (y-shaped g, filters) to images of `size`."
    params = (*GEOMETRY, "size")

    @classmethod
    def by_loops(cls, node: Node) -> bool:
        """Those of floats are statements, one for each place modulo the stride."""
        return node.dtype not in ("float32", "float64")

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x, w, y, params in _SAMPLES:
            yield (y, w), {**params, "size": x[2:]}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        g, w = inputs
        _require_rank(self.name, inputs)
        if _differ(g.type.shape[1], w.type.shape[0]):
            raise ShapeError(f"{self.name}: {g.type} has not as many channels as filters {w.type}")
        check_windows(self.name, g, params.size, w.type.shape[2:], params)
        channels = w.type.shape[1] * params.groups
        return g.type.with_shape((g.type.shape[0], channels, *params.size))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        g, w = map(_wide, arrays)
        groups = node.params.groups
        value = _spread(_by_group(g, 1, groups), _by_group(w, 0, groups), node.params)
        return value.astype(node.dtype.numpy)

    @staticmethod
    def specialise(o: Namespace, node: Node) -> Node:
        """A convolution of g, spread out by the stride and padded, with the filters turned round.

        dx[a] = sum_u g'[a + top - u d] w[u], where g' has g at the multiples of the stride.
        """
        (g, w), p = node.inputs, node.params
        sizes = (*g.type.shape[2:], *w.type.shape[2:], *p.size)
        known = all(isinstance(n, int) for n in sizes)
        if not Conv2dInput.by_loops(node) or p.groups != 1 or not known:
            return node
        spread = tuple((n - 1) * s + 1 for n, s in zip(g.type.shape[2:], p.stride, strict=True))
        around = tuple(
            ((k - 1) * d - top, size + top - n)
            for k, d, (top, _), size, n in zip(
                w.type.shape[2:], p.dilation, p.padding, p.size, spread, strict=True
            )
        )
        if not _positive(around):
            return node
        if p.stride != (1, 1):
            shape = (*g.type.shape[:2], *spread)
            g = o.place(g, (0, 0, 0, 0), (1, 1, *p.stride), shape)
        turned = o.flip(o.permute_dims(w, (1, 0, 2, 3)), (2, 3))
        whole = Conv2d.instance(
            g, turned, stride=(1, 1), padding=around, dilation=p.dilation, groups=1
        )
        return Conv2d.specialise(o, whole) if whole.type == node.type else node

    def copies(self, node: Node) -> tuple[int, ...]:
        """Windows get zeros around them where others would meet the images."""
        return (0,) if any(not _is_one(n) for n in node.inputs[1].type.shape[2:]) else ()

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        (g, w), p = node.inputs, node.params
        n, channel, a, b = index
        per_group = w.type.shape[0] // p.groups
        loops = s.new_axes((per_group, *w.type.shape[2:]), index)
        k, u, v = map(s.at, loops)
        out, c = k, channel
        if not (isinstance(p.groups, int) and p.groups == 1):
            out = s.iadd(s.imul(s.ifloordiv(channel, w.type.shape[1]), per_group), k)
            c = s.imod(channel, w.type.shape[1])
        rows, columns = axis_steps(p)
        i, row = window_of(s, a, u, rows, g.type.shape[2])
        j, column = window_of(s, b, v, columns, g.type.shape[3])
        gradient = guarded(s, read, 0, (n, out, i, j), both(row, column))
        return _contraction(s, node, loops, gradient, read(1, (out, c, u, v)))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        (y, w), p = node.inputs, geometry(node.params)
        if k == 0:
            return Conv2d.instance(g, w, **p)
        return Conv2dFilter.instance(g, y, **p, size=w.type.shape[1:])


def geometry(params: Any) -> dict[str, Any]:
    """Return the parameters that all three ops share."""
    return {name: getattr(params, name) for name in GEOMETRY}


def check_windows(name: str, g: Node, size: Any, kernel: Any, params: Any) -> None:
    """Raise ShapeError where `g` has not one element per window over an image of `size`."""
    for k in (0, 1):
        expected = extent(
            size[k], kernel[k], params.stride[k], params.padding[k], params.dilation[k]
        )
        if _differ(expected, g.type.shape[-2 + k]):
            raise ShapeError(
                f"{name}: an axis of length {size[k]} has {expected} windows of {kernel[k]}, "
                f"`{describe(g)}` has {g.type.shape[-2 + k]}: {g.type}"
            )


@register
class Conv2dFilter(Convolution):
    name = "conv2d_filter"
    doc = "The transpose of conv2d by its filters: (images, y-shaped g) to filters (o, *size)."
    params = (*GEOMETRY, "size")
    result_is_filter = True

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for x, w, y, params in _SAMPLES:
            yield (x, y), {**params, "size": w[1:]}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x, g = inputs
        _require_rank(self.name, inputs)
        if _differ(x.type.shape[0], g.type.shape[0]):
            raise ShapeError(f"{self.name}: {x.type} and {g.type} differ in the number of images")
        check_windows(self.name, g, x.type.shape[2:], params.size[1:], params)
        if _differ(x.type.shape[1], params.size[0] * params.groups):
            raise ShapeError(f"{self.name}: {x.type} has not {params.size[0]} channels per group")
        return x.type.with_shape((g.type.shape[1], *params.size))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x, g = map(_wide, arrays)
        p = node.params
        view = _windows(x, p.size[1:], p)
        value = _einsum("ngcijpq,ngoij->gocpq", view, _by_group(g, 1, p.groups))
        return value.reshape(node.type.shape).astype(node.dtype.numpy)

    @staticmethod
    def specialise(o: Namespace, node: Node) -> Node:
        """Pad the images once, so that the inner loops need no guards."""
        (x, g), p = node.inputs, node.params._asdict()
        if not Conv2dFilter.by_loops(node) or not _is_padded(p["padding"]):
            return node
        image = o.pad(x, (NO_PADDING[0], NO_PADDING[0], *p["padding"]))
        return Conv2dFilter.instance(image, g, **{**p, "padding": NO_PADDING})

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        (x, g), p = node.inputs, node.params
        out, c, u, v = index
        loops = s.new_axes((g.type.shape[0], *g.type.shape[2:]), index)
        n, i, j = map(s.at, loops)
        rows, columns = axis_steps(p)
        a, b = positions(s, i, u, rows), positions(s, j, v, columns)
        guard = both(s.inside(a, x.type.shape[2]), s.inside(b, x.type.shape[3]))
        channel = _channel(s, out, c, node, p.groups)
        image = guarded(s, read, 0, (n, channel, a, b), guard)
        return _contraction(s, node, loops, image, read(1, (n, out, i, j)))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        (x, y), p = node.inputs, geometry(node.params)
        if k == 0:
            return Conv2dInput.instance(y, g, **p, size=x.type.shape[2:])
        return Conv2d.instance(x, g, **p)


# -- public function -----------------------------------------------------------------------------
def pair(value: Any, what: str, low: int = 1) -> Pair:
    """Return one number or two as (vertical, horizontal); raises ValueError below `low`."""
    items = (value, value) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(items) != 2 or any(not isinstance(v, (int, np.integer)) or v < low for v in items):
        raise ValueError(f"{what} must be a number or two, at least {low}; got {value!r}")
    return int(items[0]), int(items[1])


def pads(padding: Any, sizes: Any, kernel: Any, stride: Pair, dilation: Pair) -> Any:
    """Return ((top, bottom), (left, right)) of a number, two, two pairs or a word."""
    if isinstance(padding, str):
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        if padding == "valid":
            return ((0, 0), (0, 0))
        if padding == "full":
            return tuple((r, r) for r in reach)
        if padding == "half":
            return tuple(((r + 1) // 2, (r + 1) // 2) for r in reach)
        if padding == "same":
            return tuple(_same(n, r, s) for n, r, s in zip(sizes, reach, stride, strict=True))
        raise ValueError(f"padding must be valid, same, half, full or numbers; got {padding!r}")
    if isinstance(padding, (int, np.integer)):
        padding = (padding, padding)
    return tuple(pair(p, "padding", 0) for p in padding)


def _same(n: Size, reach: Size, stride: int) -> tuple[Size, Size]:
    """The padding that makes ceil(n / stride) windows; an odd rest goes to the end."""
    total = reach if stride == 1 else maximum(((n - 1) // stride) * stride + reach + 1 - n, 0)
    return total // 2, total - total // 2


@function
def conv2d(
    x: Any,
    w: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    groups: int = 1,
    flip: bool = False,
) -> Node:
    """Return the cross-correlation of images with filters; `flip=True` is the true convolution.

    `x` is (n, c, h, w), `w` is (o, c / groups, kh, kw), the result (n, o, h', w') with
    h' = (h + top + bottom - dilation * (kh - 1) - 1) // stride + 1. `padding` is a number, one per
    axis, ((top, bottom), (left, right)), or "valid", "same" (h' = ceil(h / stride)), "half" (as
    much on both sides as half of the filter) or "full". Raises `ShapeError`.
    """
    images, filters = as_nodes((x, w))
    _require_rank("conv2d", (images, filters))
    if groups < 1:
        raise ValueError(f"groups must be at least 1, got {groups}")
    steps, spread = pair(stride, "stride"), pair(dilation, "dilation")
    kernel = filters.type.shape[2:]
    around = pads(padding, images.type.shape[2:], kernel, steps, spread)
    filters = o.flip(filters, (2, 3)) if flip else filters
    return Conv2d.instance(
        images, filters, stride=steps, padding=around, dilation=spread, groups=groups
    )
