"""Reductions over axes, and the index of the extremum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import BOOL, FLOAT32, INT64, UINT64, DType, as_dtype
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, alias, function, normal_axes, normal_axis, o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import batch_front, cast_to, floatx

Axes = int | Sequence[int] | None


def accumulator(dtype: DType) -> DType:
    """Return the type in which a sum or product of `dtype` is taken, as NumPy does."""
    if dtype.kind in "bi":
        return INT64
    return UINT64 if dtype.kind == "u" else dtype


def samples(rng: Any, dtype: Any) -> Any:
    """Shapes and axes for the generated tests: every axis, several axes, zero-size."""
    for shape, axes in (
        ((5,), (0,)),
        ((3, 4), (0,)),
        ((3, 4), (1,)),
        ((3, 4), (0, 1)),
        ((2, 3, 37), (0, 2)),
        ((70, 9), (1,)),
        ((), ()),
    ):
        yield (shape,), {"axes": axes, "dtype": dtype}


class Reduction(Op):
    """Combine elements over `axes`; the axes are dropped (keepdims is a view put on top)."""

    loops = True
    params = ("axes", "dtype")
    numpy_function: Any
    kind = ""
    samples = staticmethod(samples)

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        shape = tuple(n for k, n in enumerate(x.type.shape) if k not in params.axes)
        return TensorType(params.dtype, shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        wide = FLOAT32.numpy if node.dtype == "float16" else node.dtype.numpy
        with np.errstate(all="ignore"):
            value = type(self).numpy_function(arrays[0].astype(wide), axis=node.params.axes)
            return np.asarray(value).astype(node.dtype.numpy)

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        x = node.inputs[0]
        loops, full = reduction_index(s, x, node.params.axes, index)
        wide = FLOAT32 if node.dtype == "float16" else node.dtype
        return s.cast(s.reduce(self.kind, loops, s.cast(read(0, full), wide)), node.dtype)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        shifted = tuple(a + 1 for a in node.params.axes)
        return self(x, axes=shifted, dtype=node.params.dtype), 0


def reduction_index(s: Any, x: Node, axes: tuple[int, ...], index: tuple[Any, ...]) -> Any:
    """Return new loop axes for the reduced `axes` and the full index of `x`."""
    loops = s.new_axes([x.type.shape[a] for a in axes], index)
    inner, outer = iter(loops), iter(index)
    full = tuple(s.at(next(inner)) if k in axes else next(outer) for k in range(x.ndim))
    return loops, full


def expand(o: Namespace, value: Node, axes: tuple[int, ...]) -> Node:
    """Put reduced axes back with length 1."""
    return o.expand_dims(value, axes) if axes else value


@register
class Sum(Reduction):
    takes_complex = True
    name, kind, doc = "sum", "sum", "Sum over axes; small integers accumulate in 64 bits."
    numpy_function = staticmethod(np.sum)
    linear = (0,)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        x = node.inputs[0]
        return o.broadcast_to(expand(o, cast_to(g, x.dtype), node.params.axes), x.type.shape)


@register
class Prod(Reduction):
    takes_complex = True
    name, kind, doc = "prod", "prod", "Product over axes."
    numpy_function = staticmethod(np.prod)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        """d prod = sum_i dx_i * (product before i) * (product after i): exact with zeros."""
        x = cast_to(node.inputs[0], node.dtype)
        flat, d = (_joined_last(o, v, node.params.axes) for v in (x, tangents[0]))
        before = _exclusive(o, flat)
        after = o.flip(_exclusive(o, o.flip(flat, -1)), -1)
        return o.sum(cast_to(d, node.dtype) * before * after, -1, node.dtype)


def _joined_last(o: Namespace, x: Node, axes: tuple[int, ...]) -> Node:
    """Return x with `axes` joined to one last axis."""
    kept = [k for k in range(x.ndim) if k not in axes]
    length: Any = 1
    for a in axes:
        length = length * x.type.shape[a]
    shape = (*(x.type.shape[k] for k in kept), length)
    return o.reshape(o.permute_dims(x, [*kept, *axes]), shape)


def _exclusive(o: Namespace, x: Node) -> Node:
    """Return the product of all elements before each one along the last axis."""
    n = x.type.shape[-1]
    one = o.ones((*x.type.shape[:-1], 1), x.dtype)
    return o.cumprod(o.slice_axis(o.concatenate([one, x], -1), -1, 0, n), -1)


def _extremum_vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
    """The derivative is shared equally among ties."""
    x, axes = node.inputs[0], node.params.axes
    hit = cast_to(o.eq(x, expand(o, node, axes)), x.dtype)
    share = hit / expand(o, o.sum(hit, axes), axes)
    return (share * expand(o, g, axes),)


def _extremum_jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
    x, axes = node.inputs[0], node.params.axes
    hit = cast_to(o.eq(x, expand(o, node, axes)), x.dtype)
    return o.sum(tangents[0] * hit, axes) / o.sum(hit, axes)


class Extremum(Reduction):
    """max and min: an empty axis is an error, NaN wins."""

    vjp = staticmethod(_extremum_vjp)
    jvp = staticmethod(_extremum_jvp)

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        refuse_empty(self.name, inputs[0], params.axes)
        return super().infer(inputs, params)


def refuse_empty(op: str, x: Node, axes: tuple[int, ...]) -> None:
    """Raise ShapeError where an axis of an extremum has length 0."""
    for a in axes:
        if isinstance(x.type.shape[a], int) and x.type.shape[a] == 0:
            raise ShapeError(
                f"{op} of an empty axis: axis {a} of `{describe(x)}` has length 0 and there is no "
                "smallest or largest element.\n"
                f"  input:  {describe(x)}  {x.type}, made at {x.source}"
                "\n  mend:   pass at least one element, or reduce other axes"
            )


@register
class Max(Extremum):
    name, kind, doc = (
        "max",
        "max",
        "Largest element over axes; NaN wins, ties share the derivative.",
    )
    numpy_function = staticmethod(np.max)


@register
class Min(Extremum):
    name, kind, doc = (
        "min",
        "min",
        "Smallest element over axes; NaN wins, ties share the derivative.",
    )
    numpy_function = staticmethod(np.min)


@register
class Any_(Reduction):
    name, kind, doc = "any", "any", "True where any element is not zero."
    numpy_function = staticmethod(np.any)
    dtypes = "bool"
    not_differentiable = "the result is bool"


@register
class All(Reduction):
    name, kind, doc = "all", "all", "True where all elements are not zero."
    numpy_function = staticmethod(np.all)
    dtypes = "bool"
    not_differentiable = "the result is bool"


class ArgExtremum(Op):
    """Index of the first extremum along one axis; NaN counts as the extremum."""

    loops = True
    params = ("axis",)
    not_differentiable = "the result is an index"
    kind = ""

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for shape, axis in (((5,), 0), ((3, 40), 1), ((3, 40), 0), ((2, 3, 4), 1)):
            yield (shape,), {"axis": axis}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        refuse_empty(self.name, x, (params.axis,))
        return TensorType(INT64, x.type.shape[: params.axis] + x.type.shape[params.axis + 1 :])

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        f = np.argmax if self.kind == "max" else np.argmin
        return np.asarray(f(arrays[0], axis=node.params.axis))

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        """Two passes: the extremum, then the smallest index that holds it (or a NaN)."""
        x, axis = node.inputs[0], node.params.axis
        loops, full = reduction_index(s, x, (axis,), index)
        value = read(0, full)
        if value.dtype == "float16":
            value = s.cast(value, FLOAT32)
        best = s.reduce(self.kind, loops, value)
        hit = s.eq(value, best)
        if value.dtype.is_float:
            hit = hit | s.isnan(value)
        position = s.as_value(full[axis], INT64)
        return s.reduce("min", loops, s.select(hit, position, s.const(2**62, INT64)))

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, axis=node.params.axis + 1), 0


@register
class Argmax(ArgExtremum):
    name, kind, doc = "argmax", "max", "Index of the first largest element along an axis."


@register
class Argmin(ArgExtremum):
    name, kind, doc = "argmin", "min", "Index of the first smallest element along an axis."


def _reduce(op: Op, x: Any, axis: Axes, keepdims: bool, dtype: Any = None) -> Node:
    node = as_node(x)
    axes = normal_axes(axis, node.ndim)
    result = op(node, axes=axes, dtype=node.dtype if dtype is None else as_dtype(dtype))
    return expand(o, result, axes) if keepdims else result


@function
def sum_(x: Any, axis: Axes = None, dtype: Any = None, keepdims: bool = False) -> Node:
    """Return the sum over `axis` (all axes when None); integers accumulate in 64 bits."""
    node = as_node(x)
    return _reduce(Sum.instance, node, axis, keepdims, dtype or accumulator(node.dtype))


@function
def prod(x: Any, axis: Axes = None, dtype: Any = None, keepdims: bool = False) -> Node:
    """Return the product over `axis` (all axes when None)."""
    node = as_node(x)
    return _reduce(Prod.instance, node, axis, keepdims, dtype or accumulator(node.dtype))


@function
def max_(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Return the largest element over `axis`; NaN wins."""
    return _reduce(Max.instance, x, axis, keepdims)


