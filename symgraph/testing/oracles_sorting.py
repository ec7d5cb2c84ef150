"""Independent oracles of sorting, searching and combining scatters: plain Python over elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

import numpy as np


def _nan(v: Any) -> bool:
    return isinstance(v, float) and math.isnan(v)


def _compare(a: Any, b: Any) -> int:
    if _nan(a) or _nan(b):
        return int(_nan(a)) - int(_nan(b))
    return int(a > b) - int(a < b)


def _argsort(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    out = np.empty(x.shape, np.int64)
    sign = -1 if p["descending"] else 1
    for at in np.ndindex(*x.shape[:-1]):
        row = [v.item() for v in x[at]]

        def order(i: int, j: int, row: list[Any] = row) -> int:
            return sign * _compare(row[i], row[j]) or i - j

        out[at] = sorted(range(len(row)), key=cmp_to_key(order))
    return out


def _search(p: dict[str, Any], a: np.ndarray, v: np.ndarray) -> np.ndarray:
    out = np.empty(v.shape, np.int64)
    for at in np.ndindex(*v.shape):
        row = [e.item() for e in a[at[: p["lead"]]]]
        limit = 1 if p["right"] else 0
        out[at] = sum(_compare(e, v[at].item()) < limit for e in row)
    return out


_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "max": max,
    "min": min,
    "prod": lambda a, b: a * b,
}


def _scatter_reduce(
    p: dict[str, Any], x: np.ndarray, y: np.ndarray, *indices: np.ndarray
) -> np.ndarray:
    out = x.astype(object)
    whole = np.broadcast_arrays(*indices)
    for at in np.ndindex(*whole[0].shape):
        row = tuple(int(i[at]) for i in whole)
        for rest in np.ndindex(*y.shape[len(at) :]):
            old, new = out[(*row, *rest)], y[(*at, *rest)].item()
            out[(*row, *rest)] = _COMBINE[p["mode"]](old, new)
    if x.dtype.kind in "iu":
        low, span = int(np.iinfo(x.dtype).min), 1 << (8 * x.dtype.itemsize)
        flat = [(int(v) - low) % span + low for v in out.ravel()]
        out = np.array(flat, object).reshape(out.shape)
    return out


SORTING: dict[str, Callable[..., Any]] = {
    "argsort": _argsort,
    "argsort_first": lambda p, x: _argsort(p, x)[..., : p["count"]],
    "searchsorted": _search,
    "scatter_reduce": _scatter_reduce,
}
