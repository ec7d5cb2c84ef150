"""The contract of an op and the registry that checks it.

An op lives in one place and states all its rules there: type, NumPy reference, derivative,
batching, lowering, samples, doc. A missing rule fails when the op is registered, not years later.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from symgraph.core.dtype import BFLOAT16
from symgraph.core.errors import DTypeError
from symgraph.core.evaluator import evaluate
from symgraph.core.namespace import Catalogue, o
from symgraph.core.node import Node, describe, make, new_input
from symgraph.core.types import TensorType
from symgraph.core.walk import toposort
from symgraph.dims.dim import has_dim, test_size

__all__ = ["Op", "Read", "alias", "function", "normal_axis", "o", "ops", "register"]

F = TypeVar("F", bound=Callable[..., Any])
Read = Callable[..., Any]  # read(k, index) -> Expr of input k at that index


class Op:
    """Base of all ops. Subclasses set the class attributes and override the rules.

    Derivative, one of (checked by `register`):
      partials(o, node) -> tuple: elementwise; the partial derivative by each input (None: zero)
      linear = (k, ...): linear in each of these inputs; transpose(o, node, k, g) -> Node
      jvp(o, node, tangents) -> Node: linear in the tangents (reverse mode transposes it)
      not_differentiable = "reason"
    An op with `expand` is composed: derivative and lowering follow from the expansion unless given.
    `vjp(o, node, g)` may be added where it is cheaper than what follows from the rule.
    """

    is_leaf = False
    name: str = ""
    doc: str = ""
    params: tuple[str, ...] = ()
    linear: tuple[int, ...] = ()
    not_differentiable: str = ""
    samples: Any = None  # samples(rng, dtype) -> iterable of (arrays, kwargs)
    commutative = False
    loops = False  # its lowering is a reduction loop per element
    view = False  # only moves the index; never stored for its own sake
    opaque = False  # impure or hidden from rewrites (random draws, stop_gradient)
    compound = False  # has several results, which `result` nodes name (loops, branches)
    copied: tuple[int, ...] = ()  # inputs that statements copy: read where they are made
    takes_complex = False  # rewrites/complex.py has its rule, or `expand` leads to ops with one

    Params: Any = ()
    instance: Op  # the registered object; set by `register`

    # -- rules ---------------------------------------------------------------------------------
    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        """Return the type of the result; raises ShapeError / DTypeError naming the inputs."""
        raise NotImplementedError

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        """Compute the result with NumPy: the oracle, and the eager mode."""
        raise NotImplementedError

    partials: Any = None
    transpose: Any = None
    jvp: Any = None
    vjp: Any = None
    expand: Any = None  # expand(o, node) -> Node
    lower: Any = None  # lower(s, node, index, read) -> Expr
    statements: Any = None  # statements(low, node, out): lowered as statements of its own
    checks: Any = None  # checks(low, node): conditions that stop the function with an error
    repeat: Any = None  # of compound ones: repeat(low, node, wanted), statements for the results
    by_loops: Any = None  # by_loops(node) -> whether it is lowered by `lower`, not by `statements`
    specialise: Any = None  # specialise(o, node) -> Node: a cheaper form once sizes are known
    batch: Any = None  # batch(o, node, inputs, axes) -> (Node, axis); used by vmap

    # -- behaviour shared by all -----------------------------------------------------------------
    def __call__(self, *inputs: Node, **params: Any) -> Node:
        if not self.takes_complex and any(i.type.dtype.is_complex for i in inputs):
            raise no_complex(self.name, inputs)
        return make(self, inputs, self.Params(**params) if self.params else ())

    def updates(self, node: Node) -> Sequence[tuple[Node, Node, Node]]:
        """Return (shared variable, new value, origin) of each update that the node carries with it.

        Updates of one origin are the same one, whatever derivatives made of the node.
        """
        return ()

    def copies(self, node: Node) -> tuple[int, ...]:
        """Return the inputs that the statements of a node copy."""
        return self.copied

    def rebuild(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """Make the same operation on other inputs."""
        return make(self, inputs, node.params, uid=node.uid)

    def test_value(self, node: Node) -> np.ndarray | None:
        """Compute the test value of a new node where all its inputs have one."""
        values: list[Any] = [_test_value(i) for i in node.inputs]
        if any(v is None for v in values):
            return None
        symbolic = has_dim(node.params) or not all(i.type.is_static for i in node.inputs)
        if symbolic or any(n.type.dtype is BFLOAT16 for n in (node, *node.inputs)):
            params = test_size(node.params)
            if has_dim(params):
                return None
            # as graphs are evaluated: NumPy knows no sizes without a value, and no bfloat16
            arrays = [np.asarray(v) for v in values]
            pairs = zip(node.inputs, arrays, strict=True)
            leaves = tuple(new_input(i.type.dtype, v.shape, i.name) for i, v in pairs)
            new = make(self, leaves, params, uid=node.uid)
            return np.asarray(evaluate([new], dict(zip(leaves, arrays, strict=True)))[0])
        with np.errstate(all="ignore"):
            return np.asarray(self.numpy(node, *values))

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str:
        return self.name


def _test_value(node: Node) -> np.ndarray | None:
    """Return the test value of an input; what depends on constants only is computed now."""
    if node.op.name == "constant":
        array: np.ndarray = node.data
        return array
    if node.test_value is None:
        order = toposort([node])
        if all(n.op.name == "constant" or not n.op.is_leaf for n in order):
            for n in order:
                if n.test_value is None and not n.op.is_leaf:
                    n.test_value = n.op.test_value(n)
    return node.test_value


def no_complex(op: str, inputs: Sequence[Node]) -> DTypeError:
    """Return the error for an op that is not defined for complex numbers."""
    lines = [f"{op} is not defined for complex numbers"]
    lines += [f"  input:  {describe(i)}  {i.type}, made at {i.source}" for i in inputs]
    lines.append("  mend:   take a real number first: sg.abs(z), sg.real(z), sg.imag(z) ...")
    return DTypeError("\n".join(lines))


class Registry(dict[str, Op]):
    """The ops by name; those of families that are not loaded yet are loaded when asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.catalogue = Catalogue()

    def __missing__(self, name: str) -> Op:
        if self.catalogue.load(name) and name in self:
            return self[name]
        raise KeyError(name)


