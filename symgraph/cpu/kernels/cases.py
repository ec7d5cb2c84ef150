"""Kernels for run-time sizes with forms of their own for short rows: they choose when called."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.record import replace
from symgraph.cpu.kernels.kernel import KernelEmitter, function_head
from symgraph.loops.expr import walk
from symgraph.loops.narrow import CHEAP, Case, narrow_nests
from symgraph.loops.schedule import Schedule, choose_schedule, element_bytes
from symgraph.loops.statements import Nest

MOST_FORMS = 12  # of a program: each takes a millisecond or two to compile


def with_cases(
    emitter: KernelEmitter, nest: Nest, schedule: Schedule, most: int
) -> tuple[str, int]:
    """Return the text of a kernel that `emitter` has written, with forms for short rows; how many.

    All are passed the same: what one form needs beside the others is added to the emitter. There
    are none if there would be more than `most`.
    """
    s = emitter.builder
    forms: list[tuple[Case, KernelEmitter]] = []
    for narrow in narrow_nests(s, nest, schedule, emitter.vector_bytes, emitter.around):
        case = narrow.case
        width = emitter.vector_bytes // 2 if case.half else emitter.vector_bytes
        own = replace(choose_schedule(narrow.nest, width), parallel=schedule.parallel)
        if own.tile > 1 or own.strip or own.order[0].name != schedule.order[0].name:
            continue
        form = KernelEmitter(s, width, emitter.around)
        form.buffers, form.sizes, form.declared = emitter.buffers, emitter.sizes, emitter.declared
        form.originals, form.fixed = narrow.originals, narrow.fixed
        form.masked_stores = emitter.masked_stores
        if case.fixed and own.vector is own.order[0]:
            base = width // element_bytes(walk([t.value for t in nest.stores]))
            lanes = base if max(t.value.cost for t in nest.stores) > CHEAP else own.lanes
            case, form.whole = replace(case, step=lanes), True
            own = replace(own, lanes=lanes)
        form.write(narrow.nest, own)
        forms.append((case, form))
    if not forms or len(forms) > most:
        return emitter.text("@KERNEL"), 0
    names = [f"@KERNEL_{k}" for k in range(len(forms) + 1)]
    cases = [(case, name) for (case, _), name in zip(forms, names, strict=False)]
    chosen = _choice(emitter, cases, names[-1])  # it may ask for one more size
    emitters = [*(form for _, form in forms), emitter]
    texts = [e.text(name) for e, name in zip(emitters, names, strict=True)]
    return "\n".join([*texts, chosen]), len(forms)


def _choice(emitter: KernelEmitter, cases: Sequence[tuple[Case, str]], otherwise: str) -> str:
    """Return a function that calls the first one whose case holds, or `otherwise`.

    One that takes rows by whole vectors leaves the rest of its range to one that does not.
    """
    sizes = [emitter.size(case.size) for case, _ in cases]
    lines = [function_head("@KERNEL"), "entry:", *emitter.arguments()]
    for k, ((case, name), size) in enumerate(zip(cases, sizes, strict=True)):
        lines.append(f"  %l{k} = sub i64 {size}, 1")
        test = f"eq i64 {size}" if case.fixed else f"ult i64 %l{k}"
        lines.append(f"  %c{k} = icmp {test}, {case.most}")
        lines.append(f"  br i1 %c{k}, label %is{k}, label %not{k}")
        lines.append(f"is{k}:")
        end = "%end"
        if case.step:
            lines.append(f"  %s{k} = sub i64 %end, %begin")
            lines.append(f"  %w{k} = and i64 %s{k}, {-case.step}")
            lines.append(f"  %m{k} = add i64 %begin, %w{k}")
            wider = (n for c, n in cases if not c.fixed and c.most >= case.most)
            lines.append(_call(next(wider, otherwise), f"%m{k}", "%end"))
            end = f"%m{k}"
        lines += [_call(name, "%begin", end), "  ret void", f"not{k}:"]
    return "\n".join([*lines, _call(otherwise, "%begin", "%end"), "  ret void", "}", ""])


def _call(name: str, begin: str, end: str) -> str:
    return f"  call void {name}(ptr %args, i64 {begin}, i64 {end})"
