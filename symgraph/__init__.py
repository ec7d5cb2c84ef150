"""symgraph: define symbolic expressions, differentiate them, compile them to one native function.

>>> import numpy as np
>>> import symgraph as sg
>>> x = sg.vector("x")
>>> f = sg.function([x], sg.grad((x**3).sum(), x))
>>> f(np.array([1, 2], "float32"))
array([ 3., 12.], dtype=float32)
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import Any

from symgraph import ops
from symgraph.autodiff.checkpoint import checkpoint
from symgraph.autodiff.grad import (
    Lop,
    Rop,
    ggnvp,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
)
from symgraph.autodiff.implicit import custom_linear_solve, custom_root
from symgraph.autodiff.matrix_function import funm
from symgraph.autodiff.subgraph import subgraph_grad
from symgraph.compile.arguments import In, Out
from symgraph.compile.function import function
from symgraph.compile.save import load, save
from symgraph.compile.shared import SharedVariable, shared
from symgraph.compile.verify_grad import verify_grad
from symgraph.core.config import config
from symgraph.core.errors import (
    CompileError,
    ConfigError,
    DeviceError,
    DisconnectedInputError,
    DTypeError,
    LinAlgError,
    MissingInputError,
    NanError,
    NotDifferentiableError,
    ShapeError,
    SymbolicValueError,
    SymgraphError,
    UnusedInputError,
    VerifyError,
)
from symgraph.core.lazy import lazy as _lazy
from symgraph.core.node import Node as Variable
from symgraph.core.op import o as _o
from symgraph.core.walk import substitute as _substitute
from symgraph.debug.draw import draw
from symgraph.debug.printing import dprint
from symgraph.dims.dim import Dim
from symgraph.grids import mgrid, ogrid
from symgraph.protocol import install as _install
from symgraph.tensor import as_tensor, constructors, tensor

__version__ = "0.1.0"

_install()
_runtime = _lazy("symgraph.cpu.runtime")


def set_threads(count: int) -> None:
    """Let compiled functions run on `count` threads; results are bitwise the same for any."""
    _runtime.set_threads(count)


def clone_replace(outputs: object, replace: dict[Variable, Variable]) -> object:
    """Return `outputs` (one variable or a list) with nodes replaced."""
    if isinstance(outputs, Variable):
        return _substitute([outputs], replace)[0]
    return _substitute(list(outputs), replace)  # type: ignore[call-overload]


_INTERNAL = {
    "as_size",
    "behind",
    "dim_value",
    "random_bits",
    "root_by_products",
    "gamma_level",
    "slice_axis",
    "getitem",
    "iota",
    "broadcast_shapes_of",
    "sum_to",
    "atleast_nd",
    "place",
    "batched_loop",
    "results_of",
    "unlimited_pull_back",
    "with_final_row",
    "last_state",
    "magnitude",
    "unit",
    "on_parts",
    "dft",
    "dft_by_tables",
    "rdft",
    "irdft",
    "loop_pull_back",
    "loop_push_forward",
}
_MODULES = ("fft", "linalg", "random", "special")


def __getattr__(name: str) -> Any:
    """Load what is asked for first now: the functions of `ops`, and modules that few need."""
    if name in _MODULES:
        return _import_module(f"symgraph.{name}")
    if name in _o and name not in _INTERNAL:
        value = globals()[name] = getattr(_o, name)
        return value
    raise AttributeError(f"module 'symgraph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


globals().update(constructors)

# fmt: off
__all__ = [
    "Lop", "Rop", "ggnvp", "grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp",
    "In", "Out", "function", "load", "save", "SharedVariable", "shared", "config", "CompileError",
    "ConfigError", "DeviceError", "DisconnectedInputError", "DTypeError", "MissingInputError",
    "NanError", "NotDifferentiableError", "ShapeError", "SymbolicValueError", "SymgraphError",
    "UnusedInputError", "VerifyError", "Variable", "set_threads", "dprint", "draw", "as_tensor",
    "tensor", "clone_replace", "random", "ops", "special", "linalg", "fft", "LinAlgError", "Dim",
    "custom_linear_solve", "custom_root", "funm", "checkpoint", "subgraph_grad", "verify_grad",
    "mgrid", "ogrid",
]
# fmt: on
__all__ += sorted(set(_o.names()) - _INTERNAL)  # noqa: PLE0605 - names that the registry knows
__all__ += sorted(constructors)  # noqa: PLE0605
