"""Agreement with PyTorch's operator database: each operator, what it is here, and the comparison.

`python -m symgraph.testing.torch_map --help` runs all of it and writes the report.
"""
