"""Optimizers: functions (loss, params) -> updates for `sg.function`.

>>> w = sg.shared(np.float32(3.0), name="w")
>>> step = sg.function([], updates=nn.optim.sgd(0.25)(w**2, [w]))
>>> step()
>>> float(w.get_value())
1.5

Each hyper-parameter is a number, fixed in the compiled function, or a shared scalar, which can be
set between calls without compiling again. State (momentum and the like) lives in shared variables
that the updates contain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

import symgraph as sg

Params = Mapping[str, sg.SharedVariable] | Iterable[sg.SharedVariable]
Updates = dict[sg.SharedVariable, sg.Variable]
Optimizer = Callable[[sg.Variable, Params], Updates]


def _list(params: Params) -> list[sg.SharedVariable]:
    found = list(params.values()) if isinstance(params, Mapping) else list(params)
    if not found:
        raise ValueError("an optimizer needs at least one parameter")
    return found


def _state(p: sg.SharedVariable, name: str) -> sg.SharedVariable:
    """Return a shared variable of zeros like a parameter."""
    return sg.shared(np.zeros_like(p.get_value(borrow=True)), name=f"{p.name or 'param'}.{name}")


def _number(value: Any, dtype: Any) -> Any:
    """Return a hyper-parameter in the dtype of the parameter: no silent float64."""
    return sg.cast(value, dtype) if isinstance(value, sg.Variable) else value


def sgd(lr: Any = 0.01, momentum: Any = 0.0, nesterov: bool = False) -> Optimizer:
    """Return gradient descent, p <- p - lr * v with v <- momentum * v + gradient.

    nesterov: step along gradient + momentum * v (Sutskever et al. 2013), which looks ahead.
    """
    plain = not isinstance(momentum, sg.Variable) and momentum == 0

    def updates(loss: sg.Variable, params: Params) -> Updates:
        result: Updates = {}
        wrt = _list(params)
        for p, g in zip(wrt, sg.grad(loss, wrt), strict=True):
            direction = g
            if not plain:
                m, v = _number(momentum, p.dtype), _state(p, "momentum")
                result[v] = m * v + g
                direction = g + m * result[v] if nesterov else result[v]
            result[p] = p - _number(lr, p.dtype) * direction
        return result

    return updates


def adam(lr: Any = 1e-3, beta1: Any = 0.9, beta2: Any = 0.999, eps: float = 1e-8) -> Optimizer:
    """Return Adam (Kingma and Ba 2015) with bias correction.

    m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g**2,
    p <- p - lr m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps).
    """

    def updates(loss: sg.Variable, params: Params) -> Updates:
        wrt = _list(params)
        # The powers of beta are kept, not t: no pow, and no counter that overflows.
        power1, power2 = (sg.shared(np.float64(1), name=f"adam.power{k}") for k in (1, 2))
        new1, new2 = power1 * beta1, power2 * beta2
        result: Updates = {power1: new1, power2: new2}
        rate, scale = lr / (1.0 - new1), 1.0 / sg.sqrt(1.0 - new2)
        for p, g in zip(wrt, sg.grad(loss, wrt), strict=True):
            m, v = _state(p, "mean"), _state(p, "square")
            b1, b2 = _number(beta1, p.dtype), _number(beta2, p.dtype)
            result[m] = b1 * m + (1 - b1) * g
            result[v] = b2 * v + (1 - b2) * sg.square(g)
            size = sg.sqrt(result[v]) * sg.cast(scale, p.dtype) + eps
            result[p] = p - sg.cast(rate, p.dtype) * result[m] / size
        return result

    return updates
