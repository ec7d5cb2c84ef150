"""Newton's method for the minimum of a function of two variables, with a compiled Hessian.

Shows `sg.hessian`. Prints the path to Rosenbrock's minimum at (1, 1), reached in a few steps.
"""

from __future__ import annotations

import numpy as np

import symgraph as sg

x = sg.tensor("x", (2,), "float64")
value = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
f = sg.function([x], [value, sg.grad(value, x), sg.hessian(value, x)])

point = np.array([-1.2, 1.0])
for step in range(10):
    height, slope, curvature = f(point)
    print(f"step {step}: f({point[0]:9.6f}, {point[1]:9.6f}) = {height:.3e}")
    if np.abs(slope).max() < 1e-10:
        break
    point = point - np.linalg.solve(curvature, slope)
