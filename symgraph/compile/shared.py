"""Shared variables: state that lives between calls and is updated in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.config import config
from symgraph.core.dtype import as_dtype
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.lazy import lazy
from symgraph.core.node import SHARED, Node, describe, fresh_uid, make, weak_dtype
from symgraph.core.types import TensorType
from symgraph.dims.dim import symbol

cells: Any = lazy("symgraph.cpu.entry.cells")


LINE = 64  # bytes: a copy begins with a line of the caches, so that vectors do not lie across two


class Container:
    """The value of a shared variable (a C-contiguous array in a cell that native code reads)."""

    def __init__(self, array: np.ndarray) -> None:
        self.cell = cells.SharedCell(array)
        self.default_update: Node | None = None


class SharedVariable(Node):
    """A node whose value is kept between calls. Made by `sg.shared`."""

    __slots__ = ()
    data: Container

    def get_value(self, borrow: bool = False) -> np.ndarray:
        """Return a copy of the value, or with `borrow=True` the array that functions write to."""
        if borrow:
            held: np.ndarray = self.data.cell.get()
            return held
        with self.data.cell.reading() as array:
            return np.array(array)

    def set_value(self, value: Any, borrow: bool = False) -> None:
        """Set the value; it must have the dtype (or cast safely) and fixed sizes of the variable.

        The array is copied unless `borrow=True` and it can be used as it is.
        """
        array = np.asarray(value)
        d = self.dtype.numpy
        if array.dtype != d:
            if weak_dtype(value) is None and not np.can_cast(array.dtype, d, "safe"):
                raise DTypeError(
                    f"shared variable `{describe(self)}` holds {self.dtype}; got {array.dtype}; "
                    f"pass value.astype('{self.dtype}')"
                )
            array = array.astype(d)
        shape = self.type.shape
        if array.ndim != len(shape) or any(
            isinstance(n, int) and n != m for n, m in zip(shape, array.shape, strict=True)
        ):
            raise ShapeError(
                f"shared variable `{describe(self)}` is {self.type}; got shape {array.shape}. "
                "Make it with sg.shared(value, shape=(None, ...)) to let an axis vary"
            )
        self.data.cell.set(_owned(array, borrow))

    @property
    def default_update(self) -> Node | None:
        """The update that functions apply unless they are told otherwise."""
        return self.data.default_update

    @default_update.setter
    def default_update(self, value: Node | None) -> None:
        self.data.default_update = value


def _owned(array: np.ndarray, borrow: bool) -> np.ndarray:
    usable = (
        type(array) is np.ndarray
        and array.flags.c_contiguous
        and array.flags.aligned
        and array.flags.writeable
        and array.dtype.isnative
    )
    if borrow and usable:
        return array
    dtype = array.dtype.newbyteorder("=")
    room = np.empty(array.size * dtype.itemsize + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    own = room[start : start + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
    own[...] = array
    return own


def shared(
    value: Any,
    name: str | None = None,
    borrow: bool = False,
    shape: tuple[int | None, ...] | None = None,
    dtype: Any = None,
) -> SharedVariable:
    """Return a shared variable that starts with `value` (copied unless `borrow=True`).

    Its dtype and sizes are fixed; `shape=(None, 3)` lets the first axis vary between `set_value`s.
    Python numbers become floatX or int64.

    >>> w = sg.shared(np.zeros(3, "float32"), name="w")
    >>> w.get_value()
    array([0., 0., 0.], dtype=float32)
    """
    weak = weak_dtype(value)
    if dtype is not None:
        array = np.asarray(value, as_dtype(dtype).numpy)
    elif weak == "f":
        array = np.asarray(value, config.floatX)
    elif weak == "c":
        array = np.asarray(value, as_dtype(config.floatX).as_complex.numpy)
    else:
        array = np.asarray(value)
    kind = as_dtype(array.dtype)
    sizes: tuple[Any, ...] = array.shape
    if shape is not None:
        if len(shape) != array.ndim:
            raise ShapeError(f"shape {shape} for a value of shape {array.shape}")
        sizes = tuple(
            symbol(f"{name or 'shared'}.{k}") if n is None else n for k, n in enumerate(shape)
        )
    container = Container(_owned(array, borrow))
    node = make(
        SHARED,
        (),
        type=TensorType(kind, sizes),
        uid=fresh_uid(),
        data=container,
        cls=SharedVariable,
    )
    node.name = name
    return node  # type: ignore[return-value]
