"""Loops of run-time sizes with forms of their own for short states: they choose when called."""

from __future__ import annotations

from collections.abc import Callable

from symgraph.cpu.programs.repeat import LoopEmitter
from symgraph.loops.short_states import short_states
from symgraph.loops.statements import Loop


def with_short_states(
    emitter: LoopEmitter, loop: Loop, emitter_of_form: Callable[[], LoopEmitter], most: int
) -> tuple[str, int]:
    """Return the text of a loop that `emitter` has written, with its forms; how many these are.

    All are passed the same: what one form needs beside the others is added to the emitter. There
    are none if there would be more than `most`.
    """
    found = list(short_states(emitter.builder, loop, emitter.vector_bytes))
    if not found or len(found) > most:
        return emitter.text("@KERNEL"), 0
    forms = []
    for short in found:
        form = emitter_of_form()
        form.buffers, form.sizes, form.declared = emitter.buffers, emitter.sizes, emitter.declared
        form.originals, form.short = short.originals, short
        form.emit_loop(short.loop)
        emitter.parallel |= form.parallel
        emitter.detached |= form.detached
        forms.append(form)
    size = emitter.size(found[0].size)
    texts = [form.text(f"@KERNEL_{k}") for k, form in enumerate(forms)]
    lines = ["define internal i32 @KERNEL(ptr %args, ptr %ctx) nounwind {", "entry:"]
    lines += [*emitter.arguments(), f"  %less = sub i64 {size}, 1"]
    for k, short in enumerate(found):
        lines.append(f"  %c{k} = icmp ult i64 %less, {short.most}")
        lines += [f"  br i1 %c{k}, label %is{k}, label %not{k}", f"is{k}:"]
        lines += [_call(f"@KERNEL_{k}", f"%s{k}"), f"  ret i32 %s{k}", f"not{k}:"]
    lines += [_call("@KERNEL_long", "%status"), "  ret i32 %status", "}", ""]
    return "\n".join([*texts, emitter.text("@KERNEL_long"), *lines]), len(forms)


def _call(name: str, result: str) -> str:
    return f"  {result} = call i32 {name}(ptr %args, ptr %ctx)"
