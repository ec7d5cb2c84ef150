"""Graph rewriting: the rules, the order of their phases, and `optimise`, which runs them all.

No numbers and no tags: `PHASES` is the order, and inside a phase rules are tried in the order in
which their files are imported here and stand in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import symgraph.ops  # noqa: F401 - rules name ops
from symgraph.core.config import config
from symgraph.core.node import Node
from symgraph.core.pattern import RULES, Rule
from symgraph.core.rewrite import Report, Table, rewrite
from symgraph.rewrites import (  # noqa: F401 - imported for their rules
    algebra,
    arithmetic,
    broadcasts,
    centred,
    constants,
    contract,
    diagonal,
    divisors,
    indexing,
    late,
    linalg,
    logic,
    matrix,
    reductions,
    rows,
    shapes,
    stable,
    stable_gradients,
    views,
)

PHASES = ("canonical", "stable", "shape", "algebra", "linalg", "contract", "late")


def tables() -> dict[str, list[Rule]]:
    """Return the rules of each phase, phases and rules in the order in which they run."""
    found: dict[str, list[Rule]] = {phase: [] for phase in PHASES}
    for r in RULES.values():
        found[r.phase].append(r)
    return found


@cache
def phase_tables(numerics: str, phases: tuple[str, ...] = PHASES) -> tuple[Table, ...]:
    """Return the indexed tables of the given phases; patterns are compiled at first need."""
    rules = tables()
    return tuple(Table(phase, rules[phase], numerics) for phase in phases)


def optimise(
    outputs: Sequence[Node], numerics: str | None = None, report: Report | None = None
) -> list[Node]:
    """Return outputs of the same types and values that cost less to compute.

    `numerics` is "strict" (same bits), "default" or "fast"; None takes `config.numerics`. With a
    `report`, every rule's tries, fires and seconds are counted. The result is a fixed point:
    `optimise(optimise(x))` is `optimise(x)`, node for node.
    """
    return rewrite(outputs, phase_tables(numerics or config.numerics), report)
