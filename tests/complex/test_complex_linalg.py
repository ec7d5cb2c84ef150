"""Complex matrices: NumPy's values in native code, derivatives of all orders, vmap, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.errors import DTypeError, LinAlgError, ShapeError
from symgraph.core.node import new_input

SIZES = (1, 2, 5, 70)  # the last one is beyond LAPACK's block size
LIMIT = {"complex64": 3e-4, "complex128": 1e-11}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def drawn(*shape: int, dtype: str = "complex128", seed: int = 0) -> np.ndarray:
    """Return matrices with a moderate condition number."""
    x, n = numbers(*shape, seed=seed), min(shape[-2:])
    x[..., np.arange(n), np.arange(n)] += 2 * np.sqrt(n) + 1
    return x.astype(dtype)


def h(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2).conj()


def positive(*shape: int, dtype: str = "complex128") -> np.ndarray:
    x = drawn(*shape)
    return (x @ h(x)).astype(dtype)


def run(build: Callable[..., Any], *arrays: np.ndarray, static: bool = True, **mode: Any) -> Any:
    inputs = [
        sg.tensor(f"x{k}", a.shape if static else (None,) * a.ndim, a.dtype)
        for k, a in enumerate(arrays)
    ]
    return sg.function(inputs, build(*inputs), **mode)(*arrays)


def near(actual: Any, expected: Any, dtype: str) -> None:
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    assert actual.shape == np.shape(expected)
    assert np.abs(actual - expected).max(initial=0) <= LIMIT[dtype] * scale


def part(dtype: str) -> str:
    return {"complex64": "float32", "complex128": "float64"}[dtype]


# -- values ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_factors_multiply_back(n: int, dtype: str, static: bool) -> None:
    x, p = drawn(2, n + 3, n, dtype=dtype), positive(2, n, n, dtype=dtype)
    p = p - np.eye(n, dtype=dtype) * 0.5

    def all_factors(x: Any, p: Any) -> list[Any]:
        return [sg.cholesky(p), *sg.eigh(p), *sg.svd(x), *sg.qr(x), *sg.lu(x), *sg.eig(p)]

    found = run(all_factors, x, p, static=static)
    low, w, v, u, s, vh, q, r, perm, lower, upper, general, columns = found
    eye = np.broadcast_to(np.eye(n), (2, n, n))
    near(low @ h(low), p, dtype)
    assert not np.triu(low, 1).any()
    near((v * w[:, None]) @ h(v), p, dtype)
    assert (np.diff(w) >= 0).all() and w.dtype == s.dtype == perm.dtype == part(dtype)
    near((u * s[:, None]) @ vh, x, dtype)
    near(h(u) @ u, eye, dtype)
    near(vh @ h(vh), eye, dtype)
    near(q @ r, x, dtype)
    near(h(q) @ q, eye, dtype)
    assert not np.tril(r, -1).any() and not np.diagonal(r, 0, 1, 2).imag.any()
    near(perm @ lower @ upper, x, dtype)
    near(p @ columns, columns * general[:, None], dtype)
    assert columns.dtype == general.dtype == dtype
    weights = 1 / (np.arange(n) + 1.7)
    for vectors in (h(v).conj(), vh, np.swapaxes(columns, -1, -2)):
        sums = vectors @ weights
        assert (sums.real > 0).all() and np.abs(sums.imag).max() <= LIMIT[dtype]


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_solutions_and_numbers(n: int, dtype: str, static: bool) -> None:
    a, p, b = (f(2, n, n, dtype=dtype) for f in (drawn, positive, drawn))
    b, scale = b[:, :, :3] * (1 + 1j), float(np.abs(a).max())

    def build(a: Any, p: Any, b: Any) -> list[Any]:
        return [
            sg.solve(a, b),
            sg.solve(a[0], b[0, :, 0]),
            sg.solve(sg.matrix_transpose(a), b),
            sg.solve(p, b, assume_a="pos"),
            sg.solve(p, b, assume_a="her"),
            sg.solve(p, b, assume_a="lower triangular"),
            sg.inv(a),
            sg.solve_triangular(a, b, trans=1),
            sg.solve_triangular(a, b, trans="C", lower=True),
            sg.solve_triangular(a * 0.01, b, unit_diagonal=True),
            sg.lstsq(b, a),
            sg.pinv(b),
            sg.det(a / scale),
            *sg.slogdet(a),
            sg.eigvalsh(p),
            sg.svdvals(b),
        ]

    found = run(build, a, p, b, static=static)
    a, p, b = (x.astype("complex128") for x in (a, p, b))
    unit = np.triu(a * 0.01, 1) + np.eye(n)
    expected = [
        np.linalg.solve(a, b), np.linalg.solve(a[0], b[0, :, 0]),
        np.linalg.solve(np.swapaxes(a, -1, -2), b), np.linalg.solve(p, b), np.linalg.solve(p, b),
        np.linalg.solve(np.tril(p), b), np.linalg.inv(a),
        np.linalg.solve(np.swapaxes(np.triu(a), -1, -2), b), np.linalg.solve(h(np.tril(a)), b),
        np.linalg.solve(unit, b), np.linalg.pinv(b) @ a, np.linalg.pinv(b),
        np.linalg.det(a / scale), *np.linalg.slogdet(a), np.linalg.eigvalsh(p),
        np.linalg.svd(b, compute_uv=False),
    ]  # fmt: skip
    for value, other in zip(found, expected, strict=True):
        near(value, other, dtype)
        kind = dtype if np.iscomplexobj(other) else part(dtype)
        assert value.dtype == kind


@pytest.mark.parametrize("shape", [(0, 0), (0, 3, 3), (2, 0, 0)])
def test_empty_matrices(shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, "complex128")
    found = run(
        lambda x: [sg.cholesky(x), sg.inv(x), sg.det(x), *sg.eigh(x), *sg.eig(x), *sg.qr(x)], x
    )
    assert found[2].tolist() == np.linalg.det(x).tolist()
    for value, other in zip(found[3:5], np.linalg.eigh(x), strict=True):
        assert value.shape == other.shape


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize("n", [4, 40, 120])
def test_general_eigenvalues_are_those_of_numpy(n: int, kind: str) -> None:
    x = numbers(n, n).astype(kind) if kind == "complex128" else numbers(n, n).real.copy()
    w, v, alone = run(lambda x: [*sg.eig(x), sg.eigvals(x)], x)
    assert w.dtype == v.dtype == alone.dtype == "complex128"
    assert np.abs(w - alone).max() < 1e-11 * n  # the order is that of `eig`: derivatives rely on it
    assert np.abs(np.sort_complex(w) - np.sort_complex(np.linalg.eigvals(x))).max() < 1e-11 * n
    assert np.abs(x @ v - v * w).max() < 1e-11 * n
    assert np.abs(np.linalg.norm(v, axis=0) - 1).max() < 1e-12
    if kind == "float64":
        at = np.flatnonzero(w.imag > 0)
        assert np.array_equal(w[at + 1], w[at].conj())
        assert np.array_equal(v[:, at + 1], v[:, at].conj())
        assert not v[:, w.imag == 0].imag.any()


NORMS: list[tuple[Any, Any]] = [
    *((order, (-2, -1)) for order in (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)),
    *((order, -1) for order in (None, 0, 1, 2, 3, -1.5, np.inf, -np.inf)),
]


def test_norms() -> None:
    x = numbers(2, 4, 3)
    x[0, 0, 0] = 0
    found = run(lambda x: [sg.norm(x, order, axis=axis) for order, axis in NORMS], x)
    for value, (order, axis) in zip(found, NORMS, strict=True):
        with np.errstate(divide="ignore"):
            expected = np.linalg.norm(x, order, axis=axis)
        assert value.dtype == "float64" and np.allclose(value, expected, rtol=1e-13)


def test_functions_of_matrices() -> None:
    linalg: Any = pytest.importorskip("scipy.linalg")
    x, p = numbers(3, 4, 4), positive(3, 4, 4)
    rank = x.copy()
    rank[0, 1] = 1j * rank[0, 0]
    found = run(
        lambda x, p, r: [sg.expm(x), sg.matrix_power(x, -3), sg.matrix_power(x, 5), sg.sqrtm(p),
                         sg.invsqrtm(p), sg.matrix_rank(r), sg.matrix_rank(p, hermitian=True),
                         sg.matrix_rank(p, tol=1e6), sg.matrix_power(x, 0)], x, p, rank
    )  # fmt: skip
    expected = [linalg.expm(x), np.linalg.matrix_power(x, -3), np.linalg.matrix_power(x, 5),
                [linalg.sqrtm(a) for a in p], [np.linalg.inv(linalg.sqrtm(a)) for a in p],
                [3, 4, 4], [4, 4, 4], [0, 0, 0], np.broadcast_to(np.eye(4), x.shape)]
    for value, other in zip(found, expected, strict=True):
        assert np.allclose(value, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["solve", "solve_triangular", "lstsq"])
def test_complex_right_sides_of_real_matrices_are_real_systems(name: str) -> None:
    a, b = drawn(4, 4).real.copy(), numbers(4, 3)
    f = getattr(sg, name)
    for right in (b, b[:, 0].copy()):
        x = run(f, a, right)
        matrix = np.triu(a) if name == "solve_triangular" else a
        assert x.shape == right.shape and np.abs(matrix @ x - right).max() < 1e-12
    mixed = run(f, numbers(4, 4), b.real.copy())
    assert mixed.dtype == "complex128"


def test_layouts_and_expressions_as_operands() -> None:
    """Operands that are views, or computed on the way, are what LAPACK reads."""
    x, b = drawn(4, 6, 6), numbers(6, 4, 2)

    def build(x: Any, b: Any) -> list[Any]:
        part = sg.conj(x[::2, ::-1, 1:-1][:, :4])
        return [sg.inv(part), sg.solve(sg.matrix_transpose(part), b[:2] * 2j), sg.det(part + 1)]

    found = run(build, x, b)
    part_ = x[::2, ::-1, 1:-1][:, :4].conj()
    expected = [np.linalg.inv(part_), np.linalg.solve(np.swapaxes(part_, -1, -2), b[:2] * 2j),
                np.linalg.det(part_ + 1)]
    for value, other in zip(found, expected, strict=True):
        assert np.allclose(value, other, rtol=1e-10)


def test_imaginary_zero_is_the_real_result() -> None:
    x = drawn(4, 4).real.copy()
    p = x @ x.T
    whole = [sg.det, sg.inv, sg.expm, lambda x: sg.qr(x)[1], lambda x: sg.svd(x)[2]]
    for f in whole:
        assert np.allclose(run(f, x.astype("complex128")), run(f, x), rtol=1e-12)
    for f in (sg.cholesky, lambda p: sg.eigh(p)[1], sg.sqrtm):
        assert np.allclose(run(f, p.astype("complex128")), run(f, p), rtol=1e-10, atol=1e-12)


# -- derivatives ----------------------------------------------------------------------------------
Build = Callable[[Any], Any]
SQUARE: dict[str, Build] = {
    "det": sg.det,
    "slogdet": lambda z: sg.stack([sg.slogdet(z)[0], sg.slogdet(z)[1] + 0j]),
    "inv": sg.inv,
    "solve": lambda z: sg.solve(z, z[:, ::-1] * z),
    "pos": lambda z: sg.solve(z @ sg.conj(z).T, z, assume_a="pos"),
    "pos, not symmetric": lambda z: sg.solve(z + 9 * np.eye(3), z, assume_a="pos"),
    "her": lambda z: sg.solve(z, z[0], assume_a="her"),
    "sym": lambda z: sg.solve(z, z[0], assume_a="sym"),
    "triangular": lambda z: sg.solve_triangular(z, z.T, lower=True, trans=1),
    "adjoint triangular": lambda z: sg.solve_triangular(z, z.T, trans="C"),
    "cholesky": lambda z: sg.cholesky(z @ sg.conj(z).T),
    "cholesky, not symmetric": lambda z: sg.cholesky(z + 9 * np.eye(3)),
    "lu": lambda z: sg.lu(z)[1] * 2 + sg.lu(z)[2],
    "qr": lambda z: sg.concatenate(sg.qr(z)),
    "qr of tall ones": lambda z: sg.concatenate(sg.qr(z[:, :2])),
    "eigh values": sg.eigvalsh,
    "eigh vectors": lambda z: sg.eigh(z)[1],
    "eig values": sg.eigvals,
    "eig vectors": lambda z: sg.eig(z)[1],
    "eig of real ones": lambda z: sg.eig(sg.real(z))[1] * sg.eigvals(sg.imag(z)),
    "svd u": lambda z: sg.svd(z)[0],
    "svd v": lambda z: sg.svd(z)[2],
    "svd values": sg.svdvals,
    "svd of wide ones": lambda z: sg.svd(z[:2])[0] @ sg.svd(z[:2])[2],
    "svd of tall ones": lambda z: sg.concatenate([sg.svd(z[:, :2])[0], sg.svd(z[:, :2])[2]]),
    "pinv": lambda z: sg.pinv(z[:, :2]),
    "pinv of wide ones": lambda z: sg.pinv(z[:2]),
    "lstsq": lambda z: sg.lstsq(z[:, :2], z.T),
    "expm": lambda z: sg.expm(z / 2),
    "sqrtm": lambda z: sg.sqrtm(z @ sg.conj(z).T),
    "invsqrtm": lambda z: sg.invsqrtm(z @ sg.conj(z).T),
    "matrix_power": lambda z: sg.matrix_power(z, -2),
    "nuclear norm": lambda z: sg.norm(z, "nuc") + sg.norm(z, 1) + sg.norm(z),
}


def cost(y: Any) -> Any:
    """Return a real number that depends on both parts of y."""
    w = sg.as_tensor(numbers(40).ravel()[: int(np.prod(y.type.shape))].reshape(y.type.shape))
    return sg.sum(sg.real(y * w)) + sg.sum(sg.abs2(y)) * 0.1


@pytest.mark.parametrize("name", sorted(SQUARE))
def test_both_modes_agree_with_differences(name: str) -> None:
    z, u = sg.tensor("z", (3, 3), "complex128"), numbers(3, 3, seed=9)
    y = SQUARE[name](z)
    c = cost(y)
    gz = sg.grad(c, z)
    dz = numbers(3, 3, seed=7)
    along = sg.sum(sg.real(sg.conj(gz) * u))
    second, forward = sg.grad(along, z), sg.Rop(gz, z, dz)
    f = sg.function([z], [c, y, gz, sg.Rop(y, z, dz), second, forward])
    at, step = drawn(3, 3, seed=2), 1e-6
    _, _, g, moved, r, m = f(at)
    (c1, y1, g1, *_), (c0, y0, g0, *_) = (f(at + s * step * dz) for s in (1, -1))
    slope = (c1 - c0) / (2 * step)
    assert abs(slope - (g.conj() * dz).real.sum()) <= 1e-6 * (1 + abs(slope))
    limit = 1e-6 * (1 + np.abs(moved).max())
    assert np.abs((y1 - y0) / (2 * step) - moved).max() <= limit
    change = (g1 - g0) / (2 * step)
    size = 1e-5 * (1 + np.abs(change).max())
    assert np.abs(m - change).max() <= size
    over = (r.conj() * dz).real.sum()
    assert abs(over - (u.conj() * change).real.sum()) <= 9 * size


@pytest.mark.parametrize("name", sorted(SQUARE))
def test_eager_and_batched_values_are_the_native_ones(name: str) -> None:
    x, f = drawn(3, 3, 3, seed=3), SQUARE[name]
    *alone, batched, scanned = run(
        lambda x: [*(f(x[k]) for k in range(3)), sg.vmap(f)(x), sg.scan(f, sequences=x)], x
    )
    near(run(f, x[0], mode="eager"), alone[0], "complex128")
    near(batched, np.stack(alone), "complex128")
    near(scanned, np.stack(alone), "complex128")


@pytest.mark.torch
def test_gradients_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    at, c = drawn(4, 4, seed=5), numbers(4, 4, seed=6)

    def value(lib: Any, x: Any, w: Any) -> Any:
        la = sg.linalg if lib is sg else torch.linalg
        adjoint = sg.conj(x).T if lib is sg else x.mH
        gram = x @ adjoint
        q, r = la.qr(x)
        sign, log = la.slogdet(x)
        ends, v = la.eigh(gram)
        u, s, vh = la.svd(x, full_matrices=False)
        power, columns = la.eig(x)
        back = (columns * power**2) @ la.inv(columns)
        exp = sg.expm if lib is sg else torch.linalg.matrix_exp
        terms = [
            la.cholesky(gram) * w, la.inv(x) * w, la.det(x) * w, sign * w, log * w,
            (v * ends**2) @ (sg.conj(v).T if lib is sg else v.mH) * w, (u * s**2) @ vh * w,
            (q @ r) * w, la.pinv(x[:, :2]) * w[:2], exp(x / 3) * w, back * w,
            la.solve(x, w), la.matrix_norm(x, "nuc") * w if lib is torch
            else la.norm(x, "nuc") * w, la.matrix_power(x, 3) * w, la.eigvals(x)[:, None] ** 2 * w,
        ]  # fmt: skip
        if lib is sg:
            return sum(sg.sum(sg.abs2(t + 1)) for t in terms[:-1]) + sg.real(sg.sum(terms[-1]))
        return sum((t + 1).abs().square().sum() for t in terms[:-1]) + terms[-1].sum().real

    mine = run(lambda x: sg.grad(value(sg, x, c), x), at)
    x = torch.tensor(at, requires_grad=True)
    value(torch, x, torch.tensor(c)).backward()
    theirs = x.grad.numpy()
    assert np.abs(mine - theirs).max() < 1e-9 * np.abs(theirs).max()


def test_gradients_by_hermitian_matrices_are_hermitian() -> None:
    p, c = positive(4, 4), numbers(4, 4)

    def build(x: Any) -> list[Any]:
        w, v = sg.eigh(x)
        costs = [sg.cholesky(x) * c, v * w * c, sg.sqrtm(x) * c,
                 sg.solve(x, c, assume_a="pos") ** 2]
        return [sg.grad(sg.real(sg.sum(y)), x) for y in costs]

    for g in run(build, p):
        assert np.allclose(g, h(g), atol=1e-12) and np.abs(g.imag).max() > 1e-5


def test_equal_eigenvalues_of_invariant_functions() -> None:
    def build(x: Any) -> list[Any]:
        w, v = sg.eigh(x)
        cube = sg.real(sg.trace((v * w**3) @ sg.conj(v).T))
        return [sg.grad(cube, x), sg.grad(sg.sum(sg.svdvals(x)), x),
                sg.grad(sg.real(sg.sum(sg.eigvals(x) ** 2)), x)]

    cube, nuclear, square = run(build, 2 * np.eye(3, dtype="complex128"))
    assert np.allclose(cube, 12 * np.eye(3)) and np.allclose(nuclear, np.eye(3))
    assert np.allclose(square, 4 * np.eye(3))


# -- refusals -------------------------------------------------------------------------------------
STACK = np.stack([np.eye(3, dtype="complex128")] * 4)
INDEFINITE = STACK.copy()
INDEFINITE[3, 1, 1] = -1
SINGULAR = STACK.copy()
SINGULAR[2, 1] = 1j * SINGULAR[2, 0]
ERRORS: dict[str, tuple[Build, np.ndarray, str]] = {
    "cholesky": (sg.cholesky, INDEFINITE, "matrix 3 of the batch is not positive definite"),
    "minor": (sg.cholesky, INDEFINITE[3], r"the matrix is not positive definite \(leading minor 2"),
    "pos": (lambda x: sg.solve(x, x, assume_a="pos"), INDEFINITE, "leading minor 2"),
    "solve": (lambda x: sg.solve(x, x), SINGULAR, r"solve: matrix 2 of the batch is singular"),
    "pivot": (sg.inv, SINGULAR[2], r"inv: the matrix is singular \(pivot 1 is zero\)"),
    "triangular": (
        lambda x: sg.solve_triangular(x, x, lower=True),
        np.diag([1.0 + 0j, 0.0, 0.0]),
        r"solve_triangular: the matrix is singular \(pivot 1",
    ),
    "svd": (lambda x: sg.svd(x)[0], np.full((2, 2), np.nan + 0j), "svd: the matrix has no sing"),
    "eig": (lambda x: sg.eig(x)[0], np.full((2, 2), 1j * np.inf), "eig: .* no eigenvalues"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ERRORS)
def test_error_names_the_matrix(name: str) -> None:
    build, value, pattern = ERRORS[name]
    for mode in ({}, {"mode": "eager"}):
        with pytest.raises(LinAlgError, match=pattern) as caught:
            run(build, value, **mode)
        text = str(caught.value)
        assert "`x0`" in text and "complex128" in text and "test_complex_linalg.py" in text


def test_singular_matrices_have_determinants() -> None:
    det, sign, log = run(lambda x: [sg.det(x), *sg.slogdet(x)], SINGULAR)
    assert det.tolist() == sign.tolist() == [1, 1, 0, 1]
    assert log.tolist() == [0, 0, -np.inf, 0]


def test_refusals() -> None:
    z = new_input("complex128", (2, 3))
    for f in (sg.det, sg.eig, sg.eigvals, sg.cholesky, sg.inv):
        with pytest.raises(ShapeError, match="square"):
            f(z)
    with pytest.raises(DTypeError, match="float32 or float64, or complex"):
        sg.det(new_input("float16", (2, 2)))
    with pytest.raises(ValueError, match="sym, her"):
        sg.solve(z[:, :2], z, assume_a="hermitian")
