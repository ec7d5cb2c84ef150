"""Lower a matrix product to a call: its operands are read where they lie, through their strides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from symgraph.core.node import Node
from symgraph.loops.expr import Axis, Buffer, Expr, Size, View
from symgraph.loops.long_products import Cut, add_chunks, cut_product
from symgraph.loops.roots import is_size
from symgraph.loops.statements import LibraryCall

if TYPE_CHECKING:
    from symgraph.loops.build import Lowering

Operand = tuple[Buffer, Any]  # and (offset, batch strides, row stride, column stride)


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
    target = (out.buffer, out.offset) if isinstance(out, View) else (out, 0)
    once = not batch and low.axis is None
    cut = cut_product(m.extent, n.extent, k.extent) if once else None
    if cut is None:
        _append(low, node, sizes, left, right, target)
    else:
        _append_chunks(low, node, cut, sizes, left, right, target)


def _append(
    low: Lowering,
    node: Node,
    sizes: tuple[Size, ...],
    left: Operand,
    right: Operand,
    out: tuple[Buffer, Any],
) -> None:
    params = (sizes, left[1], right[1], out[1])
    call = LibraryCall("gemm", (out[0],), (left[0], right[0]), params, origin=(node,))
    low.program.statements.append(call)


def _append_chunks(
    low: Lowering,
    node: Node,
    cut: Cut,
    sizes: tuple[Size, ...],
    left: Operand,
    right: Operand,
    out: tuple[Buffer, Any],
) -> None:
    """Append one batch of products, of chunks of the terms, and the sum of what they give."""
    m, n, _ = sizes
    partial = low.temporary(node.dtype, (cut.whole + 1 if cut.known else cut.whole, m, n))
    last = (partial, cut.whole * m * n) if cut.known else out
    a, b = (_in_chunks(x, along, cut) for x, along in ((left, 1), (right, 0)))
    equal = cut.whole + 1 if cut.even else cut.whole
    _append(low, node, (equal, m, n, cut.length), a, b, (partial, 0))
    if not cut.even:
        a, b = (_last_chunk(x, along, cut) for x, along in ((left, 1), (right, 0)))
        _append(low, node, (m, n, cut.rest), a, b, last)
    add_chunks(low, node, cut, partial, last, out, (m, n), (n, 1))


def _in_chunks(x: Operand, along: int, cut: Cut) -> Operand:
    """Return an operand as a batch of chunks of its rows (0) or columns (1)."""
    buffer, (start, _, *strides) = x
    return buffer, (start, (cut.length * strides[along],), *strides)


def _last_chunk(x: Operand, along: int, cut: Cut) -> Operand:
    """Return what the chunks of equal length leave of an operand."""
    buffer, (start, _, *strides) = x
    return buffer, (start + cut.whole * cut.length * strides[along], (), *strides)


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
