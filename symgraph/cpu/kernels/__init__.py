"""One kernel as LLVM text: nests of loops with explicit vectors, and whole-array algorithms."""
