"""Complex functions: NumPy's values, native against NumPy, special values, refusals."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.errors import DTypeError, NotDifferentiableError
from symgraph.testing.tolerances import mismatch

DTYPES = ("complex64", "complex128")
UNARY = (
    *("neg", "square", "reciprocal", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p"),
    *("sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh"),
    *("acosh", "atanh", "conj", "abs", "sign", "angle", "real", "imag", "isnan", "isinf"),
    *("isfinite", "isreal", "iscomplex", "logical_not", "rint", "nan_to_num", "abs2"),
)
BINARY = ("add", "sub", "mul", "div", "power", "eq", "ne", "logical_and", "logical_or")
# NumPy loses digits near 0, and makes NaN of exp(x) * 0
LESS_EXACT = ("expm1", "log1p")
ULP = 16
NUMPY_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "neg": "negative", "asinh": "arcsinh",
    "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip


def numbers(shape: Any, dtype: str = "complex128", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)


def corners(dtype: str) -> np.ndarray:
    """Return all pairs of parts at which functions go wrong."""
    parts = [0.0, 1.0, 0.5, 2.0, 30.0, 1e-8, 1e5, np.inf]
    signed = [s * p for p in parts for s in (1, -1)] + [np.nan]
    grid = np.array(list(itertools.product(signed, signed)))
    z = np.empty(len(grid), dtype)
    z.real, z.imag = grid[:, 0], grid[:, 1]
    return z


def agree(actual: Any, expected: Any, ulp: float | None = None) -> None:
    wrong = mismatch(actual, expected, ulp=ulp if expected.dtype.kind in "fc" else None)
    assert wrong is None, wrong


def unsigned(z: np.ndarray) -> np.ndarray:
    """Drop the sign of an infinity beside a NaN: the C standard leaves it open."""
    if z.dtype.kind != "c":
        return z
    z = z.copy()
    z.real[np.isinf(z.real) & np.isnan(z.imag)] = np.inf
    z.imag[np.isinf(z.imag) & np.isnan(z.real)] = np.inf
    return z


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_function_of_one_number(name: str, dtype: str) -> None:
    z = sg.tensor("z", (None,), dtype)
    y = getattr(sg, name)(z)
    f = sg.function([z], y)
    array = 3 * numbers(200, dtype)
    agree(f(array), y.eval({z: array}), ULP)
    if name not in LESS_EXACT:
        agree(unsigned(f(corners(dtype))), unsigned(y.eval({z: corners(dtype)})), ULP)
    numpy = getattr(np, NUMPY_NAMES.get(name, name), None)
    if numpy is not None:
        agree(f(array), numpy(array), ULP)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "sin", "tanh", "asin", "acosh", "atanh",
                                  "log1p", "expm1"])  # fmt: skip
def test_accuracy_against_mpmath(name: str) -> None:
    """Also near the points where naive formulas cancel or overflow."""
    import mpmath

    rng = np.random.default_rng(3)
    size = 10.0 ** rng.uniform(-12, 2, 300)
    array = size * np.exp(1j * rng.uniform(-np.pi, np.pi, 300))
    array = np.concatenate([array, 1 + 1e-6 * array, -1 + 1e-6 * array])
    z = sg.tensor("z", (None,), "complex128")
    got = sg.function([z], getattr(sg, name)(z))(array)
    with mpmath.workdps(50):
        exact = [complex(getattr(mpmath, name)(mpmath.mpc(v))) for v in array]
    with np.errstate(all="ignore"):
        error = np.abs(got - exact) / np.abs(exact)
    assert error.max() < 1e-14


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sign", "atan", "atanh"])
def test_function_at_the_ends_of_the_range(name: str, dtype: str) -> None:
    tiny, huge = (1e-25, 1e25) if dtype == "complex64" else (1e-200, 1e200)
    ends = (0.0, 1.0, tiny, huge, np.inf, np.nan)
    parts = np.array([v for e in ends for v in (e, -e)])
    z = (parts[:, None] + np.zeros_like(parts) * 1j).astype(dtype)
    z.imag = parts
    if name != "sign":  # an infinite part beside a NaN: C99 and NumPy's libraries differ
        z = z[np.isfinite(z)]
    x = sg.tensor("x", z.shape, dtype)
    with np.errstate(all="ignore"):
        wanted = getattr(np, NUMPY_NAMES.get(name, name))(z)
    assert mismatch(sg.function([x], getattr(sg, name)(x))(z), wanted, ulp=ULP) is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_function_of_two_numbers(name: str, dtype: str) -> None:
    x, y = sg.tensor("x", (None,), dtype), sg.tensor("y", (None,), dtype)
    node = getattr(sg, name)(x, y)
    f = sg.function([x, y], node)
    a, b = numbers(100, dtype), numbers(100, dtype, 1)
    b[:20] = a[:20]
    agree(f(a, b), node.eval({x: a, y: b}), 64 if name == "power" else ULP)
    if name == "power":
        return
    with np.errstate(all="ignore"):
        left, right = (v.ravel() for v in np.meshgrid(corners(dtype), corners(dtype)))
    agree(f(left, right), node.eval({x: left, y: right}), ULP)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 7, 0.5, 1.3, 2 - 1j])
def test_power_of_known_exponent(exponent: Any) -> None:
    z = sg.tensor("z", (None,), "complex128")
    array = numbers(50)
    agree(sg.function([z], z**exponent)(array), array**exponent, 64)


def test_power_at_zero_is_numpys() -> None:
    x, y = sg.tensor("x", (), "complex128"), sg.tensor("y", (), "complex128")
    f = sg.function([x, y], x**y)
    for e in (0, 1, 2.5, 1j, -1):
        with np.errstate(all="ignore"):
            agree(f(0j, e + 0j), np.asarray(np.power(np.complex128(0), np.complex128(e))), 4)


MIXED: list[tuple[str, str, str]] = [
    ("float64", "complex64", "complex128"),
    ("float32", "complex64", "complex64"),
    ("int64", "complex64", "complex64"),
    ("float16", "complex64", "complex64"),
    ("complex64", "complex128", "complex128"),
    ("bool", "complex64", "complex64"),
]


@pytest.mark.parametrize("left,right,result", MIXED)
def test_promotion(left: str, right: str, result: str) -> None:
    x, y = sg.tensor("x", (None,), left), sg.tensor("y", (None,), right)
    a, b = np.arange(1, 4).astype(left), numbers(3, right)
    value = sg.function([x, y], x * y - x)(a, b)
    assert value.dtype == result
    agree(value, (a.astype(result) * b - a.astype(result)).astype(result), 8)


def test_python_numbers_are_weak() -> None:
    x, z = sg.tensor("x", (None,), "float32"), sg.tensor("z", (None,), "complex64")
    assert (x * 1j).dtype == "complex64" and (z + 1.5).dtype == "complex64"
    assert (sg.tensor("d", (), "float64") + 2j).dtype == "complex128"
    a = np.array([1.0, -2.0], "float32")
    agree(sg.function([x], sg.exp(1j * x))(a), np.exp(1j * a), 8)


# -- structure -----------------------------------------------------------------------------------
def _stored(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a[1:, 0] = 1j
    return a


def _added(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a[0] += a[1]
    return a


STRUCTURE: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], Any]]] = {
    "sum": (lambda z: z.sum(1), lambda a: a.sum(1)),
    "sum of all": (lambda z: z.sum(), lambda a: np.asarray(a.sum())),
    "mean": (lambda z: z.mean(0), lambda a: a.mean(0)),
    "var": (lambda z: z.var(1), lambda a: a.var(1)),
    "std": (lambda z: z.std(1, ddof=1), lambda a: a.std(1, ddof=1)),
    "prod": (lambda z: z.prod(1), lambda a: a.prod(1)),
    "prod of all": (lambda z: z.prod(), lambda a: np.asarray(a.prod())),
    "cumsum": (lambda z: z.cumsum(1), lambda a: a.cumsum(1)),
    "cumprod": (lambda z: z.cumprod(0), lambda a: a.cumprod(0)),
    "any": (lambda z: sg.any(z, 0), lambda a: a.any(0)),
    "all": (lambda z: sg.all(z, 1), lambda a: a.all(1)),
    "transpose": (lambda z: z.T * 2, lambda a: a.T * 2),
    "reshape": (lambda z: z.reshape((2, 10)), lambda a: a.reshape((2, 10))),
    "index": (lambda z: z[1], lambda a: a[1]),
    "slice": (lambda z: z[::-1, 1:3], lambda a: a[::-1, 1:3]),
    "gather": (lambda z: z[np.array([2, 0])], lambda a: a[[2, 0]]),
    "take": (lambda z: sg.take(z, np.array([1, 1]), 1), lambda a: a.take([1, 1], 1)),
    "concatenate": (
        lambda z: sg.concatenate([z, z.real, z]),
        lambda a: np.concatenate([a, a.real, a]),
    ),
    "vectors": (lambda z: sg.stack([z, 1j * z]), lambda a: np.stack([a, 1j * a])),
    "pad": (lambda z: sg.pad(z, 1), lambda a: np.pad(a, 1)),
    "roll": (lambda z: sg.roll(z, 1, 0), lambda a: np.roll(a, 1, 0)),
    "where": (lambda z: sg.where(z.real > 0, z, -1j), lambda a: np.where(a.real > 0, a, -1j)),
    "diagonal": (lambda z: z[:, :4].diagonal(), lambda a: a[:, :4].diagonal()),
    "trace": (lambda z: z[:, :4].trace(), lambda a: np.asarray(a[:, :4].trace())),
    "tril": (sg.tril, np.tril),
    "diag": (lambda z: sg.diag(z[0]), lambda a: np.diag(a[0])),
    "outer": (lambda z: sg.outer(z[0], z[1]), lambda a: np.outer(a[0], a[1])),
    "vdot": (lambda z: sg.vdot(z[0], z[1]), lambda a: np.asarray(np.vdot(a[0], a[1]))),
    "matmul": (lambda z: z @ z.T, lambda a: a @ a.T),
    "real matrix": (lambda z: z.real @ z.T, lambda a: a.real @ a.T),
    "tensordot": (lambda z: sg.tensordot(z, z, 2), lambda a: np.asarray(np.tensordot(a, a, 2))),
    "einsum": (lambda z: sg.einsum("ij,kj->ik", z, z), lambda a: np.einsum("ij,kj->ik", a, a)),
    "kron": (lambda z: sg.kron(z, z), lambda a: np.kron(a, a)),
    "broadcast": (lambda z: z[:, None] + z[0], lambda a: a[:, None] + a[0]),
    "round": (lambda z: z.round(2), lambda a: a.round(2)),
    "zeros": (lambda z: sg.zeros((2,), "complex64") + z[:2, 0], lambda a: a[:2, 0]),
    "view as real": (sg.view_as_real, lambda a: np.stack([a.real, a.imag], -1)),
    "there and back": (lambda z: sg.view_as_complex(2 * sg.view_as_real(z)), lambda a: 2 * a),
    "polar": (lambda z: sg.polar(abs(z), sg.angle(z)), lambda a: a),
    "attributes": (lambda z: z.real + z.imag, lambda a: a.real + a.imag),
    "norm": (lambda z: sg.norm(z, axis=1), lambda a: np.linalg.norm(a, axis=1)),
    "set": (lambda z: sg.set_subtensor(z[1:, 0], 1j), _stored),
    "inc": (lambda z: sg.inc_subtensor(z[0], z[1]), _added),
    "isclose": (lambda z: sg.isclose(z, z + 1e-12), lambda a: np.isclose(a, a + 1e-12)),
    "identity": (lambda z: z, lambda a: a),
}


@pytest.mark.parametrize("fixed", [True, False], ids=["static", "generic"])
@pytest.mark.parametrize("name", sorted(STRUCTURE))
def test_structure(name: str, fixed: bool) -> None:
    make, expected = STRUCTURE[name]
    array = numbers((4, 5))
    z = sg.tensor("z", (4, 5) if fixed else (None, None), "complex128")
    node = make(z)
    want = expected(array)
    f = sg.function([z], node, shapes="auto" if fixed else "generic")
    for value in (f(array), node.eval({z: array})):
        assert value.dtype == want.dtype
        wrong = mismatch(value, want, relative=1e-14)
        assert wrong is None, wrong


@pytest.mark.parametrize("name", sorted(STRUCTURE))
def test_debug_mode_agrees(name: str) -> None:
    z = sg.tensor("z", (4, 5), "complex128")
    sg.function([z], STRUCTURE[name][0](z), mode="debug")(numbers((4, 5)))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0), (2, 3, 4), (1, 7)])
def test_shapes(shape: Any) -> None:
    z = sg.tensor("z", (None,) * len(shape), "complex64")
    array = numbers(shape, "complex64")
    f = sg.function([z], [z * z + 1, abs(z), z.prod()])
    square, size, product = f(array)
    agree(square, np.asarray(array * array + 1), 8)
    agree(size, np.asarray(abs(array)), 4)
    assert mismatch(product, np.asarray(array.prod()), relative=1e-5) is None
    assert square.dtype == "complex64" and size.dtype == "float32"


def test_large_product_uses_the_library() -> None:
    x, y = sg.tensor("x", (70, 90), "complex64"), sg.tensor("y", (90, 110), "complex64")
    a, b = numbers((70, 90), "complex64"), numbers((90, 110), "complex64", 1)
    f = sg.function([x, y], x @ y)
    assert mismatch(f(a, b), a @ b, relative=1e-5) is None


# -- refusals ------------------------------------------------------------------------------------
REFUSED: dict[str, Callable[[Any], Any]] = {
    "order": lambda z: z < 1j,
    "maximum": lambda z: sg.maximum(z, 0),
    "max": lambda z: z.max(),
    "argmax": lambda z: z.argmax(),
    "sort": sg.sort,
    "floor": sg.floor,
    "remainder": lambda z: z % 2,
    "bits": lambda z: z & 1,
    "erf": sg.erf,
    "cast to float": lambda z: z.astype("float64"),
    "relu": sg.relu,
    "softmax": sg.softmax,
    "complex of complex": lambda z: sg.complex(z, 0),
    "index": lambda z: sg.arange(4)[z],
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_when_built(name: str) -> None:
    z = sg.tensor("z", (None,), "complex128")
    with pytest.raises((DTypeError, IndexError), match="complex"):
        REFUSED[name](z)


def test_gradient_of_complex_cost_is_refused() -> None:
    z = sg.tensor("z", (None,), "complex128")
    with pytest.raises(NotDifferentiableError, match="must be real"):
        sg.grad(z.sum(), z)
