"""The checks that every rewrite rule passes on its own left side.

A rule fires where it says, in both orders of commutative operands; both sides agree within its
numeric class on ordinary and special values; their derivatives agree; the result is a fixed point.
A check returns the failures as text, so that a suite over all rules can list them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

import mpmath as mp
import numpy as np

from symgraph.autodiff.grad import grad
from symgraph.compile import eager
from symgraph.core.dtype import BOOL, FLOAT32, FLOAT64, INT32, DType
from symgraph.core.errors import SymgraphError
from symgraph.core.node import CONSTANT, INPUT, Node, constant, make, new_input
from symgraph.core.op import o, ops
from symgraph.core.pattern import Rule, Term, Variable, instantiate, sides
from symgraph.core.record import dataclass
from symgraph.core.rewrite import Report, Table, rewrite
from symgraph.core.walk import leaves, toposort
from symgraph.rewrites import PHASES, optimise, tables
from symgraph.testing.cases import specials
from symgraph.testing.exact import Unknown, exact_values
from symgraph.testing.tolerances import mismatch

DTYPES = (FLOAT64, FLOAT32, INT32, BOOL)
LENGTH = 7
CONSTANTS = (2.0, 0.5, 3.0, 0.125)
STABLE_ULP = 8.0  # a stable right side may be off by so much where the left side is better
REORDER = 32.0  # times eps times the largest magnitude
LOGARITHMS = ("log_softmax", "logsumexp", "sub", "add")
GROWTH = 12  # nodes that a normal form may have more than the left side
DERIVATIVE = 1e-8


@dataclass(frozen=True, slots=True)
class Firing:
    """A left side, the node that the rule made of it, and whether the harmless-analysis let it."""

    rule: Rule
    left: Node
    right: Node
    proved: bool

    def inputs(self) -> list[Node]:
        return [n for n in leaves([self.left]) if n.op is INPUT]

    def __str__(self) -> str:
        return f"{self.rule.name}: {self.left.type.dtype} {self.left!r} -> {self.right!r}"


# -- where a rule fires ---------------------------------------------------------------------------
def firings(r: Rule) -> list[Firing]:
    """Return the rule applied to all its left sides that it fires on."""
    found: list[Any] = []
    for left in left_sides(r):
        for numerics in ("fast", "default") if r.numeric == "algebraic" else ("default",):
            table = Table(r.phase, [r], numerics)
            report = Report()
            right = rewrite([left], [table], report)[0]
            if right is not left and any(row[1] for row in report.rules.values()):
                proved = r.numeric == "algebraic" and numerics == "default"
                found.append(Firing(r, left, right, proved))
    return found


def left_sides(r: Rule) -> Iterator[Node]:
    """Yield nodes of the form that the rule names, in several dtypes and operand orders."""
    if not r.declarative:
        assert r.example is not None
        for node in r.example():
            yield node
            if any(n.dtype is FLOAT32 for n in leaves([node])):
                yield with_dtype(node, FLOAT32, FLOAT64)
        return
    left, _, variables = sides(r)
    dresses = DRESSES if r.where or r.harmless else DRESSES[:1]
    dtypes = DTYPES[:2] if r.numeric == "stable" else DTYPES
    for dtype, dress, flip in itertools.product(dtypes, dresses, (False, True)):
        try:
            bindings = {v.name: _bound(v, dtype, dress, k, left) for k, v in enumerate(variables)}
            node = instantiate(_flipped(left) if flip else left, bindings)
        except (SymgraphError, OverflowError):
            continue  # the op does not take this dtype
        yield node


DRESSES = ("plain", "exp", "square", "bool")  # forms about which the analysis knows something


def _bound(v: Variable, dtype: DType, dress: str, k: int, left: Term) -> Any:
    """Return a node (or parameters) for a variable of a pattern."""
    if v.kind == "Params":
        return (0,),
    if v.kind == "Const":
        return constant(CONSTANTS[k % len(CONSTANTS)] if dtype.is_float else k + 2, dtype)
    if dress == "bool":
        return o.cast(new_input(BOOL, (LENGTH,), v.name), dtype)
    x = new_input(dtype, (LENGTH,), v.name)
    return x if dress == "plain" else getattr(o, dress)(x)


def _flipped(term: Any) -> Any:
    """Return the term with the operands of every commutative op exchanged."""
    if not isinstance(term, Term) or isinstance(term, Variable):
        return term
    args = tuple(map(_flipped, term.args))
    return Term(term.op, args[::-1] if ops[term.op].commutative else args)


def with_dtype(node: Node, old: DType, new: DType) -> Node:
    """Return the same graph with another dtype in place of `old`."""
    done: dict[Node, Node] = {}
    for n in toposort([node]):
        if n.op is INPUT:
            dtype = new if n.dtype is old else n.dtype
            done[n] = new_input(dtype, n.type.shape, n.name)
        elif n.op is CONSTANT:
            done[n] = constant(n.data, new) if n.dtype is old else n
        else:
            changed = [new if q is old else q for q in n.params]
            params = type(n.params)(*changed) if n.params else n.params
            done[n] = make(n.op, tuple(done[i] for i in n.inputs), params, uid=n.uid)
    return done[node]


# -- values ---------------------------------------------------------------------------------------
Arrays = Mapping[Node, np.ndarray]


def ordinary(inputs: Sequence[Node], rng: np.random.Generator, positive: bool = False) -> Arrays:
    """Return moderate random numbers for every input."""
    values = {}
    for x in inputs:
        if x.dtype.is_bool:
            values[x] = (rng.random(x.type.shape) < 0.5) | positive
        elif x.dtype.is_float:
            low = 0.3 if positive else -3.0
            values[x] = np.asarray(rng.uniform(low, 3.0, x.type.shape)).astype(x.dtype.numpy)
        else:
            low, high = (1, 4) if positive else (-9, 10)
            values[x] = np.asarray(rng.integers(low, high, x.type.shape)).astype(x.dtype.numpy)
    return values


def special(inputs: Sequence[Node], rng: np.random.Generator, stable: bool) -> Arrays:
    """Return random picks of special values.

    For stable rules also numbers where functions overflow, none so large that its exponential has
    no exact value; and no infinities in rows, where one of them may void all the other elements.
    """
    values = {}
    for x in inputs:
        pool = specials(x.dtype)
        if stable and x.dtype.is_float:
            more = [1e-3, 1e-9, 1e-20, 10, 30, 60, 88.6, 100, 500, 709, 720, 750]
            signed = np.array([s * v for v in more for s in (1, -1)], pool.dtype)
            pool = np.concatenate([pool, signed])
            pool = pool[~(np.isfinite(pool) & (np.abs(pool) > 1e3))]
            pool = pool if x.ndim < 2 else pool[~np.isinf(pool)]
        values[x] = rng.choice(pool, x.type.shape)
    return values


def failures(r: Rule, tries: int = 24) -> list[str]:
    """Return what is wrong with a rule: one line for each failed check (none: it is sound)."""
    try:
        fired = firings(r)
    except SymgraphError as error:
        return [f"{r.name}: {error}"]
    if not fired:
        return [f"{r.name} never fires on its own left side"]
    found: list[Any] = []
    rng = np.random.default_rng(crc32(r.name.encode()))
    for f in fired:
        checks = (_check_values(f, rng, tries), _check_derivative(f, rng), _check_normal(f))
        found.extend(f"{f}: {text}" for text in checks if text)
    return found


def _check_values(f: Firing, rng: np.random.Generator, tries: int) -> str | None:
    inputs, numeric = f.inputs(), f.rule.numeric
    positive = numeric == "algebraic"
    for k in range(8 if numeric == "stable" else tries):
        arrays = ordinary(inputs, rng, positive)
        if k % 2 and (f.proved or not positive) and numeric != "factor":
            if numeric != "reorder":
                arrays = special(inputs, rng, stable=numeric == "stable")
            elif k > tries // 2:
                _plant_nan(arrays, rng)
        left, right = eager.evaluate([f.left, f.right], arrays)
        text = _differs(f, left, right, arrays, special=bool(k % 2))
        if text:
            shown = {x.name: a for x, a in arrays.items()}
            return f"{text}\n    left {left}\n    right {right}\n    at {shown}"
    return None


def _plant_nan(arrays: Arrays, rng: np.random.Generator) -> None:
    for a in arrays.values():
        if a.dtype.kind == "f" and a.size:
            a.flat[rng.integers(a.size)] = np.nan


def _differs(
    f: Firing, left: np.ndarray, right: np.ndarray, arrays: Arrays, special: bool
) -> str | None:
    """Return how the two sides differ by more than the class of the rule allows."""
    numeric = f.rule.numeric
    if numeric == "stable" and left.dtype.kind == "f":
        return _less_stable(f, left, right, arrays)
    if numeric == "exact" or left.dtype.kind != "f":
        return mismatch(right, left, ulp=0, zero_sign=True)
    if numeric.startswith("ulp"):
        return mismatch(right, left, ulp=float(numeric[4:-1]))
    if numeric == "algebraic" and f.proved:
        return mismatch(right, left, ulp=4)
    (size,) = eager.evaluate([f.left], {x: np.nan_to_num(np.abs(a)) for x, a in arrays.items()})
    eps = float(np.finfo(left.dtype).eps)
    with np.errstate(all="ignore"):
        bad = np.abs(left - right) > REORDER * eps * (1 + np.abs(size) + np.abs(left))
    bad |= np.isnan(left) != np.isnan(right)
    return "the sides differ by more than another order explains" if bad.any() else None


def _less_stable(f: Firing, left: np.ndarray, right: np.ndarray, arrays: Arrays) -> str | None:
    """Compare both sides with the real value of the left one."""
    if (np.isnan(left) & ~np.isnan(right)).any() and any(
        a.dtype.kind == "f" and np.isnan(a).any() for a in arrays.values()
    ):
        only_nan = {x: np.where(np.isnan(a), a, a.dtype.type(1)) if a.dtype.kind == "f" else a
                    for x, a in arrays.items()}  # fmt: skip
        a, b = eager.evaluate([f.left, f.right], only_nan)
        if (np.isnan(a) & ~np.isnan(b)).any():
            return "a NaN of the input is lost"
    try:
        exact = exact_values(f.left, arrays)
    except Unknown as missing:
        return f"no exact value: {missing}"
    worst = np.finfo(left.dtype)
    # a logarithm of a sum over a row is a difference of numbers of size 1 or more
    rows = any(x.ndim > 1 for x in arrays)
    floor = float(worst.eps) if rows and f.right.op.name in LOGARITHMS else 0.0
    # taking the maximum m out of exp(x) rounds x - m: |x - m| units in the last place of the result
    limit = STABLE_ULP
    if rows:
        limit += 2 * max(float(np.nan_to_num(np.abs(a)).max(initial=0)) for a in arrays.values())
    for at in np.ndindex(exact.shape):
        value, lhs, rhs = exact[at], left[at], right[at]
        if mp.isnan(value):
            continue
        target = _as_float(value)
        near = min(abs(target), float(worst.max) / 2)
        unit = max(float(np.spacing(left.dtype.type(near))), floor)
        errors = [_error(v, target, unit, float(worst.max)) for v in (lhs, rhs)]
        if errors[1] > max(errors[0], limit):
            return f"at {at} the real value is {target!r}: {lhs!r} became {rhs!r}"
    return None


def _as_float(value: Any) -> float:
    """Return the float nearest to a number of any size."""
    if abs(value) > 1e308:
        return float("inf") if value > 0 else float("-inf")
    return float(value) if abs(value) > 5e-324 else 0.0


def _error(got: Any, target: Any, unit: float, largest: float) -> float:
    """Return the error in units in the last place; the overflow of a huge real value is none."""
    if np.isnan(got):
        return float("inf")
    if abs(target) > largest:
        return 0.0 if abs(got) == np.inf and (got > 0) == (target > 0) else float("inf")
    if abs(got) == np.inf:
        return float("inf")
    return abs(float(got) - float(target)) / unit


# -- derivatives and normal forms -----------------------------------------------------------------
def _check_derivative(f: Firing, rng: np.random.Generator) -> str | None:
    """The derivatives of both sides agree at ordinary points (float64)."""
    inputs = f.inputs()
    moving = [x for x in inputs if x.dtype is FLOAT64]
    if not f.rule.differentiable or not moving or f.left.dtype is not FLOAT64:
        return None
    weight = constant(rng.normal(size=f.left.type.shape))
    try:
        gs = [grad((side * weight).sum(), moving, disconnected_inputs="ignore")
              for side in (f.left, f.right)]  # fmt: skip
    except SymgraphError:
        return None  # an op without a derivative
    arrays = ordinary(inputs, rng, positive=f.rule.numeric in ("algebraic", "ulp(4)"))
    values = eager.evaluate([*gs[0], *gs[1]], arrays)
    for a, b in zip(values[: len(moving)], values[len(moving) :], strict=True):
        same_nan = np.isnan(a) & np.isnan(b)
        scale = 1 + np.abs(np.where(np.isfinite(a), a, 0)).max(initial=0)
        if not np.all(same_nan | (np.abs(a - b) <= DERIVATIVE * scale)):
            return f"the derivatives differ: {a} and {b}"
    return None


def _check_normal(f: Firing) -> str | None:
    """The result is a fixed point of its phase and of all phases, and has not grown."""
    table = Table(f.rule.phase, tables()[f.rule.phase], "fast")
    try:
        once = rewrite([f.left], [table])
        if rewrite(once, [table])[0] is not once[0]:
            return f"the phase {f.rule.phase} changes its own result {once[0]!r}"
        for numerics in ("default", "fast"):
            best = optimise([f.left], numerics)
            if optimise(best, numerics)[0] is not best[0]:
                return f"optimise changes its own result {best[0]!r}"
            if len(toposort(best)) > len(toposort([f.left])) + GROWTH:
                return f"the graph grows to {len(toposort(best))} nodes"
    except SymgraphError as error:
        return str(error)
    return None


def all_rules() -> list[Rule]:
    """Return every registered rule in the order of the phases."""
    by_phase = tables()
    return [r for phase in PHASES for r in by_phase[phase]]
