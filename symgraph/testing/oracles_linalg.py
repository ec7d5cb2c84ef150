"""Independent oracles of linear algebra: textbook algorithms in 30 digits on Python lists.

Each takes the parameters as a dict and the arrays, as in `oracles_structured`. Signs and orders
that LAPACK chooses (rows of an LU, reflections of a QR) follow from the textbook's rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

DIGITS = 30
Matrix = Any


def _stacked(f: Callable[..., Any]) -> Callable[..., Any]:
    """Apply `f(p, matrices...)`, on mpmath matrices, to each matrix of stacks."""

    def number(v: Any) -> Any:
        return mp.mpc(complex(v)) if np.iscomplexobj(v) else mp.mpf(float(v))

    def value(p: dict[str, Any], *arrays: np.ndarray) -> np.ndarray | None:
        lead = arrays[0].shape[:-2]
        if 0 in lead or 0 in arrays[0].shape[-2:]:
            return None
        found = np.empty(lead, object)
        with mp.workdps(DIGITS):
            for at in np.ndindex(*lead):
                matrices = [mp.matrix([[number(v) for v in r] for r in a[at]]) for a in arrays]
                result = f(p, *matrices)
                if result is None:
                    return None
                found[at] = _array(result)
        whole = np.array(found.tolist() if lead else found.item(), complex)
        return whole if any(map(np.iscomplexobj, arrays)) else whole.real

    return value


def _array(x: Any) -> Any:
    if isinstance(x, mp.matrix):
        return [[complex(x[i, j]) for j in range(x.cols)] for i in range(x.rows)]
    return [complex(v) for v in x] if isinstance(x, list) else complex(x)


def _lower(x: Matrix) -> Matrix:
    """Return the symmetric (Hermitian) matrix of a lower triangle."""
    return mp.matrix([[x[i, j] if j < i else (mp.conj(x[j, i]) if j > i else mp.re(x[i, i]))
                       for j in range(x.cols)] for i in range(x.rows)])


def _triangular(p: dict[str, Any], a: Matrix, b: Matrix) -> Matrix:
    n, x = a.rows, b.copy()
    a = mp.matrix([[a[i, j] if (j <= i if p["lower"] else j >= i) else mp.mpf(0)
                    for j in range(n)] for i in range(n)])
    if p["unit"]:
        for i in range(n):
            a[i, i] = mp.mpf(1)
    lower = p["lower"] != p["trans"]
    a = a.T if p["trans"] else a
    for i in range(n) if lower else reversed(range(n)):
        for c in range(b.cols):
            others = range(i) if lower else range(i + 1, n)
            x[i, c] = (x[i, c] - sum(a[i, j] * x[j, c] for j in others)) / a[i, i]
    return x


def _eliminated(x: Matrix) -> tuple[list[int], Matrix, list[int]]:
    """Return (row order, L and U in one matrix, -1 for each step that exchanged rows)."""
    a, order, sign = x.copy(), list(range(x.rows)), [1] * x.rows
    for k in range(min(a.rows, a.cols)):
        sizes = {i: abs(mp.re(a[i, k])) + abs(mp.im(a[i, k])) for i in range(k, a.rows)}
        best = max(sizes, key=lambda i: sizes[i])
        if best != k:
            sign[k] = -1
            order[k], order[best] = order[best], order[k]
            for j in range(a.cols):
                a[k, j], a[best, j] = a[best, j], a[k, j]
        for i in range(k + 1, a.rows):
            a[i, k] /= a[k, k]
            for j in range(k + 1, a.cols):
                a[i, j] -= a[i, k] * a[k, j]
    return order, a, sign


def _lu_factor(p: dict[str, Any], x: Matrix) -> Any:
    order, a, sign = _eliminated(x)
    rows = [[a[i, j] for i in range(a.rows)] for j in range(a.cols)]
    inverse = [order.index(i) for i in range(len(order))]
    return mp.matrix([*rows, order, inverse, sign])


def _lu_part(lower: bool) -> Any:
    def value(p: dict[str, Any], x: Matrix) -> Matrix:
        _, a, _ = _eliminated(x)
        k = min(a.rows, a.cols)
        if lower:
            return mp.matrix([[a[i, j] if j < i else int(i == j) for j in range(k)]
                              for i in range(a.rows)])
        return mp.matrix([[a[i, j] if j >= i else 0 for j in range(a.cols)] for i in range(k)])

    return value


def _oriented(vector: list[Any]) -> Any:
    """Return the factor of length 1 that makes a weighted sum positive."""
    total = sum(v / (i + mp.mpf("1.7")) for i, v in enumerate(vector))
    return mp.conj(total) / abs(total) if total else 1


def _spectrum(x: Matrix) -> tuple[list[Any], list[list[Any]]]:
    """Return ascending eigenvalues of a lower triangle, and the eigenvectors."""
    full = _lower(x)
    is_complex = any(isinstance(v, mp.mpc) for v in full)
    w, q = mp.eighe(full) if is_complex else mp.eigsy(full)
    order = sorted(range(len(w)), key=lambda k: w[k])
    vectors = [[q[i, k] for i in range(q.rows)] for k in order]
    return [w[k] for k in order], [[_oriented(v) * e for e in v] for v in vectors]


def _symmetric_factor(p: dict[str, Any], x: Matrix) -> Any:
    w, v = _spectrum(x)
    return mp.matrix([*([mp.conj(e) for e in row] for row in v), w]) if p["vectors"] else w


def _spectral(f: Callable[[Any], Any]) -> Any:
    def value(p: dict[str, Any], x: Matrix) -> Matrix:
        w, v = _spectrum(x)
        n = len(w)
        return mp.matrix([[sum(f(w[k]) * v[k][i] * mp.conj(v[k][j]) for k in range(n))
                           for j in range(n)] for i in range(n)])

    return value


def _sylvester(p: dict[str, Any], s: Matrix, c: Matrix) -> Matrix:
    """Solve the n^2 equations of S X + X S = C."""
    s, n = _lower(s), s.rows
    system = mp.matrix(n * n, n * n)
    for i in range(n):
        for j in range(n):
            for k in range(n):
                system[i * n + j, k * n + j] += s[i, k]
                system[i * n + j, i * n + k] += s[k, j]
    x = mp.lu_solve(system, mp.matrix([c[i, j] for i in range(n) for j in range(n)]))
    return mp.matrix([[x[i * n + j] for j in range(n)] for i in range(n)])


def _svd(x: Matrix) -> tuple[Matrix, list[Any], Matrix]:
    """Return U, descending values, Vh from the eigenvectors of A^H A, of A.T where A is wide."""
    if x.rows < x.cols:
        v, s, uh = _svd(x.T)
        signs = [_oriented([v[i, k] for i in range(v.rows)]) for k in range(v.cols)]
        back = [mp.conj(sign) for sign in signs]
        u = mp.matrix([[uh[k, i] * back[k] for k in range(uh.rows)] for i in range(uh.cols)])
        vh = mp.matrix([[v[i, k] * signs[k] for i in range(v.rows)] for k in range(v.cols)])
        return u, s, vh
    w, vectors = _spectrum(x.H * x)
    s = [mp.sqrt(value) for value in reversed(w)]
    vh = mp.matrix([[mp.conj(e) for e in row] for row in vectors[::-1]])
    u = x * vh.H
    for i in range(u.rows):
        for k in range(u.cols):
            u[i, k] /= s[k]
    return u, s, vh


def _svd_factor(p: dict[str, Any], x: Matrix) -> list[Any]:
    u, s, vh = _svd(x)
    return [*u, *vh, *s] if p["vectors"] else s


def _pinv(p: dict[str, Any], x: Matrix) -> Matrix:
    if x.rows >= x.cols:
        return mp.inverse(x.H * x) * x.H
    return x.H * mp.inverse(x * x.H)


def _reflected(x: Matrix) -> Matrix:
    """Return Householder's factors and scales, packed by columns."""
    a, scales = x.copy(), [mp.mpf(0)] * x.rows
    for j in range(min(a.rows, a.cols)):
        below = mp.sqrt(sum(abs(a[i, j]) ** 2 for i in range(j + 1, a.rows)))
        alpha = a[j, j]
        if below == 0 and mp.im(alpha) == 0:
            continue
        beta = -mp.sign(mp.re(alpha)) * mp.hypot(abs(alpha), below)
        scales[j] = (beta - alpha) / beta
        v = {i: a[i, j] / (alpha - beta) for i in range(j + 1, a.rows)} | {j: mp.mpf(1)}
        for c in range(j + 1, a.cols):
            dot = mp.conj(scales[j]) * sum(mp.conj(e) * a[i, c] for i, e in v.items())
            for i, e in v.items():
                a[i, c] -= dot * e
        for i, e in v.items():
            a[i, j] = beta if i == j else e
    return mp.matrix([*([a[i, j] for i in range(a.rows)] for j in range(a.cols)), scales])


