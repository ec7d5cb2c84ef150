"""A loop program of a generic version with numbers put in for its sizes, to run it with NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from symgraph.dims.dim import Atom, Dim, evaluate
from symgraph.loops.expr import Axis, Buffer, Expr, View, walk
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Program, Statement, Store


class Sizing:
    """Rebuild a program with `sizes` (symbol -> number); `buffer` tells what became of a buffer."""

    def __init__(self, sizes: Mapping[Atom, int]) -> None:
        self.sizes = dict(sizes)
        self.builder = Builder()
        self._axes: dict[Axis, Axis] = {}
        self._buffers: dict[Buffer, Buffer] = {}
        self._done: dict[Expr, Expr] = {}

    def program(self, old: Program) -> Program:
        """Return the program for these sizes."""
        buffers = [self.buffer(b) for b in old.buffers]
        return Program(self.builder, buffers, [self._statement(s) for s in old.statements])

    def buffer(self, old: Buffer) -> Buffer:
        """Return the buffer that stands for `old`."""
        if old not in self._buffers:
            axis = None if old.axis is None else self._axis(old.axis)
            shape = tuple(self._size(n) for n in old.shape)
            new = Buffer(old.name, old.dtype, shape, old.kind, old.slot, axis)
            self._buffers[old] = new
        return self._buffers[old]

    def _size(self, n: Any) -> Any:
        return evaluate(n, self.sizes) if isinstance(n, Dim) else n

    def _axis(self, old: Axis) -> Axis:
        if old not in self._axes:
            # two sizes may be one number here; their loops stay apart
            name = f"{old.name}.{len(self._axes)}"
            self._axes[old] = self.builder.axis(name, self._size(old.extent))
        return self._axes[old]

    def _place(self, old: Any) -> Any:
        if not isinstance(old, View):
            return self.buffer(old)
        shape = tuple(self._size(n) for n in old.shape)
        return View(self.buffer(old.buffer), self._expr(old.offset), old.dtype, shape, old.kind)

    def _expr(self, root: Expr) -> Expr:
        for e in walk([root]):
            if e not in self._done:
                self._done[e] = self._one(e, [self._done[a] for a in e.args])
        return self._done[root]

    def _one(self, e: Expr, args: Sequence[Expr]) -> Expr:
        s = self.builder
        if e.op == "axis":
            return s.at(self._axis(e.data))
        if e.op == "const":
            return s.const(e.data, e.dtype)
        if e.op == "load":
            return s.load(self._place(e.data), *args)
        if e.op == "reduce":
            kind, axes = e.data
            return s.reduce(kind, tuple(map(self._axis, axes)), args[0])
        if e.op in ("ifloordiv", "imod"):
            return getattr(s, e.op)(args[0], self._size(e.data))  # type: ignore[no-any-return]
        if e.op == "affine":
            factors, constant = e.data
            total = s.index(self._size(constant))
            for arg, factor in zip(args, factors, strict=True):
                total = s.iadd(total, s.imul(arg, self._size(factor)))
            return total
        return s.rebuild(e, tuple(args))

    def _optional(self, e: Expr | None) -> Expr | None:
        return None if e is None else self._expr(e)

    def _statement(self, old: Statement) -> Statement:
        if isinstance(old, Nest):
            axes = tuple(map(self._axis, old.axes))
            return Nest(axes, tuple(map(self._store, old.stores)), old.serial, old.scan, old.origin)
        if isinstance(old, Check):
            axes = tuple(map(self._axis, old.axes))
            return Check(axes, self._expr(old.condition), old.code, old.origin)
        if isinstance(old, Loop):
            return self._loop(old)
        return LibraryCall(
            old.name,
            tuple(map(self._place, old.outputs)),
            tuple(map(self._place, old.inputs)),
            self._params(old.params),
            old.origin,
        )

    def _store(self, old: Store) -> Store:
        address, value = self._expr(old.address), self._expr(old.value)
        target = self._place(old.buffer)
        return Store(target, address, value, self._optional(old.guard), old.accumulate)

    def _loop(self, old: Loop) -> Loop:
        return Loop(
            self._axis(old.axis),
            tuple(map(self._statement, old.body)),
            tuple((self.buffer(a), self.buffer(b)) for a, b in old.carried),
            self._optional(old.count),
            self._optional(old.start),
            self._optional(old.go_on),
            None if old.steps is None else self.buffer(old.steps),
            old.origin,
            old.free,
        )

    def _params(self, p: Any) -> Any:
        if isinstance(p, Expr):
            return self._expr(p)
        return tuple(map(self._params, p)) if type(p) is tuple else self._size(p)
