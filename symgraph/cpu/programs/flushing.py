"""Run a program while subnormal numbers count as zero, as `numerics="fast"` allows.

A processor takes a hundred cycles and more for each; gradients that fade away are full of them.
"""

from __future__ import annotations

BITS = 0x8040  # of the mode: results become zero, operands are taken as zero

_BODY = "define i32 @run("
_TEXT = f"""
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

define i32 @run(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx) nounwind {{
  %old = alloca i32, align 4
  %new = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %old)
  %mode = load i32, ptr %old, align 4
  %flushing = or i32 %mode, {BITS}
  store i32 %flushing, ptr %new, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %new)
  %status = call i32 @run.body(ptr %bufs, ptr %dims, ptr %arena, ptr %ctx)
  call void @llvm.x86.sse.ldmxcsr(ptr %old)
  ret i32 %status
}}
"""


def flushing(text: str) -> str:
    """Return the module with a `run` that sets the mode, and puts it back. For x86-64.

    Threads that share its loops take on the mode of the one that calls (`native/pool_text`).
    """
    return text.replace(_BODY, "define internal i32 @run.body(") + _TEXT
