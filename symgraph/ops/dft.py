"""The discrete Fourier transform as an op: linear, its own transpose, and made of short loops.

Lengths of small primes go through the passes of Stockham's algorithm: each pass computes short
transforms ("butterflies") in registers and stores them in the order that the next pass reads, so
that nothing is ever sorted. Other lengths go by tables, or become a convolution (fourier.py).
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from symgraph.core.butterfly import Number, butterfly, rotations, turns, twiddles
from symgraph.core.dtype import FLOAT32
from symgraph.core.errors import ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import CONSTANT, Node, as_node, describe
from symgraph.core.op import Op, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import must_equal
from symgraph.ops.together import STACKED

RADIX = 8  # of a pass; 16 numbers are what the registers hold
PRIMES = (3, 5, 7, 11, 13)
SHORTEST, LONGEST, LONGEST_COLUMN = 16, 1 << 14, 1 << 11  # of the kernel, for its scratch space
FEWEST_COLUMNS = 4  # side by side, for which columns are transformed where they are
PassesParams = namedtuple("PassesParams", "sign scale radixes axis real", defaults=[False])  # noqa: PYI024


@register
class Dft(Op):
    name = "dft"
    doc = "Sums over j of x[j] exp(sign 2 pi i j k / n); x has pairs on the last axis."
    params = ("sign",)
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for n in (1, 2, 3, 4, 8, 11, 12, 16, 30, 37, 64):
            yield ((2, n, 2),), {"sign": -1}
        yield ((32, 2),), {"sign": 1}
        yield ((2, 3, 6, 2),), {"sign": 1}

    dtypes = "float"

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        parts = x.type.shape[-1] if x.ndim > 1 else 1
        if isinstance(parts, int) and parts != 2:
            raise ShapeError(f"dft needs pairs on the last axis, `{describe(x)}` is {x.type}")
        must_equal(parts, 2)
        return x.type.with_shape((*x.type.shape[:-1], 2))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        wide = FLOAT32.numpy if node.dtype.is_half else node.dtype.numpy
        z = np.ascontiguousarray(arrays[0].astype(wide)).view(f"c{2 * wide.itemsize}")[..., 0]
        y = np.fft.fft(z) if node.params.sign < 0 else np.fft.ifft(z, norm="forward")
        return np.stack([y.real, y.imag], -1).astype(node.dtype.numpy)

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return Dft.instance(g, sign=-node.params.sign)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        x, n = node.inputs[0], node.type.shape[-2]
        if node.dtype.is_half:
            return o.cast(Dft.instance(o.cast(x, FLOAT32), sign=node.params.sign), node.dtype)
        if n == 1:
            return x
        found = radices(n)
        if not found:
            return o.dft_by_tables(x, node.params.sign)
        whole = in_cache(o, node)
        return passes(o, x, found, node.params.sign) if whole is None else whole

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self(o.moveaxis(inputs[0], axes[0], 0), sign=node.params.sign), 0


class DftPasses(Op):
    """All passes of a transform along any axis by one kernel, which keeps a row in the cache.

    Inputs: pairs, factors of the passes. scale: what the result is multiplied with. real: n pairs
    are 2 n real numbers, and with sign -1 the result, with sign 1 the operand, the n + 1 pairs of
    their spectrum. Made by expansions, so no derivative is ever taken.
    """

    name, doc = "dft_passes", "A Fourier transform of pairs along one axis, by one kernel."
    params = PassesParams._fields
    Params = PassesParams

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        shape = list(inputs[0].type.shape)
        if params.real:
            shape[params.axis] = prod(params.radixes) + (params.sign < 0)
        return inputs[0].type.with_shape(tuple(shape))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return self.reference(node.params, arrays[0], node.params.axis)

    @staticmethod
    def reference(params: Any, x: np.ndarray, axis: int) -> np.ndarray:
        """Return the transform of pairs along an axis."""
        if params.real:
            rows = np.moveaxis(x, axis, -2)
            result = np.moveaxis(_real_reference(rows, params), -2, axis)
            return np.asarray(result, x.dtype)
        f = np.fft.fft if params.sign < 0 else partial(np.fft.ifft, norm="forward")
        y = f(x[..., 0] + 1j * x[..., 1], axis=axis) * params.scale
        return np.stack([y.real, y.imag], -1).astype(x.dtype)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        params = node.params._replace(axis=node.params.axis + 1)
        return self(o.moveaxis(inputs[0], axes[0], 0), inputs[1], **params._asdict()), 0

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.dft(node, out)


def _real_reference(x: np.ndarray, params: Any) -> np.ndarray:
    if params.sign < 0:
        y = np.fft.rfft(x.reshape(*x.shape[:-2], -1)) * params.scale
        return np.stack([y.real, y.imag], -1)
    flat: np.ndarray = np.fft.irfft(x[..., 0] + 1j * x[..., 1], norm="forward") * params.scale
    return flat.reshape(*x.shape[:-2], -1, 2)


DFT_PASSES = DftPasses.instance = DftPasses()


def in_cache(o: Namespace, node: Node) -> Node | None:
    """Return a `dft` by one kernel, None where it has none for this length or layout.

    Factors of the operand become those of the kernel. An operand whose axes were exchanged only to
    bring that of the transform to its end is taken as it was: columns are transformed in place.
    """
    x, n, sign = node.inputs[0], node.type.shape[-2], node.params.sign
    x, scale, order = _taken_as_it_was(x)
    axis = x.ndim - 2 if order is None else order[-2]
    inner = x.type.shape[axis + 1 : -1]
    columns = int(np.prod(inner)) if all(isinstance(k, int) for k in inner) else 0
    if order is not None and columns < FEWEST_COLUMNS:
        axis, columns, order = x.ndim - 2, 1, None
        x, scale = node.inputs[0], 1.0
    longest = LONGEST if order is None else LONGEST_COLUMN
    if n % 4 or not SHORTEST <= n <= longest:
        return None
    table = as_node(twiddles(n, kernel_radices(n), sign).astype(x.dtype.numpy))
    made = DFT_PASSES(
        x, table, sign=sign, scale=scale, radixes=tuple(kernel_radices(n)), axis=axis
    )
    return made if order is None else o.permute_dims(made, order)


def real_in_cache(x: Node, n: Any, sign: int) -> Node | None:
    """Return the spectrum of n real numbers, or n numbers of a spectrum, by one kernel.

    x: real (..., n) for sign -1; pairs (..., n // 2 + 1, 2) for sign 1. None where no kernel does.
    """
    half = n // 2
    if not isinstance(n, int) or n % 8 or not SHORTEST <= half <= LONGEST or not radices(half):
        return None
    x, scale, _ = _taken_as_it_was(x, exchanged=False)
    radixes = tuple(kernel_radices(half))
    whole = np.concatenate([twiddles(half, radixes, sign), rotations(half, sign)])
    table = as_node(whole.astype(x.dtype.numpy))
    lead = x.type.shape[: x.ndim - (1 if sign < 0 else 2)]
    pairs = o.reshape(x, (*lead, half, 2)) if sign < 0 else x
    made = DFT_PASSES(
        pairs, table, sign=sign, scale=scale, radixes=radixes, axis=len(lead), real=True
    )
    return made if sign < 0 else o.reshape(made, (*lead, n))


def _taken_as_it_was(
    x: Node, exchanged: bool = True
) -> tuple[Node, float, tuple[int, ...] | None]:
    """Return what is below factors and an exchange of axes: (array, factor, order of axes)."""
    scale, order = 1.0, None
    while True:
        if x.op.name == "mul" and (factor := _number(x.inputs[1])) is not None:
            scale, x = scale * factor, x.inputs[0]
        elif x.op.name == "mul" and (factor := _number(x.inputs[0])) is not None:
            scale, x = scale * factor, x.inputs[1]
        elif exchanged and order is None and x.op.name == "permute_dims":
            if not _moves_one(x.params.axes):
                return x, scale, order
            order, x = tuple(x.params.axes), x.inputs[0]
        else:
            return x, scale, order


def _moves_one(order: Sequence[int]) -> bool:
    """Tell whether an order of axes only moves one axis to the end, before that of the pairs."""
    return list(order[:-2]) == sorted(order[:-2]) and order[-1] == len(order) - 1


def _number(x: Node) -> float | None:
    return float(x.data.reshape(())) if x.op is CONSTANT and x.data.size == 1 else None


def kernel_radices(n: int) -> list[int]:
    """Return the radix of each pass of the kernel: short ones, which registers hold."""
    found, twos = [], 0
    while n % 2 == 0:
        n, twos = n // 2, twos + 1
    if twos % 2:
        found, twos = [8], twos - 3
    found += [4] * (twos // 2)
    for p in PRIMES:
        while n % p == 0:
            found.append(p)
            n //= p
    return found


def radices(n: Any) -> list[int]:
    """Return the radix of each pass, () for lengths with other factors."""
    if not isinstance(n, int):
        return []
    found = []
    for p in PRIMES:
        while n % p == 0:
            found.append(p)
            n //= p
    twos = n.bit_length() - 1
    if n != 1 << twos:
        return []
    whole, rest = divmod(twos, 3)
    if rest == 1 and whole:  # 8 * 2 in one pass
        return [*found, *([RADIX] * (whole - 1)), 2 * RADIX]
    return [*found, *([1 << rest] if rest else []), *([RADIX] * whole)]


def passes(o: Namespace, x: Node, radixes: Sequence[int], sign: int) -> Node:
    """Return the transform of pairs (..., n, 2) by one pass per radix.

    Before a pass of radix r the array is (r, m, s), of which r is transformed; after it (m, r, s),
    and m is what is left to do.
    """
    lead, n = x.type.shape[:-2], x.type.shape[-2]
    rank, left, done = len(lead), n, 1
    for r in radixes:
        m = left // r
        if done == 1:
            table = o.reshape(x, (*lead, r, m, done, 2))
            legs = [[_at(o, _at(o, table, -1, c), rank, i) for c in (0, 1)] for i in range(r)]
        else:
            table = o.reshape(x, (2, *lead, r, m, done))
            legs = [[_at(o, _at(o, table, 0, c), rank, i) for c in (0, 1)] for i in range(r)]
        sums = butterfly([(re, im) for re, im in legs], sign)
        if m == 1:
            parts = [o.squeeze(v, rank) for z in sums for v in z]
            return STACKED(*parts, axes=(rank, rank + 2), counts=(r, 2), shape=(*lead, n, 2))
        turned = _turned(o, sums, r, m, sign)
        columns = [z[c] for c in (0, 1) for z in turned]
        x = STACKED(*columns, axes=(0, rank + 2), counts=(2, r))
        left, done = m, done * r
    raise AssertionError("the last pass leaves nothing to do")


def _at(o: Namespace, x: Node, axis: int, k: int) -> Node:
    return o.squeeze(o.slice_axis(x, axis, k, 1), axis)


def _turned(o: Namespace, sums: list[Number], r: int, m: int, sign: int) -> list[Number]:
    """Multiply result k at place p by exp(sign 2 pi i p k / (r m))."""
    w = turns(np.outer(np.arange(r), np.arange(m)), r * m, sign)
    both = np.stack([w.real, w.imag]).astype(sums[0][0].dtype.numpy)
    table = as_node(both[..., None])
    result = sums[:1]
    for k in range(1, r):
        re, im = sums[k]
        c, s = (_at(o, _at(o, table, 0, part), 0, k) for part in (0, 1))
        result.append((re * c - im * s, re * s + im * c))
    return result
