"""The builder of loop expressions that lowering uses: it names the axes of reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.loops.expr import Axis, Expr, Size
from symgraph.loops.interned import Builder


class LoopBuilder(Builder):
    """A builder that names the loop axes of reductions."""

    def __init__(self) -> None:
        super().__init__()
        self.created: list[Axis] = []
        self.guarding = 0  # the axes of the condition under which a value is being lowered

    def new_axes(
        self, extents: Sequence[Size], index: Sequence[Any], name: str = "k"
    ) -> tuple[Axis, ...]:
        """Return axes for a reduction that are neither in `index` nor in the condition to read.

        Names restart from 0, so that reductions over equal extents share axes and merge. Axes of a
        window of fixed size are called "w": short ones become straight code.
        """
        used = self.guarding
        for i in index:
            if isinstance(i, Expr):
                used |= i.free
        axes: list[Axis] = []
        number = 0
        for extent in extents:
            axis = self.axis(f"{name}{number}", extent)
            while axis.bit & used:
                number += 1
                axis = self.axis(f"{name}{number}", extent)
            number += 1
            axes.append(axis)
        self.created.extend(axes)
        return tuple(axes)
