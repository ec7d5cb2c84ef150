"""Square factors of oblong matrices: complete Q of a QR, U and Vh of an SVD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.errors import NotDifferentiableError
from symgraph.core.node import new_input

RNG = np.random.default_rng(4)
SHAPES = ((5, 3), (3, 5), (4, 4), (2, 6, 2), (2, 2, 3, 5), (1, 4), (4, 1), (3, 0), (0, 2))


def matrices(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    x = RNG.normal(size=shape)
    if dtype.startswith("c"):
        x = x + 1j * RNG.normal(size=shape)
    return x.astype(dtype)


def adjoint(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2).conj()


def orthonormal(q: np.ndarray) -> None:
    limit = 1e-5 if q.dtype.itemsize in (4,) or q.dtype == "complex64" else 1e-12
    eye = np.broadcast_to(np.eye(q.shape[-1]), q.shape)
    np.testing.assert_allclose(adjoint(q) @ q, eye, atol=limit)


@pytest.mark.parametrize("mode", [None, "eager"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize("shape", SHAPES)
def test_qr(shape: tuple[int, ...], dtype: str, mode: str | None) -> None:
    a = matrices(shape, dtype)
    x = new_input(dtype, shape, "x")
    q, r = sg.function([x], sg.linalg.qr(x, mode="complete"), mode=mode)(a)
    m, n = shape[-2:]
    assert q.shape == (*shape[:-1], m) and r.shape == shape
    limit = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(q @ r, a, atol=limit)
    orthonormal(q)
    np.testing.assert_array_equal(r, np.triu(r))
    expected = np.linalg.qr(a, mode="complete")
    np.testing.assert_allclose(r, expected[1], atol=limit)


@pytest.mark.parametrize("mode", [None, "eager"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
@pytest.mark.parametrize("shape", SHAPES)
def test_svd(shape: tuple[int, ...], dtype: str, mode: str | None) -> None:
    a = matrices(shape, dtype)
    x = new_input(dtype, shape, "x")
    parts = sg.linalg.svd(x, full_matrices=True)
    u, s, vh = sg.function([x], list(parts), mode=mode)(a)
    m, n = shape[-2:]
    k = min(m, n)
    assert u.shape == (*shape[:-1], m) and vh.shape == (*shape[:-2], n, n)
    assert [p.type.shape for p in parts] == [u.shape, s.shape, vh.shape]
    orthonormal(u)
    orthonormal(vh)
    limit = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a, atol=limit)
    reduced = sg.function([x], list(sg.linalg.svd(x)), mode=mode)(a)
    for full, part in zip((u[..., :k], s, vh[..., :k, :]), reduced, strict=True):
        np.testing.assert_allclose(full, part, atol=limit)


def test_derivatives() -> None:
    """Of R always; of the square Q only where it is the reduced one; of U and Vh as of theirs."""
    a = matrices((5, 3), "float64")
    x = new_input("float64", a.shape, "x")
    q, r = sg.linalg.qr(x, mode="complete")
    w = RNG.normal(size=(3, 3))
    whole = sg.function([x], sg.grad((r[:3] * w).sum() + r[3:].sum(), x))(a)
    part = sg.function([x], sg.grad((sg.linalg.qr(x)[1] * w).sum(), x))(a)
    np.testing.assert_allclose(whole, part)
    with pytest.raises(NotDifferentiableError, match="reduced"):
        sg.grad(q.sum(), x)
    square = new_input("float64", (3, 3), "x")
    q, _ = sg.linalg.qr(square, mode="complete")
    assert sg.grad(q.sum(), square).type.shape == (3, 3)
    weights = [RNG.normal(size=s) for s in ((5, 5), (3,), (3, 3))]

    def cost(parts: Any) -> Any:
        u, s, vh = parts
        k = u.type.shape[-1]
        return (u * weights[0][:, :k]).sum() + (s * weights[1]).sum() + (vh * weights[2]).sum()

    gradients = [
        sg.function([x], sg.grad(cost(sg.linalg.svd(x, full_matrices=full)), x))(a)
        for full in (True, False)
    ]
    np.testing.assert_allclose(*gradients)


def test_sizes_known_when_it_runs() -> None:
    x = sg.matrix("x", dtype="float64")
    f = sg.function([x], [*sg.linalg.qr(x, mode="complete"), *sg.linalg.svd(x, True)],
                    shapes="generic")
    for shape in ((5, 3), (3, 5), (4, 4)):
        a = matrices(shape, "float64")
        q, r, u, s, vh = f(a)
        np.testing.assert_allclose(q @ r, a, atol=1e-12)
        table = np.zeros(shape)
        np.fill_diagonal(table, s)
        np.testing.assert_allclose(u @ table @ vh, a, atol=1e-12)
        orthonormal(u)


def test_modes_are_named() -> None:
    with pytest.raises(ValueError, match="complete"):
        sg.linalg.qr(sg.matrix("x", dtype="float64"), mode="raw")
