"""Lowering of an argsort: the keys of a row as unsigned integers, and the call that ranks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from symgraph.core.dtype import FLOAT32, INT32, INT64, UINT32, UINT64, DType
from symgraph.loops.expr import Expr, View
from symgraph.loops.interned import Builder
from symgraph.loops.statements import LibraryCall, Nest

if TYPE_CHECKING:
    from symgraph.core.node import Node


def key_dtype(dtype: DType) -> DType:
    """Return the unsigned type that holds the sorting keys of `dtype`."""
    return UINT64 if dtype.bits == 64 else UINT32


def order_key(s: Builder, x: Expr, descending: bool) -> Expr:
    """Return an unsigned integer whose order is that of `x`: NaN is the largest, -0 equals 0.

    The bits of floats are ordered as sign and magnitude: negative ones are turned over, of others
    the sign bit is set. A descending order has the complement, which keeps ties in place.
    """
    target = key_dtype(x.dtype)
    signed = INT64 if target is UINT64 else INT32
    top = s.const(-1 << (target.bits - 1), signed)
    if x.dtype.is_float:
        wide = s.cast(x, FLOAT32) if x.dtype == "float16" else x
        plain = s.select(s.eq(wide, 0), s.const(0, wide.dtype), wide)
        bits = s.bitcast(plain, signed)
        ordered = s.bitcast(bits ^ ((bits >> (target.bits - 1)) | top), target)
        key = s.select(s.isnan(wide), s.const((1 << target.bits) - 1, target), ordered)
    elif x.dtype.kind == "i":
        key = s.bitcast(s.cast(x, signed) ^ top, target)
    else:
        key = s.cast(x, target)
    return ~key if descending else key


def lower_argsort(low: Any, node: Node, out: Any) -> None:
    """Store the keys of all rows, and call the kernel that ranks them.

    It is that of `cpu/kernels/sort.py`, for the first few positions `cpu/kernels/leading.py`.
    """
    s, x = low.s, node.inputs[0]
    shape, target = x.type.shape, key_dtype(x.dtype)
    axes = tuple(s.axis(f"i{k}", n) for k, n in enumerate(shape))
    index = tuple(s.at(a) for a in axes)
    keys, spare = low.temporary(target, shape), low.temporary(target, node.type.shape)
    value = order_key(s, low.value(x, index), node.params.descending)
    low.add(Nest(axes, (low.store(keys, low.flat(index, shape), value),), origin=(node,)))
    whole, start = (out.buffer, out.offset) if isinstance(out, View) else (out, 0)
    rows: Any = 1
    for n in shape[:-1]:
        rows = rows * n
    sizes, origin = ((rows, shape[-1]), start), (node,)
    if node.op.name == "argsort_first":
        params = (*sizes, node.params.count)
        call = LibraryCall("argsort_first", (whole, keys, spare), (keys,), params, origin)
    else:
        order = low.temporary(INT32, (2, *shape))
        call = LibraryCall("argsort", (whole, keys, spare, order), (keys,), sizes, origin)
    low.program.statements.append(call)
