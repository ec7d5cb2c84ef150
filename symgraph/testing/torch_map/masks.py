"""Operators of torch.masked: reductions and softmaxes of the elements where a mask is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph as sg
from symgraph.testing.torch_map.entry import Convention, Entry, Row
from symgraph.testing.torch_map.products import p_norm
from symgraph.testing.torch_map.reductions import axes, nanmedian


def kept(x: Any, mask: Any, other: Any) -> Any:
    """Return x with `other` where the mask is false."""
    return x if mask is None else sg.where(mask, x, other)


def everywhere(x: Any, mask: Any) -> Any:
    """Return the mask in the shape of x."""
    return sg.ones_like(x, "bool") if mask is None else sg.broadcast_to(mask, x.shape)


def where_any(y: Any, x: Any, mask: Any, dim: Any, keepdim: bool) -> Any:
    """Torch's checks put 0 where no element was left."""
    if mask is None:
        return y
    return sg.where(sg.any(everywhere(x, mask), axes(x, dim), keepdims=keepdim), y, 0)


def reduction(f: Callable[..., Any], start: float) -> Callable[..., Any]:
    def adapter(
        x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None, mask: Any = None
    ) -> Any:
        other = start
        if np.isinf(start) and not x.dtype.is_float:
            limits = np.iinfo(x.dtype.numpy)
            other = limits.min if start < 0 else limits.max
        y = f(kept(x, mask, other), axes(x, dim), keepdims=keepdim)
        return where_any(y, x, mask, dim, keepdim) if np.isinf(start) else y

    return adapter


def position(f: Callable[..., Any], start: float) -> Callable[..., Any]:
    """Return the adapter of argmax or argmin: torch gives floats."""
    find = reduction(f, start)
    return lambda x, *args, **options: sg.cast(find(x, *args, **options), x.dtype)


def norm(
    x: Any, ord: Any = 2.0, dim: Any = None, keepdim: bool = False, dtype: Any = None,
    mask: Any = None,
) -> Any:  # fmt: skip
    other = np.inf if ord < 0 else 0.0
    return where_any(p_norm(kept(x, mask, other), ord, dim, keepdim), x, mask, dim, keepdim)


def mean(
    x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    count = sg.sum(everywhere(x, mask), axes(x, dim), keepdims=keepdim)
    total = sg.sum(kept(x, mask, 0), axes(x, dim), keepdims=keepdim)
    return total / (count if mask is None else sg.maximum(count, 1))


def moment(root: bool) -> Callable[..., Any]:
    def adapter(
        x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False,
        correction: Any = None, dtype: Any = None, mask: Any = None,
    ) -> Any:  # fmt: skip
        less = correction if correction is not None else int(unbiased)
        count = sg.sum(everywhere(x, mask), axes(x, dim), keepdims=keepdim)
        apart = sg.abs2(x - mean(x, dim if x.ndim else None, True, mask=mask))
        total = sg.sum(kept(apart, mask, 0), axes(x, dim), keepdims=keepdim)
        value = total / sg.maximum(count - float(less), 0)
        value = sg.sqrt(value) if root else value
        value = sg.cast(value, x.dtype) if x.dtype.is_complex else value
        return where_any(value, x, mask, dim, keepdim)

    return adapter


def running(f: Callable[..., Any], start: float) -> Callable[..., Any]:
    return lambda x, dim, dtype=None, mask=None: kept(
        f(kept(x, mask, start), dim) if x.ndim else kept(x, mask, start), mask, 0
    )


def softmax(f: Callable[..., Any], sign: int = 1) -> Callable[..., Any]:
    def adapter(x: Any, dim: int, dtype: Any = None, mask: Any = None) -> Any:
        if x.ndim == 0:
            return adapter(x.reshape((1,)), 0, dtype, mask).reshape(())
        # finite, so that a row without elements has no NaN to spoil its derivative
        return kept(f(kept(sign * x, mask, -1e300), dim), mask, 0)

    return adapter


def median(x: Any, dim: int, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    value = nanmedian(kept(x, mask, np.nan), dim, keepdim)[0]
    return where_any(value, x, mask, dim, keepdim)


def normalize(
    x: Any, ord: float, dim: int, eps: float = 1e-12, dtype: Any = None, mask: Any = None
) -> Any:
    size = sg.maximum(norm(x, ord, dim, True, mask=mask), eps)
    return kept(kept(x, mask, 0) / size, mask, 0)


def logaddexp(
    x: Any, y: Any, dtype: Any = None, input_mask: Any = None, other_mask: Any = None
) -> Any:
    value = sg.logaddexp(kept(x, input_mask, -np.inf), kept(y, other_mask, -np.inf))
    return value if input_mask is None else kept(value, sg.logical_and(input_mask, other_mask), 0)


def logsumexp(
    x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    y = sg.logsumexp(kept(x, mask, -np.inf), axes(x, dim), keepdim)
    return where_any(y, x, mask, dim, keepdim)


SINGLE = "torch takes the number of elements less a fraction in float32"
MASKED: dict[str, Row] = {
    "masked.sum": reduction(sg.sum, 0),
    "masked.prod": reduction(sg.prod, 1),
    "masked.amax": reduction(sg.max, -np.inf),
    "masked.amin": reduction(sg.min, np.inf),
    "masked.argmax": position(sg.argmax, -np.inf),
    "masked.argmin": position(sg.argmin, np.inf),
    "masked.mean": mean,
    "masked.median": median,
    "masked.norm": norm,
    "masked.var": Entry(moment(False), loose=1e5, why=SINGLE),
    "masked.std": Entry(moment(True), loose=1e5, why=SINGLE),
    "masked.cumsum": running(sg.cumsum, 0),
    "masked.cumprod": running(sg.cumprod, 1),
    "masked.softmax": softmax(sg.softmax),
    "masked.log_softmax": softmax(sg.log_softmax),
    "masked.softmin": softmax(sg.softmax, -1),
    "masked.normalize": normalize,
    "masked.logaddexp": Entry(logaddexp, conventions=(Convention(
        "torch's second derivative of logaddexp at -inf is NaN, here it is 0", 2,
        lambda *args, input_mask=None, **options: input_mask is not None),)),
    "masked.logsumexp": logsumexp,
}  # fmt: skip