def _basis(p: dict[str, Any], f: Matrix) -> Any:
    n, m = f.rows - 1, f.cols
    if not p["columns"]:
        return None
    q = mp.matrix(m, p["columns"])
    for i in range(p["columns"]):
        q[i, i] = 1
    for j in reversed(range(min(m, n))):
        v = {i: f[j, i] if i > j else mp.mpf(1) for i in range(j, m)}
        for c in range(q.cols):
            dot = f[n, j] * sum(mp.conj(e) * q[i, c] for i, e in v.items())
            for i, e in v.items():
                q[i, c] -= dot * e
    return q.T


def _qr_r(p: dict[str, Any], x: Matrix) -> Matrix:
    f, k = _reflected(x), min(x.rows, x.cols)
    return mp.matrix([[f[j, i] if j >= i else 0 for j in range(x.cols)] for i in range(k)])


def _without(x: Matrix, row: int, column: int) -> Matrix:
    """Return a matrix without one of its rows and columns."""
    rows = [i for i in range(x.rows) if i != row]
    columns = [j for j in range(x.cols) if j != column]
    return mp.matrix([[x[i, j] for j in columns] for i in rows] or mp.matrix(0))


def _cofactors(p: dict[str, Any], x: Matrix) -> Matrix:
    """Return the signed determinants of what is left without a row and a column."""
    n, found = x.rows, mp.matrix(x.rows, x.cols)
    for i in range(n):
        for j in range(n):
            found[i, j] = (-1) ** (i + j) * (mp.det(_without(x, i, j)) if n > 1 else 1)
    return found


