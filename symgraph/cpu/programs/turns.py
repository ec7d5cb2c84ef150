"""Emit a loop whose steps do not need each other as one kernel, which threads share.

What a step writes and reads itself lies on the stack of the thread that does it.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.kernels.kernel import function_head
from symgraph.cpu.programs.call_site import Call
from symgraph.loops.expr import Buffer, Expr, Size
from symgraph.loops.schedule import GRAIN_WORK, PARALLEL_WORK
from symgraph.loops.storage import ALIGNMENT


def turns_text(calls: Sequence[Call], own: set[Buffer]) -> tuple[str, list[Buffer]]:
    """Return the text of the kernel, and the buffers that it is passed.

    `calls` are the kernels of a step, which are passed its number; `own` what lies on the stack.
    """
    passed = list(dict.fromkeys(b for call in calls for b in call.buffers if b not in own))
    head = [function_head("@KERNEL"), "entry:"]
    body: list[str] = []
    places: dict[Buffer, str] = {}
    for call in calls:
        for b in call.buffers:
            if b in own and b not in places:
                places[b] = f"%own{len(places)}"
                size = b.size * b.dtype.itemsize
                head.append(f"  {places[b]} = alloca [{size} x i8], align {ALIGNMENT}")
    for k, b in enumerate(passed):
        places[b] = f"%p{k}"
        head.append(f"  %a{k} = getelementptr i64, ptr %args, i64 {k}")
        head.append(f"  %p{k} = load ptr, ptr %a{k}, align 8")
    for k, call in enumerate(calls):
        words: list[tuple[str, str]] = [("ptr", places[b]) for b in call.buffers]
        words += [("i64", _word(v)) for v in call.values]
        head.append(f"  %w{k} = alloca [{max(1, len(words))} x i64], align 16")
        for j, (kind, word) in enumerate(words):
            lines = body if word == "%t" else head
            lines.append(f"  %w{k}.{j} = getelementptr i64, ptr %w{k}, i64 {j}")
            lines.append(f"  store {kind} {word}, ptr %w{k}.{j}, align 8")
        body.append(f"  call void {call.name}(ptr %w{k}, i64 0, i64 {call.units})")
    text = [
        *head,
        "  br label %turn",
        "turn:",
        "  %t = phi i64 [ %begin, %entry ], [ %after, %turn ]",
        *body,
        "  %after = add nsw i64 %t, 1",
        "  %more = icmp slt i64 %after, %end",
        "  br i1 %more, label %turn, label %done",
        "done:",
        "  ret void",
        "}",
        "",
    ]
    return "\n".join(text), passed


def _word(value: Size | Expr) -> str:
    """Return what a kernel is passed: a number, or the number of the turn."""
    return "%t" if isinstance(value, Expr) else str(value)


def shares(turns: int, work: int) -> tuple[bool, int]:
    """Return whether threads share turns of so much work in all, and how many a share has."""
    return work >= PARALLEL_WORK, max(1, GRAIN_WORK * turns // max(1, work))
