"""Random orders and choices from a list."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.dtype import FLOAT64
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node
from symgraph.core.op import normal_axis, o
from symgraph.random.domain import in_call, require_weights
from symgraph.random.source import Source, as_shape


class Arrangements(Source):
    """Permutations, shuffles, choices."""

    def permutation(self, n: Any) -> Node:
        """Return the numbers 0 ... n - 1 in random order (int64), or the rows of an array so.

        The order of 53-bit random keys; equal keys (once in 2**53 / n**2) keep their order.
        """
        if isinstance(n, (Node, np.ndarray, list, tuple)) and as_node(n).ndim > 0:
            return self.shuffle(n)
        if isinstance(n, int) and n < 0:
            raise ValueError(f"permutation: `n` must be at least 0, got {n}")
        return o.argsort(self._unit((o.as_size(n),), FLOAT64), -1)

    def shuffle(self, x: Any, axis: int = 0) -> Node:
        """Return x with its slices along `axis` in random order."""
        node = as_node(x)
        length = node.type.shape[normal_axis(axis, node.ndim)]
        return o.take(node, self.permutation(length), axis)

    def choice(self, a: Any, shape: Any = (), replace: bool = True, p: Any = None) -> Node:
        """Return random elements of `a` (an array, by its first axis; or a number n: of 0 ... n-1).

        p: probabilities of the elements, divided by their sum; None: all the same. Without
        replacement, elements are drawn one after the other, each with `p` among those left (the
        largest of log p + Gumbel numbers). Raises ValueError for more draws than elements, and for
        known `p` that are negative or too few.
        """
        pool = None if isinstance(a, int) else as_node(a)
        size = o.as_size(a if pool is None or pool.ndim == 0 else pool.type.shape[0])
        sizes = as_shape(shape)
        if isinstance(size, int) and size <= 0 and 0 not in sizes:
            raise ValueError(f"choice from {size} elements: there must be at least one")
        if p is not None:
            p = self._weights(p, size)
        draw = self._with_replacement if replace else self._without_replacement
        index = draw(size, sizes, p)
        return index if pool is None or pool.ndim == 0 else o.take(pool, index, 0)

    def _weights(self, p: Any, n: Any) -> Node:
        """Return the probabilities of n elements as float64 numbers."""
        require_weights("choice", p)
        weights = in_call(o.cast(as_node(p, (FLOAT64,)), FLOAT64), "choice", "p", "weight")
        m = weights.type.shape[0] if weights.ndim == 1 else None
        if m is None or (isinstance(m, int) and m != n and (m == 1 or isinstance(n, int))):
            raise ShapeError(f"choice: `p` must have {n} numbers, it is {weights.type}")
        return o.broadcast_to(weights, (n,))

    def _with_replacement(self, n: Any, sizes: tuple[Any, ...], p: Any) -> Node:
        u = self._unit(sizes, FLOAT64)
        if p is None:
            index = o.floor(u * o.cast(as_node(n), FLOAT64))
            return o.cast(index, "int64")
        edges = o.cumsum(p, 0)
        total = in_call(edges[-1], "choice", "p", "total")
        # the last edge times u < 1 lies below the last edge
        return o.cast(o.searchsorted(edges, u * total, side="right"), "int64")

    def _without_replacement(self, n: Any, sizes: tuple[Any, ...], p: Any) -> Node:
        count: Any = 1
        for k in sizes:
            count = count * k
        if isinstance(count, int) and isinstance(n, int) and count > n:
            raise ValueError(f"choice without replacement of {count} from {n} elements")
        e = -o.log1p(-self._unit((n,), FLOAT64))
        if p is not None:
            # exponential numbers of rate p: the order in which the elements are drawn
            require_weights("choice without replacement", p, count)
            e = e / p
        return o.reshape(o.slice_axis(o.argsort(e, -1), 0, 0, count), sizes)
