"""Measure what each operation of the loop IR costs: python -m symgraph.debug.op_costs.

Prints the table of compile/op_costs.py for this machine. A cost is the time per element of a loop
over arrays in the near cache, in float32 operations at the rate of a matrix product.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from symgraph.compile.function import function
from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.cpu.machine import machine
from symgraph.loops.expr import MATH, MATH2

SIZES = (1024, 5120)  # elements; the difference of the two times has no cost of the call in it
REPEATS = 400
NAMES = {"pow": "power", "rem": "fmod"}
OTHERS = ("div", "sqrt", "rem")
INSIDE = ("acos", "asin", "atanh")  # functions of numbers below 1
DTYPES = ("float32", "float64")


def seconds_per_element(f: Callable[..., Node], dtype: str, arity: int) -> float:
    """Return the time of one element of an elementwise function."""
    times = []
    for n in SIZES:
        inputs = [new_input(dtype, (n,), f"x{k}") for k in range(arity)]
        arrays = [np.linspace(1.1, 1.9, n).astype(dtype) for _ in inputs]
        g = function(inputs, f(*inputs), threads=1)
        times.append(_best(partial(g, *arrays)))
    return max(0.0, times[1] - times[0]) / (SIZES[1] - SIZES[0])


def _best(call: Callable[[], Any]) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def measured() -> dict[str, tuple[float, ...]]:
    """Return the cost of each operation in float32 and in float64."""
    rate = machine().operations
    table: dict[str, tuple[float, ...]] = {}
    for op in (*sorted(MATH), *sorted(MATH2), *OTHERS):
        f = getattr(o, NAMES.get(op, op))
        arity = 2 if op in MATH2 or op in ("div", "rem") else 1
        g = (lambda x, f=f: f(x - 1.0)) if op in INSIDE else f
        table[op] = tuple(seconds_per_element(g, d, arity) * rate for d in DTYPES)
    whole = [seconds_per_element(o.floordiv, f"int{bits}", 2) * rate for bits in (32, 64)]
    table["integer div"] = tuple(whole)
    return table


def main() -> None:
    for op, costs in measured().items():
        sys.stdout.write(f'    "{op}": ({", ".join(f"{c:.0f}" for c in costs)}),\n')


if __name__ == "__main__":
    main()
