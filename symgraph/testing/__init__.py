"""Generated tests of ops: cases, checks, independent oracles and the one table of tolerances."""
