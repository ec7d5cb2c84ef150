"""Choose the values that are stored: the others are computed anew wherever they are read.

Every value is a function of an index. The graph is walked from the outputs; for each node the
contexts are kept in which its value is read (nest, index, enclosing loops). A node that would be
recomputed too often, or whose reduction would run again and again, becomes a root: it gets a buffer
and a nest of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from symgraph.core.node import CONSTANT, Node
from symgraph.core.record import dataclass
from symgraph.dims.bounds import interval
from symgraph.dims.dim import provably_le
from symgraph.loops.builder import LoopBuilder
from symgraph.loops.costs import SCALAR_COST, array_bytes
from symgraph.loops.expr import Axis, Buffer, Expr, Size
from symgraph.loops.rowwise import LEAST_BYTES, LEAST_ROW
from symgraph.loops.schedule import SHUFFLE_STRIDE

RECOMPUTE_OTHER_NEST = 4  # cost per element above which a value read by two nests is stored
RECOMPUTE_SAME_NEST = 30  # the same inside one nest: softmax computes exp twice
RECOMPUTE_FAR = 20  # for two nests, of an array that no cache holds
FAR_BYTES = 1 << 22
FAR_PART = 1 << 18  # the same in a function that goes through MOVED_BYTES in all
MOVED_BYTES = 1 << 26
LONGEST_ROW = 4096  # elements of a row that the emitter keeps in the first-level cache
RECOMPUTE_SUMMED = 64  # turns of a product that need an operand, from which it is stored
RECOMPUTE_OUTER = 8  # cost above which a value is not recomputed in every turn of an outer loop
MANY_ROWS = 8  # of a product that reads its second operand across, from which it is transposed
NEST_BUDGET = 600  # cost of one nest's body above which producers are stored
DEEPEST = 150  # operations one above the other in a nest: passes go down into operands by recursion
VIEW = 2  # of these, a view: they go down into its index too
ROW_SUMS = ("sum", "max", "min")
DIVISIONS = ("ifloordiv", "imod")
# statements that read their inputs at an index, like a nest
RUNNING = {"cumsum", "cumprod", "cummax", "cummin", "linear_recurrence"}
REGION_STATEMENTS = {
    *("concatenate", "scatter", "scatter_reduce", "argsort", "argsort_first", "stacked"),
    *RUNNING,
}


@dataclass(frozen=True, slots=True)
class Context:
    """One way in which a node's value is read.

    nest: the root whose nest reads it; of a concatenation, whose parts are nests of their own, the
    root and the number of the part.
    """

    nest: Any
    index: tuple[Any, ...]
    guard: Expr | None
    loops: tuple[Axis, ...]  # the loops around the read, outermost first
    summed: int = 0  # how many of them, the last ones, are of a sum that the reader takes


class Roots:
    """The choice of stored values, and what it is made from."""

    s: LoopBuilder
    outputs: list[tuple[Node, Buffer]]
    by_loops: Callable[[Node], bool]
    walked: Callable[[Node], tuple[Node, tuple[Axis, ...], list[Any]]]

    def __init__(self) -> None:
        self.contexts: dict[Node, list[Context]] = {}
        self.roots: dict[Node, str] = {}  # with the reason why each is stored
        self.cost: dict[Node, int] = {}
        self.moved = 0  # bytes of the arrays that are read or stored in any case
        self.nest_cost: dict[Any, int] = {}
        self.above: dict[Node, int] = {}  # operations between a value and the roots that read it
        self.results: dict[Node, dict[int, Node]] = {}  # compound node -> its results in use

    def estimate(self, order: Sequence[Node]) -> None:
        """Estimate the cost of one element of each node, computed from stored values."""
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
                own = SCALAR_COST.get(node.op.name, 1)
            elif self.is_loop(node) or node.op.statements is not None:
                self.cost[node] = 1  # hoisted or stored: its readers see a load
                continue
            elif node.op.name == "random_bits":
                own = 60
            self.cost[node] = own + sum(self._share(i, node) for i in node.inputs)
        self.moved = sum(array_bytes(n) for n in order if n.op.is_leaf or self.is_statement(n))

    def _share(self, x: Node, node: Node) -> int:
        """Return what computing an operand adds to the cost of an element.

        What is one number along a row is computed once for it.
        """
        long = bool(node.ndim) and not is_size(node.type.shape[-1], 1)
        if long and (x.ndim == 0 or is_size(x.type.shape[-1], 1)):
            return min(self.cost[x], 1)
        return min(self.cost[x], 100)

    def _is_far(self, node: Node) -> bool:
        """Tell whether a value is large, and made of no more than one other large array.

        In a function that moves more than caches hold, no array of some size stays in them.

        To store it and to read it again then takes longer than to compute it a second time.
        """
        size = array_bytes(node)
        if size < FAR_BYTES and (size < FAR_PART or self.moved < MOVED_BYTES):
            return False
        return len(self._arrays_of(node)) <= 1

    def _arrays_of(self, node: Node) -> set[Node]:
        """Return the stored arrays of as many elements from which a value would be computed."""
        found: set[Node] = set()
        stack = [node]
        while stack:
            n = stack.pop()
            for x in n.inputs:
                if math.prod(x.type.shape) < math.prod(node.type.shape):
                    continue
                if x.op.is_leaf or x in self.roots or self.is_loop(x):
                    found.add(x)
                else:
                    stack.append(x)
        return found

    def is_loop(self, node: Node) -> bool:
        """Tell whether the value is a reduction loop per element."""
        return node.op.loops and not self.is_statement(node)

    def is_statement(self, node: Node) -> bool:
        op = node.op
        return op.statements is not None and (op.lower is None or not self.by_loops(node))

    def choose_roots(self, order: Sequence[Node]) -> None:
        for node, _ in self.outputs:
            if not node.op.is_leaf:
                self.roots[node] = "a result of the function"
        for node in reversed(order):
            if node.op.is_leaf:
                continue
            if node.op.name == "result":
                self.roots[node] = "a result of a loop or branch"
                self.results.setdefault(node.inputs[0], {})[node.params.index] = node
                continue
            if node.op.compound:
                self._need_buffers(node)
                continue
            if self._reads_across(node):
                self.roots.setdefault(node.inputs[1], "transposed once for all rows of a product")
            contexts = self.contexts.get(node, [])
            if node not in self.roots:
                reason = self._reason(node, contexts)
                if reason is not None:
                    self.roots[node] = reason
            if node in self.roots:
                if self.is_statement(node):
                    self._need_buffers(node)
                    continue
                source = unshaped(node)
                axes = self.nest_axes(source)
                index = tuple(self.s.at(a) for a in axes)
                contexts = [Context(node, index, None, axes)]
                if source is not node:
                    if not source.op.is_leaf:
                        self.contexts.setdefault(source, []).extend(contexts)
                    continue
            for context in contexts:
                self._visit(node, context)

    def _reads_across(self, node: Node) -> bool:
        """Tell whether a product's loops would read a transposed second operand again and again.

        It is transposed once, into a buffer, so that many rows can be computed as vectors.
        """
        if node.op.name != "matmul" or not self.is_loop(node):
            return False
        b = node.inputs[1]
        if not runs_across(b):
            return False
        rows: Size = 1
        for n in node.type.shape[:-1]:
            rows = rows * n
        for n in b.type.shape[:-2]:
            rows = rows // n if isinstance(rows, int) and isinstance(n, int) and n else rows
        return provably_le(MANY_ROWS, rows) and not is_size(b.type.shape[-1], 1)

    def nest_axes(self, node: Node) -> tuple[Axis, ...]:
        return tuple(self.s.axis(f"i{k}", n) for k, n in enumerate(node.type.shape))

    def _need_buffers(self, node: Node) -> None:
        """The inputs of a statement are read as whole buffers, through views where possible."""
        regions = node.op.name in REGION_STATEMENTS
        for k, given in enumerate(node.inputs):
            x = given
            if node.op.name in RUNNING and self._one_by_one(node, x):
                self.roots.setdefault(x, f"{node.op.name} reads it in order, vectors compute it")
                continue
            if regions or k in node.op.copies(node):
                axes = self.nest_axes(x)
                nest: Any = node
                if node.op.name == "concatenate":
                    x, axes, _ = self.walked(x)
                    nest = (node, k)
                index = tuple(self.s.at(a) for a in axes)
                self.contexts.setdefault(x, []).append(Context(nest, index, None, axes))
                continue
            views = 0
            while x.op.view and not x.op.is_leaf and views < DEEPEST // VIEW:
                self.contexts.setdefault(x, [])
                x, views = x.inputs[0], views + 1
            if not x.op.is_leaf:
                self.roots.setdefault(x, f"{node.op.name} reads it as a whole array")

    def _one_by_one(self, node: Node, x: Node) -> bool:
        """Tell whether a running nest along the last axis would compute a dear value in no vector.

        Its elements wait for each other, and rows side by side are far apart in memory.
        """
        last = node.params.axis == node.ndim - 1
        return last and not x.op.is_leaf and self.cost[x] > RECOMPUTE_OUTER

    def _visit(self, node: Node, context: Context) -> None:
        """Run the lowering of `node` only to learn where it reads its inputs."""
        s = self.s
        s.created, s.guarding = [], 0 if context.guard is None else context.guard.free
        index_bits = _bits(context.index)
        inside = tuple(a for a in context.loops if a.bit & index_bits)
        loops = inside if self.is_loop(node) else None
        cost = 1 if node.op.view else SCALAR_COST.get(node.op.name, 2)
        self.nest_cost[context.nest] = self.nest_cost.get(context.nest, 0) + cost
        # about half of an operation's steps stand one above the other
        deep = VIEW if node.op.view else (cost + 1) // 2
        below = (0 if node in self.roots else self.above.get(node, 0)) + deep

        def record(k: int, index: tuple[Any, ...], guard: Expr | None = None) -> Expr:
            x = node.inputs[k]
            if not x.op.is_leaf:
                self.above[x] = max(self.above.get(x, 0), below)
                around = (context.loops if loops is None else loops) + tuple(s.created)
                both = both_guards(context.guard, guard)
                place = tuple(map(s.index, index))
                summed = len(s.created) or (context.summed if node.op.view else 0)
                new = Context(context.nest, place, both, around, summed)
                known = self.contexts.setdefault(x, [])
                if new not in known:
                    known.append(new)
            return s.load(Buffer("probe", x.dtype, (), "input"), 0)

        node.op.lower(s, node, context.index, record)
        s.guarding = 0

    def _reason(self, node: Node, contexts: Sequence[Context]) -> str | None:
        """Tell why a value is stored instead of put into its readers; None where it is not."""
        if self.is_statement(node):
            return f"{node.op.name} writes a whole array"
        if not contexts:  # only statements read it; they look through views
            return None if node.op.view else "only whole-array operations read it"
        if any(is_indirect(c.index) for c in contexts) and self.cost[node] > 2:
            return "it is read at positions that data give, or by a division"
        if self._picked_apart(node, contexts):
            return "a product would find its elements by a division, again for each row"
        prefix = all(_prefix(c) for c in contexts)
        if self.is_loop(node):
            places = {(c.nest, c.index, c.guard) for c in contexts}
            if len(places) > 1:
                return f"its sum would run for each of {len(places)} readings"
            if not prefix or any(_repeats(c, node) for c in contexts):
                return "its sum would run again in a loop of its reader"
            if node.op.name == "matmul" and self._crossed(node, contexts):
                return "its reader runs across its rows, which vectors compute"
            return None
        if node.op.name == "place" and any(_repeats(c, node) for c in contexts):
            return "padding is stored once rather than tested in every window"
        if self.above.get(node, 0) > DEEPEST:
            return "its reader is a long chain of operations already"
        if node.op.view:
            return None
        if node.op.lower is None:
            return f"{node.op.name} is made as a whole array"
        if any(self.nest_cost.get(c.nest, 0) > NEST_BUDGET for c in contexts):
            return "the body of its reader is long already"
        return self._too_dear(node, contexts, prefix)

    def _picked_apart(self, node: Node, contexts: Sequence[Context]) -> bool:
        """Tell whether a product reads a value through a reshape that no strides express.

        Stored in its own order, a reshape of it is a change of the index alone.
        """
        if node.op.name in ("reshape", "expand_dims", "squeeze"):  # what is below them decides
            return False
        divided = [c for c in contexts if is_indirect(c.index, DIVISIONS)]
        return any(_summed_often(c, MANY_ROWS) for c in divided)

    def _crossed(self, node: Node, contexts: Sequence[Context]) -> bool:
        """Tell whether the loops of a product would read neither operand along its rows.

        Operands of very short rows are read whole, and picked apart.
        """
        terms = node.inputs[0].type.shape[-1]
        short = isinstance(terms, int) and terms <= SHUFFLE_STRIDE
        return not short and any(map(_crosses, contexts))

    def _too_dear(self, node: Node, contexts: Sequence[Context], prefix: bool) -> str | None:
        """Tell where computing a value anew would cost more than storing it."""
        cost = self.cost[node]
        if not prefix and cost > RECOMPUTE_OUTER:
            return f"its {cost} operations would be done again in a loop of its reader"
        if not prefix and cost > 1 and any(_summed_often(c) for c in contexts):
            return f"its {cost} operations would be done again in every turn of a product"
        nests = len({c.nest for c in contexts})
        if nests > 1 and not self._along_one_row(node, {c.nest for c in contexts}):
            dear = cost > (RECOMPUTE_FAR if self._is_far(node) else RECOMPUTE_OTHER_NEST)
            return f"{nests} kernels read it, and it is {cost} operations" if dear else None
        if (len(contexts) - 1) * cost > RECOMPUTE_SAME_NEST and not _in_one_row(contexts):
            return f"one kernel reads it at {len(contexts)} places, and it is {cost} operations"
        return None

    def _along_one_row(self, node: Node, nests: set[Any]) -> bool:
        """Tell whether two nests become one that has each row at hand: see `loops/rowwise`.

        One stores a number for each row, made of the value; the other one reads that number.
        """
        row = node.type.shape[-1] if node.ndim else 0
        if not isinstance(row, int) or row * node.dtype.itemsize < LEAST_ROW or row > LONGEST_ROW:
            return False
        if len(nests) != 2 or array_bytes(node) < LEAST_BYTES:
            return False
        for made in nests:
            if isinstance(made, Node) and made.op.name in ROW_SUMS and self.is_loop(made):
                readers = {c.nest for c in self.contexts.get(made, ())}
                same = made.inputs[0].type.shape == node.type.shape
                along = same and made.params.axes == (node.ndim - 1,)
                if along and nests - {made} <= readers:
                    return True
        return False


def unshaped(x: Node) -> Node:
    """Return what is below reshapes: the same elements in the same order, walked along its axes."""
    while x.op.name == "reshape":
        x = x.inputs[0]
    return x


def runs_across(x: Node) -> bool:
    """Tell whether the last axis of `x` is another one of what it is a view of."""
    return bool(x.op.name == "permute_dims" and x.params.axes[-1] != x.ndim - 1)


def both_guards(a: Expr | None, b: Expr | None) -> Expr | None:
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


def _crosses(context: Context) -> bool:
    """Tell whether the innermost loop runs over rows of a matrix rather than along them."""
    if context.summed:
        return False
    loops = [a for a in context.loops if not is_size(a.extent, 1)]
    row, column = (_bits((i,)) for i in context.index[-2:])
    return bool(loops) and bool(column) and bool(loops[-1].bit & row & ~column)


def _summed_often(context: Context, often: int = RECOMPUTE_SUMMED) -> bool:
    """Tell whether a sum reads the value, the same elements in many turns of the loops around."""
    bits = _bits(context.index)
    own = context.loops[len(context.loops) - context.summed :]
    if not any(axis.bit & bits for axis in own):
        return False
    others = [a.extent for a in context.loops if not a.bit & bits]
    return math.prod(n for n in others if isinstance(n, int)) >= often


def _in_one_row(contexts: Sequence[Context]) -> bool:
    """Tell whether all readings go along one row, at the same place in the others.

    The emitter then keeps what is dear in a buffer as long as a row: see cpu/rows.
    """
    first, *rest = (c.index for c in contexts)
    if not first or any(index[:-1] != first[:-1] for index in rest):
        return False
    along = {c.index[-1] for c in contexts}
    if any(not isinstance(i, Expr) or len(i.args) != 1 or i.args[0].op != "axis" for i in along):
        return False
    extents = {i.args[0].data.extent for i in along}
    (extent,) = extents if len(extents) == 1 else (None,)
    most = None if extent is None else interval(extent)[1]
    return most is not None and most <= LONGEST_ROW


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


def is_indirect(index: Sequence[Any], how: Sequence[str] = (*DIVISIONS, "as_index")) -> bool:
    """Tell whether an index needs a division or comes from data."""
    for i in index:
        if isinstance(i, Expr):
            atoms = i.args if i.op == "affine" else (i,)
            if any(a.op in how for a in atoms):
                return True
    return False


def is_size(n: Size, value: int) -> bool:
    return isinstance(n, int) and n == value
