"""The node of the expression graph: immutable, hash-consed, one class.

A node is (op, inputs, parameters) and the type that follows from them. Nodes are interned: equal
expressions are the same object, so equality is identity. Leaves with an identity of their own
(inputs, shared variables, random draws) carry a unique number in their key. Names, source lines and
test values are no part of the key: the last name wins, the first line is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from symgraph.core.config import config
from symgraph.core.dtype import BOOL, INT64, DType, as_dtype
from symgraph.core.errors import DTypeError, SymbolicValueError
from symgraph.core.lazy import lazy
from symgraph.core.namespace import o
from symgraph.core.operators import Operators
from symgraph.core.source import Source, here
from symgraph.core.types import TensorType

if TYPE_CHECKING:
    from symgraph.core.op import Op

html: Any = lazy("html")  # for notebooks
_unique = count(1)
_interned: WeakValueDictionary[tuple[Any, ...], Node] = WeakValueDictionary()
_SMALL_CONSTANT = 512  # bytes; larger constants are told apart by identity, not by content


class Node(Operators):
    """A symbolic tensor. Made by ops, never directly by users."""

    __slots__ = (
        "__weakref__",
        "_name",
        "data",
        "inputs",
        "op",
        "params",
        "source",
        "test_value",
        "type",
        "uid",
    )
    op: Op
    inputs: tuple[Node, ...]
    params: Any
    type: TensorType
    uid: int  # 0, or the number that makes a leaf itself
    data: Any  # the array of a constant, the container of a shared variable
    source: Source | None
    test_value: np.ndarray | None

    __array_priority__ = 1000

    @property
    def name(self) -> str | None:
        return self._name

    @name.setter
    def name(self, value: str | None) -> None:
        self._name = value

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def owner(self) -> Node | None:
        """The node itself when an op made it, None for a leaf (Theano's attribute)."""
        return None if self.op.is_leaf else self

    def __bool__(self) -> bool:
        self._no_value("its truth", "`sg.where(c, a, b)` to choose, or `.eval()` for a number")
        return False

    def __int__(self) -> int:
        self._no_value("an int", "`.eval()` for a number, `.astype('int64')` to convert")
        return 0

    def __float__(self) -> float:
        self._no_value("a float", "`.eval()` for a number, `.astype('float64')` to convert")
        return 0.0

    def __index__(self) -> int:
        self._no_value("an index", "`sg.scan` to loop, or `.eval()` for a number")
        return 0

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self._no_value("a NumPy array", "`.eval({x: value})`, or the function of `sg`")
        return np.empty(0)

    def __len__(self) -> int:
        if not self.type.shape:
            raise TypeError("len() of a scalar")
        n = self.type.shape[0]
        if not isinstance(n, int):
            self._no_value("its length", "`x.shape[0]`")
        return int(n)

    def __iter__(self) -> Any:
        if not self.type.shape:
            raise TypeError("iteration over a scalar")
        if not isinstance(self.type.shape[0], int):
            self._no_value("an iterator (its length is not known)", "`sg.scan` or `x.shape[0]`")
        return (self[i] for i in range(len(self)))

    def _no_value(self, what: str, instead: str) -> None:
        raise SymbolicValueError(
            f"{describe(self)} is symbolic: it has no value yet, so it cannot give {what}.\n"
            f"  made at {self.source}\n  use {instead}"
        )

    def __repr__(self) -> str:
        return f"{describe(self)}: {self.type}"

    def _repr_html_(self) -> str:
        text, kind = html.escape(describe(self)), html.escape(str(self.type))
        return f"<code>{text}</code> <small>{kind}</small>"

    def __reduce__(self) -> Any:
        raise TypeError("graphs are not pickled; save values with sg.save, or rebuild the graph")


def make(
    op: Op,
    inputs: tuple[Node, ...],
    params: Any = (),
    type: TensorType | None = None,
    uid: int = 0,
    data: Any = None,
    key_data: Any = None,
    cls: type[Node] | None = None,
) -> Node:
    """Return the interned node; its type is inferred by the op unless given."""
    key = (op, inputs, params, uid, key_data, type)
    found = _interned.get(key)
    if found is not None:
        return found
    node = (cls or Node)()
    node.op, node.inputs, node.params, node.uid, node.data = op, inputs, params, uid, data
    node._name = None
    node.source = here()
    node.test_value = None
    node.type = op.infer(inputs, params) if type is None else type
    if inputs and any(i.test_value is not None for i in inputs):
        node.test_value = _computed(op, node)
    _interned[key] = node
    return node


def _computed(op: Op, node: Node) -> np.ndarray | None:
    try:
        return op.test_value(node)
    except (ValueError, ArithmeticError, IndexError) as error:
        shapes = ", ".join(
            f"`{describe(i)}` {i.test_value.shape}" for i in node.inputs if i.test_value is not None
        )
        error.add_note(f"  node:   {describe(node)}, made at {node.source}\n  values: {shapes}")
        raise


def fresh_uid() -> int:
    """Return a number never used before: the identity of an input, a shared variable, a draw."""
    return next(_unique)


class _LeafOp:
    """Base of the three leaf ops; they have a type of their own and no rules."""

    is_leaf = True
    view = opaque = commutative = compound = False
    loops = False
    lower = statements = expand = specialise = None
    not_differentiable = ""
    name: str

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


INPUT: Any = _LeafOp("input")
SHARED: Any = _LeafOp("shared")
CONSTANT: Any = _LeafOp("constant")
BOUND: Any = _LeafOp("bound")  # an argument of a loop's body; see core/body.py


def constant(value: Any, dtype: DType | None = None) -> Node:
    """Return a constant node; small ones are shared by content.

    Arrays keep their dtype; Python numbers and lists of them are weak (see `as_node`).
    """
    array = np.asarray(value) if dtype is None else np.asarray(value, dtype.numpy)
    kind = dtype_of(value, array)
    array = np.array(array, kind.numpy, order="C", copy=True)
    array.flags.writeable = False
    node_type = TensorType(kind, array.shape)
    if array.nbytes <= _SMALL_CONSTANT:
        return make(CONSTANT, (), type=node_type, data=array, key_data=array.tobytes())
    return make(CONSTANT, (), type=node_type, data=array, uid=fresh_uid())


def dtype_of(value: Any, array: np.ndarray | None = None) -> DType:
    """Return the element type of an array; raises DTypeError for what is none."""
    array = np.asarray(value) if array is None else array
    if array.dtype.kind not in "biufcV":
        raise DTypeError(
            f"{value!r} ({type(value).__name__}) is no variable, array or number of symgraph"
        )
    return as_dtype(array.dtype)


def weak_dtype(value: Any) -> str | None:
    """Return "b", "i", "f" or "c" for a Python number or a list of them, None if it is typed."""
    if type(value) is bool:
        return "b"
    if type(value) is int:
        return "i"
    if type(value) is float:
        return "f"
    if type(value) is complex:
        return "c"
    if isinstance(value, (list, tuple)):
        kinds = {weak_dtype(v) for v in value}
        if None in kinds:
            return None
        return max(kinds, key="bifc".index, default="f")  # type: ignore[arg-type]
    return None


def as_node(value: Any, like: Sequence[DType] = (), float_dtype: DType | None = None) -> Node:
    """Return `value` as a node. A weak Python number takes the kind-compatible dtype of `like`.

    Raises `OverflowError` when a Python integer does not fit the integer type that it joins.
    """
    if isinstance(value, Node):
        return value
    weak = weak_dtype(value)
    if weak is None:
        if isinstance(value, (list, tuple)) and any(_has_node(v) for v in value):
            stacked: Node = o.stack([as_node(v) for v in value])
            return stacked
        return constant(value)
    order = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}
    strongest = max(like, key=lambda d: order[d.kind], default=None)
    if weak == "c":
        if strongest is None or not strongest.is_inexact:
            strongest = float_dtype or _floatx()
        dtype = strongest.as_complex
    elif strongest is not None and (
        strongest.is_inexact or (weak in "bi" and strongest.is_integer) or weak == "b"
    ):
        dtype = strongest
        if dtype.is_integer and weak == "i":
            _check_fits(value, dtype)
    elif weak == "f":
        dtype = float_dtype or _floatx()
    else:
        dtype = BOOL if weak == "b" else INT64
    return constant(value, dtype)


