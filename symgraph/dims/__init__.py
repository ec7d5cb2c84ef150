"""Symbolic integers: the sizes of tensors that are not known when the graph is built."""
