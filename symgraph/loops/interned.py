"""The builder of expressions: equal ones are one object, and indices are kept in affine form."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from symgraph.core.dtype import BOOL, INT64, DType
from symgraph.dims.dim import exact_div, provably_le
from symgraph.loops.expr import (
    ARITHMETIC,
    BITWISE,
    COMPARE,
    INDEX,
    MATH,
    MATH2,
    UNARY,
    Axis,
    Buffer,
    Expr,
    Index,
    Size,
    View,
)

_DECIDE = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}
_COST = {"const": 0, "axis": 0, "affine": 0, "load": 1, "cast": 1, "div": 4, "sqrt": 4, "rem": 8}
_COST |= dict.fromkeys(MATH, 12) | dict.fromkeys(MATH2, 24) | {"ifloordiv": 12, "imod": 12}
_COST |= {"previous": 0, "rounded": 0}


class Builder:
    """Makes interned expressions. Op lowerings and vector math are written against it as `s`.

    Python numbers are accepted wherever the other operand fixes the dtype.
    """

    def __init__(self) -> None:
        self._table: dict[tuple[Any, ...], Expr] = {}
        self._axes: dict[tuple[str, Size], Axis] = {}
        self.axis_list: list[Axis] = []
        self._made = 0

    # -- leaves ------------------------------------------------------------------------------
    def axis(self, name: str, extent: Size) -> Axis:
        """Return the axis of this name and extent; the same pair is the same axis."""
        found = self._axes.get((name, extent))
        if found is None:
            found = Axis(name, extent, 1 << len(self.axis_list))
            self._axes[name, extent] = found
            self.axis_list.append(found)
        return found

    def at(self, axis: Axis) -> Expr:
        """Return the current value of a loop variable as an index expression."""
        return self._make("axis", (), axis, INDEX, axis.bit)

    def const(self, value: Any, dtype: DType) -> Expr:
        """Return a constant; the sign of zero and NaN are kept apart in the key."""
        number = dtype.numpy.type(value)
        key = ("const", dtype, number.tobytes())
        found = self._table.get(key)
        if found is None:
            found = self._new("const", (), number.item(), dtype, 0)
            self._table[key] = found
        return found

    def load(self, buffer: Buffer | View, address: Index, guard: Expr | None = None) -> Expr:
        """Read element `address` of the flat buffer; 0 where `guard` is false (nothing is read)."""
        if isinstance(buffer, View):
            return self.load(buffer.buffer, self.iadd(buffer.offset, address), guard)
        a = self.index(address)
        args = (a,) if guard is None else (a, guard)
        free = a.free if guard is None else a.free | guard.free
        if buffer.axis is not None:  # what a loop rewrites differs from step to step
            free |= buffer.axis.bit
        return self._make("load", args, buffer, buffer.dtype, free)

    def reduce(self, kind: str, axes: tuple[Axis, ...], value: Expr) -> Expr:
        """Combine `value` over all points of `axes` (they are bound here)."""
        if not axes:
            return value
        bound = 0
        for axis in axes:
            bound |= axis.bit
        return self._make("reduce", (value,), (kind, axes), value.dtype, value.free & ~bound)

    def previous(self, axes: Sequence[Axis], dtype: DType) -> Expr:
        """Return the result that a linear running nest over `axes` stored before, first zero.

        It is named by all loop variables, so that it is placed in the innermost loop.
        """
        at = tuple(self.at(a) for a in axes)
        return self._make("previous", at, None, dtype, sum(a.bit for a in axes))

    # -- values ------------------------------------------------------------------------------
    def unary(self, op: str, x: Expr) -> Expr:
        return self._make(op, (x,), None, x.dtype, x.free)

    def binary(self, op: str, x: Any, y: Any) -> Expr:
        x, y = self._pair(x, y)
        dtype = BOOL if op in COMPARE else x.dtype
        folded = self._folded(op, x, y)
        if folded is not None:
            return folded
        return self._make(op, (x, y), None, dtype, x.free | y.free)

    def _folded(self, op: str, x: Expr, y: Expr) -> Expr | None:
        """Decide comparisons of known indices, and logic with a known side."""
        if op in _DECIDE and x.op == "affine" and y.op == "affine":
            low, high = self.bounds(self.isub(x, y))
            if isinstance(low, int) and isinstance(high, int):
                at_ends = {_DECIDE[op](low, 0), _DECIDE[op](high, 0)}
                if len(at_ends) == 1 and (op not in ("eq", "ne") or low == high or low * high > 0):
                    return self.const(at_ends.pop(), BOOL)
        if op in ("and", "or") and x.dtype is BOOL:
            for known, other in ((x, y), (y, x)):
                if known.op == "const":
                    return other if known.data == (op == "and") else known
        return None

    def eq(self, x: Any, y: Any) -> Expr:
        return self.binary("eq", x, y)

    def ne(self, x: Any, y: Any) -> Expr:
        return self.binary("ne", x, y)

    def fma(self, x: Expr, y: Any, z: Any) -> Expr:
        """x * y + z with one rounding."""
        y, z = self._like(y, x), self._like(z, x)
        return self._make("fma", (x, y, z), None, x.dtype, x.free | y.free | z.free)

    def select(self, condition: Expr, x: Any, y: Any) -> Expr:
        """x where the condition holds, else y (both are evaluated)."""
        x, y = pair = self._pair(x, y)
        if x is y or condition.op == "const":
            return pair[0] if x is y or condition.data else pair[1]
        free = condition.free | x.free | y.free
        return self._make("select", (condition, x, y), None, x.dtype, free)

    def cast(self, x: Expr, dtype: DType) -> Expr:
        """Convert the value as C does (float to bool: not equal to zero)."""
        if x.dtype is dtype:
            return x
        return self._make("cast", (x,), None, dtype, x.free)

    def bitcast(self, x: Expr, dtype: DType) -> Expr:
        """Reinterpret the bits as another type of the same width."""
        return x if x.dtype is dtype else self._make("bitcast", (x,), None, dtype, x.free)

    def lookup(self, table: tuple[float, ...], place: Expr, dtype: DType) -> Expr:
        """Return table[place mod len(table)], of a power of two of numbers."""
        return self._make("lookup", (place,), table, dtype, place.free)

    def scalef(self, x: Expr, n: Expr) -> Expr:
        """Return x * 2**floor(n), rounded once; n is a finite float or NaN."""
        return self._make("scalef", (x, n), None, x.dtype, x.free | n.free)

    def isnan(self, x: Expr) -> Expr:
        return self.binary("ne", x, x)

    def __getattr__(self, name: str) -> Any:
        """`s.exp(x)`, `s.max(x, y)`, `s.sqrt(x)`: every operation is a method."""
        if name in UNARY or name in MATH:
            return lambda x: self.unary(name, x)
        if name in ARITHMETIC or name in MATH2 or name in BITWISE or name in COMPARE:
            return lambda x, y: self.binary(name, x, y)
        raise AttributeError(name)

    # -- index arithmetic --------------------------------------------------------------------
    def index(self, value: Index) -> Expr:
        """Return the affine form of an index (an `int`, a size, or an expression)."""
        if isinstance(value, Expr):
            if value.op == "affine":
                return value
            return self._affine({value: 1}, 0)
        return self._affine({}, value)

    def iadd(self, a: Index, b: Index) -> Expr:
        """a + b on indices."""
        a, b = self.index(a), self.index(b)
        if not b.args and b.data[1] == 0:
            return a
        terms = dict(zip(a.args, a.data[0], strict=True))
        for atom, c in zip(b.args, b.data[0], strict=True):
            terms[atom] = terms.get(atom, 0) + c
        return self._affine(terms, a.data[1] + b.data[1])

    def imul(self, a: Index, c: Size) -> Expr:
        """a * c on indices; `c` is a size."""
        a = self.index(a)
        if isinstance(c, int) and c == 1:
            return a
        terms = {atom: k * c for atom, k in zip(a.args, a.data[0], strict=True)}
        return self._affine(terms, a.data[1] * c)

    def isub(self, a: Index, b: Index) -> Expr:
        """a - b on indices."""
        return self.iadd(a, self.imul(b, -1))

    def ifloordiv(self, a: Index, c: Size) -> Expr:
        """Floor of a / c, with what `c` divides split off."""
        divided, rest = self._split(self.index(a), c)
        low, high = self.bounds(rest)
        if low is not None and high is not None and _le(0, low) and _le(high, c - 1):
            return divided
        atom = self._make("ifloordiv", (rest,), c, INDEX, rest.free)
        return self.iadd(divided, atom)

    def imod(self, a: Index, c: Size) -> Expr:
        """a - c * floor(a / c)."""
        _, rest = self._split(self.index(a), c)
        low, high = self.bounds(rest)
        if low is not None and high is not None and _le(0, low) and _le(high, c - 1):
            return rest
        return self.index(self._make("imod", (rest,), c, INDEX, rest.free))

    def bounds(self, a: Expr) -> tuple[Size | None, Size | None]:
        """Return sizes that an index is never below / above, None where not known."""
        if a.op == "axis":
            return 0, a.data.extent - 1
        if a.op == "imod":
            return 0, a.data - 1
        if a.op == "ifloordiv":
            low, high = self.bounds(a.args[0])
            return (
                None if low is None else low // a.data,
                None if high is None else high // a.data,
            )
        if a.op != "affine":
            return None, None
        low = high = a.data[1]
        for atom, c in zip(a.args, a.data[0], strict=True):
            lo, hi = self.bounds(atom)
            if not isinstance(c, int) and not provably_le(0, c):
                return None, None
            if isinstance(c, int) and c < 0:
                lo, hi = hi, lo
            low = None if low is None or lo is None else low + lo * c
            high = None if high is None or hi is None else high + hi * c
        return low, high

    def inside(self, a: Index, extent: Size) -> Expr | None:
        """Return the condition `0 <= a < extent`, or None where it always holds."""
        a = self.index(a)
        low, high = self.bounds(a)
        condition = None
        if low is None or not _le(0, low):
            condition = self.binary("ge", a, self.index(0))
        if high is None or not _le(high, extent - 1):
            below = self.binary("lt", a, self.index(extent))
            condition = below if condition is None else condition & below
        return condition

    def as_index(self, x: Expr) -> Expr:
        """Use an integer value as an index (a gather)."""
        return self.index(self._make("as_index", (self.cast(x, INT64),), None, INDEX, x.free))

    def as_value(self, a: Index, dtype: DType) -> Expr:
        """Use an index as a value (arange, argmax, random counters)."""
        return self.cast(self.index(a), dtype)

    # -- substitution ------------------------------------------------------------------------
    def replace(self, e: Expr, values: Mapping[Axis, Index], memo: dict[Expr, Expr]) -> Expr:
        """Replace loop variables by other indices."""
        mask = 0
        for axis in values:
            mask |= axis.bit
        return self._replace(e, {a: self.index(v) for a, v in values.items()}, mask, memo)

    def _replace(
        self, e: Expr, values: dict[Axis, Expr], mask: int, memo: dict[Expr, Expr]
    ) -> Expr:
        if not e.free & mask:
            return e
        found = memo.get(e)
        if found is not None:
            return found
        if e.op == "axis":
            new = values[e.data]
        elif e.op == "reduce" and any(a in values for a in e.data[1]):
            # these axes are bound here: inside they are other variables of the same name
            free = {a: v for a, v in values.items() if a not in e.data[1]}
            inner = self._replace(e.args[0], free, sum(a.bit for a in free), {})
            new = self.reduce(e.data[0], e.data[1], inner)
        else:
            args = tuple(self._replace(a, values, mask, memo) for a in e.args)
            new = self.rebuild(e, args)
        memo[e] = new
        return new

    def rebuild(self, e: Expr, args: tuple[Expr, ...]) -> Expr:
        """Make the same operation on other arguments."""
        if e.op == "reduce":
            return self.reduce(e.data[0], e.data[1], args[0])
        if e.op == "ifloordiv":
            return self.ifloordiv(args[0], e.data)
        if e.op == "imod":
            return self.imod(args[0], e.data)
        if e.op == "load":
            if len(args) > 1 and args[1].op == "const":
                return self.load(e.data, args[0]) if args[1].data else self.const(0, e.dtype)
            return self.load(e.data, *args)
        if e.op in COMPARE or e.op in ("and", "or"):
            return self.binary(e.op, *args)
        if e.op == "select":
            return self.select(*args)
        if e.op == "affine":
            new = self.index(e.data[1])
            for atom, c in zip(args, e.data[0], strict=True):
                new = self.iadd(new, self.imul(atom, c))
            return new
        free = 0
        for a in args:
            free |= a.free
        return self._make(e.op, args, e.data, e.dtype, free)

    # -- internals ---------------------------------------------------------------------------
    def _make(self, op: str, args: tuple[Expr, ...], data: Any, dtype: DType, free: int) -> Expr:
        key = (op, args, data, dtype)
        found = self._table.get(key)
        if found is None:
            found = self._new(op, args, data, dtype, free)
            self._table[key] = found
        return found

    def _new(self, op: str, args: tuple[Expr, ...], data: Any, dtype: DType, free: int) -> Expr:
        e = Expr()
        e.op, e.args, e.data, e.dtype, e.free, e.builder = op, args, data, dtype, free, self
        e.cost = _COST.get(op, 1) + sum(a.cost for a in args)
        e.serial = self._made
        self._made += 1
        return e

    def _pair(self, x: Any, y: Any) -> tuple[Expr, Expr]:
        if not isinstance(x, Expr):
            return self.const(x, y.dtype), y
        if not isinstance(y, Expr):
            return x, self.const(y, x.dtype)
        if x.dtype is not y.dtype:
            raise TypeError(f"loop IR operands differ in dtype: {x.dtype} and {y.dtype}")
        return x, y

    def _like(self, x: Any, like: Expr) -> Expr:
        return x if isinstance(x, Expr) else self.const(x, like.dtype)

    def _affine(self, terms: dict[Expr, Size], constant: Size) -> Expr:
        # An affine atom inside an affine form is spliced in, so that the form stays flat.
        flat: dict[Expr, Size] = {}
        for atom, c in terms.items():
            if isinstance(c, int) and c == 0:
                continue
            if atom.op == "affine":
                for inner, k in zip(atom.args, atom.data[0], strict=True):
                    flat[inner] = flat.get(inner, 0) + k * c
                constant = constant + atom.data[1] * c
            elif atom.op == "axis" and isinstance(atom.data.extent, int) and atom.data.extent == 1:
                continue  # the only value of the loop variable is 0
            else:
                flat[atom] = flat.get(atom, 0) + c
        items = [(a, c) for a, c in flat.items() if not (isinstance(c, int) and c == 0)]
        items.sort(key=lambda t: (t[0].op != "axis", t[0].free, t[0].serial))
        free = 0
        for atom, _ in items:
            free |= atom.free
        args = tuple(a for a, _ in items)
        return self._make("affine", args, (tuple(c for _, c in items), constant), INDEX, free)

    def _split(self, a: Expr, c: Size) -> tuple[Expr, Expr]:
        """Write a = c * divided + rest, with every term that `c` divides in `divided`."""
        divided: dict[Expr, Size] = {}
        rest: dict[Expr, Size] = {}
        for atom, k in zip(a.args, a.data[0], strict=True):
            quotient = exact_div(k, c)
            if quotient is not None:
                divided[atom] = quotient
            else:
                rest[atom] = k
        k = a.data[1]
        if isinstance(k, int) and isinstance(c, int):
            return self._affine(divided, k // c), self._affine(rest, k % c)
        quotient = exact_div(k, c)
        if quotient is not None:
            return self._affine(divided, quotient), self._affine(rest, 0)
        return self._affine(divided, 0), self._affine(rest, k)


def _le(a: Size, b: Size) -> bool:
    return provably_le(a, b)
