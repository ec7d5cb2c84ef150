"""Recurrences and the small network of the higher-order rows, written once over any library.

`m` is a namespace with tanh and sigmoid (`jax.numpy`-like); arrays are the library's own.
"""

from __future__ import annotations

from typing import Any

WIDTH = 32  # of the elementwise recurrence and the GRU
SIZES = (20, 25, 15, 5)  # of the network of 995 parameters
SCALE = 0.2  # of the weights, which are standard normal


def kalman_step(z: Any, mean: Any, variance: Any) -> tuple[Any, Any]:
    """Return mean and variance after a measurement `z`: a scalar Kalman filter."""
    predicted = variance + 0.01
    gain = predicted / (predicted + 0.1)
    return mean + gain * (z - mean), (1 - gain) * predicted


def decay_step(m: Any, x: Any, h: Any) -> Any:
    """Return the next state of a recurrence without products."""
    return m.tanh(0.9 * h + x)


def linear_prefix(left: Any, right: Any) -> Any:
    """Combine two steps of h = a h + x: the function of an associative scan."""
    (a, x), (b, y) = left, right
    return a * b, b * x + y


def gru_step(m: Any, x: Any, h: Any, w: Any, u: Any, b: Any) -> Any:
    """Return the next state of a gated recurrent unit (Cho et al. 2014)."""
    a, c = x @ (SCALE * w) + b, h @ (SCALE * u)
    n = WIDTH
    z, r = m.sigmoid(a[:n] + c[:n]), m.sigmoid(a[n : 2 * n] + c[n : 2 * n])
    return (1 - z) * m.tanh(a[2 * n :] + r * c[2 * n :]) + z * h


def network_loss(m: Any, p: Any, x: Any, y: Any) -> Any:
    """Return the mean squared error of a tanh network whose parameters are one vector."""
    at = 0
    for k, (rows, columns) in enumerate(zip(SIZES, SIZES[1:], strict=False)):
        w = p[at : at + rows * columns].reshape((rows, columns))
        at += rows * columns
        x = x @ (SCALE * w) + p[at : at + columns]
        at += columns
        x = m.tanh(x) if k + 2 < len(SIZES) else x
    return ((x - y) ** 2).mean()


def parameter_count() -> int:
    """Return the number of parameters of the network."""
    return sum(a * b + b for a, b in zip(SIZES, SIZES[1:], strict=False))
