"""Linear algebra by name: `sg.linalg.solve` is `sg.solve`.

Matrices are the last two axes; leading axes are a batch. Real and complex matrices of both
precisions are computed by LAPACK, inside of the one native function. A matrix without the
factorization that was asked for raises `sg.LinAlgError`, which names the matrix of the batch and
the line that made the node.
"""

from __future__ import annotations

import symgraph.ops  # noqa: F401 - fills the namespace
from symgraph.autodiff.matrix_function import funm
from symgraph.core.op import o

__all__ = [
    "block_diag", "cho_factor", "cho_solve", "cholesky", "circulant", "cond", "cross", "det",
    "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "expm", "expm_frechet", "funm", "hankel",
    "hessenberg", "inv", "invsqrtm", "kron", "lstsq", "lu", "lu_factor", "lu_solve", "matmul",
    "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm",
    "outer", "pinv", "polar", "qr", "schur", "slogdet", "solve", "solve_sylvester",
    "solve_triangular", "sqrtm", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve",
    "toeplitz", "trace", "vector_norm",
]  # fmt: skip

block_diag, cross, diagonal, matmul, outer = o.block_diag, o.cross, o.diagonal, o.matmul, o.outer
cholesky, det, eig, inv, kron, lu, norm = o.cholesky, o.det, o.eig, o.inv, o.kron, o.lu, o.norm
eigh, eigvals, eigvalsh, expm = o.eigh, o.eigvals, o.eigvalsh, o.expm
invsqrtm, lstsq, matrix_power, multi_dot = o.invsqrtm, o.lstsq, o.matrix_power, o.multi_dot
cond, matrix_rank = o.condition_number, o.matrix_rank  # sg.cond is the branch
matrix_norm, matrix_transpose, vector_norm = o.matrix_norm, o.matrix_transpose, o.vector_norm
pinv, qr, slogdet, solve, sqrtm = o.pinv, o.qr, o.slogdet, o.solve, o.sqrtm
solve_triangular, svd, svdvals, trace = o.solve_triangular, o.svd, o.svdvals, o.trace
tensordot, tensorinv, tensorsolve = o.tensordot, o.tensorinv, o.tensorsolve
cho_factor, cho_solve = o.cho_factor, o.cho_solve
lu_factor, lu_solve = o.lu_factor, o.lu_solve
polar = o.polar_factors  # sg.polar makes complex numbers
circulant, hankel, toeplitz = o.circulant, o.hankel, o.toeplitz
expm_frechet, solve_sylvester = o.expm_frechet, o.solve_sylvester
hessenberg, schur = o.hessenberg, o.schur
