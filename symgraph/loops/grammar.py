"""The loop IR: scalar expressions over axes, buffers, and the nests that store them.

A tensor is a function of an index; an `Expr` is the value of that function at a symbolic index.
Fusing a producer into its consumer is calling its function, a view only changes the index, and
equal expressions are one object (each `Builder` interns what it makes).

    value = const | axis | affine | load | reduce | unary | binary | compare | select | cast ...
    nest  = axes, stores (buffer, address, value)
"""

from __future__ import annotations

from symgraph.loops.expr import (
    ARITHMETIC,
    BITWISE,
    COMPARE,
    INDEX,
    MATH,
    MATH2,
    REDUCTIONS,
    UNARY,
    Axis,
    Buffer,
    Expr,
    Index,
    Size,
    View,
    format_expr,
    walk,
)
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Program, Statement, Store

__all__ = [
    "ARITHMETIC", "BITWISE", "COMPARE", "INDEX", "MATH", "MATH2", "REDUCTIONS", "UNARY", "Axis",
    "Buffer", "Builder", "Check", "Expr", "Index", "LibraryCall", "Loop", "Nest", "Program",
    "Size", "Statement", "Store", "View", "format_expr", "walk",
]  # fmt: skip
