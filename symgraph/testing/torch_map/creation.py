"""Creation of arrays, conversions of dtype, and what has no values to compare."""

from __future__ import annotations

from typing import Any

import symgraph as sg
from symgraph.testing.torch_map.entry import (
    INTERNAL,
    RANDOM,
    UNDEFINED,
    Convention,
    Entry,
    Reason,
    Row,
)
from symgraph.testing.torch_map.shapes import sizes

DEFAULT = "float32"  # torch's dtype of new arrays


def made(value: Any) -> Any:
    """Return the adapter of an array of one value, of a given shape."""
    return lambda *shape, dtype=DEFAULT: sg.full(sizes(shape), value, dtype)


def made_like(value: Any) -> Any:
    return lambda x, dtype=None: sg.full_like(x, value, dtype)


def made_new(value: Any) -> Any:
    return lambda x, shape, dtype=None: sg.full(shape, value, dtype or x.dtype)


def converted(x: Any, dtype: Any) -> Any:
    """Return x in a dtype; of complex numbers, torch takes the real part where that is real."""
    whole = sg.as_tensor(x)
    keeps = str(dtype).startswith("complex") or str(dtype) == "bool"
    return sg.cast(whole if keeps else sg.real(whole), dtype)


def to(dtype: str) -> Any:
    return lambda x: converted(x, dtype)


def convert(x: Any, *args: Any, dtype: Any = None, **options: Any) -> Any:
    names = [a for a in (*args, dtype) if isinstance(a, str) and a in DTYPES]
    others = [a for a in args if isinstance(a, sg.Variable)]
    return converted(x, names[0] if names else others[0].dtype if others else x.dtype)


def arange(*bounds: Any, end: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    bounds = bounds if end is None else (*bounds, end)
    start, stop, by = (0, *bounds, step) if len(bounds) == 1 else (*bounds, step)[:3]
    whole = all(isinstance(v, int) for v in (start, stop, by))
    return sg.cast(
        sg.arange(start, stop, by, dtype="float64"), dtype or ("int64" if whole else DEFAULT)
    )


def linspace(start: Any, end: Any, steps: int, dtype: str = DEFAULT) -> Any:
    return sg.linspace(start, end, steps, dtype=dtype)


def logspace(start: Any, end: Any, steps: int, base: float = 10.0, dtype: str = DEFAULT) -> Any:
    return sg.logspace(start, end, steps, base=base, dtype=dtype)


DTYPES = {
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool",
    "complex64", "complex128",
}  # fmt: skip
COMPLEX_BASE = Convention(
    "of complex numbers torch takes the base in float32", 0,
    lambda *args, dtype=None, **options: str(dtype).startswith("torch.complex"))  # fmt: skip
CONSTANT = Reason("a constant table: NumPy makes it")

CREATED: dict[str, Row] = {
    "zeros": made(0),
    "ones": made(1),
    "full": lambda shape, value, dtype=DEFAULT: sg.full(shape, value, dtype),
    "zeros_like": made_like(0),
    "ones_like": made_like(1),
    "full_like": lambda x, value, dtype=None: sg.full_like(x, value, dtype),
    "new_zeros": made_new(0),
    "new_ones": made_new(1),
    "new_full": lambda x, shape, value, dtype=None: sg.full(shape, value, dtype or x.dtype),
    "scalar_tensor": lambda value, dtype=DEFAULT: sg.full((), value, dtype),
    "fill": sg.full_like,
    "zero_": sg.zeros_like,
    "eye": lambda n, m=None, dtype=DEFAULT: sg.eye(n, m, dtype=dtype),
    "arange": arange,
    "linspace": linspace,
    "linspace:tensor_overload": linspace,
    "logspace": Entry(logspace, conventions=(COMPLEX_BASE,)),
    "logspace:tensor_overload": Entry(logspace, conventions=(COMPLEX_BASE,)),
    "triu_indices": CONSTANT,
    "tril_indices": CONSTANT,
}

CONVERTED: dict[str, Row] = {
    "bool": to("bool"),
    "byte": to("uint8"),
    "char": to("int8"),
    "short": to("int16"),
    "int": to("int32"),
    "long": to("int64"),
    "half": to("float16"),
    "float": to("float32"),
    "double": to("float64"),
    "to": convert,
    "bfloat16": Reason("bfloat16"),
    "cfloat": to("complex64"),
    "cdouble": to("complex128"),
    "chalf": Reason("complex numbers of float16"),
}

EMPTY = ("empty", "empty_like", "new_empty", "new_empty_strided", "empty_strided", "empty_permuted")
DRAWN = (
    "cauchy", "exponential", "geometric", "log_normal", "normal:in_place", "uniform", "normal",
    "normal:number_mean", "randn", "randn_like", "rand_like", "randint", "randint_like",
    "multinomial", "bernoulli", "nn.functional.rrelu", "nn.functional.dropout",
    "nn.functional.dropout2d", "nn.functional.dropout3d", "nn.functional.alpha_dropout",
    "nn.functional.feature_alpha_dropout:with_train", "nn.functional.fractional_max_pool2d",
    "nn.functional.fractional_max_pool3d", "svd_lowrank", "pca_lowrank",
)  # fmt: skip
LEFT_OUT: dict[str, Row] = {
    **dict.fromkeys(EMPTY, UNDEFINED),
    **dict.fromkeys(DRAWN, RANDOM),
    "item": Reason("a Python number: expressions have no values"),
    "jiterator_unary": INTERNAL,
    "jiterator_binary": INTERNAL,
    "jiterator_4inputs_with_extra_args": INTERNAL,
    "jiterator_binary_return_by_ref": INTERNAL,
    "jiterator_2inputs_2outputs": INTERNAL,
    "torch._scaled_mm_v2": INTERNAL,
    "torch._scaled_mm": INTERNAL,
    "torch.ops.aten._flash_attention_forward": INTERNAL,
    "torch.ops.aten._efficient_attention_forward": INTERNAL,
    "nn.functional.batch_norm:without_cudnn": INTERNAL,
    "bmm:triton_optimized": INTERNAL,
}

CREATING = CREATED | CONVERTED | LEFT_OUT
