"""Run an op's `lower` rule on NumPy arrays: the loop expression at every index at once.

Each loop variable becomes an array axis of its own, a load becomes a fancy index, a reduction a
NumPy reduction over the axes of its loop variables. It tells a wrong lowering from a wrong code
generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.core.node import Node
from symgraph.loops.builder import LoopBuilder
from symgraph.loops.evaluate import evaluate
from symgraph.loops.expr import MATH, MATH2, SUMS, Axis, Buffer, Expr, walk
from symgraph.testing.oracles import NUMPY_FUNCTIONS

_COMBINE: dict[str, Any] = {
    **dict.fromkeys(SUMS, np.sum), "prod": np.prod, "max": np.max, "min": np.min,
    "any": np.any, "all": np.all, "or": np.bitwise_or.reduce, "and": np.bitwise_and.reduce,
}  # fmt: skip


def run_lowering(node: Node, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the value of one op on arrays, computed from the expression that `lower` gives.

    All sizes must be numbers. Raises `IndexError` where the rule reads outside of an input without
    a guard that forbids it.
    """
    s = LoopBuilder()
    axes = [s.axis(f"i{k}", n) for k, n in enumerate(node.type.shape)]
    buffers = [
        Buffer(f"x{k}", x.dtype, x.type.shape, "input", k) for k, x in enumerate(node.inputs)
    ]

    def read(k: int, index: Sequence[Any], guard: Expr | None = None) -> Expr:
        flat: Any = s.index(0)
        for i, n in zip(index, node.inputs[k].type.shape, strict=True):
            flat = s.iadd(s.imul(flat, n), i)
        return s.load(buffers[k], flat, guard)

    expr = node.op.lower(s, node, tuple(map(s.at, axes)), read)
    data = {b: np.ascontiguousarray(a).ravel() for b, a in zip(buffers, arrays, strict=True)}
    value = _value(expr, s.axis_list, data)
    for axis in reversed(s.axis_list):
        if axis not in axes:  # a loop of the rule, reduced to length 1
            value = np.squeeze(value, s.axis_list.index(axis))
    value = value.reshape(value.shape[value.ndim - node.ndim :])  # rank 0 may come as rank 1
    return np.broadcast_to(value, node.type.shape).astype(node.dtype.numpy)


def _value(root: Expr, axes: list[Axis], data: Mapping[Buffer, np.ndarray]) -> np.ndarray:
    """Return an array with one dimension per axis (length 1 where it does not depend on it)."""
    rank = len(axes)
    env: dict[Expr, np.ndarray] = {}
    for e in walk([root]):
        if e.op == "axis":
            place = axes.index(e.data)
            shape = [e.data.extent if k == place else 1 for k in range(rank)]
            env[e] = np.arange(e.data.extent, dtype=np.int64).reshape(shape)
        elif e.op == "load":
            env[e] = _load(e, env, data, rank)
        elif e.op == "reduce":
            env[e] = _reduce(e, env, axes)
        elif e.op in ("ifloordiv", "imod"):
            f = np.floor_divide if e.op == "ifloordiv" else np.mod
            env[e] = f(env[e.args[0]], e.data)
        elif e.op == "as_index":
            env[e] = env[e.args[0]].astype(np.int64)
        elif e.op in MATH or e.op in MATH2:
            with np.errstate(all="ignore"):
                value = NUMPY_FUNCTIONS[e.op](*(env[a] for a in e.args))
            env[e] = np.asarray(value).astype(e.dtype.numpy)
        else:
            env[e] = evaluate(e, env)
    return env[root].reshape(env[root].shape or (1,) * rank)


def _load(e: Expr, env: Mapping[Expr, np.ndarray], data: Any, rank: int) -> np.ndarray:
    flat, address = data[e.data], env[e.args[0]]
    inside = (address >= 0) & (address < flat.size)
    wanted = env[e.args[1]] if len(e.args) > 1 else np.True_
    if (wanted & ~inside).any():
        raise IndexError(f"{e!r} reads outside of {flat.size} elements")
    if not flat.size:
        return np.zeros(np.broadcast_shapes(np.shape(wanted), address.shape), flat.dtype)
    value = flat[np.where(inside & wanted, address, 0)]
    return np.asarray(np.where(wanted, value, np.zeros((), flat.dtype)))


def _reduce(e: Expr, env: Mapping[Expr, np.ndarray], axes: list[Axis]) -> np.ndarray:
    kind, bound = e.data
    places = tuple(axes.index(a) for a in bound)
    value = env[e.args[0]]
    value = value.reshape(value.shape or (1,) * len(axes))
    shape: Any = tuple(axes[k].extent if k in places else n for k, n in enumerate(value.shape))
    with np.errstate(all="ignore"):
        result = _COMBINE[kind](np.broadcast_to(value, shape), axis=places, keepdims=True)
    return np.asarray(result).astype(e.dtype.numpy)
