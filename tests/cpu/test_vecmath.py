"""Accuracy and special values of `symgraph.cpu.vecmath`, measured on compiled vector code."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from vec_runner import Compiled, expand
from vecmath_oracle import NUMPY, exact_by_mpmath, exact_values, points, ulp_error

import symgraph as sg
from symgraph.core.dtype import FLOAT32, FLOAT64, DType
from symgraph.core.op import ops
from symgraph.cpu.vecmath import EXPANSIONS, ULP
from symgraph.loops import expr
from symgraph.loops.expr import walk

TYPES = [FLOAT32, FLOAT64]
BINARY = {"pow", "atan2"}
UNARY = sorted(set(EXPANSIONS) - BINARY)
PRIMITIVE = expr.ARITHMETIC | expr.BITWISE | expr.COMPARE | expr.UNARY
PRIMITIVE |= {"fma", "select", "cast", "bitcast", "const", "load", "affine", "axis"}
SPECIAL = [
    *(np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1.5, -1.5, 10, 700),
    *(5e-324, -5e-324, 1e-310, 1e-40, -1e-40, 1e-45, 1e-20, -1e-20, 1e16, -1e16, 2.0**24 + 1),
    *(88.0, 89.5, -88.0, -104.5, 709.5, 710.5, -745.0, -746.0, 1e30, -1e30, 1e300, -1e300),
]


@cache
def compiled(name: str, dtype: DType) -> Compiled:
    return Compiled(EXPANSIONS[name], dtype, 2 if name in BINARY else 1)


def check(name: str, dtype: DType, exact: np.ndarray, *inputs: np.ndarray) -> None:
    got = compiled(name, dtype)(*inputs)
    error = ulp_error(got, exact)
    worst = int(np.argmax(error))
    assert error[worst] <= ULP[name][dtype], (
        f"{name} {dtype}: {float(error[worst]):.3f} ulp at {[x[worst] for x in inputs]!r}, "
        f"got {got[worst]!r}, exact {exact[worst]!r}"
    )


def test_every_function_is_there_with_a_limit() -> None:
    assert set(EXPANSIONS) == expr.MATH | expr.MATH2 == set(ULP)


def test_ops_promise_no_more_than_their_functions_hold() -> None:
    """References are rounded results: half an ulp is theirs."""
    for name, limits in ULP.items():
        op = ops.get({"pow": "power"}.get(name, name))
        for dtype, limit in limits.items():
            assert op is None or limit + 0.5 <= op.ulp[dtype], name


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", sorted(EXPANSIONS))
def test_only_primitive_operations(name: str, dtype: DType) -> None:
    result, _ = expand(EXPANSIONS[name], dtype, 2 if name in BINARY else 1)
    assert result.dtype is dtype
    assert {e.op for e in walk([result])} <= PRIMITIVE


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", sorted(set(UNARY) & set(NUMPY)))
def test_accuracy_on_many_points(name: str, dtype: DType) -> None:
    x = points(name, dtype, 1_000_000 if dtype is FLOAT32 else 100_000)
    check(name, dtype, exact_values(name, x), x)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", UNARY)
def test_accuracy_against_mpmath(name: str, dtype: DType) -> None:
    count = 3000 if dtype is FLOAT64 or name in ("erf", "erfc") else 300
    x = points(name, dtype, count, seed=1)
    check(name, dtype, exact_by_mpmath(name, x), x)


def power_points(dtype: DType, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw x > 0 of all sizes and near 1, and y so that x**y covers the range of results."""
    rng = np.random.default_rng(2)
    info = np.finfo(dtype)
    x = np.concatenate([
        np.exp2(rng.uniform(info.minexp - info.nmant, info.maxexp - 1, count)),
        rng.uniform(0.5, 2, count),
        1 + rng.choice([-1.0, 1.0], count) * np.exp2(rng.uniform(-info.nmant, -1, count)),
    ]).astype(dtype)  # fmt: skip
    result = rng.uniform(info.minexp - info.nmant, info.maxexp, x.size)
    with np.errstate(all="ignore"):
        y = result / np.log2(x.astype(float))
    return x, np.where(np.isfinite(y), y, 2.0).astype(dtype)


