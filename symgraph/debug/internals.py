"""Write the examples of docs/internals: `python -m symgraph.debug.internals docs/internals`.

Each page holds blocks between `<!-- made by code: NAME -->` and `<!-- end -->`; `EXAMPLES[NAME]`
returns the text of one. Nothing in it depends on the machine: vectors have 32 bytes, as with AVX2.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from symgraph.autodiff.grad import grad
from symgraph.compile import pipeline
from symgraph.compile.classes import size_class
from symgraph.compile.explain import format_graph, format_program
from symgraph.compile.shared import SharedVariable, shared
from symgraph.compile.specialise import specialise
from symgraph.core.node import Node, describe, new_input
from symgraph.core.op import o
from symgraph.cpu.native import jit
from symgraph.cpu.programs.product import SLICES, product_shares
from symgraph.debug.stages import emitted, leaves_of, lowered
from symgraph.dims.dim import Dim, symbol
from symgraph.loops.build import Lowering
from symgraph.loops.expr import Buffer
from symgraph.loops.schedule import Schedule, choose_schedule
from symgraph.loops.simplify import collapse
from symgraph.loops.statements import Nest, Program
from symgraph.loops.storage import plan_storage

BLOCK = re.compile(r"(<!-- made by code: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
VECTOR_BYTES = 32


def _input(name: str, *shape: int | Dim, dtype: str = "float32") -> Node:
    return new_input(dtype, shape, name)


def _parameter(name: str, *shape: int) -> SharedVariable:
    return shared(np.zeros(shape, "float32"), name)


def _titled(*parts: tuple[str, str]) -> str:
    """Return texts, each below a line that says what it is."""
    return "\n\n".join(f"# {title}\n{text}" for title, text in parts)


def _program(stages: pipeline.Stages) -> Program:
    assert stages.program is not None
    return stages.program


# -- graph and derivatives -------------------------------------------------------------------------
def graph() -> str:
    """Show that equal expressions are one node, and what a node's type says."""
    m, n = symbol("m"), symbol("n")
    x = _input("x", m, n)
    first, second = o.exp(x * 2), o.exp(x * 2)
    flat = o.reshape(o.add(first, second), (m * n,))
    facts = [
        f"exp(x * 2) is exp(x * 2): {first is second}",
        f"x * 2 is 2 * x: {(x * 2) is (2 * x)}",
        f"(m + n) * 2 is n * 2 + m * 2: {(m + n) * 2 is n * 2 + m * 2}",
    ]
    return _titled(("nodes", format_graph([flat])), ("identity", "\n".join(facts)))


def derivatives() -> str:
    """Show the graph of a derivative as built and as rewritten."""
    x, w = _input("x", 8, 4), _input("w", 4)
    loss = o.sum(o.log(1 + o.exp(o.matmul(x, w))))
    slope = grad(loss, w)
    return _titled(
        ("loss", format_graph([loss])),
        ("its derivative by w, as built", format_graph([slope])),
        ("rewritten", format_graph(pipeline.prepare([slope], "default"))),
    )


def versions() -> str:
    """Show one graph with symbolic sizes, its exact version, and its generic version."""
    m, n, k = symbol("m"), symbol("n"), symbol("k")
    x, y = _input("x", m, n), _input("y", k, n)
    total = o.sum(x + y, axis=1)
    # Sizes of a call with x (6, 33) and y (1, 33).
    sizes = {d.terms[0][0][0]: v for d, v in ((m, 6), (n, 33), (k, 1))}
    exact, _ = specialise([total], sizes.get)
    generic, _ = specialise([total], size_class([total], sizes, sizes).sizes.get)
    return _titled(
        ("as written", format_graph([total])),
        ("exact: x (6, 33), y (1, 33)", format_graph(exact)),
        ("generic: k = 1 is a fact, m and n are read from the arguments", format_graph(generic)),
    )


# -- lowering and loops ----------------------------------------------------------------------------
def lowering() -> str:
    """Show loop programs, and which nodes were stored."""
    x, w = _input("x", 6, 33), _input("w", 33, 5)
    cases = (
        (o.softmax(x), "softmax(x): all read the maximum at its row: it is part of the nest"),
        (o.matmul(o.tanh(x), w), "tanh(x) @ w: each tanh would be computed 5 times: stored"),
        (x + o.sum(x), "x + sum(x): a reduction without the loop's axes runs before it"),
    )
    parts = []
    for node, title in cases:
        stages, _ = lowered([node])
        stored = [
            f"{b}: {describe(k, 2)}"
            for k, b in stages.node_buffers.items()
            if b.kind == "temporary"
        ]
        text = format_program(_program(stages))
        parts.append((title, text + "".join(f"\nstored {line}" for line in stored)))
    return _titled(*parts)


