"""What the operations of the loop IR cost, for predictions of time.

Made by `python -m symgraph.debug.op_costs` on a core with AVX2 (Zen 3). The unit is one float32
operation at the rate of a matrix product, so that a machine's rate turns a cost into a time. Costs
are of one element of a vector loop; a loop that waits for its own results has the last ones.
"""

from __future__ import annotations

from symgraph.core.dtype import DType
from symgraph.loops.expr import Expr

# operation: (in float32, in float64)
MEASURED: dict[str, tuple[int, int]] = {
    "acos": (57, 187),
    "acosh": (95, 231),
    "asin": (44, 151),
    "asinh": (118, 352),
    "atan": (56, 261),
    "atanh": (119, 371),
    "cbrt": (100, 207),
    "cos": (38, 113),
    "cosh": (35, 107),
    "erf": (87, 490),
    "erfc": (264, 473),
    "exp": (29, 116),
    "exp2": (31, 112),
    "expm1": (35, 103),
    "log": (62, 174),
    "log10": (88, 222),
    "log1p": (71, 162),
    "log2": (82, 200),
    "sigmoid": (48, 148),
    "sin": (50, 121),
    "sinh": (63, 170),
    "softplus": (91, 261),
    "tan": (70, 228),
    "tanh": (57, 238),
    "atan2": (71, 251),
    "pow": (189, 501),
    "div": (11, 28),
    "sqrt": (14, 54),
    "rem": (214, 233),
}
INTEGER_DIVISION = 170
SIMPLE = 2  # an addition takes the place of a multiply-add, which counts as two operations
GATHERED = 32  # a load at a position that data give
IN_ORDER = 64  # an element of a running sum: the next one waits for it, in no vector
SCATTERED = 64  # a store at a position that data give, one after the other
FREE = {"load", "const", "axis", "affine", "reduce", "ifloordiv", "imod", "as_value", "previous"}


def cost_of(e: Expr) -> int:
    """Return the cost of one operation, what it works on not counted."""
    if e.op in FREE:
        return 0
    if e.op == "as_index":
        return GATHERED
    if e.op in ("div", "rem") and not e.dtype.is_float:
        return INTEGER_DIVISION
    known = MEASURED.get(e.op)
    if known is not None:
        return known[e.dtype.bits == 64]
    return simple(e.dtype)


def simple(dtype: DType) -> int:
    """Return the cost of an addition: a vector holds fewer of the wider elements."""
    return SIMPLE * max(4, dtype.itemsize) // 4