def _cofactor_rate(p: dict[str, Any], x: Matrix, e: Matrix) -> Matrix:
    """Return the derivative of the cofactors: that of each smaller determinant in turn."""
    n, found = x.rows, mp.matrix(x.rows, x.cols)
    for i in range(n):
        for j in range(n):
            inner, moved = _without(x, i, j), _without(e, i, j)
            slope = _cofactors(p, inner) if n > 1 else inner
            found[i, j] = (-1) ** (i + j) * mp.fsum(
                slope[k, m] * moved[k, m] for k in range(n - 1) for m in range(n - 1)
            )
    return found


def _mixed(x: Matrix, directions: tuple[Matrix, ...]) -> Any:
    """Return the derivative of the determinant in several directions, by Laplace's expansion."""
    if not directions:
        return mp.det(x) if x.rows else mp.mpf(1)
    e, rest, total = directions[0], directions[1:], mp.mpf(0)
    for i in range(x.rows):
        for j in range(x.rows):
            inner = tuple(_without(m, i, j) for m in rest) if x.rows > 1 else ()
            if x.rows > 1 or not rest:
                slope = _mixed(_without(x, i, j), inner) if x.rows > 1 else 1
                total += (-1) ** (i + j) * e[i, j] * slope
    return total


def _cofactor_bend(p: dict[str, Any], x: Matrix, *directions: Matrix) -> Matrix:
    n, found = x.rows, mp.matrix(x.rows, x.cols)
    for i in range(n):
        for j in range(n):
            inner = tuple(_without(m, i, j) for m in directions)
            found[i, j] = (-1) ** (i + j) * _mixed(_without(x, i, j), inner)
    return found


def _eig_factor(p: dict[str, Any], x: Matrix) -> Matrix | None:
    """Only of numbers: the order of several eigenvalues follows from no textbook."""
    if x.rows > 1:
        return None
    more = [] if isinstance(x[0, 0], mp.mpc) else [[0]]
    return mp.matrix([*([[1]] if p["vectors"] else []), [x[0, 0]], *more])


def _hessenberg(x: Matrix) -> tuple[Matrix, Matrix]:
    """Return H with the reflections below it, and Q."""
    n, a, q, kept = x.rows, x.copy(), mp.eye(x.rows), {}
    for j in range(n - 1):
        below = mp.sqrt(mp.fsum(abs(a[i, j]) ** 2 for i in range(j + 2, n)))
        alpha = a[j + 1, j]
        if below == 0 and mp.im(alpha) == 0:
            continue
        beta = -mp.sign(mp.re(alpha)) * mp.hypot(abs(alpha), below)
        v = mp.matrix(n, 1)
        v[j + 1] = 1
        for i in range(j + 2, n):
            v[i] = a[i, j] / (alpha - beta)
        turn = mp.eye(n) - (beta - alpha) / beta * (v * v.H)
        a, q = turn.H * a * turn, q * turn
        for i in range(j + 2, n):
            kept[i, j] = v[i]
    for place, value in kept.items():
        a[place] = value
    return a, q