def _before_and_after(node: Node) -> str:
    """Return a loop program as lowered, and as simplified."""
    outputs = pipeline.complete(pipeline.prepare([node], "default"))
    leaves = {
        x: Buffer(f"{x.name}{k}", x.dtype, x.type.shape, "input", k)
        for k, x in enumerate(leaves_of(outputs))
    }
    target = Buffer("out0", node.dtype, node.type.shape, "output", len(leaves))
    program = Lowering([(outputs[0], target)], leaves, pipeline.by_loops).run()
    before = format_program(program)
    program.statements = [collapse(program.builder, s) for s in program.statements]
    return f"{before}\n# becomes\n{format_program(program)}"


def loops() -> str:
    """Show collapse, unroll_small and split_divided."""
    x, y, t = _input("x", 40, 24), _input("y", 40, 24), _input("t", 24, 40)
    image, row = _input("x", 1, 1, 6, 32), _input("x", 16)
    return _titled(
        ("collapse: rows of contiguous arrays are one loop", _before_and_after(x * y)),
        ("a transposed operand keeps both loops", _before_and_after(x + t.T)),
        ("unroll_small: a window becomes straight code", _before_and_after(
            o.max_pool2d(image, (2, 2)))),
        ("split_divided: i // 2 disappears", _before_and_after(
            o.repeat(row, 2, axis=0) + _input("y", 32))),
    )


# -- schedule and emission -------------------------------------------------------------------------
def _schedule_row(title: str, nest: Nest) -> str:
    s: Schedule = choose_schedule(nest, VECTOR_BYTES)
    order = " ".join(map(repr, s.order)) or "-"
    tile = f"{s.tile} of {s.unroll.name}" if s.unroll is not None and s.tile > 1 else "-"
    vector = f"{s.lanes} of {s.vector.name}" if s.vector is not None else "-"
    chunk = f"{s.grain}" if s.parallel else "-"
    return f"| {title} | `{order}` | {vector} | {tile} | {chunk} |"


def schedules() -> str:
    """Return a table of the schedules of a few nests, for vectors of 32 bytes."""
    x = _input("x", 64, 128)
    long = _input("v", 2_000_000)
    cases = {
        "`x * 2`": x * 2,
        "`sum(x, 1)`": o.sum(x, axis=1),
        "`sum(x, 0)`": o.sum(x, axis=0),
        "`softmax(x)`": o.softmax(x),
        "`x[:12, :16] @ w[:16, :24]`": o.matmul(_input("a", 12, 16), _input("b", 16, 24)),
        "`x.T + 1`": o.permute_dims(x, axes=(1, 0)) + 1,
        "`cumsum(x, 1)`": o.cumsum(x, axis=1),
        "`exp(v)`, 2,000,000 elements": o.exp(long),
    }
    lines = ["| value | loops | vector | tile | chunk |", "|---|---|---|---|---|"]
    for title, node in cases.items():
        program = _program(lowered([node])[0])
        lines += [_schedule_row(title, t) for t in program.statements if isinstance(t, Nest)]
    return "\n".join(lines)


def _kernel(node: Node) -> str:
    text = emitted([node], vector_bytes=VECTOR_BYTES).text
    start = text.index("define internal void @k0")
    return text[start : text.index("\n}", start) + 2]


def emission() -> str:
    """Show the text of a kernel with whole vectors and a masked rest."""
    return _kernel(_input("x", 19) * _input("y", 19))


def hoisting() -> str:
    """Show a value that is computed once per row, outside of the loop that uses it."""
    x, y = _input("x", 3, 16), _input("y", 3, 1)
    return _kernel(x * o.sqrt(y))


# -- storage ---------------------------------------------------------------------------------------
def arena() -> str:
    """Show the places of temporaries of a chain of products."""
    x = _input("x", 64, 64)
    ws = [_input(f"w{k}", 64, 64) for k in range(4)]
    for w in ws:
        x = o.tanh(o.matmul(x, w))
    program = _program(lowered([x])[0])
    plan = plan_storage(program)
    lines = [f"{b}: bytes {at} to {at + 4 * b.size}" for b, at in plan.offsets.items()]
    total = f"arena {plan.static_bytes} bytes for temporaries of {plan.total_bytes}"
    return _titled(("program", format_program(program)), ("arena", "\n".join([*lines, total])))


def updates() -> str:
    """Show which updates are stored in place, and in which order."""
    a, b, c = _parameter("a", 8), _parameter("b", 8), _parameter("c", 3)
    parts = []
    for title, pairs in (
        (
            "a <- a * 2, b <- a + b: every value is computed before it is stored over an old one",
            [(a, a * 2), (b, a + b)],
        ),
        (
            "a <- a * 2, c <- c + sum(a): c first, since it reads all of the old a",
            [(a, a * 2), (c, c + o.sum(a))],
        ),
        ("a <- b, b <- a: the two read each other, so one goes through memory", [(a, b), (b, a)]),
        (
            "a <- reversed(a): reads elements that were overwritten; stored, then copied",
            [(a, a[::-1])],
        ),
    ):
        stages, _ = lowered([], pairs)
        text = format_program(_program(stages))
        places = "".join(f"\nin place: {new} is {old}" for new, old in stages.aliases.items())
        parts.append((title, text + places))
    return _titled(*parts)


