"""Random variables: streams of Philox draws that fuse into the functions that use them."""

from __future__ import annotations

from symgraph.random.arrangements import Arrangements
from symgraph.random.continuous import Continuous
from symgraph.random.discrete import Discrete

__all__ = ["RandomStream"]


class RandomStream(Continuous, Discrete, Arrangements):
    """A source of independent random arrays, reproducible from `seed`.

    Each draw is a node with a counter of its own, a shared variable that functions advance by
    default: within one call all uses of a draw see the same numbers, the next call sees new ones.
    Bits are Philox4x32-10 of (element, call) under the key (seed, number of the draw), so they do
    not depend on fusion or threads. Distribution parameters are numbers or variables and broadcast;
    `shape` defaults to their common shape. Numbers outside of what a distribution allows raise
    ValueError; a variable outside gives NaN, or -1 for a count (a negative scale mirrors the
    distribution). Derivatives flow through location and scale, and through
    the shape parameters of gamma, beta, Dirichlet, Student and truncated normal draws.

    >>> rng = sg.random.RandomStream(0)
    >>> f = sg.function([], rng.uniform((2, 3)))
    >>> f().shape
    (2, 3)
    """
