"""Views and arrangements: shapes, axes, joining, cutting, diagonals, padding by repetition."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

import symgraph as sg
from symgraph.testing.torch_map.entry import INTERNAL, STORAGE, Convention, Entry, Row, need


def sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Return a shape given as one tuple or as several numbers."""
    return tuple(shape[0]) if shape and isinstance(shape[0], (tuple, list)) else tuple(shape)


def expand(x: Any, *shape: Any) -> Any:
    wanted = sizes(shape)
    have = (1,) * (len(wanted) - x.ndim) + x.type.shape
    return sg.broadcast_to(x, [h if n == -1 else n for n, h in zip(wanted, have, strict=True)])


def sum_to_size(x: Any, *shape: Any) -> Any:
    wanted = sizes(shape)
    extra = x.ndim - len(wanted)
    y = sg.sum(x, tuple(range(extra)))
    return sg.sum(y, tuple(k for k, n in enumerate(wanted) if n == 1), keepdims=True)


def cut(x: Any, lengths: Sequence[int], dim: int = 0) -> Any:
    """Return consecutive parts of given lengths."""
    return sg.array_split(x, [int(k) for k in np.cumsum(lengths)[:-1]], dim)


def split(x: Any, size: Any, dim: int = 0) -> Any:
    """Return parts of `size` elements, the last one shorter; or of the sizes of a list."""
    n = x.type.shape[dim]
    if isinstance(size, int):
        size = [min(size, n - k) for k in range(0, n, size)]
    return cut(x, size, dim)


