"""All ops. Importing this package fills the registry and gives nodes their operators."""

from __future__ import annotations

from typing import Any

from symgraph.core.node import Node
from symgraph.core.op import o
from symgraph.ops import (  # noqa: F401 - imported for their registrations
    arithmetic,
    associative,
    branch,
    calculus,
    complex,
    contract,
    control,
    conv,
    convolution,
    create,
    custom,
    dft,
    dft_real,
    einsum,
    elementary,
    fourier,
    index,
    interpolate,
    layout,
    linalg_complex,
    linalg_diagonal,
    linalg_eigen,
    linalg_functions,
    linalg_general,
    linalg_qr,
    linalg_solve,
    linalg_svd,
    linalg_triangular,
    loop,
    loop_derivative,
    loop_unlimited,
    patches,
    pool,
    pooling,
    random,
    rearrange,
    reduce,
    rows,
    running,
    sampling,
    scan,
    search,
    segment,
    shape,
    sorting,
    special,
    special_incomplete,
    statistics,
    stft,
    transcendental,
    vmap,
    while_loop,
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
    *("take", "repeat", "dot", "diagonal", "trace", "round", "astype", "conj"),
)
_PROPERTIES = {"shape": "shape", "size": "size", "T": "permute_dims", "mT": "matrix_transpose"}


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
        setattr(Node, name, getattr(o, name))
    cls: Any = Node
    cls.__getitem__ = o.getitem
    cls.__divmod__ = o.divmod
    for name, function in _PROPERTIES.items():
        setattr(Node, name, property(getattr(o, function)))
    cls.real, cls.imag = property(o.real), property(o.imag)
    cls.set, cls.inc = o.set_subtensor, o.inc_subtensor
    cls.reshape = _reshape
    cls.transpose = _transpose


def _reshape(x: Node, *sizes: Any) -> Node:
    """Return the elements under another shape, given as one tuple or as separate sizes."""
    return o.reshape(x, sizes[0] if len(sizes) == 1 else sizes)


def _transpose(x: Node, *axes: Any) -> Node:
    """Return the axes in another order, given as one tuple or as separate numbers."""
    if not axes:
        return o.permute_dims(x)
    return o.permute_dims(x, axes[0] if isinstance(axes[0], (list, tuple)) else axes)


_install()
