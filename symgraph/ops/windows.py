"""Windows that fade a signal out towards both ends, with NumPy's names and values."""

from __future__ import annotations

import math
from typing import Any

from symgraph.core.dtype import as_dtype
from symgraph.core.node import Node, as_node
from symgraph.core.op import function, o
from symgraph.dims.dim import maximum
from symgraph.ops.base import Size, cast_to, floatx


def _places(n: Size, dtype: Any) -> Node:
    """Return n numbers evenly spaced from -1 to 1; a single one is 0."""
    size, d = o.as_size(n), as_dtype(dtype or floatx())
    if not d.is_float:
        raise TypeError(f"a window needs a float dtype, got {d}")
    steps = 2 * o.arange(size) - as_node(o.dim_value(size - 1))
    return cast_to(steps, d) / cast_to(as_node(o.dim_value(maximum(size - 1, 1))), d)


@function
def bartlett(n: Size, dtype: Any = None) -> Node:
    """Return the triangular window of n points: 1 - |t|, t from -1 to 1."""
    return 1.0 - abs(_places(n, dtype))


@function
def hanning(n: Size, dtype: Any = None) -> Node:
    """Return the Hann window of n points: (1 + cos(pi t)) / 2, t from -1 to 1."""
    return 0.5 + 0.5 * o.cos(math.pi * _places(n, dtype))


@function
def hamming(n: Size, dtype: Any = None) -> Node:
    """Return the Hamming window of n points: 0.54 + 0.46 cos(pi t), t from -1 to 1."""
    return 0.54 + 0.46 * o.cos(math.pi * _places(n, dtype))


@function
def blackman(n: Size, dtype: Any = None) -> Node:
    """Return the Blackman window: 0.42 + 0.5 cos(pi t) + 0.08 cos(2 pi t), t from -1 to 1."""
    t = math.pi * _places(n, dtype)
    return 0.42 + 0.5 * o.cos(t) + 0.08 * o.cos(2.0 * t)


@function
def kaiser(n: Size, beta: Any, dtype: Any = None) -> Node:
    """Return the Kaiser window of n points: I0(beta sqrt(1 - t^2)) / I0(beta), t from -1 to 1.

    `beta` may be a variable, by which the window is differentiable.
    """
    t = _places(n, dtype)
    b = cast_to(as_node(beta, (t.dtype,)), t.dtype)
    inner = b * o.sqrt(1.0 - o.square(t))
    return o.i0e(inner) / o.i0e(b) * o.exp(abs(inner) - abs(b))
