"""Reductions, running reductions, order statistics, counting and sorting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import symgraph as sg
from symgraph.testing.torch_map.entry import (
    DATA_LENGTH,
    INTERNAL,
    NONE_HERE,
    Entry,
    Row,
    need,
)


def axes(x: Any, dim: Any) -> Any:
    """Return torch's `dim` as an axis here: () means all, and a scalar has an axis 0 there."""
    if dim is None or x.ndim == 0 or (isinstance(dim, (list, tuple)) and not dim):
        return None
    return dim


def typed(x: Any, dtype: str | None) -> Any:
    return x if dtype is None else sg.cast(x, dtype)


def reduction(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the adapter of a reduction over axes."""
    return lambda x, dim=None, keepdim=False, dtype=None: f(
        typed(x, dtype), axes(x, dim), keepdims=keepdim
    )


def running(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the adapter of a running reduction; that of a scalar is the scalar."""
    return lambda x, dim, dtype=None: typed(f(x, dim) if x.ndim else f(x, None).reshape(()), dtype)


def running_extremum(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the adapter of a running extremum and where it was last reached."""
    return lambda x, dim: (
        f(x, dim, return_indices=True) if x.ndim else (x, sg.zeros((), "int64")))  # fmt: skip


def segments(x: Any, lengths: Any = None, offsets: Any = None) -> tuple[np.ndarray, int]:
    """Return the number of the segment of each slice, and how many there are."""
    if lengths is None:
        lengths = np.diff(offsets)
    need(lengths.ndim == 1, "segments per row")
    return np.repeat(np.arange(len(lengths)), lengths), len(lengths)


def segment_reduce(
    x: Any, reduce: str, axis: int = 0, unsafe: bool = False, initial: Any = None,
    lengths: Any = None, offsets: Any = None, indices: Any = None,
) -> Any:  # fmt: skip
    ids, count = segments(x, lengths, offsets)
    x = x[: len(ids)]
    sizes = np.bincount(ids, minlength=count).reshape((-1,) + (1,) * (x.ndim - 1))
    if reduce == "mean":
        start = np.nan if initial is None else initial
        total = sg.segment_sum(x, ids, count) + (initial or 0)
        return sg.where(sizes == 0, start, total / np.maximum(sizes, 1))
    value = getattr(sg, f"segment_{reduce}")(x, ids, count)
    if initial is None:
        return value
    join = {"sum": sg.add, "prod": sg.mul, "max": sg.maximum, "min": sg.minimum}[reduce]
    return join(value, initial)


def moment(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the adapter of var or std: dim, or `unbiased` as the only argument."""

    def adapter(
        x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False,
        correction: Any = None,
    ) -> Any:  # fmt: skip
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = correction if correction is not None else int(unbiased)
        return f(x, axes(x, dim), ddof=ddof, keepdims=keepdim)

    return adapter


def with_mean(f: Callable[..., Any]) -> Callable[..., Any]:
    second = moment(f)

    def adapter(x: Any, dim: Any = None, *args: Any, keepdim: bool = False, **options: Any) -> Any:
        every = None if isinstance(dim, bool) else axes(x, dim)
        mean = sg.mean(x, every, keepdims=keepdim)
        return second(x, dim, *args, keepdim=keepdim, **options), mean

    return adapter


def extremum(largest: Callable[..., Any], position: Callable[..., Any]) -> Callable[..., Any]:
    def adapter(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if dim is None:
            return largest(x)
        axis = axes(x, dim)
        return largest(x, axis, keepdims=keepdim), position(x, axis, keepdims=keepdim)

    return adapter


def kth(x: Any, k: Any, dim: int = -1, keepdim: bool = False) -> Any:
    """Return the k-th smallest elements along an axis (k from 1, or an array) and their places."""
    if x.ndim == 0:
        return x, sg.zeros((), "int64")
    order = sg.argsort(x, dim)
    at = sg.as_tensor(k, "int64") - 1
    shape = [1 if i == dim % x.ndim else n for i, n in enumerate(x.type.shape)]
    where = sg.take_along_axis(order, sg.broadcast_to(at, shape), dim)
    both = sg.take_along_axis(x, where, dim), where
    return both if keepdim else tuple(sg.squeeze(v, dim) for v in both)


def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Torch's median is the lower one of two middle elements."""
    if dim is None:
        return kth(sg.ravel(x), (sg.size(x) + 1) // 2)[0]
    return kth(x, (x.type.shape[dim] + 1) // 2 if x.ndim else 1, dim, keepdim)


def nanmedian(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    if dim is None:
        return nanmedian(sg.ravel(x), 0)[0]
    count = sg.sum(~sg.isnan(x), axes(x, dim), keepdims=True)
    return kth(x, sg.maximum((count + 1) // 2, 1), dim, keepdim)


def quantile(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, q, dim=None, keepdim=False, interpolation="linear": f(
        x, q, axes(x, dim), interpolation, keepdim
    )


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Any:
    y = sg.moveaxis(y, dim, -1)
    width = dx if x is None else sg.diff(x if x.ndim == 1 else sg.moveaxis(x, dim, -1))
    area = (y[..., 1:] + y[..., :-1]) / 2 * width
    return sg.moveaxis(sg.cumsum(area, -1), -1, dim)


def trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Any:
    return sg.trapezoid(y, x, dx, dim)


def cov(x: Any, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    need(fweights is None and aweights is None, "covariance with weights")
    return sg.cov(x, ddof=correction)


def logsumexp(x: Any, dim: Any, keepdim: bool = False) -> Any:
    return sg.logsumexp(x, axes(x, dim), keepdim)


def gradient(x: Any, dim: Any = None, spacing: Any = None, edge_order: int = 1) -> Any:
    steps = spacing if isinstance(spacing, (list, tuple)) else [1.0 if spacing is None else spacing]
    if len(steps) == 1 and dim is None:
        steps = list(steps) * x.ndim
    found = sg.gradient(x, *steps, axis=dim, edge_order=edge_order)
    return found if isinstance(found, list) else [found]


def searchsorted(
    a: Any, v: Any, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Any = None,
) -> Any:  # fmt: skip
    side = side or ("right" if right else "left")
    if sorter is not None:
        a = sg.take_along_axis(a, sorter, -1)
    rows = partial(sg.searchsorted, side=side)
    if a.ndim > 1:
        n = int(np.prod(v.type.shape[:-1]))
        flat = a.reshape((n, a.shape[-1])), v.reshape((n, v.shape[-1]))
        found = sg.vmap(rows)(*flat).reshape(v.shape)
    else:
        found = rows(a, v)
    return sg.cast(found, "int32" if out_int32 else "int64")


REDUCTIONS: dict[str, Row] = {
    "sum": reduction(sg.sum),
    "prod": reduction(sg.prod),
    "mean": reduction(sg.mean),
    "nansum": reduction(sg.nansum),
    "nanmean": reduction(sg.nanmean),
    "amax": reduction(sg.max),
    "amin": reduction(sg.min),
    "all": reduction(sg.all),
    "any": reduction(sg.any),
    "count_nonzero": reduction(sg.count_nonzero),
    "argmax": reduction(sg.argmax),
    "argmin": reduction(sg.argmin),
    "var": moment(sg.var),
    "std": moment(sg.std),
    "var:unbiased": moment(sg.var),
    "std:unbiased": moment(sg.std),
    "var_mean": with_mean(sg.var),
    "std_mean": with_mean(sg.std),
    "var_mean:unbiased": with_mean(sg.var),
    "std_mean:unbiased": with_mean(sg.std),
    "max:reduction_with_dim": extremum(sg.max, sg.argmax),
    "min:reduction_with_dim": extremum(sg.min, sg.argmin),
    "max:reduction_no_dim": extremum(sg.max, sg.argmax),
    "min:reduction_no_dim": extremum(sg.min, sg.argmin),
    "aminmax": lambda x, dim=None, keepdim=False: (
        sg.min(x, axes(x, dim), keepdim), sg.max(x, axes(x, dim), keepdim)),
    "logsumexp": logsumexp,
    "cumsum": running(sg.cumsum),
    "cumprod": running(sg.cumprod),
    "diff": lambda x, n=1, dim=-1, prepend=None, append=None: sg.diff(x, n, dim, prepend, append),
    "gradient": gradient,
    "trapezoid": trapezoid,
    "trapz": trapezoid,
    "cumulative_trapezoid": cumulative_trapezoid,
    "cov": cov,
    "corrcoef": sg.corrcoef,
    "cummax": running_extremum(sg.cummax),
    "cummin": running_extremum(sg.cummin),
    "logcumsumexp": lambda x, dim: sg.logcumsumexp(x, dim) if x.ndim else x,
    "_segment_reduce:lengths": Entry(segment_reduce, arrays="i"),
    "_segment_reduce:offsets": Entry(segment_reduce, arrays="i"),
    "hash_tensor": INTERNAL,
}  # fmt: skip

def histogramdd(
    x: Any, bins: Any, range: Any = None, weight: Any = None, density: bool = False
) -> tuple[Any, list[Any]]:
    rows = sg.reshape(x, (-1, x.type.shape[-1]))
    limits = None if range is None else list(zip(range[::2], range[1::2], strict=True))
    flat = None if weight is None else sg.ravel(weight)
    count, edges = sg.histogramdd(rows, bins, limits, flat, density)
    return sg.cast(count, x.dtype), edges


ORDER: dict[str, Row] = {
    "median": median,
    "nanmedian": nanmedian,
    "kthvalue": kth,
    "quantile": quantile(sg.quantile),
    "nanquantile": quantile(sg.nanquantile),
    "sort": lambda x, dim=-1, descending=False, stable=False: (
        (sg.sort(x, dim, descending), sg.argsort(x, dim, descending))
        if x.ndim else (x, sg.zeros((), "int64"))),
    "argsort": lambda x, dim=-1, descending=False, stable=False: (
        sg.argsort(x, dim, descending) if x.ndim else sg.zeros((), "int64")),
    "msort": lambda x: sg.sort(x, 0),
    "topk": lambda x, k, dim=-1, largest=True, sorted=True: (
        sg.topk(x, k, dim, largest) if x.ndim else (x, sg.zeros((), "int64"))),
    "mode": NONE_HERE,
    "unique": DATA_LENGTH,
    "unique_consecutive": DATA_LENGTH,
    "bucketize": lambda x, edges, out_int32=False, right=False: sg.cast(
        sg.searchsorted(edges, x, "right" if right else "left"), "int32" if out_int32 else "int64"),
    "histogram": lambda x, bins, range=None, weight=None, density=False: [
        sg.cast(v, x.dtype) for v in sg.histogram(
            sg.ravel(x), bins, range, None if weight is None else sg.ravel(weight), density)],
    "histc": lambda x, bins=100, min=0, max=0: sg.cast(
        sg.histogram(x, bins, (min, max) if max > min else None)[0], x.dtype),
    "searchsorted": searchsorted,
    "histogramdd": histogramdd,
    "bincount": Entry(
        lambda x, weights=None, minlength=0: sg.bincount(
            x, None if weights is None else sg.cast(weights, "float64"),
            length=max(int(np.max(x, initial=-1)) + 1, minlength)),
        arrays="i"),
}  # fmt: skip


REDUCING = REDUCTIONS | ORDER
