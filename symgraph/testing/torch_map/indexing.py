"""Indexing: gathers, scatters, masks, parts that are replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph as sg
from symgraph.testing.torch_map.entry import DATA_LENGTH, Entry, Row

START = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -np.inf, "amin": np.inf}
MODES = {"sum": "add", "add": "add", "mean": "add", "prod": "prod", "multiply": "prod",
         "amax": "max", "amin": "min"}  # fmt: skip


def beginning(reduce: str, x: Any) -> Any:
    """Return the value that a reduction starts from, in the dtype of x."""
    start = START[reduce]
    if np.isfinite(start) or x.dtype.is_float:
        return start
    limits = np.iinfo(x.dtype.numpy)
    return limits.min if start < 0 else limits.max


def vectors(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return an adapter for x of any rank: torch indexes a scalar as if it were a vector."""

    def adapter(x: Any, dim: int, index: Any, *rest: Any, **options: Any) -> Any:
        if x.ndim:
            return f(x, dim % x.ndim, sg.atleast_1d(index), *rest, **options)
        rest = tuple(
            sg.atleast_1d(v) if isinstance(v, sg.Variable) and v.ndim == 0 else v for v in rest
        )
        found = f(x.reshape((1,)), 0, sg.atleast_1d(index), *rest, **options)
        return found.reshape(index.shape if found.shape[0] != 1 or index.ndim == 0 else ())

    return adapter


def corner(x: Any, index: Any, dim: int) -> tuple[slice, ...]:
    """Return the part of x that an index of smaller shape speaks of."""
    return tuple(
        slice(None) if k == dim % x.ndim else slice(0, n) for k, n in enumerate(index.type.shape)
    )


def gather(x: Any, dim: int, index: Any, **options: Any) -> Any:
    if x.ndim == 0:
        return sg.take(x.reshape((1,)), index)
    if 0 in index.type.shape:
        return sg.zeros(index.type.shape, x.dtype) * sg.sum(x)
    return sg.take_along_axis(x[corner(x, index, dim)], index, dim)


def scatter(
    x: Any, dim: int, index: Any, src: Any, reduce: str = "", include_self: bool = True
) -> Any:
    """Return x with src written or combined at x[..., index, ...]."""
    if x.ndim == 0:
        flat = [sg.ravel(v) if isinstance(v, sg.Variable) else v for v in (x, index, src)]
        return scatter(flat[0], 0, flat[1], flat[2], reduce, include_self).reshape(())
    if 0 in index.type.shape:
        return x
    part = x[corner(x, index, dim)]
    if isinstance(src, sg.Variable) and src.ndim:
        src = src[tuple(slice(0, n) for n in index.type.shape)]
    start = part
    if not include_self:
        start = sg.put_along_axis(part, index, beginning(reduce, x), dim)
    found = sg.put_along_axis(start, index, src, dim, MODES.get(reduce, "set"))
    if reduce == "mean":
        ones = (sg.ones_like if include_self else sg.zeros_like)(part)
        count = sg.put_along_axis(ones, index, 1, dim, "add")
        found = found / sg.maximum(count, 1)
    return sg.set_subtensor(x[corner(x, index, dim)], found)


def index_reduce(
    x: Any, dim: int, index: Any, source: Any, reduce: str, include_self: bool = True
) -> Any:
    start = x if include_self else sg.index_put(x, index, beginning(reduce, x), dim)
    found = sg.index_put(start, index, source, dim, MODES[reduce])
    if reduce == "mean":
        ones = sg.full((x.type.shape[dim],), int(include_self), x.dtype)
        count = sg.maximum(sg.index_put(ones, index, 1, 0, "add"), 1)
        found = found / sg.moveaxis(count.reshape((-1,) + (1,) * (x.ndim - 1)), 0, dim)
    return found


def index_add(x: Any, dim: int, index: Any, source: Any, alpha: Any = 1) -> Any:
    return sg.index_add(x, index, alpha * source, dim)


def masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    """Elements of the source are used in order: element number cumsum(mask) - 1."""
    x, mask = sg.broadcast_arrays(x, mask)
    at = sg.cumsum(sg.cast(sg.ravel(mask), "int64")) - 1
    return sg.where(mask, sg.take(source, sg.maximum(at, 0)).reshape(x.shape), x)


def masked_select(x: Any, mask: np.ndarray) -> Any:
    """With a constant mask the length is known."""
    shape = np.broadcast_shapes(x.type.shape, mask.shape)
    return sg.ravel(sg.broadcast_to(x, shape))[np.flatnonzero(np.broadcast_to(mask, shape))]


