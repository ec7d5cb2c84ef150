"""The rows in NumPy, where its user would write them so."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.fft import expressions
from benchmarks.program import Program
from benchmarks.rows import Data, Row


def start(threads: int) -> None:
    """Do nothing: the environment has said how many threads BLAS may use."""


def versions() -> dict[str, str]:
    """Return what was measured."""
    return {"numpy": np.__version__}


def chain(x: Any, y: Any) -> Any:
    t = np.tanh(x * y + 1)
    return np.log1p(np.exp(-(t * t))) * x - y * np.float32(0.5)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    e /= e.sum(-1, keepdims=True)
    return e


def layernorm(x: Any, g: Any, b: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-5))
    return centred / spread * g + b


def logsumexp(x: Any) -> Any:
    top = x.max(-1, keepdims=True)
    return np.log(np.exp(x - top).sum(-1)) + top[:, 0]


def scatter_add(x: Any, y: Any, i: Any) -> Any:
    result = x.copy()
    np.add.at(result, i, y)
    return result


EXPRESSIONS = {
    "add1": lambda x: x + 1.0,
    "chain": chain,
    "softmax": softmax,
    "layernorm": layernorm,
    "logsumexp": logsumexp,
    "sum_all": lambda x: x.sum(),
    "sum_ax0": lambda x: x.sum(0),
    "sum_ax1": lambda x: x.sum(1),
    "max_ax1": lambda x: x.max(1),
    "argmax_ax1": lambda x: x.argmax(1),
    "var_ax1": lambda x: x.var(1),
    "outer_add": lambda x, y: x[:, None] + y,
    "transpose": lambda x: np.ascontiguousarray(x.T),
    "matmul": lambda x, y: x @ y,
    "sqdiff": lambda x, y: ((x - y) ** 2).sum(),
    "sum_strided": lambda x: x[::2, ::2].sum(),
    "cumsum": lambda x: x.cumsum(1),
    "transpose_add": lambda x: x + x.T,
    "concatenate": lambda *a: np.concatenate(a, 1),
    "gather": lambda x, i: x[i],
    "scatter_add": scatter_add,
    "bias_relu": lambda x, w, b: np.maximum(x @ w + b, 0),
    **expressions(np.fft),
}


def build(row: Row, data: Data) -> Program | None:
    """Return the program of a row, or None where NumPy has none."""
    function = EXPRESSIONS.get(row.kind)
    if function is None:
        return None
    names = {"f": function, "a": data.inputs}
    if row.kind == "add1":  # without the call of a Python function, which the others need not make
        return Program("x + 1.0", {"x": data.inputs[0]}, lambda: [data.inputs[0] + 1.0])
    return Program("f(*a)", names, lambda: [function(*data.inputs)])
