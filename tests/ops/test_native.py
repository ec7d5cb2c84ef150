"""Every op compiled to native code agrees with its NumPy reference, exact and generic versions."""

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.config import config
from symgraph.core.op import ops
from symgraph.ops import load_all
from symgraph.testing.native_suite import native_failures

load_all()  # the tests are named after what is registered by now

SAMPLE = 2  # cases per dtype of an op with long code


@pytest.mark.parametrize("name", sorted(ops))
def test_native_code_agrees_with_numpy(name, full):
    with config.override(verify=True):
        assert native_failures(ops[name], most=None if full else SAMPLE) == []


@pytest.mark.parametrize("name", sorted(ops))
def test_generic_version_agrees_with_numpy(name, full):
    most = None if full else SAMPLE
    with config.override(verify=True):
        assert native_failures(ops[name], gradients=False, generic=True, most=most) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("constant", [0.0, -0.0, 1.5, -np.inf, np.inf, np.nan])
def test_extrema_with_a_constant_keep_nan(constant, dtype):
    x = np.array([np.nan, -np.inf, np.inf, -0.0, 0.0, 1.0, 1.5, 2.0, -3.0] * 3, dtype)
    v = sg.vector("v", dtype)
    c = sg.as_tensor(np.array(constant, dtype))
    for ours, numpys in ((sg.maximum, np.maximum), (sg.minimum, np.minimum)):
        first, second = sg.function([v], [ours(v, c), ours(c, v)])(x)
        np.testing.assert_array_equal(first, numpys(x, np.dtype(dtype).type(constant)))
        np.testing.assert_array_equal(second, numpys(np.dtype(dtype).type(constant), x))
