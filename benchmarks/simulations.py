"""Solvers and samplers of the loop rows, written once over any library.

`m` is a namespace with exp, sqrt, where, minimum, maximum and stack; arrays are the library's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

END, TOLERANCE, DAMPING = 20.0, 1e-4, 5.0
FIXED_STEP = 0.01
DRAWS, EXAMPLES, FEATURES = 10_000, 256, 16
STRIDE = 0.1  # of the sampler


def oscillator(m: Any, y: Any) -> Any:
    """Return the derivative of van der Pol's oscillator, y = (place, speed)."""
    return m.stack([y[1], DAMPING * (1 - y[0] * y[0]) * y[1] - y[0]])


def runge_kutta(m: Any, t: Any, y: Any) -> tuple[Any, Any]:
    """Return time and state after a step of the classical method of order four."""
    h = FIXED_STEP
    a = oscillator(m, y)
    b = oscillator(m, y + 0.5 * h * a)
    c = oscillator(m, y + 0.5 * h * b)
    d = oscillator(m, y + h * c)
    return t + h, y + h / 6 * (a + 2 * b + 2 * c + d)


def adaptive(m: Any, t: Any, h: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return time, step size and state after trying a step (Bogacki and Shampine 1989).

    A step whose error is above the tolerance leaves time and state alone, and is tried again.
    """
    size = m.minimum(h, END - t)
    a = oscillator(m, y)
    b = oscillator(m, y + 0.5 * size * a)
    c = oscillator(m, y + 0.75 * size * b)
    new = y + size * (2 / 9 * a + 1 / 3 * b + 4 / 9 * c)
    d = oscillator(m, new)
    error = size * (-5 / 72 * a + 1 / 12 * b + 1 / 9 * c - 1 / 8 * d)
    worst = m.sqrt((error * error).sum() * 0.5) / TOLERANCE
    good = worst <= 1.0
    factor = m.minimum(m.maximum(0.9 / (worst + 1e-10) ** (1 / 3), 0.2), 5.0)
    return m.where(good, t + size, t), size * factor, m.where(good, new, y)


def log_density(m: Any, x: Any, sign: Any, w: Any) -> Any:
    """Return the log density of the weights of a logistic regression, with a normal prior."""
    margin = sign * (x @ w)
    return -m.softplus(-margin).sum() - 0.5 * (w * w).sum()


def signs(m: Any, label: Any) -> Any:
    """Return labels of -1 or 1 from normal numbers."""
    return m.where(label > 0, 1.0, -1.0)


def langevin(
    m: Any, value_and_grad: Callable[[Any], tuple[Any, Any]], state: Any, noise: Any, dice: Any
) -> tuple[Any, Any, Any, Any]:
    """Return state and acceptance after a Metropolis-adjusted Langevin step.

    The state is (weights, log density, its gradient); `dice` are two normal numbers, the sum of
    whose squares is twice minus the logarithm of a uniform one.
    """
    w, density, slope = state
    h = STRIDE * STRIDE
    new = w + 0.5 * h * slope + STRIDE * noise
    new_density, new_slope = value_and_grad(new)
    back = w - new - 0.5 * h * new_slope
    ratio = new_density - density - (back * back).sum() / (2 * h) + 0.5 * (noise * noise).sum()
    good = -0.5 * (dice * dice).sum() < ratio
    return (
        m.where(good, new, w),
        m.where(good, new_density, density),
        m.where(good, new_slope, slope),
        m.where(good, 1.0, 0.0),
    )
