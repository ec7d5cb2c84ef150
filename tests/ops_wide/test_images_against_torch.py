"""Convolutions, pooling, resizing and windows against PyTorch: values and first derivatives."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.node import new_input

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
F = torch.nn.functional
RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


SEQUENCES, IMAGES = normal(2, 4, 11), normal(2, 4, 7, 9)
VOLUMES = normal(2, 4, 5, 6, 4)
Case = tuple[Callable[..., Any], Callable[..., Any], tuple[np.ndarray, ...]]


def same(ours: str, theirs: str, *arrays: np.ndarray, **options: Any) -> Case:
    return (
        lambda *x: getattr(sg, ours)(*x, **options),
        lambda *x: getattr(F, theirs)(*x, **options),
        arrays,
    )


def conv(rank: int, x: np.ndarray, w: np.ndarray, **options: Any) -> Case:
    return same(f"conv{rank}d", f"conv{rank}d", x, w, **options)


def transposed(rank: int, x: np.ndarray, w: np.ndarray, **options: Any) -> Case:
    name = f"conv_transpose{rank}d"
    return same(name, name, x, w, **options)


def pool(name: str, x: np.ndarray, *args: Any, **options: Any) -> Case:
    return (
        lambda v: getattr(sg, name)(v, *args, **options),
        lambda v: getattr(F, name)(v, *args, **options),
        (x,),
    )


def resized(x: np.ndarray, mode: str, align: bool | None = None, **size: Any) -> Case:
    theirs = {"scale_factor" if k == "scale" else k: v for k, v in size.items()}
    return (
        lambda v: sg.interpolate(v, mode=mode, align_corners=bool(align), **size),
        lambda v: F.interpolate(v, mode=mode, align_corners=align, **theirs),
        (x,),
    )


CASES: dict[str, Case] = {
    "conv1d": conv(1, SEQUENCES, normal(3, 4, 3)),
    "conv1d all": conv(
        1, SEQUENCES, normal(6, 2, 3), stride=2, padding=2, dilation=2, groups=2),
    "conv1d same": conv(1, SEQUENCES, normal(3, 4, 4), padding="same"),
    "conv3d": conv(3, VOLUMES, normal(3, 4, 2, 3, 2)),
    "conv3d all": conv(
        3, VOLUMES, normal(6, 2, 2, 2, 2), stride=(2, 1, 2), padding=(1, 2, 0),
        dilation=(2, 1, 1), groups=2),
    "conv3d one layer": conv(3, VOLUMES, normal(2, 4, 1, 3, 3), padding=(0, 1, 1)),
    "conv_transpose1d": transposed(1, SEQUENCES, normal(4, 3, 3)),
    "conv_transpose1d all": transposed(
        1, SEQUENCES, normal(4, 2, 3), stride=3, padding=1, output_padding=2, dilation=2, groups=2),
    "conv_transpose2d": transposed(2, IMAGES, normal(4, 3, 3, 2)),
    "conv_transpose2d all": transposed(
        2, IMAGES, normal(4, 2, 3, 3), stride=(2, 3), padding=(1, 0), output_padding=(1, 2),
        groups=2),
    "conv_transpose3d": transposed(3, VOLUMES, normal(4, 2, 2, 3, 2)),
    "conv_transpose3d all": transposed(
        3, VOLUMES, normal(4, 3, 3, 2, 2), stride=(2, 1, 2), padding=(1, 1, 0),
        output_padding=(1, 0, 1), dilation=(1, 2, 1), groups=2),
    "depthwise": (
        lambda x, w: sg.depthwise_conv2d(x, w, padding=1, dilation=2),
        lambda x, w: F.conv2d(x, w.reshape(8, 1, 3, 3), padding=1, dilation=2, groups=4),
        (IMAGES, normal(4, 2, 3, 3))),
    "max_pool1d": pool("max_pool1d", SEQUENCES, 3, 2, 1),
    "max_pool1d apart": pool("max_pool1d", SEQUENCES, 3, 2, 1, dilation=2),
    "max_pool1d to the end": pool("max_pool1d", SEQUENCES, 3, 2, 1, 1, True),
    "max_pool3d apart": pool("max_pool3d", VOLUMES, 2, 1, 1, (2, 1, 2), ceil_mode=True),
    "avg_pool1d to the end": pool("avg_pool1d", SEQUENCES, 3, 2, 1, ceil_mode=True),
    "avg_pool3d to the end": pool("avg_pool3d", VOLUMES, 2, (3, 2, 2), 1, ceil_mode=True),
    "max_pool3d": pool("max_pool3d", VOLUMES, (2, 3, 2), (2, 1, 1), (1, 1, 0)),
    "avg_pool1d": pool("avg_pool1d", SEQUENCES, 4, 3, 1),
    "avg_pool3d": pool("avg_pool3d", VOLUMES, 2, None, 1),
    "avg_pool3d of elements to the end": (
        lambda v: sg.avg_pool3d(v, 2, 3, 1, include_pad=False, ceil_mode=True),
        lambda v: F.avg_pool3d(v, 2, 3, 1, ceil_mode=True, count_include_pad=False), (VOLUMES,)),
    "avg_pool3d of elements": (
        lambda v: sg.avg_pool3d(v, (2, 3, 2), 1, (1, 1, 0), include_pad=False),
        lambda v: F.avg_pool3d(v, (2, 3, 2), 1, (1, 1, 0), count_include_pad=False), (VOLUMES,)),
    "lp_pool1d": (
        lambda v: sg.lp_pool1d(v, 3, 2, 3), lambda v: F.lp_pool1d(v.abs(), 3, 2, 3), (SEQUENCES,)),
    "lp_pool2d": (
        lambda v: sg.lp_pool2d(v, 2, (3, 2)), lambda v: F.lp_pool2d(v, 2, (3, 2)), (IMAGES,)),
    **{f"adaptive {kind} {m}": pool(f"adaptive_{kind}_pool1d", SEQUENCES, m)
       for kind in ("avg", "max") for m in (1, 4, 11, 17)},
    **{f"adaptive {kind} images": pool(f"adaptive_{kind}_pool2d", IMAGES, (3, 5))
       for kind in ("avg", "max")},
    "adaptive avg volumes": pool("adaptive_avg_pool3d", VOLUMES, (2, 4, 3)),
    **{f"resize {mode} {size}": resized(IMAGES, mode, size=size)
       for mode in ("nearest", "nearest-exact", "area") for size in ((14, 5), (3, 9))},
    "resize nearest by a factor": resized(IMAGES, "nearest", scale=1.7),
    **{f"resize {mode} {align} {size}": resized(IMAGES, mode, align, size=size)
       for mode in ("bilinear", "bicubic") for align in (False, True)
       for size in ((14, 20), (3, 4), (1, 9))},
    "resize bilinear by a factor": resized(IMAGES, "bilinear", False, scale=(2.3, 0.6)),
    "resize linear": resized(SEQUENCES, "linear", False, size=25),
    "resize trilinear": resized(VOLUMES, "trilinear", True, size=(3, 8, 4)),
    "pixel_shuffle": pool("pixel_shuffle", IMAGES, 2),
    "pixel_unshuffle": pool("pixel_unshuffle", normal(2, 3, 6, 4), 2),
}  # fmt: skip
for MODE, PADDING, ALIGN in itertools.product(
    ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)
):
    OPTIONS = {"mode": MODE, "padding_mode": PADDING, "align_corners": ALIGN}
    for X, SIZES in ((IMAGES, (3, 5)), (VOLUMES, (2, 3, 2))):
        NAME = f"grid_sample {len(SIZES)} {MODE} {PADDING} {ALIGN}"
        GRID = RNG.uniform(-1.7, 1.7, (2, *SIZES, len(SIZES)))
        if MODE == "nearest":  # no derivative by the grid
            CASES[NAME] = (
                lambda x, g=GRID, options=OPTIONS: sg.grid_sample(x, g, **options),
                lambda x, g=GRID, options=OPTIONS: F.grid_sample(x, torch.tensor(g), **options),
                (X,))
        elif MODE == "bilinear" or X is IMAGES:
            CASES[NAME] = same("grid_sample", "grid_sample", X, GRID, **OPTIONS)
for ALIGN in (False, True):
    CASES[f"affine_grid {ALIGN}"] = same(
        "affine_grid", "affine_grid", normal(2, 2, 3), size=(2, 3, 5, 4), align_corners=ALIGN)
    CASES[f"affine_grid volumes {ALIGN}"] = same(
        "affine_grid", "affine_grid", normal(2, 3, 4), size=(2, 3, 2, 1, 4), align_corners=ALIGN)
CASES["unfold"] = (
    lambda v: sg.unfold(v, (2, 3), (2, 1), 1, (2, 1)),
    lambda v: F.unfold(v, (2, 3), stride=(2, 1), padding=1, dilation=(2, 1)), (IMAGES,))
CASES["fold"] = (
    lambda v: sg.fold(v, (7, 9), (2, 3), (2, 1), 1),
    lambda v: F.fold(v, (7, 9), (2, 3), stride=(2, 1), padding=1), (normal(2, 12, 36),))


@pytest.mark.parametrize("name", sorted(CASES))
def test_value_and_derivative(name: str) -> None:
    ours, theirs, arrays = CASES[name]
    inputs = [new_input("float64", a.shape, f"x{k}") for k, a in enumerate(arrays)]
    node = ours(*inputs)
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    expected = theirs(*tensors)
    weights = RNG.normal(size=tuple(expected.shape))
    (expected * torch.tensor(weights)).sum().backward()
    cost = (node * weights).sum()
    value, *gradients = sg.function(inputs, [node, *sg.grad(cost, inputs)])(*arrays)
    assert node.type.shape == value.shape == tuple(expected.shape)
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    for g, t in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(g, t.grad.numpy(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", sorted(CASES))
def test_forward_mode_and_second_derivative(name: str) -> None:
    """Forward mode against reverse mode, and a Hessian product against differences of gradients."""
    ours, _, arrays = CASES[name]
    inputs = [new_input("float64", a.shape, f"x{k}") for k, a in enumerate(arrays)]
    us = [new_input("float64", a.shape, f"u{k}") for k, a in enumerate(arrays)]
    node = ours(*inputs)
    cost = (sg.square(node) * RNG.normal(size=node.type.shape)).sum()
    gradients = sg.grad(cost, inputs)
    f = sg.function(
        [*inputs, *us], [sg.Rop(cost, inputs, us), *gradients, *sg.Rop(gradients, inputs, us)]
    )
    steps = [RNG.normal(size=a.shape) for a in arrays]
    forward, *rest = f(*arrays, *steps)
    n = len(arrays)
    reverse = sum(float((g * u).sum()) for g, u in zip(rest, steps, strict=False))
    assert abs(forward - reverse) < 1e-9 * (1 + abs(reverse))
    h = 1e-5
    ends = [
        f(*(a + sign * h * u for a, u in zip(arrays, steps, strict=True)), *steps)[1 : 1 + n]
        for sign in (1, -1)
    ]
    for second, a, b in zip(rest[n:], *ends, strict=True):
        scale = np.abs(second).max() + 1
        assert np.abs((a - b) / (2 * h) - second).max() < 1e-5 * scale


def test_pooled_sizes_of_unknown_lengths_are_rounded_as_torch_does() -> None:
    x = sg.tensor("x", (1, None, None), "float64")
    pooled = [sg.max_pool2d(x, 3, 2, 1, 2, True), sg.avg_pool2d(x, 3, 2, 1, True, True)]
    f = sg.function([x], pooled, shapes="generic")
    for sizes in ((5, 6), (7, 5), (8, 9), (6, 6)):
        image = np.random.default_rng(1).normal(size=(1, *sizes))
        t = torch.tensor(image)
        largest, mean = f(image)
        assert np.array_equal(largest, F.max_pool2d(t, 3, 2, 1, 2, True).numpy())
        assert np.allclose(mean, F.avg_pool2d(t, 3, 2, 1, True, True).numpy())


@pytest.mark.parametrize("shapes", ["exact", "auto", "generic"])
def test_windows_without_elements_are_refused(shapes: Any) -> None:
    with pytest.raises(ValueError, match="without any element"):
        sg.max_pool2d(sg.tensor("x", (4, 4), "float64"), 2, 1, 2)
    with pytest.raises(sg.ShapeError, match="steps over an axis of length 1"):
        sg.max_pool2d(sg.tensor("x", (1, 4), "float64"), 2, 1, 1, 2)
    x = sg.tensor("x", (None, 4), "float64")
    f = sg.function([x], sg.max_pool2d(x, 2, 1, 1, 2), shapes=shapes)
    with pytest.raises(sg.ShapeError):
        f(np.zeros((1, 4)))
    assert f(np.zeros((2, 4))).shape == (2, 4)


RESIZED: dict[str, tuple[Any, Any]] = {
    **{mode: (lambda v, m=mode: sg.interpolate(v, size=(5, 7), mode=m),
              lambda v, m=mode: F.interpolate(v, size=(5, 7), mode=m))
       for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")},
    **{f"{mode} corners": (
        lambda v, m=mode: sg.interpolate(v, scale=1.5, mode=m, align_corners=True),
        lambda v, m=mode: F.interpolate(v, scale_factor=1.5, mode=m, align_corners=True))
       for mode in ("bilinear", "bicubic")},
    "nearest half": (lambda v: sg.interpolate(v, scale=0.5),
                     lambda v: F.interpolate(v, scale_factor=0.5)),
    "adaptive_avg": (lambda v: sg.adaptive_avg_pool2d(v, (3, 4)),
                     lambda v: F.adaptive_avg_pool2d(v, (3, 4))),
    "adaptive_max": (lambda v: sg.adaptive_max_pool2d(v, (3, 4)),
                     lambda v: F.adaptive_max_pool2d(v, (3, 4))),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(RESIZED))
def test_images_of_unknown_sizes_are_resized(name: str, dtype: str) -> None:
    ours, theirs = RESIZED[name]
    x = sg.tensor("x", (1, 2, None, None), dtype)
    y = ours(x)
    f = sg.function([x], [y, sg.grad((y**2).sum(), x)], shapes="generic")
    limit = 1e-12 if dtype == "float64" else 2e-5
    for sizes in ((6, 9), (4, 4), (2, 11)):
        image = np.random.default_rng(2).normal(size=(1, 2, *sizes)).astype(dtype)
        t = torch.tensor(image, requires_grad=True)
        expected = theirs(t)
        (expected**2).sum().backward()
        value, g = f(image)
        assert value.dtype == g.dtype == dtype
        assert np.allclose(value, expected.detach().numpy(), rtol=limit, atol=limit)
        assert np.allclose(g, t.grad.numpy(), rtol=limit, atol=limit)


def test_scales_that_no_unknown_length_can_have_are_refused() -> None:
    x = sg.tensor("x", (1, 2, None), "float64")
    with pytest.raises(sg.ShapeError, match="needs known lengths"):
        sg.interpolate(x, scale=0.3)


WINDOWED: dict[str, tuple[Any, tuple[int, ...]]] = {
    "conv1d": (lambda x: sg.conv1d(x, np.ones((1, 1, 5))), (1, 1, 8)),
    "conv2d": (lambda x: sg.conv2d(x, np.ones((1, 1, 5, 2))), (1, 1, 8, 8)),
    "conv3d": (lambda x: sg.conv3d(x, np.ones((1, 1, 5, 2, 2))), (1, 1, 8, 4, 4)),
    "max_pool2d": (lambda x: sg.max_pool2d(x, 5, 1), (1, 1, 8, 8)),
    "avg_pool3d": (lambda x: sg.avg_pool3d(x, (5, 2, 2), 1), (1, 8, 4, 4)),
    "unfold": (lambda x: sg.unfold(x, (5, 2)), (1, 1, 8, 8)),
}


@pytest.mark.parametrize("shapes", ["auto", "generic"])
@pytest.mark.parametrize("name", sorted(WINDOWED))
def test_images_shorter_than_a_window_are_refused_by_compiled_versions(
    name: str, shapes: Any
) -> None:
    build, sizes = WINDOWED[name]
    axis = 1 if name == "avg_pool3d" else 2
    x = sg.tensor("x", tuple(None if k == axis else n for k, n in enumerate(sizes)), "float64")
    y = build(x)
    for result in (y, sg.grad(sg.sum(y**2), x)):
        f = sg.function([x], result, shapes=shapes)
        for n in (5, 6, 7, 8, 9):
            f(np.ones((*sizes[:axis], n, *sizes[axis + 1 :])))
        for n in (3, 1):  # of one element too few, slices of `unfold` and `conv3d` are empty
            with pytest.raises(sg.ShapeError):
                f(np.ones((*sizes[:axis], n, *sizes[axis + 1 :])))
