"""Einsum: parsed like NumPy's, contracted in the cheapest order by matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, describe
from symgraph.core.op import function, o
from symgraph.dims.dim import broadcast
from symgraph.ops.base import as_nodes
from symgraph.ops.contract_order import einsum_order
from symgraph.ops.shape import product

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@function
def einsum(subscripts: str, *operands: Any) -> Node:
    """Return the sum of products that `subscripts` describe, e.g. "bij,bjk->bik".

    As in NumPy: a letter per axis, `...` for axes that broadcast, a letter twice in one operand for
    its diagonal, and without `->` the letters that occur once, in alphabetical order. Of up to
    eight operands the order with the fewest multiplications is taken. ValueError where the text
    makes no sense, ShapeError where sizes differ.
    """
    nodes = as_nodes(operands)
    terms, output = parse(subscripts, [x.ndim for x in nodes])
    sizes = _sizes(subscripts, terms, nodes)
    parts = [_prepared(x, term, sizes) for x, term in zip(nodes, terms, strict=True)]
    terms = [term for _, term in parts]
    parts = [
        _summed(x, term, _others(terms, k) | set(output)) for k, (x, term) in enumerate(parts)
    ]
    _, order = einsum_order([term for _, term in parts], output, sizes)
    value, letters = _contracted(parts, order, output)
    return o.permute_dims(value, [letters.index(c) for c in output]) if output else value


def parse(subscripts: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Return a letter per axis for each operand and for the result; raises ValueError."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"einsum {subscripts!r} names {len(terms)} operands, got {len(ranks)}")
    free = [c for c in LETTERS if c not in text]
    rank_of_dots = [n - len(t.replace("...", "")) for t, n in zip(terms, ranks, strict=True)]
    dots = max([n for t, n in zip(terms, rank_of_dots, strict=True) if "..." in t], default=0)
    letters = "".join(free[: max(dots, 0)])
    full = []
    for k, (term, count) in enumerate(zip(terms, rank_of_dots, strict=True)):
        if count < 0 or (count and "..." not in term):
            raise ValueError(
                f"einsum {subscripts!r}: {term!r} does not fit operand {k} with {ranks[k]} axes"
            )
        full.append(term.replace("...", letters[len(letters) - count :]))
    if arrow:
        output = right.replace("...", letters)
        if letters and "..." not in right:
            raise ValueError(f"einsum {subscripts!r}: the result must have the axes of `...` too")
    else:
        named = sorted(set("".join(full)) - set(letters))
        output = letters + "".join(c for c in named if "".join(full).count(c) == 1)
    _check_letters(subscripts, full, output)
    return full, output


def _check_letters(subscripts: str, terms: Sequence[str], output: str) -> None:
    known = set("".join(terms))
    for c in (*known, *output):
        if c not in LETTERS:
            raise ValueError(f"einsum {subscripts!r}: {c!r} is no letter")
    if len(set(output)) != len(output):
        raise ValueError(f"einsum {subscripts!r}: a letter occurs twice in the result")
    if set(output) - known:
        raise ValueError(f"einsum {subscripts!r}: the result has a letter that no operand has")


def _sizes(subscripts: str, terms: Sequence[str], nodes: Sequence[Node]) -> dict[str, Any]:
    """Return the length of each letter; 1 broadcasts."""
    sizes: dict[str, Any] = {}
    for term, x in zip(terms, nodes, strict=True):
        for c, n in zip(term, x.type.shape, strict=True):
            try:
                sizes[c] = broadcast(sizes.get(c, 1), n)
            except ValueError:
                raise ShapeError(
                    f"einsum {subscripts!r}: {c!r} has length {sizes[c]} in one operand and {n} in "
                    f"`{describe(x)}` {x.type}, made at {x.source}"
                ) from None
    return sizes


def _others(terms: Sequence[str], k: int) -> set[str]:
    return set("".join(t for j, t in enumerate(terms) if j != k))


def _prepared(x: Node, term: str, sizes: dict[str, Any]) -> tuple[Node, str]:
    """Take diagonals, and drop axes of length 1 that broadcast."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            first = term.index(c)
            second = term.index(c, first + 1)
            x = o.diagonal(o.moveaxis(o.moveaxis(x, second, -1), first, -2))
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + c
    ones = [
        k for k, c in enumerate(term) if _is_one(x.type.shape[k]) and not _is_one(sizes[c])
    ]
    if ones:
        x = o.squeeze(x, tuple(ones))
        term = "".join(c for k, c in enumerate(term) if k not in ones)
    return x, term


def _summed(x: Node, term: str, needed: set[str]) -> tuple[Node, str]:
    """Sum over the axes that nothing else has."""
    alone = [k for k, c in enumerate(term) if c not in needed]
    if alone:
        x = o.sum(x, tuple(alone), x.dtype)
        term = "".join(c for k, c in enumerate(term) if k not in alone)
    return x, term


def _contracted(
    parts: Sequence[tuple[Node, str]], order: Any, needed: str
) -> tuple[Node, str]:
    """Return the product of operands in the given order; letters not in `needed` are summed."""
    if isinstance(order, int):
        return parts[order]
    left, right = (
        _contracted(parts, part, needed + "".join(parts[k][1] for k in _operands(other)))
        for part, other in (order, order[::-1])
    )
    return _pair(left, right, set(needed))


def _operands(order: Any) -> list[int]:
    return [order] if isinstance(order, int) else [k for part in order for k in _operands(part)]


def _pair(left: tuple[Node, str], right: tuple[Node, str], keep: set[str]) -> tuple[Node, str]:
    """Contract two operands by one (batched) matrix product."""
    (x, a), (y, b) = left, right
    summed = [c for c in a if c in b and c not in keep]
    batch = [c for c in a if c in b and c in keep]
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    letters = "".join((*batch, *rows, *columns))
    length = {c: n for t, z in ((a, x), (b, y)) for c, n in zip(t, z.type.shape, strict=True)}
    shape = [length[c] for c in letters]
    if not summed:
        x, y = _ordered(x, a, batch + rows), _ordered(y, b, batch + columns)
        x = o.expand_dims(x, tuple(range(x.ndim, len(letters)))) if columns else x
        first = len(batch)
        y = o.expand_dims(y, tuple(range(first, first + len(rows)))) if rows else y
        return o.mul(x, y), letters
    lead = [length[c] for c in batch]
    m, n, k = (product([length[c] for c in group]) for group in (rows, columns, summed))
    p = o.reshape(_ordered(x, a, batch + rows + summed), (*lead, m, k))
    q = o.reshape(_ordered(y, b, batch + summed + columns), (*lead, k, n))
    return o.reshape(o.matmul(p, q), shape), letters


def _ordered(x: Node, letters: str, wanted: Sequence[str]) -> Node:
    axes = [letters.index(c) for c in wanted]
    return x if axes == list(range(len(axes))) else o.permute_dims(x, axes)


def _is_one(n: Any) -> bool:
    return isinstance(n, int) and n == 1
