"""Convolutions, pooling, padding, windows, resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symgraph as sg
from symgraph.testing.torch_map.entry import INTERNAL, NONE_HERE, Convention, Entry, Row, need

F = "nn.functional."


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    """Return a number, or numbers, as one for each axis."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values * rank if len(values) == 1 else values


def batched(f: Callable[..., Any], rank: int) -> Callable[..., Any]:
    """Return f for images with or without the leading axis of a batch."""

    def adapter(x: Any, *args: Any, **options: Any) -> Any:
        if x.ndim == rank + 2:
            return f(x, *args, **options)
        return f(x[None], *args, **options)[0]

    return adapter


def with_bias(y: Any, bias: Any, rank: int) -> Any:
    return y if bias is None else y + bias.reshape((-1,) + (1,) * rank)


def conv(rank: int) -> Callable[..., Any]:
    f = getattr(sg, f"conv{rank}d")

    def adapter(
        x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1,
    ) -> Any:  # fmt: skip
        stride, dilation = per_axis(stride, rank), per_axis(dilation, rank)
        padding = padding if isinstance(padding, str) else per_axis(padding, rank)
        return with_bias(f(x, w, stride, padding, dilation, groups=groups), bias, rank)

    return batched(adapter, rank)


def conv_transpose(rank: int) -> Callable[..., Any]:
    f = getattr(sg, f"conv_transpose{rank}d")

    def adapter(
        x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        sizes = [per_axis(v, rank) for v in (stride, padding, output_padding, dilation)]
        return with_bias(f(x, w, *sizes, groups=groups), bias, rank)

    return batched(adapter, rank)


# -- pooling --------------------------------------------------------------------------------------
def places(n: int, window: int, stride: int, pad: int, up: bool) -> int:
    """Return how many windows there are; rounded up, the last one may begin with elements only."""
    over = n + 2 * pad - window
    count = (-(-over // stride) if up else over // stride) + 1
    return count - 1 if up and (count - 1) * stride >= n + pad else count


def around(x: Any, geometry: Any, value: float) -> Any:
    """Return images with the padding that all windows need."""
    widths = []
    for n, (k, step, pad, count) in zip(x.type.shape[2:], geometry, strict=True):
        widths.append((pad, max((count - 1) * step + k - n - pad, 0)))
    return sg.pad(x, [(0, 0), (0, 0), *widths], constant_values=value)


def geometry_of(x: Any, rank: int, window: Any, stride: Any, padding: Any, up: bool) -> Any:
    windows, pads = per_axis(window, rank), per_axis(padding, rank)
    strides = windows if stride in (None, (), []) else per_axis(stride, rank)
    return [
        (k, step, pad, places(n, k, step, pad, up))
        for n, k, step, pad in zip(x.type.shape[2:], windows, strides, pads, strict=True)
    ]


def max_pool(rank: int) -> Callable[..., Any]:
    f = getattr(sg, f"max_pool{rank}d")

    def adapter(
        x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        need(not return_indices, "the positions of maxima")
        stride = stride if stride not in ((), []) else None
        sizes = [per_axis(v, rank) for v in (kernel_size, padding, dilation)]
        steps = None if stride is None else per_axis(stride, rank)
        return f(x, sizes[0], steps, sizes[1], sizes[2], ceil_mode)

    return batched(adapter, rank)


def avg_pool(rank: int) -> Callable[..., Any]:
    f = getattr(sg, f"avg_pool{rank}d")

    def adapter(
        x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> Any:  # fmt: skip
        if not divisor_override:
            sizes, pads = per_axis(kernel_size, rank), per_axis(padding, rank)
            steps = None if stride in (None, (), []) else per_axis(stride, rank)
            return f(x, sizes, steps, pads, count_include_pad, ceil_mode)
        g = geometry_of(x, rank, kernel_size, stride, padding, ceil_mode)
        sizes = tuple(k for k, *_ in g)
        y = f(around(x, g, 0), sizes, tuple(step for _, step, *_ in g)) * float(np.prod(sizes))
        y = y[(slice(None), slice(None), *(slice(0, count) for *_, count in g))]
        return y / divisor_override

    return batched(adapter, rank)


def adaptive(name: str, rank: int) -> Callable[..., Any]:
    f = getattr(sg, f"adaptive_{name}_pool{rank}d")

    def adapter(x: Any, output_size: Any, return_indices: bool = False) -> Any:
        need(not return_indices, "the positions of maxima")
        sizes = per_axis(output_size, rank)
        own = x.type.shape[x.ndim - rank :]
        size = [n if m is None else m for m, n in zip(sizes, own, strict=True)]
        return f(x, size[0] if rank == 1 else tuple(size))

    return batched(adapter, rank)


def max_unpool(rank: int) -> Callable[..., Any]:
    def adapter(
        x: Any, index: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
        output_size: Any = None,
    ) -> Any:  # fmt: skip
        lead, lengths = x.type.shape[: x.ndim - rank], x.type.shape[x.ndim - rank :]
        windows, pads = per_axis(kernel_size, rank), per_axis(padding, rank)
        strides = windows if stride is None else per_axis(stride, rank)
        sizes = zip(lengths, windows, strides, pads, strict=True)
        out = [(n - 1) * step - 2 * pad + k for n, k, step, pad in sizes]
        out = out if output_size is None else list(output_size[-rank:])
        flat = [v.reshape((*lead, int(np.prod(lengths)))) for v in (x, index)]
        empty = sg.zeros((*lead, int(np.prod(out))), x.dtype)
        return sg.put_along_axis(empty, flat[1], flat[0], -1).reshape((*lead, *out))

    return adapter


def repeated(x: np.ndarray, index: np.ndarray, *args: Any, **options: Any) -> bool:
    """Tell whether two elements of an image come from the same place."""
    rank = len(options.get("output_size") or ()) - 2
    rows = index.reshape(*index.shape[: index.ndim - rank], -1) if rank > 0 else index
    return any(np.unique(r).size < r.size for r in rows.reshape(-1, rows.shape[-1]))


TWICE = Convention("two elements at one place: torch gives a derivative to both", 1, repeated)

# -- padding, windows, resizing -------------------------------------------------------------------
MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(x: Any, pads: Any, mode: str = "constant", value: float | None = None) -> Any:
    """Pairs are given from the last axis backwards; a negative number cuts."""
    pairs = list(zip(pads[::2], pads[1::2], strict=True))[::-1]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    grow = [(max(a, 0), max(b, 0)) for a, b in widths]
    if mode == "circular":  # torch cuts first there
        return sg.pad(_cut(x, widths), grow, mode="wrap")
    return _cut(sg.pad(x, grow, MODES[mode], value or 0), widths)


def _cut(x: Any, widths: Any) -> Any:
    sizes = zip(widths, x.type.shape, strict=True)
    return x[tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in sizes)]


def unfold(x: Any, window: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    sizes = [per_axis(v, 2) for v in (window, stride, padding, dilation)]
    return sg.unfold(x, *sizes)


def interpolate(
    x: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
) -> Any:  # fmt: skip
    if scale_factor is not None and recompute_scale_factor:
        factors = per_axis(scale_factor, x.ndim - 2)
        size = [int(n * s) for n, s in zip(x.type.shape[2:], factors, strict=True)]
    if size is not None:
        lengths = per_axis(size, x.ndim - 2)
        return sg.interpolate(x, size=lengths, mode=mode, align_corners=bool(align_corners))
    return sg.interpolate(x, scale=scale_factor, mode=mode, align_corners=bool(align_corners))


RESIZES = ("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area")

IMAGES: dict[str, Row] = {
    **{f"{F}conv{d}d": conv(d) for d in (1, 2, 3)},
    **{f"{F}conv_transpose{d}d": conv_transpose(d) for d in (1, 2, 3)},
    **{f"{F}max_pool{d}d": max_pool(d) for d in (1, 2, 3)},
    **{f"{F}avg_pool{d}d": avg_pool(d) for d in (1, 2, 3)},
    **{f"{F}adaptive_avg_pool{d}d": adaptive("avg", d) for d in (1, 2, 3)},
    **{f"{F}adaptive_max_pool{d}d": adaptive("max", d) for d in (1, 2, 3)},
    **{f"{F}max_unpool{d}d": Entry(max_unpool(d), conventions=(TWICE,)) for d in (1, 2, 3)},
    **{f"{F}max_unpool{d}d:grad": max_unpool(d) for d in (1, 2, 3)},
    "max_pool2d_with_indices_backward": INTERNAL,
    "constant_pad_nd": lambda x, pads, value=0: pad(x, pads, "constant", value),
    **{f"{F}pad:{mode}": pad for mode in (*MODES, "replicate_negative")},
    F + "unfold": unfold,
    **{f"{F}interpolate:{mode}": interpolate for mode in RESIZES},
    F + "upsample_nearest": interpolate,
    F + "upsample_bilinear": lambda x, **how: interpolate(
        x, mode="bilinear", align_corners=True, **how),
    "_upsample_bilinear2d_aa": NONE_HERE,
}  # fmt: skip