def plain(key: Any) -> Any:
    """Return an index with constant masks as the positions where they are true."""
    if isinstance(key, np.ndarray) and key.dtype.kind == "b":
        return np.nonzero(key)[0]
    return tuple(plain(k) for k in key) if isinstance(key, tuple) else key


def index_put(x: Any, key: Any, values: Any, accumulate: bool = False) -> Any:
    part = x[plain(key)]
    return sg.inc_subtensor(part, values) if accumulate else sg.set_subtensor(part, values)


def put(x: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    if 0 in index.type.shape:
        return x
    flat = sg.ravel(x)
    mode = "add" if accumulate else "set"
    return sg.index_put(flat, sg.ravel(index), sg.ravel(source), 0, mode).reshape(x.shape)


def unsafe_masked_index(x: Any, mask: Any, key: Any, fill: Any) -> Any:
    inside = [sg.where(mask, k, 0) for k in key]
    return sg.where(mask, x[tuple(inside)], fill)


def unsafe_masked_put(x: Any, mask: Any, key: Any, values: Any) -> Any:
    inside = [sg.where(mask, k, 0) for k in key]
    return sg.inc_subtensor(x[tuple(inside)], sg.where(mask, values, 0))


def part(x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def select(x: Any, dim: int, index: int) -> Any:
    return x[(slice(None),) * (dim % x.ndim) + (index,)]


def narrow(x: Any, dim: int, start: Any, length: int) -> Any:
    first = int(start) % max(x.type.shape[dim], 1) if int(start) < 0 else int(start)
    return part(x, dim, first, first + length)


def slice_scatter(x: Any, src: Any, dim: int = 0, *bounds: Any, **named: Any) -> Any:
    return sg.set_subtensor(part(x, dim, *bounds, **named), src)


def one_hot(x: Any, num_classes: int = -1) -> Any:
    return sg.one_hot(
        sg.as_tensor(x), num_classes if num_classes > 0 else int(x.max()) + 1, dtype="int64"
    )


def take_along_dim(x: Any, index: Any, dim: int | None = None) -> Any:
    if dim is None:
        return sg.take(sg.ravel(x), sg.ravel(index))
    return sg.take_along_axis(x, index, dim)


def nonzero_static(x: Any, size: int, fill_value: int = -1) -> Any:
    """Return the places of what is not 0, cut or filled up to a known number."""
    n = int(np.prod(x.type.shape))
    at = sg.sort(sg.where(sg.ne(sg.ravel(x), 0), np.arange(n), n))
    at = sg.concatenate([at, sg.full((size,), n, "int64")], 0)[:size]
    places = sg.unravel_index(sg.where(at < n, at, 0), x.type.shape) if n and x.ndim else []
    columns = [sg.where(at < n, p, fill_value) for p in places]
    return sg.stack(columns, -1) if columns else sg.full((size, x.ndim), fill_value, "int64")


GATHERS: dict[str, Row] = {
    "gather": gather,
    "take": lambda x, index: sg.take(sg.ravel(x), index),
    "take_along_dim": take_along_dim,
    "index_select": vectors(lambda x, dim, index: sg.index_select(x, index, dim)),
    "select": select,
    "slice": part,
    "narrow": Entry(narrow, arrays="i"),
    "narrow_copy": narrow,
    "__getitem__": Entry(lambda x, key: x[plain(key)], arrays="b"),
    "masked_select": Entry(masked_select, arrays="b"),
    "_unsafe_masked_index": unsafe_masked_index,
    "nn.functional.one_hot": Entry(one_hot, arrays="i"),
    "unravel_index": lambda index, shape: sg.unravel_index(index, sizes_of(shape)),
    "nonzero": DATA_LENGTH,
    "argwhere": DATA_LENGTH,
    "nonzero_static": nonzero_static,
}

SCATTERS: dict[str, Row] = {
    "scatter": scatter,
    "scatter_add": lambda x, dim, index, src: scatter(x, dim, index, src, "add"),
    **{f"scatter_reduce:{name}": scatter for name in START},
    "index_add": vectors(index_add),
    "index_copy": vectors(lambda x, dim, index, source: sg.index_put(x, index, source, dim)),
    "index_fill": vectors(lambda x, dim, index, value: sg.index_put(x, index, value, dim)),
    **{f"index_reduce:{name}": vectors(index_reduce) for name in ("mean", "prod", "amin", "amax")},
    "index_put": Entry(index_put, arrays="b"),
    "put": put,
    "_unsafe_masked_index_put_accumulate": unsafe_masked_put,
    "masked_fill": sg.masked_fill,
    "masked_scatter": masked_scatter,
    "select_scatter": lambda x, src, dim, index: sg.set_subtensor(select(x, dim, index), src),
    "slice_scatter": slice_scatter,
}


def sizes_of(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


INDEXING = GATHERS | SCATTERS
