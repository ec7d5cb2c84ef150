"""Pack a sliver of an operand through tables of offsets: whichever way it has runs.

A sliver is as wide as a tile (its lanes) and as deep as a block; packed, the lanes of a step lie
together. The three ways: a vector of lanes is put together from runs along the lanes; runs along
the depth are transposed in registers; elements are copied one by one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from symgraph.cpu.function_text import FunctionText
from symgraph.cpu.gemm import strided
from symgraph.cpu.gemm.offsets import offset_at, ones, run_at
from symgraph.cpu.gemm.pack import store_turned, transposed
from symgraph.cpu.gemm.shape import Shape, prefetch

UNROLLED = 4  # runs of a vector up to which their offsets are kept in registers
RUN_COST = 3  # cycles to read a part of a vector
SINGLE_COST = 2  # and a single element
AHEAD = 4  # runs along the depth that are fetched ahead: filters lie far apart. Where lanes are
CLOSE = 512  # bytes apart at most, and runs on other pages, it is the same run of the sliver that
SLIVERS_AHEAD = 2  # further on


def gather(shape: Shape, width: int) -> str:
    """Pack a sliver of `width` lanes, whose tables are `lanes` and `steps`, `k` deep."""
    f = FunctionText(
        f"define internal void @gather.{width}(ptr %from, ptr %lanes, ptr %lane.runs, ptr %steps, "
        "ptr %step.runs, i64 %k, ptr %to) nounwind"
    )
    along, across = f.load("i64", "%lane.runs", 8), f.load("i64", "%step.runs", 8)
    vectors = -(-width // shape.lanes)
    square = shape.lanes * (int(math.log2(shape.lanes)) + 4) * vectors
    if shape.width < 64:
        square = square * 3 // 4  # see pack._interleaved
    together = f.mul(f.mul(along, RUN_COST), "%k")
    turned = f.mul(across, square)
    if vectors == 2:  # see _turn_short
        short = f.new(f"icmp sle i64 %k, {f.mul(across, shape.lanes // 2)}")
        turned = f.new(f"select i1 {short}, i64 {f.mul(across, square // 2)}, i64 {turned}")
    single = f.mul("%k", SINGLE_COST * width)
    least = f.least(f.least(together, turned), single)
    count = f.load("i64", f.at("%lane.runs", f.mul(f.add(along, 1), 8)), 8)

    def by_lanes() -> None:
        f.do(f"call void @gather.lanes.{width}(ptr %from, ptr %lanes, ptr %lane.runs, ptr %steps, "
             "i64 %k, ptr %to)")  # fmt: skip

    def by_steps() -> None:
        f.do(f"call void @gather.steps.{width}(ptr %from, ptr %lanes, i64 {count}, ptr %steps, "
             "ptr %step.runs, ptr %to)")  # fmt: skip

    def one_by_one() -> None:
        f.do(f"call void @gather.single.{width}(ptr %from, ptr %lanes, i64 {count}, ptr %steps, "
             "i64 %k, ptr %to)")  # fmt: skip

    def others() -> None:
        f.when(f.new(f"icmp eq i64 {least}, {turned}"), by_steps, one_by_one)

    def along_or_not() -> None:
        f.when(f.new(f"icmp eq i64 {least}, {together}"), by_lanes, others)

    if width != shape.columns:
        along_or_not()
        return f.text()
    whole = f.new(f"icmp eq i64 {count}, {width}")
    apart = f.sub(offset_at(f, "%lanes", 1), offset_at(f, "%lanes", 0))
    second = f.new(f"icmp eq i64 {apart}, {strided.STRIDE * shape.size}")
    f.when(
        f.new(f"and i1 {whole}, {second}"),
        lambda: _strided_if_less(shape, f, least, along_or_not),
        along_or_not,
    )
    return f.text()


def _strided_if_less(
    shape: Shape, f: FunctionText, least: str, otherwise: Callable[[], None]
) -> None:
    """Pack whole slivers by every second element where that costs less."""
    number, few = strided.stretches(shape, f, "%lanes")
    cost = f.mul(f.mul(number, strided.STRIDE * strided.LOAD_COST), "%k")
    less = f.new(f"icmp slt i64 {cost}, {least}")

    def both() -> None:
        for v in range(2):
            f.do(
                f"call void @gather.strided(ptr %from, ptr "
                f"{f.at('%lanes', 8 * v * shape.lanes)}, ptr %steps, i64 %k, "
                f"ptr {f.at('%to', v * shape.width)}, i64 {2 * shape.width})"
            )

    f.when(f.new(f"and i1 {less}, {few}"), both, otherwise)


def gather_lanes(shape: Shape, width: int) -> str:
    """Pack vectors of lanes, each put together from aligned runs; lanes that are missing are 0."""
    f = FunctionText(
        f"define internal void @gather.lanes.{width}(ptr %from, ptr %lanes, ptr %runs, "
        "ptr %steps, i64 %k, ptr %to) nounwind"
    )
    places = f.new(f"alloca [{width} x i64], align 64")
    masks = f.new(f"alloca [{width} x i32], align 64")
    count = f.load("i64", "%runs", 8)
    vectors = -(-width // shape.lanes)

    def run(r: str, before: list[str]) -> list[str]:
        start, end = run_at(f, "%runs", r)
        lane = f.new(f"and i64 {start}, {shape.lanes - 1}")
        place = f.sub(offset_at(f, "%lanes", start), f.mul(lane, shape.size))
        f.store("i64", place, f.at(places, f.mul(r, 8)), 8)
        shifted = f.new(f"shl i64 {ones(f, start, end)}, {lane}")
        mask = f.new(f"trunc i64 {shifted} to i32")
        f.store("i32", mask, f.at(masks, f.mul(r, 4)), 4)
        below = (f.new(f"icmp slt i64 {start}, {v * shape.lanes}") for v in range(1, vectors))
        return [
            f.add(n, f.new(f"zext i1 {test} to i64")) for n, test in zip(before, below, strict=True)
        ]

    firsts = f.loop(0, count, 1, run, [("i64", "0")] * (vectors - 1))
    bounds = ["0", *firsts, count]

    def one_vector_at_a_time() -> None:
        # the last vector may write behind its step: what it overwrites is written after it
        for v in reversed(range(vectors)):
            first, number = bounds[v], f.sub(bounds[v + 1], bounds[v])
            f.do(
                f"call void @gather.vector(ptr %from, ptr {f.at(places, f.mul(first, 8))}, "
                f"ptr {f.at(masks, f.mul(first, 4))}, i64 {number}, ptr %steps, i64 %k, "
                f"ptr {f.at('%to', v * shape.width)}, i64 {width * shape.size})"
            )

    def both_vectors(runs: list[tuple[int, int]]) -> None:
        if not runs:
            one_vector_at_a_time()
            return
        one, two = runs[0]
        tests = [
            f.new(f"icmp eq i64 {found}, {wanted}")
            for found, wanted in ((firsts[0], one), (count, one + two))
        ]
        f.when(
            f.new(f"and i1 {tests[0]}, {tests[1]}"),
            lambda: _gather_both(shape, f, (one, two), places, masks, width),
            functools.partial(both_vectors, runs[1:]),
        )

    both_vectors([(1, 1), (1, 2), (2, 1)] if vectors == 2 else [])
    return f.text()


def _gather_both(
    shape: Shape, f: FunctionText, runs: tuple[int, int], places: str, masks: str, width: int
) -> None:
    """Put two vectors together for each step, from so many runs each: they share cache lines."""
    parts = [
        (offset_at(f, places, r), shape.mask(f, f.load("i32", f.at(masks, 4 * r), 4)))
        for r in range(sum(runs))
    ]

    def step(t: str, at: list[str]) -> list[str]:
        source = f.at("%from", offset_at(f, "%steps", t))
        values = ["zeroinitializer", "zeroinitializer"]
        for r, (place, mask) in enumerate(parts):
            v = int(r >= runs[0])
            values[v] = shape.load_masked(f, f.at(source, place), mask, values[v])
        for v, value in enumerate(values):
            f.store(shape.vector, value, f.at(at[0], v * shape.width), shape.size)
        return [f.at(at[0], width * shape.size)]

    f.loop(0, "%k", 1, step, [("ptr", "%to")])


def gather_vector(shape: Shape) -> str:
    """Store one vector per step, put together from `count` masked loads, `stride` bytes apart."""
    f = FunctionText(
        "define internal void @gather.vector(ptr %from, ptr %places, ptr %masks, i64 %count, "
        "ptr %steps, i64 %k, ptr %to, i64 %stride) nounwind"
    )

    def some(number: int) -> None:
        parts = [
            (offset_at(f, "%places", r), shape.mask(f, f.load("i32", f.at("%masks", 4 * r), 4)))
            for r in range(number)
        ]

        def step(t: str, at: list[str]) -> list[str]:
            source, value = f.at("%from", offset_at(f, "%steps", t)), "zeroinitializer"
            for place, mask in parts:
                value = shape.load_masked(f, f.at(source, place), mask, value)
            f.store(shape.vector, value, at[0], shape.size)
            return [f.at(at[0], "%stride")]

        f.loop(0, "%k", 1, step, [("ptr", "%to")])

    def many() -> None:
        def step(t: str, at: list[str]) -> list[str]:
            source = f.at("%from", offset_at(f, "%steps", t))

            def part(r: str, values: list[str]) -> list[str]:
                mask = shape.mask(f, f.load("i32", f.at("%masks", f.mul(r, 4)), 4))
                place = f.at(source, offset_at(f, "%places", r))
                return [shape.load_masked(f, place, mask, values[0])]

            value = f.loop(0, "%count", 1, part, [(shape.vector, "zeroinitializer")])[0]
            f.store(shape.vector, value, at[0], shape.size)
            return [f.at(at[0], "%stride")]

        f.loop(0, "%k", 1, step, [("ptr", "%to")])

    def choose(number: int) -> None:
        if number > UNROLLED:
            many()
            return
        test = f.new(f"icmp eq i64 %count, {number}")
        f.when(test, functools.partial(some, number), functools.partial(choose, number + 1))

    choose(1)
    return f.text()


def gather_steps(shape: Shape, width: int) -> str:
    """Pack runs along the depth: squares are transposed in registers.

    Those of a sliver of B may be of every second element; two of its short runs share a square.
    Missing lanes repeat the last one; rows behind a run are overwritten by the next one.
    """
    f = FunctionText(
        f"define internal void @gather.steps.{width}(ptr %from, ptr %lanes, i64 %count, "
        "ptr %steps, ptr %runs, ptr %to) nounwind"
    )
    last = f.sub("%count", 1)
    stride = width * shape.size
    number = f.load("i64", "%runs", 8)
    lanes = functools.partial(_lanes, f, last)
    starts = lanes("0", width) if width == shape.rows else []
    fetch = _fetcher(shape, f, last, number) if starts else None

    def run(r: str, _: list[str]) -> None:
        start, end = run_at(f, "%runs", r)
        at, target = offset_at(f, "%steps", start), f.at("%to", f.mul(start, stride))
        apart = f.sub(offset_at(f, "%steps", f.least(f.add(start, 1), f.sub(end, 1))), at)

        def turn(read: Callable[[str], str]) -> None:
            """Turn all lanes, of a sliver of B a vector after the other: it is long code."""
            if starts:
                store_turned(shape, f, starts, read, (target, stride), shape.size)
                return

            def vector(first: str, _: list[str]) -> None:
                to = f.at(target, f.mul(first, shape.size))
                store_turned(shape, f, lanes(first, shape.lanes), read, (to, stride), shape.size)

            f.loop(0, width, shape.lanes, vector)

        def some() -> None:
            mask = shape.mask(f, f.new(f"trunc i64 {ones(f, start, end)} to i32"))
            turn(lambda lane: shape.load_masked(f, f.at(lane, at), mask, "zeroinitializer"))

        def each() -> None:
            if shape.width == 64:
                some()
                return
            whole = f.new(f"icmp eq i64 {f.sub(end, start)}, {shape.lanes}")
            f.when(whole, lambda: turn(lambda lane: shape.load(f, f.at(lane, at))), some)

        def every_second() -> None:
            bits = ones(f, "1", f.mul(f.sub(end, start), strided.STRIDE))
            masks = strided.masks_of(shape, f, bits)
            turn(lambda lane: strided.every_second(shape, f, f.at(lane, at), masks))

        if fetch is not None:
            fetch(r, at, starts)

        def short_or_long() -> None:
            length = f.sub(end, start)
            short = f.new(f"icmp sle i64 {length}, {shape.lanes // 2}")
            f.when(
                short,
                lambda: _turn_short(shape, f, lanes("0", width), (at, length), target),
                each,
            )

        def several() -> None:
            if width == shape.rows:
                each()
            else:
                f.when(f.new(f"icmp sgt i64 {apart}, {shape.size}"), every_second, short_or_long)

        if shape.width == 64:
            several()
        else:  # windows of 3, 5 or 7 leave one element over
            single = f.new(f"icmp eq i64 {f.sub(end, start)}, 1")
            all_lanes = starts or lanes("0", width)
            f.when(single, lambda: _copy_step(shape, f, all_lanes, at, target), several)

    f.loop(0, number, 1, run)
    return f.text()


def _fetcher(
    shape: Shape, f: FunctionText, last: str, number: str
) -> Callable[[str, str, list[str]], None]:
    """Return what fetches filters ahead of a run: the run's number, its offset, its lanes."""
    between = f.sub(offset_at(f, "%lanes", f.least("1", last)), offset_at(f, "%lanes", 0))
    close = f.new(f"icmp ult i64 {between}, {CLOSE}")
    ahead = f.mul(between, SLIVERS_AHEAD * shape.rows)

    def fetch(r: str, at: str, starts: list[str]) -> None:
        following = run_at(f, "%runs", f.least(f.add(r, AHEAD), f.sub(number, 1)))[0]
        along = offset_at(f, "%steps", following)
        later = f.new(f"select i1 {close}, i64 {f.add(at, ahead)}, i64 {along}")
        for lane in starts[::2]:
            prefetch(f, f.at(lane, later))

    return fetch


