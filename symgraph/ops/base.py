"""Bases of op families: broadcasting, dtype rules, conversion of Python values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.core.config import config
from symgraph.core.dtype import BOOL, FLOAT32, FLOAT64, DType, as_dtype, promote
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe, dtype_of, make, weak_dtype
from symgraph.core.op import Op, enter, function, no_complex, o
from symgraph.core.source import warn
from symgraph.core.types import TensorType
from symgraph.dims.dim import broadcast

Size = Any


class View(Op):
    """Base of views: linear in their one input."""

    view = True
    linear = (0,)
    takes_complex = True


def floatx() -> DType:
    """Return the float type that integers become where a float is needed."""
    return as_dtype(config.floatX)


def broadcast_shapes(op: str, inputs: Sequence[Node]) -> tuple[Size, ...]:
    """Return the common shape of `inputs` under NumPy's rule; raises ShapeError."""
    ndim = max(i.ndim for i in inputs)
    shape: list[Size] = [1] * ndim
    for node in inputs:
        offset = ndim - node.ndim
        for k, n in enumerate(node.type.shape):
            try:
                shape[offset + k] = broadcast(shape[offset + k], n)
            except ValueError:
                raise clash(op, inputs, offset + k, ndim) from None
    return tuple(shape)


def clash(op: str, inputs: Sequence[Node], axis: int, ndim: int) -> ShapeError:
    """Return the error for operands whose sizes do not broadcast along `axis`."""
    sizes = {
        describe(i): i.type.shape[axis - ndim + i.ndim] for i in inputs if axis - ndim + i.ndim >= 0
    }
    lengths = " and ".join(f"{n} in `{name}`" for name, n in sizes.items() if n != 1)
    lines = [
        f"cannot {op} {' and '.join(f'`{n}`' for n in sizes)}: axis {axis} has length {lengths}."
    ]
    for i in inputs:
        lines.append(f"  input:  {describe(i)}  {i.type}, made at {i.source}")
    lines.append("  mend:   pass arrays of equal length, or insert axes: a[:, None] + b[None, :]")
    return ShapeError("\n".join(lines))


def common_dtype(values: Sequence[Any]) -> tuple[DType | None, list[DType]]:
    """Return the promoted dtype of the typed values (None when all are weak) and their dtypes."""
    typed = [
        v.dtype if isinstance(v, Node) else dtype_of(v)
        for v in values
        if isinstance(v, Node) or weak_dtype(v) is None
    ]
    if not typed:
        return None, []
    result = typed[0]
    for d in typed[1:]:
        result = promote(result, d)
    return result, typed


def as_nodes(values: Sequence[Any]) -> list[Node]:
    """Return the operands as nodes of one common dtype (weak Python numbers adapt)."""
    result, _ = common_dtype([v for v in values if not _holds_nodes(v)])
    nodes = [as_node(v, () if result is None else (result,)) for v in values]
    common = nodes[0].dtype
    for n in nodes[1:]:
        common = promote(common, n.dtype)
    if common is FLOAT64 and config.warn_float64 != "ignore":
        _report_float64(nodes)
    return [cast_to(n, common) for n in nodes]


def _report_float64(nodes: Sequence[Node]) -> None:
    """Warn or raise where a float32 operand silently becomes float64."""
    narrow = [n for n in nodes if n.dtype is FLOAT32]
    if not narrow:
        return
    names = ", ".join(f"`{describe(n)}` {n.dtype}" for n in nodes)
    message = (
        f"float32 `{describe(narrow[0])}` becomes float64 beside {names}; cast one of them with "
        "astype, or set config.warn_float64 = 'ignore'"
    )
    if config.warn_float64 == "raise":
        raise DTypeError(message)
    warn(message)


