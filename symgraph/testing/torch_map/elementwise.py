"""Elementwise operators: arithmetic, comparisons, bits, rounding, powers, exponentials."""

from __future__ import annotations

from typing import Any

import symgraph as sg
from symgraph.testing.torch_map.entry import Row


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    return sg.clip(x, min, max)


def rounded(quotient: Any, mode: str | None) -> Any:
    return {None: lambda q: q, "trunc": sg.trunc, "floor": sg.floor}[mode](quotient)


def addcdiv(x: Any, a: Any, b: Any, value: float = 1) -> Any:
    return x + value * (a / b)


ARITHMETIC: dict[str, Row] = {
    "abs": sg.abs,
    "add": lambda x, y, alpha=1: x + alpha * y,
    "sub": lambda x, y, alpha=1: x - alpha * y,
    "rsub": lambda x, y, alpha=1: y - alpha * x,
    "mul": sg.mul,
    "div:no_rounding_mode": sg.true_divide,
    "div:trunc_rounding": lambda x, y, rounding_mode: sg.cast(
        rounded(x / y, rounding_mode), x.dtype),
    "div:floor_rounding": lambda x, y, rounding_mode: x // y,
    "true_divide": sg.true_divide,
    "floor_divide": sg.floor_divide,
    "fmod": sg.fmod,
    "remainder": sg.remainder,
    "neg": sg.neg,
    "positive": sg.positive,
    "reciprocal": sg.reciprocal,
    "square": sg.square,
    "sqrt": sg.sqrt,
    "rsqrt": lambda x: 1 / sg.sqrt(x),
    "pow": sg.power,
    "float_power": sg.float_power,
    "hypot": sg.hypot,
    "addcmul": lambda x, a, b, value=1: x + value * (a * b),
    "addcdiv": addcdiv,
    "lerp": lambda x, end, weight: x + weight * (end - x),
    "ldexp": lambda x, y: x * 2.0**y,
    "frexp": sg.frexp,
    "__radd__": lambda x, y: y + x,
    "__rdiv__": lambda x, y: y / x,
    "__rmul__": lambda x, y: y * x,
    "__rmod__": lambda x, y: y % x,
    "__rpow__": lambda x, y: y**x,
    "__rsub__": lambda x, y: y - x,
    "clamp": clamp,
    "clamp_max": lambda x, high: sg.clip(x, None, high),
    "clamp_min": lambda x, low: sg.clip(x, low, None),
    "maximum": sg.maximum,
    "minimum": sg.minimum,
    "max:binary": sg.maximum,
    "min:binary": sg.minimum,
    "fmax": sg.fmax,
    "fmin": sg.fmin,
    "copysign": sg.copysign,
    "nextafter": sg.nextafter,
    "heaviside": lambda x, y: sg.cast(sg.heaviside(x, y), x.dtype),
    "sign": sg.sign,
    "sgn": sg.sgn,
    "signbit": sg.signbit,
    "ceil": sg.ceil,
    "floor": sg.floor,
    "trunc": sg.trunc,
    "frac": lambda x: x - sg.trunc(x),
    "round": sg.round,
    "round:decimals_0": sg.round,
    "round:decimals_3": sg.round,
    "round:decimals_neg_3": sg.round,
    "deg2rad": sg.deg2rad,
    "rad2deg": sg.rad2deg,
    "nan_to_num": sg.nan_to_num,
    "gcd": sg.gcd,
    "lcm": sg.lcm,
}

FUNCTIONS: dict[str, Row] = {
    "exp": sg.exp,
    "exp2": sg.exp2,
    "expm1": sg.expm1,
    "log": sg.log,
    "log2": sg.log2,
    "log10": sg.log10,
    "log1p": sg.log1p,
    "logaddexp": sg.logaddexp,
    "logaddexp2": sg.logaddexp2,
    "sin": sg.sin,
    "cos": sg.cos,
    "tan": sg.tan,
    "asin": sg.asin,
    "acos": sg.acos,
    "atan": sg.atan,
    "atan2": sg.atan2,
    "sinh": sg.sinh,
    "cosh": sg.cosh,
    "tanh": sg.tanh,
    "asinh": sg.asinh,
    "acosh": sg.acosh,
    "atanh": sg.atanh,
    "sinc": sg.sinc,
    "sigmoid": sg.sigmoid,
    "logit": lambda x, eps=None: sg.logit(x if eps is None else sg.clip(x, eps, 1 - eps)),
}

COMPARISONS: dict[str, Row] = {
    "eq": sg.eq,
    "ne": sg.ne,
    "lt": sg.lt,
    "le": sg.le,
    "gt": sg.gt,
    "ge": sg.ge,
    "isclose": sg.isclose,
    "allclose": sg.allclose,
    "equal": sg.array_equal,
    "isfinite": sg.isfinite,
    "isinf": sg.isinf,
    "isnan": sg.isnan,
    "isposinf": sg.isposinf,
    "isneginf": sg.isneginf,
    "isreal": sg.isreal,
    "logical_and": sg.logical_and,
    "logical_or": sg.logical_or,
    "logical_xor": sg.logical_xor,
    "logical_not": sg.logical_not,
    "bitwise_and": sg.bitwise_and,
    "bitwise_or": sg.bitwise_or,
    "bitwise_xor": sg.bitwise_xor,
    "bitwise_not": sg.bitwise_not,
    "bitwise_left_shift": sg.left_shift,
    "bitwise_right_shift": sg.right_shift,
    "__rand__": lambda x, y: y & x,
    "__ror__": lambda x, y: y | x,
    "__rxor__": lambda x, y: y ^ x,
    "isin": lambda x, values, **options: sg.any(sg.eq(x[..., None], values), -1),
    "where": lambda x, condition, y: sg.where(condition, x, y),
}

COMPLEX_NUMBERS: dict[str, Row] = {
    "complex": sg.complex,
    "polar": sg.polar,
    "angle": sg.angle,
    "real": sg.real,
    "imag": sg.imag,
    "conj": sg.conj,
    "conj_physical": sg.conj,
    "resolve_conj": lambda x: x,
    "resolve_neg": lambda x: x,
    "view_as_complex": sg.view_as_complex,
    "view_as_real": sg.view_as_real,
    "nn.functional.silu:complex": lambda x: x * sg.sigmoid(x),
}

ELEMENTWISE = ARITHMETIC | FUNCTIONS | COMPARISONS | COMPLEX_NUMBERS
