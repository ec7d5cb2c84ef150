"""bfloat16 by integer shifts: the upper half of a float32.

Nodes of type bfloat16 are replaced by float32 nodes that are rounded after each operation
(rewrites/bfloat16.py); the ops here turn stored bits into numbers and back. Graphs have them only
after that, so none has a derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import BFLOAT16, FLOAT32, INT32, UINT16, DType
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import Op
from symgraph.core.types import TensorType
from symgraph.ops.base import Elementwise


class Bits(Op):
    """Base of the two views of the same memory."""

    result: DType

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_dtype(self.result)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(arrays[0]).view(self.result.numpy).reshape(arrays[0].shape)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self(*inputs), axes[0]


class AsBits(Bits):
    name, doc, result = "as_bits", "The bits of bfloat16 numbers: the same memory.", UINT16


class FromBits(Bits):
    name, doc, result = "from_bits", "bfloat16 numbers from their bits: the same memory.", BFLOAT16


class Step(Elementwise):
    """Base of the conversions between bits and float32."""

    result: DType
    reference: Callable[..., np.ndarray]

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_dtype(self.result)


def _np_rounded(x: np.ndarray) -> np.ndarray:
    bits = np.asarray(x, np.float32).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    near = (bits + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, near.view(np.float32))


def _rounded(s: Any, x: Any) -> Any:
    """Half to even: add just less than half a unit, and one more where the last bit is odd."""
    bits = s.bitcast(x, INT32)
    near = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
    return s.select(s.isnan(x), x, s.bitcast(near, FLOAT32))


class Rounded(Step):
    name, doc, result = "bfloat16_rounded", "float32 rounded to bfloat16.", FLOAT32
    reference = staticmethod(_np_rounded)
    scalar = staticmethod(_rounded)


class Decoded(Step):
    name, doc, result = "bfloat16_decoded", "The float32 of bfloat16 bits.", FLOAT32
    reference = staticmethod(lambda b: (b.astype(np.uint32) << np.uint32(16)).view(np.float32))
    scalar = staticmethod(lambda s, b: s.bitcast(s.cast(b, INT32) << 16, FLOAT32))


class Encoded(Step):
    """The quiet bit is set, so that the payload of a NaN in the lower half cannot be lost."""

    name, doc, result = "bfloat16_encoded", "The bits of a float32 rounded to bfloat16.", UINT16
    reference = staticmethod(
        lambda x: (
            (np.asarray(x, np.float32).view(np.uint32) >> np.uint32(16))
            | (np.isnan(x) * np.uint32(0x40))
        ).astype(np.uint16)
    )

    @staticmethod
    def scalar(s: Any, x: Any) -> Any:
        bits = s.bitcast(x, INT32) >> 16
        quiet = s.select(s.isnan(x), s.const(0x40, INT32), s.const(0, INT32))
        return s.cast(bits | quiet, UINT16)


AS_BITS = AsBits.instance = AsBits()
FROM_BITS = FromBits.instance = FromBits()
ROUNDED = Rounded.instance = Rounded()
DECODED = Decoded.instance = Decoded()
ENCODED = Encoded.instance = Encoded()
