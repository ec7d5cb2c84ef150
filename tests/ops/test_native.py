"""Every op compiled to native code agrees with its NumPy reference, exact and generic versions."""

import pytest

from symgraph.core.config import config
from symgraph.core.op import ops
from symgraph.testing.native_suite import native_failures

SAMPLE = 4  # cases per dtype of an op with long code


@pytest.mark.parametrize("name", sorted(ops))
def test_native_code_agrees_with_numpy(name, full):
    with config.override(verify=True):
        assert native_failures(ops[name], most=None if full else SAMPLE) == []


@pytest.mark.parametrize("name", sorted(ops))
def test_generic_version_agrees_with_numpy(name, full):
    most = None if full else SAMPLE
    with config.override(verify=True):
        assert native_failures(ops[name], gradients=False, generic=True, most=most) == []
