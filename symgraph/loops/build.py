"""Lower a graph to the loop program: decide which values are stored, inline all others.

Every value is a function of an index. The pass walks the graph from the outputs and keeps, for each
node, the contexts in which its value is read (nest, index, enclosing loops). A node that would be
recomputed too often, or whose reduction would run again and again, becomes a root: it gets a buffer
and a nest of its own. Everything else is substituted into its readers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symgraph.core.dtype import FLOAT32, INT64
from symgraph.core.node import CONSTANT, Node
from symgraph.core.record import dataclass
from symgraph.core.walk import toposort
from symgraph.dims.dim import maximum, minimum, provably_le
from symgraph.loops.grammar import (
    Axis,
    Buffer,
    Builder,
    Check,
    Expr,
    LibraryCall,
    Nest,
    Program,
    Size,
    Store,
    View,
)
from symgraph.loops.lapack import lower_lapack
from symgraph.loops.repeat import Step, lower_loop, lower_side
from symgraph.loops.schedule import CHUNK, CHUNK_AXIS
from symgraph.loops.sort import lower_argsort

RECOMPUTE_OTHER_NEST = 4  # cost per element above which a value read by two nests is stored
RECOMPUTE_SAME_NEST = 30  # the same inside one nest: softmax computes exp twice
RECOMPUTE_OUTER = 8  # cost above which a value is not recomputed in every turn of an outer loop
MANY_ROWS = 8  # of a product that reads its second operand across, from which it is transposed
NEST_BUDGET = 600  # cost of one nest's body above which producers are stored
# statements that read their inputs at an index, like a nest
REGION_STATEMENTS = {"concatenate", "scatter", "scatter_reduce", "cumsum", "cumprod", "argsort"}
SPLIT = 1 << 15  # reductions longer than this are cut in chunks: parallel, and more accurate


class LoopBuilder(Builder):
    """A builder that names the loop axes of reductions."""

    def __init__(self) -> None:
        super().__init__()
        self.created: list[Axis] = []

    def new_axes(
        self, extents: Sequence[Size], index: Sequence[Any], name: str = "k"
    ) -> tuple[Axis, ...]:
        """Return axes for a reduction that are free of the axes in `index`.

        Names restart from 0, so that reductions over equal extents share axes and merge. Axes of a
        window of fixed size are called "w": short ones become straight code.
        """
        used = 0
        for i in index:
            if isinstance(i, Expr):
                used |= i.free
        axes: list[Axis] = []
        number = 0
        for extent in extents:
            axis = self.axis(f"{name}{number}", extent)
            while axis.bit & used:
                number += 1
                axis = self.axis(f"{name}{number}", extent)
            number += 1
            axes.append(axis)
        self.created.extend(axes)
        return tuple(axes)


@dataclass(frozen=True, slots=True)
class Context:
    """One way in which a node's value is read."""

    nest: Node
    index: tuple[Any, ...]
    guard: Expr | None
    loops: tuple[Axis, ...]  # the loops around the read, outermost first


