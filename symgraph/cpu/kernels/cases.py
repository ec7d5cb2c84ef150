"""Kernels for run-time sizes with forms of their own for short rows: they choose when called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from symgraph.core.lazy import lazy
from symgraph.core.record import replace
from symgraph.cpu.kernels.kernel import KernelEmitter, function_head
from symgraph.loops.expr import walk
from symgraph.loops.schedule import Schedule, choose_schedule, element_bytes
from symgraph.loops.statements import Nest

if TYPE_CHECKING:
    from symgraph.loops.narrow import Case

narrow: Any = lazy("symgraph.loops.narrow")  # no first version of a function needs it
MOST_FORMS = 20  # of a program: each takes a millisecond or two to compile


def with_cases(
    emitter: KernelEmitter, nest: Nest, schedule: Schedule, most: int
) -> tuple[str, int]:
    """Return the text of a kernel that `emitter` has written, with forms for short rows; how many.

    All are passed the same: what one form needs beside the others is added to the emitter. There
    are none if there would be more than `most`.
    """
    if not emitter.sizes:
        return emitter.text("@KERNEL"), 0
    s = emitter.builder
    forms: list[tuple[Case, KernelEmitter]] = []
    for found in narrow.narrow_nests(s, nest, schedule, emitter.vector_bytes, emitter.around):
        case = found.case
        width = emitter.vector_bytes // 2 if case.half else emitter.vector_bytes
        own = replace(choose_schedule(found.nest, width), parallel=schedule.parallel)
        if own.tile > 1 or own.strip or own.order[0].name != schedule.order[0].name:
            continue
        form = KernelEmitter(s, width, emitter.around)
        form.machine_bytes = emitter.vector_bytes
        form.buffers, form.sizes, form.declared = emitter.buffers, emitter.sizes, emitter.declared
        form.originals, form.fixed = found.originals, found.fixed
        form.masked_stores = emitter.masked_stores
        form.undivided = max(schedule.block // 2, schedule.lanes)
        if case.fixed and not case.tile and own.vector is own.order[0]:
            base = width // element_bytes(walk([t.value for t in nest.stores]))
            dear = max(t.value.cost for t in nest.stores) > narrow.CHEAP
            lanes = base if dear else own.lanes
            case, form.whole = replace(case, step=lanes), True
            own = replace(own, lanes=lanes)
        form.write(found.nest, own)
        forms.append((case, form))
    last = forms.pop() if forms and forms[-1][0].last else None
    if not forms or len(forms) > most:
        return emitter.text("@KERNEL"), 0
    if last is None or not _complete([case for case, _ in forms], last[0]):
        last = replace(forms[-1][0], least=0, last=True), emitter
    emitters = [*(form for _, form in forms), last[1]]
    names = [f"@KERNEL_{k}" for k in range(len(emitters))]
    cases = [(case, name) for (case, _), name in zip(forms, names, strict=False)]
    chosen = _choice(emitter, cases, names[-1], last[0])  # it may ask for one more size
    texts = [e.text(name) for e, name in zip(emitters, names, strict=True)]
    return "\n".join([*texts, chosen]), len(forms)


def _complete(cases: Sequence[Case], last: Case) -> bool:
    """Tell whether each size from 1 on has a case, so that the last one is all that is left."""
    next_one = 1
    for case in cases:
        if not case.fixed and case.least <= next_one:
            next_one = case.most + 1
    return last.least <= next_one


def _choice(
    emitter: KernelEmitter, cases: Sequence[tuple[Case, str]], otherwise: str, last: Case
) -> str:
    """Return a function that calls the first one whose case holds, or `otherwise`.

    One that takes rows by whole vectors leaves the rest of its range to one that does not.
    """
    sizes = [emitter.size(case.size) for case, _ in cases]
    rows = emitter.schedule.order[0].extent
    if any(case.tile for case, _ in cases):
        emitter.size(rows)
    lines = [function_head("@KERNEL"), "entry:", *emitter.arguments()]
    for k, ((case, name), size) in enumerate(zip(cases, sizes, strict=True)):
        lines.append(f"  %l{k} = sub i64 {size}, {case.least}")
        test = f"eq i64 {size}, {case.most}"
        if not case.fixed:
            test = f"ule i64 %l{k}, {case.most - case.least}"
        lines.append(f"  %c{k} = icmp {test}")
        lines.append(f"  br i1 %c{k}, label %is{k}, label %not{k}")
        lines.append(f"is{k}:")
        begin, end = "%begin", "%end"
        if case.tile > 1:
            begin, end = f"%b{k}.rows", f"%e{k}"
            lines.append(f"  {begin} = mul i64 %begin, {case.tile}")
            lines.append(f"  %t{k}.rows = mul i64 %end, {case.tile}")
            lines.append(f"  %i{k} = icmp slt i64 %t{k}.rows, {emitter.size(rows)}")
            lines.append(f"  {end} = select i1 %i{k}, i64 %t{k}.rows, i64 {emitter.size(rows)}")
        if case.step:
            lines.append(f"  %s{k} = sub i64 {end}, {begin}")
            lines.append(f"  %w{k} = and i64 %s{k}, {-case.step}")
            lines.append(f"  %m{k} = add i64 {begin}, %w{k}")
            wider = (n for c, n in cases if not c.fixed and c.least <= case.most <= c.most)
            lines.append(_call(next(wider, otherwise), f"%m{k}", "%end"))
            end = f"%m{k}"
        lines += [_call(name, begin, end), "  ret void", f"not{k}:"]
    if last.least:
        lines.append(f"  %some = icmp sge i64 {emitter.size(last.size)}, {last.least}")
        lines += ["  br i1 %some, label %long, label %none", "none:", "  ret void", "long:"]
    return "\n".join([*lines, _call(otherwise, "%begin", "%end"), "  ret void", "}", ""])


def _call(name: str, begin: str, end: str) -> str:
    return f"  call void {name}(ptr %args, i64 {begin}, i64 {end})"
