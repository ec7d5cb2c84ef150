"""The order of matrix chains: (A @ B) @ C or A @ (B @ C), by the number of operations."""

from __future__ import annotations

from collections.abc import Callable

from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.core.pattern import rewrite_rule

GAIN = 2.0  # the flops must fall by more than this factor
LONGEST = 24  # factors; the search is cubic


def _example() -> list[Node]:
    def x(*shape: int) -> Node:
        return new_input("float32", shape, "x")

    return [
        o.matmul(o.matmul(x(30, 40), x(40, 50)), x(50, 1)),
        o.matmul(x(1, 20), o.matmul(x(20, 30), o.matmul(x(30, 40), x(40, 50)))),
    ]


@rewrite_rule(
    phase="contract", numeric="reorder", roots=("matmul",), children=("matmul",), uses=True,
    example=_example,
)  # fmt: skip
def order_matrix_chain(node: Node, uses: Callable[[Node], int]) -> Node | None:
    """A chain of matrix products -> the same chain in the cheapest order, if that is > 2 x cheaper.

    Only products that nobody else uses and whose sizes are known are regrouped.
    """
    factors = _chain(node, uses)
    if not 3 <= len(factors) <= LONGEST:
        return None
    sizes = [factors[0].type.shape[0], *(f.type.shape[1] for f in factors)]
    best, split = _cheapest(sizes)
    if best * GAIN >= _cost(node, factors):
        return None
    return _product(node, factors, split, 0, len(factors) - 1)


def _chain(node: Node, uses: Callable[[Node], int]) -> list[Node]:
    """Return the factors of nested products, left to right; [] where one is not a plain matrix."""
    factors: list[Node] = []
    stack = [node]
    while stack:
        x = stack.pop()
        if x.ndim != 2 or not x.type.is_static:
            return []
        if x.op is node.op and (x is node or uses(x) == 1):
            stack.extend((x.inputs[1], x.inputs[0]))
        else:
            factors.append(x)
    return factors


def _cost(node: Node, factors: list[Node]) -> int:
    """Return the multiplications of the chain as it is grouped now."""
    kept = set(factors)
    total, stack = 0, [node]
    while stack:
        x = stack.pop()
        if x not in kept:
            m, k = x.inputs[0].type.shape
            total += m * k * x.type.shape[1]
            stack.extend(x.inputs)
    return total


def _cheapest(sizes: list[int]) -> tuple[int, dict[tuple[int, int], int]]:
    """Return the least multiplications of a chain and where each part is split (Godbole 1973)."""
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    split: dict[tuple[int, int], int] = {}
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            choices = [
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            ]
            cost[i, j], split[i, j] = min(choices)
    return cost[0, n - 1], split


def _product(
    node: Node, factors: list[Node], split: dict[tuple[int, int], int], i: int, j: int
) -> Node:
    """Return the product of factors i ... j (at most LONGEST deep)."""
    if i == j:
        return factors[i]
    k = split[i, j]
    return node.op(
        _product(node, factors, split, i, k), _product(node, factors, split, k + 1, j)
    )
