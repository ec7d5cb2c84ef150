"""Divisions of whole rows by one number: the reciprocal is taken once for each row."""

from __future__ import annotations

from symgraph.core.node import CONSTANT, Node, new_input
from symgraph.core.op import o
from symgraph.core.pattern import rewrite_rule, ulp

DEPTH = 6
LARGEST = 1e12  # of a constant that may be added to a root, or be a bound of it
_VIEWS = {"expand_dims", "broadcast_to", "reshape", "squeeze", "permute_dims", "slice"}


def moderate(x: Node, depth: int = DEPTH) -> bool:
    """Tell whether 1 / x is an ordinary number wherever x is one other than 0.

    A root is neither so small that its reciprocal overflows nor so large that it underflows. A sum
    of it and a constant is not either, nor a constant bound of it.
    """
    if depth == 0 or x.dtype not in ("float32", "float64"):
        return False
    name = x.op.name
    if name == "sqrt":
        return True
    if name in _VIEWS:
        return moderate(x.inputs[0], depth - 1)
    if name in ("add", "maximum"):
        return any(
            _ordinary(c) and moderate(root, depth - 1) for root, c in (x.inputs, x.inputs[::-1])
        )
    return False


def _ordinary(c: Node) -> bool:
    """Tell whether a constant is a positive number of ordinary size."""
    return c.op is CONSTANT and bool(((c.data >= 1 / LARGEST) & (c.data <= LARGEST)).all())


def repeated(x: Node, node: Node) -> bool:
    """Tell whether each element of an operand is used for many of a node, of whatever size."""
    lead = node.ndim - x.ndim
    pairs = zip(x.type.shape, node.type.shape[lead:], strict=True)
    return lead > 0 or any(_is_one(n) and not _is_one(m) for n, m in pairs)


def _is_one(n: object) -> bool:
    return isinstance(n, int) and n == 1


def _example() -> list[Node]:
    x, y = new_input("float32", (3, 4), "x"), new_input("float32", (3, 1), "y")
    s = new_input("float32", (), "s")
    return [x / o.sqrt(y), x / (o.sqrt(y) + 1e-8), x / o.maximum(o.sqrt(s), 0.5)]


@rewrite_rule(phase="late", numeric=ulp(2), roots=("div",), example=_example)
def div_by_root_of_row(node: Node) -> Node | None:
    """x / sqrt(y) -> x * (1 / sqrt(y)) where y is repeated: a product for each element."""
    x, y = node.inputs
    if not repeated(y, node) or not moderate(y):
        return None
    return o.mul(x, o.reciprocal(y))
