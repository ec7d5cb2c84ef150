"""The diagonal of a matrix that is inverted or factored, checked as LAPACK would check it."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.errors import LinAlgError
from symgraph.core.node import Node, describe
from symgraph.core.op import register
from symgraph.ops.control import Identity


@register
class Pivots(Identity):
    """Rewrites of diagonal matrices put it where a solver or a factorization would have failed.

    `what` is the function of the user; `positive` asks for positive numbers, else for non-zero
    ones.
    """

    name, doc = "pivots", "The identity; an element that makes a diagonal matrix fail is an error."
    params = ("what", "positive")
    dtypes = "float"
    view = False
    permutes = False
    partials = staticmethod(lambda o, node: (1,))

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for positive in (False, True):
            x = rng.uniform(1.0, 2.0, size=(3, 4)).astype(dtype.numpy)
            yield (x,), {"what": "inv", "positive": positive}

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x = arrays[0]
        if (~(x > 0) if node.params.positive else x == 0).any():
            raise self.refusal(node)
        return x

    def checks(self, low: Any, node: Node) -> None:
        """Stop with an error where an element makes the matrix singular or indefinite."""
        low.check_pivots(node, node.inputs[0], node.params.positive)

    def refusal(self, node: Node) -> LinAlgError:
        """Return the error."""
        if node.params.positive:
            fault, mend = "is not positive definite", "add a small multiple of the identity"
        else:
            fault, mend = "is singular", "use sg.linalg.pinv or sg.linalg.lstsq"
        return LinAlgError(
            f"{node.params.what}: a diagonal matrix {fault}\n"
            f"  input:  its diagonal `{describe(node.inputs[0])}` {node.inputs[0].type}\n"
            f"  node:   made at {node.source}\n"
            f"  mend:   {mend}"
        )
