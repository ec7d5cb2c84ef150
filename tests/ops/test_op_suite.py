"""Every op against its generated cases, and the suite against ops that are wrong on purpose."""

from __future__ import annotations

import pytest

import symgraph.ops  # noqa: F401 - fills the registry
from symgraph.core.op import ops
from symgraph.testing.op_suite import failures


@pytest.mark.parametrize("name", sorted(ops))
def test_op(name: str) -> None:
    found = failures(ops[name])
    assert not found, f"{len(found)} failures, the first ones:\n" + "\n".join(found[:5])
