"""A table of a model: outputs, parameters and operations of each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import symgraph as sg
from symgraph_nn.layers.base import Layer
from symgraph_nn.layers.sequential import Sequential


def summary(model: Layer, input_shape: Sequence[int], dtype: Any = None) -> str:
    """Return a table: path, layer, output shape, parameters and flops (2 per multiply-add).

    input_shape: that of one example batch, (batch, ...). Flops count products and convolutions of a
    forward pass; elementwise work is left out.
    """
    x = sg.tensor("input", tuple(input_shape), dtype)
    rows: list[tuple[str, ...]] = [("", "input", _shape(x), "", "")]
    total = 0
    for path, step in _steps(model):
        y = step(x)
        parameters = _size(step) if isinstance(step, Layer) else 0
        work = flops(y, x)
        total += work
        rows.append((path, _name(step), _shape(y), f"{parameters:,}", f"{work:,}"))
        x = y
    rows.append(("", "total", "", f"{_size(model):,}", f"{total:,}"))
    return _table(("path", "layer", "output", "parameters", "flops"), rows)


def _steps(model: Layer) -> list[tuple[str, Any]]:
    if isinstance(model, Sequential):
        return [(str(k), step) for k, step in enumerate(model.steps)]
    return [("", model)]


def _name(step: Any) -> str:
    return repr(step) if isinstance(step, Layer) else getattr(step, "__name__", "function")


def _shape(x: sg.Variable) -> str:
    return "(" + ", ".join(map(str, x.type.shape)) + ")"


def _size(layer: Layer) -> int:
    return sum(p.get_value(borrow=True).size for p in layer.params().values())


def flops(y: sg.Variable, stop: sg.Variable) -> int:
    """Return two per multiply-add of the products and convolutions between `stop` and `y`."""
    total, seen, stack = 0, {stop}, [y]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack.extend(node.inputs)
        if node.op.name == "matmul":
            total += 2 * math.prod(node.type.shape) * node.inputs[0].type.shape[-1]
        elif node.op.name == "conv2d":
            total += 2 * math.prod(node.type.shape) * math.prod(node.inputs[1].type.shape[1:])
    return total


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(r[k]) for r in [head, *rows]) for k in range(len(head))]

    def line(row: tuple[str, ...]) -> str:
        left = [
            v.ljust(w) if k < 3 else v.rjust(w)
            for k, (v, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(left).rstrip()

    rule = "  ".join("-" * w for w in widths)
    return "\n".join([line(head), rule, *map(line, rows[:-1]), rule, line(rows[-1])])
