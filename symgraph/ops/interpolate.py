"""Resizing of images: nearest, linear, cubic, area; each axis is resampled on its own.

Lengths must be known: positions and weights are constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.ops.pooling import adaptive_avg
from symgraph.ops.rows import as_float

MODES = ("nearest", "nearest-exact", "linear", "cubic", "area")
ALIASES = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}
CUBIC = -0.75  # the slope parameter of the usual cubic convolution
Sampling = list[tuple[np.ndarray, np.ndarray]]  # positions and weights of each tap


def _sources(n: int, m: int, scale: float | None, align_corners: bool) -> np.ndarray:
    """Return where in the old axis the new elements lie."""
    i = np.arange(m, dtype=np.float64)
    if align_corners:
        return i * ((n - 1) / (m - 1) if m > 1 else 0.0)
    step = n / m if scale is None else 1 / scale
    return np.asarray((i + 0.5) * step - 0.5)


def _linear(n: int, at: np.ndarray) -> Sampling:
    at = np.maximum(at, 0)
    low = np.minimum(np.floor(at).astype(np.int64), n - 1)
    share = np.clip(at - low, 0, 1)
    return [(low, 1 - share), (np.minimum(low + 1, n - 1), share)]


def _cubic(n: int, at: np.ndarray) -> Sampling:
    low = np.floor(at).astype(np.int64)
    t, a = at - low, CUBIC
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
        if not weight.any():
            continue
        part = o.take(x, place, axis) * weight.astype(x.dtype.numpy).reshape(shape)
        total = part if total is None else total + part
    return as_node(total)


def _nearest(n: int, m: int, scale: float | None, exact: bool) -> np.ndarray:
    step = n / m if scale is None else 1 / scale
    at = (np.arange(m) + (0.5 if exact else 0.0)) * step
    return np.asarray(np.minimum(np.floor(at).astype(np.int64), n - 1))


def _sizes(x: Node, size: Any, scale: Any, axes: Sequence[int]) -> list[tuple[int, float | None]]:
    """Return for each axis the new length and the scale that was asked for."""
    if (size is None) == (scale is None):
        raise ValueError("interpolate takes either size or scale")
    given = size if scale is None else scale
    values = [given] * len(axes) if np.ndim(given) == 0 else list(given)
    if len(values) != len(axes):
        raise ShapeError(f"{len(axes)} sizes are needed for `{describe(x)}` {x.type}, got {given}")
    result: list[tuple[int, float | None]] = []
    for axis, v in zip(axes, values, strict=True):
        n = x.type.shape[axis]
        if not isinstance(n, int) or n < 1:
            raise ShapeError(f"the length of axis {axis} of `{describe(x)}` {x.type} must be known")
        m = int(v) if scale is None else int(np.floor(n * float(v)))
        if m < 1:
            raise ShapeError(f"axis {axis} of `{describe(x)}` {x.type} would get {m} elements")
        result.append((m, None if scale is None else float(v)))
    return result


@function
def interpolate(
    x: Any, size: Any = None, scale: Any = None, mode: str = "nearest", align_corners: bool = False
) -> Node:
    """Return images (n, channels, *lengths) resized to `size`, or by the factor `scale`.

    Modes: "nearest" (element floor(i n / m)), "nearest-exact" (by the centres), "linear" (also
    called bilinear, trilinear), "cubic" (bicubic, by the convolution with a = -0.75; the ends are
    repeated), "area" (means). Elements are squares whose outer edges stay in place, or, with
    `align_corners`, points of which the first and last stay in place.
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
        n = int(node.type.shape[axis])
        if mode.startswith("nearest"):
            node = o.take(node, _nearest(n, m, factor, mode == "nearest-exact"), axis)
            continue
        if n == m:
            continue
        at = _sources(n, m, factor, align_corners)
        node = _resampled(node, axis, _linear(n, at) if mode == "linear" else _cubic(n, at))
    return node
