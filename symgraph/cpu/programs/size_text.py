"""Symbolic sizes as instructions, computed once at the start of a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.dims.dim import Atom
from symgraph.loops.expr import Size


class SizeText:
    """Emits the arithmetic of symbolic sizes from the run-time sizes in `dims`."""

    def __init__(self, symbols: Sequence[Atom], lines: list[str]) -> None:
        self.symbols, self.lines = list(symbols), lines
        self._known: dict[Any, str] = {}

    def emit(self, n: Size) -> str:
        """Return the register (or number) that holds `n`."""
        if isinstance(n, int):
            return str(n)
        found = self._known.get(n)
        if found is None:
            total: str | None = None
            for monomial, coefficient in n.terms:
                term = str(coefficient)
                for atom in monomial:
                    value = self._atom(atom)
                    term = value if term == "1" else self._new(f"mul i64 {term}, {value}")
                total = term if total is None else self._new(f"add i64 {total}, {term}")
            found = self._known[n] = total or "0"
        return found

    def _atom(self, atom: Atom) -> str:
        found = self._known.get(atom)
        if found is not None:
            return found
        if atom.kind == "symbol":
            at = self._new(f"getelementptr i64, ptr %dims, i64 {self.symbols.index(atom)}")
            found = self._new(f"load i64, ptr {at}, align 8")
        else:
            a, b = (self.emit(x) for x in atom.args)
            found = self._call(atom.kind, a, b)
        self._known[atom] = found
        return found

    def _call(self, kind: str, a: str, b: str) -> str:
        if kind in ("min", "max", "broadcast"):
            test = "slt" if kind == "min" else "sgt"
            first = self._new(f"icmp {test} i64 {a}, {b}")
            return self._new(f"select i1 {first}, i64 {a}, i64 {b}")
        if not b.isdigit():  # sizes that a version then refuses may make it 0
            some = self._new(f"icmp sgt i64 {b}, 1")
            b = self._new(f"select i1 {some}, i64 {b}, i64 1")
        quotient = self._new(f"sdiv i64 {a}, {b}")
        whole = self._new(f"mul i64 {quotient}, {b}")
        rest = self._new(f"sub i64 {a}, {whole}")
        negative = self._new(f"icmp slt i64 {rest}, 0")  # divisors are positive sizes
        if kind == "floordiv":
            down = self._new(f"sub i64 {quotient}, 1")
            return self._new(f"select i1 {negative}, i64 {down}, i64 {quotient}")
        up = self._new(f"add i64 {rest}, {b}")
        return self._new(f"select i1 {negative}, i64 {up}, i64 {rest}")

    def _new(self, instruction: str) -> str:
        name = f"%z{len(self.lines)}"
        self.lines.append(f"  {name} = {instruction}")
        return name
