"""Order statistics, moments of several variables, and reductions that leave NaN out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import BOOL, INT64
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, constant, describe
from symgraph.core.op import function, normal_axes, normal_axis, o
from symgraph.ops.base import as_nodes, cast_to
from symgraph.ops.reduce import Axes
from symgraph.ops.rows import as_float, as_inexact
from symgraph.ops.shape import is_one

METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


# -- quantiles ------------------------------------------------------------------------------------
def _joined(x: Any, axis: Axes) -> tuple[Node, tuple[int, ...]]:
    """Return `x` with the reduced axes joined to one last axis, and these axes."""
    node = as_float(x)
    axes = normal_axes(axis, node.ndim)
    kept = [k for k in range(node.ndim) if k not in axes]
    length: Any = 1
    for a in axes:
        length = length * node.type.shape[a]
    if isinstance(length, int) and length < 1:
        raise ShapeError(f"`{describe(node)}` {node.type} has no element to take a quantile of")
    shape = (*(node.type.shape[k] for k in kept), length)
    return o.reshape(o.permute_dims(node, [*kept, *axes]), shape), axes


def _at(position: Node, method: str) -> tuple[Node, Node, Node]:
    """Return the positions below and above a quantile, and the weight of the upper one."""
    low = o.floor(position)
    share = position - low
    if method == "lower":
        share = o.zeros_like(share)
    elif method == "higher":
        share = cast_to(share > 0, share.dtype)
    elif method == "midpoint":
        share = 0.5 * cast_to(share > 0, share.dtype)
    elif method == "nearest":
        low, share = o.rint(position), o.zeros_like(share)
    below = cast_to(low, INT64)
    return below, below + cast_to(share > 0, INT64), share


def _mixed(low: Node, high: Node, share: Node) -> Node:
    """Interpolate; equal (infinite) neighbours make no inf - inf, and no weight no 0 * inf."""
    same = o.eq(low, high) | o.eq(share, 0)
    step = high - low
    # between -inf and a number lies -inf, as their mean
    apart = o.where(o.isinf(step), low * (1 - share) + high * share, low + step * share)
    return o.where(same, low, apart)


def _check(q: Any, method: str) -> Node:
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if not isinstance(q, Node):
        given = np.asarray(q, np.float64)
        if not ((given >= 0) & (given <= 1)).all():
            raise ValueError(f"quantiles must be between 0 and 1, got {q}")
        return constant(given)
    return q


def _quantile(x: Any, q: Any, axis: Axes, method: str, keepdims: bool, skip_nan: bool) -> Node:
    rows, axes = _joined(x, axis)
    levels = _check(q, method)
    wide = o.cast(levels, "float64")  # positions of long rows need all digits
    ordered = o.sort(rows, -1)
    lead, n = rows.ndim - 1, rows.type.shape[-1]
    if skip_nan:
        count = o.sum(~o.isnan(rows), -1)
        count = o.reshape(count, (*(1,) * levels.ndim, *count.type.shape))
        wide = o.expand_dims(wide, tuple(range(levels.ndim, levels.ndim + lead)))
        below, above, share = _at(wide * o.maximum(count - 1, 0), method)
        index = [
            o.iota(tuple(m if j == k else 1 for j, m in enumerate(rows.type.shape[:-1])), k)
            for k in range(lead)
        ]
        low, high = (o.getitem(ordered, (*index, at)) for at in (below, above))
        result = _mixed(low, high, o.cast(share, rows.dtype))
        result = o.where(o.eq(count, 0), np.nan, result)
    else:
        below, above, share = _at(wide * (o.cast(o.dim_value(n), "float64") - 1), method)
        low, high = (_behind_first(o.take(ordered, at, -1), lead) for at in (below, above))
        share = o.expand_dims(
            o.cast(share, rows.dtype), tuple(range(levels.ndim, levels.ndim + lead))
        )
        last = ordered[..., -1]  # NaN comes last
        result = o.where(o.isnan(last), last, _mixed(low, high, share))
    if keepdims and axes:
        result = o.expand_dims(result, tuple(a + levels.ndim for a in axes))
    return result


def _behind_first(node: Node, lead: int) -> Node:
    """Return the array with the axes behind the first `lead` ones moved to the front."""
    return o.permute_dims(node, [*range(lead, node.ndim), *range(lead)])


@function
def quantile(
    x: Any, q: Any, axis: Axes = None, method: str = "linear", keepdims: bool = False
) -> Node:
    """Return the q-quantiles over `axis`; the axes of `q` come first. NaN where there is a NaN.

    The quantile lies at position q (n - 1) of the sorted elements; `method` says what is taken
    between two of them: linear, lower, higher, midpoint, nearest. Differentiable in x, and in q by
    the linear method.
    """
    return _quantile(x, q, axis, method, keepdims, False)


@function
def percentile(
    x: Any, q: Any, axis: Axes = None, method: str = "linear", keepdims: bool = False
) -> Node:
    """Return the quantiles of q / 100; see `quantile`."""
    return quantile(x, _hundredth(q), axis, method, keepdims)


def _hundredth(q: Any) -> Any:
    return q / 100 if isinstance(q, Node) else np.asarray(q, np.float64) / 100


@function
def median(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Return the middle one of the sorted elements over `axis`, or the mean of the two there."""
    return quantile(x, 0.5, axis, "linear", keepdims)


