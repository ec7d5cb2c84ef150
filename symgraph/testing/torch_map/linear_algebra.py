"""Linear algebra: factorisations, solutions, functions of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

import symgraph as sg
from symgraph.testing.torch_map.entry import (
    FACTORS,
    Entry,
    Row,
    need,
)

la: Any = sg.linalg


def first(result: Any) -> Any:
    return result[0]


def adjoint(x: Any) -> Any:
    return sg.conj(x.mT)


def symmetric(x: Any) -> Any:
    """Torch's checks make their matrices symmetric so, before the operator sees them."""
    return x + adjoint(x)


def cholesky(x: Any, upper: bool = False, check_errors: bool = False) -> Any:
    factor = la.cholesky(symmetric(x))
    return adjoint(factor) if upper else factor


def signless(result: Any) -> Any:
    """Return vectors without their signs, which LAPACK and symgraph choose differently."""
    return tuple(v if v.ndim == result[0].ndim else abs(v) for v in result)


def eigh(x: Any, UPLO: str = "L") -> Any:  # noqa: N803
    w, v = la.eigh(symmetric(x))
    return w, sg.abs(v)


def eig(x: Any) -> Any:
    w, v = la.eig(x)
    return w, sg.abs(v)


def singular(result: Any) -> Any:
    """Return |U|, s, |V^T| of torch's svd, cut to the reduced form."""
    u, s, v = result
    k = s.shape[-1]
    if type(result).__name__ == "svd":
        v = v.mT
    return abs(u[..., :k]), s, abs(v[..., :k, :])


def svd(x: Any, *args: Any, **options: Any) -> Any:
    u, s, v = la.svd(x)
    return sg.abs(u), s, sg.abs(v)


def qr(x: Any, *args: Any, **options: Any) -> Any:
    return la.qr(x)


def packed(x: Any, *args: Any, **options: Any) -> Any:
    """Return L and U in one matrix, as LAPACK does."""
    _, lower, upper = la.lu(x)
    m, n = x.type.shape[-2:]
    k = min(m, n)
    left = sg.pad(sg.tril(lower, -1), [(0, 0)] * (x.ndim - 1) + [(0, n - k)])
    return left + sg.pad(upper, [(0, 0)] * (x.ndim - 2) + [(0, m - k), (0, 0)])


def unpacked(factors: Any) -> tuple[Any, Any]:
    """Return L and U of a packed matrix."""
    m, n = factors.type.shape[-2:]
    k = min(m, n)
    lower = sg.tril(factors[..., :, :k], -1) + sg.eye(m, k, dtype=factors.dtype)
    return lower, sg.triu(factors[..., :k, :])


def lu_solve(factors: Any, pivots: Any, b: Any, left: bool = True, adjoint: bool = False) -> Any:
    """Solve with factors of torch, whose pivots count from 1."""
    if not left:
        return sg.conj(lu_solve(factors, pivots, sg.conj(b.mT), True, not adjoint).mT)
    return la.lu_solve((factors, pivots - 1), b, 2 if adjoint else 0)


def householder(v: Any, tau: Any, size: int) -> Any:
    """Return the product of the reflections I - tau v v', v stored below the diagonal."""
    m, k = v.type.shape[-2], tau.type.shape[-1]
    q = sg.eye(m, size, dtype=v.dtype)
    lower = sg.tril(v[..., :, :k], -1) + sg.eye(m, k, dtype=v.dtype)
    q = sg.broadcast_to(q, (*v.type.shape[:-2], m, size))
    for i in reversed(range(k)):
        u = lower[..., :, i : i + 1]
        q = q - tau[..., i : i + 1, None] * u * (adjoint(u) @ q)
    return q


def ormqr(v: Any, tau: Any, c: Any, left: bool = True, transpose: bool = False) -> Any:
    q = householder(v, tau, v.type.shape[-2])
    q = adjoint(q) if transpose else q
    return q @ c if left else c @ q


def solve(a: Any, b: Any, left: bool = True, **options: Any) -> Any:
    need(left, "x A = b")
    if b.ndim > 1 and b.ndim == a.ndim - 1 and a.type.shape[:-1] == b.type.shape:
        return la.solve(a, b[..., None])[..., 0]
    return la.solve(a, b)


def solve_triangular(
    a: Any, b: Any, upper: bool = True, left: bool = True, unitriangular: bool = False
) -> Any:
    if left:
        return la.solve_triangular(a, b, lower=not upper, unit_diagonal=unitriangular)
    return la.solve_triangular(a.mT, b.mT, lower=upper, unit_diagonal=unitriangular).mT


def triangular_solve(
    b: Any, a: Any, upper: bool = False, transpose: bool = False, unitriangular: bool = False
) -> Any:
    return la.solve_triangular(
        a, b, trans=int(transpose), lower=not upper, unit_diagonal=unitriangular)  # fmt: skip


def cholesky_solve(b: Any, factor: Any, upper: bool = False) -> Any:
    lower = adjoint(factor) if upper else factor
    half = la.solve_triangular(lower, b, lower=True)
    return la.solve_triangular(lower, half, trans="C", lower=True)


