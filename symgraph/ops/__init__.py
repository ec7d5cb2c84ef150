"""All ops. Importing this package says where they are, and gives nodes their operators.

A family of ops is loaded when a name of it is first looked up: most graphs need few of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from symgraph.core.node import Node
from symgraph.core.op import o, ops
from symgraph.ops.catalogue import FUNCTIONS, OPS

o.announce(FUNCTIONS)
ops.catalogue.announce(OPS)


def load_all() -> None:
    """Load all families, for who wants to see every op."""
    for family in {**FUNCTIONS, **OPS}:
        importlib.import_module(family)


_BINARY = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "floordiv": "floordiv",
    "mod": "mod",
    "pow": "power",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "left_shift",
    "rshift": "right_shift",
}
_COMPARE = {"lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
_UNARY = {"neg": "neg", "abs": "abs", "invert": "bitwise_not"}
_METHODS = {
    **{name: name for name in (
        *("sum", "prod", "mean", "var", "std", "max", "min", "argmax", "argmin", "any", "all"),
        *("cumsum", "cumprod", "flatten", "ravel", "squeeze", "dimshuffle", "swapaxes", "clip"),
        *("take", "repeat", "dot", "diagonal", "trace", "round", "astype", "conj"),
    )},
    **{"__getitem__": "getitem", "__divmod__": "divmod"},
    **{"set": "set_subtensor", "inc": "inc_subtensor"},
}  # fmt: skip
_PROPERTIES = {
    **{"shape": "shape", "size": "size", "T": "permute_dims", "mT": "matrix_transpose"},
    **{"real": "real", "imag": "imag"},
}


class _Function:
    """An attribute of nodes that is a function of `o`, which is looked up at first use."""

    def __init__(self, name: str, function: str, wrap: Callable[..., Any]) -> None:
        self.name, self.function, self.wrap = name, function, wrap

    def __get__(self, node: Node | None, owner: type) -> Any:
        setattr(Node, self.name, self.wrap(getattr(o, self.function)))
        return getattr(owner if node is None else node, self.name)


def _same(f: Callable[..., Any]) -> Callable[..., Any]:
    return f


def _swapped(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: f(y, x)


def _attributes() -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Yield (attribute of nodes, function of `o`, how it is wrapped)."""
    for name, function in (_BINARY | _COMPARE).items():
        yield f"__{name}__", function, _same
    for name, function in _BINARY.items():
        yield f"__r{name}__", function, _swapped
    for name, function in _UNARY.items():
        yield f"__{name}__", function, _same
    for name, function in _METHODS.items():
        yield name, function, _same
    for name, function in _PROPERTIES.items():
        yield name, function, property


def _install() -> None:
    for name, function, wrap in _attributes():
        setattr(Node, name, _Function(name, function, wrap))
    cls: Any = Node
    cls.reshape, cls.transpose = _reshape, _transpose


def _reshape(x: Node, *sizes: Any) -> Node:
    """Return the elements under another shape, given as one tuple or as separate sizes."""
    return o.reshape(x, sizes[0] if len(sizes) == 1 else sizes)


def _transpose(x: Node, *axes: Any) -> Node:
    """Return the axes in another order, given as one tuple or as separate numbers."""
    if not axes:
        return o.permute_dims(x)
    return o.permute_dims(x, axes[0] if isinstance(axes[0], (list, tuple)) else axes)


_install()
