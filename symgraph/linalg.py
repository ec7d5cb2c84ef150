"""Linear algebra by name: `sg.linalg.solve` is `sg.solve`.

Matrices are the last two axes; leading axes are a batch. Real and complex matrices of both
precisions are computed by LAPACK, inside of the one native function. A matrix without the
factorization that was asked for raises `sg.LinAlgError`, which names the matrix of the batch and
the line that made the node.
"""

from __future__ import annotations

import symgraph.ops  # noqa: F401 - fills the namespace
from symgraph.core.op import o

__all__ = [
    "cholesky", "cond", "det", "eig", "eigh", "eigvals", "eigvalsh", "expm", "inv", "invsqrtm",
    "kron", "lstsq", "lu", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr",
    "slogdet", "solve", "solve_triangular", "sqrtm", "svd", "svdvals", "tensorinv", "tensorsolve",
    "trace",
]  # fmt: skip

cholesky, det, eig, inv, kron, lu, norm = o.cholesky, o.det, o.eig, o.inv, o.kron, o.lu, o.norm
eigh, eigvals, eigvalsh, expm = o.eigh, o.eigvals, o.eigvalsh, o.expm
invsqrtm, lstsq, matrix_power, multi_dot = o.invsqrtm, o.lstsq, o.matrix_power, o.multi_dot
cond, matrix_rank = o.condition_number, o.matrix_rank  # sg.cond is the branch
pinv, qr, slogdet, solve, sqrtm = o.pinv, o.qr, o.slogdet, o.solve, o.sqrtm
solve_triangular, svd, svdvals, trace = o.solve_triangular, o.svd, o.svdvals, o.trace
tensorinv, tensorsolve = o.tensorinv, o.tensorsolve
