"""Probabilities and logits that a draw is given as variables, checked when the function runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.node import Node, describe
from symgraph.core.op import register
from symgraph.ops.control import Identity

WORDS = {
    "chance": "between 0 and 1",
    "weight": "at least 0",
    "total": "above 0 in sum, and finite",
    "logit": "numbers, not NaN",
}


@register
class Chance(Identity):
    """Draws of truth values and of places have no value that says that there is none.

    `draw` is the function of the user, `parameter` its argument; `kind` is one of WORDS.
    """

    name, doc = "chance", "The identity; a number that is no probability (logit) is an error."
    params = ("draw", "parameter", "kind")
    dtypes = "float"
    view = False
    permutes = False
    partials = staticmethod(lambda o, node: (1,))

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for kind in WORDS:
            x = rng.uniform(0.05, 0.1, size=(3, 4)).astype(dtype.numpy)
            yield (x,), {"draw": "choice", "parameter": "p", "kind": kind}

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        x = arrays[0]
        inside = {
            "chance": (x >= 0) & (x <= 1),
            "weight": x >= 0,
            "total": (x > 0) & (x < np.inf),
            "logit": ~np.isnan(x),
        }[node.params.kind]
        if not np.all(inside):
            raise self.refusal(node)
        return x

    def checks(self, low: Any, node: Node) -> None:
        """Stop with an error where a number is outside."""
        s = low.s

        def outside(x: Any) -> Any:
            inside = {
                "chance": (x >= 0.0) & (x <= 1.0),
                "weight": x >= 0.0,
                "total": (x > 0.0) & (x < np.inf),
                "logit": s.eq(x, x),
            }[node.params.kind]
            return s.unary("not", inside)

        low.check_values(node, node.inputs[0], outside)

    def refusal(self, node: Node) -> ValueError:
        """Return the error."""
        x, (draw, parameter, kind) = node.inputs[0], node.params
        return ValueError(
            f"{draw}: `{parameter}` must be {WORDS[kind]}\n"
            f"  input:  `{describe(x)}` {x.type}\n"
            f"  node:   made at {node.source}\n"
            "  mend:   sg.clip or sg.where keep numbers inside; mode='nan' finds where NaN began"
        )
