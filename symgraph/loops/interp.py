"""Run a loop program with NumPy: slow, simple, and independent of code generation.

Each loop variable becomes an array axis, a load a fancy index, a reduction a NumPy reduction. What
the native code of a program must compute is what this computes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.loops.convolution import run_contraction
from symgraph.loops.dft import run_dft
from symgraph.loops.evaluate import evaluate
from symgraph.loops.expr import MATH, MATH2, SUMS, Axis, Buffer, Expr, walk
from symgraph.loops.lapack_interp import run_lapack
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Program, Statement, Store

Memory = dict[Buffer, np.ndarray]
Steps = dict[Axis, int]

COMBINE: dict[str, Any] = {
    **dict.fromkeys(SUMS, np.sum), "prod": np.prod, "max": np.max, "min": np.min, "any": np.any,
    "all": np.all, "or": np.bitwise_or.reduce, "and": np.bitwise_and.reduce,
}  # fmt: skip
COMBINE_AT: dict[str, np.ufunc] = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
}  # fmt: skip
RUNNING: dict[str, Any] = {
    "sum": np.cumsum, "prod": np.cumprod, "max": np.maximum.accumulate,
    "min": np.minimum.accumulate,
}  # fmt: skip


def _vector(f: Any) -> Any:
    wide = np.vectorize(f, otypes=[np.float64])
    return lambda x: wide(x.astype(np.float64)) if x.size else x.astype(np.float64)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1 / (1 + e), e / (1 + e)))


FUNCTIONS: dict[str, Any] = {
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "erf": _vector(math.erf), "erfc": _vector(math.erfc),
    "sigmoid": _sigmoid, "softplus": lambda x: np.logaddexp(x, np.zeros((), x.dtype)),
    "pow": np.power, "atan2": np.arctan2,
}  # fmt: skip


class ProgramError(Exception):
    """A check of the program failed; `code` says which."""

    def __init__(self, code: int) -> None:
        super().__init__(f"check {code} failed")
        self.code = code


def run_program(
    program: Program, data: Mapping[Buffer, np.ndarray], aliases: Mapping[Buffer, Buffer]
) -> dict[Buffer, np.ndarray]:
    """Run all statements on flat arrays and return every buffer's final content.

    `data` holds inputs, shared variables and constants; `aliases` are temporaries that live in
    another buffer. Sizes must be numbers. Raises `ProgramError` where a check fails, `IndexError`
    where a statement reads outside of a buffer.
    """
    memory = {b: np.array(a).ravel() for b, a in data.items()}
    _run(program.statements, memory, aliases, {})
    return memory


def _run(statements: Sequence[Statement], memory: Memory, aliases: Any, at: Steps) -> None:
    """Run statements; `at` are the steps at which the loops around them are."""
    for given in statements:
        statement = in_step(given, at) if at else given
        if isinstance(statement, Nest):
            _nest(statement, memory, aliases)
        elif isinstance(statement, Check):
            axes = list(statement.axes) + _inner(statement.condition)
            if _value(statement.condition, axes, memory, aliases).any():
                raise ProgramError(statement.code)
        elif isinstance(statement, Loop):
            _loop(statement, memory, aliases, at)
        elif statement.name in ("argsort", "argsort_first"):
            _argsort(statement, memory, aliases)
        elif statement.name == "dft":
            buffers = (statement.inputs[0], statement.outputs[0])
            run_dft(statement, *(_place(b, memory, aliases) for b in buffers))
        elif statement.name == "gemm":
            _product(statement, memory, aliases)
        elif statement.name == "contract":
            arrays = (*statement.inputs, *statement.outputs)
            run_contraction(statement, *(_place(b, memory, aliases) for b in arrays))
        else:
            run_lapack(statement, lambda b: _place(b, memory, aliases))


def _loop(loop: Loop, memory: Memory, aliases: Any, at: Steps) -> None:
    def scalar(e: Expr) -> Any:
        return _value(e, [], memory, aliases).reshape(())[()]

    extent = loop.axis.extent
    assert isinstance(extent, int)
    steps = extent if loop.count is None else max(0, min(extent, int(scalar(loop.count))))
    going = loop.start is None or bool(scalar(loop.start))
    done = 0
    while going and done < steps:
        _run(loop.body, memory, aliases, {**at, loop.axis: done})
        for now, new in loop.carried:
            first, second = _place(now, memory, aliases), _place(new, memory, aliases)
            memory[aliases.get(now, now)], memory[aliases.get(new, new)] = second, first
        done += 1
        going = loop.go_on is None or bool(scalar(loop.go_on))
    if loop.steps is not None:
        _place(loop.steps, memory, aliases)[0] = done


def in_step(statement: Statement, at: Steps) -> Statement:
    """Return a statement with the variables of the loops around it replaced by numbers."""
    if isinstance(statement, Nest):
        stores = tuple(
            Store(t.buffer, _fixed(t.address, at), _fixed(t.value, at), t.guard, t.accumulate)
            for t in statement.stores
        )
        return Nest(statement.axes, stores, statement.serial, statement.scan)
    if isinstance(statement, Check):
        return Check(statement.axes, _fixed(statement.condition, at), statement.code)
    if isinstance(statement, LibraryCall):
        params = tuple(_fixed_params(p, at) for p in statement.params)
        return LibraryCall(
            statement.name, statement.outputs, statement.inputs, params, statement.origin
        )
    return statement


def _fixed(e: Expr, at: Steps) -> Expr:
    return e.builder.replace(e, at, {})


def _fixed_params(value: Any, at: Steps) -> Any:
    if isinstance(value, Expr):
        value = _fixed(value, at)
        return value.data[1] if value.op == "affine" and not value.args else value
    return tuple(_fixed_params(v, at) for v in value) if isinstance(value, tuple) else value


def _inner(*roots: Expr) -> list[Axis]:
    """Return the axes that reductions below the roots bind, each once."""
    found: dict[Axis, None] = {}
    for e in walk(roots):
        if e.op == "reduce":
            found.update(dict.fromkeys(e.data[1]))
    return list(found)


def _place(buffer: Buffer, memory: dict[Buffer, np.ndarray], aliases: Any) -> np.ndarray:
    buffer = aliases.get(buffer, buffer)
    if buffer not in memory:
        size = buffer.size
        assert isinstance(size, int)
        memory[buffer] = np.zeros(size, buffer.dtype.numpy)
    return memory[buffer]


def _nest(nest: Nest, memory: dict[Buffer, np.ndarray], aliases: Any) -> None:
    pending = []
    for t in nest.stores:
        axes = list(nest.axes) + [a for a in _inner(t.value, t.address) if a not in nest.axes]
        extents = (a.extent if k < len(nest.axes) else 1 for k, a in enumerate(axes))
        shape = tuple(int(n) for n in extents)  # type: ignore[arg-type]
        if nest.scan == "linear":
            value = _recurrence(t.value, axes, shape, memory, aliases)
        else:
            value = np.broadcast_to(_value(t.value, axes, memory, aliases), shape)
        address = np.broadcast_to(_value(t.address, axes, memory, aliases), shape)
        if nest.scan and nest.scan != "linear":
            with np.errstate(all="ignore"):
                value = RUNNING[nest.scan](value, axis=len(nest.axes) - 1, dtype=value.dtype)
        pending.append((t, address.ravel(), value.ravel()))
    for t, address, value in pending:
        _write(t, address, value, _place(t.buffer, memory, aliases))


def _recurrence(
    e: Expr, axes: Sequence[Axis], shape: tuple[int, ...], memory: Any, aliases: Any
) -> np.ndarray:
    """Return a linear running nest's values, one after the other along the last axis."""
    a, b = (np.broadcast_to(_value(e.args[k], axes, memory, aliases), shape) for k in (0, 2))
    out = np.zeros(shape, e.dtype.numpy)
    before = np.zeros(shape[:-1], e.dtype.numpy)
    for k in range(shape[-1]):
        env = {e.args[0]: a[..., k], e.args[1]: before, e.args[2]: b[..., k]}
        before = out[..., k] = evaluate(e, env)
    return out