def _hessenberg_factor(p: dict[str, Any], x: Matrix) -> Matrix:
    a, q = _hessenberg(x)
    columns = [[m[i, j] for i in range(x.rows)] for m in (a, q) for j in range(x.rows)]
    return mp.matrix(columns if p["basis"] else columns[: x.rows])


def _hessenberg_form(p: dict[str, Any], x: Matrix) -> Matrix:
    a, n = _hessenberg(x)[0], x.rows
    return mp.matrix([[a[i, j] if i <= j + 1 else 0 for j in range(n)] for i in range(n)])


def _schur(x: Matrix) -> tuple[Matrix, Matrix]:
    """Return T and Z of matrices whose eigenvalues are real or which are complex.

    The order of the eigenvalues is LAPACK's choice; NumPy's is taken.
    """
    n = x.rows
    given = np.array(x.tolist(), complex).reshape(n, n)
    is_complex = any(isinstance(v, mp.mpc) for v in x)
    wanted = np.linalg.eig(given if is_complex else given.real)[0]
    values, vectors = mp.eig(x)
    order = [min(range(n), key=lambda k: abs(values[k] - w)) for w in wanted]
    q = mp.matrix(n, n)
    for j, k in enumerate(order):  # orthonormal vectors, one after the other
        v = vectors[:, k]
        for i in range(j):
            v -= q[:, i] * (q[:, i].H * v)[0]
        v /= mp.norm(v)
        column = [v[i] for i in range(n)]
        turn = _oriented(column)
        for i in range(n):
            q[i, j] = v[i] * turn
    return q.H * x * q, q


def _eigenvalue(p: dict[str, Any], x: Matrix) -> list[Any] | None:
    return [x[0, 0]] if x.rows == 1 else None


LINALG: dict[str, Callable[..., Any]] = {
    name: _stacked(f)
    for name, f in {
        "cholesky": lambda p, x: mp.cholesky(_lower(x)),
        "solve_triangular": _triangular,
        "lu_factor": _lu_factor,
        "lu_lower": _lu_part(lower=True),
        "lu_upper": _lu_part(lower=False),
        "lu_order": lambda p, x: list(_eliminated(x)[0]),
        "solve": lambda p, a, b: mp.inverse(a.T if p["trans"] else a) * b,
        "solve_positive": lambda p, a, b: mp.inverse(_lower(a)) * b,
        "inv": lambda p, x: mp.inverse(x),
        "det": lambda p, x: mp.det(x),
        "cofactors": _cofactors,
        "cofactor_rate": _cofactor_rate,
        "cofactor_bend": _cofactor_bend,
        "log_abs_det": lambda p, x: mp.log(abs(mp.det(x))),
        "det_sign": lambda p, x: mp.sign(mp.det(x)),
        "symmetric_factor": _symmetric_factor,
        "eigh_values": lambda p, x: _spectrum(x)[0],
        "eigh_vectors": lambda p, x: mp.matrix(_spectrum(x)[1]).T,
        "sqrtm": _spectral(mp.sqrt),
        "invsqrtm": _spectral(lambda w: 1 / mp.sqrt(w)),
        "symmetric_sylvester": _sylvester,
        "eig_factor": _eig_factor,
        "eig_values": _eigenvalue,
        "eig_vectors": lambda p, x: mp.matrix([[1]]) if x.rows == 1 else None,
        "hessenberg_factor": _hessenberg_factor,
        "hessenberg_form": _hessenberg_form,
        "hessenberg_basis": lambda p, x: _hessenberg(x)[1],
        "schur_factor": lambda p, x: mp.matrix([[x[0, 0]], [1]]) if x.rows == 1 else None,
        "schur_form": lambda p, x: _schur(x)[0],
        "schur_vectors": lambda p, x: _schur(x)[1],
        "svd_factor": _svd_factor,
        "svd_values": lambda p, x: _svd(x)[1],
        "svd_u": lambda p, x: _svd(x)[0],
        "svd_vh": lambda p, x: _svd(x)[2],
        "pinv": _pinv,
        "lstsq": lambda p, a, b: _pinv(p, a) * b,
        "qr_factor": lambda p, x: _reflected(x),
        "qr_basis": _basis,
        "qr_q": lambda p, x: _basis({"columns": min(x.rows, x.cols)}, _reflected(x)).T,
        "qr_r": _qr_r,
        "qr_complete": lambda p, x: _basis({"columns": x.rows}, _reflected(x)).T,
        "expm": lambda p, x: mp.expm(x),
    }.items()
}
