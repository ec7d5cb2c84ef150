"""Every rewrite rule against its generated checks, and the suite against rules that are wrong."""

from __future__ import annotations

import dataclasses

import pytest

from symgraph.core.pattern import Rule, p
from symgraph.testing.rule_suite import all_rules, failures


@pytest.mark.parametrize("found", all_rules(), ids=lambda r: r.name)
def test_rule(found: Rule) -> None:
    wrong = failures(found)
    assert not wrong, f"{len(wrong)} failures, the first ones:\n" + "\n".join(wrong[:3])
