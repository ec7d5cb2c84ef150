"""A sliver of B that is read where it lies: each vector is put together from at most two runs.

A block of memory says where: for each of the two vectors, two addresses at which the row with
offset 0 would begin, then two masks of the lanes that are loaded from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm.offsets import AXIS_WORDS, offset_at, ones, run_at
from symgraph.cpu.gemm.shape import Shape

WORDS = 8  # of the block: addresses, then masks
RUNS = 2  # of a vector
ENDS = 3  # addresses that tell which lines a sliver takes of a row
LINE = 64  # bytes of a cache line
FEW_ROWS = 8  # that may share lines
CROWDED = 2048  # bytes: rows apart by a multiple of it share few lines of the caches


def reader(
    shape: Shape, f: FunctionText, block: str, vectors: int, runs: int
) -> Callable[[str], list[str]]:
    """Return what loads the vectors of a row, given its offset: of one run each, or of RUNS."""

    def place(v: int, r: int) -> str:
        return f.load("ptr", f.at(block, 8 * (RUNS * v + r)), 8)

    def mask(v: int, r: int) -> str:
        bits = f.load("i64", f.at(block, 8 * (2 * RUNS + RUNS * v + r)), 8)
        return shape.mask(f, f.new(f"trunc i64 {bits} to i32"))

    if runs == 1:
        starts = [place(v, 0) for v in range(vectors)]
        return lambda offset: [shape.load(f, f.at(start, offset)) for start in starts]
    parts = [[(place(v, r), mask(v, r)) for r in range(RUNS)] for v in range(vectors)]

    def load(offset: str) -> list[str]:
        found = []
        for pair in parts:
            value = "zeroinitializer"
            for start, lanes in pair:
                value = shape.load_masked(f, f.at(start, offset), lanes, value)
            found.append(value)
        return found

    return load


def packed_block(shape: Shape, f: FunctionText, packed: str, block: str) -> None:
    """Write the block of a packed sliver."""
    for v in range(2):
        f.store("ptr", f.at(packed, v * shape.width), f.at(block, 8 * RUNS * v), 8)


def place_block(shape: Shape) -> str:
    """Write the block of a whole sliver whose vectors have at most RUNS runs each.

    Of a sliver of one vector, which is one run, both vectors are that.
    """
    f = FunctionText(
        "define internal void @place.block(ptr %b, ptr %lanes, ptr %runs, ptr %block) nounwind"
    )
    number = f.load("i64", "%runs", 8)
    one = f.new(f"icmp eq i64 {run_at(f, '%runs', '1')[0]}, {shape.lanes}")
    second = f.new(f"select i1 {one}, i64 1, i64 2")
    last = f.sub(number, 1)
    for slot, r in enumerate(("0", f.sub(second, 1), f.least(second, last), last)):
        start, end = run_at(f, "%runs", r)
        lane = f.new(f"and i64 {start}, {shape.lanes - 1}")
        offset = f.sub(offset_at(f, "%lanes", start), f.mul(lane, shape.size))
        f.store("ptr", f.at("%b", offset), f.at("%block", 8 * slot), 8)
        mask = f.new(f"shl i64 {ones(f, start, end)}, {lane}")
        f.store("i64", mask, f.at("%block", 8 * (2 * RUNS + slot)), 8)
    return f.text()


def runs_of(shape: Shape, f: FunctionText, runs: str, one_vector: str) -> tuple[str, str]:
    """Tell whether both vectors of a whole sliver are one run each, or else at most RUNS each.

    It may be of `one_vector`, which is one run.
    """
    number = f.load("i64", runs, 8)
    vectors = f.new(f"select i1 {one_vector}, i64 1, i64 2")
    single = f.new(f"icmp eq i64 {number}, {vectors}")
    if shape.width < 64:  # masks are registers of their own with AVX-512 only
        return single, "false"
    either = "false"
    for first in (1, RUNS):  # runs of the first vector
        begins = f.new(f"icmp eq i64 {run_at(f, runs, str(first))[0]}, {shape.lanes}")
        short = f.new(f"icmp sle i64 {number}, {first + RUNS}")
        either = f.new(f"or i1 {either}, {f.new(f'and i1 {begins}, {short}')}")
    return single, f.new(f"and i1 {either}, {f.new(f'xor i1 {single}, true')}")


def is_spread(shape: Shape, f: FunctionText, axes: str) -> str:
    """Tell whether no axis of a table has a stride with which rows share lines of the caches.

    Those of a block that are along an outer axis may be too few to matter.
    """
    n1, n2, *strides = (f.load("i64", f.at(axes, 8 * k), 8) for k in range(AXIS_WORDS))
    found = "true"
    for stride, inner in zip(strides, (f.mul(n1, n2), n2, "1"), strict=True):
        few = f.new(f"icmp sge i64 {inner}, {shape.depth // FEW_ROWS}")
        within = f.new(f"and i64 {f.mul(stride, shape.size)}, {CROWDED - 1}")
        fine = f.new(f"or i1 {few}, {f.new(f'icmp ne i64 {within}, 0')}")
        none = f.new(f"icmp eq i64 {stride}, 0")
        found = f.new(f"and i1 {found}, {f.new(f'or i1 {none}, {fine}')}")
    return found


def is_far(shape: Shape, f: FunctionText, axes: str) -> str:
    """Tell whether each row begins in another line than its neighbours."""
    found = "true"
    for k in range(2, AXIS_WORDS):
        stride = f.mul(f.load("i64", f.at(axes, 8 * k), 8), shape.size)
        none = f.new(f"icmp eq i64 {stride}, 0")
        far = f.new(f"icmp ugt i64 {f.add(stride, LINE - 1)}, {2 * LINE - 2}")
        found = f.new(f"and i1 {found}, {f.new(f'or i1 {none}, {far}')}")
    return found


def lines(
    f: FunctionText, steps: str, runs: str, count: str, far: str, to: str
) -> tuple[str, str]:
    """Return the offsets of those runs of steps that begin another cache line, and how many.

    steps: `count`, which are all of them if `far`; to: room for others.
    """

    def run(r: str, values: list[str]) -> Sequence[str]:
        found, last = values
        offset = offset_at(f, steps, run_at(f, runs, r)[0])
        f.store("i64", offset, f.at(to, f.mul(found, 8)), 8)
        same = f.new(f"icmp ult i64 {f.add(f.sub(offset, last), LINE - 1)}, {2 * LINE - 1}")
        more = f.new(f"select i1 {same}, i64 0, i64 1")
        return [f.add(found, more), f.new(f"select i1 {same}, i64 {last}, i64 {offset}")]

    number = f.new(f"select i1 {far}, i64 0, i64 {f.load('i64', runs, 8)}")
    found = f.loop(0, number, 1, run, [("i64", "0"), ("i64", str(1 << 60))])[0]
    return (
        f.new(f"select i1 {far}, ptr {steps}, ptr {to}"),
        f.new(f"select i1 {far}, i64 {count}, i64 {found}"),
    )


def store_ends(shape: Shape, f: FunctionText, b: str, lanes: str, count: str, to: str) -> None:
    """Store the addresses in whose lines a row of a sliver lies: of ENDS lanes."""
    last = f.sub(count, 1)
    for slot, lane in enumerate(("0", f.least(last, shape.lanes), last)):
        # steps that share a line with another one reach a few elements further
        further = 3 * shape.size if slot else 0
        f.store("ptr", f.at(b, offset_at(f, lanes, lane), further), f.at(to, 8 * slot), 8)
