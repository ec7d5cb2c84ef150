"""Every rewrite rule against its generated checks, and the checks against rules that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.core.pattern import Rule, p
from symgraph.testing.rule_suite import all_rules, failures


@pytest.mark.parametrize("found", all_rules(), ids=lambda r: r.name)
def test_rule(found: Rule) -> None:
    wrong = failures(found)
    assert not wrong, f"{len(wrong)} failures, the first ones:\n" + "\n".join(wrong[:3])


def _rule(f: Callable[..., Any], numeric: str, **more: Any) -> Rule:
    """Make a rule that is not entered in the registry."""
    return Rule(f.__name__, "canonical", numeric, "doc", f, True, **more)


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    # claims to be exact, but loses the sign of zero
    "sign_of_zero": (lambda x: (x + 0, x), "exact"),
    "wrong_value": (lambda x, y: (x - (-y), x - y), "exact"),
    "reassociated": (lambda x, y, z: ((x + y) + z, x + (y + z)), "exact"),
    # NaN in must give NaN out
    "lost_nan": (lambda x: (p.log(p.exp(x)), p.relu(x) - p.relu(-x) * 0 - p.relu(-x)), "exact"),
    # overflows where the left side does not
    "unstable": (lambda x: (p.softplus(x), p.log(p.exp(x) + 1)), "stable"),
    "coarse": (lambda x: (p.expm1(x), p.exp(x) - 1), "stable"),
    "far_off": (lambda x: (p.power(x, 2), x * x * 1.000001), "ulp(4)"),
    "never_fires": (lambda x: (p.matmul(p.exp(x), p.exp(x)), x), "exact"),
    "grows": (lambda x: (p.exp(x), p.exp(x + 0) * 1), "exact"),
    "another_type": (lambda x, y: (p.lt(x, y), x), "exact"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rule_is_reported(name: str) -> None:
    f, numeric = WRONG[name]
    assert failures(_rule(f, numeric)), f"the suite lets the rule {name} pass"


def test_wrong_derivative_is_reported() -> None:
    x = new_input("float64", (3,), "x")
    marked = Rule(
        "marker", "late", "exact", "doc", lambda n: n.inputs[0], False,
        roots=("stop_gradient",), example=lambda: [o.stop_gradient(x)],
    )  # fmt: skip
    assert any("derivatives differ" in text for text in failures(marked))


def test_every_phase_has_rules() -> None:
    names: set[str] = {r.phase for r in all_rules()}
    assert names == {"canonical", "stable", "shape", "algebra", "linalg", "contract", "late"}
    assert all(isinstance(n, Node) for r in all_rules() if r.example for n in r.example())
