"""Compare derivatives with differences of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.autodiff.grad import Rop, grad
from symgraph.compile.function import function
from symgraph.core.errors import DTypeError, VerifyError
from symgraph.core.node import Node, as_node, new_input
from symgraph.core.op import o

REL = {"float64": 1e-6, "float32": 2e-2}
MODES = 1e-9, 1e-4  # of the size of the terms: how far both modes may differ, float64 and float32


def verify_grad(
    fun: Callable[..., Any],
    pt: Sequence[Any],
    n_tests: int = 2,
    seed: int = 0,
    eps: float | None = None,
    abs_tol: float | None = None,
    rel_tol: float | None = None,
    mode: str | None = None,
) -> None:
    """Check the derivatives of `fun` at the point `pt`, one array of floats for each argument.

    fun gets variables and returns a variable or a list. `n_tests` times, cost = <u, fun(x)> with
    weights u in [0.5, 1.5) drawn from `seed`; each of its partial derivatives is compared with
    (cost(x + h) - cost(x - h)) / 2h, h = `eps` * max(1, |x|), where `eps` is the cube root of the
    rounding unit unless given. Differences up to abs_tol + rel_tol * (largest derivative by the
    argument) pass: 1e-6 in float64, 2e-2 in float32, for both. Forward mode is compared with
    reverse mode along a random direction. Functions that are not smooth at `pt` fail rightly.

    Raises VerifyError that names the argument, the element and both values.

    >>> sg.verify_grad(lambda x, w: sg.tanh(x @ w), [np.ones((2, 3)), np.ones((3, 2))])
    """
    arrays = [np.array(a) for a in pt]
    for k, a in enumerate(arrays):
        if a.dtype.name not in REL:
            raise DTypeError(
                f"argument {k} is {a.dtype}; derivatives are checked in float64 or float32\n"
                "  mend:   close over other arguments: lambda x: f(x, indices)"
            )
    least = REL[min((a.dtype.name for a in arrays), default="float64")]  # float32 if there is one
    allowed = (least if abs_tol is None else abs_tol, least if rel_tol is None else rel_tol)
    check = _Check(fun, arrays, mode)
    rng = np.random.default_rng(seed)
    for _ in range(n_tests):
        check.elements(rng, eps, allowed)
        check.modes(rng)


class _Check:
    """The projected cost of a function and its derivatives, compiled."""

    def __init__(self, fun: Callable[..., Any], arrays: list[np.ndarray], mode: str | None) -> None:
        self.arrays, self.mode = arrays, mode
        xs = [new_input(a.dtype.name, a.shape, f"x{k}") for k, a in enumerate(arrays)]
        value = fun(*xs)
        results = [as_node(y) for y in (value if isinstance(value, (list, tuple)) else [value])]
        ys = [y for y in results if y.dtype.is_float]
        self.weights = [new_input(y.dtype, y.type.shape, "weight") for y in ys]
        cost = o.zeros((), "float64")
        for y, u in zip(ys, self.weights, strict=True):
            cost = cost + o.sum(o.cast(y * u, "float64"))
        moves = [new_input(x.dtype, x.type.shape, "direction") for x in xs]
        inputs = [*xs, *self.weights]
        self.cost = self._compiled(inputs, cost)
        self.slopes = self._compiled(inputs, grad(cost, xs, disconnected_inputs="ignore"))
        self.pushed = self._compiled([*inputs, *moves], Rop(cost, xs, moves))

    def _compiled(self, inputs: list[Node], outputs: Any) -> Any:
        return function(inputs, outputs, mode=self.mode, on_unused_input="ignore")

    def _draw(self, rng: np.random.Generator) -> list[np.ndarray]:
        return [
            np.asarray(rng.uniform(0.5, 1.5, w.type.shape), w.dtype.numpy) for w in self.weights
        ]

    def elements(
        self, rng: np.random.Generator, eps: float | None, allowed: tuple[float, float]
    ) -> None:
        """Compare each partial derivative with a central difference."""
        weights = self._draw(rng)
        for k, slope in enumerate(self.slopes(*self.arrays, *weights)):
            a = self.arrays[k]
            limit = allowed[0] + allowed[1] * float(np.abs(slope).max(initial=0.0))
            step = float(np.finfo(a.dtype).eps) ** (1 / 3) if eps is None else eps
            for place in np.ndindex(a.shape):
                h = step * max(1.0, abs(float(a[place])))
                rise = self._difference(k, place, h, weights)
                if not abs(rise - slope[place]) <= limit:
                    raise VerifyError(
                        f"the derivative by element {place} of argument {k} is {slope[place]:.9g}, "
                        f"differences of values give {rise:.9g}\n"
                        f"  allowed: {limit:.2g}, at {float(a[place]):.9g} with steps of {h:.2g}\n"
                        "  mend:   correct the rule; pass abs_tol= or rel_tol= where rounding is "
                        "large, another point where the function has a kink"
                    )

    def _difference(
        self, k: int, place: tuple[int, ...], h: float, weights: list[np.ndarray]
    ) -> float:
        """Return the slope of the cost between two points `h` to both sides of an element."""
        at, costs = [], []
        for step in (h, -h):
            moved = list(self.arrays)
            moved[k] = moved[k].copy()
            moved[k][place] += step
            at.append(float(moved[k][place]))
            costs.append(float(self.cost(*moved, *weights)))
        return (costs[0] - costs[1]) / (at[0] - at[1])

    def modes(self, rng: np.random.Generator) -> None:
        """Compare forward mode with reverse mode along a random direction."""
        weights = self._draw(rng)
        moves = [np.asarray(rng.normal(size=a.shape), a.dtype) for a in self.arrays]
        pushed = float(self.pushed(*self.arrays, *weights, *moves))
        slopes = self.slopes(*self.arrays, *weights)
        terms = [np.multiply(s, m, dtype="float64") for s, m in zip(slopes, moves, strict=True)]
        pulled = float(sum(v.sum() for v in terms))
        size = float(sum(np.abs(v).sum() for v in terms))
        exact = all(a.dtype == np.float64 for a in self.arrays)
        if not abs(pushed - pulled) <= MODES[not exact] * max(1.0, size):
            raise VerifyError(
                f"along one direction forward mode gives {pushed:.9g}, reverse mode {pulled:.9g}\n"
                "  mend:   the two rules of a custom derivative disagree"
            )
