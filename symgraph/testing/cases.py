"""Generated cases: the inputs on which every op is checked.

Elementwise ops state ranges and dtypes, and get all dtypes, ranks, broadcast pairs, empty arrays
and special values from them. All others state `samples`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any
from zlib import crc32

import numpy as np

from symgraph.core.dtype import ALL as ALL_DTYPES
from symgraph.core.dtype import (
    BFLOAT16,
    BOOL,
    COMPLEX128,
    COMPLEXES,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INT64,
    UINT32,
    DType,
    as_dtype,
)
from symgraph.core.errors import DTypeError
from symgraph.core.lazy import lazy
from symgraph.core.node import Node, new_input
from symgraph.core.op import Op, o, ops
from symgraph.core.record import dataclass
from symgraph.dims.dim import symbol
from symgraph.ops.base import Elementwise

ml_dtypes: Any = lazy("ml_dtypes")
SHAPES = ((), (5,), (2, 3), (2, 3, 4), (0,), (3, 0))
PAIRS = (
    ((3, 1), (4,)),
    ((2, 1, 4), (3, 1)),
    ((), (3,)),
    ((1,), (0,)),
    ((3, 4), (3, 4)),
    ((1, 1), (2, 3)),
)
TRIPLES = (((2, 1), (3,), ()), ((), (3, 1), (2,)))
QUADRUPLES = (((2, 1), (3,), (), (1,)), ((), (3, 1), (2,), ()))
MIXED = (
    ("int32", "float32"),
    ("int8", "uint8"),
    ("bool", "int16"),
    ("uint64", "uint8"),
    ("int64", "float16"),
    ("float64", "float32"),
)
# bfloat16 arrays need a package beside NumPy; a half is a storage type wherever it occurs
HALVES = (FLOAT16, BFLOAT16) if find_spec("ml_dtypes") else (FLOAT16,)
STRUCTURED = (FLOAT64, FLOAT32, *HALVES, INT64, UINT32, BOOL)


@dataclass(frozen=True, slots=True)
class Case:
    """One application of an op: arrays for its inputs and its parameters.

    `kind` is "value" (ordinary numbers), "special" (infinities, NaN, extreme integers) or "smooth"
    (float64 points where the op is differentiable).
    """

    op: Op
    arrays: tuple[np.ndarray, ...]
    params: tuple[tuple[str, Any], ...] = ()
    kind: str = "value"

    def inputs(self, symbolic: bool = False) -> list[Node]:
        """Return fresh input nodes; with `symbolic` every length but 1 is a fresh symbol."""
        result = []
        for k, a in enumerate(self.arrays):
            shape: tuple[Any, ...] = a.shape
            if symbolic:
                shape = tuple(n if n == 1 else symbol(f"n{k}{j}") for j, n in enumerate(a.shape))
            result.append(new_input(as_dtype(a.dtype), shape, f"x{k}"))
        return result

    def apply(self, inputs: list[Node]) -> Node:
        """Return the op on `inputs`; elementwise ops go through the function that promotes."""
        if isinstance(self.op, Elementwise) and _promotes(self.op):
            result: Node = getattr(o, self.op.name)(*inputs)
            return result
        return self.op(*inputs, **dict(self.params))

    def __str__(self) -> str:
        arrays = ", ".join(f"{a.dtype}{list(a.shape)}" for a in self.arrays)
        params = "".join(f", {k}={v}" for k, v in self.params)
        return f"{self.op.name}({arrays}{params}) [{self.kind}]"


def _promotes(op: Op) -> bool:
    """Tell whether a function of the op's name promotes operands (tests make ops without one)."""
    return ops.get(op.name) is op and not op.params


def cases(op: Op) -> Iterator[Case]:
    """Yield all cases of an op; the same ones at every run."""
    rng = np.random.default_rng(crc32(op.name.encode()))
    if isinstance(op, Elementwise):
        yield from _elementwise(op, rng)
        if "complex" in op.dtypes.split():
            yield from _complex_elementwise(op, rng)
    else:
        yield from _structured(op, rng)
        if op.takes_complex:
            yield from _complex_structured(op, rng)


def accepted(op: Op) -> list[DType]:
    """Return the real dtypes that an op takes, by what it states and by its dtype rule."""
    words = getattr(op, "dtypes", "bool int float").split()
    kinds = "".join({"bool": "b", "int": "iu", "float": "f", "complex": ""}[w] for w in words)
    result = [d for d in (*ALL_DTYPES, *HALVES[1:]) if d.kind in kinds]
    rule = getattr(op, "types", None)
    return result if rule is None else [d for d in result if _allowed(rule, d, op.name)]


def _allowed(rule: Any, dtype: DType, name: str) -> bool:
    try:
        rule(dtype, name)
    except DTypeError:
        return False
    return True


def draw(rng: np.random.Generator, shape: Any, dtype: DType, low: float, high: float) -> np.ndarray:
    """Return random numbers of `dtype` between `low` and `high`."""
    if dtype.is_bool:
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.is_complex:
        parts = rng.uniform(low, high, shape) + 1j * rng.uniform(low, high, shape)
        return np.asarray(parts).astype(dtype.numpy)
    if dtype.is_float:
        return np.asarray(rng.uniform(low, high, shape)).astype(dtype.numpy)
    first = int(np.floor(low)) if dtype.kind == "i" else max(0, int(np.floor(low)))
    return np.asarray(rng.integers(first, int(np.ceil(high)) + 1, shape)).astype(dtype.numpy)


