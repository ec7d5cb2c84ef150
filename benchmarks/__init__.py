"""Benchmarks of symgraph beside other libraries: `python -m benchmarks --help`."""
