"""Lower a graph to the loop program: a nest for each stored value, all others put into its body.

Which values are stored is chosen in `roots.py`; ops with statements of their own find here what
they are made of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symgraph.core.dtype import FLOAT32
from symgraph.core.lazy import lazy
from symgraph.core.node import CONSTANT, Node
from symgraph.core.walk import toposort
from symgraph.loops.builder import LoopBuilder
from symgraph.loops.expr import Axis, Buffer, Expr, Size, View
from symgraph.loops.roots import RECOMPUTE_OTHER_NEST, Roots, both_guards, is_indirect, unshaped
from symgraph.loops.split import split_reduction, store_long_reductions
from symgraph.loops.statements import Check, Nest, Program, Store

# How the statements of some ops are lowered, which most programs do not have.
convolution: Any = lazy("symgraph.loops.convolution")
dft: Any = lazy("symgraph.loops.dft")
lapack: Any = lazy("symgraph.loops.lapack")
positions: Any = lazy("symgraph.loops.positions")
product: Any = lazy("symgraph.loops.product")
repeat: Any = lazy("symgraph.loops.repeat")
sort: Any = lazy("symgraph.loops.sort")
together: Any = lazy("symgraph.loops.together")


class Lowering(Roots):
    """The state of lowering one graph with sizes known (or symbolic) to a Program."""

    def __init__(
        self,
        outputs: Sequence[tuple[Node, Buffer]],
        leaves: Mapping[Node, Buffer],
        by_loops: Callable[[Node], bool],
        outer: Lowering | None = None,
        axis: Axis | None = None,
    ) -> None:
        """`outer` and `axis` are given for the body of a loop: what is around it, its variable."""
        super().__init__()
        self.s = LoopBuilder() if outer is None else outer.s
        self.axis = axis
        self.depth: int = 0 if outer is None else outer.depth + 1
        self.program = Program(self.s)
        self.outputs = list(outputs)
        self.buffers: dict[Node, Buffer] = dict(leaves)
        self.by_loops = by_loops
        self.error_nodes: list[Node] = [] if outer is None else outer.error_nodes
        self.readings: Counter[Node] = Counter()  # places in the graph where a value is used
        self.readers: dict[Node, Callable[..., Expr]] = {}  # leaves that are no buffer
        self.aliases: dict[Buffer, Buffer] = {}  # buffers that lie in the place of another one
        self._memo: dict[Any, Expr] = {}
        self._temporaries = 0
        self.checked: set[Expr] = set()  # conditions that have been looked at
        self._extra: list[Buffer] = []

    # -- driver ------------------------------------------------------------------------------
    def run(self) -> Program:
        """Return the program that stores every output."""
        order = toposort([n for n, _ in self.outputs])
        self.readings.update(x for node in order for x in node.inputs)
        self.readings.update(node for node, _ in self.outputs)
        self.estimate(order)
        self.choose_roots(order)
        self._assign_buffers(order)
        for node in order:
            if node in self.results:
                self._memo.clear()
                buffers = {k: self.buffers[n] for k, n in self.results[node].items()}
                node.op.repeat(self, node, buffers)
            elif node in self.roots and node.op.name != "result":
                self._memo.clear()
                self._emit_root(node)
        for node, buffer in self.outputs:
            if self.buffers.get(node) is not buffer:
                self.store_value(node, buffer)
        self.program.buffers = list(dict.fromkeys(self._all_buffers()))
        return self.program

    def _all_buffers(self) -> list[Buffer]:
        return [*self.buffers.values(), *(b for _, b in self.outputs), *self._extra]

    # -- buffers ---------------------------------------------------------------------------------
    def _assign_buffers(self, order: Sequence[Node]) -> None:
        for node, buffer in self.outputs:
            if node in self.roots and node not in self.buffers:
                self.buffers[node] = buffer
        for node in order:
            if node in self.roots and node not in self.buffers:
                self.buffers[node] = self.temporary(node.dtype, node.type.shape)

    def temporary(
        self, dtype: Any, shape: tuple[Size, ...], axis: Axis | None = None
    ) -> Buffer:
        """Return a new buffer of the arena; `axis`: the loop that rewrites it in every step."""
        self._temporaries += 1
        name = f"{'s' * self.depth}t{self._temporaries}"
        buffer = Buffer(name, dtype, shape, "temporary", axis=axis or self.axis)
        self._extra.append(buffer)
        return buffer

    def error_code(self, node: Node) -> int:
        """Return the code with which a failing check names this node."""
        self.error_nodes.append(node)
        return len(self.error_nodes)

    # -- values ----------------------------------------------------------------------------------
    def value(self, node: Node, index: Sequence[Any], guard: Expr | None = None) -> Expr:
        """Return the value of `node` at an index; nothing is read where `guard` is false."""
        s = self.s
        buffer = self.buffers.get(node)
        if buffer is not None:
            return s.load(buffer, self.flat(index, node.type.shape), guard)
        if node in self.readers:
            return self.readers[node](index, guard)
        if node.op is CONSTANT:
            return self._constant(node, index, guard)
        if node.op.name == "reshape" and node.inputs[0] in self.buffers:
            base = self.buffers[node.inputs[0]]
            return s.load(base, self.flat(index, node.type.shape), guard)
        at = tuple(s.index(i) for i in index)
        key = (node, at, guard)
        found = self._memo.get(key)
        if found is None:

            def read(k: int, i: Sequence[Any], more: Expr | None = None) -> Expr:
                x = node.inputs[k]
                found = self.value(x, i, both_guards(guard, more))
                if node.op.name == "sum" and found.op == "mul" and self._is_shared(x):
                    return s.unary("rounded", found)
                return found

            around, s.guarding = s.guarding, 0 if guard is None else guard.free
            found = node.op.lower(s, node, at, read)
            s.guarding = around
            self._memo[key] = found
        return found

    def _is_shared(self, x: Node) -> bool:
        """Tell whether a sum may find a value stored: then its products are rounded in any case.

        Whether it is stored may depend on what is known of sizes, and results must not. Cheap ones
        are not stored for other readers.
        """
        while self.readings[x] == 1 and x.op.view:
            x = x.inputs[0]
        return self.readings[x] > 1 and self.cost[x] > RECOMPUTE_OTHER_NEST

    def _constant(self, node: Node, index: Sequence[Any], guard: Expr | None) -> Expr:
        """Small constants are immediates, larger ones are buffers of the function."""
        if node.data.size == 1:
            return self.s.const(node.data.reshape(())[()], node.dtype)
        buffer = Buffer(f"c{len(self.buffers)}", node.dtype, node.type.shape, "constant")
        self.buffers[node] = buffer
        return self.s.load(buffer, self.flat(index, node.type.shape), guard)

    def flat(self, index: Sequence[Any], shape: Sequence[Size]) -> Expr:
        """Return the row-major address of an index."""
        s = self.s
        address = s.index(0)
        stride: Size = 1
        for i, n in zip(reversed(list(index)), reversed(list(shape)), strict=True):
            if not (isinstance(n, int) and n == 1):
                address = s.iadd(address, s.imul(i, stride))
            stride = stride * n
        return address

    # -- statements --------------------------------------------------------------------------------
    def _emit_root(self, node: Node) -> None:
        self._emit_checks(node)
        if self.is_statement(node):
            node.op.statements(self, node, self.buffers[node])
        else:
            self.store_value(node, self.buffers[node], computed=True)

    # -- loops -------------------------------------------------------------------------------------
    def loop(self, node: Node, wanted: dict[int, Buffer], **parts: Any) -> None:
        """Append the statements of a loop of the graph (see `repeat.Step` for its parts)."""
        repeat.lower_loop(self, node, repeat.Step(**parts), wanted)

    def branch(
        self,
        node: Node,
        wanted: dict[int, Buffer],
        condition: Node,
        sides: Sequence[tuple[Sequence[tuple[Node, Node]], Sequence[Node]]],
    ) -> None:
        """Append the statements of a branch: per side its variables with their values, its results.

        Each side is a loop that runs once or not at all.
        """
        test = self.value(condition, ())
        for k, (variables, outputs) in enumerate(sides):
            start = test if k == 0 else self.s.unary("not", test)
            repeat.lower_side(self, node, start, f"{'then' if k == 0 else 'else'}", variables,
                       [(outputs[j], b) for j, b in wanted.items()])

    def inner(self, axis: Axis) -> Lowering:
        """Return a lowering for the body of a loop; the caller sets its outputs and leaves."""
        return Lowering([], {}, self.by_loops, self, axis)

    def adopt(self, inner: Lowering) -> None:
        """Take over what a body's lowering made: buffers, aliases, constants."""
        self._extra += [b for b in inner.program.buffers if b.kind == "temporary"]
        self.aliases |= inner.aliases
        self.buffers |= {n: b for n, b in inner.buffers.items() if b.kind == "constant"}

    def copy_buffer(self, source: Buffer, target: Buffer | View) -> None:
        """Store all elements of one buffer into another of the same shape."""
        s = self.s
        axes = tuple(s.axis(f"i{k}", n) for k, n in enumerate(target.shape))
        address = self.flat([s.at(a) for a in axes], target.shape)
        self.add(Nest(axes, (self.store(target, address, s.load(source, address)),)))

    def fill_zeros(self, target: Buffer | View) -> None:
        """Store zeros everywhere."""
        s = self.s
        axes = tuple(s.axis(f"i{k}", n) for k, n in enumerate(target.shape))
        address = self.flat([s.at(a) for a in axes], target.shape)
        self.add(Nest(axes, (self.store(target, address, s.const(0, target.dtype)),)))

    def store(self, buffer: Buffer | View, address: Any, value: Expr, combine: str = "") -> Store:
        """Return the store of a value into a buffer, or into a part of one."""
        address = self.s.index(address)
        if isinstance(buffer, View):
            address, buffer = self.s.iadd(buffer.offset, address), buffer.buffer
        return Store(buffer, address, value, accumulate=combine)

    def _emit_checks(self, root: Node) -> None:
        """Checks of the root and of everything inlined into it, before its first store."""
        seen: set[Node] = set()
        stack = [root]
        while stack:
            node = stack.pop()
            if node in seen or node.op.is_leaf or (node in self.roots and node is not root):
                continue
            seen.add(node)
            if node.op.checks is not None:
                node.op.checks(self, node)
            stack.extend(node.inputs)

    def store_value(self, node: Node, buffer: Buffer, computed: bool = False) -> None:
        source = unshaped(node)
        axes = self.nest_axes(source)
        index = tuple(self.s.at(a) for a in axes)
        if computed:  # the root itself has a buffer already: lower it, do not load it
            own = self.buffers.pop(node)
            value = self.value(source, index)
            self.buffers[node] = own
        else:
            value = self.value(source, index)
        address = self.flat(index, source.type.shape)
        self.add(Nest(axes, (self.store(buffer, address, value),), origin=(node,)))

    def add(self, statement: Any) -> None:
        """Append a statement; long reductions are cut into chunks first."""
        if isinstance(statement, Nest) and len(statement.stores) == 1:
            statement = split_reduction(self, statement)
        self.program.statements.append(statement)


    # -- services for ops with statements of their own ---------------------------------------------
    def copy(self, node: Node, out: Buffer, k: int) -> None:
        """Store input k of `node` into `out`."""
        self.store_value(node.inputs[k], out)

    def store_region(self, node: Node, out: Buffer, k: int, axis: int, start: Size) -> None:
        """Store input k of `node` into the part of `out` that begins at `start` along `axis`."""
        x, axes, index = self.walked(node.inputs[k])
        value = self.value(x, [self.s.at(a) for a in axes])
        index[axis] = self.s.iadd(index[axis], start)
        address = self.flat(index, node.type.shape)
        self.add(Nest(axes, (self.store(out, address, value),), origin=(node,)))

    def walked(self, x: Node) -> tuple[Node, tuple[Axis, ...], list[Any]]:
        """Return what lies below reshapes of `x`, its axes, and where in `x` each element is.

        To walk along its own axes needs no divisions. Where `x` cannot be reached so, it is `x`.
        """
        s, source = self.s, unshaped(x)
        axes = self.nest_axes(source)
        if source is x:
            return x, axes, [s.at(a) for a in axes]
        rest = self.flat([s.at(a) for a in axes], source.type.shape)
        index: list[Any] = []
        for n in reversed(x.type.shape):
            one = isinstance(n, int) and n <= 1
            index.insert(0, s.index(0) if one else s.imod(rest, n))
            rest = rest if one else s.ifloordiv(rest, n)
        if is_indirect(index):
            axes = self.nest_axes(x)
            return x, axes, [s.at(a) for a in axes]
        return source, axes, index

    def running(self, node: Node, out: Buffer, kind: str, axis: int) -> None:
        """Store the running combination of input 0 along `axis`.

        `kind` is a reduction, or "linear": input 0 times the result before, plus input 1.
        """
        axes = self.nest_axes(node)
        index = tuple(self.s.at(a) for a in axes)
        wide = FLOAT32 if node.dtype == "float16" else node.dtype
        value, *more = (self.s.cast(self.value(x, index), wide) for x in node.inputs)
        if kind == "linear":
            value = self.s.fma(value, self.s.previous(axes, wide), more[0])
        order = (*axes[:axis], *axes[axis + 1 :], axes[axis])
        store = self.store(out, self.flat(index, node.type.shape), value)
        nest = Nest(order, (store,), scan=kind, origin=(node,))
        self.program.statements.append(store_long_reductions(self, nest))

    def scatter(self, node: Node, out: Buffer, indices: Sequence[Node], combine: str) -> None:
        """Write input 1 of `node` at rows of `out` given by the index inputs, in order.

        `combine` is the reduction ("sum", "max" ...) with what is there, "" to replace it.
        """
        positions.lower_scatter(self, node, out, indices, combine)

    def check_indices(self, node: Node, x: Node, indices: Sequence[Node]) -> None:
        """Stop with an error where an index is out of range; constants were checked before."""
        positions.check_indices(self, node, x, indices)

    def check_range(self, node: Node, x: Node, n: Size) -> None:
        """Stop with an error where an element of `x` is outside [-n, n)."""
        positions.check_range(self, node, x, n)

    def check_pivots(self, node: Node, x: Node, positive: bool) -> None:
        """Stop with an error where an element of `x` is zero, or is not `positive`."""
        s = self.s
        self.check_values(
            node, x, lambda v: s.unary("not", v > 0.0) if positive else s.eq(v, 0.0)
        )

    def check_values(self, node: Node, x: Node, outside: Callable[[Expr], Expr]) -> None:
        """Stop with an error where an element of `x` is `outside` of what it may be."""
        axes = self.nest_axes(x)
        bad = outside(self.value(x, tuple(self.s.at(a) for a in axes)))
        if bad not in self.checked:
            self.checked.add(bad)
            code = self.error_code(node)
            self.program.statements.append(Check(axes, bad, code, origin=(node,)))

    def product(self, node: Node, out: Buffer | View) -> None:
        """Store the matrix product of the two inputs."""
        product.lower_product(self, node, out)

    def convolution(self, node: Node, out: Buffer | View) -> None:
        """Store a convolution, or one of its transposes."""
        convolution.lower_convolution(self, node, out)

    def stacked(self, node: Node, out: Buffer | View, placed: Callable[..., Any]) -> None:
        """Store all inputs as parts of one array, by one nest."""
        together.lower_stacked(self, node, out, placed)

    def argsort(self, node: Node, out: Buffer | View) -> None:
        """Store the stable order of each row of input 0."""
        sort.lower_argsort(self, node, out)

    def dft(self, node: Node, out: Buffer | View) -> None:
        """Store Fourier transforms along one axis."""
        dft.lower_dft(self, node, out)

    def lapack(self, node: Node, out: Buffer | View) -> None:
        """Store a factorization or a solution that LAPACK computes."""
        lapack.lower_lapack(self, node, out)
