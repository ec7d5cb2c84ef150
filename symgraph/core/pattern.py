"""Rewrite rules: declarative ones, written with ordinary operators, and imperative ones.

A declarative rule is a function of pattern variables that returns (left side, right side), written
with the namespace `p` and with operators; both are recorded as trees of `Term`, so no node and no
type is made until the rule fires. The left side is compiled to a Python function once, at the first
node that the rule could match.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from symgraph.core.node import CONSTANT, Node, constant, make
from symgraph.core.op import o, ops
from symgraph.core.record import dataclass

Match = Callable[..., "Node | None"]
Var = Any  # annotation of a pattern variable that matches every node
Const = Any  # ... that matches constants only
Params = Any  # ... that matches the parameters of an op
ANY = "*"  # a root: every op
ELEMENTWISE = "elementwise"  # a root: every elementwise op
NUMERIC = ("exact", "reorder", "factor", "stable", "algebraic")


def ulp(n: int) -> str:
    """Return the class of rules whose result differs by at most n units in the last place."""
    return f"ulp({n})"


# -- terms ----------------------------------------------------------------------------------------
class Term:
    """A recorded application of an op to terms, variables and numbers."""

    __slots__ = ("args", "op")

    def __init__(self, op: str, args: tuple[Any, ...]) -> None:
        self.op, self.args = op, args

    def __add__(self, other: Any) -> Term:
        return Term("add", (self, other))

    def __radd__(self, other: Any) -> Term:
        return Term("add", (other, self))

    def __sub__(self, other: Any) -> Term:
        return Term("sub", (self, other))

    def __rsub__(self, other: Any) -> Term:
        return Term("sub", (other, self))

    def __mul__(self, other: Any) -> Term:
        return Term("mul", (self, other))

    def __rmul__(self, other: Any) -> Term:
        return Term("mul", (other, self))

    def __truediv__(self, other: Any) -> Term:
        return Term("div", (self, other))

    def __rtruediv__(self, other: Any) -> Term:
        return Term("div", (other, self))

    def __pow__(self, other: Any) -> Term:
        return Term("power", (self, other))

    def __neg__(self) -> Term:
        return Term("neg", (self,))


class Variable(Term):
    """A name in a pattern; `kind` is "" (any node), "Const" or "Params"."""

    __slots__ = ("kind", "name")

    def __init__(self, name: str, kind: str) -> None:
        super().__init__("", ())
        self.name, self.kind = name, kind


class PatternNamespace:
    """Records every op by name: what declarative rules get in place of `o`."""

    def __getattr__(self, name: str) -> Callable[..., Term]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args: Term(name, args)


p = PatternNamespace()


# -- rules ----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Rule:
    """One rewrite rule.

    `numeric` is exact (same bits, NaN and infinities included), ulp(n), reorder (the same
    operations in another order), stable (never further from the real value, finite where the left
    side overflows, NaN in gives NaN out), factor (the same matrix equation by another
    factorization: off by rounding times the condition number, a NaN may reach other elements) or
    algebraic (may hide a NaN, or lose accuracy without a bound).
    `where` and `harmless` are predicates on the bindings, by name; `node` is the root.
    """

    name: str
    phase: str
    numeric: str
    doc: str
    function: Callable[..., Any]
    declarative: bool
    where: Callable[..., bool] | None = None
    harmless: Callable[..., bool] | None = None  # an algebraic rule may then run by default
    roots: tuple[str, ...] = ()
    children: tuple[str, ...] = ()  # early reject: one of the first inputs is made by one of these
    example: Callable[[], Sequence[Node]] | None = None
    uses: bool = False  # the function gets uses(node) -> number of users as a second argument
    differentiable: bool = True  # False: the derivatives of both sides differ on purpose


RULES: dict[str, Rule] = {}


def _enter(new: Rule) -> Rule:
    if new.name in RULES:
        raise TypeError(f"rewrite rule {new.name} is defined twice")
    if new.numeric not in NUMERIC and not new.numeric.startswith("ulp("):
        raise TypeError(f"rewrite rule {new.name}: unknown numeric class {new.numeric!r}")
    if not new.doc:
        raise TypeError(f"rewrite rule {new.name} has no docstring")
    RULES[new.name] = new
    return new


def rule(
    *,
    phase: str,
    numeric: str,
    where: Callable[..., bool] | None = None,
    harmless: Callable[..., bool] | None = None,
) -> Callable[[Callable[..., Any]], Rule]:
    """Enter a declarative rule; the function returns (left side, right side)."""

    def enter(f: Callable[..., Any]) -> Rule:
        return _enter(
            Rule(f.__name__, phase, numeric, f.__doc__ or "", f, True, where, harmless)
        )

    return enter


def rewrite_rule(
    *,
    phase: str,
    numeric: str,
    roots: tuple[str, ...],
    example: Callable[[], Sequence[Node]],
    children: tuple[str, ...] = (),
    uses: bool = False,
    differentiable: bool = True,
) -> Callable[[Callable[..., Any]], Rule]:
    """Enter an imperative rule: the function gets the node and returns another one or None.

    `example` makes nodes that the rule fires on; they are what the generated tests use.
    """

    def enter(f: Callable[..., Any]) -> Rule:
        return _enter(
            Rule(
                f.__name__, phase, numeric, f.__doc__ or "", f, False, roots=roots,
                children=children, example=example, uses=uses, differentiable=differentiable,
            )
        )  # fmt: skip

    return enter


# -- constants ------------------------------------------------------------------------------------
def const_array(node: Node) -> np.ndarray | None:
    """Return the array of a constant, seen through a broadcast; None for anything else."""
    if node.op is not CONSTANT:
        if node.op.name != "broadcast_to" or node.inputs[0].op is not CONSTANT:
            return None
        node = node.inputs[0]
    data: np.ndarray = node.data
    return data


def const_value(node: Node) -> Any:
    """Return the Python number that every element of `node` is, or None."""
    data = const_array(node)
    if data is None:
        return None
    if data.size == 1:
        return data.item()
    if data.size == 0 or data.nbytes > 512:
        return None
    first = data.flat[0]
    # compared as bytes: a zero of the other sign is another number
    return first.item() if data.tobytes() == first.tobytes() * data.size else None


def is_number(node: Node, value: Any) -> bool:
    """Tell whether every element is `value`; zeros must have its sign."""
    found = const_value(node)
    if found is None or found != value:
        return False
    return bool(found) or math.copysign(1.0, found) == math.copysign(1.0, value)


def like_number(node: Node, value: Any) -> Node:
    """Return a constant of the dtype and shape of `node`."""
    return o.broadcast_to(constant(value, node.dtype), node.type.shape)


def _fitted(node: Node, new: Node) -> Node:
    """Return `new` broadcast to the shape of the node that it stands for."""
    if new.type.shape == node.type.shape:
        return new
    return o.broadcast_to(new, node.type.shape)


# -- compilation ----------------------------------------------------------------------------------
def sides(r: Rule) -> tuple[Any, Any, list[Variable]]:
    """Return the left term, the right term and the variables of a declarative rule."""
    code = r.function.__code__
    names = code.co_varnames[: code.co_argcount]
    kinds = r.function.__annotations__
    special = ("Const", "Params")
    variables = [Variable(n, kinds[n] if kinds.get(n) in special else "") for n in names]
    left, right = r.function(*variables)
    return left, right, variables


def heads(r: Rule) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the root ops of a rule and the child ops of which one must be there (() is any)."""
    if not r.declarative:
        return r.roots, r.children
    left = sides(r)[0]
    for a in left.args:
        if not isinstance(a, Variable):
            return (left.op,), (a.op,) if isinstance(a, Term) else ("constant", "broadcast_to")
        if a.kind == "Const":
            return (left.op,), ("constant", "broadcast_to")
    return (left.op,), ()


