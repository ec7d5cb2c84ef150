"""Looking inside: the graph, the report of the compiler, test values, debug mode.

Prints a tree, what was fused into one kernel, and an error that is found while the graph is built.
"""

from __future__ import annotations

import numpy as np

import symgraph as sg

x = sg.matrix("x")
y = sg.log(sg.softmax(x, axis=1)).sum()
sg.dprint(y)

f = sg.function([x], y)
print(f(np.array([[1000.0, 0.0]], "float32")), "is finite: log(softmax(x)) was rewritten")
print(f.explain())

checked = sg.function([x], y, mode="debug")  # every rewrite and kernel is compared with NumPy
print("debug mode agrees:", checked(np.eye(3, dtype="float32")))

a = sg.matrix("a", test_value=np.ones((2, 3), "float32"))
b = sg.matrix("b", test_value=np.ones((2, 3), "float32"))
try:
    a @ b  # found here, on this line, since both have test values
except (sg.ShapeError, ValueError) as error:
    print(f"{type(error).__name__}: {error}")