def cholesky_inverse(factor: Any, upper: bool = False) -> Any:
    """Torch's checks make the factor triangular with ones on the diagonal first."""
    one = sg.eye(factor.type.shape[-1], dtype=factor.dtype)
    factor = (sg.triu if upper else sg.tril)(factor, 1 if upper else -1) + one
    return cholesky_solve(sg.broadcast_to(one, factor.shape), factor, upper)


def pinv(x: Any, rtol: Any = None, atol: Any = None, rcond: Any = 1e-15, **options: Any) -> Any:
    need(atol is None and not isinstance(rtol, sg.Variable), "a tolerance per matrix, or absolute")
    return la.pinv(symmetric(x) if options.get("hermitian") else x, rtol)


def matrix_rank(
    x: Any, tol: Any = None, hermitian: bool = False, atol: Any = None, rtol: Any = None
) -> Any:
    if 0 in x.type.shape[-2:]:
        return sg.zeros(x.type.shape[:-2], "int64")
    s = la.svdvals(sg.tril(x) + adjoint(sg.tril(x, -1)) if hermitian else x)
    if rtol is None:
        eps = float(np.finfo(x.dtype.numpy).eps)
        rtol = 0.0 if atol is not None else max(x.type.shape[-2:]) * eps
    limit = sg.maximum(0.0 if atol is None else atol, rtol * s[..., 0])
    return sg.count_nonzero(s > limit[..., None], -1)


def lstsq(a: Any, b: Any, driver: str | None = None, **options: Any) -> Any:
    return la.lstsq(a, b)


def lu(x: Any, pivot: bool = True) -> Any:
    """Torch's exchanges have the dtype of the factors."""
    exchanges, lower, upper = la.lu(x)
    return sg.cast(exchanges, x.dtype), lower, upper


def logdet(x: Any) -> Any:
    sign, size = la.slogdet(x)
    if x.dtype.is_complex:
        return sg.log(sign) + size
    return sg.where(sign < 0, np.nan, size)


FACTORED: dict[str, Row] = {
    "cholesky": cholesky,
    "linalg.cholesky": cholesky,
    "linalg.cholesky_ex": Entry(cholesky, theirs=first),
    "linalg.eigh": Entry(eigh, theirs=signless),
    "linalg.eigvalsh": lambda x, UPLO="L": la.eigvalsh(symmetric(x)),
    "linalg.eigvals": la.eigvals,
    "linalg.eig": eig,
    "svd": Entry(svd, theirs=singular),
    "linalg.svd": Entry(svd, theirs=singular),
    "linalg.svdvals": la.svdvals,
    "qr": qr,
    "linalg.qr": qr,
    "lu": Entry(packed, theirs=first),
    "linalg.lu": Entry(lu, theirs=tuple),
    "linalg.lu_factor": Entry(packed, theirs=first),
    "linalg.lu_factor_ex": Entry(packed, theirs=first),
    "lu_unpack": Entry(lambda x, pivots: unpacked(x), theirs=lambda result: result[1:]),
    "lu_solve": lambda b, x, pivots: lu_solve(x, pivots, b),
    "linalg.lu_solve": lu_solve,
    "linalg.householder_product": Entry(
        lambda x, tau: householder(x, tau, x.type.shape[-1]),
        loose=10, why="torch's second derivative divides by what it multiplied by"),
    "ormqr": ormqr,
    **dict.fromkeys(
        ("geqrf", "linalg.ldl_factor", "linalg.ldl_factor_ex", "linalg.ldl_solve"), FACTORS),
}  # fmt: skip

SOLVED: dict[str, Row] = {
    "linalg.solve": solve,
    "linalg.solve_ex": Entry(solve, theirs=first),
    "linalg.solve_triangular": solve_triangular,
    "triangular_solve": Entry(triangular_solve, theirs=first),
    "cholesky_solve": cholesky_solve,
    "cholesky_inverse": cholesky_inverse,
    "linalg.lstsq": Entry(lstsq, theirs=first),
    "linalg.lstsq:grad_oriented": Entry(lstsq, theirs=first),
    "linalg.inv": la.inv,
    "linalg.inv_ex": Entry(la.inv, theirs=first),
    "linalg.pinv": pinv,
    "linalg.pinv:singular": lambda a, b: la.pinv(a @ b.mT),
    "linalg.pinv:hermitian": pinv,
    "pinverse": lambda x, rcond=1e-15: la.pinv(x, rcond),
    "linalg.tensorinv": la.tensorinv,
    "linalg.tensorsolve": lambda a, b, dims=None: la.tensorsolve(a, b, dims),
}

FUNCTIONS: dict[str, Row] = {
    "linalg.det": la.det,
    "linalg.slogdet": la.slogdet,
    "logdet": logdet,
    "matrix_exp": la.expm,
    "linalg.matrix_power": la.matrix_power,
    "linalg.cond": la.cond,
    "linalg.matrix_rank": matrix_rank,
    "linalg.matrix_rank:hermitian": matrix_rank,
}

LINEAR_ALGEBRA = FACTORED | SOLVED | FUNCTIONS
