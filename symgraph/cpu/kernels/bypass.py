"""Results that no cache holds are stored past the caches.

A store to a line that is in no cache reads the line first. An instruction that stores whole lines
does not, but wants addresses where lines begin: the loops are there twice, for results that begin
with a line and for others. What such a store leaves is in memory, not in a cache, so only results
are stored so that are far larger than the caches, and that the function does not read again.
"""

from __future__ import annotations

from collections.abc import Callable

from symgraph.core.dtype import BOOL
from symgraph.cpu.kernels.scope import Emission, Scope
from symgraph.loops.expr import Axis, Buffer, Expr
from symgraph.loops.schedule import Schedule, stride
from symgraph.loops.statements import Nest, Store
from symgraph.loops.storage import reads

LINE = 64  # bytes of a cache line
LARGE = 1 << 25  # bytes of a result from which it is in no cache afterwards
LARGE_NEST = 1 << 26  # bytes that a nest reads and stores from which its result is in none
MARK = ", !nontemporal !0"
DEFINITION = "!0 = !{i32 1}"


def bypasses(nest: Nest, schedule: Schedule) -> bool:
    """Tell whether a nest whose results nothing reads stores them past the caches."""
    vector = schedule.vector
    if vector is None or nest.serial or nest.scan or not nest.stores:
        return False
    if not all(_is_whole(t, nest.axes, vector, schedule.lanes) for t in nest.stores):
        return False
    stored = {t.buffer for t in nest.stores}
    if any(_bytes(b) < LARGE for b in stored):
        return False
    return sum(map(_bytes, {*stored, *reads(nest)})) >= LARGE_NEST


def _bytes(buffer: Buffer) -> int:
    size = buffer.size
    return size * buffer.dtype.itemsize if isinstance(size, int) else 0


def _is_whole(t: Store, axes: tuple[Axis, ...], vector: Axis, lanes: int) -> bool:
    """Tell whether vectors are stored as whole lines, if the buffer begins with one."""
    size = t.buffer.dtype.itemsize
    if t.guard is not None or t.accumulate or t.buffer.dtype is BOOL or lanes * size % LINE:
        return False
    if stride(t.address, vector) != 1:
        return False
    steps = [stride(t.address, a) for a in axes if a is not vector and t.address.free & a.bit]
    return _first(t.address) * size % LINE == 0 and all(
        step is not None and step * size % LINE == 0 for step in steps
    )


def _first(address: Expr) -> int:
    """Return the number that an affine address adds, one that divides no line where it varies."""
    first = address.data[1] if address.op == "affine" else 0
    return first if isinstance(first, int) else 1


class Bypass(Emission):
    """Emits the loops of a nest twice: for results where lines begin, and for others."""

    bypassing = False  # the loops that are being emitted store past the caches

    def _both_ways(self, begin: int, loops: Callable[[], None]) -> None:
        """Emit the loops with either kind of store.

        begin: the bytes that lie between two iterations of the range the kernel is passed.
        """
        scope = self.root
        at = [self._new(scope, f"ptrtoint ptr {self._base(b)} to i64") for b in self._stored()]
        if begin:
            at.append(self._new(scope, f"mul i64 %begin, {begin}"))
        bits = at[0]
        for other in at[1:]:
            bits = self._new(scope, f"or i64 {bits}, {other}")
        rest = self._new(scope, f"and i64 {bits}, {LINE - 1}")
        test = self._new(scope, f"icmp eq i64 {rest}, 0")
        scope.lines.append(f"  br i1 {test}, label %past, label %near")
        for label in ("past", "near"):
            self.bypassing = label == "past"
            self.root = Scope(None, label, scope.bits, None)
            self.root.positions = dict(scope.positions)
            loops()
            scope.lines += [f"{label}:", *self.root.lines]
            if self.bypassing:
                scope.lines.append("  fence seq_cst")  # before another thread is told
            scope.lines.append("  br label %stored")
        scope.lines.append("stored:")
        scope.label = "stored"
        self.root, self.bypassing = scope, False

    def _stored(self) -> list[Buffer]:
        return list(dict.fromkeys(t.buffer for t in self.nest.stores))
