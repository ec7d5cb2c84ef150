"""Complex systems of equations and inverses: NumPy's values, derivatives, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.errors import LinAlgError
from symgraph.core.node import new_input


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def run(f: Any, *arrays: np.ndarray) -> np.ndarray:
    inputs = [new_input(a.dtype, a.shape) for a in arrays]
    result: np.ndarray = sg.function(inputs, f(*inputs))(*arrays)
    return result


@pytest.mark.parametrize("shape", [(4,), (4, 2), (3, 4, 2)])
@pytest.mark.parametrize("kinds", ["both", "matrix", "right side"])
def test_solve(shape: Any, kinds: str) -> None:
    a, b = numbers(4, 4), numbers(*shape, seed=1)
    a, b = (a.real if kinds == "right side" else a), (b.real if kinds == "matrix" else b)
    x = run(sg.solve, a, np.ascontiguousarray(b))
    assert x.dtype == "complex128" and x.shape == shape
    assert np.abs(np.matmul(a, x) - b).max() < 1e-13 * np.linalg.cond(a)


def test_hermitian_positive_definite() -> None:
    a, b = numbers(5, 5), numbers(5)
    a = a @ a.conj().T + np.eye(5)
    x = run(lambda p, q: sg.solve(p, q, assume_a="pos"), a, b)
    assert np.abs(a @ x - b).max() < 1e-12


def test_inverse_of_a_batch() -> None:
    a = numbers(3, 4, 4)
    assert np.abs(run(sg.inv, a) - np.linalg.inv(a)).max() < 1e-12
    single = run(sg.linalg.inv, a.astype("complex64"))
    assert single.dtype == "complex64" and np.abs(single - np.linalg.inv(a)).max() < 1e-3


@pytest.mark.torch
def test_gradient_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    a, b = numbers(4, 4), numbers(4, 2, seed=1)
    got = [
        run(lambda p, q, k=k: sg.grad(sg.sum(sg.abs2(sg.solve(p, q) + 1)), [p, q])[k], a, b)
        for k in (0, 1)
    ]
    ta, tb = (torch.tensor(v, requires_grad=True) for v in (a, b))
    (torch.linalg.solve(ta, tb) + 1).abs().square().sum().backward()
    for mine, theirs in zip(got, (ta.grad, tb.grad), strict=True):
        assert np.abs(mine - theirs.numpy()).max() < 1e-10 * (1 + np.abs(theirs.numpy()).max())


def test_errors() -> None:
    with pytest.raises(LinAlgError):
        run(sg.inv, np.ones((2, 2), complex))
