"""Complex numbers: their parts, conjugates, sizes and angles.

Complex nodes are nodes like all others; before the rewrites run they are replaced by pairs of real
nodes (rewrites/complex.py), so that nothing below knows of them.

Derivatives. Inside of `autodiff` the adjoint of z = x + iy is dL/dx - i dL/dy, so that
dL = Re(adjoint dz). Functions that have a complex derivative f' then have the adjoint g f', the
same expression as for real numbers; only the ops here need rules of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import DType
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, alias, function, o
from symgraph.core.types import TensorType
from symgraph.ops.base import as_nodes, batch_front, broadcast_shapes, cast_to, floatx

Axes = Sequence[int | None]


class ComplexOp(Op):
    """Base of ops that only complex graphs have; the rewrites never see one, so none is lowered.

    One elementwise input unless `infer` and `batch` say otherwise.
    """

    takes_complex = True
    reference: Callable[..., Any]

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(self.reference(*arrays), node.dtype.numpy)

    def batch(self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Axes) -> Any:
        return self.rebuild(node, tuple(inputs)), axes[0]


class ToPart(ComplexOp):
    """Base of ops from complex to real numbers."""

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_dtype(inputs[0].dtype.part)


class Real(ToPart):
    name, doc = "real", "The real part."
    linear = (0,)
    reference = staticmethod(np.real)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return cast_to(g, node.inputs[0].dtype)


class Imag(ToPart):
    name, doc = "imag", "The imaginary part."
    linear = (0,)
    reference = staticmethod(np.imag)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.complex(o.zeros((), g.dtype), -g)


class Conj(ComplexOp):
    name, doc = "conj", "The complex conjugate."
    linear = (0,)
    reference = staticmethod(np.conj)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.conj(g)


class Magnitude(ToPart):
    name, doc = "magnitude", "The absolute value of complex numbers; derivative 0 at 0."
    reference = staticmethod(np.abs)

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        return (g * o.conj(o.unit(node.inputs[0])),)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Node, ...]) -> Node:
        return o.real(o.conj(o.unit(node.inputs[0])) * tangents[0])


class Unit(ComplexOp):
    name, doc = "unit", "z / |z|, 0 at 0, along an axis at infinity: the sign of complex numbers."
    reference = staticmethod(np.sign)

    @staticmethod
    def _turn(o: Namespace, node: Node) -> tuple[Node, Node]:
        """Return where z is not 0, and 1 / |z| there: what a change of z is divided by."""
        size = o.magnitude(node.inputs[0])
        some = o.ne(size, 0)
        return some, 1 / o.where(some, size, 1)

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        some, inverse = Unit._turn(o, node)
        back = (g - o.conj(node) * o.real(g * node)) * inverse
        return (o.where(some, back, o.zeros((), back.dtype)),)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Node, ...]) -> Node:
        some, inverse = Unit._turn(o, node)
        t = tangents[0]
        moved = (t - node * o.real(o.conj(node) * t)) * inverse
        return o.where(some, moved, o.zeros((), moved.dtype))


class Angle(ToPart):
    name, doc = "angle", "The angle of complex numbers in [-pi, pi]; derivative 0 at 0."
    reference = staticmethod(np.angle)

    @staticmethod
    def _inverse(o: Namespace, node: Node) -> Node:
        """Return 1 / z, 0 at 0."""
        z = node.inputs[0]
        some = o.ne(z, 0)
        return o.where(some, 1 / o.where(some, z, 1), 0)

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        return (g * -1j * Angle._inverse(o, node),)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Node, ...]) -> Node:
        return o.imag(tangents[0] * Angle._inverse(o, node))


class MakeComplex(ComplexOp):
    name, doc = "complex", "The complex numbers of two real parts; broadcasts them."

    @staticmethod
    def partials(o: Namespace, node: Node) -> tuple[Any, Any]:
        return 1, 1j

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return TensorType(inputs[0].dtype.as_complex, broadcast_shapes(self.name, inputs))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        value = np.empty(node.type.shape, node.dtype.numpy)
        value.real, value.imag = arrays  # 1j * inf would make a NaN
        return value

    def batch(self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Axes) -> Any:
        moved = [
            x if a is None else batch_front(o, x, a, node.ndim)
            for x, a in zip(inputs, axes, strict=True)
        ]
        return self(*moved), 0


class AsPairs(ComplexOp):
    name, doc = "as_pairs", "The parts (real, imaginary) on a new last axis: the same memory."
    linear = (0,)

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0].type
        return TensorType(x.dtype.part, (*x.shape, 2))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.stack([arrays[0].real, arrays[0].imag], -1)

    def batch(self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Axes) -> Any:
        return self(o.moveaxis(inputs[0], axes[0], 0)), 0

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.conj(o.view_as_complex(g))


class FromPairs(ComplexOp):
    name, doc = "from_pairs", "Complex numbers from parts on the last axis: the same memory."
    linear = (0,)

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0].type
        return TensorType(x.dtype.as_complex, x.shape[:-1])

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        value = np.empty(node.type.shape, node.dtype.numpy)
        value.real, value.imag = arrays[0][..., 0], arrays[0][..., 1]
        return value

    def batch(self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Axes) -> Any:
        return self(o.moveaxis(inputs[0], axes[0], 0)), 0

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.view_as_real(o.conj(g))


REAL = Real.instance = Real()
IMAG = Imag.instance = Imag()
CONJ = Conj.instance = Conj()
MAGNITUDE = Magnitude.instance = Magnitude()
UNIT = Unit.instance = Unit()
ANGLE = Angle.instance = Angle()
COMPLEX = MakeComplex.instance = MakeComplex()
AS_PAIRS = AsPairs.instance = AsPairs()
FROM_PAIRS = FromPairs.instance = FromPairs()


# -- public functions ----------------------------------------------------------------------------
@function
def complex_(re: Any, im: Any) -> Node:
    """Return re + i im from two real arrays; infinities and NaN stay in the part they are in.

    >>> x = sg.vector("x", dtype="float64")
    >>> sg.complex(x, -1.0).eval({x: np.array([0.0, 2.0])})
    array([0.-1.j, 2.-1.j])
    """
    a, b = (cast_to(n, _part_type(n)) for n in as_nodes((re, im)))
    return COMPLEX(a, b)


def _part_type(x: Node) -> DType:
    if x.dtype.is_complex:
        raise DTypeError(
            f"the parts of a complex number are real; `{describe(x)}` is {x.dtype}\n"
            f"  input:  {x.type}, made at {x.source}\n  mend:   sg.real(z) or sg.imag(z)"
        )
    if x.dtype.is_float and x.dtype.bits >= 32:
        return x.dtype
    return x.dtype.as_complex.part if x.dtype.is_float else floatx().as_complex.part


@function
def real(z: Any) -> Node:
    """Return the real part; real arrays are returned as they are."""
    node = as_node(z)
    if not node.dtype.is_complex:
        return node
    if node.op is COMPLEX:
        return o.broadcast_to(node.inputs[0], node.type.shape)
    return REAL(node)


@function
def imag(z: Any) -> Node:
    """Return the imaginary part; zeros for real arrays."""
    node = as_node(z)
    if not node.dtype.is_complex:
        return o.zeros_like(node)
    if node.op is COMPLEX:
        return o.broadcast_to(node.inputs[1], node.type.shape)
    return IMAG(node)


@function
def conj(z: Any) -> Node:
    """Return the complex conjugate; real arrays are returned as they are."""
    node = as_node(z)
    if not node.dtype.is_complex:
        return node
    return node.inputs[0] if node.op is CONJ else CONJ(node)


@function
def angle(z: Any) -> Node:
    """Return the angle in radians: atan2(imag, real); 0 or pi for real numbers."""
    node = as_node(z)
    if node.dtype.is_complex:
        return ANGLE(node)
    node = cast_to(node, node.dtype if node.dtype.is_float else floatx())
    half, none = (as_node(v, (node.dtype,)) for v in (np.pi, 0.0))
    return o.where(o.isnan(node), node, o.where(o.signbit(node), half, none))


@function
def magnitude(z: Any) -> Node:
    """Return the absolute value of complex numbers: what `abs` gives for them."""
    return MAGNITUDE(as_node(z))


@function
def unit(z: Any) -> Node:
    """Return z / |z|, 0 at 0: what `sign` gives for complex numbers."""
    return UNIT(as_node(z))


@function
def abs2(z: Any) -> Node:
    """Return |z|**2 without a square root."""
    node = as_node(z)
    return o.square(real(node)) + o.square(imag(node)) if node.dtype.is_complex else o.square(node)


@function
def polar(size: Any, angle: Any) -> Node:
    """Return size * exp(i angle)."""
    r, t = as_nodes((size, angle))
    return complex_(r * o.cos(t), r * o.sin(t))


@function
def on_parts(f: Callable[[Node], Node], z: Node) -> Node:
    """Return complex(f(real), f(imag))."""
    return complex_(f(real(z)), f(imag(z)))


@function
def isreal(z: Any) -> Node:
    """Tell where the imaginary part is 0; everywhere for real arrays."""
    node = as_node(z)
    return o.eq(imag(node), 0) if node.dtype.is_complex else o.ones_like(node, "bool")


@function
def iscomplex(z: Any) -> Node:
    """Tell where the imaginary part is not 0; nowhere for real arrays."""
    return o.logical_not(isreal(z))


@function
def view_as_real(z: Any) -> Node:
    """Return the parts of complex numbers on a new last axis of length 2; costs nothing."""
    node = as_node(z)
    if not node.dtype.is_complex:
        raise DTypeError(f"view_as_real needs complex numbers, `{describe(node)}` is {node.type}")
    return node.inputs[0] if node.op is FROM_PAIRS else AS_PAIRS(node)


@function
def view_as_complex(x: Any) -> Node:
    """Return complex numbers from floats whose last axis holds (real, imaginary); costs nothing."""
    node = as_node(x)
    if node.dtype not in ("float32", "float64"):
        raise DTypeError(
            f"view_as_complex needs float32 or float64, `{describe(node)}` is {node.type}"
        )
    if node.ndim == 0 or node.type.shape[-1] != 2:
        raise ShapeError(
            f"view_as_complex needs a last axis of length 2, `{describe(node)}` is {node.type}"
        )
    return node.inputs[0] if node.op is AS_PAIRS else FROM_PAIRS(node)


alias(conj, "conjugate")
