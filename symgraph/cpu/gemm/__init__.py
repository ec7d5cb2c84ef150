"""Matrix products: a register tile, packing of operands, blocks around them, as LLVM text.

C (m x n, rows contiguous) = A (m x k) B (k x n), any strides of A and B. Each element of C is one
chain of fused multiply-adds along k, whatever the blocks, tiles and threads: the bits depend on the
operands alone. Blocking follows Goto and van de Geijn, "Anatomy of High-Performance Matrix
Multiplication" (2008): a block of A stays in the second cache, slivers of B in the first.
"""
