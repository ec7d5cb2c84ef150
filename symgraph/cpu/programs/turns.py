"""Emit a loop whose steps do not need each other as one kernel, which threads share.

What a step writes and reads itself has several places: a call of the kernel takes the first one
that no other call has. So a thread alone writes to the same lines of the caches in every step.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.kernels.kernel import function_head
from symgraph.cpu.programs.call_site import Call
from symgraph.loops.expr import Buffer, Expr, Size
from symgraph.loops.schedule import GRAIN_WORK, PARALLEL_WORK

DECLARED = "declare i64 @llvm.cttz.i64(i64, i1)"


def turns_text(calls: Sequence[Call], own: set[Buffer], places: int) -> tuple[str, list[Buffer]]:
    """Return the text of the kernel, and the buffers that it is passed, a word of 0 behind them.

    `calls` are the kernels of a step, which are passed its number; of the buffers in `own` each
    call takes one of `places` parts (64 at most).
    """
    passed = list(dict.fromkeys(b for call in calls for b in call.buffers))
    head = [function_head("@KERNEL"), "entry:"]
    start: list[str] = []
    body: list[str] = []
    names: dict[Buffer, str] = {}
    for k, b in enumerate(passed):
        names[b] = f"%p{k}"
        head.append(f"  %a{k} = getelementptr i64, ptr %args, i64 {k}")
        head.append(f"  %p{k} = load ptr, ptr %a{k}, align 8")
        if b in own:
            names[b] = f"%own{k}"
            size = b.size * b.dtype.itemsize // places
            start.append(f"  %o{k} = mul i64 %place, {size}")
            start.append(f"  %own{k} = getelementptr i8, ptr %p{k}, i64 %o{k}")
    for k, call in enumerate(calls):
        words: list[tuple[str, str]] = [("ptr", names[b]) for b in call.buffers]
        words += [("i64", _word(v)) for v in call.values]
        head.append(f"  %w{k} = alloca [{max(1, len(words))} x i64], align 16")
        for j, (kind, word) in enumerate(words):
            lines = body if word == "%t" else start
            lines.append(f"  %w{k}.{j} = getelementptr i64, ptr %w{k}, i64 {j}")
            lines.append(f"  store {kind} {word}, ptr %w{k}.{j}, align 8")
        body.append(f"  call void {call.name}(ptr %w{k}, i64 0, i64 {call.units})")
    text = [
        *head,
        f"  %taken = getelementptr i64, ptr %args, i64 {len(passed)}",
        "  br label %look",
        "look:",
        "  %old = load atomic i64, ptr %taken monotonic, align 8",
        "  %others = xor i64 %old, -1",
        f"  %free = and i64 %others, {-1 if places == 64 else (1 << places) - 1}",
        "  %some = icmp ne i64 %free, 0",
        "  br i1 %some, label %take, label %look",
        "take:",
        "  %place = call i64 @llvm.cttz.i64(i64 %free, i1 true)",
        "  %bit = shl i64 1, %place",
        "  %with = or i64 %old, %bit",
        "  %pair = cmpxchg ptr %taken, i64 %old, i64 %with acquire monotonic, align 8",
        "  %mine = extractvalue { i64, i1 } %pair, 1",
        "  br i1 %mine, label %start, label %look",
        "start:",
        *start,
        "  br label %turn",
        "turn:",
        "  %t = phi i64 [ %begin, %start ], [ %after, %turn ]",
        *body,
        "  %after = add nsw i64 %t, 1",
        "  %more = icmp slt i64 %after, %end",
        "  br i1 %more, label %turn, label %done",
        "done:",
        "  %left = xor i64 %bit, -1",
        "  %was = atomicrmw and ptr %taken, i64 %left release, align 8",
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
