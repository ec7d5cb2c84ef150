"""The real value of a graph: every op in arithmetic of so many digits that none is rounded away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mpmath as mp
import numpy as np

from symgraph.core.node import CONSTANT, Node
from symgraph.core.walk import toposort

DIGITS = 360  # 1 + 5e-324 must not be 1


class Unknown(Exception):
    """An op has no exact rule here."""


def _sigmoid(x: Any) -> Any:
    return mp.mpf(0) if x == -mp.inf else 1 / (1 + mp.exp(-x))


def _softplus(x: Any) -> Any:
    return x if x == mp.inf else _log1p(mp.exp(x))


def _log(x: Any) -> Any:
    if x < 0 or mp.isnan(x):
        return mp.nan
    return mp.log(x) if x else -mp.inf


def _log1p(x: Any) -> Any:
    if x < -1 or mp.isnan(x):
        return mp.nan
    if x == -1:
        return -mp.inf
    # far from 1 the sum is taken by hand: an exact 1 + exp(1e300) does not fit a memory
    if x > 1:
        return mp.log(x + 1)
    return x if abs(x) < mp.mpf(10) ** -DIGITS else mp.log(1 + x)


def _expm1(x: Any) -> Any:
    return x if abs(x) < mp.mpf(10) ** -DIGITS else mp.exp(x) - 1


def _div(x: Any, y: Any) -> Any:
    if y == 0:
        return mp.nan  # the sign of a zero is not kept: no statement about poles
    return x / y


_SCALAR: dict[str, Any] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": _div,
    "neg": lambda x: -x,
    "abs": abs,
    "square": lambda x: x * x,
    "reciprocal": lambda x: _div(mp.mpf(1), x),
    "sqrt": lambda x: mp.sqrt(x) if x >= 0 else mp.nan,
    "exp": mp.exp,
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "erf": lambda x: mp.sign(x) if abs(x) > 40 else mp.erf(x),
    "erfc": lambda x: mp.mpf(2) if x < -40 else mp.mpf(0) if x > 1e6 else mp.erfc(x),
    "erfcx": lambda x: mp.nan if abs(x) > 1e6 else mp.exp(x * x) * mp.erfc(x),
    "where": lambda c, x, y: x if c else y,
    "cast": lambda x: x,
}


def _is_nan(v: Any) -> bool:
    return isinstance(v, mp.mpf) and bool(mp.isnan(v))


def _rows(name: str, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    e = _each(mp.exp, x)
    total = np.sum(e, axis=axes, keepdims=True)
    if name == "logsumexp":
        return np.asarray(np.squeeze(_each(_log, np.asarray(total, object)), axes))
    total = np.broadcast_to(np.asarray(total, object), x.shape)
    p = _each(_div, e, total)
    return p if name == "softmax" else _each(_log, p)


def _each(f: Any, *arrays: np.ndarray) -> np.ndarray:
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    full = [np.broadcast_to(a, shape) for a in arrays]
    out = np.empty(shape, object)
    for at in np.ndindex(shape):
        args = [a[at] for a in full]
        out[at] = mp.nan if any(map(_is_nan, args)) else f(*args)
    return out


def exact_values(node: Node, arrays: Mapping[Node, np.ndarray]) -> np.ndarray:
    """Return the real value of each element of `node` (numbers of mpmath; nan where there is none).

    Raises `Unknown` naming an op that has no exact rule.
    """
    done: dict[Node, Any] = {}
    with mp.workdps(DIGITS):
        for n in toposort([node]):
            values = [done[i] for i in n.inputs]
            name = n.op.name
            if n in arrays or n.op is CONSTANT:
                done[n] = _numbers(np.asarray(arrays.get(n, n.data)))
            elif not n.dtype.is_float or all(not i.dtype.is_float for i in n.inputs):
                done[n] = _plain(n, values)
            elif name in _SCALAR:
                done[n] = _each(_SCALAR[name], *values)
            elif name in ("softmax", "log_softmax", "logsumexp"):
                done[n] = _rows(name, values[0], n.params.axes)
            elif name in ("sum", "max"):
                f = np.sum if name == "sum" else np.max
                done[n] = np.asarray(f(values[0], axis=n.params.axes), object)
            elif name == "matmul":
                done[n] = np.asarray(np.matmul(*values), object)
            elif n.op.view or name in ("gather", "scatter"):
                done[n] = np.asarray(n.op.numpy(n, *values), object)
            else:
                raise Unknown(name)
    return np.asarray(done[node], object)


def _plain(n: Node, values: list[Any]) -> Any:
    """Compute integers and truth values as they are; a float of them becomes exact numbers."""
    found = n.op.numpy(n, *values)
    return _numbers(found) if n.dtype.is_float else found


def _numbers(a: np.ndarray) -> np.ndarray:
    if a.dtype.kind != "f":
        return a
    out = np.empty(a.shape, object)
    for at in np.ndindex(a.shape):
        out[at] = mp.mpf(float(a[at]))
    return out
