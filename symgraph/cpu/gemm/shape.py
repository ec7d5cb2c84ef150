"""The sizes of a product's tiles for one element type and vector width."""

from __future__ import annotations

from symgraph.cpu.function_text import Carried, FunctionText, Part

SLICE_BITS = 20  # a product is 2^20 slices of work, in the order of its tiles
# Of k that is multiplied at a time, and bytes of the packed block of A. It is read in order: with
# AVX2 four bytes a cycle, which the third cache gives as well; C is written half as often.
DEPTH, A_BYTES = 512, 1056 << 10
# With AVX-512 the second cache has a megabyte or more: a block is half of it, or all but half.
WIDE_DEPTH, WIDE_A_BYTES = 256, 528 << 10
LARGE_CACHE = 2 << 20


class Shape:
    """A tile has `rows` rows and `columns` columns, of two vectors each; strides are in bytes."""

    def __init__(self, element: str, vector_bytes: int, second_cache: int = 1 << 20) -> None:
        """`element`: float or double; `second_cache`: its bytes."""
        self.element = element
        self.size = 4 if element == "float" else 8
        self.lanes = vector_bytes // self.size
        self.width = vector_bytes
        self.rows = {16: 6, 32: 6, 64: 12}[vector_bytes]  # with 2 vectors: fills the registers
        self.parts = [s for s in (8, 4, 2, 1) if s < self.rows]  # fewer rows are made up of these
        self.fewer_rows = self.rows * 2 // 3  # of the last two slivers of A: see `slivers`
        self.columns = 2 * self.lanes
        self.vector = f"<{self.lanes} x {element}>"
        self.suffix = f"v{self.lanes}f{8 * self.size}"
        wide = vector_bytes == 64
        self.depth = WIDE_DEPTH if wide else DEPTH
        self.table = self.depth + 16  # words between offsets of B and of A: not in the same lines
        self.second_cache = second_cache
        self.large_cache = wide and second_cache >= LARGE_CACHE
        self.block_bytes = WIDE_A_BYTES if wide and not self.large_cache else A_BYTES
        block = self.block_bytes // (self.depth * self.size)
        self.block_rows = block - block % self.rows
        self.spare_bytes = self.rows * self.width  # behind a block: vectors are stored whole

    def slivers(self, f: FunctionText, total: str, body: Part, carried: Carried = ()) -> list[str]:
        """Go through rows of A by tiles; `body(start, rows, values)` is as in `FunctionText.parts`.

        Where a third of a tile would be left, the last two have two thirds each.
        """

        def sliver(values: list[str]) -> list[str]:
            start, *rest = values
            left = f.sub(total, start)
            both = f.new(f"icmp eq i64 {left}, {2 * self.fewer_rows}")
            least = f.least(left, self.rows)
            rows = f.new(f"select i1 {both}, i64 {self.fewer_rows}, i64 {least}")
            return [f.add(start, rows), *(body(start, rows, rest) or ())]

        return f.repeat(
            [("i64", "0"), *carried], lambda at: f.new(f"icmp slt i64 {at[0]}, {total}"), sliver
        )[1:]

    def declarations(self) -> str:
        """Return the intrinsics that the functions call."""
        v = self.vector
        masked = f"@llvm.masked.load.{self.suffix}.p0(ptr, i32, <{self.lanes} x i1>, {v})"
        stored = f"@llvm.masked.store.{self.suffix}.p0({v}, ptr, i32, <{self.lanes} x i1>)"
        return "\n".join([
            f"declare {v} @llvm.fma.{self.suffix}({v}, {v}, {v})",
            f"declare {v} {masked}",
            f"declare void {stored}",
            "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)",
            "",
        ])  # fmt: skip

    def load(self, f: FunctionText, at: str) -> str:
        """Load a vector that may lie anywhere."""
        return f.load(self.vector, at, self.size)

    def load_one(self, f: FunctionText, at: str) -> str:
        return f.load(self.element, at, self.size)

    def store_one(self, f: FunctionText, value: str, at: str) -> None:
        f.store(self.element, value, at, self.size)

    def load_some(self, f: FunctionText, at: str, count: int) -> str:
        """Load the first `count` elements of a vector, the others as zeros."""
        if count == self.lanes:
            return self.load(f, at)
        bits = ", ".join(f"i1 {'true' if j < count else 'false'}" for j in range(self.lanes))
        return self.load_masked(f, at, f"<{bits}>", "zeroinitializer")

    def mask(self, f: FunctionText, bits: str) -> str:
        """Return the mask of which the lowest bits of an i32 are the lanes."""
        narrow = f.new(f"trunc i32 {bits} to i{self.lanes}")
        return f.new(f"bitcast i{self.lanes} {narrow} to <{self.lanes} x i1>")

    def load_masked(self, f: FunctionText, at: str, mask: str, others: str) -> str:
        """Load the lanes of a mask; nothing is read for the others, which are given."""
        return f.new(
            f"call {self.vector} @llvm.masked.load.{self.suffix}.p0(ptr {at}, i32 {self.size}, "
            f"<{self.lanes} x i1> {mask}, {self.vector} {others})"
        )

    def choose(self, f: FunctionText, mask: str, yes: str, no: str) -> str:
        """Return the lanes of `yes` where the mask is set, else those of `no`."""
        kind = f"<{self.lanes} x i1>"
        return f.new(f"select {kind} {mask}, {self.vector} {yes}, {self.vector} {no}")

    def store_masked(self, f: FunctionText, value: str, at: str, mask: str) -> None:
        """Store the lanes of a mask."""
        f.do(
            f"call void @llvm.masked.store.{self.suffix}.p0({self.vector} {value}, ptr {at}, "
            f"i32 {self.size}, <{self.lanes} x i1> {mask})"
        )

    def pieces(self, count: int) -> list[tuple[int, int]]:
        """Return (first, length) of the vectors that hold `count` elements."""
        return [(j, min(self.lanes, count - j)) for j in range(0, count, self.lanes)]


def prefetch(f: FunctionText, at: str, write: bool = False, near: bool = False) -> None:
    """Fetch the cache line at an address: to be written soon, or to the second or first cache."""
    kind = "i32 1, i32 3" if write else f"i32 0, i32 {3 if near else 2}"
    f.do(f"call void @llvm.prefetch.p0(ptr {at}, {kind}, i32 1)")
