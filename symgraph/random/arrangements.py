"""Random orders and choices from a list."""

from __future__ import annotations

from typing import Any

from symgraph.core.dtype import FLOAT64
from symgraph.core.node import Node, as_node
from symgraph.core.op import o
from symgraph.random.source import Source, as_shape


class Arrangements(Source):
    """Permutations, shuffles, choices."""

    def permutation(self, n: Any) -> Node:
        """Return the numbers 0 ... n - 1 in random order (int64), or the rows of an array so.

        The order of 53-bit random keys; equal keys (once in 2**53 / n**2) keep their order.
        """
        if isinstance(n, Node) and n.ndim > 0:
            return self.shuffle(n)
        return o.argsort(self._unit((o.as_size(n),), FLOAT64), -1)

    def shuffle(self, x: Any, axis: int = 0) -> Node:
        """Return x with its slices along `axis` in random order."""
        node = as_node(x)
        return o.take(node, self.permutation(node.type.shape[axis]), axis)

    def choice(self, a: Any, shape: Any = (), replace: bool = True, p: Any = None) -> Node:
        """Return random elements of `a` (an array, by its first axis; or a number n: of 0 ... n-1).

        p: probabilities of the elements, divided by their sum; None: all the same. Without
        replacement, elements are drawn one after the other, each with `p` among those left (the
        largest of log p + Gumbel numbers). Raises ValueError for more draws than elements.
        """
        pool = None if isinstance(a, int) else as_node(a)
        size = a if pool is None or pool.ndim == 0 else pool.type.shape[0]
        sizes = as_shape(shape)
        if replace:
            index = self._with_replacement(o.as_size(size), sizes, p)
        else:
            index = self._without_replacement(o.as_size(size), sizes, p)
        return index if pool is None or pool.ndim == 0 else o.take(pool, index, 0)

    def _with_replacement(self, n: Any, sizes: tuple[Any, ...], p: Any) -> Node:
        u = self._unit(sizes, FLOAT64)
        if p is None:
            index = o.floor(u * o.cast(as_node(n), FLOAT64))
            return o.cast(index, "int64")
        edges = o.cumsum(o.cast(as_node(p, (FLOAT64,)), FLOAT64), 0)
        # the last edge times u < 1 lies below the last edge
        return o.cast(o.searchsorted(edges, u * edges[-1], side="right"), "int64")

    def _without_replacement(self, n: Any, sizes: tuple[Any, ...], p: Any) -> Node:
        count: Any = 1
        for k in sizes:
            count = count * k
        if isinstance(count, int) and isinstance(n, int) and count > n:
            raise ValueError(f"choice without replacement of {count} from {n} elements")
        e = -o.log1p(-self._unit((n,), FLOAT64))
        if p is not None:
            # exponential numbers of rate p: the order in which the elements are drawn
            e = e / o.cast(as_node(p, (FLOAT64,)), FLOAT64)
        return o.reshape(o.slice_axis(o.argsort(e, -1), 0, 0, count), sizes)