def matcher(r: Rule, guard: Callable[..., bool] | None = None) -> Match:
    """Return the function of a rule: node -> replacement or None.

    `guard` is a further predicate on the bindings (the harmless-analysis of an algebraic rule).
    """
    if not r.declarative:
        return r.function
    source, scope = source_of(r, guard)
    exec(compile(source, f"<rule {r.name}>", "exec"), scope)  # noqa: S102 - our own text
    match: Match = scope["match"]
    return match


def source_of(r: Rule, guard: Callable[..., bool] | None = None) -> tuple[str, dict[str, Any]]:
    """Return the Python text of the matcher and the names that it uses."""
    left, right, variables = sides(r)
    scope: dict[str, Any] = {
        "CONSTANT": CONSTANT, "is_number": is_number, "fitted": _fitted, "number": like_number,
        "is_constant": lambda n: const_array(n) is not None, "make": make,
    }  # fmt: skip
    guards = [g for g in (r.where, guard) if g is not None]
    lines = ["def match(node):"]
    for choice in _orders(left, bool(guards)):
        tests, bound = _tests(left, choice, scope)
        depth = sum(t.startswith("if ") for t in tests)
        lines.extend(_indented(tests))
        pad = "    " * (depth + 1)
        for v in variables:
            lines.append(f"{pad}{v.name} = {bound[v.name]}")
        for k, g in enumerate(guards):
            scope[f"guard{k}"] = g
            named = inspect.signature(g).parameters.values()
            given = ", ".join(q.name for q in named if q.default is q.empty)
            lines.append(f"{pad}if guard{k}({given}):")
            pad += "    "
        lines.append(f"{pad}return fitted(node, {_built(right, scope, root=True)})")
    lines.append("    return None")
    return "\n".join(lines), scope