def scans() -> str:
    """Show the program of a recurrence, and of its gradient."""
    x, w, h = _input("x", 50, 8), _input("w", 8, 8), _input("h", 8)
    states = o.scan(lambda row, s: o.tanh(row + o.matmul(s, w)), x, h)
    cases = (
        ([states], "a recurrence: two places for the state, which exchange roles"),
        (
            grad(o.sum(states), [w]),
            "its gradient: the way back reads the stored states, one product follows it",
        ),
    )
    parts = []
    for outputs, title in cases:
        stages, _ = lowered(pipeline.prepare(outputs, "default"))
        pipeline.copy_operands(stages, VECTOR_BYTES)
        parts.append((title, format_program(_program(stages))))
    return _titled(*parts)


# -- calls, threads, cache -------------------------------------------------------------------------
def run_text() -> str:
    """Show `run` and `derive` of a generic function."""
    m, n = symbol("m", low=2), symbol("n", low=2)
    x = _input("x", m, n)
    node = o.reshape(x * 2, (m * n,))
    text = emitted([node], (), (m, n), VECTOR_BYTES).text
    return text[text.index("define i32 @run") :].rstrip()


def threads() -> str:
    """Show how a long sum and large products are cut."""
    lines = []
    for n in (8, 64, 128, 256, 1024, 4096):
        shares = product_shares([], n, n, n)
        parts = [
            SLICES // part if isinstance(part, int) and part < SLICES else 1
            for part in (shares.grain, shares.step)
        ]
        lines.append(f"| {n} x {n} x {n} | {parts[0]} | {parts[1]} |")
    columns = ("product (m, n, k)", "threads, at most", "steps, with looks at signals between")
    head = f"| {' | '.join(columns)} |"
    table = "\n".join([head, "|---|---|---|", *lines])
    program = format_program(_program(lowered([o.sum(_input("x", 100_000))])[0]))
    return f"{table}\n\n```text\n{program}\n```"


def cache() -> str:
    """Return what changes the key of an object file."""
    text = emitted([_input("x", 8) * 2], vector_bytes=VECTOR_BYTES).text
    linux = "x86_64-unknown-linux-gnu"
    target = jit.target(linux, "x86-64-v3")
    base = jit.cache_key(text, target)
    again = emitted([_input("other", 8) * 2], vector_bytes=VECTOR_BYTES).text
    longer = emitted([_input("x", 9) * 2], vector_bytes=VECTOR_BYTES).text
    rows = {
        "another input, of the same type": jit.cache_key(again, target),
        "another size": jit.cache_key(longer, target),
        "another CPU": jit.cache_key(text, jit.target(linux, "x86-64-v4")),
        "another level of code generation": jit.cache_key(text, target, 0),
    }
    lines = [f"| {what} | {'same' if key == base else 'new'} |" for what, key in rows.items()]
    return "\n".join(["| changed | key |", "|---|---|", *lines])


# A name of a block -> (what makes it, the language of the block; "" for Markdown).
EXAMPLES: dict[str, tuple[Callable[[], str], str]] = {
    "graph": (graph, "text"),
    "derivatives": (derivatives, "text"),
    "versions": (versions, "text"),
    "lowering": (lowering, "text"),
    "loops": (loops, "text"),
    "scans": (scans, "text"),
    "schedules": (schedules, ""),
    "emission": (emission, "llvm"),
    "hoisting": (hoisting, "llvm"),
    "arena": (arena, "text"),
    "updates": (updates, "text"),
    "run": (run_text, "llvm"),
    "threads": (threads, ""),
    "cache": (cache, ""),
}


def filled(page: str) -> str:
    """Return the text of a page with its generated blocks made anew; KeyError for unknown names."""

    def block(match: re.Match[str]) -> str:
        make, language = EXAMPLES[match[2]]
        text = make().replace("](", "] (")  # not a link
        body = f"```{language}\n{text}\n```" if language else text
        return f"{match[1]}{body}\n{match[3]}"

    return BLOCK.sub(block, page)


def main(arguments: list[str]) -> None:
    """Rewrite the pages of a folder."""
    for path in sorted(Path(arguments[0]).glob("*.md")):
        old = path.read_text(encoding="utf-8")
        new = filled(old)
        if new != old:
            path.write_text(new, encoding="utf-8")
            sys.stdout.write(f"rewrote {path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
