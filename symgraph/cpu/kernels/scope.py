"""Scopes of a kernel under construction, and the names, sizes and buffers it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symgraph.core.record import dataclass
from symgraph.dims.dim import Atom, Dim, substitute
from symgraph.loops.expr import Axis, Buffer, Expr, Size
from symgraph.loops.interned import Builder
from symgraph.loops.schedule import MASKED_BYTES, Schedule
from symgraph.loops.statements import Nest


@dataclass(slots=True)
class Vector:
    """The vector axis of a scope: how many lanes, and which of them are in range (None: all).

    These are the first `count` ones, a number or a register; it may be more than there are lanes.
    """

    axis: Axis
    lanes: int
    mask: str | None
    count: str | None = None


class Scope:
    """A loop body under construction: text, known values, the axes bound here and around."""

    __slots__ = ("bits", "entry", "env", "label", "lines", "parent", "positions", "vector")

    def __init__(self, parent: Scope | None, label: str, bits: int, vector: Vector | None) -> None:
        self.parent, self.label, self.bits, self.vector = parent, label, bits, vector
        self.entry = label
        self.lines: list[str] = []
        self.env: dict[Any, str] = {}
        self.positions: dict[Axis, str] = {} if parent is None else dict(parent.positions)

    def home(self, free: int) -> Scope:
        """Return the outermost scope in which all axes of `free` are bound."""
        scope = self
        while scope.parent is not None and not free & ~scope.parent.bits:
            scope = scope.parent
        return scope


Body = Callable[[Scope, list[str]], list[str]]


class Emission:
    """What every part of the emitter shares: fresh names, and what the kernel is passed."""

    nest: Nest  # the nest that is being emitted
    schedule: Schedule
    originals: Mapping[Atom, Size] = {}  # sizes that a nest has by other symbols (loops/narrow.py)
    masked_stores: bool  # a masked store is one fast instruction
    fixed: Mapping[Atom, Size] = {}  # sizes that are numbers in it, but not in shapes of buffers

    def __init__(self, builder: Builder, vector_bytes: int, around: Sequence[Axis] = ()) -> None:
        """`around` are loops in which the kernel is called; their steps are passed to it."""
        self.vector_bytes, self.around = vector_bytes, tuple(around)
        self.machine_bytes = vector_bytes  # of the widest vectors: functions are written for them
        self.masked_stores = vector_bytes >= MASKED_BYTES
        self.buffers: list[Buffer] = []
        self.sizes: list[Dim] = []
        self.declared: set[str] = set()
        self.stack: list[str] = []  # text of the buffers on the stack
        self._count = 0
        self._labels = 0
        self.builder = builder
        self.root = Scope(None, "entry", sum(a.bit for a in around), None)
        for k, axis in enumerate(around):
            self.root.positions[axis] = f"%t{k}"

    def value(self, e: Expr, scope: Scope) -> str:
        """Return the register that holds a value, emitting it where its axes become known."""
        raise NotImplementedError

    def _name(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def _label(self, stem: str) -> str:
        self._labels += 1
        return f"{stem}{self._labels}"

    def _new(self, scope: Scope, instruction: str) -> str:
        name = self._name()
        scope.lines.append(f"  {name} = {instruction}")
        return name

    def _size(self, n: Size) -> str:
        """Return a size as text: a number, or the register of a run-time size."""
        if self.originals:
            n = substitute(n, self.originals.get)
        if isinstance(n, int):
            return str(n)
        if n not in self.sizes:
            self.sizes.append(n)
        return f"%n{self.sizes.index(n)}"

    def _base(self, buffer: Buffer) -> str:
        if buffer not in self.buffers:
            self.buffers.append(buffer)
        return f"%b{self.buffers.index(buffer)}"
