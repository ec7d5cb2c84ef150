"""Arguments of a function: how each is declared, converted and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.compile.shared import SharedVariable, shared
from symgraph.core.config import config
from symgraph.core.errors import DTypeError, ShapeError, SymbolicValueError
from symgraph.core.node import INPUT, Node, describe, weak_dtype
from symgraph.core.record import dataclass


@dataclass(frozen=True, slots=True)
class In:
    """An input with options.

    name: keyword of the argument. value: used where the argument is left out; converted when the
    function is made and kept by it: `f["name"]` reads it, `f["name"] = v` sets it. A shared
    variable as `value` is used itself, so that functions can have a value in common. update: what
    the stored value becomes after each call, computed from the value that the call used; needs
    `value`; a function's copies keep values of their own. strict: no conversion at all.
    allow_downcast: convert even with loss. mutable, borrow: permissions that are accepted and not
    needed.

    >>> total, x = sg.scalar("total", dtype="float64"), sg.scalar("x", dtype="float64")
    >>> add = sg.function([x, sg.In(total, value=0.0, update=total + x)], total + x)
    >>> float(add(2)), float(add(3)), float(add["total"])
    (2.0, 5.0, 5.0)
    """

    variable: Node
    name: str | None = None
    value: Any = None
    update: Any = None
    mutable: bool = False
    borrow: bool = False
    strict: bool = False
    allow_downcast: bool | None = None


@dataclass(frozen=True, slots=True)
class Out:
    """An output with options; `borrow=True` would allow the result to share memory."""

    variable: Node
    borrow: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a compiled function; `state` holds the value of an optional one."""

    node: Node
    name: str | None
    state: SharedVariable | None
    strict: bool
    downcast: bool | None
    update: Any = None
    donated: bool = False

    def convert(self, value: Any, position: int) -> np.ndarray:
        """Return the value as a contiguous native array of the declared type.

        Raises DTypeError / ShapeError that name the argument, what came and how to mend it.
        """
        node = self.node
        if isinstance(value, Node):
            raise SymbolicValueError(
                f"argument {position} `{describe(node)}` got the symbolic variable "
                f"`{describe(value)}`; pass an array, or build the graph first and call "
                "sg.function once"
            )
        if self.donated and isinstance(value, np.ndarray) and not value.flags.writeable:
            raise ValueError(
                f"argument {position} `{describe(node)}` is donated, but the array is read-only; "
                "pass x.copy(), or leave it out of donate="
            )
        array = self._typed(value, position)
        self._check_shape(array, position)
        if array.flags.c_contiguous and array.flags.aligned and type(array) is np.ndarray:
            return array
        return np.array(array, order="C", copy=True, subok=False).reshape(array.shape)

    def _typed(self, value: Any, position: int) -> np.ndarray:
        target = self.node.dtype.numpy
        weak = None if isinstance(value, np.ndarray) else weak_dtype(value)
        array = self._array(value, weak, position)
        if array.dtype == target:
            return array if array.dtype.isnative else array.astype(target)
        if array.dtype.kind not in "biufc" and array.dtype.name != "bfloat16":
            raise DTypeError(
                f"argument {position} `{describe(self.node)}` ({self.node.type}) got "
                f"{array.dtype}; numbers are needed"
            )
        if self.strict:
            raise DTypeError(self._message(array, position, "it is strict"))
        if weak is not None and self._weak_fits(weak, array):
            return array.astype(target)
        if array.dtype.kind == "c" and not self.node.dtype.is_complex:
            raise DTypeError(self._message(array, position, "its imaginary part would be lost"))
        if np.can_cast(array.dtype, target, "safe") or self.downcast:
            return array.astype(target)
        raise DTypeError(self._message(array, position, "that would lose precision or range"))

    def _array(self, value: Any, weak: str | None, position: int) -> np.ndarray:
        """Return the value as an array; raises DTypeError for what is none."""
        if hasattr(value, "filled"):  # a masked array; its mask would be lost
            raise DTypeError(
                f"argument {position} `{describe(self.node)}` got a masked array; pass "
                "x.filled(value), or the mask as another argument"
            )
        try:
            array = np.asarray(value)
            if array.dtype == object and weak == "i":  # beyond 64 bits
                array = np.asarray(value, np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise DTypeError(
                f"argument {position} `{describe(self.node)}` ({self.node.type}) got a "
                f"{type(value).__name__} that is no array: {error}"
            ) from None
        return array

    def _weak_fits(self, weak: str, array: np.ndarray) -> bool:
        """A Python number takes the declared type where that keeps its kind (and its value)."""
        kind = self.node.dtype.kind
        if kind == "c" or weak == "c":
            return kind == "c"
        if kind == "f":
            return not (weak == "f" and self.downcast is False and self.node.dtype != config.floatX)
        if kind == "b" or weak == "f":
            return weak == kind
        info = np.iinfo(self.node.dtype.numpy)
        return bool(array.size == 0 or (array.min() >= info.min and array.max() <= info.max))

    def _message(self, array: np.ndarray, position: int, why: str) -> str:
        node, name = self.node, self.name or "x"
        article = "an" if array.dtype.kind in "iu" and array.dtype.name[0] == "i" else "a"
        mend = f"pass {name}.astype('{node.dtype}'), or sg.function(..., allow_input_downcast=True)"
        if array.dtype.kind == "c":
            mend = f"pass {name}.real"
        elif self.strict:
            mend = f"pass {name}.astype('{node.dtype}'), or leave strict=True out of sg.In"
        return (
            f"argument {position} `{describe(node)}` is {node.dtype}, got {article} {array.dtype} "
            f"array of shape {array.shape}; {why}.\n"
            f"  input:  {node.type}, made at {node.source}\n"
            f"  mend:   {mend}"
        )

    def _check_shape(self, array: np.ndarray, position: int) -> None:
        node = self.node
        if array.ndim != node.ndim:
            raise ShapeError(
                f"argument {position} `{describe(node)}` has {_axes(node.ndim)}, got an array with "
                f"{_axes(array.ndim)}: shape {array.shape}.\n"
                f"  input:  {node.type}, made at {node.source}\n"
                f"  mend:   x.reshape(...) or x[None] before the call"
            )
        for axis, (n, m) in enumerate(zip(node.type.shape, array.shape, strict=True)):
            if isinstance(n, int) and n != m:
                raise ShapeError(
                    f"argument {position} `{describe(node)}`: axis {axis} has length {m}, "
                    f"declared is {n}.\n  input:  {node.type}, made at {node.source}"
                )


def _axes(n: int) -> str:
    return "1 axis" if n == 1 else f"{n} axes"


def parameters(
    inputs: Sequence[Any], allow_downcast: bool | None, donate: Sequence[Node]
) -> list[Parameter]:
    """Return the declared arguments; raises TypeError for what is no input variable."""
    if isinstance(inputs, (Node, In)) or not hasattr(inputs, "__iter__"):
        what = describe(inputs) if isinstance(inputs, Node) else type(inputs).__name__
        raise TypeError(
            f"the inputs of function are a list, got {what}\n  mend:   sg.function([x], ...)"
        )
    result: list[Parameter] = []
    for k, item in enumerate(inputs):
        entry = item if isinstance(item, In) else In(item)
        node = entry.variable
        if not isinstance(node, Node) or node.op is not INPUT:
            what = describe(node) if isinstance(node, Node) else repr(node)
            raise TypeError(
                f"input {k} of function is {what}, which is not an input variable; make inputs "
                "with sg.vector('x'), sg.matrix('x') ...; shared variables are no inputs"
            )
        if any(p.node is node for p in result):
            raise ValueError(f"input `{describe(node)}` is listed twice")
        if entry.update is not None and entry.value is None:
            raise TypeError(
                f"input `{describe(node)}`: In(update=...) needs value=, the one to start with"
            )
        downcast = allow_downcast if entry.allow_downcast is None else entry.allow_downcast
        name, donated = entry.name or node.name, any(d is node for d in donate)
        plain = Parameter(node, name, None, entry.strict, downcast)
        state = _state(plain, entry.value, k)
        result.append(
            Parameter(node, name, state, entry.strict, downcast, entry.update, donated)
        )
    for d in donate:
        if not any(p.node is d for p in result):
            what = describe(d) if isinstance(d, Node) else repr(d)
            raise ValueError(f"donate: {what} is not an input of the function")
    return result


def _state(param: Parameter, value: Any, position: int) -> SharedVariable | None:
    """Return the variable that keeps the value of an optional argument."""
    node = param.node
    if value is None:
        return None
    if isinstance(value, SharedVariable):
        if value.dtype is not node.dtype or value.ndim != node.ndim:
            raise DTypeError(
                f"input `{describe(node)}` is {node.type}, the shared variable `{describe(value)}` "
                f"that keeps its value is {value.type}"
            )
        return value
    array = param.convert(value, position)
    sizes = tuple(n if isinstance(n, int) else None for n in node.type.shape)
    return shared(array, f"value of {param.name or describe(node)}", shape=sizes)


def bind(params: Sequence[Parameter], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Match a call's arguments to the parameters as Python does; raises TypeError."""
    if len(args) > len(params):
        names = ", ".join(p.name or "?" for p in params)
        raise TypeError(f"expected {len(params)} arguments ({names}), got {len(args)}")
    missing = object()
    values: list[Any] = [*args, *([missing] * (len(params) - len(args)))]
    for name, value in kwargs.items():
        places = [k for k, p in enumerate(params) if p.name == name]
        if not places:
            known = ", ".join(p.name for p in params if p.name)
            raise TypeError(f"unexpected argument {name!r}; known names: {known}")
        if values[places[0]] is not missing:
            raise TypeError(f"argument {name!r} was given twice")
        values[places[0]] = value
    for k, p in enumerate(params):
        if values[k] is missing:
            if p.state is None:
                raise TypeError(f"missing argument {k} `{p.name or describe(p.node)}`")
            values[k] = p.state.get_value()  # a copy: the call may store a new value
    return values
