"""Resizing of images: nearest, linear, cubic, area; each axis is resampled on its own.

Positions and weights are constants where the lengths are known; else they are computed by the same
formulas, which NumPy's functions make graph of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.ops.base import Size
from symgraph.ops.pooling import adaptive_avg, count, length_of
from symgraph.ops.rows import as_float

MODES = ("nearest", "nearest-exact", "linear", "cubic", "area")
ALIASES = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}
MOST_UNDER = 2**10  # denominators of factors that lengths known at run time are multiplied by
CUBIC = -0.75  # the slope parameter of the usual cubic convolution
Sampling = list[tuple[Any, Any]]  # positions and weights of each tap: arrays or nodes


def _real(n: Any) -> Any:
    return o.cast(n, "float64") if isinstance(n, Node) else float(n)


def _sources(n: Any, m: Size, scale: float | None, align_corners: bool) -> Any:
    """Return where in the old axis the new elements lie."""
    i = count(m).astype("float64")
    if align_corners:  # the one element of m = 1 lies at 0
        return i * ((_real(n) - 1) / np.maximum(_real(length_of(m)) - 1, 1.0))
    step = _real(n) / _real(length_of(m)) if scale is None else 1 / scale
    return (i + 0.5) * step - 0.5


def _linear(n: Any, at: Any) -> Sampling:
    at = np.maximum(at, 0.0)
    low = np.minimum(np.floor(at).astype("int64"), n - 1)
    share = np.clip(at - low.astype("float64"), 0.0, 1.0)
    return [(low, 1 - share), (np.minimum(low + 1, n - 1), share)]


def _cubic(n: Any, at: Any) -> Sampling:
    low = np.floor(at).astype("int64")
    t, a = at - low.astype("float64"), CUBIC
    taps = []
    for k in (-1, 0, 1, 2):
        d = np.abs(t - k)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        taps.append((np.clip(low + k, 0, n - 1), np.where(d <= 1, near, far)))
    return taps


def _resampled(x: Node, axis: int, taps: Sampling) -> Node:
    shape = tuple(-1 if k == axis else 1 for k in range(x.ndim))
    total: Any = None
    for place, weight in taps:
        if isinstance(weight, np.ndarray) and not weight.any():
            continue
        part = o.take(x, place, axis) * weight.astype(x.dtype.numpy).reshape(shape)
        total = part if total is None else total + part
    return as_node(total)


def _nearest(n: Any, m: Size, scale: float | None, exact: bool) -> Any:
    step = _real(n) / _real(length_of(m)) if scale is None else 1 / scale
    at = (count(m).astype("float64") + (0.5 if exact else 0.0)) * step
    return np.minimum(np.floor(at).astype("int64"), n - 1)


def _sizes(x: Node, size: Any, scale: Any, axes: Sequence[int]) -> list[tuple[Size, float | None]]:
    """Return for each axis the new length and the scale that was asked for."""
    if (size is None) == (scale is None):
        raise ValueError("interpolate takes either size or scale")
    given = size if scale is None else scale
    values = [given] * len(axes) if np.ndim(given) == 0 else list(given)
    if len(values) != len(axes):
        raise ShapeError(f"{len(axes)} sizes are needed for `{describe(x)}` {x.type}, got {given}")
    result: list[tuple[Size, float | None]] = []
    for axis, v in zip(axes, values, strict=True):
        n: Size = x.type.shape[axis]
        m = int(v) if scale is None else _scaled(x, axis, float(v))
        if n == 0 or (isinstance(m, int) and m < 1):
            raise ShapeError(f"axis {axis} of `{describe(x)}` {x.type} cannot get {m} elements")
        result.append((m, None if scale is None else float(v)))
    return result


def _scaled(x: Node, axis: int, scale: float) -> Size:
    """Return floor(n * scale), of an unknown length n for factors like 2, 1 / 2 and 1.5."""
    n: Size = x.type.shape[axis]
    if isinstance(n, int):
        return int(np.floor(n * scale))
    over, under = scale.as_integer_ratio()
    if under > MOST_UNDER:
        raise ShapeError(
            f"interpolate by {scale} needs known lengths, that of axis {axis} of `{describe(x)}` "
            f"{x.type}, made at {x.source}, is not\n"
            "  mend:   interpolate(x, size=...), or give the variable its shape"
        )
    return n * over // under


@function
def interpolate(
    x: Any, size: Any = None, scale: Any = None, mode: str = "nearest", align_corners: bool = False
) -> Node:
    """Return images (n, channels, *lengths) resized to `size`, or by the factor `scale`.

    Modes: "nearest" (element floor(i n / m)), "nearest-exact" (by the centres), "linear" (also
    called bilinear, trilinear), "cubic" (bicubic, by the convolution with a = -0.75; the ends are
    repeated), "area" (means). Elements are squares whose outer edges stay in place, or, with
    `align_corners`, points of which the first and last stay in place. Of lengths known at run time
    only, scales are multiples of 1 / 1024, and "area" needs a size.
    """
    node, mode = as_node(x), ALIASES.get(mode, mode)
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join((*MODES, *ALIASES))}; got {mode!r}")
    if node.ndim < 3:
        raise ShapeError(
            f"interpolate needs (n, channels, *lengths), `{describe(node)}` is {node.type}"
        )
    axes = range(2, node.ndim)
    wanted = _sizes(node, size, scale, axes)
    if mode == "area":
        return adaptive_avg(node, [m for m, _ in wanted], len(axes))
    if not mode.startswith("nearest"):
        node = as_float(node)
    for axis, (m, factor) in zip(axes, wanted, strict=True):
        n = length_of(node.type.shape[axis])
        if mode.startswith("nearest"):
            node = o.take(node, _nearest(n, m, factor, mode == "nearest-exact"), axis)
            continue
        if isinstance(n, int) and n == m:
            continue
        at = _sources(n, m, factor, align_corners)
        node = _resampled(node, axis, _linear(n, at) if mode == "linear" else _cubic(n, at))
    return node