class Lowering:
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
        self.s = LoopBuilder() if outer is None else outer.s
        self.axis = axis
        self.depth: int = 0 if outer is None else outer.depth + 1
        self.program = Program(self.s)
        self.outputs = list(outputs)
        self.buffers: dict[Node, Buffer] = dict(leaves)
        self.by_loops = by_loops
        self.contexts: dict[Node, list[Context]] = {}
        self.roots: dict[Node, None] = {}
        self.cost: dict[Node, int] = {}
        self.nest_cost: dict[Node, int] = {}
        self.error_nodes: list[Node] = [] if outer is None else outer.error_nodes
        self.readers: dict[Node, Callable[..., Expr]] = {}  # leaves that are no buffer
        self.aliases: dict[Buffer, Buffer] = {}  # buffers that lie in the place of another one
        self.results: dict[Node, dict[int, Node]] = {}  # compound node -> its results in use
        self._memo: dict[Any, Expr] = {}
        self._temporaries = 0
        self._checked: set[Expr] = set()

    # -- driver ------------------------------------------------------------------------------
    def run(self) -> Program:
        """Return the program that stores every output."""
        order = toposort([n for n, _ in self.outputs])
        self._estimate(order)
        self._choose_roots(order)
        self._assign_buffers(order)
        for node in order:
            if node in self.results:
                self._memo.clear()
                buffers = {k: self.buffers[n] for k, n in self.results[node].items()}
                node.op.repeat(self, node, buffers)  # type: ignore[attr-defined]
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

    _extra: list[Buffer]

    def _estimate(self, order: Sequence[Node]) -> None:
        """Estimate the cost of one element of each node, computed from stored values."""
        self._extra = []
        for node in order:
            own = 1
            if node.op.is_leaf:
                own = 0 if node.op is CONSTANT and node.ndim == 0 else 1
                self.cost[node] = own
                continue
            if node.op.compound or node.op.name == "result":
                self.cost[node] = 1
                continue
            if node.op.view:
                own = 0
            elif hasattr(node.op, "scalar"):
                own = _SCALAR_COST.get(node.op.name, 1)
            elif self._loops(node) or node.op.statements is not None:
                self.cost[node] = 1  # hoisted or stored: its readers see a load
                continue
            elif node.op.name == "random_bits":
                own = 60
            self.cost[node] = own + sum(min(self.cost[i], 100) for i in node.inputs)

    def _loops(self, node: Node) -> bool:
        """Tell whether the value is a reduction loop per element."""
        return node.op.loops and not self._statement(node)

    def _statement(self, node: Node) -> bool:
        op = node.op
        return op.statements is not None and (op.lower is None or not self.by_loops(node))

    # -- which nodes are stored ----------------------------------------------------------------
    def _choose_roots(self, order: Sequence[Node]) -> None:
        for node, _ in self.outputs:
            if not node.op.is_leaf:
                self.roots[node] = None
        for node in reversed(order):
            if node.op.is_leaf:
                continue
            if node.op.name == "result":
                self.roots[node] = None
                self.results.setdefault(node.inputs[0], {})[node.params.index] = node
                continue
            if node.op.compound:
                self._need_buffers(node)
                continue
            if self._reads_across(node):
                self.roots[node.inputs[1]] = None
            contexts = self.contexts.get(node, [])
            if node not in self.roots and (
                self._statement(node) or self._must_store(node, contexts)
            ):
                self.roots[node] = None
            if node in self.roots:
                axes = self._nest_axes(node)
                index = tuple(self.s.at(a) for a in axes)
                contexts = [Context(node, index, None, axes)]
                if self._statement(node):
                    self._need_buffers(node)
                    continue
            for context in contexts:
                self._visit(node, context)

    def _reads_across(self, node: Node) -> bool:
        """Tell whether a product's loops would read a transposed second operand again and again.

        It is transposed once, into a buffer, so that many rows can be computed as vectors.
        """
        if node.op.name != "matmul" or not self._loops(node):
            return False
        b = node.inputs[1]
        if b.op.name != "permute_dims" or b.params.axes[-1] == b.ndim - 1:
            return False
        rows: Size = 1
        for n in node.type.shape[:-1]:
            rows = rows * n
        for n in b.type.shape[:-2]:
            rows = rows // n if isinstance(rows, int) and isinstance(n, int) and n else rows
        return provably_le(MANY_ROWS, rows) and not _is(b.type.shape[-1], 1)

    def _nest_axes(self, node: Node) -> tuple[Axis, ...]:
        return tuple(self.s.axis(f"i{k}", n) for k, n in enumerate(node.type.shape))

    def _need_buffers(self, node: Node) -> None:
        """The inputs of a statement are read as whole buffers, through views where possible."""
        regions = node.op.name in REGION_STATEMENTS
        for k, given in enumerate(node.inputs):
            x = given
            if regions or k in getattr(node.op, "copied", ()):
                axes = self._nest_axes(x)
                if node.op.name == "concatenate":
                    x, axes, _ = self._walked(x)
                index = tuple(self.s.at(a) for a in axes)
                self.contexts.setdefault(x, []).append(Context(node, index, None, axes))
                continue
            while x.op.view and not x.op.is_leaf:
                self.contexts.setdefault(x, [])
                x = x.inputs[0]
            if not x.op.is_leaf:
                self.roots[x] = None

    def _visit(self, node: Node, context: Context) -> None:
        """Run the lowering of `node` only to learn where it reads its inputs."""
        s = self.s
        s.created = []
        index_bits = _bits(context.index)
        loops = tuple(a for a in context.loops if a.bit & index_bits) if self._loops(node) else None
        self.nest_cost[context.nest] = self.nest_cost.get(context.nest, 0) + (
            1 if node.op.view else _SCALAR_COST.get(node.op.name, 2)
        )

        def record(k: int, index: tuple[Any, ...], guard: Expr | None = None) -> Expr:
            x = node.inputs[k]
            if not x.op.is_leaf:
                around = (context.loops if loops is None else loops) + tuple(s.created)
                both = _and(context.guard, guard)
                new = Context(context.nest, tuple(map(s.index, index)), both, around)
                known = self.contexts.setdefault(x, [])
                if new not in known:
                    known.append(new)
            return s.load(Buffer("probe", x.dtype, (), "input"), 0)

        node.op.lower(s, node, context.index, record)

    def _must_store(self, node: Node, contexts: Sequence[Context]) -> bool:
        if not contexts:  # only statements read it; they look through views
            return not node.op.view
        if any(_indirect(c.index) for c in contexts) and self.cost[node] > 2:
            return True
        prefix = all(_prefix(c) for c in contexts)
        if self._loops(node):
            return len(contexts) > 1 or not prefix or _repeats(contexts[0], node)
        if node.op.name == "place" and any(_repeats(c, node) for c in contexts):
            return True  # padding is stored once rather than tested in every window
        if node.op.view:
            return False
        if node.op.lower is None:
            return True
        if any(self.nest_cost.get(c.nest, 0) > NEST_BUDGET for c in contexts):
            return True
        cost = self.cost[node]
        if not prefix and cost > RECOMPUTE_OUTER:
            return True
        if len({c.nest for c in contexts}) > 1:
            return cost > RECOMPUTE_OTHER_NEST
        return (len(contexts) - 1) * cost > RECOMPUTE_SAME_NEST

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
                return self.value(node.inputs[k], i, _and(guard, more))

            found = node.op.lower(s, node, at, read)
            self._memo[key] = found
        return found

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
        if self._statement(node):
            node.op.statements(self, node, self.buffers[node])
        else:
            self.store_value(node, self.buffers[node], computed=True)

    # -- loops -------------------------------------------------------------------------------------
    def loop(self, node: Node, wanted: dict[int, Buffer], **parts: Any) -> None:
        """Append the statements of a loop of the graph (see `repeat.Step` for its parts)."""
        lower_loop(self, node, Step(**parts), wanted)

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
            lower_side(self, node, start, f"{'then' if k == 0 else 'else'}", variables,
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
            if hasattr(node.op, "checks"):
                node.op.checks(self, node)
            stack.extend(node.inputs)

    def store_value(self, node: Node, buffer: Buffer, computed: bool = False) -> None:
        axes = self._nest_axes(node)
        index = tuple(self.s.at(a) for a in axes)
        if computed:  # the root itself has a buffer already: lower it, do not load it
            own = self.buffers.pop(node)
            value = self.value(node, index)
            self.buffers[node] = own
        else:
            value = self.value(node, index)
        address = self.flat(index, node.type.shape)
        self.add(Nest(axes, (self.store(buffer, address, value),), origin=(node,)))

    def add(self, statement: Any) -> None:
        """Append a statement; long reductions are cut into chunks first."""
        if isinstance(statement, Nest) and len(statement.stores) == 1:
            statement = self._split_reduction(statement)
        self.program.statements.append(statement)

    def _split_reduction(self, nest: Nest) -> Nest:
        """Cut one long reduction into partial results, so that chunks run in parallel.

        The cut depends on the shape only: results change neither with the number of threads nor
        with whether sizes are known. Where they are not, the number of whole chunks is a run-time
        size, 0 for a reduction that is not cut.
        """
        s, store = self.s, nest.stores[0]
        found = _outermost_reduction(store.value)
        if found is None:
            return nest
        kind, axes = found.data
        outer, axis = _count(nest.axes), axes[0]
        whole, chunk = _chunks(outer, axis.extent, _count(axes[1:]))
        if _is(whole, 0):
            return nest
        rest = axis.extent - whole * chunk
        parts = whole if _is(rest, 0) else whole + 1
        partial = self.temporary(found.dtype, (parts, *(a.extent for a in nest.axes)))
        place = self.flat([s.at(a) for a in nest.axes], [a.extent for a in nest.axes])
        c = s.axis(CHUNK_AXIS, whole)
        pieces = [((c, *nest.axes), s.imul(s.at(c), chunk), chunk, s.at(c))]
        if not _is(rest, 0):
            pieces.append((nest.axes, s.index(whole * chunk), rest, s.index(whole)))
        for loops, start, size, row in pieces:
            k = s.axis("k9", size)
            value = s.replace(found.args[0], {axis: s.iadd(start, s.at(k))}, {})
            value = s.reduce(kind, (k, *axes[1:]), value)
            at = s.iadd(s.imul(row, outer), place)
            stores = (Store(partial, at, value),)
            self.program.statements.append(Nest(loops, stores, origin=nest.origin))
        p = s.axis("k0", parts)
        total = s.reduce(
            kind, (p,), s.load(partial, s.iadd(s.imul(s.at(p), outer), place))
        )
        value = _replace_node(s, store.value, found, total)
        return Nest(nest.axes, (Store(store.buffer, store.address, value),), origin=nest.origin)

    # -- services for ops with statements of their own ---------------------------------------------
    def copy(self, node: Node, out: Buffer, k: int) -> None:
        """Store input k of `node` into `out`."""
        self.store_value(node.inputs[k], out)

    def store_region(self, node: Node, out: Buffer, k: int, axis: int, start: Size) -> None:
        """Store input k of `node` into the part of `out` that begins at `start` along `axis`."""
        x, axes, index = self._walked(node.inputs[k])
        value = self.value(x, [self.s.at(a) for a in axes])
        index[axis] = self.s.iadd(index[axis], start)
        address = self.flat(index, node.type.shape)
        self.add(Nest(axes, (self.store(out, address, value),), origin=(node,)))

    def _walked(self, x: Node) -> tuple[Node, tuple[Axis, ...], list[Any]]:
        """Return what lies below reshapes of `x`, its axes, and where in `x` each element is.

        To walk along its own axes needs no divisions. Where `x` cannot be reached so, it is `x`.
        """
        s, source = self.s, x
        while source.op.name == "reshape":
            source = source.inputs[0]
        axes = self._nest_axes(source)
        if source is x:
            return x, axes, [s.at(a) for a in axes]
        rest = self.flat([s.at(a) for a in axes], source.type.shape)
        index: list[Any] = []
        for n in reversed(x.type.shape):
            one = isinstance(n, int) and n <= 1
            index.insert(0, s.index(0) if one else s.imod(rest, n))
            rest = rest if one else s.ifloordiv(rest, n)
        if _indirect(index):
            axes = self._nest_axes(x)
            return x, axes, [s.at(a) for a in axes]
        return source, axes, index

    def running(self, node: Node, out: Buffer, kind: str, axis: int) -> None:
        """Store the running combination of input 0 along `axis`."""
        axes = self._nest_axes(node)
        index = tuple(self.s.at(a) for a in axes)
        value = self.value(node.inputs[0], index)
        half = node.dtype == "float16"
        value = self.s.cast(value, FLOAT32 if half else node.dtype)
        order = (*axes[:axis], *axes[axis + 1 :], axes[axis])
        store = self.store(out, self.flat(index, node.type.shape), value)
        self.program.statements.append(Nest(order, (store,), scan=kind, origin=(node,)))

    def scatter(self, node: Node, out: Buffer, indices: Sequence[Node], combine: str) -> None:
        """Write input 1 of `node` at rows of `out` given by the index inputs, in order.

        `combine` is the reduction ("sum", "max" ...) with what is there, "" to replace it.
        """
        s, (x, y) = self.s, node.inputs[:2]
        axes = self._nest_axes(y)
        index = tuple(s.at(a) for a in axes)
        block = y.ndim - (x.ndim - len(indices))
        where = self._positions(x, indices, index[:block])
        address = self.flat((*where, *index[block:]), x.type.shape)
        store = self.store(out, address, self.value(y, index), combine)
        self.program.statements.append(Nest(axes, (store,), serial=True, origin=(node,)))

    def _positions(self, x: Node, indices: Sequence[Node], block: Sequence[Any]) -> list[Expr]:
        s, result = self.s, []
        for k, node in enumerate(indices):
            value = s.cast(self._index_value(node, block), INT64)
            n = s.as_value(x.type.shape[k], INT64)
            result.append(s.as_index(s.select(value < 0, value + n, value)))
        return result

    def _index_value(self, node: Node, block: Sequence[Any]) -> Expr:
        tail = list(block)[len(block) - node.ndim :]
        at = [
            0 if isinstance(n, int) and n == 1 else i
            for i, n in zip(tail, node.type.shape, strict=True)
        ]
        return self.value(node, at)

    def check_indices(self, node: Node, x: Node, indices: Sequence[Node]) -> None:
        """Stop with an error where an index is out of range; constants were checked before."""
        for k, i in enumerate(indices):
            n = x.type.shape[k]
            if not ((i.op is CONSTANT and isinstance(n, int)) or _in_range(i, n)):
                self.check_range(node, i, n)

    def check_range(self, node: Node, x: Node, n: Size) -> None:
        """Stop with an error where an element of `x` is outside [-n, n)."""
        s = self.s
        axes = self._nest_axes(x)
        value = s.cast(self.value(x, tuple(s.at(a) for a in axes)), INT64)
        size = s.as_value(n, INT64)
        bad = (value < -size) | (value >= size)
        if bad in self._checked:
            return
        self._checked.add(bad)
        code = self.error_code(node)
        self.program.statements.append(Check(axes, bad, code, origin=(node,)))

    def argsort(self, node: Node, out: Buffer | View) -> None:
        """Store the stable order of each row of input 0."""
        lower_argsort(self, node, out)

    def lapack(self, node: Node, out: Buffer | View) -> None:
        """Store a factorization or a solution that LAPACK computes."""
        lower_lapack(self, node, out)

    def product(self, node: Node, out: Buffer | View) -> None:
        """Call the matrix product of the two inputs, read through their strides."""
        axes = self._nest_axes(node)
        batch, (m, n) = axes[:-2], axes[-2:]
        a, b = node.inputs
        k = self.s.axis("k0", a.type.shape[-1])
        if k.bit & (m.bit | n.bit):
            k = self.s.axis("k1", a.type.shape[-1])
        left = self._operand(a, batch, m, k)
        right = self._operand(b, batch, k, n)
        sizes = tuple(x.extent for x in (*batch, m, n, k))
        whole, start = (out.buffer, out.offset) if isinstance(out, View) else (out, 0)
        params = (sizes, left[1], right[1], start)
        call = LibraryCall("gemm", (whole,), (left[0], right[0]), params, origin=(node,))
        self.program.statements.append(call)

    def _operand(self, x: Node, batch: Sequence[Axis], r: Axis, c: Axis) -> tuple[Buffer, Any]:
        """Return a buffer and (offset, batch strides, row stride, column stride) that hold `x`."""
        s = self.s
        lead = list(batch)[len(batch) - (x.ndim - 2) :]
        index = [
            0 if isinstance(n, int) and n == 1 else s.at(a)
            for a, n in zip((*lead, r, c), x.type.shape, strict=True)
        ]
        value = self.value(x, index)
        if value.op == "load" and len(value.args) == 1:
            strides = _strides(value.args[0], (*batch, r, c))
            if strides is not None:
                offset, (*outer, row, column) = strides
                rows_ok = _is(column, 1) or _is(r.extent, 1) or _is(row, 1) or _is(c.extent, 1)
                if rows_ok:
                    return value.data, (offset, tuple(outer), row, column)
        buffer = self.temporary(x.dtype, x.type.shape)
        self.store_value(x, buffer)
        stride: Size = 1
        coefficients: list[Size] = []
        for n in reversed(x.type.shape):
            coefficients.append(0 if _is(n, 1) else stride)
            stride = stride * n
        full = [0] * (len(batch) + 2 - x.ndim) + coefficients[::-1]
        return buffer, (0, tuple(full[:-2]), full[-2], full[-1])


_SCALAR_COST = dict.fromkeys(
    ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sigmoid", "tanh", "erf"), 14
) | dict.fromkeys(
    ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"), 24
) | {
    "erfc": 24, "cbrt": 24, "softplus": 28, "power": 40, "atan2": 30, "logaddexp": 30, "div": 4,
    "gammaln": 40, "digamma": 40, "gamma": 60, "polygamma": 60, "betaln": 60, "erfinv": 30,
    "erfcinv": 40, "erfcx": 30, "ndtr": 30, "log_ndtr": 40, "ndtri": 40, "beta_weight": 60,
    "poisson_weight": 60, "i0": 30, "i1": 30, "i0e": 30, "i1e": 30, "k0": 30, "k1": 30, "k0e": 30,
    "k1e": 30, "j0": 40, "j1": 40, "y0": 40, "y1": 40,
    "sqrt": 4, "reciprocal": 4, "mod": 16, "floordiv": 16, "fmod": 16, "hypot": 10,
}  # fmt: skip


def _and(a: Expr | None, b: Expr | None) -> Expr | None:
    if a is None or b is None:
        return b if a is None else a
    return a if a is b else a & b


def _bits(index: Sequence[Any]) -> int:
    bits = 0
    for i in index:
        if isinstance(i, Expr):
            bits |= i.free
    return bits


def _prefix(context: Context) -> bool:
    """Tell whether the index uses the outer loops to some depth, none below: no recomputation."""
    bits = _bits(context.index)
    inside = False
    for axis in reversed(context.loops):
        if isinstance(axis.extent, int) and axis.extent == 1:
            continue
        if bits & axis.bit:
            inside = True
        elif inside:
            return False
    return True


def _repeats(context: Context, node: Node) -> bool:
    """Tell whether the loops of the index have more points than the node has elements."""
    bits = _bits(context.index)
    points: Size = 1
    for axis in context.loops:
        if axis.bit & bits:
            points = points * axis.extent
    size: Size = 1
    for n in node.type.shape:
        size = size * n
    return not provably_le(points, size)


def _indirect(index: Sequence[Any]) -> bool:
    """Tell whether an index needs a division or comes from data."""
    for i in index:
        if isinstance(i, Expr):
            atoms = i.args if i.op == "affine" else (i,)
            if any(a.op in ("ifloordiv", "imod", "as_index") for a in atoms):
                return True
    return False


def _in_range(i: Node, n: Size) -> bool:
    """Recognise positions that cannot leave the axis: an iota over it, its argsort."""
    while i.op.name in ("expand_dims", "broadcast_to", "cast", "reshape", "permute_dims", "slice"):
        i = i.inputs[0]
    if i.op.name == "argsort":
        return bool(i.type.shape[-1] == n)
    if i.op.name == "iota":
        return i.params.shape[i.params.axis] is n or i.params.shape[i.params.axis] == n
    return False


def _strides(address: Expr, axes: Sequence[Axis]) -> tuple[Size | Expr, list[Size]] | None:
    """Return (offset, coefficient of each axis) of an affine address, None if it is not affine.

    What depends on the step of a loop around is part of the offset.
    """
    s = address.builder
    found: dict[Axis, Size] = {}
    moving = s.index(address.data[1])
    for atom, c in zip(address.args, address.data[0], strict=True):
        if atom.op == "axis" and atom.data in axes:
            found[atom.data] = c
        elif atom.op != "axis":
            return None
        else:
            moving = s.iadd(moving, s.imul(atom, c))
    offset = moving if moving.args else address.data[1]
    return offset, [found.get(a, 0) for a in axes]


def _is(n: Size, value: int) -> bool:
    return isinstance(n, int) and n == value


def _count(axes: Sequence[Axis]) -> Size:
    n: Size = 1
    for a in axes:
        n = n * a.extent
    return n


def _chunks(outer: Size, extent: Size, inner: Size) -> tuple[Size, Size]:
    """Return how many whole chunks a reduction is cut into (0: it is not), and their length.

    The reduction runs over `extent * inner` elements for each of `outer` results, and is cut along
    its first axis: from SPLIT elements on, if there are not many results, in two chunks at least.
    """
    length = extent * inner
    chunk = maximum(1, CHUNK // maximum(1, inner))
    whole = extent // chunk
    for amount, least in ((length, SPLIT), (length * 64, maximum(1, outer * CHUNK)), (whole, 2)):
        whole = whole * minimum(1, amount // least)
    return whole, chunk


def _outermost_reduction(value: Expr) -> Expr | None:
    """Return the single reduction at the top of a value (below scalar epilogue operations)."""
    found: list[Expr] = []
    stack, seen = [value], set()
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        if e.op == "reduce":
            found.append(e)
        else:
            stack.extend(e.args)
    return found[0] if len(found) == 1 else None


def _replace_node(s: Builder, e: Expr, old: Expr, new: Expr) -> Expr:
    """Return `e` with one subexpression exchanged."""
    memo: dict[Expr, Expr] = {old: new}

    def visit(x: Expr) -> Expr:
        if x not in memo:
            args = tuple(visit(a) for a in x.args)
            memo[x] = x if args == x.args else s.rebuild(x, args)
        return memo[x]

    return visit(e)
