"""Values of images at places between their elements, as torch's grid_sample."""

from __future__ import annotations

from typing import Any

import symgraph as sg
from symgraph.testing.torch_map.entry import Row

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


def grid_sample(
    x: Any, grid: Any, mode: Any = "bilinear", padding_mode: Any = "zeros",
    align_corners: bool | None = None,
) -> Any:  # fmt: skip
    """The inner operators of torch number the modes."""
    mode = MODES[mode] if isinstance(mode, int) else mode
    padding = PADDINGS[padding_mode] if isinstance(padding_mode, int) else padding_mode
    return sg.grid_sample(x, grid, mode, padding, bool(align_corners))


SAMPLED: dict[str, Row] = {
    "nn.functional.grid_sample": grid_sample,
    "grid_sampler_2d": grid_sample,
    "grid_sampler_3d": grid_sample,
}
