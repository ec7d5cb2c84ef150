"""Reports of a compiled version: kernels, memory, library calls, times, each stage's text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from symgraph.compile.forecast import forecast
from symgraph.compile.profile import Timing, timings, title
from symgraph.core.node import Node, describe
from symgraph.core.walk import toposort
from symgraph.cpu.abi import Ctx
from symgraph.cpu.machine import machine
from symgraph.cpu.native import jit
from symgraph.cpu.native.pool import get_threads
from symgraph.dims.dim import Atom
from symgraph.loops.expr import format_expr
from symgraph.loops.schedule import NEVER_SHARED, PARALLEL_WORK
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Program, Statement

if TYPE_CHECKING:
    from symgraph.compile.version import Version


def report_version(version: Version) -> str:
    """Return the plain-text report of one version."""
    module, stages = version.module, version.stages
    lines = [f"{version.name}: {version.kind} for arguments {version.shapes}"]
    lines.append(f"  why: {version.choice.why}")
    if version.symbols:
        lines.append(f"  run-time sizes: {', '.join(a.name for a in version.symbols)}")
        lines += [f"    {fact}" for fact in version.sizes.describe()]
    names = {k.name for k in module.kernels}
    lines.append(f"  kernels: {len(module.kernels)} calls of {len(names)} different kernels")
    lines += _kernels(version)
    lines += _stored(version)
    arena = module.arena
    plan = module.plan
    lines.append(
        f"  memory: arena {arena:,} bytes"
        if isinstance(arena, int)
        else f"  memory: arena of {arena!r} bytes"
    )
    lines[-1] += f" for {len(plan.offsets) + len(plan.dynamic)} temporaries of {plan.total_bytes:,}"
    in_place = len(stages.aliases)
    if in_place:
        lines.append(f"  updates stored in place: {in_place}")
    lines.append(f"  threads: {'shared among the pool' if module.parallel else 'one'}")
    phases = ", ".join(f"{name} {1e3 * s:.1f}" for name, s in stages.seconds.items())
    source = "disk cache" if version.entry.loaded.times.cached else "compiled"
    lines.append(f"  time: {1e3 * version.seconds:.1f} ms ({phases}; {source})")
    return "\n".join(lines)


def _kernels(version: Version) -> list[str]:
    """Return what each statement does, costs, should take and (where profiled) took."""
    assert version.stages.program is not None
    sizes, found = _first_sizes(version), machine()
    measured = timings(version)
    lines = []
    statements = version.stages.program.statements
    pairs = zip(statements, version.module.statements, strict=True)
    for k, (statement, kernel) in enumerate(pairs):
        nodes = [n for n in kernel.origin if isinstance(n, Node)]
        what = title(nodes, isinstance(statement, Check))
        lines.append(f"    {kernel.name:<5} {what[:70]:<70}  {_how(kernel)}")
        try:
            shared = _threads(version) if _is_parallel(statement, kernel) else 1
            cost = forecast(statement, sizes, found, threads=shared)
        except KeyError:  # a size that no argument has
            continue
        amount = "? ops" if cost.operations is None else f"{cost.operations:,} ops"
        parts = [amount, f"{_size(cost.read)} read", f"{_size(cost.written)} written"]
        if cost.seconds is not None:
            where = "one core" if shared == 1 else f"{shared} threads"
            parts.append(f"predicted {_time(cost.seconds)} on {where}")
        timing = measured[k] if measured and measured[k].calls else None
        if timing is not None:
            parts.append(f"measured {_time(timing.seconds / timing.calls)}")
        lines.append(f"          {', '.join(parts)}")
        if timing is not None:
            lines += _steps(timing, timing.calls, "          ")
    return lines


def _steps(loop: Timing, runs: int, indent: str) -> list[str]:
    """Return what the statements of a loop took in one run of the function."""
    lines = []
    for timing in loop.inside:
        steps = timing.calls / runs
        time = _time(timing.seconds / runs)
        lines.append(f"{indent}step: {timing.name[:70]:<70}  {time} in {steps:,.10g} steps")
        lines += _steps(timing, runs, f"{indent}    ")
    return lines


def _threads(version: Version) -> int:
    """Return how many threads parallel kernels of a version run on now."""
    most = int(version.entry.words[Ctx.MAX_THREADS])
    return min(most, get_threads()) if most else get_threads()


def _is_parallel(statement: Statement, kernel: Any) -> bool:
    """Tell whether threads share a kernel, as far as is known before it runs."""
    if kernel.schedule is not None:
        return bool(kernel.schedule.parallel and kernel.schedule.grain is not NEVER_SHARED)
    large = kernel.work is None or kernel.work > PARALLEL_WORK
    return isinstance(statement, LibraryCall) and statement.name in ("gemm", "contract") and large


def _first_sizes(version: Version) -> dict[Atom, int]:
    """Return the run-time sizes of the call that the version was compiled for."""
    known: dict[Atom, int] = {}
    for shape, wanted in zip(version.shapes, version.entry.spec.args, strict=True):
        for n, size in zip(shape, wanted.shape, strict=True):
            if not isinstance(size, int) and size.index < len(version.symbols):
                known[version.symbols[size.index]] = n
    return known


def _stored(version: Version) -> list[str]:
    """Return why values are stored between kernels instead of computed where they are used."""
    reasons = [
        f"    {describe(n, 2)[:70]:<70}  {why}"
        for n, why in version.stages.reasons.items()
        if not why.startswith("a result")
    ]
    return ["  not fused with their readers:", *reasons[::-1]] if reasons else []


def _size(count: int) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 10_000:
            return f"{count:,} {unit}"
        count //= 1024
    return f"{count:,} GB"


def _time(seconds: float) -> str:
    return f"{1e6 * seconds:.3g} us" if seconds < 1e-3 else f"{1e3 * seconds:.3g} ms"


def _how(kernel: Any) -> str:
    if kernel.schedule is not None:
        return _schedule(kernel.schedule)
    node = kernel.origin[0] if kernel.origin else None
    if isinstance(node, Node) and node.op.compound:
        return "steps in one function"
    return "library call"


def _schedule(schedule: Any) -> str:
    parts = []
    if schedule.vector is not None:
        parts.append(f"{schedule.lanes} lanes along {schedule.vector.name}")
    if schedule.tile > 1:
        parts.append(f"tile {schedule.tile}")
    if schedule.strip:
        parts.append(f"in strips of {schedule.strip}")
    if schedule.parallel:
        parts.append("parallel")
    return ", ".join(parts) or "scalar or row loops"


def report_stage(version: Version, stage: str) -> str:
    """Return the text of one stage: "graph", "loops", "llvm" or "asm"."""
    if stage == "graph":
        return format_graph(version.graph)
    if stage == "loops":
        assert version.stages.program is not None
        return format_program(version.stages.program)
    if stage == "llvm":
        return version.module.text
    if stage == "asm":
        return jit.compile_assembly(version.module.text + _NO_CHECK, jit.target())
    raise ValueError(f'stage must be "graph", "loops", "llvm" or "asm", got {stage!r}')


_NO_CHECK = "\ndefine internal i32 @check_interrupt(ptr %ctx) {\n  ret i32 0\n}\n"


def format_program(program: Program) -> str:
    """Return the loop program as text."""
    return "\n".join(_statements(program.statements))


def _statements(statements: Sequence[Statement]) -> list[str]:
    lines = []
    for statement in statements:
        if isinstance(statement, Loop):
            lines += [_loop_head(statement), *(f"    {t}" for t in _statements(statement.body))]
            lines += [f"    swap {a}, {b}" for a, b in statement.carried if a is not b]
            if statement.go_on is not None:
                lines.append(f"    while {format_expr(statement.go_on)}")
        elif isinstance(statement, Nest):
            loops = ", ".join(map(repr, statement.axes)) or "once"
            mark = " serial" if statement.serial else (" running" if statement.scan else "")
            lines.append(f"for {loops}{mark}:")
            for t in statement.stores:
                sign = f"{t.accumulate}=" if t.accumulate else "="
                lines.append(
                    f"    {t.buffer}[{format_expr(t.address)}] {sign} {format_expr(t.value)}"
                )
        elif isinstance(statement, Check):
            lines.append(f"check {format_expr(statement.condition)} -> error {statement.code}")
        elif isinstance(statement, LibraryCall):
            args = ", ".join(map(repr, statement.inputs))
            lines.append(f"{statement.outputs[0]} = {statement.name}({args})")
    return lines


def _loop_head(loop: Loop) -> str:
    if loop.free:
        return f"turn {loop.axis!r}:"
    head = f"step {loop.axis.name}" if loop.go_on is not None else f"step {loop.axis!r}"
    if loop.count is not None:
        head += f" at most {format_expr(loop.count)} times"
    return f"{head} if {format_expr(loop.start)}:" if loop.start is not None else f"{head}:"


def format_graph(outputs: list[Node]) -> str:
    """Return the graph as numbered assignments."""
    number: dict[Node, str] = {}
    lines: list[str] = []
    for node in toposort(outputs):
        if node.op.is_leaf:
            number[node] = describe(node)
            continue
        number[node] = f"%{len(lines)}"
        args = ", ".join(number[i] for i in node.inputs)
        given = dict(zip(node.op.params, node.params or (), strict=bool(node.params)))
        params = f" {given}" if given else ""
        lines.append(f"{number[node]} = {node.op.name}({args}){params}: {node.type}")
    lines.append("return " + ", ".join(number[n] for n in outputs))
    return "\n".join(lines)
