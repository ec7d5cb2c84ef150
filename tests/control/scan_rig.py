"""What the tests of loops share."""

from __future__ import annotations

from typing import Any

import numpy as np


def close(a: Any, b: Any, bound: float = 1e-9) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=bound, atol=bound)
