"""What a program becomes: LLVM text, and what its context table must hold."""

from __future__ import annotations

from typing import Any

from symgraph.core.record import dataclass, field
from symgraph.cpu.abi import RELEASE_WORK
from symgraph.cpu.programs.stopwatch import Timed
from symgraph.dims.dim import Atom, Dim
from symgraph.loops.expr import Buffer, Size
from symgraph.loops.schedule import Schedule
from symgraph.loops.storage import Plan


@dataclass(slots=True)
class KernelInfo:
    """What a report needs to know of one statement."""

    name: str
    origin: tuple[Any, ...]
    schedule: Schedule | None
    work: int | None
    shared_with: int = 0  # earlier kernels with the same code


@dataclass(slots=True)
class Module:
    """LLVM text of a program and what its context table must hold."""

    text: str
    kernels: list[KernelInfo]
    constants: list[Buffer]  # their addresses belong in the context from CONSTANT_WORDS on
    products: tuple[str, ...]  # those whose address belongs in PRODUCT_WORDS
    needs_lapack: bool  # a table of cpu/kernels/lapack.py belongs in LAPACK_WORD
    arena: Size  # bytes, or a symbolic size
    plan: Plan
    work: int | None
    parallel: bool
    detached: bool  # there are library calls that take long, or may
    symbols: list[Atom] = field(default_factory=list)  # run-time sizes, first in `dims`
    derived: list[Dim] = field(default_factory=list)  # what `derive` stores behind them
    timed: list[Timed] = field(default_factory=list)  # profiled statements, those of `run` first
    statements: list[KernelInfo] = field(default_factory=list)  # the kernel of each statement

    @property
    def release_gil(self) -> bool:
        return self.work is None or self.work > RELEASE_WORK