def _holds_nodes(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(
        isinstance(v, Node) or _holds_nodes(v) for v in value
    )


def cast_to(x: Node, dtype: DType) -> Node:
    """Return `x` with the given dtype."""
    return x if x.dtype is dtype else o.cast(x, dtype)


# -- dtype rules of elementwise ops: operands' common dtype -> (compute dtype, result dtype) -------
DTypeRule = Callable[[DType, str], tuple[DType, DType]]


def same(d: DType, op: str) -> tuple[DType, DType]:
    return d, d


def number(d: DType, op: str) -> tuple[DType, DType]:
    if d.is_bool:
        raise DTypeError(f"{op} is not defined for bool; cast it, e.g. x.astype('int8')")
    return d, d


def to_float(d: DType, op: str) -> tuple[DType, DType]:
    f = d if d.is_inexact else floatx()
    return f, f


def only_float_to_bool(d: DType, op: str) -> tuple[DType, DType]:
    return d, BOOL


def to_bool(d: DType, op: str) -> tuple[DType, DType]:
    return d, BOOL


def logical(d: DType, op: str) -> tuple[DType, DType]:
    return BOOL, BOOL


def bits(d: DType, op: str) -> tuple[DType, DType]:
    if d.is_inexact:
        raise DTypeError(f"{op} needs integers or bool, got {d}")
    return d, d


def integer_bits(d: DType, op: str) -> tuple[DType, DType]:
    if not d.is_integer:
        raise DTypeError(f"{op} needs integers, got {d}")
    return d, d


class Elementwise(Op):
    """An op that acts on each element, with NumPy's broadcasting.

    Fields: `types` (dtype rule), `reference` (NumPy function), `scalar(s, *x)` (lowering),
    `partials(o, node)` (one derivative per input, None where it is zero), `ulp`, `domain` (ranges
    that the generated tests draw each input from), `edges` (whether they try special values too).
    """

    arity = 1
    types: DTypeRule
    reference: Callable[..., Any]
    scalar: Callable[..., Any]
    ulp: dict[str, float] | None = None
    domain: tuple[tuple[float, float], ...] = ()
    dtypes = "bool int float"
    edges = True
    takes_complex = True  # the functions that make its nodes refuse them where it does not
    module = ""  # where `elementwise` was called

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)  # a class for each of some hundred ops takes long to make

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        _, result = self.types(inputs[-1].dtype, self.name)
        if len(inputs) == 1:
            return inputs[0].type.with_dtype(result)
        return TensorType(result, broadcast_shapes(self.name, inputs))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(self.reference(*arrays)).astype(node.dtype.numpy, copy=False)

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        values = [read(k, aligned(index, i)) for k, i in enumerate(node.inputs)]
        return half_as_single(s, node, values, self.scalar)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        """Batched operands get their batch axis in front, behind it the missing axes."""
        ndim = node.ndim
        moved = [
            x if a is None else batch_front(o, x, a, ndim)
            for x, a in zip(inputs, axes, strict=True)
        ]
        return make(self, tuple(moved), node.params), 0


def batch_front(o: Namespace, x: Node, axis: int | None, ndim: int) -> Node:
    """Move the batch axis to the front and pad with axes of length 1 up to `ndim` own axes."""
    x = o.moveaxis(x, axis, 0)
    missing = ndim - (x.ndim - 1)
    return o.expand_dims(x, tuple(range(1, 1 + missing))) if missing > 0 else x


def batch_all(o: Namespace, inputs: Sequence[Node], axes: Sequence[int | None]) -> list[Node]:
    """Return the inputs with a batch axis in front of each; the unbatched ones are repeated."""
    n = next(x.type.shape[a] for x, a in zip(inputs, axes, strict=True) if a is not None)
    return [
        o.broadcast_to(x, (n, *x.type.shape)) if a is None else o.moveaxis(x, a, 0)
        for x, a in zip(inputs, axes, strict=True)
    ]


def aligned(index: tuple[Any, ...], node: Node) -> tuple[Any, ...]:
    """Return the index of a broadcast operand: trailing axes, 0 where its length is 1."""
    tail = index[len(index) - node.ndim :]
    return tuple(
        0 if isinstance(n, int) and n == 1 else i
        for i, n in zip(tail, node.type.shape, strict=True)
    )


def half_as_single(s: Any, node: Node, values: list[Any], scalar: Callable[..., Any]) -> Any:
    """Apply `scalar`; float16 is a storage type, computed in float32 and rounded after each op."""
    half = as_dtype("float16")
    if not any(v.dtype is half for v in values):
        return scalar(s, *values)
    single = as_dtype("float32")
    wide = [s.cast(v, single) if v.dtype is half else v for v in values]
    result = scalar(s, *wide)
    return s.cast(result, half) if node.dtype is half else result


def elementwise(
    name: str,
    *,
    doc: str,
    types: DTypeRule,
    numpy: Callable[..., Any],
    scalar: Callable[..., Any],
    partials: Callable[..., Any] | None = None,
    domain: tuple[tuple[float, float], ...] = ((-3.0, 3.0),),
    ulp: dict[str, float] | None = None,
    commutative: bool = False,
    not_differentiable: str = "",
    dtypes: str = "bool int float",
    complex_form: Callable[..., Node] | None = None,
    edges: bool = True,
) -> Callable[..., Node]:
    """Define an elementwise op and its public function.

    `domain` has one (low, high) per input: where the generated tests draw their values. An op takes
    complex numbers if "complex" is among its `dtypes` (rewrites/complex.py then has its rule), or
    if `complex_form(o, *operands)` gives another expression for them.
    """
    arity = len(domain)
    op = Elementwise(
        module=sys._getframe(1).f_globals["__name__"],
        name=name,
        doc=doc,
        arity=arity,
        types=types,
        reference=numpy,
        scalar=scalar,
        partials=partials,
        domain=domain,
        ulp=ulp,
        commutative=commutative,
        not_differentiable=not_differentiable,
        dtypes=dtypes,
        edges=edges,
        samples=lambda rng, dtype: (),
    )
    enter(op)

    def call(*values: Any) -> Node:
        if len(values) != arity:
            raise TypeError(f"{name} takes {arity} operands, got {len(values)}")
        nodes = as_nodes(values)
        if nodes[0].dtype.is_complex:
            if complex_form is not None:
                return complex_form(o, *nodes)
            if "complex" not in dtypes:
                raise no_complex(name, nodes)
        compute, _ = op.types(nodes[0].dtype, name)
        return make(op, tuple(cast_to(n, compute) for n in nodes))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    call.__module__ = "symgraph"
    function(call)
    return call