def angle_points(dtype: DType, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    info = np.finfo(dtype)
    x = np.exp2(rng.uniform(info.minexp, info.maxexp - 1, count)) * rng.choice([-1.0, 1.0], count)
    with np.errstate(all="ignore"):
        y = x * np.exp2(rng.uniform(-30, 30, count)) * rng.choice([-1.0, 1.0], count)
        return y.astype(dtype), x.astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", sorted(BINARY))
def test_binary_accuracy(name: str, dtype: DType) -> None:
    draw = power_points if name == "pow" else angle_points
    inputs = draw(dtype, 200_000 if dtype is FLOAT32 else 40_000)
    check(name, dtype, exact_values(name, *inputs), *inputs)
    few = [x[np.linspace(0, x.size - 1, 1000).astype(int)] for x in inputs]
    finite = np.isfinite(few[0]) & np.isfinite(few[1])
    few = [x[finite] for x in few]
    check(name, dtype, exact_by_mpmath(name, *few), *few)


def check_specials(name: str, dtype: DType, expected: np.ndarray, *inputs: np.ndarray) -> None:
    got = compiled(name, dtype)(*inputs)
    both_nan = np.isnan(got) & np.isnan(expected)
    # NumPy is not exact either: leave it as much as the function may have.
    close = ulp_error(got, expected) <= ULP[name][dtype] + 1.0
    good = both_nan | (close & (np.signbit(got) == np.signbit(expected)))
    rows = list(zip(*(x[~good] for x in inputs), expected[~good], got[~good], strict=True))
    assert good.all(), f"{name} {dtype}: (inputs, expected, got) {rows[:8]}"


@pytest.mark.filterwarnings("ignore:.*encountered in")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", sorted(set(UNARY) & set(NUMPY)))
def test_special_values(name: str, dtype: DType) -> None:
    x = np.array(SPECIAL).astype(dtype)
    expected = exact_values(name, x).astype(dtype)
    check_specials(name, dtype, expected, x)


@pytest.mark.filterwarnings("ignore:.*encountered in")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", sorted(BINARY))
def test_special_pairs(name: str, dtype: DType) -> None:
    values = np.array(SPECIAL).astype(dtype)
    x, y = (v.ravel().copy() for v in np.meshgrid(values, values))
    check_specials(name, dtype, exact_values(name, x, y).astype(dtype), x, y)


@pytest.mark.parametrize("dtype", TYPES)
def test_error_function_specials(dtype: DType) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 40.0, -40.0]).astype(dtype)
    erf = np.array([np.nan, 1, -1, 0.0, -0.0, 1, -1]).astype(dtype)
    check_specials("erf", dtype, erf, x)
    erfc = np.array([np.nan, 0, 2, 1, 1, 0, 2]).astype(dtype)
    check_specials("erfc", dtype, erfc, x)


def test_exact_results() -> None:
    powers = np.arange(-1074.0, 1024.0)
    np.testing.assert_array_equal(compiled("exp2", FLOAT64)(powers), np.exp2(powers))
    np.testing.assert_array_equal(compiled("log2", FLOAT64)(np.exp2(powers)), powers)
    tens = np.array([10.0**k for k in range(23)])
    np.testing.assert_array_equal(compiled("log10", FLOAT64)(tens), np.arange(23.0))
    cubes = np.arange(-200.0, 200.0)
    np.testing.assert_array_equal(compiled("cbrt", FLOAT64)(cubes**3), cubes)
    np.testing.assert_array_equal(compiled("pow", FLOAT64)(cubes, np.full(400, 3.0)), cubes**3)


def test_subnormal_float32_results_of_exp() -> None:
    x = np.linspace(-103.9, -87.0, 20001).astype(np.float32)
    check("exp", FLOAT32, np.exp(x.astype(np.longdouble)), x)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_huge_float32_angles(name: str) -> None:
    rng = np.random.default_rng(4)
    x = np.exp2(rng.uniform(10, 127.99, 2000)).astype(np.float32)
    # The nearest float32 to a multiple of pi/2 and its neighbours in difficulty.
    x[:3] = [16367173.0 * 2.0**72, 1.2533142e5, 3.4028235e38]
    check(name, FLOAT32, exact_by_mpmath(name, x), x)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_large_float64_angles(name: str) -> None:
    rng = np.random.default_rng(5)
    wide = np.exp2(rng.uniform(5, 1023.99, 2000)) * rng.choice([-1.0, 1.0], 2000)
    near = np.exp2(rng.uniform(5, 60, 2000)) * rng.choice([-1.0, 1.0], 2000)
    # Close to multiples of pi/2, and the float64 that is closest to one of all.
    multiples = np.rint(np.exp2(rng.uniform(0, 52, 1000))) * (np.pi / 2)
    hardest = np.array([6381956970095103.0 * 2.0**797, np.finfo(float).max, 2.0**45, 2.0**1023])
    x = np.concatenate([wide, near, multiples, hardest])
    with np.errstate(all="ignore"):
        check(name, FLOAT64, exact_by_mpmath(name, x, precision=1300), x)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("y", [0.5, -0.5, 1 / 3, -1 / 3, 2.5, -7.25, 0.001, 100.5, 1e20 + 0.5])
def test_powers_by_a_constant_fraction(y: float, dtype: DType) -> None:
    """The special cases of C99 (of infinity, zero, negative bases), and no loss of accuracy."""
    x, _ = power_points(dtype, 2000)
    info = np.finfo(dtype)
    special = [0.0, 1.0, np.inf, 0.5, 2.0, info.tiny, info.max, info.smallest_subnormal]
    x = np.concatenate([x, -x[:50], special, np.negative(special), [np.nan]]).astype(dtype.numpy)
    exponent = dtype.numpy.type(y)
    power = Compiled(lambda s, v: EXPANSIONS["pow"](s, v, s.const(exponent, dtype)), dtype, 1)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.longdouble), np.longdouble(exponent))
    assert ulp_error(power(x), want).max() <= ULP["pow"][dtype]


def test_rare_parts_of_single_numbers_are_functions() -> None:
    """Loops over small states have sines by the dozen: what huge arguments need is written once."""
    x = sg.dvector("x")

    def step(a: object, s: object) -> object:
        return sg.sin(s) + sg.cos(a + 0.0 * s) + sg.sin(a - 0.0 * s)

    y = sg.scan(step, x, np.float64(0.1))
    f = sg.function([x], y)
    a = np.array([0.5, 1e9, -3e15, 2e300, 7.0])
    state, expected = 0.1, []
    for v in a:
        state = np.sin(state) + np.cos(v) + np.sin(v)
        expected.append(state)
    np.testing.assert_allclose(f(a), expected, rtol=1e-9)
    text = f.explain(stage="llvm")
    assert 1 <= text.count("@rare.") - text.count("call double @rare.") <= 4