ops = Registry()
T = TypeVar("T", bound=Op)


def register(cls: type[T]) -> type[T]:
    """Check an op class, make its single instance, and enter it in the registry."""
    cls.instance = enter(cls())
    return cls


def enter(op: Op) -> Op:
    """Check that an op has all its rules, and enter it in the registry."""
    missing = [f for f in ("name", "doc", "samples", "batch") if not getattr(op, f)]
    if type(op).infer is Op.infer:
        missing.append("infer")
    if type(op).numpy is Op.numpy and op.expand is None:
        missing.append("numpy")
    if op.expand is None and op.lower is None and op.statements is None:
        missing.append("lower, statements or expand")
    if op.linear and op.transpose is None:
        missing.append("transpose")
    rules = (op.partials, op.transpose, op.jvp, op.vjp, op.expand, op.not_differentiable)
    if not any(rules):
        missing.append("a derivative rule or not_differentiable")
    if missing:
        raise TypeError(f"op {op.name or type(op).__name__}: missing {', '.join(missing)}")
    if op.name in ops:
        raise TypeError(f"op {op.name} is registered twice")
    if op.params:
        op.Params = namedtuple(f"{op.name}_params", op.params)  # type: ignore[misc]
    ops[op.name] = op
    return op


def function(f: F) -> F:
    """Enter a public function under its own name (a trailing underscore is dropped)."""
    name = f.__name__.rstrip("_")
    o.enter(name, f)
    return f


def alias(f: Callable[..., Any], *names: str) -> None:
    """Enter more names for a function."""
    for name in names:
        o.enter(name, f)


def normal_axis(axis: int, ndim: int, what: str = "axis") -> int:
    """Return a non-negative axis number; raises `IndexError` (as NumPy's AxisError is one)."""
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim, what)
    return axis % ndim


def normal_axes(axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Return sorted unique non-negative axes; None means all."""
    if axis is None:
        return tuple(range(ndim))
    given = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    axes = tuple(sorted(normal_axis(int(a), ndim) for a in given))
    if len(set(axes)) != len(axes):
        raise ValueError(f"duplicate value in axis {axis}")
    return axes
