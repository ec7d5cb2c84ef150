"""Constructors of input variables, and evaluation of expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from symgraph.compile.function import evaluate_once
from symgraph.core.config import config
from symgraph.core.dtype import as_dtype
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.node import Node, constant, describe, new_input
from symgraph.core.op import o
from symgraph.dims.dim import Dim, as_symbol, symbol

_PREFIXES = {
    "b": "int8",
    "w": "int16",
    "i": "int32",
    "l": "int64",
    "f": "float32",
    "d": "float64",
    "c": "complex64",
    "z": "complex128",
}
_RANKS = {"scalar": 0, "vector": 1, "matrix": 2, **{f"tensor{n}": n for n in range(3, 8)}}


def tensor(
    name: str | None = None,
    shape: Any = (),
    dtype: Any = None,
    test_value: Any = None,
) -> Node:
    """Return an input variable; its sizes are numbers, None (not known until the call) or `Dim`s.

    A size may also be one of another variable, `x.shape[0]`: the two are then equal at every call.
    `test_value` is an array with which everything built from the variable is computed at once, so
    that errors appear on the line that makes them.
    """
    d = as_dtype(dtype or config.floatX)
    sizes = tuple(_size(n, f"{name or 'x'}.{k}") for k, n in enumerate(shape))
    node = new_input(d, sizes, name)
    if test_value is not None:
        array = np.asarray(test_value)
        if array.dtype != d.numpy:
            raise DTypeError(f"test_value of `{name}` is {array.dtype}, the variable is {d}")
        if array.ndim != len(sizes):
            raise ShapeError(f"test_value of `{name}` has shape {array.shape}, declared is {shape}")
        node.test_value = array
        _remember_sizes(node, array)
    return node


def _remember_sizes(node: Node, array: np.ndarray) -> None:
    """Keep the sizes of a test value with their symbols: values may be computed from them."""
    for k, (n, length) in enumerate(zip(node.type.shape, array.shape, strict=True)):
        atom = None if isinstance(n, int) else as_symbol(n)
        if n != length if atom is None else not atom.admits(length):
            raise ShapeError(
                f"axis {k} of the test_value of `{describe(node)}` has length {length}, but the "
                f"variable is {node.type}" + (f": {n!r} is {atom.facts}" if atom else "")
            )
        if atom is not None:
            atom.test_value = length


def _size(n: Any, name: str) -> int | Dim:
    if n is None:
        return symbol(name)
    if isinstance(n, Node):
        n = o.as_size(n)
    if isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0:
        return int(n)
    if not isinstance(n, Dim):
        raise ShapeError(
            f"the size of axis {name} is {n!r}; it is a number from 0 on, None (not known until "
            "the call), x.shape[k] of another variable or a sg.Dim"
        )
    if as_symbol(n) is None:
        raise ShapeError(f"the size {n!r} of an input is computed; a Dim by itself is needed")
    return n


def _maker(rank: int, dtype: str | None) -> Callable[..., Node]:
    def make(name: str | None = None, dtype: Any = dtype, test_value: Any = None) -> Node:
        return tensor(name, (None,) * rank, dtype, test_value)

    return make


def _plural(single: Callable[..., Node]) -> Callable[..., list[Node]]:
    def make(*names: str, dtype: Any = None) -> list[Node]:
        return [single(n, dtype) if dtype is not None else single(n) for n in names]

    return make


def _constructors() -> dict[str, Callable[..., Any]]:
    """Return scalar, vector, ..., the dtype-prefixed forms, and the plurals."""
    made: dict[str, Callable[..., Any]] = {}
    for word, rank in _RANKS.items():
        for prefix, dtype in [("", None), *_PREFIXES.items()]:
            f = _maker(rank, dtype)
            f.__name__ = f.__qualname__ = prefix + word
            f.__doc__ = (
                f"Return an input variable with {rank} axes of {dtype or 'floatX (or `dtype`)'}."
            )
            made[prefix + word] = f
        plural = "matrices" if word == "matrix" else word + "s"
        made[plural] = _plural(made[word])
        made[plural].__name__ = plural
        made[plural].__doc__ = f"Return one input variable with {rank} axes per name."
    return made


constructors = _constructors()


def as_tensor(value: Any, dtype: Any = None) -> Node:
    """Return a value (array, number, nested list, or variable) as a node."""
    if isinstance(value, Node):
        return value if dtype is None else value.astype(dtype)
    return constant(value, None if dtype is None else as_dtype(dtype))


def _eval(node: Node, values: Mapping[Node, Any] | None = None) -> np.ndarray:
    """Return the value of the expression for the given inputs (computed with NumPy)."""
    return evaluate_once(node, values)


def install() -> None:
    """Give nodes `.eval`."""
    cls: Any = Node
    cls.eval = _eval


install()
