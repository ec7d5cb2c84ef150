"""NumPy's protocols: its functions of variables make graphs, `np.exp(x)` is `sg.exp(x)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgraph.core.lazy import lazy
from symgraph.core.node import Node
from symgraph.core.op import o
from symgraph.tensor import as_tensor

fft: Any = lazy("symgraph.fft")


def _array_ufunc(node: Node, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """Let NumPy's functions build graph: np.exp(x) is sg.exp(x)."""
    name = ufunc.__name__
    if method == "reduce" and name in _REDUCTIONS:
        return _reduced(_REDUCTIONS[name], *inputs, **kwargs)
    if method != "__call__" or kwargs:
        return NotImplemented
    f = _named(name)
    return NotImplemented if f is None else f(*inputs)


_REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}


def _reduced(
    name: str, x: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    """Return what ufunc.reduce does: along the first axis unless told."""
    if dtype is not None or out is not None:
        return NotImplemented
    return getattr(o, name)(x, axis=axis, keepdims=keepdims)


def _array_function(node: Node, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Let NumPy's other functions build graph: np.fft.rfft(x) is sg.fft.rfft(x)."""
    name, module = func.__name__, func.__module__
    if module == "numpy.fft":
        f = getattr(fft, name, None)
    elif module == "numpy.linalg":
        f = _NUMPY_LINALG[name] if name in _NUMPY_LINALG else _named(name)
    else:
        f = _NUMPY[name] if name in _NUMPY else _named(name)
        if name in ("diagonal", "trace") and len(args) < 3:  # ours are of the last two axes
            kwargs = {"axis1": 0, "axis2": 1, **kwargs}
    return NotImplemented if f is None else f(*args, **kwargs)


def _named(name: str) -> Callable[..., Any] | None:
    return getattr(o, name) if name in o else None


# What NumPy names and we name otherwise, or not at all; None: `o` has another thing of this name.
_NUMPY: dict[str, Callable[..., Any] | None] = {
    "copy": lambda a, order="K", subok=False: as_tensor(a),  # a value cannot be written to
    "iscomplexobj": lambda x: as_tensor(x).dtype.is_complex,
    "isrealobj": lambda x: not as_tensor(x).dtype.is_complex,
    "ndim": lambda a: as_tensor(a).ndim,
}


def _lstsq(*args: Any, **kwargs: Any) -> Any:
    raise TypeError(
        "np.linalg.lstsq also returns the residuals, whose shape depends on the rank of the "
        "values: use sg.linalg.lstsq(a, b), which returns the solution alone"
    )


_NUMPY_LINALG: dict[str, Callable[..., Any] | None] = {
    "cond": lambda x, p=None: o.condition_number(x, p),  # `o.cond` is the branch
    "lstsq": _lstsq,
}


def install() -> None:
    """Give nodes the protocols."""
    cls: Any = Node
    cls.__array_ufunc__ = _array_ufunc
    cls.__array_function__ = _array_function
