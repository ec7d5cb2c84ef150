"""The four networks of convnet-benchmarks: AlexNet, OverFeat (fast), VGG-A and GoogLeNet.

A network is a list of layers on images, then dense layers with rectifiers between them. Each
convolution has a bias and a rectifier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.nets import Input, Net, Values, dense_params

CLASSES = 1000


@dataclass(frozen=True, slots=True)
class Conv:
    """`filters` of `size` by `size`."""

    filters: int
    size: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """Maxima of windows of `size` by `size`."""

    size: int
    stride: int
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of each channel."""


@dataclass(frozen=True, slots=True)
class Inception:
    """Four branches side by side (Szegedy et al. 2015), each a list of layers."""

    branches: tuple[tuple[Layer, ...], ...]


Layer = Conv | Pool | Mean | Inception


def inception(one: int, less3: int, three: int, less5: int, five: int, pooled: int) -> Inception:
    """Return the block with so many filters: 1x1, 3x3 and 5x5 after fewer channels, and pooling."""
    return Inception((
        (Conv(one, 1),),
        (Conv(less3, 1), Conv(three, 3, 1, 1)),
        (Conv(less5, 1), Conv(five, 5, 1, 2)),
        (Pool(3, 1, 1), Conv(pooled, 1)),
    ))  # fmt: skip


def same(*filters: int) -> tuple[Conv, ...]:
    """Return convolutions 3x3 that keep the size of the image."""
    return tuple(Conv(n, 3, 1, 1) for n in filters)


ALEXNET = (
    *(Conv(64, 11, 4, 2), Pool(3, 2), Conv(192, 5, 1, 2), Pool(3, 2)),
    *(*same(384, 256, 256), Pool(3, 2)),
)
OVERFEAT = (
    *(Conv(96, 11, 4), Pool(2, 2), Conv(256, 5), Pool(2, 2)),
    *(*same(512, 1024, 1024), Pool(2, 2)),
)
HALF = Pool(2, 2)
VGG_A = (
    *(*same(64), HALF, *same(128), HALF, *same(256, 256), HALF),
    *(*same(512, 512), HALF, *same(512, 512), HALF),
)
GOOGLENET = (
    *(Conv(64, 7, 2, 3), Pool(3, 2, 1), Conv(64, 1), Conv(192, 3, 1, 1), Pool(3, 2, 1)),
    *(inception(64, 96, 128, 16, 32, 32), inception(128, 128, 192, 32, 96, 64), Pool(3, 2, 1)),
    *(inception(192, 96, 208, 16, 48, 64), inception(160, 112, 224, 24, 64, 64)),
    *(inception(128, 128, 256, 24, 64, 64), inception(112, 144, 288, 32, 64, 64)),
    *(inception(256, 160, 320, 32, 128, 128), Pool(3, 2, 1)),
    *(inception(256, 160, 320, 32, 128, 128), inception(384, 192, 384, 48, 128, 128), Mean()),
)


def _shapes(
    layers: Sequence[Layer], channels: int, size: int, name: str = ""
) -> tuple[dict[str, Values], int, int]:
    """Return the parameters of layers, and the channels and the size of the image behind them."""
    params: dict[str, Values] = {}
    for k, layer in enumerate(layers):
        if isinstance(layer, Conv):
            rows = channels * layer.size**2
            shape = (layer.filters, channels, layer.size, layer.size)
            params[f"f{name}{k}"] = Values(shape, math.sqrt(2 / rows))
            params[f"c{name}{k}"] = Values((layer.filters,))
            channels = layer.filters
        if isinstance(layer, Conv | Pool):
            size = (size + 2 * layer.padding - layer.size) // layer.stride + 1
        elif isinstance(layer, Mean):
            size = 1
        else:
            parts = [
                _shapes(branch, channels, size, f"{name}{k}.{b}.")
                for b, branch in enumerate(layer.branches)
            ]
            params |= {key: v for part, _, _ in parts for key, v in part.items()}
            channels = sum(n for _, n, _ in parts)
    return params, channels, size


def convnet(
    layers: Sequence[Layer], image: int, batch: int, dense: Sequence[int], classes: int = CLASSES
) -> Net:
    """Return the network for square images of three channels; `dense` are hidden widths."""
    params, channels, size = _shapes(layers, 3, image)
    widths = (channels * size * size, *dense, classes)
    params |= dense_params(*widths)
    inputs = {"x": Input((batch, 3, image, image)), "targets": Input((batch,), classes)}
    sizes = {"layers": len(widths) - 1}
    return Net("convnet", "sgd_slow", params, inputs, sizes, tuple(layers))


CONVNETS = {
    "alexnet": ("AlexNet, batch 4", convnet(ALEXNET, 227, 4, (4096, 4096))),
    "overfeat": ("OverFeat (fast), batch 4", convnet(OVERFEAT, 231, 4, (3072, 4096))),
    "vgg_a": ("VGG-A, batch 2", convnet(VGG_A, 224, 2, (4096, 4096))),
    "googlenet": ("GoogLeNet, batch 4", convnet(GOOGLENET, 224, 4, ())),
}
