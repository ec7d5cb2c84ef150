"""THE list of passes: from a graph with known sizes to a native module."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph import rewrites
from symgraph.core.body import some_node, with_bodies
from symgraph.core.config import config
from symgraph.core.dtype import BFLOAT16
from symgraph.core.lazy import lazy
from symgraph.core.node import Node
from symgraph.core.op import o
from symgraph.core.record import dataclass, field, replace
from symgraph.core.source import made_from
from symgraph.core.walk import inherit, toposort
from symgraph.cpu.native import jit
from symgraph.cpu.programs.module import Module
from symgraph.cpu.programs.program import ProgramEmitter
from symgraph.dims.dim import Atom
from symgraph.loops.borders import split_borders
from symgraph.loops.build import Lowering
from symgraph.loops.duplicates import without_duplicates
from symgraph.loops.expr import Buffer
from symgraph.loops.fuse import merge_nests
from symgraph.loops.inplace import updated_in_place
from symgraph.loops.long_products import LOOP_COLUMNS, LOOP_ROWS
from symgraph.loops.order import run_order
from symgraph.loops.picked import pick_elements
from symgraph.loops.roots import MANY_ROWS, runs_across
from symgraph.loops.simplify import collapse
from symgraph.loops.statements import Loop, Nest, Program, Store
from symgraph.loops.storage import reads, writes
from symgraph.loops.turns import in_turns
from symgraph.rewrites.held import held_type, in_memory
from symgraph.rewrites.shapes import with_numbers

# Few graphs have loops, functions with rules of their own, or numbers that are no machine numbers.
aligned: Any = lazy("symgraph.loops.aligned")
bfloat16: Any = lazy("symgraph.rewrites.bfloat16")
complex_numbers: Any = lazy("symgraph.rewrites.complex")
custom: Any = lazy("symgraph.ops.custom")
flushing: Any = lazy("symgraph.cpu.programs.flushing")
loop_rewrites: Any = lazy("symgraph.rewrites.loops")
panels: Any = lazy("symgraph.loops.panels")
verify: Any = lazy("symgraph.loops.verify")  # tests look after each stage

LOOP_PRODUCT = 140_000  # multiply-adds up to which a product becomes a fused loop nest
SHORT_SUM = 32  # packing operands does not pay for sums as short as this
LOOP_MATRIX = 1 << 20  # elements from which two or three rows meet it by a call: read in order


@dataclass(slots=True)
class Stages:
    """What each pass made, and how long it took, for `f.explain()` and for the tests."""

    graph: list[Node] = field(default_factory=list)
    program: Program | None = None
    aliases: dict[Buffer, Buffer] = field(default_factory=dict)
    module: Module | None = None
    error_nodes: list[Node] = field(default_factory=list)
    leaf_buffers: dict[Node, Buffer] = field(default_factory=dict)
    node_buffers: dict[Node, Buffer] = field(default_factory=dict)  # stored nodes, no leaves
    constant_arrays: dict[Buffer, np.ndarray] = field(default_factory=dict)
    reasons: dict[Node, str] = field(default_factory=dict)  # why a stored node is not inlined
    seconds: dict[str, float] = field(default_factory=dict)


class _Clock:
    def __init__(self, stages: Stages) -> None:
        self.stages, self.last = stages, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.stages.seconds[name] = self.stages.seconds.get(name, 0.0) + now - self.last
        self.last = now


def by_loops(node: Node) -> bool:
    """Tell whether a product becomes a (fused) loop nest rather than a call of the product."""
    if node.op.by_loops is not None:
        return bool(node.op.by_loops(node))
    if node.op.name != "matmul":
        return True
    if node.dtype not in ("float32", "float64"):
        return True
    a, b = node.inputs
    m, k, n = a.type.shape[-2], a.type.shape[-1], b.type.shape[-1]
    if runs_across(b) and isinstance(m, int) and 1 < m < MANY_ROWS and n != 1:
        return False  # no vectors along n, and too few rows to transpose for
    if isinstance(k, int) and k <= SHORT_SUM:
        return True
    if not all(isinstance(x, int) for x in (m, k, n)):
        return 1 in (m, n)  # a vector is read once: packing it, or the matrix, never pays
    few_rows = m == 1 or (m <= LOOP_ROWS and k * n < LOOP_MATRIX)
    return bool(m * k * n <= LOOP_PRODUCT or few_rows or n <= LOOP_COLUMNS)


def expand_composed(outputs: Sequence[Node]) -> list[Node]:
    """Replace ops that are defined by other ops (softmax, sum_to ...) by their definition."""
    new: dict[Node, Node] = {}
    work = list(outputs)
    for node in toposort(work):
        inputs = tuple(new[i] for i in node.inputs)
        result = node if inputs == node.inputs else inherit(node.op.rebuild(node, inputs), node)
        result = inherit(with_bodies(result, expand_composed), node)
        if not result.op.is_leaf and result.op.specialise is not None:
            with made_from(node.source):
                result = result.op.specialise(o, result)
        if not result.op.is_leaf and result.op.expand is not None and result.op.lower is None:
            with made_from(node.source):
                expanded = result.op.expand(o, result)
            result = expand_composed([expanded])[0] if expanded is not result else result
        new[node] = result
    return [new[n] for n in outputs]


def complete(outputs: Sequence[Node]) -> list[Node]:
    """Do what follows the rules: put in the definitions of composed ops, and numbers for sizes."""
    return with_numbers(expand_composed(outputs))


def lower(
    outputs: Sequence[Node],
    updates: Sequence[tuple[Node, Node]],
    args: Sequence[Node],
    shared: Sequence[Node],
) -> Stages:
    """Return the loop program of `outputs` and in-place updates (shared variable, new value)."""
    stages = Stages()
    clock = _Clock(stages)
    values = [*outputs, *(v for _, v in updates)]
    values, views = in_memory(values)
    held = {n: held_type(n.type) for n in (*args, *shared, *outputs)}
    leaves = {
        n: Buffer(f"{n.name or 'x'}{k}", held[n].dtype, held[n].shape, kind, k)
        for k, (n, kind) in enumerate(
            [*((n, "input") for n in args), *((n, "shared") for n in shared)]
        )
    }
    first = len(args) + len(shared)
    targets = [
        Buffer(f"out{k}", held[n].dtype, held[n].shape, "output", first + k)
        for k, n in enumerate(outputs)
    ]
    temporaries = [
        Buffer(f"new{k}", v.dtype, v.type.shape, "temporary")
        for k, v in enumerate(values[len(outputs) :])
    ]
    stages.graph = list(values)
    places = {views.get(n, n): b for n, b in leaves.items()}
    lowering = Lowering(list(zip(values, [*targets, *temporaries], strict=True)), places, by_loops)
    program = lowering.run()
    if config.verify:
        verify.verify_program(program, "lowering")
    stages.error_nodes = lowering.error_nodes
    stages.reasons = lowering.roots
    stages.leaf_buffers = leaves
    stages.node_buffers = {
        n: b for n, b in lowering.buffers.items() if n not in places and not n.op.is_leaf
    }
    stages.constant_arrays = {
        b: n.data for n, b in lowering.buffers.items() if b.kind == "constant"
    }
    clock.lap("lower")
    program.statements = pick_elements(program.builder, program.statements)
    merge_nests(program)
    kept = {*temporaries, *lowering.aliases, *lowering.aliases.values()}
    program.statements, instead = without_duplicates(program.builder, program.statements, kept)
    stages.node_buffers = {n: instead.get(b, b) for n, b in stages.node_buffers.items()}
    goals = [(t, leaves[p]) for t, (p, _) in zip(temporaries, updates, strict=True)]
    stages.aliases = lowering.aliases | place_updates(program, goals)
    builder = program.builder
    fixed = {*temporaries, *stages.aliases, *stages.aliases.values(), *stages.constant_arrays}
    program.statements, gone = in_turns(builder, program.statements, fixed)
    stages.node_buffers = {n: b for n, b in stages.node_buffers.items() if b not in gone}
    parts = [p for s in program.statements for p in split_borders(builder, s)]
    program.statements = [collapse(builder, s) for s in parts]
    if config.verify:
        verify.verify_program(program, "collapse")
    clock.lap("loops")
    stages.program = program
    return stages


def place_updates(program: Program, goals: Sequence[tuple[Buffer, Buffer]]) -> dict[Buffer, Buffer]:
    """Decide which new values are stored over the old ones, and copy the others at the end.

    An update may run in place if nothing later reads the old value, if it reads the old value only
    at the element that it stores, and if no check that can fail comes after it.
    """
    accesses = [(set(reads(s)), set(writes(s))) for s in program.statements]
    order = run_order(program.statements, accesses, goals)
    program.statements = [program.statements[k] for k in order]
    accesses = [accesses[k] for k in order]
    aliases: dict[Buffer, Buffer] = {}
    late: list[tuple[Buffer, Buffer]] = []
    for new, old in goals:
        if updated_in_place(program.statements, accesses, new, old):
            aliases[new] = old
        else:
            late.append((new, old))
    for new, old in late:
        program.statements.append(_copy(program, new, old))
    return aliases


def _copy(program: Program, source: Buffer, target: Buffer) -> Nest:
    s = program.builder
    axes = tuple(s.axis(f"i{k}", n) for k, n in enumerate(target.shape))
    address = s.index(0)
    stride: Any = 1
    for a, n in zip(reversed(axes), reversed(target.shape), strict=True):
        address = s.iadd(address, s.imul(s.at(a), stride))
        stride = stride * n
    return Nest(axes, (Store(target, address, s.load(source, address)),))


def copy_operands(stages: Stages, vector_bytes: int) -> None:
    """Copy what the steps of loops read again and again to where that is quickest."""
    program = stages.program
    assert program is not None
    if any(isinstance(t, Loop) for t in program.statements):
        fixed = [b for pair in stages.aliases.items() for b in pair]
        program.statements = panels.in_panels(program, vector_bytes, fixed)
        program.statements = aligned.aligned_operands(program)
        if config.verify:
            verify.verify_program(program, "copies")


def emit(
    stages: Stages,
    symbols: Sequence[Atom] = (),
    sizes: Sequence[Any] = (),
    profile: bool = False,
    numerics: str = "default",
) -> Module:
    """Return the LLVM module of a lowered program."""
    assert stages.program is not None
    clock = _Clock(stages)
    target = jit.target()
    copy_operands(stages, target.vector_bytes)
    emitter = ProgramEmitter(
        stages.program, target.vector_bytes, symbols, sizes, stages.aliases, profile
    )
    module = emitter.emit()
    if numerics == "fast" and target.is_x86:
        module = replace(module, text=flushing.flushing(module.text))
    stages.module = module
    clock.lap("emit")
    return stages.module


def prepare(outputs: Sequence[Node], numerics: str) -> list[Node]:
    """Run the rewrites that need no sizes (at `function` time) or all of them (sizes known)."""
    if any(n.op.compound for n in toposort(outputs)):
        outputs = custom.inlined(outputs)
    if some_node(outputs, lambda n: n.type.dtype.is_complex):
        outputs = complex_numbers.realise(outputs)
    if some_node(outputs, lambda n: n.type.dtype is BFLOAT16):
        outputs = bfloat16.widened(outputs)
    return improve_loops(rewrites.optimise(outputs, numerics), numerics)


def improve_loops(outputs: list[Node], numerics: str) -> list[Node]:
    """Rewrite the loops of a graph, if there are any."""
    if not any(n.op.compound for n in toposort(outputs)):
        return outputs
    better: list[Node] = loop_rewrites.improve_loops(
        outputs, lambda roots: rewrites.optimise(roots, numerics), numerics == "strict"
    )
    return better
