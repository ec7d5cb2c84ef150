"""Lanes two elements apart: windows of a convolution with a stride, places of its gradient.

Vectors are read as they lie, and every second element is taken. The lanes of a vector are one
stretch or two (two rows of an image): the second is read as if it had begun at lane 0.
"""

from __future__ import annotations

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm.offsets import offset_at, ones
from symgraph.cpu.gemm.shape import Shape

STRIDE = 2  # with 4, masks do not fit their registers: no gain
EVEN_BITS = 0x5555555555555555
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


def cut_in_two(shape: Shape, f: FunctionText, lanes: str) -> tuple[str, list[str]]:
    """Return how many lanes the first stretch of a vector has, and where lane 0 of both is."""
    cut = end_of_stretch(shape, f, lanes, "0", str(shape.lanes))
    second = f.least(cut, shape.lanes - 1)
    behind = f.mul(second, STRIDE * shape.size)
    return cut, [offset_at(f, lanes, 0), f.sub(offset_at(f, lanes, second), behind)]


def end_of_stretch(shape: Shape, f: FunctionText, lanes: str, start: str, most: str) -> str:
    """Return the end, not above `most`, of the stretch that begins at a lane."""

    def goes_on(lane: list[str]) -> str:
        inside = f.new(f"icmp slt i64 {lane[0]}, {most}")
        at = f.least(lane[0], f.sub(most, 1))
        apart = f.sub(offset_at(f, lanes, at), offset_at(f, lanes, f.sub(at, 1)))
        return f.new(f"and i1 {inside}, {f.new(f'icmp eq i64 {apart}, {STRIDE * shape.size}')}")

    first = f.add(start, 1)
    return f.repeat([("i64", first)], goes_on, lambda lane: [f.add(lane[0], 1)])[0]


def masks_between(shape: Shape, f: FunctionText, low: str, high: str) -> list[str]:
    """Return the masks of the elements, in STRIDE vectors, of the lanes from low to high."""
    ends = (ones(f, "0", f.mul(lane, STRIDE)) for lane in (low, high))
    both = f.new(f"xor i64 {next(ends)}, {next(ends)}")
    return masks_of(shape, f, f.new(f"and i64 {both}, {EVEN_BITS}"))


def masks_of(shape: Shape, f: FunctionText, bits: str) -> list[str]:
    """Return the masks of STRIDE vectors that follow each other, whose bits are given."""
    parts = (f.new(f"lshr i64 {bits}, {v * shape.lanes}") for v in range(STRIDE))
    return [shape.mask(f, f.new(f"trunc i64 {part} to i32")) for part in parts]


def second_lanes(shape: Shape, f: FunctionText, cut: str) -> str:
    """Return the mask of the lanes from `cut` on."""
    return shape.mask(f, f.new(f"trunc i64 {f.new(f'shl i64 -1, {cut}')} to i32"))


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


def store_every_second(
    shape: Shape, f: FunctionText, value: str, at: str, masks: list[str]
) -> None:
    """Store the lanes of a vector as every second element behind an address: those in two masks."""
    half = shape.lanes // STRIDE
    for v, mask in enumerate(masks):
        lanes = ", ".join(f"i32 {v * half + i // STRIDE}" for i in range(shape.lanes))
        spread = f.new(
            f"shufflevector {shape.vector} {value}, {shape.vector} poison, "
            f"<{shape.lanes} x i32> <{lanes}>"
        )
        shape.store_masked(f, spread, f.at(at, v * shape.width), mask)


def gather_strided(shape: Shape) -> str:
    """Store one vector per step, `apart` bytes apart: its lanes are STRIDE elements apart."""
    f = FunctionText(
        "define internal void @gather.strided(ptr %from, ptr %lanes, ptr %steps, i64 %k, ptr %to, "
        "i64 %apart) nounwind"
    )
    cut, starts = cut_in_two(shape, f, "%lanes")
    end = str(shape.lanes)

    def loop(parts: list[tuple[str, list[str]]]) -> None:
        of_second = second_lanes(shape, f, cut)

        def one(t: str, to: list[str]) -> list[str]:
            row = f.at("%from", offset_at(f, "%steps", t))
            values = [every_second(shape, f, f.at(row, start), each) for start, each in parts]
            value = values[0] if len(values) == 1 else shape.choose(f, of_second, *values[::-1])
            f.store(shape.vector, value, to[0], shape.size)
            return [f.at(to[0], "%apart")]

        f.loop(0, "%k", 1, one, [("ptr", "%to")])

    f.when(
        f.new(f"icmp eq i64 {cut}, {end}"),
        lambda: loop([(starts[0], masks_between(shape, f, "0", end))]),
        lambda: loop([
            (starts[0], masks_between(shape, f, "0", cut)),
            (starts[1], masks_between(shape, f, cut, end)),
        ]),
    )  # fmt: skip
    return f.text()