def _copy_step(shape: Shape, f: FunctionText, starts: list[str], at: str, target: str) -> None:
    """Copy one element of each lane."""
    for lane, source in enumerate(starts):
        value = shape.load_one(f, f.at(source, at))
        shape.store_one(f, value, f.at(target, lane * shape.size))


def _lanes(f: FunctionText, last: str, first: str, count: int) -> list[str]:
    """Return where some lanes begin; missing ones repeat the last."""
    places = (f.least(f.add(first, lane), last) for lane in range(count))
    return [f.at("%from", offset_at(f, "%lanes", place)) for place in places]


def _turn_short(
    shape: Shape, f: FunctionText, starts: list[str], run: tuple[str, str], target: str
) -> None:
    """Turn a run (offset, length) of half a vector at most: both vectors' lanes are one square."""
    at, length = run
    half = shape.lanes // 2
    bits = ones(f, "0", length)
    low, high = (
        shape.mask(f, f.new(f"trunc i64 {f.new(f'shl i64 {bits}, {by}')} to i32"))
        for by in (0, half)
    )
    rows = []
    for one, other in zip(starts[: shape.lanes], starts[shape.lanes :], strict=True):
        value = shape.load_masked(f, f.at(one, at), low, "zeroinitializer")
        place = f.at(other, at, -half * shape.size)
        rows.append(shape.load_masked(f, place, high, value))
    columns = transposed(shape, f, rows)
    for step in range(half):
        for v in range(2):
            place = f.at(target, (2 * step + v) * shape.width)
            f.store(shape.vector, columns[step + v * half], place, shape.size)


