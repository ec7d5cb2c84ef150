"""The native call path: what a compiled function's entry checks, and how it is put in front of it.

A function's module defines `i32 @run(ptr bufs, ptr dims, ptr arena, ptr ctx)` and, if it has
run-time sizes, `void @derive(ptr dims)`; `emit_entry` adds what else that module needs. The entry
itself is one machine program for all functions (`entry_text`), led by the tables of `plan`.
"""

from __future__ import annotations

from symgraph.cpu.abi import ArraySpec, Ctx, EntrySpec, Slot
from symgraph.cpu.entry.cells import SharedCell
from symgraph.cpu.entry.context import Entry, make_callable_class

__all__ = [
    "ArraySpec",
    "Entry",
    "EntrySpec",
    "SharedCell",
    "Slot",
    "emit_entry",
    "entry_names",
    "make_callable_class",
]

_CHECK = """
define internal i32 @check_interrupt(ptr %ctx) {{
  %at = getelementptr i64, ptr %ctx, i64 {word}
  %check = load ptr, ptr %at
  %r = tail call i32 %check(ptr %ctx)
  ret i32 %r
}}
"""
_NO_CHECK = """
define internal i32 @check_interrupt(ptr %ctx) {
  ret i32 0
}
"""


def emit_entry(spec: EntrySpec) -> str:
    """Return LLVM text of `i32 @check_interrupt(ptr ctx)`, for `run` to call between its parts.

    It answers -1 if a signal handler raised (`run` must then return -1), else 0. It looks at
    signals only where the interpreter lock is released, since a handler is Python code.
    """
    return _CHECK.format(word=Ctx.CHECK_INTERRUPT) if spec.release_gil else _NO_CHECK


def entry_names(spec: EntrySpec) -> tuple[str, ...]:
    """Return the names that `jit.build` must resolve in the module of a function for `Entry`."""
    return ("run", "derive") if spec.n_dims else ("run",)