def specials(dtype: DType) -> np.ndarray:
    """Return the values of a dtype at which functions go wrong."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        low, high = np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max
        whole = [low, low + 1, -1, 0, 1, 2, 7, high - 1, high]
        return np.array([v for v in whole if low <= v], dtype.numpy)
    info: Any = (ml_dtypes if dtype is BFLOAT16 else np).finfo(dtype.numpy)
    values = [0.0, 1.0, 0.5, 1.5, 2.5, 3.0, info.tiny, info.smallest_subnormal, info.max, np.inf]
    return np.array([s * v for v in values for s in (1, -1)] + [np.nan], dtype.numpy)


def _types_of(op: Elementwise, dtype: DType) -> list[DType]:
    return [BOOL if op.name == "where" and k == 0 else dtype for k in range(op.arity)]


def _drawn(op: Elementwise, rng: Any, shapes: Any, dtypes: Any) -> tuple[np.ndarray, ...]:
    return tuple(
        draw(rng, shape, as_dtype(d), low, high)
        for shape, d, (low, high) in zip(shapes, dtypes, op.domain, strict=True)
    )


def _parameters(op: Op) -> list[tuple[tuple[str, Any], ...]]:
    """Return parameter sets of the one elementwise op that has any (cast)."""
    if not op.params:
        return [()]
    return [(("dtype", d),) for d in (*ALL_DTYPES, *HALVES[1:])]


def _elementwise(op: Elementwise, rng: np.random.Generator) -> Iterator[Case]:
    dtypes = accepted(op)
    best = FLOAT64 if FLOAT64 in dtypes else [d for d in dtypes if d is not BFLOAT16][-1]
    for params in _parameters(op):
        for d in dtypes:
            arrays = _drawn(op, rng, ((7,),) * op.arity, _types_of(op, d))
            if d.is_float and params and params[0][1].kind == "u":
                arrays = tuple(map(np.abs, arrays))  # C leaves negative floats undefined here
            yield Case(op, arrays, params)
            if op.edges:
                yield from _special(op, d, params)
    params = _parameters(op)[-1]
    groups = {1: [(s,) for s in SHAPES], 2: PAIRS, 3: TRIPLES, 4: QUADRUPLES}[op.arity]
    for shapes in (*groups, *([(s, s) for s in SHAPES] if op.arity == 2 else [])):
        arrays = _drawn(op, rng, shapes, _types_of(op, best))
        yield Case(op, arrays, params)
        if best is FLOAT64 and all(a.size for a in arrays):
            yield Case(op, arrays, params, "smooth")
    if op.arity == 2 and _promotes(op):
        for pair in MIXED:
            if all(as_dtype(d) in dtypes for d in pair):
                yield Case(op, _drawn(op, rng, ((3, 1), (4,)), pair), params)


def _complex_elementwise(op: Elementwise, rng: np.random.Generator) -> Iterator[Case]:
    for d in COMPLEXES:
        yield Case(op, _drawn(op, rng, ((7,),) * op.arity, _types_of(op, d)))
    groups = {1: [(s,) for s in SHAPES], 2: PAIRS, 3: TRIPLES, 4: QUADRUPLES}[op.arity]
    for shapes in groups:
        yield Case(op, _drawn(op, rng, shapes, _types_of(op, COMPLEX128)))
    if op.arity == 2 and _promotes(op):
        for pair in (("float64", "complex64"), ("complex64", "int32")):
            yield Case(op, _drawn(op, rng, ((3, 1), (4,)), pair))


def _complex_structured(op: Op, rng: np.random.Generator) -> Iterator[Case]:
    """The samples of an op with complex numbers in place of floats."""
    for entries, params in op.samples(rng, COMPLEX128):
        arrays = tuple(
            (e * (1 + 0.5j) if e.dtype.kind == "f" else e)
            if isinstance(e, np.ndarray)
            else draw(rng, e, COMPLEX128, -2.0, 2.0)
            for e in entries
        )
        yield Case(op, arrays, tuple(params.items()))


def _special(op: Elementwise, dtype: DType, params: Any) -> Iterator[Case]:
    """All combinations of special values; conversions that C leaves undefined are left out."""
    target = dict(params).get("dtype")
    if target is not None and dtype.is_float and target.is_integer:
        return
    values = [specials(d) for d in _types_of(op, dtype)]
    grid = np.array(list(itertools.product(*(range(len(v)) for v in values))))
    yield Case(op, tuple(v[grid[:, k]] for k, v in enumerate(values)), params, "special")


def _structured(op: Op, rng: np.random.Generator) -> Iterator[Case]:
    allowed = accepted(op)
    for dtype in (d for d in STRUCTURED if d in allowed):
        for entries, params in op.samples(rng, dtype):
            arrays = tuple(
                e if isinstance(e, np.ndarray) else draw(rng, e, dtype, -2.0, 2.0) for e in entries
            )
            yield Case(op, arrays, tuple(params.items()))
            if dtype is FLOAT64 and any(a.dtype.kind == "f" and a.size for a in arrays):
                yield Case(op, arrays, tuple(params.items()), "smooth")