def gather_single(shape: Shape, width: int) -> str:
    """Copy element by element; missing lanes are left as they are."""
    f = FunctionText(
        f"define internal void @gather.single.{width}(ptr %from, ptr %lanes, i64 %count, "
        "ptr %steps, i64 %k, ptr %to) nounwind"
    )

    ends = [f.least(str(lane), f.sub("%count", 1)) for lane in range(0, width, 2)]

    def all_lanes() -> None:
        starts = [f.at("%from", offset_at(f, "%lanes", lane)) for lane in range(width)]

        def step(t: str, at: list[str]) -> list[str]:
            source = offset_at(f, "%steps", t)
            later = offset_at(f, "%steps", f.least(f.add(t, 4 * AHEAD), f.sub("%k", 1)))
            for lane, start in enumerate(starts):
                if not lane % 2:
                    prefetch(f, f.at(start, later))
                value = shape.load_one(f, f.at(start, source))
                shape.store_one(f, value, f.at(at[0], lane * shape.size))
            return [f.at(at[0], width * shape.size)]

        f.loop(0, "%k", 1, step, [("ptr", "%to")])

    def step(t: str, at: list[str]) -> list[str]:
        source = f.at("%from", offset_at(f, "%steps", t))
        if width == shape.rows:
            later = offset_at(f, "%steps", f.least(f.add(t, 4 * AHEAD), f.sub("%k", 1)))
            for end in ends:
                prefetch(f, f.at("%from", later, offset_at(f, "%lanes", end)))

        def lane(i: str, _: list[str]) -> None:
            value = shape.load_one(f, f.at(source, offset_at(f, "%lanes", i)))
            shape.store_one(f, value, f.at(at[0], f.mul(i, shape.size)))

        f.loop(0, "%count", 1, lane)
        return [f.at(at[0], width * shape.size)]

    def lane_by_lane() -> None:
        f.loop(0, "%k", 1, step, [("ptr", "%to")])

    if shape.width < 64 and width == shape.rows:
        f.when(f.new(f"icmp eq i64 %count, {width}"), all_lanes, lane_by_lane)
    else:
        lane_by_lane()
    return f.text()
