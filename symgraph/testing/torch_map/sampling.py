"""Values of images at places between their elements, as torch's grid_sample."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

import symgraph as sg
from symgraph.testing.torch_map.entry import Row, need

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


def position(u: Any, n: int, align: bool) -> Any:
    """Return the position among n elements that u in [-1, 1] stands for."""
    return (u + 1) / 2 * (n - 1) if align else ((u + 1) * n - 1) / 2


def folded(at: Any, n: int, padding: str, align: bool) -> Any:
    """Return positions beyond the ends moved inside, as the padding says."""
    if padding == "zeros":
        return at
    if padding == "reflection":
        low, high = (0.0, n - 1.0) if align else (-0.5, n - 0.5)
        if high == low:
            return sg.zeros_like(at)
        span = high - low
        apart = sg.abs(at - low)
        turns = sg.floor(apart / span)
        rest = apart - turns * span
        at = sg.where(sg.eq(turns % 2, 0), low + rest, high - rest)
    return sg.clip(at, 0, n - 1)


def element(x: Any, places: list[Any]) -> Any:
    """Return x at integer places, one array (batch, ...) per axis; 0 outside."""
    rank, lengths = len(places), x.type.shape[2:]
    inside: Any = True
    safe = []
    for at, n in zip(places, lengths, strict=True):
        whole = sg.cast(at, "int64")
        fits = (whole >= 0) & (whole < n)
        inside = fits if inside is True else inside & fits
        safe.append(sg.where(fits, whole, 0))
    batch = np.arange(x.type.shape[0]).reshape((-1,) + (1,) * rank)
    found = sg.moveaxis(x, 1, -1)[(batch, *safe)]
    return sg.moveaxis(sg.where(inside[..., None], found, 0), -1, 1)


def grid_sample(
    x: Any, grid: Any, mode: Any = "bilinear", padding_mode: Any = "zeros",
    align_corners: bool | None = None,
) -> Any:  # fmt: skip
    """Return x (n, c, *lengths) at the places grid (n, *sizes, rank), last axis of x first."""
    mode = MODES[mode] if isinstance(mode, int) else mode
    padding = PADDINGS[padding_mode] if isinstance(padding_mode, int) else padding_mode
    need(mode != "bicubic", "bicubic samples of a grid")
    lengths, align = x.type.shape[2:], bool(align_corners)
    rank = len(lengths)
    at = [
        folded(position(grid[..., rank - 1 - k], n, align), n, padding, align)
        for k, n in enumerate(lengths)
    ]
    if mode == "nearest":
        return element(x, [sg.rint(v) for v in at])
    low = [sg.floor(v) for v in at]
    share = [v - a for v, a in zip(at, low, strict=True)]
    total: Any = 0
    for corner in product((0, 1), repeat=rank):
        weight: Any = 1
        for up, s in zip(corner, share, strict=True):
            weight = weight * (s if up else 1 - s)
        value = element(x, [a + up for a, up in zip(low, corner, strict=True)])
        total = total + value * weight[:, None]
    return total


SAMPLED: dict[str, Row] = {
    "nn.functional.grid_sample": grid_sample,
    "grid_sampler_2d": grid_sample,
    "grid_sampler_3d": grid_sample,
}