def _write(t: Store, address: np.ndarray, value: np.ndarray, target: np.ndarray) -> None:
    value = value.astype(target.dtype, copy=False)
    if t.accumulate:
        with np.errstate(all="ignore"):
            COMBINE_AT[t.accumulate].at(target, address, value)
    else:
        target[address] = value


def _value(
    root: Expr, axes: Sequence[Axis], memory: dict[Buffer, np.ndarray], aliases: Any
) -> np.ndarray:
    """Return an array with one dimension per axis (length 1 where it does not depend on it)."""
    rank = len(axes)
    env: dict[Expr, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for e in walk([root]):
            env[e] = _one(e, env, axes, rank, memory, aliases)
    value = env[root]
    return value.reshape(value.shape or (1,) * rank)


def _one(e: Expr, env: Any, axes: Any, rank: int, memory: Any, aliases: Any) -> np.ndarray:
    if e.op == "axis":
        place = list(axes).index(e.data)
        shape = [e.data.extent if k == place else 1 for k in range(rank)]
        return np.arange(e.data.extent, dtype=np.int64).reshape(shape)
    if e.op == "load":
        turns = all(a.extent for a in axes)  # what has none reads nothing, wherever it lies
        return _load(e, env, _place(e.data, memory, aliases), turns)
    if e.op == "reduce":
        kind, bound = e.data
        places = tuple(list(axes).index(a) for a in bound)
        value = env[e.args[0]]
        value = value.reshape(value.shape or (1,) * rank)
        full = tuple(axes[k].extent if k in places else n for k, n in enumerate(value.shape))
        result = COMBINE[kind](np.broadcast_to(value, full), axis=places, keepdims=True)
        return np.asarray(result).astype(e.dtype.numpy)
    if e.op in ("ifloordiv", "imod"):
        f = np.floor_divide if e.op == "ifloordiv" else np.mod
        return np.asarray(f(env[e.args[0]], e.data))
    if e.op == "as_index":
        return np.asarray(env[e.args[0]].astype(np.int64))
    if e.op in MATH or e.op in MATH2:
        f = FUNCTIONS.get(e.op) or getattr(np, e.op)
        return np.asarray(f(*(env[a] for a in e.args))).astype(e.dtype.numpy)
    return evaluate(e, env)


def _load(
    e: Expr, env: Mapping[Expr, np.ndarray], flat: np.ndarray, turns: bool
) -> np.ndarray:
    address = env[e.args[0]]
    inside = (address >= 0) & (address < flat.size)
    wanted = env[e.args[1]] if len(e.args) > 1 else np.True_
    if turns and (wanted & ~inside).any():
        raise IndexError(f"{e!r} reads outside of {flat.size} elements")
    if not flat.size:
        return np.zeros(np.broadcast_shapes(np.shape(wanted), address.shape), flat.dtype)
    value = flat[np.where(inside & wanted, address, 0)]
    return np.asarray(np.where(wanted, value, np.zeros((), flat.dtype)))


def _product(call: LibraryCall, memory: dict[Buffer, np.ndarray], aliases: Any) -> None:
    (*batch, m, n, k), left, right, start = call.params
    a, b = (
        _strided(_place(buffer, memory, aliases), (*batch, *shape), operand)
        for buffer, shape, operand in zip(
            call.inputs, ((m, k), (k, n)), (left, right), strict=True
        )
    )
    with np.errstate(all="ignore"):
        product = np.matmul(a, b).ravel()
    _place(call.outputs[0], memory, aliases)[start : start + product.size] = product


def _argsort(call: LibraryCall, memory: dict[Buffer, np.ndarray], aliases: Any) -> None:
    (rows, n), start, *count = call.params
    keys = _place(call.inputs[0], memory, aliases).reshape(rows, n)
    order = np.argsort(keys, axis=1, kind="stable")[:, : count[0] if count else n].ravel()
    _place(call.outputs[0], memory, aliases)[start : start + order.size] = order


def _strided(flat: np.ndarray, shape: tuple[Any, ...], operand: Any) -> np.ndarray:
    offset, outer, row, column = operand
    steps = tuple(s * flat.itemsize for s in (*outer, row, column))
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps)
