"""NumPy's functions called on variables build the graph of the value that NumPy computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg

A = np.random.default_rng(0).normal(size=(2, 3, 3))
Z = A + 1j * A[::-1]

FFT = "fft ifft rfft irfft fftn ifftn rfftn irfftn fft2 ifft2 rfft2 irfft2 hfft ihfft fftshift"
LINALG = "inv det slogdet pinv norm diagonal trace matrix_norm vector_norm matrix_transpose"
CASES: dict[str, Callable[[Any], Any]] = {
    **{f"fft.{n}": getattr(np.fft, n) for n in FFT.split()},
    **{f"linalg.{n}": getattr(np.linalg, n) for n in LINALG.split()},
    "rfft along 0": lambda x: np.fft.rfft(x, n=4, axis=0, norm="ortho"),
    "diagonal": np.diagonal,
    "trace": lambda x: np.trace(x, 1),
    "copy": np.copy,
    "partition": lambda x: np.partition(x, 1)[..., 1],
    "argpartition": lambda x: np.argpartition(x, 1)[..., 1],
    "matrix_norm 2": lambda x: np.linalg.matrix_norm(x, ord=2, keepdims=True),
    "vector_norm axes": lambda x: np.linalg.vector_norm(x, axis=(2, 0), ord=3, keepdims=True),
    "vector_norm axis": lambda x: np.linalg.vector_norm(x, axis=1, ord=1),
    "vector_norm kept": lambda x: np.linalg.vector_norm(x, keepdims=True),
    "add.reduce": np.add.reduce,
    "multiply.reduce": lambda x: np.multiply.reduce(x, axis=1),
    "maximum.reduce": lambda x: np.maximum.reduce(x, axis=(0, 2), keepdims=True),
}
if hasattr(np, "vecmat"):  # NumPy 2.2
    CASES["vecmat"] = lambda x: np.vecmat(x[:, 0], x)
    CASES["matvec"] = lambda x: np.matvec(x, x[:, 0])
    CASES["vecdot"] = lambda x: np.vecdot(x, x[::-1])


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    x = sg.tensor("x", A.shape, "float64")
    _same(CASES[name](x), x, A, CASES[name](A))


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("vec") or n == "matvec"])
def test_complex_values(name: str) -> None:
    x = sg.tensor("x", Z.shape, "complex128")
    _same(CASES[name](x), x, Z, CASES[name](Z))


def _same(found: Any, x: Any, value: Any, expected: Any) -> None:
    several = isinstance(expected, tuple)
    pairs = zip(found, expected, strict=True) if several else [(found, expected)]
    for node, array in pairs:
        np.testing.assert_allclose(node.eval({x: value}), array, rtol=1e-11, atol=1e-12)


def test_questions_about_the_type() -> None:
    x, z = sg.matrix("x"), sg.cvector("z")
    assert np.ndim(x) == 2
    assert np.iscomplexobj(z) and not np.iscomplexobj(x)
    assert np.isrealobj(x) and not np.isrealobj(z)


def test_what_is_not_the_same_function_is_refused() -> None:
    x = sg.matrix("x")
    with pytest.raises(TypeError, match=r"use sg\.linalg\.lstsq\(a, b\)"):
        np.linalg.lstsq(x, x)
    with pytest.raises(TypeError, match=r"add"):
        np.add.reduce(x, dtype="float64")