def _indented(tests: list[str]) -> list[str]:
    result, depth = [], 1
    for test in tests:
        result.append("    " * depth + test)
        depth += test.startswith("if ")
    return result


def _orders(left: Term, guarded: bool) -> Iterator[dict[int, bool]]:
    """Yield, for every commutative term below `left`, whether its operands are exchanged."""
    found, counts = [], dict[str, int]()
    stack: list[Any] = [left]
    while stack:
        term = stack.pop()
        if isinstance(term, Variable):
            counts[term.name] = counts.get(term.name, 0) + 1
        elif isinstance(term, Term):
            stack.extend(term.args)
            if ops[term.op].commutative and len(term.args) == 2:
                found.append(term)
    free = [
        t for t in found
        if guarded
        or not all(isinstance(a, Variable) and not a.kind and counts[a.name] == 1 for a in t.args)
    ]  # fmt: skip
    for flags in itertools.product((False, True), repeat=len(free)):
        yield {id(t): f for t, f in zip(free, flags, strict=True)}


def _tests(left: Term, exchanged: dict[int, bool], scope: dict[str, Any]) -> Any:
    """Return the lines that test one order of operands, and the expression of each variable."""
    lines: list[str] = []
    bound: dict[str, str] = {}
    fresh = itertools.count()
    queue: list[tuple[Any, str]] = [(left, "node")]
    late: list[str] = []
    while queue:
        term, name = queue.pop(0)
        if isinstance(term, Variable):
            if term.name in bound:
                late.append(f"if {name} is {bound[term.name]}:")
                continue
            bound[term.name] = name
            if term.kind == "Const":
                late.append(f"if is_constant({name}):")
            continue
        if not isinstance(term, Term):
            late.append(f"if is_number({name}, {term!r}):")
            continue
        scope[f"op_{term.op}"] = ops[term.op]
        if name != "node":
            lines.append(f"if {name}.op is op_{term.op}:")
        args = [a for a in term.args if not (isinstance(a, Variable) and a.kind == "Params")]
        for a in term.args:
            if isinstance(a, Variable) and a.kind == "Params":
                if a.name in bound:
                    late.append(f"if {name}.params == {bound[a.name]}:")
                else:
                    bound[a.name] = f"{name}.params"
        names = [f"n{next(fresh)}" for _ in args]
        lines.append(f"{', '.join(names)}, = {name}.inputs")
        if exchanged.get(id(term)):
            args.reverse()
        queue.extend(zip(args, names, strict=True))
    return lines + late, bound


def _built(term: Any, scope: dict[str, Any], root: bool = False) -> str:
    """Return the expression that builds the right side."""
    if isinstance(term, Variable):
        return term.name
    if not isinstance(term, Term):
        return f"number(node, {term!r})" if root else repr(term)
    given = [a.name for a in term.args if isinstance(a, Variable) and a.kind == "Params"]
    args = [
        _built(a, scope)
        for a in term.args
        if not (isinstance(a, Variable) and a.kind == "Params")
    ]
    if given:
        scope[f"op_{term.op}"] = ops[term.op]
        op = f"op_{term.op}"
        return f"make({op}, ({', '.join(args)},), {op}.Params(*{given[0]}))"
    scope[f"f_{term.op}"] = getattr(o, term.op)
    return f"f_{term.op}({', '.join(args)})"


def instantiate(term: Any, bindings: dict[str, Any]) -> Any:
    """Return the node of a term where variables have the given nodes (parameters: tuples)."""
    if isinstance(term, Variable):
        return bindings[term.name]
    if not isinstance(term, Term):
        return term
    params = [
        bindings[a.name] for a in term.args if isinstance(a, Variable) and a.kind == "Params"
    ]
    args = [
        instantiate(a, bindings)
        for a in term.args
        if not (isinstance(a, Variable) and a.kind == "Params")
    ]
    if params:
        return make(ops[term.op], tuple(args), ops[term.op].Params(*params[0]))
    return getattr(o, term.op)(*args)
