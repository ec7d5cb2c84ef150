"""A whole program as one LLVM module: kernels, library calls, loops around them, and `run`."""
