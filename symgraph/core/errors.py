"""Exceptions of symgraph; each derives from the Python exception that a NumPy user expects."""

from __future__ import annotations

import numpy as np


class SymgraphError(Exception):
    """Base class of every error that symgraph raises by itself."""


class ShapeError(SymgraphError, ValueError):
    """Sizes or ranks of tensors do not fit together."""


class BoundsError(ShapeError, IndexError):
    """An index lies outside of its axis."""


class DTypeError(SymgraphError, TypeError):
    """A dtype is not accepted, or two dtypes have no common one."""


class UnusedInputError(SymgraphError, ValueError):
    """An input of a function is not part of the graph of its outputs."""


class MissingInputError(SymgraphError, ValueError):
    """The graph needs a variable that was not given as an input."""


class DisconnectedInputError(SymgraphError, ValueError):
    """A derivative was asked with respect to something that the cost does not depend on."""


class NotDifferentiableError(SymgraphError, TypeError):
    """An op or a dtype has no derivative."""


class LinAlgError(SymgraphError, np.linalg.LinAlgError):
    """A matrix has no factorization or solution of the kind that was asked for."""


class CompileError(SymgraphError, RuntimeError):
    """Native code could not be made."""


class VerifyError(SymgraphError, RuntimeError):
    """A compiler stage produced an ill-formed result, or two stages disagree in value."""


class DeviceError(SymgraphError, RuntimeError):
    """A device that was asked for is not there."""


class NanError(SymgraphError, ArithmeticError):
    """A NaN or an infinity appeared where the mode forbids it."""


class SymbolicValueError(SymgraphError, TypeError):
    """A symbolic variable was used where a number is needed."""


class ConfigError(SymgraphError, ValueError):
    """A setting has an unknown name or an illegal value."""
