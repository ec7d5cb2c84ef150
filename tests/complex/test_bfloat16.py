"""bfloat16: stored as 16 bits, computed in float32, against ml_dtypes and torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core import dtype as dt
from symgraph.core.errors import DTypeError
from symgraph.testing.tolerances import mismatch

ml_dtypes = pytest.importorskip("ml_dtypes")
BF16 = ml_dtypes.bfloat16


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(BF16)


def all_bits() -> np.ndarray:
    return np.arange(1 << 16, dtype=np.uint16).view(BF16)


def same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal bits, up to the bits of NaN."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    a, b = actual.astype(np.float32), expected.astype(np.float32)
    wrong = (a != b) & ~(np.isnan(a) & np.isnan(b))
    assert not wrong.any(), (actual[wrong][:3], expected[wrong][:3])


def test_every_number_survives_a_round_trip() -> None:
    x = sg.tensor("x", (None,), "bfloat16")
    same(sg.function([x], x)(all_bits()), all_bits())
    same(sg.function([x], x.astype("float32"))(all_bits()), all_bits().astype(np.float32))
    same(sg.function([x], sg.abs(x[::-1]))(all_bits()), np.abs(all_bits()[::-1]))


def test_rounding_to_nearest_even() -> None:
    y = sg.tensor("y", (None,), "float32")
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << 32, 100_000, dtype=np.uint64).astype(np.uint32)
    bits[: 1 << 16] = (np.arange(1 << 16, dtype=np.uint32) << 16) | 0x8000  # all ties
    values = bits.view(np.float32)
    same(sg.function([y], y.astype("bfloat16"))(values), values.astype(BF16))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "minimum"])
def test_arithmetic_is_rounded_once(name: str) -> None:
    x, y = (sg.tensor(k, (None,), "bfloat16") for k in "xy")
    node = getattr(sg, name)(x, y)
    assert node.dtype == "bfloat16"
    f = sg.function([x, y], node)
    a, b = numbers(5000), numbers(5000, seed=1)
    numpy = getattr(np, {"sub": "subtract", "mul": "multiply", "div": "divide"}.get(name, name))
    same(f(a, b), numpy(a, b))
    special = all_bits()[:: 1 << 6]
    left, right = (v.ravel() for v in np.meshgrid(special, special))
    with np.errstate(all="ignore"):
        same(f(left, right), numpy(left, right))


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sqrt", "sin", "sigmoid", "erf", "floor"])
def test_functions(name: str) -> None:
    x = sg.tensor("x", (None,), "bfloat16")
    node = getattr(sg, name)(x)
    wide = getattr(sg, name)(x.astype("float32"))
    got, expected = sg.function([x], [node, wide])(all_bits())
    same(got, expected.astype(BF16))


STRUCTURE: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], Any]]] = {
    "each operation is rounded": (lambda x: x * x + x, lambda a: a * a + a),
    "weak numbers": (lambda x: x * 2 + 0.1, lambda a: a * BF16(2) + BF16(0.1)),
    "transpose": (lambda x: x.T, lambda a: a.T),
    "index": (lambda x: x[1:, ::2], lambda a: a[1:, ::2]),
    "gather": (lambda x: x[np.array([2, 0])], lambda a: a[[2, 0]]),
    "concatenate": (lambda x: sg.concatenate([x, x]), lambda a: np.concatenate([a, a])),
    "where": (lambda x: sg.where(x > 0, x, 0), lambda a: np.where(a > 0, a, BF16(0))),
    "argmax": (lambda x: x.argmax(1), lambda a: a.astype(np.float32).argmax(1)),
    "max": (lambda x: x.max(1), lambda a: a.max(1)),
    "cast to int": (lambda x: (x * 10).astype("int32"), lambda a: (a * BF16(10)).astype(np.int32)),
    "isfinite": (sg.isfinite, np.isfinite),
}


@pytest.mark.parametrize("mode", ["native", "eager", "debug"])
@pytest.mark.parametrize("name", sorted(STRUCTURE))
def test_structure(name: str, mode: str) -> None:
    x = sg.tensor("x", (None, None), "bfloat16")
    make, expected = STRUCTURE[name]
    a = numbers(4, 6)
    same(np.asarray(sg.function([x], make(x), mode=mode)(a)), np.asarray(expected(a)))


def test_sums_are_added_up_in_float32() -> None:
    x = sg.tensor("x", (None,), "bfloat16")
    total = sg.function([x], [x.sum(), x.mean()])(np.ones(10_000, BF16))
    assert float(total[0]) == 9984.0 and float(total[1]) == 1.0  # 10000 rounded to 8 bits


def test_matrix_product() -> None:
    x, y = (sg.tensor(k, (None, None), "bfloat16") for k in "xy")
    f = sg.function([x, y], x @ y)
    for m, k, n in ((3, 4, 5), (64, 80, 96)):
        a, b = numbers(m, k), numbers(k, n, seed=1)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        wrong = mismatch(f(a, b), exact.astype(BF16), relative=5e-3)
        assert wrong is None, wrong


def test_promotion() -> None:
    x = sg.tensor("x", (None,), "bfloat16")
    pairs = {"float16": "float32", "float32": "float32", "float64": "float64", "int32": "bfloat16",
             "bool": "bfloat16", "complex64": "complex64", "bfloat16": "bfloat16"}  # fmt: skip
    for other, result in pairs.items():
        assert (x + sg.tensor("y", (None,), other)).dtype == result
    assert (x * 1.5).dtype == "bfloat16" and (x * 1j).dtype == "complex64"
    assert dt.BFLOAT16.is_float and dt.as_dtype(BF16) is dt.BFLOAT16 and dt.BFLOAT16.itemsize == 2


@pytest.mark.torch
def test_gradient_and_training_step() -> None:
    torch = pytest.importorskip("torch")
    x, w = sg.tensor("x", (8, 4), "bfloat16"), sg.shared(numbers(4, 3, seed=2), name="w")
    cost = (sg.tanh(x @ w) ** 2).mean()
    g = sg.grad(cost, w)
    assert g.dtype == "bfloat16"
    a, before = numbers(8, 4), w.get_value()
    f = sg.function([x], g, updates={w: w - g * 0.5})
    got = f(a)
    tw = torch.tensor(before.astype(np.float32), requires_grad=True)
    (torch.tanh(torch.tensor(a.astype(np.float32)) @ tw) ** 2).mean().backward()
    assert np.abs(got.astype(np.float32) - tw.grad.numpy()).max() < 2e-2
    same(w.get_value(), before - got * BF16(0.5))


def test_mixed_precision() -> None:
    """float32 master weights, products in bfloat16: the gradient comes back as float32."""
    x, w = sg.tensor("x", (8, 4), "float32"), sg.shared(np.ones((4, 3), "float32"))
    y = x.astype("bfloat16") @ w.astype("bfloat16")
    g = sg.grad((y.astype("float32") ** 2).sum(), w)
    assert y.dtype == "bfloat16" and g.dtype == "float32"
    a = numbers(8, 4).astype(np.float32)
    expected = 2 * a.T @ (a @ np.ones((4, 3), np.float32))
    wrong = mismatch(sg.function([x], g)(a), expected, relative=2e-2)
    assert wrong is None, wrong


def test_scan_keeps_the_type() -> None:
    x = sg.tensor("x", (None,), "bfloat16")
    states = sg.scan(lambda v, s: s * v + 1, sequences=x, outputs_info=sg.zeros((), "bfloat16"))
    a = numbers(9)
    expected, s = [], BF16(0)
    for v in a:
        s = s * v + BF16(1)
        expected.append(s)
    same(sg.function([x], states)(a), np.asarray(expected, BF16))


def test_arguments() -> None:
    x = sg.tensor("x", (None,), "bfloat16")
    f = sg.function([x], x + 1)
    a = numbers(6)
    for value in (a, a[::-1].copy()[::-1], np.repeat(a, 2)[::2]):
        same(f(value), a + BF16(1))
    same(f([1.0, 2.0]), np.array([2, 3], BF16))
    with pytest.raises(DTypeError, match="float32"):
        f(np.ones(2, np.float32))
    y = sg.vector("y", dtype="float32")
    assert sg.function([y], y)(a).dtype == np.float32
    s = sg.tensor("s", (), "bfloat16")
    assert sg.function([s], s * 2)(BF16(1.5)) == BF16(3)
    assert f(np.zeros(0, BF16)).shape == (0,)


def test_save_and_load(tmp_path: Any) -> None:
    pytest.importorskip("safetensors")
    w = sg.shared(numbers(3, 2))
    others = {"f": np.ones(2, "float32"), "i": np.arange(3), "z": np.ones((2, 1)) * 1j,
              "b": np.array([True, False]), "u": np.arange(3, dtype="uint8")}  # fmt: skip
    sg.save(tmp_path / "w", {"w": w, **others})
    loaded = sg.load(tmp_path / "w")
    same(loaded["w"], w.get_value())
    for name, value in others.items():
        assert loaded[name].dtype == value.dtype and np.array_equal(loaded[name], value)


def test_a_missing_package_is_named(monkeypatch: Any) -> None:
    class Missing:
        def __getattr__(self, name: str) -> Any:
            raise ModuleNotFoundError("No module named 'ml_dtypes'")

    monkeypatch.setattr(dt, "_ml_dtypes", Missing())
    with pytest.raises(ImportError, match=r"symgraph\[bfloat16\]"):
        _ = dt.DType("bfloat16").numpy


def test_a_result_is_the_first_bfloat16_of_a_program() -> None:
    """Nobody has imported the package by then that tells NumPy of the dtype."""
    code = (
        "import numpy as np, symgraph as sg\n"
        "x = sg.vector('x', dtype='float32')\n"
        "y = sg.function([x], x.astype('bfloat16'))(np.ones(3, 'float32'))\n"
        "assert str(y.dtype) == 'bfloat16' and y.shape == (3,)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
