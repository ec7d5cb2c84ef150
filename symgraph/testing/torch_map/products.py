"""Products of matrices and tensors, norms and distances."""

from __future__ import annotations

from typing import Any

import numpy as np

import symgraph as sg
from symgraph.testing.torch_map.entry import SPARSE, Convention, Entry, Row, need
from symgraph.testing.torch_map.reductions import axes

AT_ZERO = "the derivative of a norm at 0: torch takes 0, here it is that of the formula (NaN)"


def affine(x: Any, product: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    return beta * x + alpha * product


def cross(x: Any, y: Any, dim: int | None = None) -> Any:
    x, y = sg.broadcast_arrays(x, y)
    return sg.cross(x, y, x.type.shape.index(3) if dim is None else dim)


def vander(x: Any, N: int | None = None) -> Any:  # noqa: N803
    x = sg.atleast_1d(x)
    n = x.type.shape[-1] if N is None else N
    return sg.concatenate(
        [sg.ones((*x.type.shape, 1), x.dtype), sg.cumprod(_repeated(x, n - 1), -1)], -1
    )


def _repeated(x: Any, n: int) -> Any:
    return sg.broadcast_to(x[..., None], (*x.type.shape, n))


def tensordot(x: Any, y: Any, dims: Any) -> Any:
    if not isinstance(dims, int):
        pairs = zip(*dims, strict=True)
        same = all(x.type.shape[a] == y.type.shape[b] for a, b in pairs)
        need(same, "torch broadcasts summed axes of length 1, NumPy refuses that")
    return sg.tensordot(x, y, dims)


def einsum(arrays: Any, text: str) -> Any:
    dropped = "..." in text and "..." not in text.rsplit("->", maxsplit=1)[-1]
    need(not dropped, "torch sums over the axes of `...` where the result has none, NumPy refuses")
    return sg.einsum(text, *arrays)


# -- norms ----------------------------------------------------------------------------------------
def p_norm(x: Any, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """Return the p-norm of all elements along some axes."""
    x = x if dtype is None else sg.cast(x, dtype)
    if x.ndim == 0:
        return sg.norm(x.reshape((1,)), p, 0)
    every = axes(x, dim)
    own = range(x.ndim) if every is None else [every] if isinstance(every, int) else every
    own = sorted(a % x.ndim for a in own)
    rest = [k for k in range(x.ndim) if k not in own]
    length = int(np.prod([x.type.shape[a] for a in own]))
    flat = sg.permute_dims(x, [*rest, *own]).reshape((*(x.type.shape[k] for k in rest), length))
    value = sg.norm(flat, p, -1)
    return sg.expand_dims(value, own) if keepdim else value


def norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """Torch's older function: of all elements unless p is a name."""
    if p == "nuc":
        return sg.norm(x, p, None if dim is None else tuple(dim), keepdim)
    return p_norm(x, 2 if p in ("fro", None) else p, dim, keepdim, dtype)


def linalg_norm(
    x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Any:
    if ord is None:
        return p_norm(x, 2, dim, keepdim, dtype)
    return sg.norm(x, ord, tuple(dim) if isinstance(dim, list) else dim, keepdim)


def matrix_norm(
    x: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, dtype: Any = None
) -> Any:
    return sg.norm(x, ord, tuple(dim), keepdim)


def cdist(x: Any, y: Any, p: float = 2.0, compute_mode: str = "") -> Any:
    return p_norm(x[..., :, None, :] - y[..., None, :, :], p, -1)


def pdist(x: Any, p: float = 2.0) -> Any:
    rows, columns = np.triu_indices(x.type.shape[0], 1)
    return p_norm(x[rows] - x[columns], p, -1)


def pairwise(x: Any, y: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    return p_norm(x - y + eps, p, -1, keepdim)


def renorm(x: Any, p: float, dim: int, maxnorm: float) -> Any:
    rest = [k for k in range(x.ndim) if k != dim % x.ndim]
    size = p_norm(x, p, rest, True)
    return x * sg.where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)


def normalize(x: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    return x / sg.maximum(p_norm(x, p, dim, True), eps)


def similarity(x: Any, y: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Return the cosine of the angle, each norm being at least eps."""
    x, y = sg.broadcast_arrays(x, y)
    long = [sg.maximum(p_norm(v, 2, dim, True), eps) for v in (x, y)]
    return sg.sum(x / long[0] * (y / long[1]), axes(x, dim))


def some_zero(*arrays: Any, **options: Any) -> bool:
    """Tell whether an array has a zero, where a norm or a distance has no derivative."""
    return any(isinstance(a, np.ndarray) and bool((a == 0).any()) for a in arrays)


def some_pair(x: np.ndarray, y: np.ndarray, *rest: Any, **options: Any) -> bool:
    """Tell whether two arrays have elements in common."""
    return bool(np.isin(x, y).any())


def largest_of_single(x: np.ndarray, p: float, *rest: Any) -> bool:
    """Tell whether the norm is the largest of some complex64 numbers."""
    return p == float("inf") and x.dtype == np.complex64


LARGEST = Convention("torch's gradient of the largest complex64 number may be NaN (AVX-512)", 1,
                     largest_of_single)  # fmt: skip

PRODUCTS: dict[str, Row] = {
    "matmul": sg.matmul,
    "mm": sg.matmul,
    "bmm": sg.matmul,
    "mv": sg.matmul,
    "dot": sg.dot,
    "vdot": sg.vdot,
    "inner": sg.inner,
    "outer": sg.outer,
    "kron": sg.kron,
    "tensordot": tensordot,
    "einsum": einsum,
    "__rmatmul__": lambda x, y: y @ x,
    "addmm": lambda x, a, b, **scales: affine(x, a @ b, **scales),
    "addmm:decomposed": lambda x, a, b, **scales: affine(x, a @ b, **scales),
    "addmv": lambda x, a, b, **scales: affine(x, a @ b, **scales),
    "baddbmm": lambda x, a, b, **scales: affine(x, a @ b, **scales),
    "addbmm": lambda x, a, b, **scales: affine(x, sg.sum(a @ b, 0), **scales),
    "addr": lambda x, a, b, **scales: affine(x, sg.outer(a, b), **scales),
    "trace": sg.trace,
    "cross": cross,
    "linalg.cross": lambda x, y, dim=-1: cross(x, y, dim),
    "linalg.vecdot": lambda x, y, dim=-1: sg.sum(sg.conj(x) * y, dim),
    "linalg.multi_dot": sg.multi_dot,
    "linalg.vander": vander,
    "sparse.sampled_addmm": SPARSE,
    "sparse.mm:reduce": SPARSE,
    "to_sparse": SPARSE,
}

NORMS: dict[str, Row] = {
    "norm": norm,
    "norm:nuc": norm,
    "norm:fro": norm,
    "norm:inf": norm,
    "linalg.norm": linalg_norm,
    "linalg.norm:subgradients_at_zero": Entry(
        linalg_norm, conventions=(Convention(AT_ZERO, 1, some_zero),)),
    "linalg.vector_norm": lambda x, ord=2, dim=None, keepdim=False, dtype=None: p_norm(
        x, ord, dim, keepdim, dtype),
    "linalg.matrix_norm": matrix_norm,
    "dist": lambda x, y, p=2: p_norm(x - y, p),
    "cdist": cdist,
    "nn.functional.pdist": pdist,
    "nn.functional.pairwise_distance": pairwise,
    "nn.functional.normalize": normalize,
    "nn.functional.cosine_similarity": similarity,
    "renorm": Entry(renorm, conventions=(LARGEST,)),
}  # fmt: skip

MULTIPLYING = PRODUCTS | NORMS
