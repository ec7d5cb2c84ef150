"""Derivatives of graphs: one rule per op gives reverse mode, forward mode and any nesting."""