def chunk(x: Any, count: int, dim: int = 0) -> Any:
    return split(x, -(-x.type.shape[dim] // count), dim)


def tensor_split(x: Any, sections: Any, dim: int = 0) -> Any:
    return sg.array_split(x, np.asarray(sections).tolist(), dim)


def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    return sg.diagonal(sg.moveaxis(x, (dim1, dim2), (-2, -1)), offset)


def diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    n = x.type.shape[-1] + abs(offset)
    table = sg.zeros((*x.type.shape[:-1], n, n), x.dtype)
    return sg.moveaxis(_with_diagonal(table, x, offset), (-2, -1), (dim1, dim2))


def _with_diagonal(x: Any, values: Any, offset: int) -> Any:
    rows = np.arange(values.type.shape[-1]) + max(-offset, 0)
    return sg.set_subtensor(x[..., rows, rows + offset], values)


def diagonal_scatter(x: Any, values: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    table = sg.moveaxis(x, (dim1, dim2), (-2, -1))
    return sg.moveaxis(_with_diagonal(table, values, offset), (-2, -1), (dim1, dim2))


def combinations(x: Any, r: int = 2, with_replacement: bool = False) -> Any:
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    return x[np.array(list(choose(range(x.type.shape[0]), r)), "int64").reshape(-1, r)]


def cartesian_prod(*arrays: Any) -> Any:
    if len(arrays) == 1:
        return arrays[0]
    return sg.stack([sg.ravel(v) for v in sg.meshgrid(*arrays, indexing="ij")], -1)


def squeeze(x: Any, dim: Any = None) -> Any:
    """Torch leaves axes alone whose length is not 1."""
    axes = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return sg.squeeze(x, [a % x.ndim for a in axes if x.ndim and x.type.shape[a] == 1])


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if x.ndim == 0:
        return x.reshape((1,))
    shape, end = x.type.shape, end_dim % x.ndim + 1
    return x.reshape((*shape[:start_dim], int(np.prod(shape[start_dim:end])), *shape[end:]))


def unflatten(x: Any, dim: int, shape: Sequence[int]) -> Any:
    dim %= x.ndim
    return x.reshape((*x.type.shape[:dim], *shape, *x.type.shape[dim + 1 :]))


def each(f: Any) -> Any:
    """Return f for one array or for each of several."""
    return lambda x, *more: [f(v) for v in (*x, *more)] if isinstance(x, (list, tuple)) else f(x)


def cat(arrays: Sequence[Any], dim: int = 0) -> Any:
    need(len({a.ndim for a in arrays}) == 1, "torch leaves empty vectors out")
    return sg.concatenate(arrays, dim)


def swap(x: Any, a: int, b: int) -> Any:
    return sg.swapaxes(x, a, b) if x.ndim else x


def windows(x: Any, dim: int, size: int, step: int) -> Any:
    """Return the windows along an axis, their elements on a new last axis."""
    if x.ndim == 0:
        return x.reshape((1,))
    starts = np.arange(0, x.type.shape[dim] - size + 1, step)
    return sg.moveaxis(
        sg.take(x, starts[:, None] + np.arange(size), dim % x.ndim), dim % x.ndim + 1, -1
    )


def roll(x: Any, shifts: Any, dims: Any = None) -> Any:
    return sg.roll(x, shifts, None if dims in ((), []) else dims)


def strided(size: Sequence[int], stride: Sequence[int], offset: int) -> np.ndarray:
    """Return the positions of a strided view in the flattened array."""
    at = np.array(offset)
    for n, step in zip(size, stride, strict=True):
        at = at[..., None] + np.arange(n) * step
    return at


def as_strided(x: Any, size: Any, stride: Any, storage_offset: int = 0) -> Any:
    return sg.ravel(x)[strided(size, stride, storage_offset)]


def as_strided_scatter(x: Any, src: Any, size: Any, stride: Any, storage_offset: int = 0) -> Any:
    flat = sg.ravel(x)
    new = sg.set_subtensor(flat[strided(size, stride, storage_offset)], src)
    return new.reshape(x.type.shape)


def repeat_interleave(x: Any, repeats: Any, dim: int | None = None, output_size: Any = None) -> Any:
    if isinstance(repeats, int):
        return sg.repeat(x, repeats, dim)
    return sg.take(x, np.repeat(np.arange(len(repeats)), repeats), dim)


def identity(x: Any, *args: Any, **options: Any) -> Any:
    return x


SHAPES: dict[str, Row] = {
    "broadcast_to": sg.broadcast_to,
    "broadcast_tensors": sg.broadcast_arrays,
    "broadcast_shapes": INTERNAL,
    "expand": expand,
    "expand_copy": expand,
    "expand_as": lambda x, other: sg.broadcast_to(x, other.shape),
    "sum_to_size": sum_to_size,
    "reshape": sg.reshape,
    "view": lambda x, *shape: sg.reshape(x, sizes(shape)),
    "view_copy": lambda x, *shape: sg.reshape(x, sizes(shape)),
    "reshape_as": lambda x, other: sg.reshape(x, other.shape),
    "view_as": lambda x, other: sg.reshape(x, other.shape),
    "ravel": sg.ravel,
    "flatten": flatten,
    "unflatten": unflatten,
    "squeeze": squeeze,
    "squeeze:multiple": squeeze,
    "squeeze_copy": squeeze,
    "unsqueeze": sg.expand_dims,
    "unsqueeze_copy": sg.expand_dims,
    "atleast_1d": each(sg.atleast_1d),
    "atleast_2d": each(sg.atleast_2d),
    "atleast_3d": each(sg.atleast_3d),
    "permute": sg.permute_dims,
    "permute_copy": sg.permute_dims,
    "transpose": swap,
    "transpose_copy": swap,
    "movedim": sg.moveaxis,
    "T": lambda x: x.T,
    "t": lambda x: x.T,
    "t_copy": lambda x: x.T,
    "H": lambda x: sg.conj(x.T),
    "mT": lambda x: x.mT,
    "mH": lambda x: sg.conj(x.mT),
    "flip": lambda x, dims: sg.flip(x, axis=dims),
    "fliplr": sg.fliplr,
    "flipud": sg.flipud,
    "roll": roll,
    "rot90": sg.rot90,
    "tile": sg.tile,
    "repeat": lambda x, *reps: sg.tile(x, sizes(reps)),
    "repeat_interleave": Entry(repeat_interleave, arrays="i"),
    "unfold": windows,
    "unfold_copy": windows,
    "as_strided": as_strided,
    "as_strided_copy": as_strided,
    "as_strided_scatter": Entry(
        as_strided_scatter,
        conventions=(
            Convention(
                "torch 2.13 gives the derivative of the written places to what was overwritten", 1
            ),
        ),
    ),
    "as_strided:partial_views": STORAGE,
    "resize_": STORAGE,
    "resize_as_": STORAGE,
    **dict.fromkeys(("clone", "contiguous", "alias_copy"), identity),
}

JOINS: dict[str, Row] = {
    "cat": cat,
    "stack": sg.stack,
    "hstack": sg.hstack,
    "vstack": sg.vstack,
    "dstack": sg.dstack,
    "column_stack": sg.column_stack,
    "block_diag": sg.block_diag,
    "meshgrid:variadic_tensors": lambda *x, indexing: sg.meshgrid(*x, indexing=indexing),
    "meshgrid:list_of_tensors": lambda x, indexing: sg.meshgrid(*x, indexing=indexing),
    "combinations": combinations,
    "cartesian_prod": cartesian_prod,
    "chunk": chunk,
    "unsafe_chunk": chunk,
    "split": split,
    "split:list_args": split,
    "unsafe_split": split,
    "split_with_sizes": split,
    "split_with_sizes_copy": split,
    "tensor_split": Entry(tensor_split, arrays="i"),
    "hsplit": sg.hsplit,
    "vsplit": sg.vsplit,
    "dsplit": sg.dsplit,
    "unbind": sg.unstack,
    "unbind_copy": sg.unstack,
    "_chunk_cat": INTERNAL,
}

DIAGONALS: dict[str, Row] = {
    "diag": sg.diag,
    "diagflat": lambda x, offset=0: sg.diagflat(x, offset),
    "diagonal": diagonal,
    "diagonal_copy": diagonal,
    "linalg.diagonal": lambda x, offset=0, dim1=-2, dim2=-1: diagonal(x, offset, dim1, dim2),
    "diag_embed": diag_embed,
    "diagonal_scatter": diagonal_scatter,
    "tril": sg.tril,
    "triu": sg.triu,
}

SHAPING = SHAPES | JOINS | DIAGONALS
