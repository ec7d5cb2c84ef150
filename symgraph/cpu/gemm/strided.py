"""Pack a sliver whose lanes are some elements apart: windows of a convolution with a stride.

Vectors are read as they lie, and every second element is taken. The lanes of a vector are one
stretch or two (two rows of an image): the second is read as if it had begun at lane 0.
"""

from __future__ import annotations

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm.offsets import offset_at, ones
from symgraph.cpu.gemm.shape import Shape

STRIDE = 2  # with 4, masks do not fit their registers: no gain
LOAD_COST = 2  # of a vector, in the unit of `gather`


def stretches(shape: Shape, f: FunctionText, lanes: str) -> tuple[str, str]:
    """Return how many stretches the lanes of both vectors of a whole sliver are, and whether none
    has more than two.
    """
    counts = []
    for first in (0, shape.lanes):
        count = "1"
        for lane in range(first + 1, first + shape.lanes):
            apart = f.sub(offset_at(f, lanes, lane), offset_at(f, lanes, lane - 1))
            other = f.new(f"icmp ne i64 {apart}, {STRIDE * shape.size}")
            count = f.add(count, f.new(f"zext i1 {other} to i64"))
        counts.append(count)
    few = [f.new(f"icmp sle i64 {count}, 2") for count in counts]
    return f.add(*counts), f.new(f"and i1 {few[0]}, {few[1]}")


def gather_strided(shape: Shape) -> str:
    """Store one vector per step, `apart` bytes apart: its lanes are STRIDE elements apart."""
    f = FunctionText(
        "define internal void @gather.strided(ptr %from, ptr %lanes, ptr %steps, i64 %k, ptr %to, "
        "i64 %apart) nounwind"
    )
    step = STRIDE * shape.size

    def goes_on(lane: list[str]) -> str:
        inside = f.new(f"icmp slt i64 {lane[0]}, {shape.lanes}")
        at = f.least(lane[0], shape.lanes - 1)
        apart = f.sub(offset_at(f, "%lanes", at), offset_at(f, "%lanes", f.sub(at, 1)))
        return f.new(f"and i1 {inside}, {f.new(f'icmp eq i64 {apart}, {step}')}")

    cut = f.repeat([("i64", "1")], goes_on, lambda lane: [f.add(lane[0], 1)])[0]
    second = f.least(cut, shape.lanes - 1)
    starts = [
        offset_at(f, "%lanes", 0),
        f.sub(offset_at(f, "%lanes", second), f.mul(second, step)),
    ]

    def masks(low: str, high: str) -> list[str]:
        """Return the lanes of each vector that have elements of the lanes from low to high."""
        begin = f.mul(low, STRIDE)
        end = f.add(f.mul(f.sub(high, 1), STRIDE), 1)
        return masks_of(shape, f, f.new(f"shl i64 {ones(f, begin, end)}, {begin}"))

    def loop(parts: list[tuple[str, list[str]]], of_second: str) -> None:
        def one(t: str, to: list[str]) -> list[str]:
            row = f.at("%from", offset_at(f, "%steps", t))
            values = [
                every_second(shape, f, f.at(row, start), each) for start, each in parts
            ]
            value = values[0]
            if len(values) == 2:
                value = f.new(
                    f"select <{shape.lanes} x i1> {of_second}, {shape.vector} {values[1]}, "
                    f"{shape.vector} {value}"
                )
            f.store(shape.vector, value, to[0], shape.size)
            return [f.at(to[0], "%apart")]

        f.loop(0, "%k", 1, one, [("ptr", "%to")])

    whole = f.new(f"icmp eq i64 {cut}, {shape.lanes}")
    f.when(
        whole,
        lambda: loop([(starts[0], masks("0", str(shape.lanes)))], ""),
        lambda: loop(
            [(starts[0], masks("0", cut)), (starts[1], masks(cut, str(shape.lanes)))],
            shape.mask(f, f.new(f"trunc i64 {f.new(f'shl i64 -1, {cut}')} to i32")),
        ),
    )
    return f.text()


def masks_of(shape: Shape, f: FunctionText, bits: str) -> list[str]:
    """Return the masks of STRIDE vectors that follow each other, whose bits are given."""
    parts = (f.new(f"lshr i64 {bits}, {v * shape.lanes}") for v in range(STRIDE))
    return [shape.mask(f, f.new(f"trunc i64 {part} to i32")) for part in parts]


def every_second(shape: Shape, f: FunctionText, at: str, masks: list[str]) -> str:
    """Return a vector of every second element behind an address, of those in two masks."""
    low, high = (
        shape.load_masked(f, f.at(at, v * shape.width), mask, "zeroinitializer")
        for v, mask in enumerate(masks)
    )
    lanes = ", ".join(f"i32 {STRIDE * i}" for i in range(shape.lanes))
    return f.new(
        f"shufflevector {shape.vector} {low}, {shape.vector} {high}, "
        f"<{shape.lanes} x i32> <{lanes}>"
    )
