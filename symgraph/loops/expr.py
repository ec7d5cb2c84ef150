"""Scalar expressions over axes, and the buffers that they read: values of the loop IR.

value = const | axis | affine | load | reduce | unary | binary | compare | select | cast ...
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from symgraph.core.dtype import INT64, DType
from symgraph.core.record import dataclass
from symgraph.dims.dim import Dim

if TYPE_CHECKING:
    from symgraph.loops.interned import Builder

Size = int | Dim
Index: TypeAlias = "int | Dim | Expr"

INDEX = INT64
ARITHMETIC = {"add", "sub", "mul", "div", "rem", "min", "max", "fmin", "fmax", "copysign"}
BITWISE = {"and", "or", "xor", "shl", "lshr", "ashr"}
COMPARE = {"lt", "le", "gt", "ge", "eq", "ne"}
# "rounded" is the value itself: no product in it is added unrounded, by a multiply-add.
UNARY = {"neg", "abs", "not", "sqrt", "floor", "ceil", "trunc", "rint", "rounded"}
# Functions that a target expands to the operations above (cpu/vecmath).
MATH = {
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"),
    *("asinh", "acosh", "atanh", "erf", "erfc", "cbrt", "sigmoid", "softplus"),
}
MATH2 = {"pow", "atan2"}
# Of products of matrices, "dot" is a sum in order, one term after the other, wherever it is
# computed, and "free" one in any order. A "sum" has one order, whether or not sizes are known.
SUMS = {"sum", "dot", "free"}
REDUCTIONS = SUMS | {"prod", "max", "min", "any", "all", "or", "and"}


class Axis:
    """A loop variable that runs over `range(extent)`; `bit` is its place in free-axis masks."""

    __slots__ = ("bit", "extent", "name")

    def __init__(self, name: str, extent: Size, bit: int) -> None:
        self.name, self.extent, self.bit = name, extent, bit

    def __repr__(self) -> str:
        return f"{self.name}<{self.extent}>"


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A contiguous array of `size` elements; `shape` is kept for people and for the verifier."""

    name: str
    dtype: DType
    shape: tuple[Size, ...]
    kind: str  # "input", "shared", "output", "constant", "temporary"
    slot: int = 0
    axis: Axis | None = None  # the loop in whose every step it is written anew

    @property
    def size(self) -> Size:
        size: Size = 1
        for extent in self.shape:
            size = size * extent
        return size

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The part of a buffer that starts at `offset`, which may depend on the step of a loop."""

    buffer: Buffer
    offset: Expr
    dtype: DType
    shape: tuple[Size, ...]
    kind: str = "view"


class Expr:
    """One scalar value; made by a `Builder`, compared by identity."""

    __slots__ = ("args", "builder", "cost", "data", "dtype", "free", "op", "serial")
    op: str
    args: tuple[Expr, ...]
    data: Any
    dtype: DType
    free: int  # bit mask of the axes the value depends on
    cost: int  # operations in the tree, for fusion decisions
    serial: int  # counts what the builder has made: an order that does not change between runs
    builder: Builder

    def __add__(self, other: Any) -> Expr:
        return self.builder.binary("add", self, other)

    def __radd__(self, other: Any) -> Expr:
        return self.builder.binary("add", other, self)

    def __sub__(self, other: Any) -> Expr:
        return self.builder.binary("sub", self, other)

    def __rsub__(self, other: Any) -> Expr:
        return self.builder.binary("sub", other, self)

    def __mul__(self, other: Any) -> Expr:
        return self.builder.binary("mul", self, other)

    def __rmul__(self, other: Any) -> Expr:
        return self.builder.binary("mul", other, self)

    def __truediv__(self, other: Any) -> Expr:
        return self.builder.binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return self.builder.binary("div", other, self)

    def __neg__(self) -> Expr:
        return self.builder.unary("neg", self)

    def __invert__(self) -> Expr:
        return self.builder.unary("not", self)

    def __and__(self, other: Any) -> Expr:
        return self.builder.binary("and", self, other)

    def __or__(self, other: Any) -> Expr:
        return self.builder.binary("or", self, other)

    def __xor__(self, other: Any) -> Expr:
        return self.builder.binary("xor", self, other)

    def __lshift__(self, other: Any) -> Expr:
        return self.builder.binary("shl", self, other)

    def __rshift__(self, other: Any) -> Expr:
        """Shift right: arithmetic for signed types, logical for unsigned ones."""
        return self.builder.binary("lshr" if self.dtype.kind == "u" else "ashr", self, other)

    def __lt__(self, other: Any) -> Expr:
        return self.builder.binary("lt", self, other)

    def __le__(self, other: Any) -> Expr:
        return self.builder.binary("le", self, other)

    def __gt__(self, other: Any) -> Expr:
        return self.builder.binary("gt", self, other)

    def __ge__(self, other: Any) -> Expr:
        return self.builder.binary("ge", self, other)

    def __repr__(self) -> str:
        return format_expr(self)


def format_expr(e: Expr, limit: int = 400) -> str:
    """Print an expression for people."""
    text = _format(e)
    return text if len(text) <= limit else text[:limit] + " ..."


def _format(e: Expr) -> str:
    if e.op == "const":
        return repr(e.data)
    if e.op == "axis":
        return str(e.data.name)
    if e.op == "affine":
        parts = [
            _format(a) if c == 1 else f"{c}*{_format(a)}"
            for a, c in zip(e.args, e.data[0], strict=True)
        ]
        if e.data[1] != 0 or not parts:
            parts.append(str(e.data[1]))
        return " + ".join(parts)
    if e.op == "load":
        guard = f" if {_format(e.args[1])}" if len(e.args) > 1 else ""
        return f"{e.data.name}[{_format(e.args[0])}{guard}]"
    if e.op == "reduce":
        return f"{e.data[0]}[{', '.join(map(repr, e.data[1]))}]({_format(e.args[0])})"
    if e.op in ("ifloordiv", "imod"):
        return f"({_format(e.args[0])}) {'//' if e.op == 'ifloordiv' else '%'} {e.data}"
    name = f"{e.op}.{e.dtype}" if e.op in ("cast", "bitcast") else e.op
    return f"{name}({', '.join(map(_format, e.args))})"


def walk(roots: Iterable[Expr]) -> list[Expr]:
    """Return all expressions below `roots`, arguments before users."""
    seen: set[Expr] = set()
    order: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(r, False) for r in roots]
    while stack:
        e, done = stack.pop()
        if done:
            order.append(e)
        elif e not in seen:
            seen.add(e)
            stack.append((e, True))
            stack.extend((a, False) for a in e.args if a not in seen)
    return order
