"""Running (cumulative) reductions along one axis, and the linear recurrence.

All are loops in order that carry one number per row; other axes are vectors and threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import BOOL, FLOAT32, as_dtype
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, alias, function, normal_axis, o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import as_nodes, batch_front, cast_to
from symgraph.ops.reduce import accumulator
from symgraph.ops.rows import as_float, as_inexact
from symgraph.ops.shape import broadcast_shapes_of


class Cumulative(Op):
    """Running combination along one axis, in order (as NumPy: one rounding per step)."""

    params: tuple[str, ...] = ("axis", "dtype")
    kind = ""
    numpy_function: Any

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for shape, axis in (((5,), 0), ((3, 4), 0), ((3, 4), 1), ((2, 3, 4), 1)):
            yield (shape,), {"axis": axis, "dtype": dtype}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_dtype(params.dtype)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        f = type(self).numpy_function
        wide = FLOAT32.numpy if node.dtype == "float16" else node.dtype.numpy
        value = f(arrays[0].astype(wide), axis=node.params.axis)
        return np.asarray(value, node.dtype.numpy)

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.running(node, out, self.kind, node.params.axis)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, **{**node.params._asdict(), "axis": node.params.axis + 1}), 0


# -- sums and products ---------------------------------------------------------------------------
@register
class Cumsum(Cumulative):
    name, kind, doc = "cumsum", "sum", "Running sum along an axis."
    takes_complex = True
    numpy_function = staticmethod(np.cumsum)
    linear = (0,)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        axis = node.params.axis
        back = Cumsum.instance(o.flip(g, axis), axis=axis, dtype=g.dtype)
        return cast_to(o.flip(back, axis), node.inputs[0].dtype)


@register
class Cumprod(Cumulative):
    name, kind, doc = "cumprod", "prod", "Running product along an axis."
    takes_complex = True
    numpy_function = staticmethod(np.cumprod)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        """d y_k = sum_{i<=k} dx_i prod_{j<=k, j!=i} x_j, exact with zeros (quadratic in length).

        Row i of the pairwise table has a one in place of factor i.
        """
        x, axis = node.inputs[0], node.params.axis
        last = o.moveaxis(x, axis, -1)
        n = x.type.shape[axis]
        eye = cast_to(o.eye(n), BOOL)
        table = o.where(eye, o.ones_like(last)[..., None, :], last[..., None, :])
        running = o.cumprod(table, -1)
        kept = o.where(cast_to(o.triu(o.ones((n, n))), BOOL), running, 0)
        d = o.moveaxis(tangents[0], axis, -1)
        return o.moveaxis(o.sum(d[..., :, None] * kept, -2), -1, axis)


# -- extrema -------------------------------------------------------------------------------------
class RunningExtremum(Cumulative):
    """cummax and cummin: NaN wins from where it first occurs, the last of ties is differentiated.

    The derivative goes to one element, the last one so far that holds the extremum.
    """

    params = ("axis",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for shape, axis in (((5,), 0), ((3, 4), 0), ((3, 40), 1), ((2, 3, 4), 1), ((0, 3), 0)):
            yield (shape,), {"axis": axis}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(type(self).numpy_function(arrays[0], axis=node.params.axis))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        axis = node.params.axis
        return o.take_along_axis(tangents[0], _held(node), axis)


def _held(node: Node) -> Node:
    """Return where the running extremum `node` was last reached, from its values (int64)."""
    x, axis = node.inputs[0], node.params.axis
    hit = o.eq(x, node)
    if x.dtype.is_float:
        hit = o.logical_or(hit, o.isnan(x))
    return Cummax.instance(o.where(hit, o.iota(x.type.shape, axis), 0), axis=axis)


@register
class Cummax(RunningExtremum):
    name, kind = "cummax", "max"
    doc = "Running maximum along an axis; NaN wins, the last of ties gets the derivative."
    numpy_function = staticmethod(np.maximum.accumulate)


@register
class Cummin(RunningExtremum):
    name, kind = "cummin", "min"
    doc = "Running minimum along an axis; NaN wins, the last of ties gets the derivative."
    numpy_function = staticmethod(np.minimum.accumulate)


# -- the linear recurrence -----------------------------------------------------------------------
@register
class LinearRecurrence(Op):
    name, doc = "linear_recurrence", "y[k] = a[k] y[k-1] + b[k] along an axis, from zero."
    params = ("axis",)
    dtypes = "float"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for shape, axis in (((5,), 0), ((3, 4), 0), ((3, 9), 1), ((2, 3, 4), 1), ((2, 1), 1)):
            yield (shape, shape), {"axis": axis}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        a, b = inputs
        if not b.dtype.is_float:
            raise DTypeError(f"linear_recurrence needs floats, got {b.type}")
        if a.type != b.type and len(a.type.shape) != len(b.type.shape):
            raise ShapeError(f"linear_recurrence of `{describe(a)}` {a.type} and {b.type}")
        return b.type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        axis = node.params.axis
        wide = FLOAT32.numpy if node.dtype == "float16" else node.dtype.numpy
        a, b = (np.moveaxis(v, axis, 0).astype(wide) for v in arrays)
        out = np.empty_like(b)
        for k in range(len(b)):
            out[k] = b[k] + a[k] * out[k - 1] if k else b[k]
        return np.ascontiguousarray(np.moveaxis(out, 0, axis)).astype(node.dtype.numpy)

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.running(node, out, "linear", node.params.axis)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        (a, _), axis = node.inputs, node.params.axis
        da, db = tangents
        source = db
        if da is not None:
            moved = da * _previous(o, node, axis)
            source = moved if db is None else moved + db
        return LinearRecurrence.instance(a, source, axis=axis)

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node, Node]:
        axis = node.params.axis
        total = _backwards(o, node.inputs[0], g, axis)
        return total * _previous(o, node, axis), total

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        n = next(v.type.shape[a] for v, a in zip(inputs, axes, strict=True) if a is not None)
        a, b = (
            o.broadcast_to(v, (n, *v.type.shape)) if at is None else o.moveaxis(v, at, 0)
            for v, at in zip(inputs, axes, strict=True)
        )
        return self(a, b, axis=node.params.axis + 1), 0


def _previous(o: Namespace, x: Node, axis: int) -> Node:
    """Return the element before each one along an axis, zero before the first."""
    widths = [(int(k == axis), 0) for k in range(x.ndim)]
    return o.slice_axis(o.pad(x, widths), axis, 0, x.type.shape[axis])


def _backwards(o: Namespace, a: Node, g: Node, axis: int) -> Node:
    """Return z[k] = g[k] + a[k+1] z[k+1]: the transpose of the recurrence."""
    factors = _previous(o, o.flip(a, axis), axis)
    return o.flip(LinearRecurrence.instance(factors, o.flip(g, axis), axis=axis), axis)


# -- log of a running sum of exponentials --------------------------------------------------------
@register
class LogCumsumExp(Op):
    """The running maximum m is taken out: y = m + log(s) with s a linear recurrence.

    Each new element either is the new maximum (s shrinks by exp(old - new), then one is added) or
    adds exp(x - m): one exponential per element, and s is between 1 and the length.
    """

    name, doc = "logcumsumexp", "Running log(sum(exp(x))) along an axis; nothing overflows."
    params = ("axis",)
    dtypes = "float"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for shape, axis in (((5,), 0), ((3, 4), 0), ((3, 9), 1), ((2, 3, 4), 1), ((0,), 0)):
            yield (shape,), {"axis": axis}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        if not inputs[0].dtype.is_float:
            raise DTypeError(f"logcumsumexp needs floats, got {inputs[0].type}")
        return inputs[0].type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            x = arrays[0].astype(np.float64)
            value = np.logaddexp.accumulate(x, axis=node.params.axis)
        return np.asarray(value, node.dtype.numpy)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        given, axis = node.inputs[0], node.params.axis
        x = cast_to(given, FLOAT32) if given.dtype.bits == 16 else given
        largest = Cummax.instance(x, axis=axis)
        first = o.eq(o.iota(x.type.shape, axis), 0)
        before = o.where(first, -np.inf, _previous(o, largest, axis))
        apart = o.exp(-o.abs(x - before))
        a = o.where(o.gt(x, before), apart, 1)
        b = o.where(o.ge(x, before), o.ones((), x.dtype), apart)  # also inf - inf, in first place
        total = LinearRecurrence.instance(a, b, axis=axis)
        return cast_to(largest + o.log(total), given.dtype)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        axis = node.params.axis
        kept, share = _shares(o, node)
        return LinearRecurrence.instance(kept, share * tangents[0], axis=axis)

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        kept, share = _shares(o, node)
        return (share * _backwards(o, kept, g, node.params.axis),)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, axis=node.params.axis + 1), 0


def _shares(o: Namespace, node: Node) -> tuple[Node, Node]:
    """Return exp(y[k-1] - y[k]) and exp(x[k] - y[k]): what the old sum and the element make up.

    Where all elements so far are -inf both are zero.
    """
    x, axis = node.inputs[0], node.params.axis
    shift = o.where(o.eq(node, -np.inf), o.zeros((), x.dtype), node)
    first = o.eq(o.iota(x.type.shape, axis), 0)
    before = o.where(first, -np.inf, _previous(o, node, axis))
    return o.exp(before - shift), o.exp(x - shift)


# -- functions -----------------------------------------------------------------------------------
@function
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Node:
    """Return running sums along `axis` (of the flattened array when None)."""
    return _running(Cumsum.instance, x, axis, dtype)


@function
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Node:
    """Return running products along `axis` (of the flattened array when None)."""
    return _running(Cumprod.instance, x, axis, dtype)


@function
def cummax(x: Any, axis: int | None = None, return_indices: bool = False) -> Any:
    """Return running maxima along `axis` (of the flattened array when None); NaN wins.

    With `return_indices` also where each was last reached (int64). Among equal elements the last
    one so far gets the derivative.
    """
    return _extrema(Cummax.instance, x, axis, return_indices)


@function
def cummin(x: Any, axis: int | None = None, return_indices: bool = False) -> Any:
    """Return running minima along `axis` (of the flattened array when None); NaN wins.

    With `return_indices` also where each was last reached (int64). Among equal elements the last
    one so far gets the derivative.
    """
    return _extrema(Cummin.instance, x, axis, return_indices)


@function
def logcumsumexp(x: Any, axis: int | None = None) -> Node:
    """Return log of running sums of exp(x) along `axis` (of the flattened array when None).

    Nothing overflows, also where later elements are much larger. Integers become floatX.
    """
    node, axis = _along(as_inexact(x), axis)
    if node.dtype.is_complex:
        found: Node = o.associative_scan(o.logaddexp, node, axis=axis)
        return found
    return LogCumsumExp.instance(node, axis=axis)


@function
def linear_recurrence(a: Any, b: Any, axis: int = -1) -> Node:
    """Return y with y[k] = a[k] y[k-1] + b[k] along `axis`, where y[-1] is zero.

    `a` and `b` are floats and broadcast. A first state y0 goes into b: b[0] + a[0] y0. Derivatives
    are recurrences too: much faster than a `scan` of the same step.
    """
    left, right = (as_float(v) for v in as_nodes((a, b)))
    dtype = (left * right).dtype
    shape = broadcast_shapes_of(left, right)
    both = [o.broadcast_to(cast_to(v, dtype), shape) for v in (left, right)]
    if not shape:
        raise ShapeError("linear_recurrence needs at least one axis; got scalars")
    return LinearRecurrence.instance(*both, axis=normal_axis(axis, len(shape)))


def _along(node: Node, axis: int | None) -> tuple[Node, int]:
    if axis is None:
        node, axis = o.reshape(node, (-1,)), 0
    if node.ndim == 0:
        raise DTypeError("a running reduction needs at least one axis; got a scalar")
    return node, normal_axis(axis, node.ndim)


def _running(op: Op, x: Any, axis: int | None, dtype: Any) -> Node:
    node, axis = _along(as_node(x), axis)
    target = as_dtype(dtype) if dtype else accumulator(node.dtype)
    return op(node, axis=axis, dtype=target)


def _extrema(op: Op, x: Any, axis: int | None, return_indices: bool) -> Any:
    node, axis = _along(as_node(x), axis)
    values = op(node, axis=axis)
    return (values, _held(values)) if return_indices else values


alias(cumsum, "cumulative_sum")
alias(cumprod, "cumulative_prod")
