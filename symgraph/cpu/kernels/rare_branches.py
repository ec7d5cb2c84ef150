"""What only extreme arguments of a function need, behind a branch that is almost never taken.

Of vectors it stands in the kernel. Of single numbers, which loops over small states compute again
and again, it is a function: the text of a loop would be longer by half, and its compilation.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.cpu.kernels.operations import Operations
from symgraph.cpu.kernels.scope import Scope
from symgraph.cpu.native.digest import digest
from symgraph.cpu.text import literal, register_type, vector_type
from symgraph.cpu.vecmath.rare import rare_side
from symgraph.loops.expr import Expr

SELDOM = '!1 = !{!"branch_weights", i32 2000, i32 1}'  # registers are spilled behind the branch


class RareBranches(Operations):
    """Emits the branches around what is rare."""

    def _wide(self, e: Expr, scope: Scope, lanes: int) -> str:
        """Return a value in every lane."""
        raise NotImplementedError

    def _branch_rare(self, expansion: Expr, scope: Scope, lanes: int) -> None:
        """Compute what only huge arguments need behind a branch, taken if any lane has one."""
        group, rare = rare_side(expansion)
        if not group or group[0] in scope.env:
            return
        inside = set(rare)
        condition = self.value(group[0].args[0], scope)
        near = [self._wide(e.args[1], scope, lanes) for e in group]
        inputs = [x for x in dict.fromkeys(a for e in rare for a in e.args) if x not in inside]
        for x in inputs:
            self._wide(x, scope, lanes)
        if lanes > 1:
            bits = self._new(scope, f"bitcast <{lanes} x i1> {condition} to i{lanes}")
            usual = self._new(scope, f"icmp eq i{lanes} {bits}, -1")
        else:
            usual = condition
        head, exit_ = self._label("rare"), self._label("usual")
        inner = Scope(scope, head, scope.bits, scope.vector)
        if lanes > 1:
            for e in rare:
                args = [
                    inner.env[a] if a in inside else self._wide(a, scope, lanes) for a in e.args
                ]
                inner.env[e] = self._operation(e, inner, lanes, args)
            mixed = []
            for e, usual_value in zip(group, near, strict=True):
                t, c = vector_type(register_type(e.dtype), lanes), vector_type("i1", lanes)
                far = f"{t} {inner.env[e.args[2]]}"
                chosen = f"select {c} {condition}, {t} {usual_value}, {far}"
                mixed.append(self._new(inner, chosen))
        else:
            mixed = self._rare_call(inner, scope, group, rare, inputs)
        before = scope.label
        self.declared.add(SELDOM)
        scope.lines.append(f"  br i1 {usual}, label %{exit_}, label %{head}, !prof !1")
        scope.lines.extend([f"{head}:", *inner.lines, f"  br label %{exit_}", f"{exit_}:"])
        scope.label = exit_
        for e, usual_value, other in zip(group, near, mixed, strict=True):
            t = vector_type(register_type(e.dtype), lanes)
            scope.env[e] = self._new(
                scope, f"phi {t} [ {usual_value}, %{before} ], [ {other}, %{head} ]"
            )

    def _rare_call(
        self,
        inner: Scope,
        scope: Scope,
        group: Sequence[Expr],
        rare: Sequence[Expr],
        inputs: Sequence[Expr],
    ) -> list[str]:
        """Call the function of a rare part, whose text is among the declarations."""
        moving = [x for x in inputs if x.op != "const"]
        kinds = [register_type(x.dtype) for x in moving]
        results = [e.args[2] for e in group]
        types = [register_type(e.dtype) for e in results]
        kind = types[0] if len(types) == 1 else f"{{ {', '.join(types)} }}"
        body = _Body(self.builder, self.vector_bytes)
        text = body.function(kind, list(zip(kinds, moving, strict=True)), rare, results)
        name = f"@rare.{digest(text.encode()).hex()[:16]}"
        self.declared |= body.declared
        self.declared.add(text.replace("@RARE", name))
        given = ", ".join(f"{k} {self.value(x, scope)}" for k, x in zip(kinds, moving, strict=True))
        call = self._new(inner, f"call {kind} {name}({given})")
        if len(results) == 1:
            return [call]
        return [self._new(inner, f"extractvalue {kind} {call}, {k}") for k in range(len(results))]


class _Body(Operations):
    """Writes the function of a rare part, with names that do not depend on where it is called."""

    def value(self, e: Expr, scope: Scope) -> str:
        return literal(e.data, e.dtype) if e.op == "const" else scope.env[e]

    def function(
        self,
        kind: str,
        parameters: Sequence[tuple[str, Expr]],
        rare: Sequence[Expr],
        results: Sequence[Expr],
    ) -> str:
        """Return the text of a function that returns some of the values, several as a struct."""
        scope = self.root
        for k, (_, x) in enumerate(parameters):
            scope.env[x] = f"%x{k}"
        for e in rare:
            scope.env[e] = self._operation(e, scope, 1, [self.value(a, scope) for a in e.args])
        values = [self.value(e, scope) for e in results]
        found = values[0]
        if len(values) > 1:
            found = "poison"
            for k, (e, value) in enumerate(zip(results, values, strict=True)):
                one = f"{register_type(e.dtype)} {value}"
                found = self._new(scope, f"insertvalue {kind} {found}, {one}, {k}")
        given = ", ".join(f"{t} %x{k}" for k, (t, _) in enumerate(parameters))
        head = f"define internal {kind} @RARE({given}) noinline cold nounwind {{"
        return "\n".join([head, "entry:", *scope.lines, f"  ret {kind} {found}", "}", ""])
