"""Addresses of operands whose rows, columns and sums are over several axes each.

Element (k, j) of such an operand lies at base + R[k] + C[j]. Each of the two is a sum over three
axes, a table of which is made for as many elements as a block needs: "block-scatter matrices" of
Matthews, "High-Performance Tensor Contraction without Transposition" (2018). A run is a stretch of
a table with contiguous addresses: it is read by whole vectors.
"""

from __future__ import annotations

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm.shape import Shape

AXIS_WORDS = 5  # of a table: lengths of the two inner axes, strides of all three


def offsets(shape: Shape) -> str:
    """Write `count` offsets in bytes from position `start` of three axes, and where runs begin.

    `runs` gets the number of runs, where each begins, and `count`. None is longer than a vector;
    `aligned` ones end at multiples of it. If `second`, runs may be of every second element.
    """
    f = FunctionText(
        "define internal void @offsets(ptr %axes, i64 %start, i64 %count, i1 %aligned, i1 %second, "
        "ptr %to, ptr %runs) nounwind"
    )
    n1, n2, *strides = (f.load("i64", f.at("%axes", 8 * k), 8) for k in range(AXIS_WORDS))
    s0, s1, s2 = (f.mul(x, shape.size) for x in strides)
    unit = f.new(f"icmp eq i64 {s2}, {shape.size}")
    second = f.new(f"icmp eq i64 {s2}, {2 * shape.size}")
    unit = f.new(f"or i1 {unit}, {f.new(f'and i1 {second}, %second')}")
    nowhere = f.new(f"select i1 {unit}, i64 0, i64 -1")
    outer = f.new(f"udiv i64 %start, {n2}")
    i0 = f.new(f"udiv i64 {outer}, {n1}")
    i1, i2 = f.sub(outer, f.mul(i0, n1)), f.sub("%start", f.mul(outer, n2))
    list_ = f.at("%runs", 8)

    def stretch(values: list[str]) -> list[str]:
        t, i0, i1, i2, behind, begun, found = values
        base = f.add(f.add(f.mul(i0, s0), f.mul(i1, s1)), f.mul(i2, s2))
        left = f.least(f.sub(n2, i2), f.sub("%count", t))
        within = f.new(f"select i1 %aligned, i64 {t}, i64 {f.sub(t, begun)}")
        used = f.new(f"and i64 {within}, {shape.lanes - 1}")
        meets = f.new(f"icmp eq i64 {base}, {behind}")
        room = f.new(f"icmp ne i64 {used}, 0")
        joined = f.new(f"and i1 {meets}, {room}")
        either = f.new(f"or i1 {joined}, %aligned")
        used = f.new(f"select i1 {either}, i64 {used}, i64 0")
        most = f.new(f"select i1 {unit}, i64 {f.sub(str(shape.lanes), used)}, i64 {left}")
        length = f.least(left, most)
        apart = f.new(f"select i1 {unit}, i64 0, i64 {length}")  # elements that are runs each

        def element(e: str, at: list[str]) -> list[str]:
            f.store("i64", at[0], f.at("%to", f.mul(f.add(t, e), 8)), 8)
            return [f.add(at[0], s2)]

        f.loop(0, length, 1, element, [("i64", base)])

        def single(e: str, _: list[str]) -> None:
            f.store("i64", f.add(t, e), f.at(list_, f.mul(f.add(found, e), 8)), 8)

        f.loop(0, apart, 1, single)
        new = f.new(f"zext i1 {f.new(f'xor i1 {joined}, true')} to i64")
        f.store("i64", t, f.at(list_, f.mul(found, 8)), 8)
        number = f.new(f"select i1 {unit}, i64 {new}, i64 {length}")
        begun = f.new(f"select i1 {joined}, i64 {begun}, i64 {t}")
        behind = f.new(f"or i64 {f.add(base, f.mul(length, s2))}, {nowhere}")
        i2, over = _carried(f, f.add(i2, length), n2)
        i1, more = _carried(f, f.add(i1, over), n1)
        return [f.add(t, length), f.add(i0, more), i1, i2, behind, begun, f.add(found, number)]

    start = [("i64", x) for x in ("0", i0, i1, i2, "-1", "0", "0")]
    *_, found = f.repeat(start, lambda v: f.new(f"icmp slt i64 {v[0]}, %count"), stretch)
    f.store("i64", found, "%runs", 8)
    f.store("i64", "%count", f.at(list_, f.mul(found, 8)), 8)
    return f.text()


def _carried(f: FunctionText, i: str, n: str) -> tuple[str, str]:
    """Return an index modulo the length of its axis, and what goes to the next axis."""
    full = f.new(f"icmp eq i64 {i}, {n}")
    return f.new(f"select i1 {full}, i64 0, i64 {i}"), f.new(f"zext i1 {full} to i64")


def run_at(f: FunctionText, runs: str, r: str) -> tuple[str, str]:
    """Return the start and the end of a run."""
    at = f.at(runs, 8, f.mul(r, 8))
    return f.load("i64", at, 8), f.load("i64", f.at(at, 8), 8)


def ones(f: FunctionText, start: str, end: str) -> str:
    """Return a number whose lowest end - start bits are set."""
    return f.sub(f.new(f"shl i64 1, {f.sub(end, start)}"), 1)


def offset_at(f: FunctionText, table: str, t: str | int) -> str:
    """Return an entry of a table."""
    return f.load("i64", f.at(table, t * 8 if isinstance(t, int) else f.mul(t, 8)), 8)