@function
def min_(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Return the smallest element over `axis`; NaN wins."""
    return _reduce(Min.instance, x, axis, keepdims)


@function
def any_(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Tell whether any element over `axis` is not zero."""
    return _reduce(Any_.instance, cast_to(as_node(x), BOOL), axis, keepdims)


@function
def all_(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Tell whether all elements over `axis` are not zero."""
    return _reduce(All.instance, cast_to(as_node(x), BOOL), axis, keepdims)


@function
def count_nonzero(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Return how many elements over `axis` are not zero (int64)."""
    return sum_(cast_to(as_node(x), BOOL), axis, None, keepdims)


def _count(node: Node, axes: tuple[int, ...], dtype: DType) -> Any:
    n: Any = 1
    for a in axes:
        n = n * node.type.shape[a]
    return float(n) if isinstance(n, int) else cast_to(o.dim_value(n), dtype)


@function
def mean(x: Any, axis: Axes = None, dtype: Any = None, keepdims: bool = False) -> Node:
    """Return the arithmetic mean over `axis`; integers become floatX."""
    node = as_node(x)
    target = as_dtype(dtype) if dtype else (node.dtype if node.dtype.is_inexact else floatx())
    wide = FLOAT32 if target.is_half else target
    axes = normal_axes(axis, node.ndim)
    total = o.sum(cast_to(node, wide), axes, wide, keepdims)
    return cast_to(total / _count(node, axes, wide), target)


@function
def var(x: Any, axis: Axes = None, ddof: float = 0, keepdims: bool = False) -> Node:
    """Return the variance, by two passes (mean first), divided by n - ddof."""
    node = as_node(x)
    axes = normal_axes(axis, node.ndim)
    centred = node - mean(node, axes, keepdims=True)
    squares = o.abs2(centred)
    if not ddof:
        return mean(squares, axes, keepdims=keepdims)
    n = _count(node, axes, squares.dtype)
    value: Node = o.sum(squares, axes, None, keepdims) / (n - ddof)
    return value


@function
def std(x: Any, axis: Axes = None, ddof: float = 0, keepdims: bool = False) -> Node:
    """Return the standard deviation, the root of `var`."""
    return o.sqrt(var(x, axis, ddof, keepdims))


@function
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """Return the index of the first largest element (of the flattened array when axis is None)."""
    return _arg(Argmax.instance, x, axis, keepdims)


@function
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """Return the index of the first smallest element."""
    return _arg(Argmin.instance, x, axis, keepdims)


def _arg(op: Op, x: Any, axis: int | None, keepdims: bool) -> Node:
    node = as_node(x)
    if axis is None:
        flat = op(o.reshape(node, (-1,)), axis=0)
        return o.reshape(flat, (1,) * node.ndim) if keepdims else flat
    axis = normal_axis(axis, node.ndim)
    result = op(node, axis=axis)
    return o.expand_dims(result, axis) if keepdims else result


alias(max_, "amax")
alias(min_, "amin")
