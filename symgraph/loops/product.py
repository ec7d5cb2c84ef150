"""Lower a matrix product to a call: its operands are read where they lie, through their strides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from symgraph.core.node import Node
from symgraph.loops.expr import Axis, Buffer, Expr, Size, View
from symgraph.loops.roots import is_size
from symgraph.loops.statements import LibraryCall

if TYPE_CHECKING:
    from symgraph.loops.build import Lowering


def lower_product(low: Lowering, node: Node, out: Buffer | View) -> None:
    """Call the matrix product of the two inputs, read through their strides."""
    axes = low.nest_axes(node)
    batch, (m, n) = axes[:-2], axes[-2:]
    a, b = node.inputs
    k = low.s.axis("k0", a.type.shape[-1])
    if k.bit & (m.bit | n.bit):
        k = low.s.axis("k1", a.type.shape[-1])
    left = operand(low, a, batch, m, k)
    right = operand(low, b, batch, k, n)
    sizes = tuple(x.extent for x in (*batch, m, n, k))
    whole, start = (out.buffer, out.offset) if isinstance(out, View) else (out, 0)
    params = (sizes, left[1], right[1], start)
    call = LibraryCall("gemm", (whole,), (left[0], right[0]), params, origin=(node,))
    low.program.statements.append(call)


def operand(
    low: Lowering, x: Node, batch: Sequence[Axis], r: Axis, c: Axis, unit: bool = False
) -> tuple[Buffer, Any]:
    """Return a buffer and (offset, batch strides, row stride, column stride) that hold `x`.

    With `unit`, rows or columns are contiguous.
    """
    s = low.s
    lead = list(batch)[len(batch) - (x.ndim - 2) :]
    index = [
        0 if isinstance(n, int) and n == 1 else s.at(a)
        for a, n in zip((*lead, r, c), x.type.shape, strict=True)
    ]
    value = low.value(x, index)
    if value.op == "load" and len(value.args) == 1:
        strides = strides_of(value.args[0], (*batch, r, c))
        if strides is not None:
            offset, (*outer, row, column) = strides
            ones = (row, column, r.extent, c.extent)
            if not unit or any(is_size(n, 1) for n in ones):
                return value.data, (offset, tuple(outer), row, column)
    buffer = low.temporary(x.dtype, x.type.shape)
    low.store_value(x, buffer)
    stride: Size = 1
    coefficients: list[Size] = []
    for n in reversed(x.type.shape):
        coefficients.append(0 if is_size(n, 1) else stride)
        stride = stride * n
    full = [0] * (len(batch) + 2 - x.ndim) + coefficients[::-1]
    return buffer, (0, tuple(full[:-2]), full[-2], full[-1])


def strides_of(address: Expr, axes: Sequence[Axis]) -> tuple[Size | Expr, list[Size]] | None:
    """Return (offset, coefficient of each axis) of an affine address, None if it is not affine.

    What depends on the step of a loop around is part of the offset.
    """
    s = address.builder
    found: dict[Axis, Size] = {}
    moving = s.index(address.data[1])
    for atom, c in zip(address.args, address.data[0], strict=True):
        if atom.op == "axis" and atom.data in axes:
            found[atom.data] = c
        elif atom.op != "axis":
            return None
        else:
            moving = s.iadd(moving, s.imul(atom, c))
    offset = moving if moving.args else address.data[1]
    return offset, [found.get(a, 0) for a in axes]
