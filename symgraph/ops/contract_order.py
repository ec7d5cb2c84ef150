"""The cheapest order of products: of a chain of matrices, and of the operands of an einsum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

UNKNOWN = 64  # what a size that is not known counts as
MOST_OPERANDS = 8  # up to which all orders are looked at

Order = Any  # the number of an operand, or a pair of orders


def chain_order(sizes: Sequence[Any]) -> tuple[int, Order]:
    """Return (multiply-adds, order) of the cheapest product of matrices sizes[k] x sizes[k + 1]."""
    n = [_known(s) for s in sizes]
    best: dict[tuple[int, int], tuple[int, Order]] = {}
    count = len(n) - 1
    for length in range(1, count + 1):
        for i in range(count - length + 1):
            j = i + length
            if length == 1:
                best[i, j] = 0, i
                continue
            found = []
            for k in range(i + 1, j):
                (left, a), (right, b) = best[i, k], best[k, j]
                found.append((left + right + n[i] * n[k] * n[j], -k, (a, b)))
            cost, _, order = min(found, key=lambda f: f[:2])
            best[i, j] = cost, order
    return best[0, count]


def einsum_order(
    terms: Sequence[str], output: str, sizes: Mapping[str, Any]
) -> tuple[int, Order]:
    """Return (multiply-adds, order) for operands with one letter per axis.

    All orders of up to `MOST_OPERANDS` operands are looked at (subsets, 3^n steps); for more, the
    cheapest pair is contracted first.
    """
    known = {c: _known(s) for c, s in sizes.items()}
    if len(terms) > MOST_OPERANDS:
        return _greedy(terms, output, known)
    full = (1 << len(terms)) - 1
    kept = [_kept(terms, output, mask) for mask in range(full + 1)]
    best: dict[int, tuple[int, Order]] = {1 << k: (0, k) for k in range(len(terms))}
    for count in range(2, len(terms) + 1):
        for members in combinations(range(len(terms)), count):
            mask = sum(1 << k for k in members)
            found: tuple[int, Order] | None = None
            part = (mask - 1) & mask
            while part:
                rest = mask ^ part
                if part > rest:  # each split once
                    cost = best[part][0] + best[rest][0] + _volume(kept[part] | kept[rest], known)
                    if found is None or cost < found[0]:
                        found = cost, (best[rest][1], best[part][1])
                part = (part - 1) & mask
            assert found is not None
            best[mask] = found
    return best[full]


def _greedy(
    terms: Sequence[str], output: str, known: Mapping[str, int]
) -> tuple[int, Order]:
    left: list[tuple[int, Order]] = [(1 << k, k) for k in range(len(terms))]
    total = 0
    while len(left) > 1:
        costs = []
        for i, j in combinations(range(len(left)), 2):
            letters = _kept(terms, output, left[i][0]) | _kept(terms, output, left[j][0])
            costs.append((_volume(letters, known), i, j))
        cost, i, j = min(costs)
        total += cost
        right = left.pop(j)
        left[i] = left[i][0] | right[0], (left[i][1], right[1])
    return total, left[0][1]


def _kept(terms: Sequence[str], output: str, mask: int) -> set[str]:
    """Return the letters that the product of some operands still has: those needed elsewhere."""
    inside: set[str] = set()
    outside = set(output)
    for k, term in enumerate(terms):
        (inside if mask >> k & 1 else outside).update(term)
    return inside & outside if mask & (mask - 1) else inside


def _volume(letters: set[str], known: Mapping[str, int]) -> int:
    n = 1
    for c in letters:
        n *= known[c]
    return n


def _known(size: Any) -> int:
    return size if isinstance(size, int) else UNKNOWN
