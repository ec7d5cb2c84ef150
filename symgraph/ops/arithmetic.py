"""Elementwise arithmetic, comparison, logic and bit ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.dtype import BOOL, as_dtype
from symgraph.core.errors import DTypeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import CONSTANT, Node, as_node, constant, describe, make
from symgraph.core.op import alias, function, o, register
from symgraph.core.types import TensorType
from symgraph.ops.base import (
    Elementwise,
    aligned,
    as_nodes,
    bits,
    broadcast_shapes,
    cast_to,
    elementwise,
    floatx,
    integer_bits,
    logical,
    number,
    same,
    to_bool,
    to_float,
)

TWO = ((-3.0, 3.0), (-3.0, 3.0))
NONZERO = ((-3.0, 3.0), (0.5, 3.0))
FLAT = "piecewise constant: the derivative is zero almost everywhere"


def _or_if_bool(s: Any, x: Any, y: Any) -> Any:
    return x | y if x.dtype is BOOL else x + y


elementwise(
    "add", doc="Sum x + y.", types=same, numpy=np.add, domain=TWO, commutative=True,
    scalar=_or_if_bool, partials=lambda o, n: (1, 1),
    dtypes="bool int float complex",
)  # fmt: skip
elementwise(
    "sub", doc="Difference x - y.", types=number, numpy=np.subtract, domain=TWO,
    scalar=lambda s, x, y: x - y, partials=lambda o, n: (1, -1),
    dtypes="bool int float complex",
)  # fmt: skip
elementwise(
    "mul", doc="Product x * y.", types=same, numpy=np.multiply, domain=TWO, commutative=True,
    scalar=lambda s, x, y: x & y if x.dtype is BOOL else x * y,
    partials=lambda o, n: (n.inputs[1], n.inputs[0]),
    dtypes="bool int float complex",
)  # fmt: skip
elementwise(
    "div", doc="True quotient x / y; integers become floatX.", types=to_float,
    numpy=np.true_divide, domain=NONZERO, scalar=lambda s, x, y: x / y,
    partials=lambda o, n: (1 / n.inputs[1], -n / n.inputs[1]),
    dtypes="bool int float complex",
)  # fmt: skip
elementwise(
    "neg", doc="Negative -x.", types=number, numpy=np.negative,
    scalar=lambda s, x: -x, partials=lambda o, n: (-1,),
    dtypes="bool int float complex",
)  # fmt: skip


def _c_div(s: Any, x: Any, y: Any) -> Any:
    """x / y truncated, 0 where y is 0 (a machine division would trap)."""
    zero = s.eq(y, 0)
    safe = s.select(zero, s.const(1, y.dtype), y)
    if x.dtype.kind == "i":  # the smallest number / -1 overflows: negate instead
        minus = s.eq(safe, -1)
        quotient = s.select(minus, -x, s.div(x, s.select(minus, s.const(1, y.dtype), safe)))
    else:
        quotient = s.div(x, safe)
    return s.select(zero, s.const(0, x.dtype), quotient)


def _floordiv(s: Any, x: Any, y: Any) -> Any:
    if x.dtype.is_float:
        # As NumPy: from the exact remainder, so that (x // y) * y + x % y is x.
        r = s.rem(x, y)
        q = (x - r) / y
        q = s.select(s.ne(r, 0.0) & ((y < 0.0) ^ (r < 0.0)), q - 1.0, q)
        whole = s.floor(q)
        whole = s.select((q - whole) > 0.5, whole + 1.0, whole)
        whole = s.select(s.eq(q, 0.0), s.copysign(s.const(0, x.dtype), x / y), whole)
        return s.select(s.eq(y, 0.0), x / y, whole)
    q = _c_div(s, x, y)
    if x.dtype.kind == "u":
        return q
    r = x - q * y
    down = s.ne(r, 0) & ((r < 0) ^ (y < 0)) & s.ne(y, 0)
    return s.select(down, q - 1, q)


def _mod(s: Any, x: Any, y: Any) -> Any:
    if x.dtype.is_float:
        r = s.rem(x, y)
        flipped = s.select(s.ne(r, 0.0) & ((y < 0.0) ^ (r < 0.0)), r + y, r)
        return s.select(s.eq(r, 0.0), s.copysign(r, y), flipped)
    r = x - _c_div(s, x, y) * y
    r = s.select(s.eq(y, 0), s.const(0, x.dtype), r)
    if x.dtype.kind == "u":
        return r
    return s.select(s.ne(r, 0) & ((r < 0) ^ (y < 0)), r + y, r)


elementwise(
    "floordiv", doc="Quotient rounded down, x // y; an integer by 0 is 0.", types=number,
    numpy=np.floor_divide, domain=NONZERO, scalar=_floordiv, partials=lambda o, n: (None, None),
)  # fmt: skip
elementwise(
    "mod", doc="Remainder x % y with the sign of y; an integer by 0 is 0.", types=number,
    numpy=np.mod, domain=NONZERO, scalar=_mod,
    partials=lambda o, n: (1, -o.floordiv(*n.inputs)),
)  # fmt: skip
elementwise(
    "fmod", doc="Remainder of the quotient rounded to zero, with the sign of x (as C).",
    types=number, numpy=np.fmod, domain=NONZERO,
    scalar=lambda s, x, y: s.rem(x, y)
    if x.dtype.is_float
    else s.select(s.eq(y, 0), s.const(0, x.dtype), x - _c_div(s, x, y) * y),
    partials=lambda o, n: (1, -o.trunc(n.inputs[0] / n.inputs[1])),
)  # fmt: skip


def _int_pow(s: Any, x: Any, y: Any) -> Any:
    """Power by squaring over all bits of the exponent; overflow wraps as in NumPy."""
    result, base = s.const(1, x.dtype), x
    for k in range(x.dtype.bits - (x.dtype.kind == "i")):  # not the sign
        bit = s.ne((y >> k) & 1, 0)
        result = s.select(bit, result * base, result)
        base = base * base
    return result


def _np_power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind != "i" or not (y < 0).any():
        return np.asarray(np.power(x, y))
    return np.where(y < 0, 0, np.power(x, np.where(y < 0, 0, y)))  # the reciprocal, truncated


def _power(s: Any, x: Any, y: Any) -> Any:
    if x.dtype.is_float:
        return s.pow(x, y)
    p = _int_pow(s, x, y)
    return p if x.dtype.kind == "u" else s.select(y < 0, s.const(0, x.dtype), p)


def _d_power(o: Namespace, n: Node) -> tuple[Any, Any]:
    x, y = n.inputs
    # where x is 0 the factor log(x) must not turn 0 into NaN
    positive = o.ne(x, 0) if x.dtype.is_complex else o.gt(x, 0)
    dy = n * o.log(o.where(positive, x, o.ones_like(x)))
    if y.op is CONSTANT and y.data.size == 1:
        exponent = y.data.item()
        if exponent in (0, 1, 2):
            return {0: None, 1: 1, 2: 2 * x}[exponent], dy
        return exponent * o.power(x, constant(y.data - 1, y.dtype)), dy
    # an exponent of 0 must not become -1: 0 * (1 / x) is NaN at 0, in the next derivative at least
    flat = o.eq(y, 0)
    dx = y * o.power(x, o.where(flat, o.ones_like(y), y - 1))
    return o.where(flat, o.zeros_like(dx), dx), dy


elementwise(
    "power",
    doc="x ** y; for integers a negative exponent gives 0.",
    types=number, numpy=_np_power, domain=((0.3, 3.0), (-2.0, 2.0)), scalar=_power,
    partials=_d_power, ulp={"float32": 4, "float64": 4}, dtypes="bool int float complex",
)  # fmt: skip
elementwise(
    "square", doc="x * x.", types=number, numpy=np.square, scalar=lambda s, x: x * x,
    partials=lambda o, n: (2 * n.inputs[0],),
    dtypes="bool int float complex",
)  # fmt: skip
elementwise(
    "sqrt", doc="Square root.", types=to_float, numpy=np.sqrt, domain=((0.1, 4.0),),
    scalar=lambda s, x: s.sqrt(x), partials=lambda o, n: (0.5 / n,),
    dtypes="bool int float complex",
)  # fmt: skip
elementwise(
    "reciprocal", doc="1 / x.", types=to_float, numpy=lambda x: 1 / x, domain=((0.5, 3.0),),
    scalar=lambda s, x: s.const(1, x.dtype) / x, partials=lambda o, n: (-n * n,),
    dtypes="bool int float complex",
)  # fmt: skip
elementwise(
    "abs", doc="Absolute value; derivative 0 at 0.", types=same, numpy=np.abs,
    domain=((0.1, 3.0),),
    scalar=lambda s, x: x
    if x.dtype.kind in "bu"
    else (s.abs(x) if x.dtype.is_float else s.select(x < 0, -x, x)),
    partials=lambda o, n: (o.sign(n.inputs[0]),),
    complex_form=lambda o, z: o.magnitude(z),
)  # fmt: skip


def _sign(s: Any, x: Any) -> Any:
    zero, one = s.const(0, x.dtype), s.const(1, x.dtype)
    if x.dtype.kind == "u":
        return s.select(s.eq(x, 0), zero, one)
    if x.dtype.is_float:
        value = s.select(x > 0.0, one, s.select(x < 0.0, -one, x))
        return s.select(s.eq(x, 0.0), zero, value)
    return s.select(x > 0, one, s.select(x < 0, s.const(-1, x.dtype), zero))


elementwise(
    "sign", doc="-1, 0 or 1 by the sign of x; NaN stays NaN.", types=number, numpy=np.sign,
    scalar=_sign, partials=lambda o, n: (None,),
    complex_form=lambda o, z: o.unit(z),
)  # fmt: skip
elementwise(
    "copysign", doc="|x| with the sign of y.", types=to_float, numpy=np.copysign,
    domain=((0.2, 3.0), (0.2, 3.0)), scalar=lambda s, x, y: s.copysign(x, y),
    partials=lambda o, n: (o.copysign(1.0, n.inputs[0]) * o.copysign(1.0, n.inputs[1]), None),
)  # fmt: skip


def _d_extremum(o: Namespace, n: Node) -> tuple[Node, Node]:
    """Half of the derivative goes to each side at a tie, as the field does."""
    x, y = n.inputs
    half = o.where(o.eq(x, y), 0.5, 1.0)
    wins = o.eq(x, n)
    return (
        o.cast(o.where(wins, half, 0.0), n.dtype),
        o.cast(o.where(o.eq(y, n), half, 0.0), n.dtype),
    )


elementwise(
    "maximum", doc="Larger of x and y; NaN if either is; a tie halves the derivative.",
    types=same, numpy=np.maximum, domain=TWO, commutative=True,
    scalar=lambda s, x, y: x | y if x.dtype is BOOL else s.max(x, y), partials=_d_extremum,
)  # fmt: skip
elementwise(
    "minimum", doc="Smaller of x and y; NaN if either is; a tie halves the derivative.",
    types=same, numpy=np.minimum, domain=TWO, commutative=True,
    scalar=lambda s, x, y: x & y if x.dtype is BOOL else s.min(x, y), partials=_d_extremum,
)  # fmt: skip

_f: Any  # NumPy's function of each op below
for _name, _f in (("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc), ("rint", np.rint)):
    elementwise(
        _name,
        doc=f"Round to an integral value ({_name}); integers are returned as they are.",
        types=same,
        # NumPy's rint takes integers through float64, which is not exact
        numpy=lambda x, _f=_f: _f(x) if x.dtype.kind == "f" else x,
        scalar=lambda s, x, _name=_name: getattr(s, _name)(x) if x.dtype.is_float else x,
        partials=lambda o, n: (None,),
        domain=((0.1, 0.4),),
        complex_form=None if _name != "rint" else lambda o, z: o.on_parts(o.rint, z),
    )

# -- comparison ---------------------------------------------------------------------------------
for _name, _f, _symbol in (
    ("lt", np.less, "<"),
    ("le", np.less_equal, "<="),
    ("gt", np.greater, ">"),
    ("ge", np.greater_equal, ">="),
    ("eq", np.equal, "=="),
    ("ne", np.not_equal, "!="),
):
    elementwise(
        _name,
        doc=f"x {_symbol} y, elementwise; NaN compares as in NumPy.",
        types=to_bool,
        numpy=_f,
        domain=TWO,
        scalar=lambda s, x, y, _name=_name: s.binary(_name, x, y),
        not_differentiable=FLAT,
        commutative=_name in ("eq", "ne"),
        dtypes="bool int float complex" if _name in ("eq", "ne") else "bool int float",
    )

# -- logic and bits -----------------------------------------------------------------------------
for _name, _f, _op in (
    ("logical_and", np.logical_and, "and"),
    ("logical_or", np.logical_or, "or"),
    ("logical_xor", np.logical_xor, "xor"),
):
    elementwise(
        _name,
        doc=f"Logical {_op} of truth values (not zero is true).",
        types=logical,
        numpy=_f,
        domain=TWO,
        scalar=lambda s, x, y, _op=_op: s.binary(_op, x, y),
        not_differentiable=FLAT,
        commutative=True,
        complex_form=lambda o, *z, _name=_name: getattr(o, _name)(*(o.cast(v, BOOL) for v in z)),
    )
elementwise(
    "logical_not", doc="Logical not.", types=logical, numpy=np.logical_not,
    scalar=lambda s, x: ~x, not_differentiable=FLAT,
    complex_form=lambda o, z: o.eq(z, 0),
)  # fmt: skip
for _name, _f, _op in (
    ("bitwise_and", np.bitwise_and, "and"),
    ("bitwise_or", np.bitwise_or, "or"),
    ("bitwise_xor", np.bitwise_xor, "xor"),
):
    elementwise(
        _name,
        doc=f"Bitwise {_op} of integers or bool.",
        types=bits,
        numpy=_f,
        domain=TWO,
        scalar=lambda s, x, y, _op=_op: s.binary(_op, x, y),
        not_differentiable=FLAT,
        commutative=True,
        dtypes="bool int",
    )
elementwise(
    "bitwise_not", doc="Bitwise complement of integers, logical not of bool.", types=bits,
    numpy=np.invert, scalar=lambda s, x: ~x, not_differentiable=FLAT, dtypes="bool int",
)  # fmt: skip


def _shift(op: str) -> Any:
    def scalar(s: Any, x: Any, y: Any) -> Any:
        """A count of the width or more shifts everything out; hardware would take it modulo."""
        width = x.dtype.bits
        fits = (y >= 0) & (y < width) if x.dtype.kind == "i" else y < width
        count = s.select(fits, y, s.const(0, y.dtype))
        if op == "left":
            return s.select(fits, x << count, s.const(0, x.dtype))
        if x.dtype.kind == "i":
            return s.select(fits, x >> count, x >> (width - 1))
        return s.select(fits, x >> count, s.const(0, x.dtype))

    return scalar


elementwise(
    "left_shift", doc="x << y for integers.", types=integer_bits, numpy=np.left_shift,
    domain=((0, 9), (0, 5)), scalar=_shift("left"), not_differentiable=FLAT, dtypes="int",
)  # fmt: skip
elementwise(
    "right_shift", doc="x >> y for integers.", types=integer_bits, numpy=np.right_shift,
    domain=((0, 90), (0, 5)), scalar=_shift("right"), not_differentiable=FLAT, dtypes="int",
)  # fmt: skip

# -- floating-point classes ---------------------------------------------------------------------
elementwise(
    "isnan", doc="True where x is NaN.", types=to_bool, numpy=lambda x: x != x,  # noqa: PLR0124 - NaN is not itself
    scalar=lambda s, x: s.isnan(x), not_differentiable=FLAT,
    complex_form=lambda o, z: o.logical_or(o.isnan(o.real(z)), o.isnan(o.imag(z))),
)  # fmt: skip
elementwise(
    "isinf", doc="True where x is infinite.", types=to_bool,
    numpy=lambda x: np.isinf(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool),
    scalar=lambda s, x: s.eq(s.abs(x), float("inf"))
    if x.dtype.is_float
    else s.ne(x, x),
    not_differentiable=FLAT,
    complex_form=lambda o, z: o.logical_or(o.isinf(o.real(z)), o.isinf(o.imag(z))),
)  # fmt: skip
elementwise(
    "isfinite", doc="True where x is neither infinite nor NaN.", types=to_bool,
    numpy=lambda x: np.isfinite(x) if x.dtype.kind == "f" else np.ones(x.shape, bool),
    scalar=lambda s, x: s.abs(x) < float("inf") if x.dtype.is_float else s.eq(x, x),
    not_differentiable=FLAT,
    complex_form=lambda o, z: o.logical_and(o.isfinite(o.real(z)), o.isfinite(o.imag(z))),
)  # fmt: skip


# -- cast and choice ----------------------------------------------------------------------------
@register
class Cast(Elementwise):
    name = "cast"
    doc = "Convert to another dtype, as C does (float to integer truncates)."
    params = ("dtype",)
    domain = ((-3.0, 3.0),)
    dtypes = "bool int float"
    commutative = False

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_dtype(params.dtype)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return arrays[0].astype(node.dtype.numpy)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        return ()

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        return s.cast(read(0, index), node.dtype)

    @staticmethod
    def partials(o: Namespace, node: Node) -> tuple[Any, ...]:
        return (1 if node.inputs[0].dtype.is_inexact else None,)


CAST = Cast.instance


@function
def cast(x: Any, dtype: Any) -> Node:
    """Return `x` converted to `dtype`; float to integer truncates towards zero.

    Raises DTypeError for complex numbers that should become real ones.
    """
    target = as_dtype(dtype)
    # a Python number is not rounded to floatX on its way
    node = as_node(x, (target,) if target.is_float else ())
    if node.dtype.is_complex and not target.is_complex:
        if target.is_bool:
            return o.ne(node, 0)
        raise DTypeError(
            f"`{describe(node)}` is {node.dtype}; a cast to {target} would lose its imaginary part."
            f"\n  input:  {node.type}, made at {node.source}\n"
            "  mend:   sg.real(z), sg.imag(z) or sg.abs(z)"
        )
    return node if node.dtype is target else CAST(node, dtype=target)


@register
class Where(Elementwise):
    name = "where"
    doc = "Choose x where the condition is true, else y; broadcasts all three."
    arity = 3
    domain = ((-1.0, 1.0), (-3.0, 3.0), (-3.0, 3.0))
    dtypes = "bool int float complex"

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return TensorType(inputs[1].dtype, broadcast_shapes(self.name, inputs))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(np.where(*arrays))

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        return ()

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        return s.select(*(read(k, aligned(index, i)) for k, i in enumerate(node.inputs)))

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Any, ...]:
        c, x, y = node.inputs
        zero = o.zeros_like(g)
        return None, o.sum_to(o.where(c, g, zero), x), o.sum_to(o.where(c, zero, g), y)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        c, x, y = node.inputs
        zero = o.zeros((), node.dtype)
        dx, dy = (zero if t is None else t for t in tangents[1:])
        return o.broadcast_to(o.where(c, dx, dy), node.type.shape)


@function
def where(condition: Any, x: Any, y: Any) -> Node:
    """Return elements of `x` where `condition` is true and of `y` elsewhere, broadcast.

    Both branches are evaluated; no NaN or infinity of the branch that is not chosen gets into the
    result, nor into derivatives of any order and mode: they are exactly 0 there. This holds through
    elementwise ops, broadcasts, sums, maxima, cumulative sums, softmax, and ops that only move
    elements. Through a matrix product it holds for rows and columns of which nothing is chosen, so
    wherever all the products that are not finite are left out; a threshold of the product itself,
    as in where(z > 0, z, 0), counts as an activation that guards nothing. Convolutions and windowed
    maxima do not carry it: there, choose the argument too.

    >>> x = sg.vector("x", dtype="float64")
    >>> cost = sg.where(x > 0, sg.log(x), 0).sum()
    >>> sg.grad(cost, x).eval({x: np.array([-1.0, 0.0, 2.0])})
    array([0. , 0. , 0.5])
    """
    c = cast_to(as_node(condition), BOOL)
    a, b = as_nodes((x, y))
    return make(Where.instance, (c, a, b))


@function
def clip(x: Any, low: Any = None, high: Any = None) -> Node:
    """Return `x` limited to [low, high]; None leaves that side open."""
    result = as_node(x)
    if low is not None:
        result = o.maximum(result, low)
    return result if high is None else o.minimum(result, high)


@function
def nan_to_num(x: Any, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Node:
    """Return `x` with NaN and infinities replaced; infinities by the largest finite numbers."""
    node = as_node(x)
    if node.dtype.is_complex:
        return o.on_parts(lambda v: nan_to_num(v, nan, posinf, neginf), node)
    if not node.dtype.is_float:
        return node
    largest = float(np.finfo(node.dtype.numpy).max)
    above, below = largest if posinf is None else posinf, -largest if neginf is None else neginf
    result = o.where(o.isnan(node), nan, node)
    result = o.where(o.eq(node, float("inf")), above, result)
    return o.where(o.eq(node, float("-inf")), below, result)


@function
def divmod_(x: Any, y: Any) -> tuple[Node, Node]:
    """Return (x // y, x % y)."""
    return o.floordiv(x, y), o.mod(x, y)


@function
def round_(x: Any, decimals: int = 0) -> Node:
    """Round half to even, to the given number of decimals."""
    if decimals == 0:
        return o.rint(x)
    node, scale = as_node(x), 10.0 ** abs(decimals)
    if not node.dtype.is_inexact and decimals > 0:
        return node
    node = cast_to(node, node.dtype if node.dtype.is_inexact else floatx())
    return o.rint(node * scale) / scale if decimals > 0 else o.rint(node / scale) * scale


alias(where, "switch")
alias(o.add, "add_", "plus")
alias(o.sub, "subtract")
alias(o.mul, "multiply")
alias(o.div, "true_div", "divide", "true_divide")
alias(o.neg, "negative")
alias(o.floordiv, "int_div", "floor_div", "floor_divide")
alias(o.mod, "remainder")
alias(o.power, "pow")
alias(o.square, "sqr")
alias(o.sign, "sgn")
alias(o.round, "around")
alias(o.abs, "abs_", "absolute")
alias(o.lt, "less")
alias(o.le, "less_equal")
alias(o.gt, "greater")
alias(o.ge, "greater_equal")
alias(o.eq, "equal")
alias(o.ne, "neq", "not_equal")
alias(o.logical_and, "and_")
alias(o.logical_or, "or_")
alias(o.logical_xor, "xor")
alias(o.logical_not, "invert_bool")
alias(o.bitwise_not, "invert", "bitwise_invert")
alias(o.left_shift, "bitwise_left_shift")
alias(o.right_shift, "bitwise_right_shift")
alias(cast, "astype")