@function
def nanquantile(
    x: Any, q: Any, axis: Axes = None, method: str = "linear", keepdims: bool = False
) -> Node:
    """Return the q-quantiles of what is not NaN; NaN where nothing is left. See `quantile`."""
    return _quantile(x, q, axis, method, keepdims, True)


@function
def nanpercentile(
    x: Any, q: Any, axis: Axes = None, method: str = "linear", keepdims: bool = False
) -> Node:
    """Return the quantiles of q / 100 of what is not NaN; see `quantile`."""
    return nanquantile(x, _hundredth(q), axis, method, keepdims)


@function
def nanmedian(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Return the median of what is not NaN; NaN where nothing is left."""
    return nanquantile(x, 0.5, axis, "linear", keepdims)


# -- reductions that leave NaN out -----------------------------------------------------------------
def _without_nan(x: Any, value: float) -> Node:
    node = as_node(x)
    if not node.dtype.is_inexact:
        return node
    return o.where(o.isnan(node), np.asarray(value, node.dtype.numpy), node)


def _present(x: Any) -> Node:
    node = as_node(x)
    return ~o.isnan(node) if node.dtype.is_inexact else o.ones_like(node, BOOL)


@function
def nansum(x: Any, axis: Axes = None, dtype: Any = None, keepdims: bool = False) -> Node:
    """Return the sum over `axis` with NaN as 0."""
    return o.sum(_without_nan(x, 0), axis, dtype, keepdims)


@function
def nanprod(x: Any, axis: Axes = None, dtype: Any = None, keepdims: bool = False) -> Node:
    """Return the product over `axis` with NaN as 1."""
    return o.prod(_without_nan(x, 1), axis, dtype, keepdims)


@function
def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Node:
    """Return running sums along `axis` with NaN as 0."""
    return o.cumsum(_without_nan(x, 0), axis, dtype)


@function
def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Node:
    """Return running products along `axis` with NaN as 1."""
    return o.cumprod(_without_nan(x, 1), axis, dtype)


@function
def nanmax(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Return the largest element over `axis` that is not NaN; NaN where there is none."""
    value = o.max(_without_nan(x, -np.inf), axis, keepdims)
    if not value.dtype.is_float:
        return value
    return o.where(o.any(_present(x), axis, keepdims), value, np.nan)


@function
def nanmin(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Return the smallest element over `axis` that is not NaN; NaN where there is none."""
    value = o.min(_without_nan(x, np.inf), axis, keepdims)
    if not value.dtype.is_float:
        return value
    return o.where(o.any(_present(x), axis, keepdims), value, np.nan)


@function
def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """Return the index of the first largest element that is not NaN (0 where there is none)."""
    return o.argmax(_without_nan(x, -np.inf), axis, keepdims)


@function
def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """Return the index of the first smallest element that is not NaN (0 where there is none)."""
    return o.argmin(_without_nan(x, np.inf), axis, keepdims)


@function
def nanmean(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Return the mean of what is not NaN over `axis`; NaN where nothing is left."""
    node = as_inexact(x)
    count = o.sum(cast_to(_present(node), node.dtype.part), axis, None, keepdims)
    return nansum(node, axis, None, keepdims) / count


@function
def nanvar(x: Any, axis: Axes = None, ddof: float = 0, keepdims: bool = False) -> Node:
    """Return the variance of what is not NaN over `axis`, divided by its number - ddof."""
    node = as_inexact(x)
    part = node.dtype.part
    count = o.sum(cast_to(_present(node), part), axis, None, keepdims)
    centred = node - nanmean(node, axis, keepdims=True)
    squares = o.where(_present(node), o.abs2(centred), o.zeros((), part))
    total = o.sum(squares, axis, None, keepdims)  # NaN where an infinity is
    return o.where(count > ddof, total / (count - ddof), np.nan)


@function
def nanstd(x: Any, axis: Axes = None, ddof: float = 0, keepdims: bool = False) -> Node:
    """Return the standard deviation of what is not NaN, the root of `nanvar`."""
    return o.sqrt(nanvar(x, axis, ddof, keepdims))


# -- moments -------------------------------------------------------------------------------------
@function
def ptp(x: Any, axis: Axes = None, keepdims: bool = False) -> Node:
    """Return the range over `axis`: the largest minus the smallest element."""
    return o.max(x, axis, keepdims) - o.min(x, axis, keepdims)


@function
def average(x: Any, axis: Axes = None, weights: Any = None, keepdims: bool = False) -> Node:
    """Return the mean over `axis`, weighted by `weights` (shape of x, or a vector for one axis)."""
    node = as_node(x)
    if weights is None:
        return o.mean(node, axis, None, keepdims)
    node, w = as_nodes((node, weights))
    if w.ndim == 1 and node.ndim > 1:
        if not isinstance(axis, (int, np.integer)):
            raise TypeError("a vector of weights needs one axis: average(x, axis=0, weights=w)")
        at = normal_axis(int(axis), node.ndim)
        w = o.expand_dims(w, tuple(k for k in range(node.ndim) if k != at))
    w = o.broadcast_to(as_float(w), node.type.shape)
    return o.sum(node * w, axis, None, keepdims) / o.sum(w, axis, None, keepdims)


@function
def cov(
    x: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: float | None = None
) -> Node:
    """Return the covariances of variables: each row of `x` is one (each column: rowvar=False).

    `y` holds more variables. Divided by n - 1, by n with `bias`, or by n - ddof. A single variable
    gives a scalar. Of complex variables the second one is conjugated.
    """
    table = _variables(x, rowvar)
    if y is not None:
        table = o.concatenate([table, _variables(y, rowvar)], 0)
    centred = table - o.mean(table, 1, keepdims=True)
    less = ddof if ddof is not None else (0 if bias else 1)
    n = o.cast(o.dim_value(table.type.shape[1]), table.dtype.part)
    weight = o.maximum(n - less, 0.0)  # NumPy's: of too few numbers it is 0 / 0
    product = o.matmul(centred, o.conj(o.matrix_transpose(centred))) / weight
    return o.reshape(product, ()) if is_one(table.type.shape[0]) else product


def _variables(x: Any, rowvar: bool) -> Node:
    node = as_inexact(x)
    if node.ndim > 2:
        raise ShapeError(
            f"covariances need a vector or a matrix, `{describe(node)}` is {node.type}"
        )
    if node.ndim < 2:
        return o.reshape(node, (1, -1))
    return node if rowvar else o.matrix_transpose(node)


@function
def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Node:
    """Return the correlation coefficients of variables; see `cov`."""
    c = cov(x, y, rowvar)
    if c.ndim == 0:
        return c / c
    scale = o.sqrt(o.real(o.diagonal(c)))
    scaled = c / scale[:, None] / scale[None, :]
    if not c.dtype.is_complex:
        return o.clip(scaled, -1, 1)
    return o.on_parts(lambda part: o.clip(part, -1, 1), scaled)


def axis_list(axis: int | Sequence[int]) -> list[int]:
    """Return one axis or several as a list."""
    return [int(axis)] if isinstance(axis, (int, np.integer)) else [int(a) for a in axis]