def _has_node(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_has_node(v) for v in value)
    return isinstance(value, Node)


def _check_fits(value: Any, dtype: DType) -> None:
    info = np.iinfo(dtype.numpy)
    array = np.asarray(value, object)
    for v in array.ravel():
        if not info.min <= v <= info.max:
            raise OverflowError(f"Python integer {v} out of bounds for {dtype}")


def _floatx() -> DType:
    return as_dtype(config.floatX)


def describe(node: Node, depth: int = 3) -> str:
    """Return a short name for people: the given name, else the expression."""
    if node._name:
        return node._name
    if node.op is CONSTANT:
        if node.data.ndim == 0:
            return str(node.data.item())
        return f"constant{node.type.shape}"
    if node.op.is_leaf:
        return f"{node.op.name}{node.uid}"
    if depth == 0:
        return f"{node.op.name}(...)"
    inside = [describe(i, depth - 1) for i in node.inputs] or map(str, node.params)
    return f"{node.op.name}({', '.join(inside)})"


def new_input(dtype: Any, shape: tuple[Any, ...], name: str | None = None) -> Node:
    """Return a fresh input of the given type."""
    d = as_dtype(dtype)
    if not isinstance(d, DType):
        raise DTypeError(f"{dtype!r} is no dtype")
    node = make(INPUT, (), type=TensorType(d, shape), uid=fresh_uid())
    node.name = name
    return node
