"""All ops. Importing this package fills the registry and gives nodes their operators."""

from __future__ import annotations

from typing import Any

from symgraph.core.node import Node
from symgraph.core.op import o
from symgraph.ops import (  # noqa: F401 - imported for their registrations
    arithmetic,
    contract,
    control,
    conv,
    create,
    index,
    pool,
    random,
    rearrange,
    reduce,
    rows,
    shape,
    transcendental,
)

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
_METHODS = (
    *("sum", "prod", "mean", "var", "std", "max", "min", "argmax", "argmin", "any", "all"),
    *("cumsum", "cumprod", "flatten", "ravel", "squeeze", "dimshuffle", "swapaxes", "clip"),
    *("take", "repeat", "dot", "diagonal", "trace", "round", "astype", "size"),
)


def _install() -> None:
    for method, name in _BINARY.items():
        f = getattr(o, name)
        setattr(Node, f"__{method}__", lambda x, y, f=f: f(x, y))
        setattr(Node, f"__r{method}__", lambda x, y, f=f: f(y, x))
    for method, name in _COMPARE.items():
        f = getattr(o, name)
        setattr(Node, f"__{method}__", lambda x, y, f=f: f(x, y))
    for method, name in _UNARY.items():
        f = getattr(o, name)
        setattr(Node, f"__{method}__", lambda x, f=f: f(x))
    for name in _METHODS:
        if name == "size":
            Node.size = property(lambda x: o.size(x))  # type: ignore[attr-defined]
        else:
            setattr(Node, name, getattr(o, name))
    Node.__getitem__ = lambda x, key: o.getitem(x, key)  # type: ignore[attr-defined]
    Node.__divmod__ = lambda x, y: o.divmod(x, y)  # type: ignore[attr-defined]
    Node.shape = property(lambda x: o.shape(x))  # type: ignore[attr-defined]
    Node.T = property(lambda x: o.permute_dims(x))  # type: ignore[attr-defined]
    Node.mT = property(lambda x: o.matrix_transpose(x))  # type: ignore[attr-defined]
    Node.set = lambda x, value: o.set_subtensor(x, value)  # type: ignore[attr-defined]
    Node.inc = lambda x, value: o.inc_subtensor(x, value)  # type: ignore[attr-defined]
    Node.reshape = _reshape  # type: ignore[attr-defined]
    Node.transpose = _transpose  # type: ignore[attr-defined]


def _reshape(x: Node, *shape: Any) -> Node:
    """Return the elements under another shape, given as one tuple or as separate sizes."""
    return o.reshape(x, shape[0] if len(shape) == 1 else shape)


def _transpose(x: Node, *axes: Any) -> Node:
    """Return the axes in another order, given as one tuple or as separate numbers."""
    if not axes:
        return o.permute_dims(x)
    return o.permute_dims(x, axes[0] if isinstance(axes[0], (list, tuple)) else axes)


_install()
