"""Lower the passes of a Fourier transform to one call of a kernel (cpu/kernels/dft.py)."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.core.node import Node
from symgraph.loops.expr import Buffer, View
from symgraph.loops.product import strides_of
from symgraph.loops.statements import LibraryCall

if TYPE_CHECKING:
    from symgraph.loops.build import Lowering


def lower_dft(low: Lowering, node: Node, out: Buffer | View) -> None:
    """Call the kernel on an operand that lies in memory as it is indexed; others are copied."""
    x, table = node.inputs
    p, shape = node.params, node.type.shape
    source, offset = _operand(low, x)
    factors = low.value(table, [low.s.at(a) for a in low.nest_axes(table)]).data
    whole, start = (out.buffer, out.offset) if isinstance(out, View) else (out, 0)
    outer: Any = 1
    for n in shape[: p.axis]:
        outer = outer * n
    inner = 1
    for n in shape[p.axis + 1 : -1]:
        inner = inner * n
    work = (outer, prod(p.radixes), inner, 5 * len(p.radixes))
    params = (work, (start, offset), (p.sign, p.scale, p.radixes, inner, p.real))
    call = LibraryCall("dft", (whole,), (source, factors), params, origin=(node,))
    low.program.statements.append(call)


def _operand(low: Lowering, x: Node) -> tuple[Buffer, Any]:
    """Return a buffer that holds `x` in row-major order, and where it begins there."""
    axes = low.nest_axes(x)
    value = low.value(x, [low.s.at(a) for a in axes])
    if value.op == "load" and len(value.args) == 1:
        found = strides_of(value.args[0], axes)
        if found is not None:
            plain = low.s.index(low.flat([low.s.at(a) for a in axes], x.type.shape))
            wanted = strides_of(plain, axes)
            if wanted is not None and found[1] == wanted[1]:
                return value.data, found[0]
    buffer = low.temporary(x.dtype, x.type.shape)
    low.store_value(x, buffer)
    return buffer, 0


def run_dft(call: LibraryCall, source: np.ndarray, target: np.ndarray) -> None:
    """Compute the call with the NumPy reference of its node, on flat memory."""
    node, ((outer, n, inner, _), (start, offset), _) = call.origin[0], call.params
    rows = n + (node.params.real and node.params.sign > 0)
    x = source[offset : offset + outer * rows * inner * 2].reshape(outer, rows, inner, 2)
    result = node.op.reference(node.params, x, 1).ravel()
    target[start : start + result.size] = result
