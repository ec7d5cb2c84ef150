"""`symgraph.loops.evaluate` agrees bit for bit with compiled code."""

from __future__ import annotations

import numpy as np
import pytest
from vec_runner import Compiled, expand
from vecmath_oracle import points

from symgraph.core.dtype import FLOAT32, FLOAT64, INT32, INT64, DType
from symgraph.cpu.vecmath import EXPANSIONS
from symgraph.loops.evaluate import evaluate
from symgraph.loops.expr import Axis, Buffer, Expr
from symgraph.loops.interned import Builder

TYPES = [FLOAT32, FLOAT64]
EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0]


def assert_same_bits(got: np.ndarray, expected: np.ndarray) -> None:
    """NaNs are equal whatever their payload; zeros differ by their sign."""
    same = (got == expected) & (np.signbit(got) == np.signbit(expected))
    same |= np.isnan(got) & np.isnan(expected)
    assert got.dtype == expected.dtype
    assert same.all(), (np.flatnonzero(~same)[:5], got[~same][:5], expected[~same][:5])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", sorted(EXPANSIONS))
def test_expansions(name: str, dtype: DType) -> None:
    arity = 2 if name in ("pow", "atan2") else 1
    inputs = [points(name, dtype, 3000, seed)[:1900] for seed in range(arity)]
    size = min(x.size for x in inputs)
    inputs = [np.concatenate([x[:size], np.array(EDGES, dtype.numpy)]) for x in inputs]
    expr, loads = expand(EXPANSIONS[name], dtype, arity)
    native = Compiled(EXPANSIONS[name], dtype, arity)(*inputs)
    assert_same_bits(evaluate(expr, dict(zip(loads, inputs, strict=True))), native)


def fma_operands(dtype: DType, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw any bit patterns, cancelling sums, and sums around the smallest normal number."""
    rng = np.random.default_rng(0)
    unsigned = np.dtype(f"uint{dtype.bits}")
    x, y, z = (
        rng.integers(0, 2**dtype.bits, count, dtype=unsigned).view(dtype.numpy).copy()
        for _ in range(3)
    )
    half, part = count // 2, count // 4
    low = np.finfo(dtype.numpy).minexp
    with np.errstate(all="ignore"):
        off = rng.choice([0, 1e-7, 1e-16, -1e-16, 1e-3, 3.0], half)
        z[:half] = -(x[:half].astype(np.longdouble) * y[:half]) * (1 + off)
        x[:part] = rng.uniform(1, 2, part) * 2.0 ** (low // 2)
        y[:part] = rng.uniform(1, 2, part) * np.exp2(low - low // 2 + rng.integers(-8, 3, part))
        z[:part] = rng.uniform(-2, 2, part) * np.exp2(low - rng.uniform(0, 8, part))
        z[: part // 2] = 0
    return x, y, z


@pytest.mark.parametrize("dtype", TYPES)
def test_fma_rounds_once(dtype: DType) -> None:
    def function(s: Builder, x: Expr, y: Expr, z: Expr) -> Expr:
        return s.fma(x, y, z)

    operands = fma_operands(dtype, 400_000)
    expr, loads = expand(function, dtype, 3)
    got = evaluate(expr, dict(zip(loads, operands, strict=True)))
    assert_same_bits(got, Compiled(function, dtype, 3)(*operands))


def leaf(dtype: DType) -> tuple[Builder, Expr]:
    s = Builder()
    return s, s.load(Buffer("x", dtype, (8,), "input"), s.at(Axis("i", 8, 1)))


@pytest.mark.parametrize("dtype", [INT32, INT64])
def test_integer_operations(dtype: DType) -> None:
    s, x = leaf(dtype)
    values = np.array([-7, -1, 0, 1, 6, 2**30], dtype.numpy)
    logical = s.lshr(x, s.const(1, dtype))
    cases = [
        (x >> 1, [-4, -1, 0, 0, 3, 2**29]),
        (logical, [(2**dtype.bits - 7) >> 1, (2**dtype.bits - 1) >> 1, 0, 0, 3, 2**29]),
        (x << 1, [-14, -2, 0, 2, 12, -(2**31) if dtype is INT32 else 2**31]),
        (x / 2, [-3, 0, 0, 0, 3, 2**29]),
        (s.rem(x, s.const(4, dtype)), [-3, -1, 0, 1, 2, 0]),
        (~x & 3, [2, 0, 3, 2, 1, 3]),
    ]
    for expr, expected in cases:
        got = evaluate(expr, {x: values})
        np.testing.assert_array_equal(got, np.array(expected, dtype.numpy), err_msg=repr(expr))


def test_minimum_passes_on_the_second_operand_or_nan() -> None:
    s, x = leaf(FLOAT32)
    values = np.array([np.nan, 1.0, 3.0], np.float32)
    np.testing.assert_array_equal(evaluate(s.fmin(x, s.const(2, FLOAT32)), {x: values}), [2, 1, 2])
    np.testing.assert_array_equal(
        evaluate(s.min(x, s.const(2, FLOAT32)), {x: values}), [np.nan, 1, 2]
    )


def test_missing_value_and_unexpanded_function() -> None:
    s, x = leaf(FLOAT32)
    with pytest.raises(KeyError, match="no value was given"):
        evaluate(x + 1.0, {})
    with pytest.raises(NotImplementedError, match="exp is no primitive"):
        evaluate(s.exp(x), {x: np.ones(3, np.float32)})


@pytest.mark.parametrize("dtype", TYPES)
def test_fma_just_below_a_tie(dtype: DType) -> None:
    """x * y + z lies below the middle of two numbers by less than twice the precision shows."""
    s, x = leaf(dtype)
    step = float(np.finfo(dtype.numpy).eps)
    values = np.array([step / 2 * (1 + step)], dtype.numpy)
    got = evaluate(s.fma(x, 1 - step, 1 + step), {x: values})
    np.testing.assert_array_equal(got, np.array([1 + step], dtype.numpy))
    up = evaluate(s.fma(x, 1 - step / 2, 1 + step), {x: values})
    np.testing.assert_array_equal(up, np.array([1 + 2 * step], dtype.numpy))
