"""Recurrences of any width, written once over any library, for `benchmarks.loops_sweep`.

`m` is a namespace with tanh and sigmoid; arrays are the library's own. A step takes a row of the
sequence, the states and the weights, and returns the new states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.models import decay_step, kalman_step

GAIN = 0.8  # of the weights, which are standard normal: below 1, so that no state is chaotic
Loop = Callable[[Any, Any, Sequence[Any], Sequence[Any]], Any]


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A step with `states` states, and weights for `gates` blocks of the width (0: none)."""

    text: str
    step: Callable[..., tuple[Any, ...]]
    states: int
    gates: int

    def shapes(self, width: int, steps: int) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of the sequence, the first states, and w, u, b."""
        n, g = width, self.gates * width
        weights = ((n, g), (n, g), (g,)) if g else ()
        return ((steps, n), *[(n,)] * self.states, *weights)

    def states_of(self, m: Any, loop: Loop, width: int, arrays: Sequence[Any]) -> Any:
        """Return the first state after every step; `loop(step, rows, starts, fixed)` runs them."""
        rows, starts = arrays[0], arrays[1 : 1 + self.states]
        weights = arrays[1 + self.states :]
        if weights:
            scale = GAIN / math.sqrt(width)
            weights = (scale * weights[0], scale * weights[1], weights[2])

        def step(row: Any, *rest: Any) -> tuple[Any, ...]:
            return self.step(m, width, row, *rest)

        return loop(step, rows, starts, weights)


def rnn(m: Any, n: int, x: Any, h: Any, w: Any, u: Any, b: Any) -> tuple[Any, ...]:
    return (m.tanh(x @ w + h @ u + b),)


def gru(m: Any, n: int, x: Any, h: Any, w: Any, u: Any, b: Any) -> tuple[Any, ...]:
    a, c = x @ w + b, h @ u
    z, r = m.sigmoid(a[:n] + c[:n]), m.sigmoid(a[n : 2 * n] + c[n : 2 * n])
    return ((1 - z) * m.tanh(a[2 * n :] + r * c[2 * n :]) + z * h,)


def lstm(m: Any, n: int, x: Any, h: Any, c: Any, w: Any, u: Any, b: Any) -> tuple[Any, ...]:
    a = x @ w + h @ u + b
    i, f, o = (m.sigmoid(a[k * n : (k + 1) * n]) for k in range(3))
    c = f * c + i * m.tanh(a[3 * n :])
    return o * m.tanh(c), c


def kalman(m: Any, n: int, z: Any, mean: Any, spread: Any) -> tuple[Any, ...]:
    """Filter n measurements; `spread` is squared first, so that it is a variance."""
    mean, variance = kalman_step(z, mean, spread * spread)
    return mean, variance**0.5


def decay(m: Any, n: int, x: Any, h: Any) -> tuple[Any, ...]:
    return (decay_step(m, x, h),)


RECURRENCES = {
    "rnn": Recurrence("tanh(x @ w + h @ u + b)", rnn, 1, 1),
    "gru": Recurrence("gated recurrent unit", gru, 1, 3),
    "lstm": Recurrence("long short-term memory", lstm, 2, 4),
    "kalman": Recurrence("scalar Kalman filters", kalman, 2, 0),
    "decay": Recurrence("tanh(0.9 h + x)", decay, 1, 0),
}
